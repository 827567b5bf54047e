/* Judges messages of a length-prefixed protocol as they are sent: unknown kinds and wrong lengths are dropped. */
#include "packet.h"

#define KINDS 8
#define LENGTH_MAX 65536

struct header {
	__be32 length;
	__u8 version;
	__u8 kind;
	__be16 stream;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KINDS);
	__type(key, __u32);
	__type(value, struct counters);
} kinds SEC(".maps");

SEC("sk_msg")
int message_verdict(struct sk_msg_md *message)
{
	struct header *header = message->data;
	struct counters *counters;
	__u32 length, kind;

	if ((void *)(header + 1) > message->data_end)
		return SK_DROP;
	length = bpf_ntohl(header->length);
	if (header->version != 1 || length < sizeof(*header) || length > LENGTH_MAX)
		return SK_DROP;
	kind = header->kind;
	counters = bpf_map_lookup_elem(&kinds, &kind);
	if (!counters)
		return SK_DROP;
	__sync_fetch_and_add(&counters->packets, 1);
	__sync_fetch_and_add(&counters->bytes, length);
	bpf_msg_apply_bytes(message, length);
	return SK_PASS;
}
