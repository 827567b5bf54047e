/* Lets a cgroup write only those sysctls whose names a table holds, and read all; counts what it refused. */
#include "packet.h"

struct name {
	char text[64];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct name);
	__type(value, __u64);
} writable SEC(".maps");

__u64 refused = 0;

SEC("cgroup/sysctl")
int sysctl_policy(struct bpf_sysctl *context)
{
	struct name name = {};
	__u64 *writes;

	if (!context->write)
		return 1;
	if (bpf_sysctl_get_name(context, name.text, sizeof(name.text), 0) < 0) {
		refused += 1;
		return 0;
	}
	writes = bpf_map_lookup_elem(&writable, &name);
	if (!writes) {
		refused += 1;
		return 0;
	}
	*writes += 1;
	return 1;
}
