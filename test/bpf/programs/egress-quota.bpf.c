/* Lets a cgroup send so many bytes to each address, and counts on after that what it kept back. */
#include "packet.h"

struct usage {
	__u64 sent;
	__u64 refused;
};

const volatile __u64 quota = 4000;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __be32);
	__type(value, struct usage);
} usages SEC(".maps");

SEC("cgroup_skb/egress")
int egress_quota(struct __sk_buff *skb)
{
	void *end = (void *)(long)skb->data_end;
	void *data = (void *)(long)skb->data;
	struct iphdr *ip = data;
	struct usage *usage;
	__be32 destination;

	if ((void *)(ip + 1) > end || ip->version != 4)
		return 1;
	destination = ip->daddr;
	usage = bpf_map_lookup_elem(&usages, &destination);
	if (!usage) {
		struct usage first = { .sent = skb->len };

		bpf_map_update_elem(&usages, &destination, &first, BPF_ANY);
		return 1;
	}
	if (usage->sent + skb->len > quota) {
		__sync_fetch_and_add(&usage->refused, skb->len);
		return 0;
	}
	__sync_fetch_and_add(&usage->sent, skb->len);
	return 1;
}
