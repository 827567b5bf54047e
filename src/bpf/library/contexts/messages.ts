/**
 * Room `bpf`: the contexts of programs at sockets and in cgroups: struct sk_msg_md, bpf_sock_ops, bpf_sock_addr, bpf_sockopt,
 * bpf_sk_lookup, bpf_sysctl, bpf_cgroup_dev_ctx (include/uapi/linux/bpf.h), with the kernel's field names.
 *
 * A newcomer would get wrong: addresses and ports are values in the host's order here, with one exception. `user_port` of
 * bpf_sock_addr must be written as 4 bytes of which the kernel takes the first 2 in network order: `context.user_port =
 * swap16(8080)`.
 */
import type { Value } from '../layout.ts';
import { be16, be32, i32, u32, u64 } from '../numbers.ts';
import { arrayOf as array } from '../structs.ts';
import { context, mayPointTo, mayWrite, pointsTo, widePacketBegin, widePacketEnd } from './context.ts';
import { bpf_sock } from './sockets.ts';

/** A message that is being sent through a socket of a map. */
export type sk_msg_md = Value<typeof sk_msg_md>;
export const sk_msg_md = context('sk_msg_md', {
  data: widePacketBegin,
  data_end: widePacketEnd,
  family: u32,
  remote_ip4: be32,
  local_ip4: be32,
  remote_ip6: array(be32, 4),
  local_ip6: array(be32, 4),
  remote_port: be32,
  local_port: u32,
  /** Bytes of the message. */
  size: u32,
  sk: mayPointTo(bpf_sock, 'bpf_sock'),
});

/** An event in the life of a TCP connection; `op` says which (BPF_SOCK_OPS_*_CB). */
export type bpf_sock_ops = Value<typeof bpf_sock_ops>;
export const bpf_sock_ops = context(
  'bpf_sock_ops',
  {
    op: u32,
    args: array(u32, 4),
    /** What the program answers to events that ask. Lies over `args`. */
    reply: mayWrite(u32),
    replylong: mayWrite(array(u32, 4)),
    family: u32,
    remote_ip4: be32,
    local_ip4: be32,
    remote_ip6: array(be32, 4),
    local_ip6: array(be32, 4),
    remote_port: be32,
    local_port: u32,
    is_fullsock: u32,
    snd_cwnd: u32,
    /** Microseconds, times 8. */
    srtt_us: u32,
    bpf_sock_ops_cb_flags: u32,
    state: u32,
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
    sk_txhash: mayWrite(u32),
    bytes_received: u64,
    bytes_acked: u64,
    sk: mayPointTo(bpf_sock, 'bpf_sock'),
    /** The TCP header with its options, in events about header options. */
    skb_data: widePacketBegin,
    skb_data_end: widePacketEnd,
    skb_len: u32,
    skb_tcp_flags: u32,
    skb_hwtstamp: u64,
  },
  { reply: 'args', replylong: 'args' },
);

/** The addresses of a bind, connect, sendmsg, recvmsg, getpeername or getsockname, before the kernel uses them. */
export type bpf_sock_addr = Value<typeof bpf_sock_addr>;
export const bpf_sock_addr = context('bpf_sock_addr', {
  user_family: u32,
  user_ip4: mayWrite(be32),
  user_ip6: mayWrite(array(be32, 4)),
  /** 4 bytes, of which the first 2 hold the port in network order: read and write it through `swap16`. */
  user_port: mayWrite(u32),
  family: u32,
  type: u32,
  protocol: u32,
  msg_src_ip4: mayWrite(be32),
  msg_src_ip6: mayWrite(array(be32, 4)),
  sk: pointsTo(bpf_sock, 'bpf_sock'),
});

/** A getsockopt or setsockopt. `packet(context, T, offset)` reads the option's value as it reads a packet. */
export type bpf_sockopt = Value<typeof bpf_sockopt>;
export const bpf_sockopt = context('bpf_sockopt', {
  sk: pointsTo(bpf_sock, 'bpf_sock'),
  optval: widePacketBegin,
  optval_end: widePacketEnd,
  level: mayWrite(i32),
  optname: mayWrite(i32),
  optlen: mayWrite(i32),
  /** Only in getsockopt programs. */
  retval: mayWrite(i32),
});

/** A look-up of the socket that shall take a packet. `bpf_sk_assign` chooses it. */
export type bpf_sk_lookup = Value<typeof bpf_sk_lookup>;
export const bpf_sk_lookup = context(
  'bpf_sk_lookup',
  {
    sk: mayPointTo(bpf_sock, 'bpf_sock'),
    cookie: u64,
    family: u32,
    protocol: u32,
    remote_ip4: be32,
    remote_ip6: array(be32, 4),
    remote_port: be16,
    local_ip4: be32,
    local_ip6: array(be32, 4),
    local_port: u32,
    ingress_ifindex: u32,
  },
  { cookie: 'sk' },
);

/** A read or write below /proc/sys. */
export type bpf_sysctl = Value<typeof bpf_sysctl>;
export const bpf_sysctl = context('bpf_sysctl', {
  /** 1: it is being written. */
  write: u32,
  file_pos: mayWrite(u32),
});

/** An access to a device node. */
export type bpf_cgroup_dev_ctx = Value<typeof bpf_cgroup_dev_ctx>;
export const bpf_cgroup_dev_ctx = context('bpf_cgroup_dev_ctx', {
  /** BPF_DEVCG_ACC_* << 16 | BPF_DEVCG_DEV_*. */
  access_type: u32,
  major: u32,
  minor: u32,
});
