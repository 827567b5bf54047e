/* Counts how often each byte value comes in the first 128 bytes of packets, by a loop of the kernel's (bpf_loop). */
#include "packet.h"

#define WINDOW 128

struct window {
	__u8 bytes[WINDOW];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct window);
} windows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} values SEC(".maps");

struct state {
	__u32 total;
	__u32 zeros;
};

static long count(__u32 index, struct state *state)
{
	__u32 zero = 0, byte;
	struct window *window = bpf_map_lookup_elem(&windows, &zero);
	__u64 *counter;

	if (!window || index >= WINDOW)
		return 1;
	byte = window->bytes[index];
	state->total += byte;
	if (byte == 0)
		state->zeros += 1;
	counter = bpf_map_lookup_elem(&values, &byte);
	if (counter)
		*counter += 1;
	return 0;
}

SEC("xdp")
int byte_counter(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	__u32 length = end - data;
	struct state state = {};
	struct window *window;
	__u32 zero = 0;

	window = bpf_map_lookup_elem(&windows, &zero);
	if (!window)
		return XDP_ABORTED;
	if (length > WINDOW)
		length = WINDOW;
	if (length == 0 || bpf_xdp_load_bytes(context, 0, window->bytes, length) < 0)
		return XDP_ABORTED;
	bpf_loop(length, count, &state, 0);
	/* More than half of it zeros, or nothing but text. */
	if (state.zeros * 2 > length || state.total > length * 128)
		return XDP_DROP;
	return XDP_PASS;
}
