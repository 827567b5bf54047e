/* Answers TCP packets to closed ports with a reset (RFC 9293 section 3.10.7.1), made in place. */
#include "packet.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __be16);
	__type(value, __u64);
} closed SEC(".maps");

SEC("xdp")
int tcp_reset(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u32 length = sizeof(*ethernet) + sizeof(*ip) + sizeof(*tcp);
	__u32 consumed;
	__be32 address;
	__u32 words = 0;
	__u64 sum;
	__be16 port;
	__u64 *hits;

	if ((void *)(tcp + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (ip->ihl != 5 || ip->protocol != IPPROTO_TCP || tcp->rst)
		return XDP_PASS;
	port = tcp->dest;
	hits = bpf_map_lookup_elem(&closed, &port);
	if (!hits)
		return XDP_PASS;
	__sync_fetch_and_add(hits, 1);
	if (tcp->doff < 5 || bpf_ntohs(ip->tot_len) < sizeof(*ip) + tcp->doff * 4)
		return XDP_DROP;
	consumed = bpf_ntohs(ip->tot_len) - sizeof(*ip) - tcp->doff * 4 + tcp->syn + tcp->fin;

	swap_addresses(ethernet);
	address = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = address;
	ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(*tcp));
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000);
	ip->ttl = 64;
	ip->check = 0;
	for (int i = 0; i < 10; i++)
		words += ((__u16 *)ip)[i];
	ip->check = ~fold(words);

	tcp->dest = tcp->source;
	tcp->source = port;
	if (tcp->ack) {
		tcp->seq = tcp->ack_seq;
		tcp->ack_seq = 0;
		((__u8 *)tcp)[13] = 0x04;
	} else {
		tcp->ack_seq = bpf_htonl(bpf_ntohl(tcp->seq) + consumed);
		tcp->seq = 0;
		((__u8 *)tcp)[13] = 0x14;
	}
	((__u8 *)tcp)[12] = 0x50;
	tcp->window = 0;
	tcp->check = 0;
	tcp->urg_ptr = 0;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)tcp, sizeof(*tcp), 0);
	sum += (__u64)ip->saddr + ip->daddr + bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(*tcp));
	tcp->check = ~fold_wide(sum);
	if (bpf_xdp_adjust_tail(context, (int)(length - (context->data_end - context->data))))
		return XDP_DROP;
	return XDP_TX;
}
