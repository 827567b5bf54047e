/**
 * Takes the outer IPv4 header off IPIP (RFC 2003) and 6in4 (RFC 4213) packets to this host's tunnel addresses.
 */
import {
  be32,
  bpf_xdp_adjust_head,
  ETH_P_IP,
  ETH_P_IPV6,
  Ethernet,
  hash,
  IPPROTO_IPIP,
  IPPROTO_IPV6,
  Ipv4,
  packet,
  type u16,
  u64,
  XDP_DROP,
  XDP_PASS,
  xdp,
} from '../../../src/bpf/library/index.ts';
import { Counters } from './shared.bpf.ts';

export const endpoints = hash({ key: be32, value: Counters, maxEntries: 64 });

export const decapsulate = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ethernet === null || ip === null) return XDP_PASS;
  if (ethernet.protocol !== ETH_P_IP || ip.headerLength !== 5) return XDP_PASS;
  let type: u16 = ETH_P_IP;
  if (ip.protocol === IPPROTO_IPV6) type = ETH_P_IPV6;
  else if (ip.protocol !== IPPROTO_IPIP) return XDP_PASS;
  const counters = endpoints.lookup(ip.destination);
  if (counters === null) return XDP_PASS;
  counters.packets += 1n;
  counters.bytes += u64(ip.totalLength);

  // The addresses stay, moved up to the inner header.
  const inner = packet(context, Ethernet, Ipv4.size);
  if (inner === null) return XDP_DROP;
  inner.destination = ethernet.destination;
  inner.source = ethernet.source;
  inner.protocol = type;
  return bpf_xdp_adjust_head(context, Ipv4.size) === 0 ? XDP_PASS : XDP_DROP;
});
