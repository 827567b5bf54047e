/**
 * Maps of the rarer kinds, each in the hands of a program: queues, filters, maps of maps, programs by index, timers, locks, buffers from
 * user space, records of any length, kernel objects that must be given back.
 */
import {
  arena,
  array,
  arrayOfMaps,
  BPF_F_CURRENT_CPU,
  bloomFilter,
  bpf_dynptr_read,
  bpf_dynptr_write,
  bpf_get_smp_processor_id,
  bpf_ringbuf_discard_dynptr,
  bpf_ringbuf_reserve_dynptr,
  bpf_ringbuf_submit_dynptr,
  bpf_spin_lock,
  bpf_spin_unlock,
  bpf_timer_init,
  bpf_timer_set_callback,
  bpf_timer_start,
  bpf_user_ringbuf_drain,
  CLOCK_MONOTONIC,
  cgroupArray,
  dynptr,
  Ethernet,
  global,
  hash,
  hashOfMaps,
  IPPROTO_UDP,
  Ipv4,
  i32,
  kernelFunction,
  kernelStruct,
  local,
  lruHash,
  lruPerCpuHash,
  packet,
  perCpuArray,
  perCpuHash,
  perfEventArray,
  pointer,
  programArray,
  queue,
  type Reference,
  range,
  ringBuffer,
  spinLock,
  stack,
  struct,
  syscall,
  TCX_DROP,
  TCX_NEXT,
  TCX_PASS,
  type TcBuffer,
  tailCall,
  tc,
  tcxEgress,
  timer,
  Udp,
  u8,
  u16,
  u32,
  u64,
  userRingBuffer,
  type Value,
} from '../../../src/bpf/library/index.ts';

/** The port that a datagram goes to; 0 for anything else. */
function portOf(context: TcBuffer): u16 {
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ip === null || ip.protocol !== IPPROTO_UDP || ip.headerLength !== 5) return 0;
  const udp = packet(context, Udp, Ethernet.size + Ipv4.size);
  return udp === null ? 0 : udp.destination;
}

export const first = queue({ value: u16, maxEntries: 4 });
export const last = stack({ value: u16, maxEntries: 4 });
export const known = bloomFilter({ value: u16, maxEntries: 64, hashes: 3 });
export const popped = global(u16);

/** Remembers the ports of unknown datagrams, in two orders; of a full queue it takes the oldest out itself. */
export const remember = tcxEgress((context) => {
  const port = portOf(context);
  if (port === 0 || known.has(port) === 0) return TCX_NEXT;
  if (first.push(port) !== 0) {
    const oldest = local(u16);
    if (first.pop(oldest) === 0) popped.value = oldest.value;
    first.push(port);
  }
  last.push(port);
  return TCX_NEXT;
});

export const portCounters = hash({ key: u16, value: u64, maxEntries: 16 });
export const current = arrayOfMaps({ value: portCounters, maxEntries: 1 });
export const tenantBytes = array({ value: u64, maxEntries: 2 });
export const tenants = hashOfMaps({ key: u16, value: tenantBytes, maxEntries: 8 });

/** Counts by port in the map that is current, and for tenants in their own. */
export const count = tcxEgress((context) => {
  const port = portOf(context);
  if (port === 0) return TCX_NEXT;
  const counters = current.lookup(0);
  if (counters !== null) {
    const hits = counters.lookup(port);
    if (hits !== null) hits.value += 1n;
    else counters.update(port, 1n);
  }
  const tenant = tenants.lookup(port);
  if (tenant === null) return TCX_NEXT;
  const bytes = tenant.lookup(1);
  if (bytes !== null) bytes.value += u64(context.len);
  return TCX_NEXT;
});

export const steps = global(array(u32, 4));

export const drop = tc((context) => {
  steps.value[2] += 1;
  return context.len > 0 ? TCX_DROP : TCX_NEXT;
});

export const accept = tc((context) => {
  steps.value[1] += 1;
  return context.len > 0 ? TCX_PASS : TCX_NEXT;
});

export const verdicts = programArray({ maxEntries: 4, values: [null, accept] });

/** Goes on in the program that stands for the port. */
export const decide = tc((context) => {
  const port = portOf(context);
  if (port === 0) return TCX_NEXT;
  steps.value[0] += 1;
  tailCall(context, verdicts, port & 3);
  steps.value[3] += 1;
  return TCX_NEXT;
});

export const Guarded = struct({ lock: spinLock, low: u32, high: u32 });
export const guarded = array({ value: Guarded, maxEntries: 1 });

/** Two numbers that are always the same to whoever takes the lock. */
export const countBoth = syscall(() => {
  for (const _round of range(100)) {
    const both = guarded.lookup(0);
    if (both === null) return 1;
    bpf_spin_lock(both.lock);
    both.low += 1;
    both.high += 1;
    bpf_spin_unlock(both.lock);
  }
  return 0;
});

export const Alarm = struct({ alarm: timer, rings: u32, key: u32 });
export const alarms = hash({ key: u32, value: Alarm, maxEntries: 4 });

function ring(_map: unknown, key: Reference<u32>, value: Value<typeof Alarm>): number {
  value.rings += 1;
  value.key = key.value;
  if (value.rings < 3) bpf_timer_start(value.alarm, 1_000_000n, 0);
  return 0;
}

const Wish = struct({ key: u32, milliseconds: u32 });

/** Sets an alarm, which rings three times. */
export const setAlarm = syscall((wish: Value<typeof Wish>) => {
  const { key, milliseconds } = wish;
  const fresh = local(Alarm);
  alarms.update(key, fresh);
  const entry = alarms.lookup(key);
  if (entry === null) return 1;
  if (bpf_timer_init(entry.alarm, alarms, CLOCK_MONOTONIC) !== 0) return 2;
  if (bpf_timer_set_callback(entry.alarm, ring) !== 0) return 3;
  return bpf_timer_start(entry.alarm, u64(milliseconds) * 1_000_000n, 0);
});

export const orders = userRingBuffer({ maxEntries: 4096 });
export const Order = struct({ kind: u32, amount: u64 });
const Totals = struct({ sum: u64, orders: u32, refused: u32 });
export const totals = global(Totals);

/** Takes the orders that user space has written. */
export const takeOrders = syscall(() => {
  const state = local(Totals);
  bpf_user_ringbuf_drain(
    orders,
    (record, totalsNow) => {
      const order = local(Order);
      if (bpf_dynptr_read(order, record, 0) !== 0) return 1;
      if (order.kind !== 1) {
        totalsNow.refused += 1;
        return 0;
      }
      totalsNow.sum += order.amount;
      totalsNow.orders += 1;
      return 0;
    },
    state,
  );
  totals.value.sum += state.sum;
  totals.value.orders += state.orders;
  totals.value.refused += state.refused;
  return 0;
});

export const letters = ringBuffer({ maxEntries: 4096 });
const Letter = struct({ bytes: u32, value: u64 });

/** Writes records of different lengths: a number, and so many more bytes as user space says. */
export const writeLetter = syscall((letter: Value<typeof Letter>) => {
  const record = local(dynptr);
  const { bytes, value } = letter;
  if (bytes > 64) return 1;
  if (bpf_ringbuf_reserve_dynptr(letters, bytes + 8, 0, record) !== 0) {
    bpf_ringbuf_discard_dynptr(record);
    return 2;
  }
  const number = local(u64, value);
  bpf_dynptr_write(record, 0, number);
  bpf_ringbuf_submit_dynptr(record);
  return 0;
});

export const recent = lruHash({ key: u32, value: u32, maxEntries: 64 });
export const recentOnCpu = lruPerCpuHash({ key: u32, value: u32, maxEntries: 64 });
export const sumsOnCpu = perCpuHash({ key: u32, value: u64, maxEntries: 4 });
export const onCpu = perCpuArray({ value: u64, maxEntries: 1 });

/** Fills a map far beyond its size. */
export const crowd = syscall(() => {
  for (const index of range(1000)) {
    recent.update(index, index);
    recentOnCpu.update(index, index);
    const sum = sumsOnCpu.lookup(index & 3);
    if (sum !== null) sum.value += 1n;
    else sumsOnCpu.update(index & 3, 1n);
  }
  const own = onCpu.lookup(0);
  if (own !== null) own.value += 1n;
  return 0;
});

const task_struct = kernelStruct('task_struct', { tgid: i32, comm: array(u8, 16) });
const taskOf = kernelFunction('bpf_task_from_pid', [i32], pointer(task_struct));
const releaseTask = kernelFunction('bpf_task_release', [pointer(task_struct)], null);
const Question = struct({ pid: i32, found: u32, name: array(u8, 16) });

/** Asks the kernel for a task, reads of it, and gives it back. */
export const nameTask = syscall((question: Value<typeof Question>) => {
  const task = taskOf(question.pid);
  if (task === null) return 1;
  question.found = u32(task.tgid);
  question.name = task.comm;
  releaseTask(task);
  return 0;
});

export const Sample = struct({ length: u32, cpu: u32 });
export const samples = perfEventArray({ value: Sample });

/** A sample of each datagram, with the beginning of the datagram behind it. */
export const takeSample = tcxEgress((context) => {
  if (portOf(context) === 0) return TCX_NEXT;
  const sample = local(Sample, { length: context.len, cpu: bpf_get_smp_processor_id() });
  samples.output(context, BPF_F_CURRENT_CPU, sample);
  return TCX_NEXT;
});

/** Memory for both sides. Programs only hold it so far: the language has no pointers into it. */
export const shared = arena({ maxEntries: 2 });

export const groups = cgroupArray({ maxEntries: 1 });

/** Lets only sockets of one cgroup send datagrams. */
export const onlyGroup = tcxEgress((context) => {
  if (portOf(context) === 0) return TCX_NEXT;
  return groups.holds(context, 0) === 1 ? TCX_PASS : TCX_DROP;
});
