/**
 * Sends each flow to one of many backends by a Maglev ring that user space fills, and out again where it came from.
 */
import {
  array,
  atomicAdd,
  ETH_P_IP,
  Ethernet,
  IPPROTO_TCP,
  IPPROTO_UDP,
  Ipv4,
  packet,
  struct,
  u8,
  u16,
  u32,
  u64,
  XDP_ABORTED,
  XDP_DROP,
  XDP_PASS,
  XDP_TX,
  xdp,
} from '../../../src/bpf/library/index.ts';
import { hash3 } from './hash.bpf.ts';
import { Ports } from './shared.bpf.ts';

const RING = 65537;

const Backend = struct({ address: array(u8, 6), unused: u16, packets: u64 });

export const ring = array({ value: u32, maxEntries: RING });
export const backends = array({ value: Backend, maxEntries: 256 });

export const maglev = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  const ip = packet(context, Ipv4, Ethernet.size);
  const ports = packet(context, Ports, Ethernet.size + Ipv4.size);
  if (ethernet === null || ip === null || ports === null) return XDP_PASS;
  if (ethernet.protocol !== ETH_P_IP || ip.headerLength !== 5) return XDP_PASS;
  if (ip.protocol !== IPPROTO_TCP && ip.protocol !== IPPROTO_UDP) return XDP_PASS;
  const both: u32 = (ports.source << 16) | ports.destination;
  const slot = hash3(ip.source, ip.destination, both, ip.protocol) % RING;
  const index = ring.lookup(slot);
  if (index === null) return XDP_ABORTED;
  const backend = backends.lookup(index.value);
  if (backend === null) return XDP_DROP;
  ethernet.source = ethernet.destination;
  ethernet.destination = backend.address;
  atomicAdd(backend, 'packets', 1n);
  return XDP_TX;
});
