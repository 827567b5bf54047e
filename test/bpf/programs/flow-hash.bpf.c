/* Hashes flows into 64 classes, counts each class on its CPU, and leaves the class as the packet's mark. */
#include "packet.h"
#include "hash.h"

#define CLASSES 64

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CLASSES);
	__type(key, __u32);
	__type(value, struct counters);
} classes SEC(".maps");

SEC("tc")
int flow_hash(struct __sk_buff *skb)
{
	void *end = (void *)(long)skb->data_end;
	void *data = (void *)(long)skb->data;
	struct ethhdr *ethernet = data;
	struct counters *counters;
	__u32 hash, class;

	if ((void *)(ethernet + 1) > end)
		return TC_ACT_SHOT;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(ethernet + 1);
		__u32 both = 0;

		if ((void *)(ip + 1) > end)
			return TC_ACT_SHOT;
		if (ip->ihl == 5 && (ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP)) {
			struct ports *ports = (void *)(ip + 1);

			if ((void *)(ports + 1) <= end)
				both = ((__u32)bpf_ntohs(ports->source) << 16) | bpf_ntohs(ports->destination);
		}
		hash = hash3(bpf_ntohl(ip->saddr), bpf_ntohl(ip->daddr), both, ip->protocol);
	} else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(ethernet + 1);
		__be32 *from, *to;

		if ((void *)(ip + 1) > end)
			return TC_ACT_SHOT;
		from = ip->saddr.in6_u.u6_addr32;
		to = ip->daddr.in6_u.u6_addr32;
		hash = ip->nexthdr;
		for (int i = 0; i < 4; i++)
			hash = hash3(bpf_ntohl(from[i]), bpf_ntohl(to[i]), hash, i);
	} else {
		return TC_ACT_OK;
	}
	class = hash % CLASSES;
	counters = bpf_map_lookup_elem(&classes, &class);
	if (counters) {
		counters->packets += 1;
		counters->bytes += skb->len;
	}
	skb->mark = class;
	return TC_ACT_OK;
}
