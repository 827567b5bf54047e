/**
 * Room `bpf`: sockets as programs see them (struct bpf_sock and kin of include/uapi/linux/bpf.h). Helpers and contexts give them.
 *
 * A newcomer would get wrong: `src_port` lies in the host's order and `dst_port` in network order, in the kernel. Here both values
 * are in the host's order, as every value of the language is; the types know which must be swapped.
 */
import type { Value } from '../layout.ts';
import { be16, be32, i32, u8, u16, u32, u64 } from '../numbers.ts';
import { arrayOf as array, namedStruct, overlaidStruct } from '../structs.ts';
import { context, mayWrite } from './context.ts';

/** A socket, full or not; `bpf_sk_fullsock` tells. Writable fields are so in `cgroupSockCreate` and kin alone. */
export type bpf_sock = Value<typeof bpf_sock>;
export const bpf_sock = context('bpf_sock', {
  bound_dev_if: mayWrite(u32),
  family: u32,
  type: u32,
  protocol: u32,
  mark: mayWrite(u32),
  priority: mayWrite(u32),
  src_ip4: be32,
  src_ip6: array(be32, 4),
  src_port: u32,
  dst_port: be16,
  dst_ip4: be32,
  dst_ip6: array(be32, 4),
  state: u32,
  rx_queue_mapping: i32,
});

/** A TCP socket's counters and windows, as the helper `bpf_tcp_sock` gives them. */
export type bpf_tcp_sock_struct = Value<typeof bpf_tcp_sock_struct>;
export const bpf_tcp_sock_struct = namedStruct(
  'bpf_tcp_sock',
  {
    snd_cwnd: u32,
    /** Microseconds, times 8. */
    srtt_us: u32,
    rtt_min: u32,
    snd_ssthresh: u32,
    rcv_nxt: u32,
    snd_nxt: u32,
    snd_una: u32,
    mss_cache: u32,
    ecn_flags: u32,
    rate_delivered: u32,
    rate_interval_us: u32,
    packets_out: u32,
    retrans_out: u32,
    total_retrans: u32,
    segs_in: u32,
    data_segs_in: u32,
    segs_out: u32,
    data_segs_out: u32,
    lost_out: u32,
    sacked_out: u32,
    bytes_received: u64,
    bytes_acked: u64,
    dsack_dups: u32,
    delivered: u32,
    delivered_ce: u32,
    icsk_retransmits: u32,
  },
  'bpf_tcp_sock_struct',
);

/** An AF_XDP socket, as a look-up in an xskMap gives it. */
export type bpf_xdp_sock = Value<typeof bpf_xdp_sock>;
export const bpf_xdp_sock = namedStruct('bpf_xdp_sock', { queue_id: u32 });

/** The addresses and ports by which `bpf_sk_lookup_tcp` finds a socket, IPv4: the kernel tells the families apart by the size. */
export type SocketTuple4 = Value<typeof SocketTuple4>;
export const SocketTuple4 = namedStruct('SocketTuple4', { saddr: be32, daddr: be32, sport: be16, dport: be16 });

/** The same for IPv6. */
export type SocketTuple6 = Value<typeof SocketTuple6>;
export const SocketTuple6 = namedStruct('SocketTuple6', {
  saddr: array(be32, 4),
  daddr: array(be32, 4),
  sport: be16,
  dport: be16,
});

/** What the flow dissector finds out; the program that replaces it fills it in. */
export type bpf_flow_keys = Value<typeof bpf_flow_keys>;
export const bpf_flow_keys = overlaidStruct(
  'bpf_flow_keys',
  {
    nhoff: u16,
    thoff: u16,
    /** ETH_P_* of the addresses. */
    addr_proto: u16,
    is_frag: u8,
    is_first_frag: u8,
    is_encap: u8,
    ip_proto: u8,
    n_proto: be16,
    sport: be16,
    dport: be16,
    ipv6_src: array(be32, 4),
    ipv4_src: be32,
    ipv4_dst: be32,
    ipv6_dst: array(be32, 4),
    flags: u32,
    flow_label: be32,
  },
  { ipv4_src: 'ipv6_src', ipv4_dst: ['ipv6_src', 4] },
);
