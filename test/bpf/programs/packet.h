/* What the C programs of this folder share: the kernel's headers, and the protocol headers that those do not define. */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FRAGMENT_OFFSET 0x1fff
#define MORE_FRAGMENTS 0x2000

struct vlan_header {
	__be16 tci;
	__be16 type;
};

/* linux/icmp.h and linux/if_arp.h cannot be used: they lead to the C library's headers, which know no BPF. */
struct icmp_header {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be16 identifier;
	__be16 sequence;
};

struct arp_packet {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_hardware[ETH_ALEN];
	__be32 sender;
	__u8 target_hardware[ETH_ALEN];
	__be32 target;
} __attribute__((packed));

struct ports {
	__be16 source;
	__be16 destination;
};

struct counters {
	__u64 packets;
	__u64 bytes;
};

/* Folds a sum of 16-bit words into 16 bits (RFC 1071). */
static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)((sum & 0xffff) + (sum >> 16));
}

/* The same for sums of up to 34 bits, as those of 32-bit words are. */
static __always_inline __u16 fold_wide(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return fold((__u32)sum);
}

/* The checksum after one 16-bit word changed (RFC 1624, equation 3). */
static __always_inline __u16 update_checksum(__u16 checksum, __u16 from, __u16 to)
{
	return ~fold((__u16)~checksum + (__u16)~from + to);
}

static __always_inline void swap_addresses(struct ethhdr *ethernet)
{
	__u8 address[ETH_ALEN];

	__builtin_memcpy(address, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, address, ETH_ALEN);
}

char _license[] SEC("license") = "Dual MIT/GPL";
