/**
 * The first program of the guide: drops packets from listed addresses and counts them.
 */
import { Ethernet, hash, Ipv4, packet, u32, u64, XDP_DROP, XDP_PASS, xdp } from '../../../src/bpf/library/index.ts';

export const blocked = hash({ key: u32, value: u64, maxEntries: 100_000 });

export const filter = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  if (ethernet === null || ethernet.protocol !== 0x0800) return XDP_PASS;
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ip === null) return XDP_PASS;
  const hits = blocked.lookup(ip.source);
  if (hits === null) return XDP_PASS;
  hits.value += 1n;
  return XDP_DROP;
});
