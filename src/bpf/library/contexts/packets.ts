/**
 * Room `bpf`: the contexts of programs that see packets: struct xdp_md, struct __sk_buff (tc, cgroup skb, sockets, tunnels, flow
 * dissector) and struct sk_reuseport_md, with the kernel's field names (include/uapi/linux/bpf.h).
 *
 * A newcomer would get wrong: which fields of __sk_buff may be read or written depends on the program type (net/core/filter.c,
 * *_is_valid_access). `__sk_buff` has them all; what each kind of program is given is one of the types behind it.
 */
import type { Value } from '../layout.ts';
import { be16, be32, u8, u32, u64 } from '../numbers.ts';
import { arrayOf as array } from '../structs.ts';
import {
  type Context,
  context,
  fills,
  mayPointTo,
  mayWrite,
  type PacketEnd,
  type PacketPointer,
  packetBegin,
  packetEnd,
  pointsTo,
  widePacketBegin,
  widePacketEnd,
} from './context.ts';
import { bpf_flow_keys, bpf_sock } from './sockets.ts';

/**
 * What `packet()` takes: the context of a program that may read its packet directly; `bpf_sockopt`, for the option's value; `bpf_sock_ops`,
 * for the TCP header in events about header options.
 */
export type PacketContext =
  | { readonly data: PacketPointer; readonly data_end: PacketEnd }
  | { readonly optval: PacketPointer; readonly optval_end: PacketEnd }
  | { readonly skb_data: PacketPointer; readonly skb_data_end: PacketEnd };

/** A packet at the driver, before the kernel made an skb of it. */
export type xdp_md = Value<typeof xdp_md>;
export const xdp_md = context('xdp_md', {
  data: packetBegin,
  data_end: packetEnd,
  /** Where metadata for tc begins, in front of `data` (bpf_xdp_adjust_meta). */
  data_meta: packetBegin,
  ingress_ifindex: u32,
  rx_queue_index: u32,
  /** Only in programs of a device map. */
  egress_ifindex: u32,
});

/** A packet in the stack. Multi-byte fields are in the host's order: `context.protocol === ETH_P_IP`. */
export type __sk_buff = Value<typeof __sk_buff>;
export const __sk_buff = context('__sk_buff', {
  /** The whole packet's bytes, linear or not. */
  len: u32,
  /** PACKET_HOST and kin. */
  pkt_type: u32,
  mark: mayWrite(u32),
  queue_mapping: mayWrite(u32),
  /** ETH_P_*. The kernel has 4 bytes here, of which the first 2 matter. */
  protocol: be16,
  vlan_present: u32,
  vlan_tci: u32,
  vlan_proto: be16,
  priority: mayWrite(u32),
  ingress_ifindex: u32,
  ifindex: u32,
  tc_index: mayWrite(u32),
  /** 20 bytes of the program's own, until the next layer takes them. */
  cb: mayWrite(array(u32, 5)),
  hash: u32,
  tc_classid: mayWrite(u32),
  data: packetBegin,
  data_end: packetEnd,
  napi_id: u32,
  family: u32,
  remote_ip4: be32,
  local_ip4: be32,
  remote_ip6: array(be32, 4),
  local_ip6: array(be32, 4),
  /** In the host's order here; the kernel keeps it in network order. */
  remote_port: be32,
  local_port: u32,
  data_meta: packetBegin,
  /** Only in flow dissectors. */
  flow_keys: fills(bpf_flow_keys, 'bpf_flow_keys'),
  /** Nanoseconds. */
  tstamp: mayWrite(u64),
  wire_len: u32,
  gso_segs: u32,
  sk: mayPointTo(bpf_sock, 'bpf_sock'),
  gso_size: u32,
  tstamp_type: u8,
  hwtstamp: u64,
});

/** What helpers of packets take: the context of any program that has an skb, whatever it may read of it. */
export type AnyBuffer = Context<'__sk_buff'>;

/** Addresses and ports, which only programs at sockets may read. */
type SocketFields = 'family' | 'remote_ip4' | 'local_ip4' | 'remote_ip6' | 'local_ip6' | 'remote_port' | 'local_port';

/** A buffer without some fields, of which some may be written. */
type Part<Hidden extends keyof __sk_buff, Writes extends keyof __sk_buff> = {
  readonly [N in Exclude<keyof __sk_buff, Hidden | Writes>]: __sk_buff[N];
} & Pick<__sk_buff, Writes>;

type TcWrites = 'mark' | 'tc_index' | 'priority' | 'cb' | 'tc_classid' | 'tstamp' | 'queue_mapping';
type SocketHides = 'tc_classid' | 'data_meta' | 'wire_len' | 'flow_keys';

/** What tc, tcx and netkit programs see of a packet. */
export type TcBuffer = Part<SocketFields | 'flow_keys', TcWrites>;
/** What cgroup programs see of a packet, which begins with its IP header. */
export type CgroupBuffer = Part<SocketHides, 'mark' | 'priority' | 'cb' | 'tstamp'>;
/** What programs of streams (sk_skb) see of the data. */
export type StreamBuffer = Part<SocketHides | 'tstamp' | 'hwtstamp', 'tc_index' | 'priority'>;
/** What programs on routes (lightweight tunnels) see of a packet. */
export type TunnelBuffer = Part<SocketHides | SocketFields | 'tstamp' | 'hwtstamp', 'mark' | 'priority' | 'cb'>;
/** What socket filters see of a packet: its bytes by helpers alone. */
export type SocketBuffer = Part<SocketHides | SocketFields | 'tstamp' | 'hwtstamp' | 'data' | 'data_end', 'cb'>;
/** What the flow dissector's program sees. */
export type DissectorBuffer = Pick<__sk_buff, 'data' | 'data_end' | 'flow_keys'> & AnyBuffer;

/** A datagram or SYN for which a socket of a reuseport group is chosen. The packet begins with the TCP or UDP header. */
export type sk_reuseport_md = Value<typeof sk_reuseport_md>;
export const sk_reuseport_md = context('sk_reuseport_md', {
  data: widePacketBegin,
  data_end: widePacketEnd,
  len: u32,
  /** ETH_P_*. The kernel has 4 bytes here, of which the first 2 matter. */
  eth_protocol: be16,
  ip_protocol: u32,
  bind_inany: u32,
  /** Of the addresses and ports. */
  hash: u32,
  sk: pointsTo(bpf_sock, 'bpf_sock'),
  /** The socket whose connections move, where the program was called because it closed (sk_reuseport/migrate). */
  migrating_sk: mayPointTo(bpf_sock, 'bpf_sock'),
});
