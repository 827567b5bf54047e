/* Opens a port to those who sent packets to three others, in order and within a time. */
#include "packet.h"

#define KNOCKS 3

struct progress {
	__u64 last_ns;
	__u32 step;
	__u32 opened;
};

const volatile __u16 guarded = 22;
const volatile __u16 sequence[KNOCKS] = { 1001, 2002, 3003 };
const volatile __u64 patience_ns = 5000000000;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __be32);
	__type(value, struct progress);
} visitors SEC(".maps");

SEC("xdp")
int port_knocking(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct ports *ports = (void *)(ip + 1);
	struct progress *progress;
	__be32 source;
	__u16 port;
	__u64 now;

	if ((void *)(ports + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (ip->ihl != 5 || (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP))
		return XDP_PASS;
	port = bpf_ntohs(ports->destination);
	source = ip->saddr;
	progress = bpf_map_lookup_elem(&visitors, &source);
	if (port == guarded)
		return progress && progress->step == KNOCKS ? XDP_PASS : XDP_DROP;
	now = bpf_ktime_get_ns();
	if (!progress) {
		struct progress first = { .last_ns = now, .step = 1 };

		if (port == sequence[0])
			bpf_map_update_elem(&visitors, &source, &first, BPF_ANY);
		return XDP_PASS;
	}
	if (progress->step >= KNOCKS)
		return XDP_PASS;
	if (now - progress->last_ns > patience_ns)
		progress->step = 0;
	if (progress->step < KNOCKS && port == sequence[progress->step]) {
		progress->step += 1;
		progress->last_ns = now;
		if (progress->step == KNOCKS)
			progress->opened += 1;
	} else {
		progress->step = port == sequence[0] ? 1 : 0;
		progress->last_ns = now;
	}
	return XDP_PASS;
}
