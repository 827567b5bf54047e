/* Finds the flow of a packet behind up to two VLAN tags and IPv6 extension headers, and counts by flow. */
#include "packet.h"

#define TAGS_MAX 2
#define EXTENSIONS_MAX 6

struct flow {
	__be32 source[4];
	__be32 destination[4];
	__be16 source_port;
	__be16 destination_port;
	__u16 vlan;
	__u8 protocol;
	__u8 version;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct flow);
	__type(value, struct counters);
} flows SEC(".maps");

struct extension {
	__u8 next;
	__u8 length;
	__be16 fragment;
};

static __always_inline int count(struct flow *flow, __u32 length)
{
	struct counters *known = bpf_map_lookup_elem(&flows, flow);

	if (known) {
		known->packets += 1;
		known->bytes += length;
	} else {
		struct counters first = { .packets = 1, .bytes = length };

		bpf_map_update_elem(&flows, flow, &first, BPF_ANY);
	}
	return XDP_PASS;
}

SEC("xdp")
int l4_parser(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data;
	struct flow flow = {};
	int is_fragment = 0;
	struct ports *ports;
	void *at = ethernet + 1;
	__be16 type;
	__u8 next;

	if (at > end)
		return XDP_DROP;
	type = ethernet->h_proto;
	for (int i = 0; i < TAGS_MAX; i++) {
		struct vlan_header *tag = at;

		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 1) > end)
			return XDP_DROP;
		flow.vlan = bpf_ntohs(tag->tci) & 0xfff;
		type = tag->type;
		at = tag + 1;
	}

	if (type == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = at;

		if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
			return XDP_DROP;
		flow.version = 4;
		flow.source[0] = ip->saddr;
		flow.destination[0] = ip->daddr;
		is_fragment = (ip->frag_off & bpf_htons(FRAGMENT_OFFSET)) != 0;
		next = ip->protocol;
		at += ip->ihl * 4;
	} else if (type == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = at;

		if ((void *)(ip + 1) > end || ip->version != 6)
			return XDP_DROP;
		flow.version = 6;
		__builtin_memcpy(flow.source, &ip->saddr, sizeof(flow.source));
		__builtin_memcpy(flow.destination, &ip->daddr, sizeof(flow.destination));
		next = ip->nexthdr;
		at = ip + 1;
		for (int i = 0; i < EXTENSIONS_MAX; i++) {
			struct extension *extension = at;

			if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
			    next != IPPROTO_FRAGMENT && next != IPPROTO_AH)
				break;
			if ((void *)(extension + 1) > end)
				return XDP_DROP;
			if (next == IPPROTO_FRAGMENT) {
				is_fragment |= (extension->fragment & bpf_htons(0xfff8)) != 0;
				at += 8;
			} else if (next == IPPROTO_AH) {
				at += (extension->length + 2) * 4;
			} else {
				at += (extension->length + 1) * 8;
			}
			next = extension->next;
		}
	} else {
		return XDP_PASS;
	}

	flow.protocol = next;
	if (!is_fragment && (next == IPPROTO_TCP || next == IPPROTO_UDP)) {
		ports = at;
		if ((void *)(ports + 1) > end)
			return XDP_DROP;
		flow.source_port = ports->source;
		flow.destination_port = ports->destination;
	}
	return count(&flow, end - data);
}
