/**
 * Reads the options of TCP packets that open a connection, and keeps by address what the peer offered. The options are first only
 * found: a loop that also told them apart would have more paths than the verifier follows.
 */
import {
  array,
  be16,
  be32,
  ETH_P_IP,
  Ethernet,
  hash,
  IPPROTO_TCP,
  Ipv4,
  local,
  packed,
  packet,
  struct,
  Tcp,
  u8,
  u16,
  u32,
  XDP_DROP,
  XDP_PASS,
  xdp,
} from '../../../src/bpf/library/index.ts';

const OPTIONS_MAX = 20;
const KINDS = 16;

const Offer = struct({ stamp: u32, segment: u16, scale: u8, selective: u8, window: u16, count: u8, unused: u8 });
const Positions = struct({ of: array(u8, KINDS) });
const Option = struct({ kind: u8, length: u8 });
const SegmentOption = packed({ kind: u8, length: u8, size: be16 });
const ScaleOption = packed({ kind: u8, length: u8, shift: u8 });
const StampOption = packed({ kind: u8, length: u8, value: be32 });

export const offers = hash({ key: be32, value: Offer, maxEntries: 1024 });

export const tcpOptions = xdp((context) => {
  const start = Ethernet.size + Ipv4.size;
  const ethernet = packet(context, Ethernet, 0);
  const ip = packet(context, Ipv4, Ethernet.size);
  const tcp = packet(context, Tcp, start);
  if (ethernet === null || ip === null || tcp === null || ethernet.protocol !== ETH_P_IP) return XDP_PASS;
  if (ip.headerLength !== 5 || ip.protocol !== IPPROTO_TCP || !tcp.syn) return XDP_PASS;
  const positions = local(Positions);
  const offer = local(Offer);
  const header: u32 = tcp.dataOffset * 4;
  let offset: u32 = Tcp.size;
  for (let i = 0; i < OPTIONS_MAX && offset < header; i++) {
    const kind = packet(context, u8, start + offset);
    if (kind === null) return XDP_DROP;
    if (kind.value === 0) break;
    if (kind.value === 1) {
      offset += 1;
      continue;
    }
    const option = packet(context, Option, start + offset);
    if (option === null || option.length < 2) return XDP_DROP;
    if (option.kind < KINDS) positions.of[option.kind] = offset;
    offer.count += 1;
    offset += option.length;
  }

  offer.window = tcp.window;
  offer.selective = positions.of[4] !== 0 ? 1 : 0;
  if (positions.of[2]) {
    const option = packet(context, SegmentOption, start + positions.of[2]);
    if (option === null) return XDP_DROP;
    offer.segment = option.size;
  }
  if (positions.of[3]) {
    const option = packet(context, ScaleOption, start + positions.of[3]);
    if (option === null) return XDP_DROP;
    offer.scale = option.shift;
  }
  if (positions.of[8]) {
    const option = packet(context, StampOption, start + positions.of[8]);
    if (option === null) return XDP_DROP;
    offer.stamp = option.value;
  }
  offers.update(ip.source, offer);
  return XDP_PASS;
});
