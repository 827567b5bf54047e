/* Copies the beginning of every n-th packet to a ring buffer. */
#include "packet.h"

#define SAMPLE 64

const volatile __u32 every = 4;

struct sample {
	__u64 number;
	__u32 length;
	__u32 kept;
	__u8 bytes[SAMPLE];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} samples SEC(".maps");

__u64 seen = 0;
__u64 lost = 0;

SEC("xdp")
int packet_sampler(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	void *data = (void *)(long)context->data;
	__u64 length = end - data;
	struct sample *sample;
	__u64 number;

	number = __sync_fetch_and_add(&seen, 1);
	if (number % every != 0)
		return XDP_PASS;
	sample = bpf_ringbuf_reserve(&samples, sizeof(*sample), 0);
	if (!sample) {
		__sync_fetch_and_add(&lost, 1);
		return XDP_PASS;
	}
	sample->number = number;
	sample->length = length;
	sample->kept = length < SAMPLE ? 14 : SAMPLE;
	__builtin_memset(sample->bytes, 0, SAMPLE);
	if (length < SAMPLE)
		bpf_xdp_load_bytes(context, 0, sample->bytes, 14);
	else
		bpf_xdp_load_bytes(context, 0, sample->bytes, SAMPLE);
	bpf_ringbuf_submit(sample, 0);
	return XDP_PASS;
}
