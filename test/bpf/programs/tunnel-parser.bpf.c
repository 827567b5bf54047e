/* Counts by tenant what VXLAN (RFC 7348) and GRE with a key (RFC 2890) carry, by the type of the inner packet. */
#include "packet.h"

#define GRE_CHECKSUM 0x8000
#define GRE_KEY 0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_VERSION 0x0007
#define VXLAN_PORT 4789
#define VXLAN_VALID 0x08
#define TYPE_ETHERNET 0x6558

struct tenant {
	__u32 network;
	__u16 type;
	__u8 protocol;
	__u8 tunnel;
};

struct gre_header {
	__be16 flags;
	__be16 type;
};

struct vxlan_header {
	__u8 flags;
	__u8 reserved[3];
	__be32 network;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct tenant);
	__type(value, struct counters);
} tenants SEC(".maps");

static __always_inline void count(struct tenant *tenant, __u32 length)
{
	struct counters *known = bpf_map_lookup_elem(&tenants, tenant);
	struct counters first = { .packets = 1, .bytes = length };

	if (known) {
		known->packets += 1;
		known->bytes += length;
	} else {
		bpf_map_update_elem(&tenants, tenant, &first, BPF_ANY);
	}
}

SEC("tc")
int tunnel_parser(struct __sk_buff *skb)
{
	void *end = (void *)(long)skb->data_end;
	void *data = (void *)(long)skb->data;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1), *inner;
	struct tenant tenant = {};
	void *at = ip + 1;
	__be16 type;

	if (at > end || ethernet->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5)
		return TC_ACT_OK;
	if (ip->protocol == IPPROTO_GRE) {
		struct gre_header *gre = at;
		__u16 flags;

		if ((void *)(gre + 1) > end)
			return TC_ACT_SHOT;
		flags = bpf_ntohs(gre->flags);
		if ((flags & GRE_VERSION) || !(flags & GRE_KEY))
			return TC_ACT_OK;
		type = gre->type;
		at = gre + 1;
		if (flags & GRE_CHECKSUM)
			at += 4;
		if (at + 4 > end)
			return TC_ACT_SHOT;
		tenant.network = bpf_ntohl(*(__be32 *)at);
		tenant.tunnel = 1;
		at += flags & GRE_SEQUENCE ? 8 : 4;
	} else if (ip->protocol == IPPROTO_UDP) {
		struct udphdr *udp = at;
		struct vxlan_header *vxlan = (void *)(udp + 1);

		if ((void *)(vxlan + 1) > end || udp->dest != bpf_htons(VXLAN_PORT) || !(vxlan->flags & VXLAN_VALID))
			return TC_ACT_OK;
		tenant.network = bpf_ntohl(vxlan->network) >> 8;
		tenant.tunnel = 2;
		type = bpf_htons(TYPE_ETHERNET);
		at = vxlan + 1;
	} else {
		return TC_ACT_OK;
	}
	if (type == bpf_htons(TYPE_ETHERNET)) {
		ethernet = at;
		if ((void *)(ethernet + 1) > end)
			return TC_ACT_SHOT;
		type = ethernet->h_proto;
		at = ethernet + 1;
	}
	if (type == bpf_htons(ETH_P_IP)) {
		inner = at;
		if ((void *)(inner + 1) > end)
			return TC_ACT_SHOT;
		tenant.protocol = inner->protocol;
	}
	tenant.type = bpf_ntohs(type);
	count(&tenant, skb->len);
	return TC_ACT_OK;
}
