/**
 * Marks the service class of packets by their destination port, in IPv4 and IPv6, and mends the IPv4 checksum.
 */
import {
  be16,
  ETH_P_IP,
  ETH_P_IPV6,
  Ethernet,
  hash,
  IPPROTO_TCP,
  IPPROTO_UDP,
  Ipv4,
  Ipv6,
  packet,
  TC_ACT_OK,
  tc,
  u8,
  type u32,
} from '../../../src/bpf/library/index.ts';
import { updateChecksum } from './checksum.bpf.ts';
import { Ports } from './shared.bpf.ts';

const ECN = 0x03;

export const services = hash({ key: be16, value: u8, maxEntries: 256 });

export const dscpMarker = tc((context) => {
  const ethernet = packet(context, Ethernet, 0);
  if (ethernet === null) return TC_ACT_OK;
  if (ethernet.protocol === ETH_P_IP) {
    const ip = packet(context, Ipv4, Ethernet.size);
    const ports = packet(context, Ports, Ethernet.size + Ipv4.size);
    if (ip === null || ports === null || ip.headerLength !== 5) return TC_ACT_OK;
    if (ip.protocol !== IPPROTO_TCP && ip.protocol !== IPPROTO_UDP) return TC_ACT_OK;
    const service = services.lookup(ports.destination);
    if (service === null) return TC_ACT_OK;
    const before = ip.typeOfService;
    const after: u8 = (service.value << 2) | (before & ECN);
    ip.typeOfService = after;
    ip.checksum = updateChecksum(ip.checksum, before, after);
    context.priority = service.value;
  } else if (ethernet.protocol === ETH_P_IPV6) {
    const ip = packet(context, Ipv6, Ethernet.size);
    const ports = packet(context, Ports, Ethernet.size + Ipv6.size);
    if (ip === null || ports === null) return TC_ACT_OK;
    if (ip.nextHeader !== IPPROTO_TCP && ip.nextHeader !== IPPROTO_UDP) return TC_ACT_OK;
    const service = services.lookup(ports.destination);
    if (service === null) return TC_ACT_OK;
    const first: u32 = ip.versionClassFlow;
    ip.versionClassFlow = (first & 0xf03fffff) | ((service.value & 0x3f) << 22);
    context.priority = service.value;
  }
  return TC_ACT_OK;
});
