/**
 * Hashes flows into 64 classes, counts each class on its CPU, and leaves the class as the packet's mark.
 */
import {
  ETH_P_IP,
  ETH_P_IPV6,
  Ethernet,
  IPPROTO_TCP,
  IPPROTO_UDP,
  Ipv4,
  Ipv6,
  packet,
  perCpuArray,
  range,
  TC_ACT_OK,
  TC_ACT_SHOT,
  tc,
  type u32,
  u64,
} from '../../../src/bpf/library/index.ts';
import { hash3 } from './hash.bpf.ts';
import { Counters, Ports } from './shared.bpf.ts';

const CLASSES = 64;

export const classes = perCpuArray({ value: Counters, maxEntries: CLASSES });

export const flowHash = tc((context) => {
  const ethernet = packet(context, Ethernet, 0);
  if (ethernet === null) return TC_ACT_SHOT;
  let hash: u32 = 0;
  if (ethernet.protocol === ETH_P_IP) {
    const ip = packet(context, Ipv4, Ethernet.size);
    if (ip === null) return TC_ACT_SHOT;
    let both: u32 = 0;
    if (ip.headerLength === 5 && (ip.protocol === IPPROTO_TCP || ip.protocol === IPPROTO_UDP)) {
      const ports = packet(context, Ports, Ethernet.size + Ipv4.size);
      if (ports !== null) both = (ports.source << 16) | ports.destination;
    }
    hash = hash3(ip.source, ip.destination, both, ip.protocol);
  } else if (ethernet.protocol === ETH_P_IPV6) {
    const ip = packet(context, Ipv6, Ethernet.size);
    if (ip === null) return TC_ACT_SHOT;
    hash = ip.nextHeader;
    for (const i of range(4)) hash = hash3(ip.source[i], ip.destination[i], hash, i);
  } else {
    return TC_ACT_OK;
  }
  const index = hash % CLASSES;
  const counters = classes.lookup(index);
  if (counters !== null) {
    counters.packets += 1n;
    counters.bytes += u64(context.len);
  }
  context.mark = index;
  return TC_ACT_OK;
});
