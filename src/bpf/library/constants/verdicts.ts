/**
 * Room `bpf`: what programs answer, and directions and devices' flags (include/uapi/linux/bpf.h, pkt_cls.h, if_packet.h,
 * netfilter.h).
 *
 * A newcomer would get wrong: an XDP program's 1 is a drop, a cgroup program's 1 is a pass, a tc program's 1 is a reclassification.
 * Use the names.
 */
export { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX } from '../../../kernel/bpf-abi.ts';

export const TC_ACT_UNSPEC = -1;
export const TC_ACT_OK = 0;
export const TC_ACT_RECLASSIFY = 1;
export const TC_ACT_SHOT = 2;
export const TC_ACT_PIPE = 3;
export const TC_ACT_STOLEN = 4;
export const TC_ACT_QUEUED = 5;
export const TC_ACT_REPEAT = 6;
export const TC_ACT_REDIRECT = 7;
export const TC_ACT_TRAP = 8;

// Since 6.6 and 6.7; the same numbers as tc's.
export const TCX_NEXT = -1;
export const TCX_PASS = 0;
export const TCX_DROP = 2;
export const TCX_REDIRECT = 7;
export const NETKIT_NEXT = -1;
export const NETKIT_PASS = 0;
export const NETKIT_DROP = 2;
export const NETKIT_REDIRECT = 7;

export const BPF_OK = 0;
export const BPF_DROP = 2;
export const BPF_REDIRECT = 7;
export const BPF_LWT_REROUTE = 128;
export const BPF_FLOW_DISSECTOR_CONTINUE = 129;

// sk_msg, sk_skb, sk_reuseport and sk_lookup programs.
export const SK_DROP = 0;
export const SK_PASS = 1;

export const NF_DROP = 0;
export const NF_ACCEPT = 1;

// __sk_buff.pkt_type and bpf_skb_change_type.
export const PACKET_HOST = 0;
export const PACKET_BROADCAST = 1;
export const PACKET_MULTICAST = 2;
export const PACKET_OTHERHOST = 3;
export const PACKET_OUTGOING = 4;
