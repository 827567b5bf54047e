/**
 * A socket filter: keeps ICMP, and TCP and UDP to the ports of a set; answers how many bytes to keep.
 */
import {
  atomicAdd,
  BPF_HDR_START_NET,
  be16,
  bpf_skb_load_bytes_relative,
  ETH_P_IP,
  ETH_P_IPV6,
  hash,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_TCP,
  IPPROTO_UDP,
  Ipv4,
  Ipv6,
  local,
  type SocketBuffer,
  socketFilter,
  type u32,
  u64,
} from '../../../src/bpf/library/index.ts';
import { FRAGMENT_OFFSET, Ports } from './shared.bpf.ts';

const WHOLE = 0x40000;

export const allowed = hash({ key: be16, value: u64, maxEntries: 64 });

function byPort(context: SocketBuffer, offset: u32): u32 {
  const ports = local(Ports);
  if (bpf_skb_load_bytes_relative(context, offset, ports, BPF_HDR_START_NET) < 0) return 0;
  const hits = allowed.lookup(ports.destination);
  if (hits === null) return 0;
  atomicAdd(hits, 'value', 1n);
  return WHOLE;
}

export const packetFilter = socketFilter((context) => {
  if (context.protocol === ETH_P_IP) {
    const ip = local(Ipv4);
    if (bpf_skb_load_bytes_relative(context, 0, ip, BPF_HDR_START_NET) < 0) return 0;
    if (ip.protocol === IPPROTO_ICMP) return WHOLE;
    if (ip.fragment & FRAGMENT_OFFSET) return 0;
    if (ip.protocol !== IPPROTO_TCP && ip.protocol !== IPPROTO_UDP) return 0;
    return byPort(context, ip.headerLength * 4);
  }
  if (context.protocol === ETH_P_IPV6) {
    const ip = local(Ipv6);
    if (bpf_skb_load_bytes_relative(context, 0, ip, BPF_HDR_START_NET) < 0) return 0;
    if (ip.nextHeader === IPPROTO_ICMPV6) return WHOLE;
    if (ip.nextHeader !== IPPROTO_TCP && ip.nextHeader !== IPPROTO_UDP) return 0;
    return byPort(context, Ipv6.size);
  }
  return 0;
});
