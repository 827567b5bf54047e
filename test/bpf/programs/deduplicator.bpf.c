/* Drops IPv4 packets that were seen before, as a mirror of two ports sends them: a bloom filter over headers. */
#include "packet.h"
#include "hash.h"

struct fingerprint {
	__u32 first;
	__u32 second;
};

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(map_flags, BPF_F_ZERO_SEED);
	__uint(max_entries, 10000);
	__uint(map_extra, 5);
	__type(value, struct fingerprint);
} known SEC(".maps");

SEC("xdp")
int deduplicator(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct ports *ports = (void *)(ip + 1);
	struct fingerprint print;
	__u32 both;

	if ((void *)(ports + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	both = ((__u32)bpf_ntohs(ports->source) << 16) | bpf_ntohs(ports->destination);
	print.first = hash3(bpf_ntohl(ip->saddr), bpf_ntohl(ip->daddr), bpf_ntohs(ip->id), ip->protocol);
	print.second = hash3(both, bpf_ntohs(ip->tot_len), bpf_ntohs(ip->frag_off), print.first);
	if (bpf_map_peek_elem(&known, &print) == 0)
		return XDP_DROP;
	bpf_map_push_elem(&known, &print, BPF_ANY);
	return XDP_PASS;
}
