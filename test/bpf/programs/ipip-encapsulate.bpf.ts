/**
 * Puts an IPv4 header around packets to certain addresses (RFC 2003) and sends them to the tunnel's end.
 */
import {
  array,
  be32,
  bpf_xdp_adjust_head,
  ETH_P_IP,
  Ethernet,
  hash,
  IPPROTO_IPIP,
  Ipv4,
  packet,
  struct,
  u8,
  u16,
  type u32,
  XDP_DROP,
  XDP_PASS,
  XDP_TX,
  xdp,
} from '../../../src/bpf/library/index.ts';
import { fold } from './checksum.bpf.ts';
import { HeaderWords } from './shared.bpf.ts';

const Tunnel = struct({ source: be32, destination: be32, nextHop: array(u8, 6), identification: u16 });

export const tunnels = hash({ key: be32, value: Tunnel, maxEntries: 256 });

export const ipipEncapsulate = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ethernet === null || ip === null || ethernet.protocol !== ETH_P_IP) return XDP_PASS;
  const tunnel = tunnels.lookup(ip.destination);
  if (tunnel === null) return XDP_PASS;
  const length: u16 = ip.totalLength + Ipv4.size;
  const typeOfService = ip.typeOfService;
  if (bpf_xdp_adjust_head(context, -Ipv4.size) !== 0) return XDP_DROP;

  const outerEthernet = packet(context, Ethernet, 0);
  const outer = packet(context, Ipv4, Ethernet.size);
  const words = packet(context, HeaderWords, Ethernet.size);
  const inner = packet(context, Ethernet, Ipv4.size);
  if (outerEthernet === null || outer === null || words === null || inner === null) return XDP_DROP;
  outerEthernet.source = inner.destination;
  outerEthernet.destination = tunnel.nextHop;
  outerEthernet.protocol = ETH_P_IP;
  outer.version = 4;
  outer.headerLength = 5;
  outer.typeOfService = typeOfService;
  outer.totalLength = length;
  outer.identification = tunnel.identification;
  outer.fragment = 0;
  outer.timeToLive = 64;
  outer.protocol = IPPROTO_IPIP;
  outer.checksum = 0;
  outer.source = tunnel.source;
  outer.destination = tunnel.destination;
  let sum: u32 = 0;
  for (const word of words.words) sum += word;
  words.words[5] = ~fold(sum);
  return XDP_TX;
});
