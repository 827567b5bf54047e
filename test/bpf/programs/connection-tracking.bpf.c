/* Follows TCP connections of a cgroup from establishment to close, with what they sent and received. */
#include "packet.h"

#define AF_INET 2

struct connection {
	__u32 local;
	__u32 remote;
	__u32 local_port;
	__u32 remote_port;
};

struct state {
	__u64 begun_ns;
	__u64 received;
	__u64 acknowledged;
	__u32 round_trip_us;
	__u32 passive;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct connection);
	__type(value, struct state);
} connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} closed SEC(".maps");

static __always_inline void established(struct bpf_sock_ops *context, struct connection *key, __u32 passive)
{
	struct state state = {};

	state.begun_ns = bpf_ktime_get_ns();
	state.round_trip_us = context->srtt_us >> 3;
	state.passive = passive;
	bpf_map_update_elem(&connections, key, &state, BPF_ANY);
	bpf_sock_ops_cb_flags_set(context, BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTT_CB_FLAG);
}

static __always_inline void closing(struct bpf_sock_ops *context, struct connection *key)
{
	struct counters *total;
	__u32 zero = 0;

	if (context->args[1] != BPF_TCP_CLOSE)
		return;
	total = bpf_map_lookup_elem(&closed, &zero);
	if (total) {
		__sync_fetch_and_add(&total->packets, 1);
		__sync_fetch_and_add(&total->bytes, context->bytes_received + context->bytes_acked);
	}
	bpf_map_delete_elem(&connections, key);
}

SEC("sockops")
int connection_tracking(struct bpf_sock_ops *context)
{
	struct connection key = {};
	struct state *state;

	if (context->family != AF_INET)
		return 1;
	key.local = bpf_ntohl(context->local_ip4);
	key.remote = bpf_ntohl(context->remote_ip4);
	key.local_port = context->local_port;
	key.remote_port = bpf_ntohl(context->remote_port);
	switch (context->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		established(context, &key, 0);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		established(context, &key, 1);
		break;
	case BPF_SOCK_OPS_RTT_CB:
		state = bpf_map_lookup_elem(&connections, &key);
		if (state) {
			state->round_trip_us = context->srtt_us >> 3;
			state->received = context->bytes_received;
			state->acknowledged = context->bytes_acked;
		}
		break;
	case BPF_SOCK_OPS_STATE_CB:
		closing(context, &key);
		break;
	}
	return 1;
}
