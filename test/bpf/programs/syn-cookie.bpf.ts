/**
 * Answers connection attempts to a port by SYN cookies without any state, and lets only those packets through whose acknowledgement
 * holds a cookie of this minute or the one before. The cookie is SipHash-2-4 of addresses, ports and minute.
 */
import {
  array,
  atomicAdd,
  bpf_xdp_adjust_tail,
  ETH_P_IP,
  Ethernet,
  global,
  IPPROTO_TCP,
  Ipv4,
  local,
  packet,
  packetLength,
  range,
  readOnly,
  struct,
  Tcp,
  u16,
  u32,
  u64,
  type Value,
  XDP_DROP,
  XDP_PASS,
  XDP_TX,
  xdp,
  type xdp_md,
} from '../../../src/bpf/library/index.ts';
import { fold, swapAddresses, tcpChecksum } from './checksum.bpf.ts';
import { HeaderWords } from './shared.bpf.ts';

const SENT = 0;
const VALID = 1;
const INVALID = 2;
const SYN_ACK = 0x12;

export const key0 = readOnly(u64, 0x0706050403020100n);
export const key1 = readOnly(u64, 0x0f0e0d0c0b0a0908n);
export const port = readOnly(u16, 80);
export const minute = global(u32, 0);
export const outcomes = array({ value: u64, maxEntries: 3 });

const Sip = struct({ a: u64, b: u64, c: u64, d: u64 });
type Sip = Value<typeof Sip>;

function rotate64(value: u64, by: u64): u64 {
  return (value << by) | (value >> (64n - by));
}

function round(sip: Sip): void {
  sip.a += sip.b;
  sip.b = rotate64(sip.b, 13n) ^ sip.a;
  sip.a = rotate64(sip.a, 32n);
  sip.c += sip.d;
  sip.d = rotate64(sip.d, 16n) ^ sip.c;
  sip.a += sip.d;
  sip.d = rotate64(sip.d, 21n) ^ sip.a;
  sip.c += sip.b;
  sip.b = rotate64(sip.b, 17n) ^ sip.c;
  sip.c = rotate64(sip.c, 32n);
}

function absorb(sip: Sip, word: u64): void {
  sip.d ^= word;
  round(sip);
  round(sip);
  sip.a ^= word;
}

function cookie(source: u32, destination: u32, ports: u32, at: u32): u32 {
  const sip = local(Sip, {
    a: 0x736f6d6570736575n ^ key0.value,
    b: 0x646f72616e646f6dn ^ key1.value,
    c: 0x6c7967656e657261n ^ key0.value,
    d: 0x7465646279746573n ^ key1.value,
  });
  absorb(sip, (u64(destination) << 32n) | u64(source));
  absorb(sip, (u64(at) << 32n) | u64(ports));
  absorb(sip, 16n << 56n);
  sip.c ^= 0xffn;
  round(sip);
  round(sip);
  round(sip);
  round(sip);
  return u32(sip.a ^ sip.b ^ sip.c ^ sip.d);
}

function note(outcome: u32): void {
  const counter = outcomes.lookup(outcome);
  if (counter !== null) atomicAdd(counter, 'value', 1n);
}

/** Makes the SYN a SYN with acknowledgement, in place and without options. */
function answer(context: xdp_md, ethernet: Ethernet, ip: Ipv4, tcp: Tcp, sequence: u32): u32 {
  const before = packetLength(context);
  const words = packet(context, HeaderWords, Ethernet.size);
  if (words === null) return XDP_DROP;
  swapAddresses(ethernet);
  const address = ip.source;
  ip.source = ip.destination;
  ip.destination = address;
  ip.totalLength = Ipv4.size + Tcp.size;
  ip.identification = 0;
  ip.fragment = 0x4000;
  ip.timeToLive = 64;
  ip.checksum = 0;
  let sum: u32 = 0;
  for (const word of words.words) sum += word;
  words.words[5] = ~fold(sum);

  const source = tcp.source;
  tcp.source = tcp.destination;
  tcp.destination = source;
  tcp.acknowledgement = tcp.sequence + 1;
  tcp.sequence = sequence;
  tcp.reserved = 0;
  tcp.dataOffset = 5;
  tcp.flags = SYN_ACK;
  tcp.window = 65535;
  tcp.checksum = 0;
  tcp.urgentPointer = 0;
  tcp.checksum = tcpChecksum(ip, tcp);
  note(SENT);
  const length = Ethernet.size + Ipv4.size + Tcp.size;
  return bpf_xdp_adjust_tail(context, length - before) === 0 ? XDP_TX : XDP_DROP;
}

export const synCookie = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  const ip = packet(context, Ipv4, Ethernet.size);
  const tcp = packet(context, Tcp, Ethernet.size + Ipv4.size);
  if (ethernet === null || ip === null || tcp === null || ethernet.protocol !== ETH_P_IP) return XDP_PASS;
  if (ip.headerLength !== 5 || ip.protocol !== IPPROTO_TCP || tcp.destination !== port.value) return XDP_PASS;
  const ports: u32 = (tcp.source << 16) | tcp.destination;
  if (tcp.syn) {
    if (tcp.ack) return XDP_DROP;
    return answer(context, ethernet, ip, tcp, cookie(ip.source, ip.destination, ports, minute.value));
  }
  if (!tcp.ack) return XDP_DROP;
  const given: u32 = tcp.acknowledgement - 1;
  for (const age of range(2)) {
    if (cookie(ip.source, ip.destination, ports, minute.value - age) === given) {
      note(VALID);
      return XDP_PASS;
    }
  }
  note(INVALID);
  return XDP_DROP;
});
