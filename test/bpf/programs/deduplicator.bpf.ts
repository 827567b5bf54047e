/**
 * Drops IPv4 packets that were seen before, as a mirror of two ports sends them: a bloom filter over headers.
 */
import {
  BPF_F_ZERO_SEED,
  bloomFilter,
  ETH_P_IP,
  Ethernet,
  Ipv4,
  local,
  packet,
  struct,
  u32,
  XDP_DROP,
  XDP_PASS,
  xdp,
} from '../../../src/bpf/library/index.ts';
import { hash3 } from './hash.bpf.ts';
import { Ports } from './shared.bpf.ts';

const Fingerprint = struct({ first: u32, second: u32 });

export const known = bloomFilter({ value: Fingerprint, maxEntries: 10000, hashes: 5, flags: BPF_F_ZERO_SEED });

export const deduplicator = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  const ip = packet(context, Ipv4, Ethernet.size);
  const ports = packet(context, Ports, Ethernet.size + Ipv4.size);
  if (ethernet === null || ip === null || ports === null || ethernet.protocol !== ETH_P_IP) return XDP_PASS;
  const both: u32 = (ports.source << 16) | ports.destination;
  const print = local(Fingerprint);
  print.first = hash3(ip.source, ip.destination, ip.identification, ip.protocol);
  print.second = hash3(both, ip.totalLength, ip.fragment, print.first);
  if (known.has(print) === 0) return XDP_DROP;
  known.push(print);
  return XDP_PASS;
});
