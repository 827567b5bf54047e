/**
 * Counts how often each byte value comes in the first 128 bytes of packets, by a loop of the kernel's (bpf_loop).
 */
import {
  array,
  bpf_loop,
  bpf_xdp_load_bytes,
  local,
  packetLength,
  perCpuArray,
  slice,
  struct,
  u8,
  u32,
  u64,
  type Value,
  XDP_ABORTED,
  XDP_DROP,
  XDP_PASS,
  xdp,
} from '../../../src/bpf/library/index.ts';

const WINDOW = 128;

const Window = struct({ bytes: array(u8, WINDOW) });
const State = struct({ total: u32, zeros: u32 });
type State = Value<typeof State>;

export const windows = perCpuArray({ value: Window, maxEntries: 1 });
export const values = perCpuArray({ value: u64, maxEntries: 256 });

function count(index: u32, state: State): number {
  const window = windows.lookup(0);
  if (window === null || index >= WINDOW) return 1;
  const byte = window.bytes[index];
  state.total += byte;
  if (byte === 0) state.zeros += 1;
  const counter = values.lookup(byte);
  if (counter !== null) counter.value += 1n;
  return 0;
}

export const byteCounter = xdp((context) => {
  const window = windows.lookup(0);
  if (window === null) return XDP_ABORTED;
  let length = packetLength(context);
  if (length > WINDOW) length = WINDOW;
  if (length === 0 || bpf_xdp_load_bytes(context, 0, slice(window, length)) < 0) return XDP_ABORTED;
  const state = local(State);
  bpf_loop(length, count, state, 0);
  // More than half of it zeros, or nothing but text.
  if (state.zeros * 2 > length || state.total > length * 128) return XDP_DROP;
  return XDP_PASS;
});
