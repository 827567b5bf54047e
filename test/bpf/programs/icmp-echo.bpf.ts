/**
 * Answers echo requests of ICMP and ICMPv6 in place.
 */
import {
  ETH_P_IP,
  ETH_P_IPV6,
  Ethernet,
  Icmp,
  Icmp6,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  Ipv4,
  Ipv6,
  local,
  packet,
  XDP_PASS,
  XDP_TX,
  xdp,
} from '../../../src/bpf/library/index.ts';
import { swapAddresses, updateChecksum } from './checksum.bpf.ts';
import { FRAGMENT_OFFSET, MORE_FRAGMENTS } from './shared.bpf.ts';

const ECHO_REPLY = 0;
const ECHO_REQUEST = 8;
const ECHO_REQUEST_6 = 128;
const ECHO_REPLY_6 = 129;

export const icmpEcho = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  if (ethernet === null) return XDP_PASS;
  if (ethernet.protocol === ETH_P_IP) {
    const ip = packet(context, Ipv4, Ethernet.size);
    const icmp = packet(context, Icmp, Ethernet.size + Ipv4.size);
    if (ip === null || icmp === null || ip.headerLength !== 5 || ip.protocol !== IPPROTO_ICMP) return XDP_PASS;
    if (ip.fragment & (FRAGMENT_OFFSET | MORE_FRAGMENTS)) return XDP_PASS;
    if (icmp.type !== ECHO_REQUEST || icmp.code !== 0) return XDP_PASS;
    const address = ip.source;
    ip.source = ip.destination;
    ip.destination = address;
    icmp.type = ECHO_REPLY;
    icmp.checksum = updateChecksum(icmp.checksum, ECHO_REQUEST << 8, ECHO_REPLY << 8);
  } else if (ethernet.protocol === ETH_P_IPV6) {
    const ip = packet(context, Ipv6, Ethernet.size);
    const icmp = packet(context, Icmp6, Ethernet.size + Ipv6.size);
    if (ip === null || icmp === null || ip.nextHeader !== IPPROTO_ICMPV6) return XDP_PASS;
    if (icmp.type !== ECHO_REQUEST_6 || icmp.code !== 0) return XDP_PASS;
    const before = local(Ipv6);
    before.source = ip.source;
    ip.source = ip.destination;
    ip.destination = before.source;
    icmp.type = ECHO_REPLY_6;
    icmp.checksum = updateChecksum(icmp.checksum, ECHO_REQUEST_6 << 8, ECHO_REPLY_6 << 8);
  } else {
    return XDP_PASS;
  }
  swapAddresses(ethernet);
  return XDP_TX;
});
