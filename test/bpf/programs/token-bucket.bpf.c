/* A token bucket for each source address: `rate` bytes a second with bursts of up to `burst`; what exceeds it is dropped. */
#include "packet.h"

#define NANOSECONDS 1000000000ull

struct bucket {
	__u64 tokens;
	__u64 filled_at;
	__u64 dropped;
};

const volatile __u64 rate = 1000000;
const volatile __u64 burst = 20000;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __be32);
	__type(value, struct bucket);
} buckets SEC(".maps");

SEC("xdp")
int token_bucket(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	__u64 length = end - data;
	struct bucket *bucket;
	__u64 now, elapsed;
	__be32 source;

	if ((void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	now = bpf_ktime_get_ns();
	source = ip->saddr;
	bucket = bpf_map_lookup_elem(&buckets, &source);
	if (!bucket) {
		struct bucket full = { .tokens = burst - length, .filled_at = now };

		if (length > burst)
			return XDP_DROP;
		bpf_map_update_elem(&buckets, &source, &full, BPF_ANY);
		return XDP_PASS;
	}
	elapsed = now - bucket->filled_at;
	if (elapsed > NANOSECONDS)
		elapsed = NANOSECONDS;
	bucket->filled_at = now;
	bucket->tokens += elapsed * rate / NANOSECONDS;
	if (bucket->tokens > burst)
		bucket->tokens = burst;
	if (bucket->tokens < length) {
		bucket->dropped += 1;
		return XDP_DROP;
	}
	bucket->tokens -= length;
	return XDP_PASS;
}
