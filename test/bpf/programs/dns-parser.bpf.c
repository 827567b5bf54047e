/* Reads the name that a DNS query asks for, without regard to case, and drops queries for names of a block list. */
#include "packet.h"

#define NAME_MAX 64
#define OFFSET_BASIS 2166136261u
#define PRIME 16777619u

struct dns_header {
	__be16 id;
	__be16 flags;
	__be16 questions;
	__be16 answers;
	__be16 authorities;
	__be16 additional;
};

struct question {
	__be16 type;
	__be16 class;
};

struct query {
	__u32 hash;
	__u16 type;
	__u8 labels;
	__u8 length;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} blocked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct query);
	__type(value, __u64);
} queries SEC(".maps");

SEC("xdp")
int dns_parser(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct udphdr *udp = (void *)(ip + 1);
	struct dns_header *dns = (void *)(udp + 1);
	__u32 hash = OFFSET_BASIS, labels = 0, left = 0, length;
	struct question *question;
	struct query query = {};
	__u64 *hits, one = 1;
	__u8 *name = (void *)(dns + 1);

	if ((void *)(dns + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (ip->ihl != 5 || ip->protocol != IPPROTO_UDP || udp->dest != bpf_htons(53))
		return XDP_PASS;
	if ((dns->flags & bpf_htons(0xf800)) || dns->questions != bpf_htons(1))
		return XDP_PASS;
	for (length = 0; length < NAME_MAX; length++) {
		__u8 *at = name + length;
		__u32 byte;

		if ((void *)(at + 1) > end)
			return XDP_DROP;
		byte = *at;
		if (left == 0) {
			if (byte == 0)
				break;
			if (byte > 63)
				return XDP_DROP;
			labels += 1;
			left = byte;
		} else {
			if (byte >= 'A' && byte <= 'Z')
				byte += 'a' - 'A';
			left -= 1;
		}
		hash = (hash ^ byte) * PRIME;
	}
	if (length == NAME_MAX)
		return XDP_DROP;
	question = (void *)(name + length + 1);
	if ((void *)(question + 1) > end)
		return XDP_DROP;
	query.hash = hash;
	query.type = bpf_ntohs(question->type);
	query.labels = labels;
	query.length = length;
	hits = bpf_map_lookup_elem(&queries, &query);
	if (hits)
		*hits += 1;
	else
		bpf_map_update_elem(&queries, &query, &one, BPF_ANY);
	hits = bpf_map_lookup_elem(&blocked, &hash);
	if (!hits)
		return XDP_PASS;
	*hits += 1;
	return XDP_DROP;
}
