/* Gives connections to a range of ports, on any address, to one listening socket; some ports are closed. */
#include "packet.h"

const volatile __u32 first_port = 8000;
const volatile __u32 last_port = 8999;

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} closed_ports SEC(".maps");

SEC("sk_lookup")
int lookup_steering(struct bpf_sk_lookup *context)
{
	__u32 port = context->local_port;
	__u32 slot = context->protocol == IPPROTO_UDP;
	struct bpf_sock *socket;
	__u64 *refused;
	long result;

	if (port < first_port || port > last_port)
		return SK_PASS;
	refused = bpf_map_lookup_elem(&closed_ports, &port);
	if (refused) {
		__sync_fetch_and_add(refused, 1);
		return SK_DROP;
	}
	socket = bpf_map_lookup_elem(&listeners, &slot);
	if (!socket)
		return SK_PASS;
	result = bpf_sk_assign(context, socket, 0);
	bpf_sk_release(socket);
	return result == 0 ? SK_PASS : SK_DROP;
}
