/* Sends connections to a service's address to one of its backends, in the caller's connect() and without any NAT. */
#include "packet.h"

struct service {
	__be32 address;
	__be16 port;
	__u16 unused;
};

struct backends {
	__u32 count;
	struct service list[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct service);
	__type(value, struct backends);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} turns SEC(".maps");

SEC("cgroup/connect4")
int connect_rewriting(struct bpf_sock_addr *context)
{
	struct service key = { .address = context->user_ip4, .port = context->user_port };
	struct backends *backends;
	__u32 zero = 0, index;
	__u64 *turn;

	if (context->protocol != IPPROTO_TCP)
		return 1;
	backends = bpf_map_lookup_elem(&services, &key);
	if (!backends)
		return 1;
	if (backends->count == 0)
		return 0;
	turn = bpf_map_lookup_elem(&turns, &zero);
	if (!turn)
		return 0;
	index = __sync_fetch_and_add(turn, 1) % backends->count;
	context->user_ip4 = backends->list[index & 3].address;
	context->user_port = backends->list[index & 3].port;
	return 1;
}
