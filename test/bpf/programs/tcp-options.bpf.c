/*
 * Reads the options of TCP packets that open a connection, and keeps by address what the peer offered. The options are first only
 * found: a loop that also told them apart would have more paths than the verifier follows.
 */
#include "packet.h"

#define OPTIONS_MAX 20
#define KINDS 16

struct offer {
	__u32 stamp;
	__u16 segment;
	__u8 scale;
	__u8 selective;
	__u16 window;
	__u8 count;
	__u8 unused;
};

struct option {
	__u8 kind;
	__u8 length;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __be32);
	__type(value, struct offer);
} offers SEC(".maps");

SEC("xdp")
int tcp_options(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u32 offset = sizeof(*tcp), header;
	__u8 positions[KINDS] = {};
	struct offer offer = {};
	__be32 source;
	void *at;

	if ((void *)(tcp + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (ip->ihl != 5 || ip->protocol != IPPROTO_TCP || !tcp->syn)
		return XDP_PASS;
	header = tcp->doff * 4;
	for (int i = 0; i < OPTIONS_MAX && offset < header; i++) {
		__u8 *kind = (void *)tcp + offset;
		struct option *option;

		if ((void *)(kind + 1) > end)
			return XDP_DROP;
		if (*kind == 0)
			break;
		if (*kind == 1) {
			offset += 1;
			continue;
		}
		option = (void *)kind;
		if ((void *)(option + 1) > end || option->length < 2)
			return XDP_DROP;
		if (option->kind < KINDS)
			positions[option->kind] = offset;
		offer.count += 1;
		offset += option->length;
	}

	offer.window = bpf_ntohs(tcp->window);
	offer.selective = positions[4] != 0;
	if (positions[2]) {
		at = (void *)tcp + positions[2];
		if (at + 4 > end)
			return XDP_DROP;
		offer.segment = bpf_ntohs(*(__be16 *)(at + 2));
	}
	if (positions[3]) {
		at = (void *)tcp + positions[3];
		if (at + 3 > end)
			return XDP_DROP;
		offer.scale = *(__u8 *)(at + 2);
	}
	if (positions[8]) {
		at = (void *)tcp + positions[8];
		if (at + 6 > end)
			return XDP_DROP;
		offer.stamp = bpf_ntohl(*(__be32 *)(at + 2));
	}
	source = ip->saddr;
	bpf_map_update_elem(&offers, &source, &offer, BPF_ANY);
	return XDP_PASS;
}
