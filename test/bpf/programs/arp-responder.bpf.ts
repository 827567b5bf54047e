/**
 * Answers ARP requests for addresses of a table, without the stack.
 */
import {
  Arp,
  array,
  be32,
  ETH_P_ARP,
  ETH_P_IP,
  Ethernet,
  hash,
  packet,
  struct,
  u8,
  XDP_PASS,
  XDP_TX,
  xdp,
} from '../../../src/bpf/library/index.ts';

const Hardware = struct({ address: array(u8, 6) });

export const neighbours = hash({ key: be32, value: Hardware, maxEntries: 256 });

export const arpResponder = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  const arp = packet(context, Arp, Ethernet.size);
  if (ethernet === null || arp === null || ethernet.protocol !== ETH_P_ARP) return XDP_PASS;
  if (arp.hardware !== 1 || arp.protocol !== ETH_P_IP) return XDP_PASS;
  if (arp.hardwareSize !== 6 || arp.protocolSize !== 4 || arp.operation !== 1) return XDP_PASS;
  const target = arp.target;
  const own = neighbours.lookup(target);
  if (own === null) return XDP_PASS;
  ethernet.destination = arp.senderHardware;
  ethernet.source = own.address;
  arp.operation = 2;
  arp.targetHardware = arp.senderHardware;
  arp.target = arp.sender;
  arp.senderHardware = own.address;
  arp.sender = target;
  return XDP_TX;
});
