/**
 * How long system calls take: a histogram by powers of two, from two raw tracepoints that meet in a hash map.
 */
import {
  array,
  atomicAdd,
  bpf_get_current_pid_tgid,
  bpf_ktime_get_ns,
  hash,
  rawTracepoint,
  type u32,
  u64,
} from '../../../src/bpf/library/index.ts';

const SLOTS = 64;

export const begun = hash({ key: u64, value: u64, maxEntries: 8192 });
export const histogram = array({ value: u64, maxEntries: SLOTS });

/** The position of the highest bit; 0 for 0. */
function log2(value: u64): u32 {
  let rest = value;
  let found: u32 = 0;
  for (let bits: u32 = 32; bits > 0; bits /= 2) {
    if (rest >> u64(bits)) {
      rest >>= u64(bits);
      found += bits;
    }
  }
  return found;
}

export const enter = rawTracepoint('sys_enter', () => {
  begun.update(bpf_get_current_pid_tgid(), bpf_ktime_get_ns());
  return 0;
});

export const leave = rawTracepoint('sys_exit', () => {
  const task = bpf_get_current_pid_tgid();
  const start = begun.lookup(task);
  if (start === null) return 0;
  const slot = log2(bpf_ktime_get_ns() - start.value);
  begun.delete(task);
  const counter = histogram.lookup(slot);
  if (counter !== null) atomicAdd(counter, 'value', 1n);
  return 0;
});
