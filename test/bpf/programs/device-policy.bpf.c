/* Which devices a cgroup may make, read and write: first the device itself, then all of its major number. */
#include "packet.h"

#define ANY_MINOR 0xffffffff

struct device {
	__u32 type;
	__u32 major;
	__u32 minor;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct device);
	__type(value, __u32);
} allowed SEC(".maps");

SEC("cgroup/dev")
int device_policy(struct bpf_cgroup_dev_ctx *context)
{
	struct device key = {
		.type = context->access_type & 0xffff,
		.major = context->major,
		.minor = context->minor,
	};
	__u32 wanted = context->access_type >> 16;
	__u32 *access = bpf_map_lookup_elem(&allowed, &key);

	if (!access) {
		key.minor = ANY_MINOR;
		access = bpf_map_lookup_elem(&allowed, &key);
	}
	return access && (wanted & ~*access) == 0;
}
