/**
 * Reads the name that a DNS query asks for, without regard to case, and drops queries for names of a block list.
 */
import {
  be16,
  ETH_P_IP,
  Ethernet,
  hash,
  IPPROTO_UDP,
  Ipv4,
  local,
  packet,
  struct,
  Udp,
  u8,
  u16,
  u32,
  u64,
  XDP_DROP,
  XDP_PASS,
  xdp,
} from '../../../src/bpf/library/index.ts';

const NAME_MAX = 64;
const OFFSET_BASIS = 2166136261;
const PRIME = 16777619;
const UPPER_A = 65;
const UPPER_Z = 90;
const TO_LOWER = 32;

const Dns = struct({ id: be16, flags: be16, questions: be16, answers: be16, authorities: be16, additional: be16 });
const Question = struct({ type: be16, class: be16 });
const Query = struct({ hash: u32, type: u16, labels: u8, length: u8 });

export const blocked = hash({ key: u32, value: u64, maxEntries: 1024 });
export const queries = hash({ key: Query, value: u64, maxEntries: 1024 });

export const dnsParser = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  const ip = packet(context, Ipv4, Ethernet.size);
  const udp = packet(context, Udp, Ethernet.size + Ipv4.size);
  const dns = packet(context, Dns, Ethernet.size + Ipv4.size + Udp.size);
  if (ethernet === null || ip === null || udp === null || dns === null) return XDP_PASS;
  if (ethernet.protocol !== ETH_P_IP || ip.headerLength !== 5) return XDP_PASS;
  if (ip.protocol !== IPPROTO_UDP || udp.destination !== 53) return XDP_PASS;
  if (dns.flags & 0xf800 || dns.questions !== 1) return XDP_PASS;
  const name = Ethernet.size + Ipv4.size + Udp.size + Dns.size;
  let code: u32 = OFFSET_BASIS;
  let labels: u32 = 0;
  let left: u32 = 0;
  let length: u32 = 0;
  for (; length < NAME_MAX; length++) {
    const at = packet(context, u8, name + length);
    if (at === null) return XDP_DROP;
    let byte: u32 = at.value;
    if (left === 0) {
      if (byte === 0) break;
      if (byte > 63) return XDP_DROP;
      labels += 1;
      left = byte;
    } else {
      if (byte >= UPPER_A && byte <= UPPER_Z) byte += TO_LOWER;
      left -= 1;
    }
    code = (code ^ byte) * PRIME;
  }
  if (length === NAME_MAX) return XDP_DROP;
  const question = packet(context, Question, name + length + 1);
  if (question === null) return XDP_DROP;
  const query = local(Query, { hash: code, type: question.type, labels, length });
  const known = queries.lookup(query);
  if (known === null) queries.update(query, 1n);
  else known.value += 1n;
  const hits = blocked.lookup(code);
  if (hits === null) return XDP_PASS;
  hits.value += 1n;
  return XDP_DROP;
});
