/**
 * Programs that watch: tracepoints of every kind with the kernel's own structs, samples, functions of processes, iterators, and values
 * beside tasks and cgroups.
 */
import {
  array,
  BPF_F_USER_STACK,
  BPF_LOCAL_STORAGE_GET_F_CREATE,
  BPF_TCP_ESTABLISHED,
  be16,
  be32,
  bpf_copy_from_user,
  bpf_copy_from_user_task,
  bpf_get_attach_cookie,
  bpf_get_current_comm,
  bpf_get_current_pid_tgid,
  bpf_get_current_task_btf,
  bpf_ktime_get_ns,
  bpf_probe_read_user_str,
  bpf_seq_printf,
  bpf_seq_write,
  btfTracepoint,
  cgroupStorage,
  global,
  hash,
  i32,
  i64,
  iterator,
  iteratorSleepable,
  kernelStruct,
  local,
  perfEvent,
  pointer,
  rawTracepoint,
  rawTracepointWritable,
  read,
  readOnly,
  ringBuffer,
  stackTrace,
  struct,
  taskStorage,
  tracepoint,
  u8,
  u16,
  u32,
  u64,
  uprobe,
  uprobeMulti,
  uprobeSleepable,
  uretprobe,
  uretprobeMulti,
  usdt,
  type Value,
} from '../../../src/bpf/library/index.ts';

export const ownProcess = readOnly(u32, 0);
export const seen = global(u64);

/** Whether the event is of the test's own process. */
function isOwn(): boolean {
  return u32(bpf_get_current_pid_tgid() >> 32n) === ownProcess.value;
}

const StateEvent = kernelStruct('trace_event_raw_inet_sock_set_state', {
  oldstate: i32,
  newstate: i32,
  sport: u16,
  dport: u16,
  family: u16,
  saddr: array(u8, 4),
  daddr: array(u8, 4),
});
export const Change = struct({
  from: i32,
  to: i32,
  source: array(u8, 4),
  target: array(u8, 4),
  port: u16,
  family: u16,
});
export const changes = ringBuffer({ value: Change, maxEntries: 4096 });
export const port = readOnly(u16, 0);

/** Each change of state of the connections to one port, from the tracepoint's fields. */
export const onState = tracepoint('sock/inet_sock_set_state', (context: Value<typeof StateEvent>) => {
  if (context.dport !== port.value) return;
  const change = changes.reserve(Change);
  if (change === null) return;
  change.from = context.oldstate;
  change.to = context.newstate;
  change.family = context.family;
  change.port = context.dport;
  change.source = context.saddr;
  change.target = context.daddr;
  changes.submit(change);
});

const Registers = kernelStruct('pt_regs', { di: u64, orig_ax: u64 });
export const watchedCall = readOnly(u32, 0);
export const firstArgument = global(u64);

/** The first argument of one system call, from the registers that a raw tracepoint passes. */
export const onCall = rawTracepoint('sys_enter', (context) => {
  if (context.args[1] !== u64(watchedCall.value) || !isOwn()) return;
  firstArgument.value = read(context.args[0], Registers).di;
  seen.value += 1n;
});

const sock_common = kernelStruct('sock_common', {
  skc_daddr: be32,
  skc_rcv_saddr: be32,
  skc_dport: be16,
  skc_num: u16,
  skc_family: u16,
  skc_state: u8,
});
const sock = kernelStruct('sock', { __sk_common: sock_common, sk_mark: u32 });
type Sock = Value<typeof sock>;
export const Seen = struct({ address: u32, port: u16, ownPort: u16, mark: u32, states: u32 });
export const lastSocket = global(Seen);

/** The same event with types: the kernel's socket is followed field by field. */
export const onSocket = btfTracepoint('inet_sock_set_state', (socket: Sock, from: i32, to: i32) => {
  const common = socket.__sk_common;
  if (common.skc_dport !== port.value) return;
  if (to === BPF_TCP_ESTABLISHED) {
    lastSocket.value.address = common.skc_daddr;
    lastSocket.value.port = common.skc_dport;
    lastSocket.value.ownPort = common.skc_num;
    lastSocket.value.mark = socket.sk_mark;
  }
  lastSocket.value.states |= 1 << from;
  lastSocket.value.states |= 1 << to;
});

const kernfs_node = kernelStruct('kernfs_node', { id: u64 });
const cgroup = kernelStruct('cgroup', { kn: pointer(kernfs_node), level: i32 });
const css_set = kernelStruct('css_set', { dfl_cgrp: pointer(cgroup) });
const task_struct = kernelStruct('task_struct', {
  pid: i32,
  tgid: i32,
  comm: array(u8, 16),
  cgroups: pointer(css_set),
});
type Task = Value<typeof task_struct>;

export const Calls = struct({ count: u64, lastNs: u64 });
export const perTask = taskStorage({ value: Calls });
export const perCgroup = cgroupStorage({ value: Calls });

/** Counts system calls beside the task and the cgroup that make them. */
export const countCalls = btfTracepoint('sys_enter', (_registers: Value<typeof Registers>, number: i64) => {
  if (number !== i64(watchedCall.value)) return;
  const task: Task = bpf_get_current_task_btf();
  if (u32(task.tgid) !== ownProcess.value) return;
  const calls = perTask.get(task, null, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (calls !== null) {
    calls.count += 1n;
    calls.lastNs = bpf_ktime_get_ns();
  }
  const shared = perCgroup.get(task.cgroups.dfl_cgrp, null, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (shared !== null) shared.count += 1n;
});

export const stacks = stackTrace({ value: array(u64, 32), maxEntries: 256 });
export const perStack = hash({ key: i32, value: u64, maxEntries: 256 });

/** Where a process spends its time: samples of its stack, counted by stack. */
export const sample = perfEvent((context) => {
  if (!isOwn() || context.sample_period === 0n) return;
  seen.value += 1n;
  const stack = stacks.get(context, BPF_F_USER_STACK);
  if (stack < 0) return;
  const count = perStack.lookup(stack);
  if (count !== null) count.value += 1n;
  else perStack.update(stack, 1n);
});

export const Call = struct({ name: array(u8, 16), text: array(u8, 32), left: i32, right: i32, cookie: u64 });
export const calls = ringBuffer({ value: Call, maxEntries: 4096 });
export const results = global(array(u64, 4));
export const resultCount = global(u32);

/** A function of a process with its arguments, one of which is text. Where it is attached says user space. */
export const onAdd = uprobe('', (registers) => {
  const call = local(Call, {
    left: i32(registers.di),
    right: i32(registers.si),
    cookie: bpf_get_attach_cookie(registers),
  });
  bpf_get_current_comm(call.name);
  bpf_probe_read_user_str(call.text, registers.dx);
  calls.output(call);
});

/** What the function gives. */
export const afterAdd = uretprobe('', (registers) => {
  const index = resultCount.value;
  if (index >= 4) return;
  results.value[index] = registers.ax & 0xffff_ffffn;
  resultCount.value = index + 1;
});

/** Two functions by one link: the cookie says which. */
export const onBoth = uprobeMulti('', (registers) => {
  calls.output(local(Call, { left: i32(registers.di), cookie: bpf_get_attach_cookie(registers) }));
});

export const afterBoth = uretprobeMulti('', (registers) => {
  calls.output(local(Call, { right: i32(registers.ax), cookie: bpf_get_attach_cookie(registers) }));
});

/** The same place, where a page of the process may have to be fetched first. */
export const onAddSleepable = uprobeSleepable('', (registers) => {
  const bytes = local(array(u8, 8));
  if (bpf_copy_from_user(bytes, registers.dx) !== 0) return;
  const call = local(Call, { left: 7 });
  for (let index = 0; index < 8; index += 1) call.text[index] = bytes.value[index];
  calls.output(call);
});

/** A probe that the program's author has put into it. */
export const onProbe = usdt('', (registers) => {
  const call = local(Call, { left: i32(registers.di), right: -1, cookie: bpf_get_attach_cookie(registers) });
  calls.output(call);
});

const seq_file = kernelStruct('seq_file', { size: u64 });
const bpf_iter_meta = kernelStruct('bpf_iter_meta', { seq: pointer(seq_file), seq_num: u64 });
const bpf_iter__tcp = kernelStruct('bpf_iter__tcp', {
  meta: pointer(bpf_iter_meta),
  sk_common: pointer(sock_common),
  uid: u32,
});
const Line = struct({ address: u64, port: u64, state: u64 });

/** Lists the sockets of TCP in this namespace. */
export const listTcp = iterator('tcp', (context: Value<typeof bpf_iter__tcp>) => {
  const socket = context.sk_common;
  if (socket === null) return;
  const line = local(Line, {
    address: u64(socket.skc_rcv_saddr),
    port: u64(socket.skc_num),
    state: u64(socket.skc_state),
  });
  bpf_seq_printf(context.meta.seq, '%x %d %d\n', line);
});

const mm_struct = kernelStruct('mm_struct', { arg_start: u64, arg_end: u64 });
const task_with_memory = kernelStruct('task_struct', { mm: pointer(mm_struct) });
const bpf_iter__task = kernelStruct('bpf_iter__task', {
  meta: pointer(bpf_iter_meta),
  task: pointer(task_with_memory),
});

/** How tasks were called: read from their own memory, which may have to be fetched first. */
export const listArguments = iteratorSleepable('task', (context: Value<typeof bpf_iter__task>) => {
  const { task } = context;
  if (task === null) return;
  const text = local(array(u8, 16));
  if (bpf_copy_from_user_task(text, task.mm.arg_start, task) === 0) bpf_seq_write(context.meta.seq, text);
});

const Outcome = struct({ value: i32 });
const Finish = struct({ error: pointer(Outcome) });

/** The tracepoint at the end of test runs lets programs set the error with which they end (net/bpf/test_run.c). */
export const failTestRuns = rawTracepointWritable('bpf_test_finish', (context: Value<typeof Finish>) => {
  const { error } = context;
  if (error !== null) error.value = -5;
});

const file = kernelStruct('file', { f_flags: u32 });
const bpf_iter__task_file = kernelStruct('bpf_iter__task_file', {
  meta: pointer(bpf_iter_meta),
  task: pointer(task_struct),
  fd: u32,
  file: pointer(file),
});
const Descriptor = struct({ process: u32, descriptor: u32, flags: u32 });

/** The open files of tasks, as records in place of text. */
export const listFiles = iterator('task_file', (context: Value<typeof bpf_iter__task_file>) => {
  const { task, file: opened } = context;
  if (task === null || opened === null) return;
  const record = local(Descriptor, { process: u32(task.tgid), descriptor: context.fd, flags: opened.f_flags });
  bpf_seq_write(context.meta.seq, record);
});

const bpf_iter__cgroup = kernelStruct('bpf_iter__cgroup', { meta: pointer(bpf_iter_meta), cgroup: pointer(cgroup) });

/** The cgroups below one, from above. */
export const listCgroups = iterator('cgroup', (context: Value<typeof bpf_iter__cgroup>) => {
  const group = context.cgroup;
  if (group === null) return;
  const line = local(array(u64, 2), [group.kn.id, u64(group.level)]);
  bpf_seq_printf(context.meta.seq, '%d %d\n', line);
});

const Key = struct({ stack: i32 });
const Count = struct({ count: u64 });
const bpf_iter__bpf_map_elem = kernelStruct('bpf_iter__bpf_map_elem', {
  meta: pointer(bpf_iter_meta),
  key: pointer(Key),
  value: pointer(Count),
});

/** Adds up a map's values where they are. */
export const addUp = iterator('bpf_map_elem', (context: Value<typeof bpf_iter__bpf_map_elem>) => {
  const { key, value } = context;
  if (key === null || value === null || key.stack < 0) return;
  seen.value += value.count;
});
