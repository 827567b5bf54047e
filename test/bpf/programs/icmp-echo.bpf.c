/* Answers echo requests of ICMP and ICMPv6 in place. */
#include "packet.h"

#define ECHO_REPLY 0
#define ECHO_REQUEST 8
#define ECHO_REQUEST_6 128
#define ECHO_REPLY_6 129

SEC("xdp")
int icmp_echo(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data;
	struct icmp_header *icmp;

	if ((void *)(ethernet + 1) > end)
		return XDP_PASS;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(ethernet + 1);
		__be32 address;

		icmp = (void *)(ip + 1);
		if ((void *)(icmp + 1) > end || ip->ihl != 5 || ip->protocol != IPPROTO_ICMP)
			return XDP_PASS;
		if (ip->frag_off & bpf_htons(FRAGMENT_OFFSET | MORE_FRAGMENTS))
			return XDP_PASS;
		if (icmp->type != ECHO_REQUEST || icmp->code != 0)
			return XDP_PASS;
		address = ip->saddr;
		ip->saddr = ip->daddr;
		ip->daddr = address;
		icmp->type = ECHO_REPLY;
		icmp->checksum = update_checksum(icmp->checksum, ECHO_REQUEST, ECHO_REPLY);
	} else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(ethernet + 1);
		struct in6_addr address;

		icmp = (void *)(ip + 1);
		if ((void *)(icmp + 1) > end || ip->nexthdr != IPPROTO_ICMPV6)
			return XDP_PASS;
		if (icmp->type != ECHO_REQUEST_6 || icmp->code != 0)
			return XDP_PASS;
		address = ip->saddr;
		ip->saddr = ip->daddr;
		ip->daddr = address;
		icmp->type = ECHO_REPLY_6;
		icmp->checksum = update_checksum(icmp->checksum, ECHO_REQUEST_6, ECHO_REPLY_6);
	} else {
		return XDP_PASS;
	}
	swap_addresses(ethernet);
	return XDP_TX;
}
