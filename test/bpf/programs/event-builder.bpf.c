/* Describes each packet in a nested event of a ring buffer: what an observer in user space reads without parsing. */
#include "packet.h"

struct link {
	__u8 destination[ETH_ALEN];
	__u8 source[ETH_ALEN];
	__u16 type;
	__u16 unused;
};

struct network {
	__u32 source[4];
	__u32 destination[4];
	__u8 version;
	__u8 protocol;
	__u8 hops;
	__u8 service;
	__u16 length;
	__u16 header;
};

struct transport {
	__u16 source;
	__u16 destination;
	__u32 sequence;
	__u32 acknowledgement;
	__u16 window;
	__u16 flags;
};

struct event {
	__u64 number;
	__u32 length;
	__u32 mark;
	struct link link;
	struct network network;
	struct transport transport;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

__u64 number = 0;

static __always_inline void describe_tcp(struct transport *transport, struct tcphdr *tcp)
{
	transport->source = bpf_ntohs(tcp->source);
	transport->destination = bpf_ntohs(tcp->dest);
	transport->sequence = bpf_ntohl(tcp->seq);
	transport->acknowledgement = bpf_ntohl(tcp->ack_seq);
	transport->window = bpf_ntohs(tcp->window);
	transport->flags = ((__u8 *)tcp)[13];
}

static __always_inline void describe_udp(struct transport *transport, struct udphdr *udp)
{
	transport->source = bpf_ntohs(udp->source);
	transport->destination = bpf_ntohs(udp->dest);
}

SEC("tc")
int event_builder(struct __sk_buff *skb)
{
	void *end = (void *)(long)skb->data_end;
	void *data = (void *)(long)skb->data;
	struct ethhdr *ethernet = data;
	struct event *event;
	__u8 protocol = 0;
	void *at = NULL;

	if ((void *)(ethernet + 1) > end)
		return TC_ACT_OK;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return TC_ACT_OK;
	__builtin_memset(event, 0, sizeof(*event));
	event->number = __sync_fetch_and_add(&number, 1);
	event->length = skb->len;
	event->mark = skb->mark;
	__builtin_memcpy(event->link.destination, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(event->link.source, ethernet->h_source, ETH_ALEN);
	event->link.type = bpf_ntohs(ethernet->h_proto);
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(ethernet + 1);

		if ((void *)(ip + 1) <= end) {
			event->network.version = 4;
			event->network.source[0] = bpf_ntohl(ip->saddr);
			event->network.destination[0] = bpf_ntohl(ip->daddr);
			event->network.protocol = protocol = ip->protocol;
			event->network.hops = ip->ttl;
			event->network.service = ip->tos;
			event->network.length = bpf_ntohs(ip->tot_len);
			event->network.header = ip->ihl * 4;
			at = (void *)ip + ip->ihl * 4;
		}
	} else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(ethernet + 1);

		if ((void *)(ip + 1) <= end) {
			event->network.version = 6;
			for (int i = 0; i < 4; i++) {
				event->network.source[i] = bpf_ntohl(ip->saddr.in6_u.u6_addr32[i]);
				event->network.destination[i] = bpf_ntohl(ip->daddr.in6_u.u6_addr32[i]);
			}
			event->network.protocol = protocol = ip->nexthdr;
			event->network.hops = ip->hop_limit;
			event->network.length = bpf_ntohs(ip->payload_len);
			event->network.header = sizeof(*ip);
			at = ip + 1;
		}
	}
	if (at && protocol == IPPROTO_TCP && at + sizeof(struct tcphdr) <= end)
		describe_tcp(&event->transport, at);
	else if (at && protocol == IPPROTO_UDP && at + sizeof(struct udphdr) <= end)
		describe_udp(&event->transport, at);
	bpf_ringbuf_submit(event, 0);
	return TC_ACT_OK;
}
