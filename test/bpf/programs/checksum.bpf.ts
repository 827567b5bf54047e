/**
 * What the suite's programs share: the Internet checksum and its change, and the swap of a frame's addresses.
 */
import {
  bpf_csum_diff,
  Ethernet,
  IPPROTO_TCP,
  type Ipv4,
  local,
  swap16,
  swap32,
  Tcp,
  type u16,
  u32,
  u64,
} from '../../../src/bpf/library/index.ts';

/** Folds a sum of 16-bit words into 16 bits (RFC 1071). */
export function fold(sum: u32): u16 {
  const once: u32 = (sum & 0xffff) + (sum >> 16);
  return (once & 0xffff) + (once >> 16);
}

/** The same for sums of up to 34 bits, as those of 32-bit words are. */
export function foldWide(sum: u64): u16 {
  return fold(u32((sum & 0xffffn) + (sum >> 16n)));
}

/** The checksum after one 16-bit word changed (RFC 1624, equation 3). */
export function updateChecksum(checksum: u16, from: u16, to: u16): u16 {
  return ~fold((~checksum & 0xffff) + (~from & 0xffff) + to);
}

/** The checksum of a TCP header without options and payload, whose own is 0. The helper sums words as they lie in memory. */
export function tcpChecksum(ip: Ipv4, tcp: Tcp): u16 {
  const addresses = u64(swap32(ip.source)) + u64(swap32(ip.destination));
  const sum = u64(bpf_csum_diff(null, tcp, 0)) + addresses + u64(swap16(IPPROTO_TCP)) + u64(swap16(Tcp.size));
  return swap16(~foldWide(sum));
}

export function swapAddresses(ethernet: Ethernet): void {
  const before = local(Ethernet);
  before.destination = ethernet.destination;
  ethernet.destination = ethernet.source;
  ethernet.source = before.destination;
}
