/**
 * Rewrites the destination of a service to its server, and mends the checksums without reading the payload (RFC 1624).
 */
import {
  be16,
  be32,
  ETH_P_IP,
  Ethernet,
  hash,
  IPPROTO_TCP,
  Ipv4,
  packet,
  struct,
  Tcp,
  Udp,
  u8,
  type u16,
  type u32,
  u64,
  XDP_DROP,
  XDP_PASS,
  XDP_TX,
  xdp,
} from '../../../src/bpf/library/index.ts';
import { foldWide } from './checksum.bpf.ts';
import { FRAGMENT_OFFSET, MORE_FRAGMENTS, Ports } from './shared.bpf.ts';

const Endpoint = struct({ address: be32, port: be16, protocol: u8, unused: u8 });

export const services = hash({ key: Endpoint, value: Endpoint, maxEntries: 1024 });

/** What a change of a 32-bit word adds to a checksum. */
function difference(from: u32, to: u32): u64 {
  return u64(~from) + u64(to);
}

function applied(checksum: u16, change: u64): u16 {
  return ~foldWide(u64(~checksum & 0xffff) + change);
}

export const nat = xdp((context) => {
  const start = Ethernet.size + Ipv4.size;
  const ethernet = packet(context, Ethernet, 0);
  const ip = packet(context, Ipv4, Ethernet.size);
  const ports = packet(context, Ports, start);
  if (ethernet === null || ip === null || ports === null || ethernet.protocol !== ETH_P_IP) return XDP_PASS;
  if (ip.headerLength !== 5 || ip.fragment & (FRAGMENT_OFFSET | MORE_FRAGMENTS)) return XDP_PASS;
  const server = services.lookup({
    address: ip.destination,
    port: ports.destination,
    protocol: ip.protocol,
    unused: 0,
  });
  if (server === null) return XDP_PASS;
  const addresses = difference(ip.destination, server.address);
  const both = addresses + u64(~ports.destination & 0xffff) + u64(server.port);
  if (ip.protocol === IPPROTO_TCP) {
    const tcp = packet(context, Tcp, start);
    if (tcp === null) return XDP_DROP;
    tcp.checksum = applied(tcp.checksum, both);
  } else {
    const udp = packet(context, Udp, start);
    if (udp === null) return XDP_DROP;
    // RFC 768: 0 stands for no checksum, and stays; a sum that comes out as 0 is sent as 0xffff.
    if (udp.checksum !== 0) {
      udp.checksum = applied(udp.checksum, both);
      if (udp.checksum === 0) udp.checksum = 0xffff;
    }
  }
  ip.checksum = applied(ip.checksum, addresses);
  ip.destination = server.address;
  ports.destination = server.port;
  return XDP_TX;
});
