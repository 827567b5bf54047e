/* Takes the outer IPv4 header off IPIP (RFC 2003) and 6in4 (RFC 4213) packets to this host's tunnel addresses. */
#include "packet.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __be32);
	__type(value, struct counters);
} endpoints SEC(".maps");

SEC("xdp")
int decapsulate(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data, *inner;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct counters *counters;
	__be32 destination;
	__be16 type;

	if ((void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5)
		return XDP_PASS;
	if (ip->protocol == IPPROTO_IPIP)
		type = bpf_htons(ETH_P_IP);
	else if (ip->protocol == IPPROTO_IPV6)
		type = bpf_htons(ETH_P_IPV6);
	else
		return XDP_PASS;
	destination = ip->daddr;
	counters = bpf_map_lookup_elem(&endpoints, &destination);
	if (!counters)
		return XDP_PASS;
	counters->packets += 1;
	counters->bytes += bpf_ntohs(ip->tot_len);

	/* The addresses stay, moved up to the inner header. */
	inner = data + sizeof(*ip);
	if ((void *)(inner + 1) > end)
		return XDP_DROP;
	__builtin_memmove(inner, ethernet, 2 * ETH_ALEN);
	inner->h_proto = type;
	if (bpf_xdp_adjust_head(context, sizeof(*ip)))
		return XDP_DROP;
	return XDP_PASS;
}
