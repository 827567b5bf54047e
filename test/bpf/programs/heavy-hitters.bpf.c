/* Finds sources that send much with a count-min sketch: four rows of counters, of which the least is nearest to the truth. */
#include "packet.h"
#include "hash.h"

#define ROWS 4
#define COLUMNS 1024

const volatile __u32 threshold = 20000;

struct sketch {
	__u32 bytes[ROWS][COLUMNS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sketch);
} sketches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 256);
	__type(key, __be32);
	__type(value, __u32);
} heavy SEC(".maps");

SEC("xdp")
int heavy_hitters(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	__u32 zero = 0, estimate = 0xffffffff;
	struct sketch *sketch;
	__be32 source;

	if ((void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	sketch = bpf_map_lookup_elem(&sketches, &zero);
	if (!sketch)
		return XDP_ABORTED;
	source = ip->saddr;
	for (__u32 row = 0; row < ROWS; row++) {
		__u32 column = hash3(bpf_ntohl(source), row, 0, 0) % COLUMNS;
		__u32 bytes = sketch->bytes[row][column] + (__u32)(end - data);

		sketch->bytes[row][column] = bytes;
		if (bytes < estimate)
			estimate = bytes;
	}
	if (estimate < threshold)
		return XDP_PASS;
	bpf_map_update_elem(&heavy, &source, &estimate, BPF_ANY);
	return XDP_DROP;
}
