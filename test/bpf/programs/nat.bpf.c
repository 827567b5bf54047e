/* Rewrites the destination of a service to its server, and mends the checksums without reading the payload (RFC 1624). */
#include "packet.h"

struct endpoint {
	__be32 address;
	__be16 port;
	__u8 protocol;
	__u8 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct endpoint);
	__type(value, struct endpoint);
} services SEC(".maps");

/* The difference that a change of address and port makes to a checksum, to be folded into it. */
static __always_inline __u64 difference(__be32 from, __be32 to)
{
	return (__u64)(__u32)~from + to;
}

SEC("xdp")
int nat(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct ports *ports = (void *)(ip + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	struct udphdr *udp = (void *)(ip + 1);
	struct endpoint key = {};
	struct endpoint *server;
	__u64 addresses, both;

	if ((void *)(ports + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (ip->ihl != 5 || (ip->frag_off & bpf_htons(FRAGMENT_OFFSET | MORE_FRAGMENTS)))
		return XDP_PASS;
	key.address = ip->daddr;
	key.port = ports->destination;
	key.protocol = ip->protocol;
	server = bpf_map_lookup_elem(&services, &key);
	if (!server)
		return XDP_PASS;
	addresses = difference(ip->daddr, server->address);
	both = addresses + (__u16)~ports->destination + server->port;
	if (ip->protocol == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > end)
			return XDP_DROP;
		tcp->check = ~fold_wide((__u16)~tcp->check + both);
	} else {
		if ((void *)(udp + 1) > end)
			return XDP_DROP;
		/* RFC 768: 0 stands for no checksum, and stays; a sum that comes out as 0 is sent as 0xffff. */
		if (udp->check) {
			udp->check = ~fold_wide((__u16)~udp->check + both);
			if (!udp->check)
				udp->check = 0xffff;
		}
	}
	ip->check = ~fold_wide((__u16)~ip->check + addresses);
	ip->daddr = server->address;
	ports->destination = server->port;
	return XDP_TX;
}
