/**
 * Lowers the maximum segment size that connections offer to what a tunnel carries, and mends the checksum by the helper.
 */
import {
  be16,
  bpf_l4_csum_replace,
  ETH_P_IP,
  Ethernet,
  global,
  IPPROTO_TCP,
  Ipv4,
  packed,
  packet,
  readOnly,
  struct,
  swap16,
  TC_ACT_OK,
  TC_ACT_SHOT,
  Tcp,
  tc,
  u8,
  u16,
  type u32,
  u64,
} from '../../../src/bpf/library/index.ts';

const OPTIONS_MAX = 12;
const KIND_MSS = 2;
/** Where the checksum stands in a TCP header. */
const CHECKSUM = 16;

const Option = struct({ kind: u8, length: u8 });
const SegmentOption = packed({ kind: u8, length: u8, size: be16 });

export const limit = readOnly(u16, 1360);
export const clamped = global(u64, 0n);

export const mssClamp = tc((context) => {
  const start = Ethernet.size + Ipv4.size;
  const ethernet = packet(context, Ethernet, 0);
  const ip = packet(context, Ipv4, Ethernet.size);
  const tcp = packet(context, Tcp, start);
  if (ethernet === null || ip === null || tcp === null || ethernet.protocol !== ETH_P_IP) return TC_ACT_OK;
  if (ip.headerLength !== 5 || ip.protocol !== IPPROTO_TCP || !tcp.syn) return TC_ACT_OK;
  const header: u32 = tcp.dataOffset * 4;
  let offset: u32 = Tcp.size;
  let found: u32 = 0;
  for (let i = 0; i < OPTIONS_MAX && offset < header; i++) {
    const option = packet(context, Option, start + offset);
    if (option === null || option.kind === 0) break;
    if (option.kind === KIND_MSS) {
      found = offset;
      break;
    }
    if (option.kind !== 1 && option.length < 2) return TC_ACT_SHOT;
    offset += option.kind === 1 ? 1 : option.length;
  }
  if (found === 0) return TC_ACT_OK;
  const segment = packet(context, SegmentOption, start + found);
  if (segment === null || segment.length !== SegmentOption.size) return TC_ACT_OK;
  // The helper takes what lies in memory, not what it means.
  let before = swap16(segment.size);
  let after = swap16(limit.value);
  if (segment.size <= limit.value) return TC_ACT_OK;
  segment.size = limit.value;
  if (found % 2 !== 0) {
    // At an odd offset each byte belongs to the other half of a checksum's word.
    before = swap16(before);
    after = swap16(after);
  }
  if (bpf_l4_csum_replace(context, start + CHECKSUM, before, after, 2) !== 0) return TC_ACT_SHOT;
  clamped.value += 1n;
  return TC_ACT_OK;
});
