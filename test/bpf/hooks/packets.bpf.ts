/**
 * Programs on packets in the stack: tcx in both directions, netfilter, socket filters, the flow dissector, and programs on routes.
 */
import {
  atomicAdd,
  BPF_DROP,
  BPF_F_PSEUDO_HDR,
  BPF_FLOW_DISSECTOR_CONTINUE,
  BPF_OK,
  be32,
  bpf_l3_csum_replace,
  bpf_l4_csum_replace,
  bpf_skb_load_bytes,
  bpf_skb_store_bytes,
  Ethernet,
  flowDissector,
  global,
  Icmp,
  IPPROTO_ICMP,
  IPPROTO_UDP,
  Ipv4,
  kernelStruct,
  local,
  lpmTrie,
  lwtIn,
  lwtOut,
  lwtSeg6local,
  lwtXmit,
  NF_ACCEPT,
  NF_DROP,
  netfilter,
  packet,
  pointer,
  read,
  readOnly,
  socketFilter,
  struct,
  swap16,
  swap32,
  TCX_DROP,
  TCX_NEXT,
  TCX_PASS,
  tc,
  tcxEgress,
  tcxIngress,
  Udp,
  u8,
  u16,
  u32,
  u64,
} from '../../../src/bpf/library/index.ts';

export const seen = global(u64);
export const order = global(u32);
export const mark = readOnly(u32, 0);

/** Counts echo requests and replies, and lets the next program decide. */
export const count = tcxIngress((context) => {
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ip === null || ip.protocol !== IPPROTO_ICMP) return TCX_NEXT;
  atomicAdd(seen, 'value', 1n);
  return TCX_NEXT;
});

/** Writes down its digit: which of several programs ran, and in which order. */
export const note = tcxEgress((context) => {
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ip === null || ip.protocol !== IPPROTO_UDP) return TCX_NEXT;
  context.mark = context.mark * 10 + mark.value;
  order.value = context.mark;
  return TCX_NEXT;
});

export const stop = tcxEgress((context) => {
  const ip = packet(context, Ipv4, Ethernet.size);
  return ip !== null && ip.protocol === IPPROTO_UDP ? TCX_DROP : TCX_PASS;
});

const Prefix = struct({ prefixLength: u32, address: be32 });
export const networks = lpmTrie({ key: Prefix, value: u32, maxEntries: 16 });

/** Asks the longest prefix that fits a datagram's target: 1 drops it. */
export const firewall = tcxEgress((context) => {
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ip === null || ip.protocol !== IPPROTO_UDP) return TCX_NEXT;
  const verdict = networks.lookup({ prefixLength: 32, address: ip.destination });
  return verdict !== null && verdict.value === 1 ? TCX_DROP : TCX_NEXT;
});

export const servedPort = readOnly(u16, 0);
export const realPort = readOnly(u16, 0);

/** Gives datagrams for one port to another, and mends the checksum. */
export const redirectPort = tc((context) => {
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ip === null || ip.protocol !== IPPROTO_UDP || ip.headerLength !== 5) return TCX_NEXT;
  const udp = packet(context, Udp, Ethernet.size + Ipv4.size);
  if (udp === null || udp.destination !== servedPort.value) return TCX_NEXT;
  const checksumAt = Ethernet.size + Ipv4.size + 6;
  bpf_l4_csum_replace(context, checksumAt, swap16(servedPort.value), swap16(realPort.value), 2);
  const port = local(u16, swap16(realPort.value));
  bpf_skb_store_bytes(context, Ethernet.size + Ipv4.size + 2, port);
  return TCX_PASS;
});

export const oldAddress = readOnly(u32, 0);
export const newAddress = readOnly(u32, 0);

/** Gives datagrams for one address to another: what a load balancer does on their way out. */
export const redirectAddress = tcxEgress((context) => {
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ip === null || ip.protocol !== IPPROTO_UDP || ip.destination !== oldAddress.value) return TCX_NEXT;
  const from = swap32(oldAddress.value);
  const to = swap32(newAddress.value);
  bpf_l4_csum_replace(context, Ethernet.size + Ipv4.size + 6, from, to, BPF_F_PSEUDO_HDR | 4);
  bpf_l3_csum_replace(context, Ethernet.size + 10, from, to, 4);
  const address = local(be32, newAddress.value);
  bpf_skb_store_bytes(context, Ethernet.size + 16, address);
  return TCX_PASS;
});

const net_device = kernelStruct('net_device', { ifindex: u32 });
const nf_hook_state = kernelStruct('nf_hook_state', { hook: u8, pf: u8, in: pointer(net_device) });
const sk_buff = kernelStruct('sk_buff', { len: u32, head: u64, network_header: u16 });

export const fromDevice = global(u32);
export const hookNumber = global(u32);
export const blockedSize = readOnly(u32, 0);

/** Drops packets of one length. Its context points to the kernel's own structs. */
export const filterPackets = netfilter((context) => {
  const state = read(context.state, nf_hook_state);
  const buffer = read(context.skb, sk_buff);
  fromDevice.value = state.in.ifindex;
  hookNumber.value = state.hook;
  seen.value += 1n;
  return buffer.len === blockedSize.value ? NF_DROP : NF_ACCEPT;
});

/** Keeps only datagrams that begin with this byte; of those only so much. */
export const firstByte = readOnly(u8, 0);
export const keptBytes = readOnly(u32, 0);

export const keepSome = socketFilter((context) => {
  const first = local(u8);
  // The filter of a UDP socket sees the UDP header and what is behind it.
  if (bpf_skb_load_bytes(context, Udp.size, first) !== 0) return 0;
  return first.value === firstByte.value ? keptBytes.value : 0;
});

/** Flows of UDP are one flow each way, whatever their ports are: fewer, larger flows for the hash. */
export const dissected = global(u32);

export const dissectUdp = flowDissector((context) => {
  const keys = context.flow_keys;
  if (keys.n_proto !== 0x0800) return BPF_FLOW_DISSECTOR_CONTINUE;
  const ip = packet(context, Ipv4, keys.nhoff);
  if (ip === null) return BPF_DROP;
  keys.addr_proto = 0x0800;
  keys.ipv4_src = ip.source;
  keys.ipv4_dst = ip.destination;
  keys.ip_proto = ip.protocol;
  keys.thoff = keys.nhoff + ip.headerLength * 4;
  dissected.value = keys.ip_proto;
  return BPF_OK;
});

export const allowedMark = readOnly(u32, 0);
export const passed = global(u32);

/** On a route: only marked sockets may use it. */
export const onlyMarked = lwtOut((context) => {
  if (context.mark !== allowedMark.value) return BPF_DROP;
  passed.value += 1;
  return BPF_OK;
});

/** Drops echo requests alone, on their way out by the route. */
export const noEcho = lwtXmit((context) => {
  const ip = packet(context, Ipv4, 0);
  if (ip === null || ip.protocol !== IPPROTO_ICMP) return BPF_OK;
  const icmp = packet(context, Icmp, Ipv4.size);
  return icmp !== null && icmp.type === 8 ? BPF_DROP : BPF_OK;
});

/** Remembers where packets that come in by the route want to go. */
export const wanted = global(u32);

export const rememberIncoming = lwtIn((context) => {
  const ip = packet(context, Ipv4, 0);
  if (ip === null) return BPF_DROP;
  wanted.value = ip.destination;
  return BPF_DROP;
});

/** At a segment: counts what passes. */
export const segments = global(u32);

export const passSegment = lwtSeg6local((context) => {
  segments.value += context.len > 0 ? 1 : 0;
  return BPF_OK;
});
