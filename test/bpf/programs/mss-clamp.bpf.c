/* Lowers the maximum segment size that connections offer to what a tunnel carries, and mends the checksum by the helper. */
#include "packet.h"

#define OPTIONS_MAX 12
#define KIND_MSS 2

const volatile __u16 limit = 1360;

struct mss {
	__u8 kind;
	__u8 length;
	__be16 size;
} __attribute__((packed));

__u64 clamped = 0;

SEC("tc")
int mss_clamp(struct __sk_buff *skb)
{
	void *end = (void *)(long)skb->data_end;
	void *data = (void *)(long)skb->data;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u32 start = sizeof(*ethernet) + sizeof(*ip);
	__u32 offset = sizeof(*tcp), header, found = 0;
	__be16 size, lower;
	struct mss *mss;

	if ((void *)(tcp + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return TC_ACT_OK;
	if (ip->ihl != 5 || ip->protocol != IPPROTO_TCP || !tcp->syn)
		return TC_ACT_OK;
	header = tcp->doff * 4;
	for (int i = 0; i < OPTIONS_MAX && offset < header; i++) {
		__u8 *at = (void *)tcp + offset;

		if ((void *)(at + 2) > end || at[0] == 0)
			break;
		if (at[0] == KIND_MSS) {
			found = offset;
			break;
		}
		if (at[0] != 1 && at[1] < 2)
			return TC_ACT_SHOT;
		offset += at[0] == 1 ? 1 : at[1];
	}
	if (!found)
		return TC_ACT_OK;
	mss = (void *)tcp + found;
	if ((void *)(mss + 1) > end || mss->length != sizeof(*mss))
		return TC_ACT_OK;
	size = mss->size;
	if (bpf_ntohs(size) <= limit)
		return TC_ACT_OK;
	lower = bpf_htons(limit);
	mss->size = lower;
	if (found % 2) {
		/* At an odd offset each byte belongs to the other half of a checksum's word. */
		size = __builtin_bswap16(size);
		lower = __builtin_bswap16(lower);
	}
	if (bpf_l4_csum_replace(skb, start + 16, size, lower, sizeof(size)))
		return TC_ACT_SHOT;
	clamped += 1;
	return TC_ACT_OK;
}
