/* How long system calls take: a histogram by powers of two, from two raw tracepoints that meet in a hash map. */
#include "packet.h"

#define SLOTS 64

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, __u64);
} begun SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} histogram SEC(".maps");

/* The position of the highest bit; 0 for 0. */
static __always_inline __u32 log2(__u64 value)
{
	__u32 found = 0;

	for (__u32 bits = 32; bits > 0; bits /= 2) {
		if (value >> bits) {
			value >>= bits;
			found += bits;
		}
	}
	return found;
}

SEC("raw_tp/sys_enter")
int enter(struct bpf_raw_tracepoint_args *context)
{
	__u64 task = bpf_get_current_pid_tgid();
	__u64 now = bpf_ktime_get_ns();

	bpf_map_update_elem(&begun, &task, &now, BPF_ANY);
	return 0;
}

SEC("raw_tp/sys_exit")
int leave(struct bpf_raw_tracepoint_args *context)
{
	__u64 task = bpf_get_current_pid_tgid();
	__u64 *start = bpf_map_lookup_elem(&begun, &task);
	__u64 *counter;
	__u32 slot;

	if (!start)
		return 0;
	slot = log2(bpf_ktime_get_ns() - *start);
	bpf_map_delete_elem(&begun, &task);
	counter = bpf_map_lookup_elem(&histogram, &slot);
	if (counter)
		__sync_fetch_and_add(counter, 1);
	return 0;
}
