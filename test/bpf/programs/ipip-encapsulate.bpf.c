/* Puts an IPv4 header around packets to certain addresses (RFC 2003) and sends them to the tunnel's end. */
#include "packet.h"

struct tunnel {
	__be32 source;
	__be32 destination;
	__u8 next_hop[ETH_ALEN];
	__u16 identification;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __be32);
	__type(value, struct tunnel);
} tunnels SEC(".maps");

SEC("xdp")
int ipip_encapsulate(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data, *outer_ethernet;
	struct iphdr *ip = (void *)(ethernet + 1), *outer;
	struct tunnel *tunnel;
	__be32 destination;
	__u16 length;
	__u8 tos;
	__u32 sum = 0;

	if ((void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	destination = ip->daddr;
	tunnel = bpf_map_lookup_elem(&tunnels, &destination);
	if (!tunnel)
		return XDP_PASS;
	length = bpf_ntohs(ip->tot_len) + sizeof(*outer);
	tos = ip->tos;
	if (bpf_xdp_adjust_head(context, -(int)sizeof(*outer)))
		return XDP_DROP;

	end = (void *)(long)context->data_end;
	data = (void *)(long)context->data;
	outer_ethernet = data;
	outer = (void *)(outer_ethernet + 1);
	ethernet = data + sizeof(*outer);
	if ((void *)(ethernet + 1) > end || (void *)(outer + 1) > end)
		return XDP_DROP;
	__builtin_memcpy(outer_ethernet->h_source, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(outer_ethernet->h_dest, tunnel->next_hop, ETH_ALEN);
	outer_ethernet->h_proto = bpf_htons(ETH_P_IP);
	outer->version = 4;
	outer->ihl = 5;
	outer->tos = tos;
	outer->tot_len = bpf_htons(length);
	outer->id = bpf_htons(tunnel->identification);
	outer->frag_off = 0;
	outer->ttl = 64;
	outer->protocol = IPPROTO_IPIP;
	outer->check = 0;
	outer->saddr = tunnel->source;
	outer->daddr = tunnel->destination;
	for (int i = 0; i < 10; i++)
		sum += ((__u16 *)outer)[i];
	outer->check = ~fold(sum);
	return XDP_TX;
}
