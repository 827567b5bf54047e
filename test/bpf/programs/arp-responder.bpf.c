/* Answers ARP requests for addresses of a table, without the stack. */
#include "packet.h"

struct hardware {
	__u8 address[ETH_ALEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __be32);
	__type(value, struct hardware);
} neighbours SEC(".maps");

SEC("xdp")
int arp_responder(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data;
	struct arp_packet *arp = (void *)(ethernet + 1);
	struct hardware *own;
	__be32 target;

	if ((void *)(arp + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_ARP))
		return XDP_PASS;
	if (arp->hardware != bpf_htons(1) || arp->protocol != bpf_htons(ETH_P_IP) || arp->hardware_length != ETH_ALEN ||
	    arp->protocol_length != 4 || arp->operation != bpf_htons(1))
		return XDP_PASS;
	target = arp->target;
	own = bpf_map_lookup_elem(&neighbours, &target);
	if (!own)
		return XDP_PASS;
	__builtin_memcpy(ethernet->h_dest, arp->sender_hardware, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, own->address, ETH_ALEN);
	arp->operation = bpf_htons(2);
	__builtin_memcpy(arp->target_hardware, arp->sender_hardware, ETH_ALEN);
	arp->target = arp->sender;
	__builtin_memcpy(arp->sender_hardware, own->address, ETH_ALEN);
	arp->sender = target;
	return XDP_TX;
}
