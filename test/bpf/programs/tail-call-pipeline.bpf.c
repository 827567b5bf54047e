/* A pipeline of tail calls: the first program finds the protocol, others judge by it; what has none is passed and counted. */
#include "packet.h"

#define STAGES 3

enum stage { STAGE_IPV4, STAGE_IPV6, STAGE_TCP };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STAGES + 1);
	__type(key, __u32);
	__type(value, __u64);
} visits SEC(".maps");

int judge_ipv4(struct xdp_md *context);
int judge_ipv6(struct xdp_md *context);
int judge_tcp(struct xdp_md *context);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, STAGES);
	__uint(key_size, sizeof(__u32));
	__array(values, int(struct xdp_md *));
} stages SEC(".maps") = {
	.values = {
		[STAGE_IPV4] = &judge_ipv4,
		[STAGE_IPV6] = &judge_ipv6,
		[STAGE_TCP] = &judge_tcp,
	},
};

static __always_inline void visit(__u32 stage)
{
	__u64 *counter = bpf_map_lookup_elem(&visits, &stage);

	if (counter)
		__sync_fetch_and_add(counter, 1);
}

SEC("xdp")
int judge_tcp(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct tcphdr *tcp = data + sizeof(struct ethhdr) + sizeof(struct iphdr);

	visit(STAGE_TCP);
	if ((void *)(tcp + 1) > end || tcp->doff < 5)
		return XDP_DROP;
	/* No flags, or such as exclude each other: what scanners send. */
	if ((tcp->syn && (tcp->fin || tcp->rst)) || !(tcp->syn || tcp->fin || tcp->rst || tcp->ack))
		return XDP_DROP;
	return XDP_PASS;
}

SEC("xdp")
int judge_ipv4(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct iphdr *ip = data + sizeof(struct ethhdr);

	visit(STAGE_IPV4);
	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
		return XDP_DROP;
	if (ip->ihl == 5 && ip->protocol == IPPROTO_TCP && !(ip->frag_off & bpf_htons(FRAGMENT_OFFSET)))
		bpf_tail_call(context, &stages, STAGE_TCP);
	return XDP_PASS;
}

SEC("xdp")
int judge_ipv6(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ipv6hdr *ip = data + sizeof(struct ethhdr);

	visit(STAGE_IPV6);
	if ((void *)(ip + 1) > end || ip->version != 6)
		return XDP_DROP;
	return ip->hop_limit == 0 ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int tail_call_pipeline(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data;

	if ((void *)(ethernet + 1) > end)
		return XDP_DROP;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP))
		bpf_tail_call(context, &stages, STAGE_IPV4);
	else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6))
		bpf_tail_call(context, &stages, STAGE_IPV6);
	visit(STAGES);
	return XDP_PASS;
}
