/* Marks the service class of packets by their destination port, in IPv4 and IPv6, and mends the IPv4 checksum. */
#include "packet.h"

#define ECN 0x03

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __be16);
	__type(value, __u8);
} services SEC(".maps");

SEC("tc")
int dscp_marker(struct __sk_buff *skb)
{
	void *end = (void *)(long)skb->data_end;
	void *data = (void *)(long)skb->data;
	struct ethhdr *ethernet = data;
	struct ports *ports;
	__u8 *service;
	__be16 port;

	if ((void *)(ethernet + 1) > end)
		return TC_ACT_OK;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(ethernet + 1);
		__u8 before, after;

		ports = (void *)(ip + 1);
		if ((void *)(ports + 1) > end || ip->ihl != 5)
			return TC_ACT_OK;
		if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
			return TC_ACT_OK;
		port = ports->destination;
		service = bpf_map_lookup_elem(&services, &port);
		if (!service)
			return TC_ACT_OK;
		before = ip->tos;
		after = (*service << 2) | (before & ECN);
		ip->tos = after;
		ip->check = update_checksum(ip->check, bpf_htons(before), bpf_htons(after));
		skb->priority = *service;
	} else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(ethernet + 1);
		__u8 *bytes = (void *)ip;
		__u8 class;

		ports = (void *)(ip + 1);
		if ((void *)(ports + 1) > end)
			return TC_ACT_OK;
		if (ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_UDP)
			return TC_ACT_OK;
		port = ports->destination;
		service = bpf_map_lookup_elem(&services, &port);
		if (!service)
			return TC_ACT_OK;
		/* The traffic class lies across two bytes. */
		class = (*service << 2) | ((bytes[1] >> 4) & ECN);
		bytes[0] = (bytes[0] & 0xf0) | (class >> 4);
		bytes[1] = (class << 4) | (bytes[1] & 0x0f);
		skb->priority = *service;
	}
	return TC_ACT_OK;
}
