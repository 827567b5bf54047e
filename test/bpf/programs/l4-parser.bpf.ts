/**
 * Finds the flow of a packet behind up to two VLAN tags and IPv6 extension headers, and counts by flow.
 */
import {
  array,
  be16,
  be32,
  ETH_P_8021AD,
  ETH_P_8021Q,
  ETH_P_IP,
  ETH_P_IPV6,
  Ethernet,
  hash,
  IPPROTO_AH,
  IPPROTO_DSTOPTS,
  IPPROTO_FRAGMENT,
  IPPROTO_HOPOPTS,
  IPPROTO_ROUTING,
  IPPROTO_TCP,
  IPPROTO_UDP,
  Ipv4,
  Ipv6,
  local,
  packet,
  packetLength,
  range,
  struct,
  u8,
  u16,
  type u32,
  u64,
  type Value,
  Vlan,
  XDP_DROP,
  XDP_PASS,
  xdp,
} from '../../../src/bpf/library/index.ts';
import { Counters, FRAGMENT_OFFSET, Ports } from './shared.bpf.ts';

const TAGS_MAX = 2;
const EXTENSIONS_MAX = 6;

const Flow = struct({
  source: array(be32, 4),
  destination: array(be32, 4),
  sourcePort: be16,
  destinationPort: be16,
  vlan: u16,
  protocol: u8,
  version: u8,
});
type Flow = Value<typeof Flow>;

/** What all extension headers begin with; the fragment offset is the fragment header's. */
const Extension = struct({ next: u8, length: u8, fragment: be16 });

export const flows = hash({ key: Flow, value: Counters, maxEntries: 4096 });

function count(flow: Flow, length: u32): u32 {
  const known = flows.lookup(flow);
  if (known === null) {
    flows.update(flow, { packets: 1n, bytes: u64(length) });
  } else {
    known.packets += 1n;
    known.bytes += u64(length);
  }
  return XDP_PASS;
}

function isExtension(type: u8): boolean {
  return (
    type === IPPROTO_HOPOPTS ||
    type === IPPROTO_ROUTING ||
    type === IPPROTO_DSTOPTS ||
    type === IPPROTO_FRAGMENT ||
    type === IPPROTO_AH
  );
}

export const l4Parser = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  if (ethernet === null) return XDP_DROP;
  const flow = local(Flow);
  let type: u16 = ethernet.protocol;
  let offset: u32 = Ethernet.size;
  for (const _ of range(TAGS_MAX)) {
    if (type !== ETH_P_8021Q && type !== ETH_P_8021AD) break;
    const tag = packet(context, Vlan, offset);
    if (tag === null) return XDP_DROP;
    flow.vlan = tag.control & 0xfff;
    type = tag.protocol;
    offset += Vlan.size;
  }

  let next: u8 = 0;
  let isFragment = false;
  if (type === ETH_P_IP) {
    const ip = packet(context, Ipv4, offset);
    if (ip === null || ip.version !== 4 || ip.headerLength < 5) return XDP_DROP;
    flow.version = 4;
    flow.source[0] = ip.source;
    flow.destination[0] = ip.destination;
    isFragment = (ip.fragment & FRAGMENT_OFFSET) !== 0;
    next = ip.protocol;
    offset += ip.headerLength * 4;
  } else if (type === ETH_P_IPV6) {
    const ip = packet(context, Ipv6, offset);
    if (ip === null || ip.versionClassFlow >>> 28 !== 6) return XDP_DROP;
    flow.version = 6;
    flow.source = ip.source;
    flow.destination = ip.destination;
    next = ip.nextHeader;
    offset += Ipv6.size;
    for (const _ of range(EXTENSIONS_MAX)) {
      if (!isExtension(next)) break;
      const extension = packet(context, Extension, offset);
      if (extension === null) return XDP_DROP;
      if (next === IPPROTO_FRAGMENT) {
        if ((extension.fragment & 0xfff8) !== 0) isFragment = true;
        offset += 8;
      } else if (next === IPPROTO_AH) {
        offset += (extension.length + 2) * 4;
      } else {
        offset += (extension.length + 1) * 8;
      }
      next = extension.next;
    }
  } else {
    return XDP_PASS;
  }

  flow.protocol = next;
  if (!isFragment && (next === IPPROTO_TCP || next === IPPROTO_UDP)) {
    const ports = packet(context, Ports, offset);
    if (ports === null) return XDP_DROP;
    flow.sourcePort = ports.source;
    flow.destinationPort = ports.destination;
  }
  return count(flow, packetLength(context));
});
