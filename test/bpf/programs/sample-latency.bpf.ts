/**
 * Tracing as a newcomer writes it from the guide: the latency of system calls in per-CPU histograms, and the tasks that there are.
 */
import {
  array,
  BPF_NOEXIST,
  bpf_get_current_pid_tgid,
  bpf_ktime_get_ns,
  bpf_seq_write,
  global,
  hash,
  i32,
  i64,
  iterator,
  kernelStruct,
  local,
  perCpuHash,
  pointer,
  struct,
  tracepoint,
  u8,
  u32,
  u64,
  type Value,
} from '../../../src/bpf/library/index.ts';

const seq_file = kernelStruct('seq_file', {});
const bpf_iter_meta = kernelStruct('bpf_iter_meta', { seq: pointer(seq_file), session_id: u64, seq_num: u64 });
const parent = kernelStruct('task_struct', { tgid: i32 });
const task_struct = kernelStruct('task_struct', {
  pid: i32,
  tgid: i32,
  comm: array(u8, 16),
  real_parent: pointer(parent),
  start_time: u64,
});
const bpf_iter__task = kernelStruct('bpf_iter__task', { meta: pointer(bpf_iter_meta), task: pointer(task_struct) });
type Context = Value<typeof bpf_iter__task>;
const Row = struct({ pid: i32, parent: i32, name: array(u8, 16), start: u64 });
export const count = global(u32);
export const tasks = iterator('task', (context: Context) => {
  const task = context.task;
  if (task === null) return 0;
  if (task.pid !== task.tgid) return 0;
  count.value++;
  const row = local(Row, { pid: task.pid, parent: task.real_parent.tgid, name: task.comm, start: task.start_time });
  bpf_seq_write(context.meta.seq, row);
  return 0;
});
const SysEnter = struct({ common: u64, id: i64, args: array(u64, 6) });
type SysEnter = Value<typeof SysEnter>;
const SysExit = struct({ common: u64, id: i64, ret: i64 });
type SysExit = Value<typeof SysExit>;
const Histogram = struct({ count: u64, total: u64, slots: array(u32, 32) });
export const started = hash({ key: u64, value: u64, maxEntries: 10240 });
export const latencies = perCpuHash({ key: i64, value: Histogram, maxEntries: 512 });

const log2 = (value: u64): u32 => {
  let n = value;
  let log: u32 = 0;
  for (let shift: u32 = 32; shift > 0; shift >>= 1) {
    if (n >> u64(shift) !== 0n) {
      n >>= u64(shift);
      log += shift;
    }
  }
  return log;
};
export const enter = tracepoint('raw_syscalls/sys_enter', (context: SysEnter) => {
  if (context.id < 0n) return;
  started.update(bpf_get_current_pid_tgid(), bpf_ktime_get_ns());
});
export const exit = tracepoint('raw_syscalls/sys_exit', (context: SysExit) => {
  const id = bpf_get_current_pid_tgid();
  const start = started.lookup(id);
  if (start === null) return;
  const delta = bpf_ktime_get_ns() - start.value;
  started.delete(id);
  let histogram = latencies.lookup(context.id);
  if (!histogram) {
    latencies.update(context.id, { count: 0n, total: 0n, slots: [] }, BPF_NOEXIST);
    histogram = latencies.lookup(context.id);
    if (!histogram) return;
  }
  histogram.count++;
  histogram.total += delta;
  const slot = log2(delta / 1000n);
  if (slot < histogram.slots.length) histogram.slots[slot]++;
});
