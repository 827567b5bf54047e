/**
 * Drops packets of blocked IPv4 addresses, and counts them. This file runs in the kernel; main.ts beside it loads it.
 */
import { ETH_P_IP, Ethernet, hash, Ipv4, packet, u32, u64, XDP_DROP, XDP_PASS, xdp } from 'millrace/bpf';

export const blocked = hash({ key: u32, value: u64, maxEntries: 100_000 });

export const filter = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  if (ethernet === null || ethernet.protocol !== ETH_P_IP) return XDP_PASS;
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ip === null) return XDP_PASS;
  const hits = blocked.lookup(ip.source);
  if (hits === null) return XDP_PASS;
  hits.value += 1n;
  return XDP_DROP;
});
