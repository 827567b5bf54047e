/* A socket filter: keeps ICMP, and TCP and UDP to the ports of a set; answers how many bytes to keep. */
#include "packet.h"

#define WHOLE 0x40000

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __be16);
	__type(value, __u64);
} allowed SEC(".maps");

static __always_inline int by_port(struct __sk_buff *skb, __u32 offset)
{
	struct ports ports;
	__u64 *hits;

	if (bpf_skb_load_bytes_relative(skb, offset, &ports, sizeof(ports), BPF_HDR_START_NET) < 0)
		return 0;
	hits = bpf_map_lookup_elem(&allowed, &ports.destination);
	if (!hits)
		return 0;
	__sync_fetch_and_add(hits, 1);
	return WHOLE;
}

SEC("socket")
int packet_filter(struct __sk_buff *skb)
{
	struct ipv6hdr ip6;
	struct iphdr ip;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes_relative(skb, 0, &ip, sizeof(ip), BPF_HDR_START_NET) < 0)
			return 0;
		if (ip.protocol == IPPROTO_ICMP)
			return WHOLE;
		if (ip.frag_off & bpf_htons(FRAGMENT_OFFSET))
			return 0;
		if (ip.protocol != IPPROTO_TCP && ip.protocol != IPPROTO_UDP)
			return 0;
		return by_port(skb, ip.ihl * 4);
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (bpf_skb_load_bytes_relative(skb, 0, &ip6, sizeof(ip6), BPF_HDR_START_NET) < 0)
			return 0;
		if (ip6.nexthdr == IPPROTO_ICMPV6)
			return WHOLE;
		if (ip6.nexthdr != IPPROTO_TCP && ip6.nexthdr != IPPROTO_UDP)
			return 0;
		return by_port(skb, sizeof(ip6));
	}
	return 0;
}
