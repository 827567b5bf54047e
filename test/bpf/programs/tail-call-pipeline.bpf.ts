/**
 * A pipeline of tail calls: the first program finds the protocol, others judge by it; what has none is passed and counted.
 */
import {
  array,
  atomicAdd,
  ETH_P_IP,
  ETH_P_IPV6,
  Ethernet,
  IPPROTO_TCP,
  Ipv4,
  Ipv6,
  type ProgramArrayMap,
  packet,
  programArray,
  Tcp,
  tailCall,
  type u32,
  u64,
  XDP_DROP,
  XDP_PASS,
  xdp,
} from '../../../src/bpf/library/index.ts';
import { FRAGMENT_OFFSET } from './shared.bpf.ts';

const STAGE_IPV4 = 0;
const STAGE_IPV6 = 1;
const STAGE_TCP = 2;
const STAGES = 3;

export const visits = array({ value: u64, maxEntries: STAGES + 1 });

function visit(stage: u32): void {
  const counter = visits.lookup(stage);
  if (counter !== null) atomicAdd(counter, 'value', 1n);
}

export const judgeTcp = xdp((context) => {
  visit(STAGE_TCP);
  const tcp = packet(context, Tcp, Ethernet.size + Ipv4.size);
  if (tcp === null || tcp.dataOffset < 5) return XDP_DROP;
  // No flags, or such as exclude each other: what scanners send.
  if ((tcp.syn && (tcp.fin || tcp.rst)) || !(tcp.syn || tcp.fin || tcp.rst || tcp.ack)) return XDP_DROP;
  return XDP_PASS;
});

export const judgeIpv4 = xdp((context) => {
  visit(STAGE_IPV4);
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ip === null || ip.version !== 4 || ip.headerLength < 5) return XDP_DROP;
  if (ip.headerLength === 5 && ip.protocol === IPPROTO_TCP && !(ip.fragment & FRAGMENT_OFFSET)) {
    tailCall(context, stages, STAGE_TCP);
  }
  return XDP_PASS;
});

export const judgeIpv6 = xdp((context) => {
  visit(STAGE_IPV6);
  const ip = packet(context, Ipv6, Ethernet.size);
  if (ip === null || ip.versionClassFlow >>> 28 !== 6) return XDP_DROP;
  return ip.hopLimit === 0 ? XDP_DROP : XDP_PASS;
});

export const tailCallPipeline = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  if (ethernet === null) return XDP_DROP;
  if (ethernet.protocol === ETH_P_IP) tailCall(context, stages, STAGE_IPV4);
  else if (ethernet.protocol === ETH_P_IPV6) tailCall(context, stages, STAGE_IPV6);
  visit(STAGES);
  return XDP_PASS;
});

export const stages: ProgramArrayMap = programArray({ maxEntries: STAGES, values: [judgeIpv4, judgeIpv6, judgeTcp] });
