/**
 * Room `bpf`: protocol numbers and flags in headers (include/uapi/linux/if_ether.h, in.h, in6.h, if_arp.h, icmp.h, icmpv6.h and
 * include/net/tcp.h).
 *
 * A newcomer would get wrong: ETH_P_* are in the host's order, as the values of headers' fields are; nothing must be swapped.
 */
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;

export const ETH_ALEN = 6;
export const ETH_HLEN = 14;
export const ETH_P_IP = 0x0800;
export const ETH_P_ARP = 0x0806;
export const ETH_P_TEB = 0x6558;
export const ETH_P_8021Q = 0x8100;
export const ETH_P_IPV6 = 0x86dd;
export const ETH_P_PPP_DISC = 0x8863;
export const ETH_P_PPP_SES = 0x8864;
export const ETH_P_MPLS_UC = 0x8847;
export const ETH_P_MPLS_MC = 0x8848;
export const ETH_P_LLDP = 0x88cc;
export const ETH_P_8021AD = 0x88a8;
export const ETH_P_ALL = 0x0003;

export const IPPROTO_IP = 0;
export const IPPROTO_HOPOPTS = 0;
export const IPPROTO_ICMP = 1;
export const IPPROTO_IGMP = 2;
export const IPPROTO_IPIP = 4;
export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;
export const IPPROTO_IPV6 = 41;
export const IPPROTO_ROUTING = 43;
export const IPPROTO_FRAGMENT = 44;
export const IPPROTO_GRE = 47;
export const IPPROTO_ESP = 50;
export const IPPROTO_AH = 51;
export const IPPROTO_ICMPV6 = 58;
export const IPPROTO_NONE = 59;
export const IPPROTO_DSTOPTS = 60;
export const IPPROTO_MH = 135;
export const IPPROTO_SCTP = 132;
export const IPPROTO_UDPLITE = 136;
export const IPPROTO_MPTCP = 262;
export const IPPROTO_RAW = 255;

export const ARPOP_REQUEST = 1;
export const ARPOP_REPLY = 2;

export const ICMP_ECHOREPLY = 0;
export const ICMP_DEST_UNREACH = 3;
export const ICMP_REDIRECT = 5;
export const ICMP_ECHO = 8;
export const ICMP_TIME_EXCEEDED = 11;
export const ICMP_FRAG_NEEDED = 4;
export const ICMPV6_DEST_UNREACH = 1;
export const ICMPV6_PKT_TOOBIG = 2;
export const ICMPV6_TIME_EXCEED = 3;
export const ICMPV6_ECHO_REQUEST = 128;
export const ICMPV6_ECHO_REPLY = 129;

// Ipv4.fragment: the kernel has these in include/net/ip.h, which is not for user space.
export const IP_DF = 0x4000;
export const IP_MF = 0x2000;
export const IP_OFFSET = 0x1fff;

// Tcp.flags: the kernel has these in include/net/tcp.h, which is not for user space.
export const TCPHDR_FIN = 0x01;
export const TCPHDR_SYN = 0x02;
export const TCPHDR_RST = 0x04;
export const TCPHDR_PSH = 0x08;
export const TCPHDR_ACK = 0x10;
export const TCPHDR_URG = 0x20;
export const TCPHDR_ECE = 0x40;
export const TCPHDR_CWR = 0x80;

// Tcp options (RFC 9293 section 3.1, RFC 7323, RFC 2018).
export const TCPOPT_EOL = 0;
export const TCPOPT_NOP = 1;
export const TCPOPT_MSS = 2;
export const TCPOPT_WINDOW = 3;
export const TCPOPT_SACK_PERM = 4;
export const TCPOPT_SACK = 5;
export const TCPOPT_TIMESTAMP = 8;

// States of a TCP socket (bpf_sock.state).
export const BPF_TCP_ESTABLISHED = 1;
export const BPF_TCP_SYN_SENT = 2;
export const BPF_TCP_SYN_RECV = 3;
export const BPF_TCP_FIN_WAIT1 = 4;
export const BPF_TCP_FIN_WAIT2 = 5;
export const BPF_TCP_TIME_WAIT = 6;
export const BPF_TCP_CLOSE = 7;
export const BPF_TCP_CLOSE_WAIT = 8;
export const BPF_TCP_LAST_ACK = 9;
export const BPF_TCP_LISTEN = 10;
export const BPF_TCP_CLOSING = 11;
export const BPF_TCP_NEW_SYN_RECV = 12;

// Gre.flags, in the host's order.
export const GRE_CSUM = 0x8000;
export const GRE_ROUTING = 0x4000;
export const GRE_KEY = 0x2000;
export const GRE_SEQ = 0x1000;
