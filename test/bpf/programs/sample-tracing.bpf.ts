/**
 * Tracing programs: kernel structs, typed arguments, callbacks, timers and locks.
 */
import {
  array,
  arrayOfMaps,
  bpf_for_each_map_elem,
  bpf_get_current_comm,
  bpf_get_current_pid_tgid,
  bpf_get_current_task_btf,
  bpf_ktime_get_ns,
  bpf_loop,
  bpf_probe_read_user_str,
  bpf_spin_lock,
  bpf_spin_unlock,
  btfTracepoint,
  fieldExists,
  fmodRet,
  hash,
  i32,
  iterator,
  kernelStruct,
  kprobe,
  local,
  lsm,
  perfEvent,
  pointer,
  print,
  rawTracepoint,
  read,
  spinLock,
  struct,
  tracepoint,
  u8,
  u32,
  u64,
  uprobe,
  type Value,
} from '../../../src/bpf/library/index.ts';

const parent_struct = kernelStruct('task_struct', { tgid: i32 });
const task_struct = kernelStruct('task_struct', {
  pid: i32,
  tgid: i32,
  comm: array(u8, 16),
  real_parent: pointer(parent_struct),
});
type Task = Value<typeof task_struct>;
const bpf_iter__task = kernelStruct('bpf_iter__task', { task: pointer(task_struct) });
const file = kernelStruct('file', { f_flags: u32 });

const Start = struct({ ns: u64, comm: array(u8, 16), lock: spinLock, runs: u32 });
const Sum = struct({ total: u64, count: u32 });
const OpenArguments = struct({ common: u64, number: u64, directory: u64, name: u64 });

export const starts = hash({ key: u32, value: Start, maxEntries: 4096 });
export const nested = arrayOfMaps({ value: starts, maxEntries: 2 });

export const onSwitch = btfTracepoint('sched_switch', (_preempt: boolean, previous: Task, next: Task) => {
  const start = starts.lookup(u32(previous.pid));
  if (start !== null) {
    bpf_spin_lock(start.lock);
    start.runs += 1;
    bpf_spin_unlock(start.lock);
  }
  if (next.real_parent.tgid === 1) print(`child of init: ${next.pid}`);
});

export const onOpen = tracepoint('syscalls/sys_enter_openat', (context: Value<typeof OpenArguments>) => {
  const name = local(array(u8, 64));
  if (bpf_probe_read_user_str(name, context.name) < 0) return 0;
  const task: Task = bpf_get_current_task_btf();
  return task.pid === 0 ? 1 : 0;
});

export const sum = perfEvent((context) => {
  const sums = local(Sum);
  bpf_for_each_map_elem(
    starts,
    (_map, key, value, state) => {
      if (key.value === 0) return 1;
      state.total += value.ns;
      return 0;
    },
    sums,
  );
  bpf_loop(
    10,
    (index, state) => {
      state.count += index;
      return 0;
    },
    sums,
  );
  if (sums.total > context.sample_period) print(`late by ${sums.total}`);
});

export const onRaw = rawTracepoint('sys_enter', (context) => {
  const start = local(Start, { ns: bpf_ktime_get_ns() });
  bpf_get_current_comm(start.comm);
  starts.update(u32(bpf_get_current_pid_tgid() >> 32n), start);
  const pid = read(context.args[0], i32);
  return pid === 0 ? 1 : 0;
});

export const probe = kprobe('tcp_connect', (registers) => {
  if (registers.di !== 0n) print(`connect ${registers.di}`);
});

export const inProcess = uprobe('/usr/bin/node:main', () => 0);

export const guard = lsm('file_open', (opened: Value<typeof file>, result: i32) => {
  if (result !== 0) return result;
  return fieldExists(file, 'f_flags') && (opened.f_flags & 1) !== 0 ? -1 : 0;
});

export const fault = fmodRet('should_failslab', () => -12);

export const tasks = iterator('task', (context: Value<typeof bpf_iter__task>) => {
  const task: Task | null = context.task;
  if (task !== null) print(`task ${task.pid}`);
  return 0;
});
