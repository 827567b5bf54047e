/**
 * Opens a port to those who sent packets to three others, in order and within a time.
 */
import {
  array,
  be32,
  bpf_ktime_get_ns,
  ETH_P_IP,
  Ethernet,
  IPPROTO_TCP,
  IPPROTO_UDP,
  Ipv4,
  lruHash,
  packet,
  readOnly,
  struct,
  u16,
  u32,
  u64,
  XDP_DROP,
  XDP_PASS,
  xdp,
} from '../../../src/bpf/library/index.ts';
import { Ports } from './shared.bpf.ts';

const KNOCKS = 3;

const Progress = struct({ lastNs: u64, step: u32, opened: u32 });

export const guarded = readOnly(u16, 22);
export const sequence = readOnly(array(u16, KNOCKS), [1001, 2002, 3003]);
export const patienceNs = readOnly(u64, 5_000_000_000n);
export const visitors = lruHash({ key: be32, value: Progress, maxEntries: 1024 });

export const portKnocking = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  const ip = packet(context, Ipv4, Ethernet.size);
  const ports = packet(context, Ports, Ethernet.size + Ipv4.size);
  if (ethernet === null || ip === null || ports === null) return XDP_PASS;
  if (ethernet.protocol !== ETH_P_IP || ip.headerLength !== 5) return XDP_PASS;
  if (ip.protocol !== IPPROTO_TCP && ip.protocol !== IPPROTO_UDP) return XDP_PASS;
  const port = ports.destination;
  const source = ip.source;
  const progress = visitors.lookup(source);
  if (port === guarded.value) return progress !== null && progress.step === KNOCKS ? XDP_PASS : XDP_DROP;
  const now = bpf_ktime_get_ns();
  if (progress === null) {
    if (port === sequence.value[0]) visitors.update(source, { lastNs: now, step: 1, opened: 0 });
    return XDP_PASS;
  }
  if (progress.step >= KNOCKS) return XDP_PASS;
  if (now - progress.lastNs > patienceNs.value) progress.step = 0;
  if (progress.step < KNOCKS && port === sequence.value[progress.step]) {
    progress.step += 1;
    progress.lastNs = now;
    if (progress.step === KNOCKS) progress.opened += 1;
  } else {
    progress.step = port === sequence.value[0] ? 1 : 0;
    progress.lastNs = now;
  }
  return XDP_PASS;
});
