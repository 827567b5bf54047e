/* Routes IPv4 by a trie and IPv6 by another: counts down time to live or hop limit and sends out by a map of devices. */
#include "packet.h"

struct prefix4 {
	__u32 bits;
	__be32 address;
};

struct prefix6 {
	__u32 bits;
	__be32 address[4];
};

struct next_hop {
	__u8 to[ETH_ALEN];
	__u8 from[ETH_ALEN];
	__u32 device;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct prefix4);
	__type(value, struct next_hop);
} routes4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct prefix6);
	__type(value, struct next_hop);
} routes6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} devices SEC(".maps");

SEC("xdp")
int ttl_router(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data;
	struct next_hop *next;

	if ((void *)(ethernet + 1) > end)
		return XDP_DROP;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(ethernet + 1);
		struct prefix4 key = { .bits = 32 };
		__u32 sum;

		if ((void *)(ip + 1) > end || ip->ttl <= 1)
			return XDP_PASS;
		key.address = ip->daddr;
		next = bpf_map_lookup_elem(&routes4, &key);
		if (!next)
			return XDP_PASS;
		ip->ttl -= 1;
		/* The time to live is the high byte of its word, so that the checksum grows by 0x0100 (RFC 1141). */
		sum = (__u32)ip->check + bpf_htons(0x0100);
		ip->check = sum + (sum >= 0xffff);
	} else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(ethernet + 1);
		struct prefix6 key = { .bits = 128 };

		if ((void *)(ip + 1) > end || ip->hop_limit <= 1)
			return XDP_PASS;
		__builtin_memcpy(key.address, &ip->daddr, sizeof(key.address));
		next = bpf_map_lookup_elem(&routes6, &key);
		if (!next)
			return XDP_PASS;
		ip->hop_limit -= 1;
	} else {
		return XDP_PASS;
	}
	__builtin_memcpy(ethernet->h_dest, next->to, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, next->from, ETH_ALEN);
	return bpf_redirect_map(&devices, next->device, XDP_PASS);
}
