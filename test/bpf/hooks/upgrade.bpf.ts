/**
 * A program of which one version follows the other: each counts under its own number, in a map that outlives them all.
 */
import {
  array,
  atomicAdd,
  Ethernet,
  IPPROTO_ICMP,
  Ipv4,
  packet,
  readOnly,
  TCX_NEXT,
  type TcBuffer,
  tcxIngress,
  u32,
  u64,
  XDP_PASS,
  xdp,
  type xdp_md,
} from '../../../src/bpf/library/index.ts';

export const version = readOnly(u32, 0);
export const counts = array({ value: u64, maxEntries: 8, pin: 'byName' });

function count(context: TcBuffer | xdp_md): void {
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ip === null || ip.protocol !== IPPROTO_ICMP) return;
  const own = counts.lookup(version.value);
  if (own !== null) atomicAdd(own, 'value', 1n);
}

export const inStack = tcxIngress((context) => {
  count(context);
  return TCX_NEXT;
});

export const atDriver = xdp((context) => {
  count(context);
  return XDP_PASS;
});
