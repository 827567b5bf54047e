/*
 * Answers connection attempts to a port by SYN cookies without any state, and lets only those packets through whose
 * acknowledgement holds a cookie of this minute or the one before. The cookie is SipHash-2-4 of addresses, ports and minute.
 */
#include "packet.h"

const volatile __u64 key0 = 0x0706050403020100;
const volatile __u64 key1 = 0x0f0e0d0c0b0a0908;
const volatile __u16 port = 80;
__u32 minute = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} outcomes SEC(".maps");

enum outcome { SENT, VALID, INVALID };

static __always_inline __u64 rotate64(__u64 value, __u32 by)
{
	return (value << by) | (value >> (64 - by));
}

struct sip {
	__u64 a, b, c, d;
};

static __always_inline void sip_round(struct sip *sip)
{
	sip->a += sip->b;
	sip->b = rotate64(sip->b, 13) ^ sip->a;
	sip->a = rotate64(sip->a, 32);
	sip->c += sip->d;
	sip->d = rotate64(sip->d, 16) ^ sip->c;
	sip->a += sip->d;
	sip->d = rotate64(sip->d, 21) ^ sip->a;
	sip->c += sip->b;
	sip->b = rotate64(sip->b, 17) ^ sip->c;
	sip->c = rotate64(sip->c, 32);
}

static __always_inline void sip_word(struct sip *sip, __u64 word)
{
	sip->d ^= word;
	sip_round(sip);
	sip_round(sip);
	sip->a ^= word;
}

static __always_inline __u32 cookie(__u32 source, __u32 destination, __u32 ports, __u32 at)
{
	struct sip sip = {
		.a = 0x736f6d6570736575 ^ key0,
		.b = 0x646f72616e646f6d ^ key1,
		.c = 0x6c7967656e657261 ^ key0,
		.d = 0x7465646279746573 ^ key1,
	};

	sip_word(&sip, ((__u64)destination << 32) | source);
	sip_word(&sip, ((__u64)at << 32) | ports);
	sip_word(&sip, 16ull << 56);
	sip.c ^= 0xff;
	sip_round(&sip);
	sip_round(&sip);
	sip_round(&sip);
	sip_round(&sip);
	return sip.a ^ sip.b ^ sip.c ^ sip.d;
}

static __always_inline void note(__u32 outcome)
{
	__u64 *counter = bpf_map_lookup_elem(&outcomes, &outcome);

	if (counter)
		__sync_fetch_and_add(counter, 1);
}

/* Makes the SYN a SYN with acknowledgement, in place and without options. */
static __always_inline int answer(struct xdp_md *context, struct ethhdr *ethernet, struct iphdr *ip,
				  struct tcphdr *tcp, __u32 sequence)
{
	__u32 length = sizeof(*ethernet) + sizeof(*ip) + sizeof(*tcp);
	__u32 before = context->data_end - context->data;
	__be32 address = ip->saddr;
	__be16 source = tcp->source;
	__u32 words = 0;
	__u64 sum;

	swap_addresses(ethernet);
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

	tcp->source = tcp->dest;
	tcp->dest = source;
	tcp->ack_seq = bpf_htonl(bpf_ntohl(tcp->seq) + 1);
	tcp->seq = bpf_htonl(sequence);
	((__u8 *)tcp)[12] = 0x50;
	((__u8 *)tcp)[13] = 0x12;
	tcp->window = bpf_htons(65535);
	tcp->check = 0;
	tcp->urg_ptr = 0;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)tcp, sizeof(*tcp), 0);
	sum += (__u64)ip->saddr + ip->daddr + bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(*tcp));
	tcp->check = ~fold_wide(sum);
	note(SENT);
	if (bpf_xdp_adjust_tail(context, (int)(length - before)))
		return XDP_DROP;
	return XDP_TX;
}

SEC("xdp")
int syn_cookie(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u32 ports, given;

	if ((void *)(tcp + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (ip->ihl != 5 || ip->protocol != IPPROTO_TCP || tcp->dest != bpf_htons(port))
		return XDP_PASS;
	ports = ((__u32)bpf_ntohs(tcp->source) << 16) | bpf_ntohs(tcp->dest);
	if (tcp->syn) {
		if (tcp->ack)
			return XDP_DROP;
		return answer(context, ethernet, ip, tcp, cookie(bpf_ntohl(ip->saddr), bpf_ntohl(ip->daddr), ports, minute));
	}
	if (!tcp->ack)
		return XDP_DROP;
	given = bpf_ntohl(tcp->ack_seq) - 1;
	for (__u32 age = 0; age < 2; age++) {
		if (cookie(bpf_ntohl(ip->saddr), bpf_ntohl(ip->daddr), ports, minute - age) == given) {
			note(VALID);
			return XDP_PASS;
		}
	}
	note(INVALID);
	return XDP_DROP;
}
