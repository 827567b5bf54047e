/**
 * Room `bpf`: programs that watch: tracepoints, functions of the kernel and of processes, samples, iterators, and LSM hooks.
 *
 * A newcomer would get wrong: what a body is given depends on the hook that the string names, which TypeScript cannot know.
 * Annotate the parameters (`millrace bpf types` writes the declarations), or declare hooks once by adding to {@link
 * TracepointContexts} and {@link HookParameters}.
 */
import { bpf_perf_event_data, bpf_raw_tracepoint_args, pt_regs } from '../contexts/tracing.ts';
import type { ContextDefinition } from '../definitions.ts';
import type { Elements } from '../layout.ts';
import type { u64 } from '../numbers.ts';
import { direct, type Program, SLEEPABLE, structContext, targeted } from './program.ts';

/** Contexts of tracepoints by name, `'sched/sched_switch'`. Empty: declarations add to it. */
// biome-ignore lint/suspicious/noEmptyInterface: it is there to be added to
export interface TracepointContexts {}

/** Parameters of kernel functions, BTF tracepoints and LSM hooks by name. Empty: declarations add to it. */
// biome-ignore lint/suspicious/noEmptyInterface: it is there to be added to
export interface HookParameters {}

/** Not annotated, a context has no fields; helpers take it. */
type ContextOf<N extends string> = N extends keyof TracepointContexts ? TracepointContexts[N] : object;
type ParametersOf<N extends string> = N extends keyof HookParameters
  ? HookParameters[N] extends readonly unknown[]
    ? HookParameters[N]
    : never
  : readonly never[];

/** A body of one parameter, whose type is declared or annotated. */
type Watches<H extends string> = <N extends string, C = ContextOf<N>>(
  tracepoint: N,
  body: (context: C) => number | void,
) => Program<H>;

/** A body that is given the arguments one by one. */
type Follows<H extends string, R = number | void> = <N extends string>(
  name: N,
  body: (...values: ParametersOf<N>) => R,
) => Program<H>;

/** A body that is given the registers. The name may be left out: user space says where when it attaches. */
type Probes<H extends string> = (name: string, body: (registers: pt_regs) => number | void) => Program<H>;

const tracing = { type: 'tracing', defaultResult: 0 };
const probe = { type: 'kprobe', attachType: null, defaultResult: 0 };
const registers = structContext(pt_regs);
const byFunction: ContextDefinition = { kind: 'function' };
const byExit: ContextDefinition = { kind: 'functionExit' };
const byHook: ContextDefinition = { kind: 'lsm' };
const byIterator: ContextDefinition = { kind: 'iterator' };
const NAME = 'a kernel function';

/** At a tracepoint, `'category/name'`, with the event's fields as its format file lists them. */
export const tracepoint: Watches<'tracepoint'> = targeted(
  {
    name: 'tracepoint',
    type: 'tracepoint',
    attachType: null,
    section: 'tracepoint/{target}',
    target: 'a tracepoint, category/name',
    defaultResult: 0,
  },
  { kind: 'tracepoint' },
);

type Raw<H extends string> = (
  tracepoint: string,
  body: (context: bpf_raw_tracepoint_args) => number | void,
) => Program<H>;

const rawRule = { attachType: null, target: 'a tracepoint', defaultResult: 0 };

/** At a tracepoint, with its arguments as numbers: `context.args[0]`. */
export const rawTracepoint: Raw<'rawTracepoint'> = targeted(
  { ...rawRule, name: 'rawTracepoint', type: 'raw_tracepoint', section: 'raw_tracepoint/{target}' },
  structContext(bpf_raw_tracepoint_args),
);

/**
 * The same at tracepoints that let a program write to what their first argument points to. Annotate the parameter with a struct of the
 * arguments, 8 bytes each, of which that is a `pointer`: `const Finish = struct({ error: pointer(Result) })`.
 */
export const rawTracepointWritable: <C = Elements<u64>>(
  tracepoint: string,
  body: (context: C) => number | void,
) => Program<'rawTracepointWritable'> = targeted(
  {
    ...rawRule,
    name: 'rawTracepointWritable',
    type: 'raw_tracepoint_writable',
    section: 'raw_tracepoint.w/{target}',
  },
  { kind: 'raw', length: 12 },
);

/** At a tracepoint, with its arguments typed: `btfTracepoint('sched_switch', (preempt: boolean, previous: Task, next: Task) => …)`. */
export const btfTracepoint: Follows<'btfTracepoint'> = targeted(
  {
    ...tracing,
    name: 'btfTracepoint',
    attachType: 'trace_raw_tp',
    section: 'tp_btf/{target}',
    target: 'a tracepoint',
  },
  { kind: 'btfTracepoint' },
);

/** When a kernel function begins, with its arguments. */
export const fentry: Follows<'fentry'> = targeted(
  { ...tracing, name: 'fentry', attachType: 'trace_fentry', section: 'fentry/{target}', target: NAME },
  byFunction,
);

/** The same, and may fault in pages; at functions that may sleep. */
export const fentrySleepable: Follows<'fentrySleepable'> = targeted(
  {
    ...tracing,
    name: 'fentrySleepable',
    attachType: 'trace_fentry',
    section: 'fentry.s/{target}',
    target: NAME,
    flags: SLEEPABLE,
  },
  byFunction,
);

/** When a kernel function ends, with its arguments and, last, what it gives. */
export const fexit: Follows<'fexit'> = targeted(
  { ...tracing, name: 'fexit', attachType: 'trace_fexit', section: 'fexit/{target}', target: NAME },
  byExit,
);

/** The same, and may fault in pages. */
export const fexitSleepable: Follows<'fexitSleepable'> = targeted(
  {
    ...tracing,
    name: 'fexitSleepable',
    attachType: 'trace_fexit',
    section: 'fexit.s/{target}',
    target: NAME,
    flags: SLEEPABLE,
  },
  byExit,
);

/** Before a kernel function that allows error injection: what is not 0 is given in its place. */
export const fmodRet: Follows<'fmodRet', number> = targeted(
  { ...tracing, name: 'fmodRet', attachType: 'modify_return', section: 'fmod_ret/{target}', target: NAME },
  byExit,
);

/** The same, and may fault in pages. */
export const fmodRetSleepable: Follows<'fmodRetSleepable', number> = targeted(
  {
    ...tracing,
    name: 'fmodRetSleepable',
    attachType: 'modify_return',
    section: 'fmod_ret.s/{target}',
    target: NAME,
    flags: SLEEPABLE,
  },
  byExit,
);

const security = { type: 'lsm', target: 'an LSM hook', attachType: 'lsm_mac' };

/** At a hook of the Linux security modules: `lsm('file_open', (file: File, result: i32) => …)`. 0 allows, a negative errno refuses. */
export const lsm: Follows<'lsm', number> = targeted({ ...security, name: 'lsm', section: 'lsm/{target}' }, byHook);

/** The same, and may fault in pages. */
export const lsmSleepable: Follows<'lsmSleepable', number> = targeted(
  { ...security, name: 'lsmSleepable', section: 'lsm.s/{target}', flags: SLEEPABLE },
  byHook,
);

/** The same for the processes of a cgroup; since 6.0. 1 allows, 0 refuses. */
export const lsmCgroup: Follows<'lsmCgroup', number> = targeted(
  { ...security, name: 'lsmCgroup', attachType: 'lsm_cgroup', section: 'lsm_cgroup/{target}' },
  byHook,
);

type Iterates<H extends string> = <C = object>(objects: string, body: (context: C) => number | void) => Program<H>;

/** For each object of a kind (`'task'`, `'tcp'`, `'bpf_map'`), while somebody reads: `context.meta.seq` takes the text. */
export const iterator: Iterates<'iterator'> = targeted(
  { ...tracing, name: 'iterator', attachType: 'trace_iter', section: 'iter/{target}', target: 'an iterator' },
  byIterator,
);

/** The same, and may fault in pages. */
export const iteratorSleepable: Iterates<'iteratorSleepable'> = targeted(
  {
    ...tracing,
    name: 'iteratorSleepable',
    attachType: 'trace_iter',
    section: 'iter.s/{target}',
    target: 'an iterator',
    flags: SLEEPABLE,
  },
  byIterator,
);

/** At samples of a perf event: cycles, faults, a timer. */
export const perfEvent = direct<'perfEvent', bpf_perf_event_data, number | void>(
  { name: 'perfEvent', type: 'perf_event', attachType: null, section: 'perf_event', defaultResult: 0 },
  structContext(bpf_perf_event_data),
);

/** When a kernel function begins, with the registers. */
export const kprobe: Probes<'kprobe'> = targeted(
  { ...probe, name: 'kprobe', section: 'kprobe/{target}', target: NAME },
  registers,
);

/** When a kernel function ends: `registers.ax` is what it gives. */
export const kretprobe: Probes<'kretprobe'> = targeted(
  { ...probe, name: 'kretprobe', section: 'kretprobe/{target}', target: NAME },
  registers,
);

/** At all kernel functions that fit a pattern (`'tcp_*'`), by one link; since 5.18. */
export const kprobeMulti: Probes<'kprobeMulti'> = targeted(
  {
    ...probe,
    name: 'kprobeMulti',
    attachType: 'trace_kprobe_multi',
    section: 'kprobe.multi/{target}',
    target: 'a pattern of kernel functions',
  },
  registers,
);

/** The same at their ends. */
export const kretprobeMulti: Probes<'kretprobeMulti'> = targeted(
  {
    ...probe,
    name: 'kretprobeMulti',
    attachType: 'trace_kprobe_multi',
    section: 'kretprobe.multi/{target}',
    target: 'a pattern of kernel functions',
  },
  registers,
);

const PLACE = 'a binary and a function, /path:function';

/** When a function of a process begins: `'/usr/lib/libssl.so.3:SSL_write'`. */
export const uprobe: Probes<'uprobe'> = targeted(
  { ...probe, name: 'uprobe', section: 'uprobe/{target}', target: PLACE },
  registers,
);

/** The same, and may fault in pages. */
export const uprobeSleepable: Probes<'uprobeSleepable'> = targeted(
  { ...probe, name: 'uprobeSleepable', section: 'uprobe.s/{target}', target: PLACE, flags: SLEEPABLE },
  registers,
);

/** When a function of a process ends: `registers.ax` is what it gives. */
export const uretprobe: Probes<'uretprobe'> = targeted(
  { ...probe, name: 'uretprobe', section: 'uretprobe/{target}', target: PLACE },
  registers,
);

const PLACES = 'a binary and functions of it, /path:pattern';

/**
 * At many functions of a binary, by one link; since 6.6. User space says which: `attach({ uprobes: { executable, functions } })`. What
 * `bpf_get_attach_cookie` gives tells them apart.
 */
export const uprobeMulti: Probes<'uprobeMulti'> = targeted(
  {
    ...probe,
    name: 'uprobeMulti',
    attachType: 'trace_uprobe_multi',
    section: 'uprobe.multi/{target}',
    target: PLACES,
  },
  registers,
);

/** The same at their ends. */
export const uretprobeMulti: Probes<'uretprobeMulti'> = targeted(
  {
    ...probe,
    name: 'uretprobeMulti',
    attachType: 'trace_uprobe_multi',
    section: 'uretprobe.multi/{target}',
    target: PLACES,
  },
  registers,
);

/** A body that is given the registers and, one by one, the probe's arguments, each converted to the type with which it is annotated. */
type ProbesWithArguments<H extends string> = <V extends readonly (number | bigint | boolean)[] = bigint[]>(
  name: string,
  body: (registers: pt_regs, ...values: V) => number | void,
) => Program<H>;

const registersAndArguments = structContext(pt_regs, [], 'usdtArguments');
const PROBE = 'a binary and its probe, /path:provider:name';

/**
 * At a USDT probe of a binary, with its arguments: `usdt('libc.so.6:libc:setjmp', (registers, buffer: u64, value: i32) => …)`. Where they
 * lie is found in the binary when user space attaches, and may differ from place to place. An argument is 0 where the probe has none.
 */
export const usdt: ProbesWithArguments<'usdt'> = targeted(
  { ...probe, name: 'usdt', section: 'usdt/{target}', target: PROBE },
  registersAndArguments,
);

/** The same, and may fault in pages; since 6.0. */
export const usdtSleepable: ProbesWithArguments<'usdtSleepable'> = targeted(
  { ...probe, name: 'usdtSleepable', section: 'usdt.s/{target}', target: PROBE, flags: SLEEPABLE },
  registersAndArguments,
);
