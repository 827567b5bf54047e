/* Chooses the socket of a group by the worker that a datagram names in its first byte, else by the flow's hash. */
#include "packet.h"

#define WORKERS 16

const volatile __u32 workers = 4;

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, WORKERS);
	__type(key, __u32);
	__type(value, __u64);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WORKERS);
	__type(key, __u32);
	__type(value, __u64);
} chosen SEC(".maps");

struct datagram {
	struct udphdr udp;
	__u8 worker;
} __attribute__((packed));

SEC("sk_reuseport")
int reuseport_steering(struct sk_reuseport_md *context)
{
	struct datagram *datagram = context->data;
	__u32 worker = context->hash % workers;
	__u64 *counter;

	if (context->ip_protocol == IPPROTO_UDP) {
		if ((void *)(datagram + 1) > context->data_end)
			return SK_DROP;
		if (datagram->worker < workers)
			worker = datagram->worker;
	}
	counter = bpf_map_lookup_elem(&chosen, &worker);
	if (counter)
		__sync_fetch_and_add(counter, 1);
	if (bpf_sk_select_reuseport(context, &sockets, &worker, 0) < 0)
		return SK_DROP;
	return SK_PASS;
}
