/* Sends each flow to one of many backends by a Maglev ring that user space fills, and out again where it came from. */
#include "packet.h"
#include "hash.h"

#define RING 65537

struct backend {
	__u8 address[ETH_ALEN];
	__u16 unused;
	__u64 packets;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RING);
	__type(key, __u32);
	__type(value, __u32);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct backend);
} backends SEC(".maps");

SEC("xdp")
int maglev(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct ports *ports = (void *)(ip + 1);
	struct backend *backend;
	__u32 slot, *index;

	if ((void *)(ports + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5)
		return XDP_PASS;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return XDP_PASS;
	slot = hash3(bpf_ntohl(ip->saddr), bpf_ntohl(ip->daddr),
		     ((__u32)bpf_ntohs(ports->source) << 16) | bpf_ntohs(ports->destination), ip->protocol) % RING;
	index = bpf_map_lookup_elem(&ring, &slot);
	if (!index)
		return XDP_ABORTED;
	backend = bpf_map_lookup_elem(&backends, index);
	if (!backend)
		return XDP_DROP;
	__builtin_memcpy(ethernet->h_source, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, backend->address, ETH_ALEN);
	__sync_fetch_and_add(&backend->packets, 1);
	return XDP_TX;
}
