/**
 * Routes IPv4 by a trie and IPv6 by another: counts down time to live or hop limit and sends out by a map of devices.
 */
import {
  array,
  deviceMap,
  ETH_P_IP,
  ETH_P_IPV6,
  Ethernet,
  Ipv4,
  Ipv6,
  local,
  lpmTrie,
  packet,
  struct,
  u8,
  u32,
  type Value,
  XDP_DROP,
  XDP_PASS,
  xdp,
} from '../../../src/bpf/library/index.ts';
import { Prefix4, Prefix6 } from './shared.bpf.ts';

const NextHop = struct({ to: array(u8, 6), from: array(u8, 6), device: u32 });
type NextHop = Value<typeof NextHop>;

export const routes4 = lpmTrie({ key: Prefix4, value: NextHop, maxEntries: 1024 });
export const routes6 = lpmTrie({ key: Prefix6, value: NextHop, maxEntries: 1024 });
export const devices = deviceMap({ maxEntries: 64 });

export const ttlRouter = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  if (ethernet === null) return XDP_DROP;
  let next: NextHop | null = null;
  if (ethernet.protocol === ETH_P_IP) {
    const ip = packet(context, Ipv4, Ethernet.size);
    if (ip === null || ip.timeToLive <= 1) return XDP_PASS;
    next = routes4.lookup({ bits: 32, address: ip.destination });
    if (next === null) return XDP_PASS;
    ip.timeToLive -= 1;
    // The time to live is the high byte of its word, so that the checksum grows by 0x0100 (RFC 1141).
    const sum: u32 = ip.checksum + 0x0100;
    ip.checksum = sum + (sum >= 0xffff ? 1 : 0);
  } else if (ethernet.protocol === ETH_P_IPV6) {
    const ip = packet(context, Ipv6, Ethernet.size);
    if (ip === null || ip.hopLimit <= 1) return XDP_PASS;
    next = routes6.lookup(local(Prefix6, { bits: 128, address: ip.destination }));
    if (next === null) return XDP_PASS;
    ip.hopLimit -= 1;
  } else {
    return XDP_PASS;
  }
  ethernet.destination = next.to;
  ethernet.source = next.from;
  return devices.redirect(next.device, XDP_PASS);
});
