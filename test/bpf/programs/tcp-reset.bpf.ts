/**
 * Answers TCP packets to closed ports with a reset (RFC 9293 section 3.10.7.1), made in place.
 */
import {
  atomicAdd,
  be16,
  bpf_xdp_adjust_tail,
  ETH_P_IP,
  Ethernet,
  hash,
  IPPROTO_TCP,
  Ipv4,
  packet,
  packetLength,
  Tcp,
  type u32,
  u64,
  XDP_DROP,
  XDP_PASS,
  XDP_TX,
  xdp,
} from '../../../src/bpf/library/index.ts';
import { fold, swapAddresses, tcpChecksum } from './checksum.bpf.ts';
import { HeaderWords } from './shared.bpf.ts';

const RST = 0x04;
const RST_ACK = 0x14;

export const closed = hash({ key: be16, value: u64, maxEntries: 256 });

export const tcpReset = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  const ip = packet(context, Ipv4, Ethernet.size);
  const words = packet(context, HeaderWords, Ethernet.size);
  const tcp = packet(context, Tcp, Ethernet.size + Ipv4.size);
  if (ethernet === null || ip === null || words === null || tcp === null) return XDP_PASS;
  if (ethernet.protocol !== ETH_P_IP) return XDP_PASS;
  if (ip.headerLength !== 5 || ip.protocol !== IPPROTO_TCP || tcp.rst) return XDP_PASS;
  const port = tcp.destination;
  const hits = closed.lookup(port);
  if (hits === null) return XDP_PASS;
  atomicAdd(hits, 'value', 1n);
  const headers: u32 = Ipv4.size + tcp.dataOffset * 4;
  if (tcp.dataOffset < 5 || ip.totalLength < headers) return XDP_DROP;
  const consumed: u32 = ip.totalLength - headers + tcp.syn + tcp.fin;

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

  tcp.destination = tcp.source;
  tcp.source = port;
  if (tcp.ack) {
    tcp.sequence = tcp.acknowledgement;
    tcp.acknowledgement = 0;
    tcp.flags = RST;
  } else {
    tcp.acknowledgement = tcp.sequence + consumed;
    tcp.sequence = 0;
    tcp.flags = RST_ACK;
  }
  tcp.reserved = 0;
  tcp.dataOffset = 5;
  tcp.window = 0;
  tcp.checksum = 0;
  tcp.urgentPointer = 0;
  tcp.checksum = tcpChecksum(ip, tcp);
  const length = Ethernet.size + Ipv4.size + Tcp.size;
  return bpf_xdp_adjust_tail(context, length - packetLength(context)) === 0 ? XDP_TX : XDP_DROP;
});
