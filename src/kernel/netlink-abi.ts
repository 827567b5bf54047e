/**
 * Room `kernel`: rtnetlink(7)'s numbers for what holds eBPF programs: routes with lightweight tunnels, queueing disciplines, filters.
 * `test/kernel/headers.test.ts` pins them.
 *
 * A newcomer would get wrong: attribute numbers are each family's own: 1 is a destination in a route and a kind in a tc message.
 */

export const NETLINK_ROUTE = 0;
export const NLM_F_REQUEST = 1;
export const NLM_F_ACK = 4;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLMSG_ERROR = 2;
export const NLA_F_NESTED = 0x8000;

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_NEWQDISC = 36;
export const RTM_NEWTFILTER = 44;
export const RTM_DELTFILTER = 45;

export const RT_TABLE_MAIN = 254;
export const RTPROT_STATIC = 4;
export const RT_SCOPE_UNIVERSE = 0;
export const RT_SCOPE_LINK = 253;
export const RTN_UNICAST = 1;
export const RTA_DST = 1;
export const RTA_OIF = 4;
export const RTA_GATEWAY = 5;
export const RTA_ENCAP_TYPE = 21;
export const RTA_ENCAP = 22;

export const LWTUNNEL_ENCAP_BPF = 6;
export const LWTUNNEL_ENCAP_SEG6_LOCAL = 7;
export const LWT_BPF_IN = 1;
export const LWT_BPF_OUT = 2;
export const LWT_BPF_XMIT = 3;
export const LWT_BPF_XMIT_HEADROOM = 4;
export const LWT_BPF_PROG_FD = 1;
export const LWT_BPF_PROG_NAME = 2;
export const SEG6_LOCAL_ACTION = 1;
export const SEG6_LOCAL_BPF = 8;
export const SEG6_LOCAL_ACTION_END_BPF = 15;
export const SEG6_LOCAL_BPF_PROG = 1;
export const SEG6_LOCAL_BPF_PROG_NAME = 2;

export const TCA_KIND = 1;
export const TCA_OPTIONS = 2;
export const TCA_BPF_FD = 6;
export const TCA_BPF_NAME = 7;
export const TCA_BPF_FLAGS = 8;
export const TCA_BPF_FLAG_ACT_DIRECT = 1;
export const TC_H_CLSACT = 0xfffffff1;
export const TC_H_MIN_INGRESS = 0xfff2;
export const TC_H_MIN_EGRESS = 0xfff3;

/** struct nlmsghdr, rtmsg and tcmsg, in bytes. */
export const NLMSGHDR = { size: 16, nlmsg_len: 0, nlmsg_type: 4, nlmsg_flags: 6, nlmsg_seq: 8 } as const;
export const RTMSG = {
  size: 12,
  rtm_family: 0,
  rtm_dst_len: 1,
  rtm_table: 4,
  rtm_protocol: 5,
  rtm_scope: 6,
  rtm_type: 7,
} as const;
export const TCMSG = { size: 20, tcm_ifindex: 4, tcm_handle: 8, tcm_parent: 12, tcm_info: 16 } as const;
