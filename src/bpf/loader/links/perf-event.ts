/**
 * Room `bpf`: programs at perf events: tracepoints by subsystem and name, uprobes, USDT probes, kprobes, samples.
 *
 * A newcomer would get wrong: the event and the link are two things. The event is opened first, the program attached to it, and the
 * link holds the event; an event for all processes is opened once for one CPU where it is a probe, but on every CPU where it samples.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { onlineCpus } from '../../../kernel/cpus.ts';
import { ERRNO } from '../../../kernel/errno.ts';
import { KernelError } from '../../../kernel/error.ts';
import { mountsOf } from '../../../kernel/mounts.ts';
import { own } from '../../../kernel/native.ts';
import * as perf from '../../../kernel/perf-abi.ts';
import { closeDescriptor } from '../../../kernel/socket.ts';
import { addressOf, call, SYS } from '../../../kernel/syscall.ts';
import { cString, stable } from '../bpf.ts';
import type { Holder } from '../codec.ts';
import { Executable, findExecutable, ProbeError } from './executable.ts';
import { type Attachment, createLink, type Link } from './link.ts';
import { attachPlaces } from './uprobe-multi.ts';

/** Thrown where tracefs is not mounted, or does not have what is asked for. */
export class TracefsError extends Error {
  override readonly name = 'TracefsError';
}

/** The bit fields of struct perf_event_attr that are in use, and where their word lies. */
const FLAGS_AT = 40;
const FLAG_FREQUENCY = 1 << 10;

/** What is opened. */
export interface EventSpec {
  readonly type: number;
  readonly config: number | bigint;
  /** A text's address, for probes. */
  readonly config1?: Uint8Array;
  readonly config2?: bigint;
  /** Events between samples, or with `frequency` samples a second. */
  readonly period?: number;
  readonly frequency?: boolean;
  readonly sampleType?: number;
  readonly wakeupEvents?: number;
  /** -1 for all processes. */
  readonly process: number;
  /** -1 for every CPU; then `process` must be one. */
  readonly cpu: number;
  readonly what: string;
}

/** Keeps what the attribute points at from being collected before the kernel has read it. */
const inUse: { memory: unknown } = { memory: null };

const PERF_REMEDY = 'CAP_PERFMON is needed, or a lower kernel.perf_event_paranoid';

/** perf_event_open(2). @throws KernelError */
export function openEvent(spec: EventSpec): number {
  const attribute = stable(perf.PERF_ATTR_SIZE_VER5);
  const view = new DataView(attribute.buffer);
  const at = perf.PERF_EVENT_ATTR;
  view.setUint32(at.type, spec.type, true);
  view.setUint32(at.size, perf.PERF_ATTR_SIZE_VER5, true);
  view.setBigUint64(at.config, BigInt(spec.config), true);
  view.setBigUint64(at.sample_period, BigInt(spec.period ?? 0), true);
  view.setBigUint64(at.sample_type, BigInt(spec.sampleType ?? 0), true);
  view.setUint32(FLAGS_AT, spec.frequency === true ? FLAG_FREQUENCY : 0, true);
  view.setUint32(at.wakeup_events, spec.wakeupEvents ?? 0, true);
  inUse.memory = spec.config1;
  view.setBigUint64(at.config1, spec.config1 === undefined ? 0n : BigInt(addressOf(spec.config1)), true);
  view.setBigUint64(at.config2, spec.config2 ?? 0n, true);
  const { process, cpu } = spec;
  const result = call(SYS.perf_event_open, addressOf(attribute), process, cpu, -1, perf.PERF_FLAG_FD_CLOEXEC);
  inUse.memory = null;
  if (result < 0) {
    const isDenied = result === -ERRNO.EACCES || result === -ERRNO.EPERM;
    throw new KernelError('perf_event_open', result, {
      object: spec.what,
      ...(isDenied ? { remedy: PERF_REMEDY } : {}),
    });
  }
  own(result);
  return result;
}

function linkEvent(program: Holder, spec: EventSpec, cookie: bigint): Link {
  using stack = new DisposableStack();
  const event = stack.adopt(openEvent(spec), closeDescriptor);
  // The event is enabled first: once it is linked, its descriptor goes with the link.
  const enabled = call(SYS.ioctl, event, perf.PERF_EVENT_IOC_ENABLE);
  if (enabled < 0) throw new KernelError('ioctl', enabled, { object: `PERF_EVENT_IOC_ENABLE ${spec.what}` });
  return createLink({
    kind: 'perf_event',
    program,
    attachType: 'perf_event',
    fields: { 'link_create.target_fd': event, 'link_create.perf_event.bpf_cookie': cookie },
    where: spec.what,
    held: stack.move(),
  });
}

/** Where tracefs is mounted. @throws TracefsError, which says how to mount it */
export function tracefsPath(): string {
  const [mount] = mountsOf('tracefs');
  if (mount !== undefined) return mount.path;
  throw new TracefsError('no tracefs is mounted; mount it: mount -t tracefs tracefs /sys/kernel/tracing');
}

/** The kernel's number of a tracepoint. */
export function tracepointId(subsystem: string, name: string): number {
  const path = join(tracefsPath(), 'events', subsystem, name, 'id');
  try {
    return Number(readFileSync(path, 'latin1'));
  } catch (cause) {
    throw new TracefsError(`this kernel has no tracepoint ${subsystem}:${name}, or it may not be read (${path})`, {
      cause,
    });
  }
}

/** Attaches a tracepoint program: `sched/sched_switch` or `sched:sched_switch`. */
export function attachTracepoint(program: Holder, tracepoint: string, cookie = 0n): Link {
  const [subsystem, name] = tracepoint.split(/[/:]/);
  if (name === undefined)
    throw new TracefsError(`tracepoint is ${tracepoint}: a form like sched/sched_switch is allowed`);
  const id = tracepointId(subsystem, name);
  const spec = { type: perf.PERF_TYPE_TRACEPOINT, config: id, process: -1, cpu: 0, what: `tracepoint ${tracepoint}` };
  return linkEvent(program, spec, cookie);
}

function deviceFile(device: string, file: string): string {
  const path = `/sys/bus/event_source/devices/${device}/${file}`;
  try {
    return readFileSync(path, 'latin1').trim();
  } catch (cause) {
    const option = device === 'uprobe' ? 'CONFIG_UPROBE_EVENTS' : 'CONFIG_KPROBE_EVENTS';
    throw new ProbeError(`this kernel has no ${device}s (${path} is missing): ${option} is needed`, { cause });
  }
}

/** Which bit says that the return is meant: `config:0`. */
function returnBit(device: string): number {
  return Number(/^config:(\d+)/.exec(deviceFile(device, 'format/retprobe'))?.[1] ?? 0);
}

/** Where the offset of a probe's counter stands in `config`: format/ref_ctr_offset says config:32-63. */
const REFERENCE_COUNTER_SHIFT = 32n;

/** What a uprobe is put at. */
export interface UprobeTarget {
  /** A file's path, or the name of a library or command. */
  readonly executable: string;
  /** A function of it. */
  readonly function?: string;
  /** Bytes from the function's beginning, or without a function from the file's. */
  readonly offset?: number;
  /** At the function's return. */
  readonly atReturn?: boolean;
  /** Only in this process; all unless told. */
  readonly process?: number;
  readonly cookie?: bigint;
}

/** A place in a file. `counter`: where in it the number lies that the kernel counts up while a probe is here; 0 for none. */
export interface ProbePlace {
  readonly executable: string;
  readonly offset: number;
  readonly counter: number;
}

/** Attaches a kprobe-type program to a place in a file. */
export function attachProbe(
  program: Holder,
  { executable, offset, counter }: ProbePlace,
  target: Pick<UprobeTarget, 'atReturn' | 'process' | 'cookie'>,
): Link {
  const { atReturn = false, process = -1, cookie = 0n } = target;
  const flag = atReturn ? 1n << BigInt(returnBit('uprobe')) : 0n;
  const spec = {
    type: Number(deviceFile('uprobe', 'type')),
    config: flag | (BigInt(counter) << REFERENCE_COUNTER_SHIFT),
    config1: cString(executable),
    config2: BigInt(offset),
    process,
    // For all processes the event is opened on one CPU and acts on each.
    cpu: process === -1 ? 0 : -1,
    what: `uprobe ${executable}+0x${offset.toString(16)}`,
  };
  return linkEvent(program, spec, cookie);
}

/** Attaches a kprobe-type program to a function of user space. */
export function attachUprobe(program: Holder & { readonly attachType?: string | null }, target: UprobeTarget): Link {
  using executable = new Executable(findExecutable(target.executable));
  const base = target.function === undefined ? 0 : executable.functionOffset(target.function);
  const offset = base + (target.offset ?? 0);
  const { path } = executable;
  if (program.attachType === 'trace_uprobe_multi') {
    // The kernel refuses such a program a perf event, even at one place.
    const place = { offset, cookie: target.cookie ?? 0n };
    return attachPlaces(program, path, [place], { ...target, where: `${path}+0x${offset.toString(16)}` });
  }
  return attachProbe(program, { executable: path, offset, counter: 0 }, target);
}

/** Attaches a kprobe-type program to a kernel function. */
export function attachKprobe(
  program: Holder,
  target: {
    readonly function: string;
    readonly offset?: number;
    readonly atReturn?: boolean;
    readonly cookie?: bigint;
  },
): Link {
  const spec = {
    type: Number(deviceFile('kprobe', 'type')),
    config: target.atReturn === true ? 1n << BigInt(returnBit('kprobe')) : 0n,
    config1: cString(target.function),
    config2: BigInt(target.offset ?? 0),
    process: -1,
    cpu: 0,
    what: `kprobe ${target.function}`,
  };
  return linkEvent(program, spec, target.cookie ?? 0n);
}

/** Which samples a perf_event program gets. */
export interface SampleTarget {
  /** PERF_TYPE_* and what of it; the CPU's clock unless told. */
  readonly type?: number;
  readonly config?: number;
  /** Samples a second on each CPU; or with `period` one each so many events. */
  readonly frequency?: number;
  readonly period?: number;
  /** Only this process. */
  readonly process?: number;
  /** Only these CPUs; those that run, unless told. */
  readonly cpus?: readonly number[];
}

const SAMPLES_PER_SECOND = 99;

/** Attaches a perf_event program: on each CPU, or to one process. */
export function attachSamples(program: Holder, target: SampleTarget): Attachment {
  const { type = perf.PERF_TYPE_SOFTWARE, config = perf.PERF_COUNT_SW_CPU_CLOCK, process = -1, period } = target;
  const rate = period ?? target.frequency ?? SAMPLES_PER_SECOND;
  const cpus = target.cpus ?? (process === -1 ? onlineCpus() : [-1]);
  using stack = new DisposableStack();
  for (const cpu of cpus) {
    const spec = {
      type,
      config,
      period: rate,
      frequency: period === undefined,
      process,
      cpu,
      what: `samples on CPU ${cpu}`,
    };
    stack.use(linkEvent(program, spec, 0n));
  }
  const owned = stack.move();
  return { kind: 'perf_event', [Symbol.dispose]: () => owned.dispose() };
}
