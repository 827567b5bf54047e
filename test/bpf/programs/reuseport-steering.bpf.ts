/**
 * Chooses the socket of a group by the worker that a datagram names in its first byte, else by the flow's hash.
 */
import {
  array,
  atomicAdd,
  IPPROTO_UDP,
  packed,
  packet,
  readOnly,
  reuseportSocketArray,
  SK_DROP,
  SK_PASS,
  skReuseport,
  Udp,
  u8,
  u32,
  u64,
} from '../../../src/bpf/library/index.ts';

const WORKERS = 16;

const Datagram = packed({ udp: Udp, worker: u8 });

export const workers = readOnly(u32, 4);
export const sockets = reuseportSocketArray({ maxEntries: WORKERS });
export const chosen = array({ value: u64, maxEntries: WORKERS });

export const reuseportSteering = skReuseport((context) => {
  let worker: u32 = context.hash % workers.value;
  if (context.ip_protocol === IPPROTO_UDP) {
    const datagram = packet(context, Datagram, 0);
    if (datagram === null) return SK_DROP;
    if (datagram.worker < workers.value) worker = datagram.worker;
  }
  const counter = chosen.lookup(worker);
  if (counter !== null) atomicAdd(counter, 'value', 1n);
  return sockets.select(context, worker, 0) < 0 ? SK_DROP : SK_PASS;
});
