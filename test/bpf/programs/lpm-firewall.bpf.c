/* Drops what comes from prefixes that a table denies; the longest prefix decides. Counts by rule. */
#include "packet.h"

struct prefix4 {
	__u32 bits;
	__be32 address;
};

struct prefix6 {
	__u32 bits;
	__be32 address[4];
};

struct rule {
	__u64 hits;
	__u32 verdict;
	__u32 id;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct prefix4);
	__type(value, struct rule);
} rules4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct prefix6);
	__type(value, struct rule);
} rules6 SEC(".maps");

static __always_inline int apply(struct rule *rule)
{
	if (!rule)
		return XDP_PASS;
	__sync_fetch_and_add(&rule->hits, 1);
	return rule->verdict;
}

SEC("xdp")
int lpm_firewall(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data;

	if ((void *)(ethernet + 1) > end)
		return XDP_DROP;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(ethernet + 1);
		struct prefix4 key = { .bits = 32 };

		if ((void *)(ip + 1) > end)
			return XDP_DROP;
		key.address = ip->saddr;
		return apply(bpf_map_lookup_elem(&rules4, &key));
	}
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(ethernet + 1);
		struct prefix6 key = { .bits = 128 };

		if ((void *)(ip + 1) > end)
			return XDP_DROP;
		__builtin_memcpy(key.address, &ip->saddr, sizeof(key.address));
		return apply(bpf_map_lookup_elem(&rules6, &key));
	}
	return XDP_PASS;
}
