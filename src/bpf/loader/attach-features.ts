/**
 * Room `bpf`: where the running kernel lets tracing programs be attached, found by attaching one that does nothing.
 *
 * A newcomer would get wrong: that a program loads says nothing about this. A kernel without kprobes loads programs for them, because
 * uprobes have the same type; and one that loads an fentry program may have no way to call it.
 */
import { exit, type Instruction, moveImmediate } from '../instructions.ts';
import { kernelBtf } from '../object/btf/kernel.ts';
import { AVAILABLE, type Feature, missing } from './feature.ts';
import { programFeature, tracingFeature } from './features.ts';
import { Executable } from './links/executable.ts';
import { attachKprobeMulti } from './links/kprobe-multi.ts';
import { attachKprobe, attachProbe, attachSamples, attachTracepoint } from './links/perf-event.ts';
import { attachIterator, attachRawTracepoint, attachTracing } from './links/tracing.ts';
import { attachPlaces } from './links/uprobe-multi.ts';
import { loadProgram, type Program, type ProgramSpec } from './program.ts';

/** Kinds of attachments, by the constructors of the language. */
export const ATTACHMENTS = [
  'tracepoint',
  'rawTracepoint',
  'btfTracepoint',
  'perfEvent',
  'iterator',
  'kprobe',
  'kprobeMulti',
  'uprobe',
  'uprobeMulti',
  'fentry',
  'fexit',
  'fmodRet',
  'lsm',
] as const;
export type AttachmentName = (typeof ATTACHMENTS)[number];

const NOTHING: readonly Instruction[] = [moveImmediate(0, 0), exit()];

/** Functions that the kernel has for such trials alone (net/bpf/test_run.c): nobody else calls them. */
const TEST_FUNCTION = 'bpf_fentry_test1';
const TEST_MODIFIED = 'bpf_modify_return_test';
/** Happens seldom. */
const TEST_TRACEPOINT = 'sched_process_exit';

/** How something is tried: what a program needs to load, and then where it goes. */
interface Trial {
  /** Whether such a program loads at all. */
  loads(): Feature;
  program(): Omit<ProgramSpec, 'instructions'>;
  attach(program: Program): Disposable;
}

const idOf = (name: string, kind: 'func' | 'typedef'): number => kernelBtf().byName(name, kind)[0] ?? 0;

/** Programs that are loaded for their hook. */
function bound(
  attachType: 'trace_raw_tp' | 'trace_fentry' | 'trace_fexit' | 'modify_return' | 'trace_iter',
  id: () => number,
): Trial {
  return {
    loads: () => tracingFeature(attachType),
    program: () => ({ type: 'tracing', attachType, attachBtfId: id() }),
    attach: (program) =>
      attachType === 'trace_iter' ? attachIterator(program, null) : attachTracing(program, attachType),
  };
}

function plain(
  type: 'kprobe' | 'tracepoint' | 'raw_tracepoint' | 'perf_event',
  attach: Trial['attach'],
  attachType: ProgramSpec['attachType'] = null,
): Trial {
  return { loads: () => programFeature(type), program: () => ({ type, attachType }), attach };
}

const OWN_FILE = '/proc/self/exe';

/** Where this process began to run, which it never does again. */
function ownEntry(): number {
  using executable = new Executable(OWN_FILE);
  return executable.entryOffset;
}

const trials: Readonly<Record<AttachmentName, Trial>> = {
  tracepoint: plain('tracepoint', (program) => attachTracepoint(program, `sched/${TEST_TRACEPOINT}`)),
  rawTracepoint: plain('raw_tracepoint', (program) => attachRawTracepoint(program, TEST_TRACEPOINT)),
  btfTracepoint: bound('trace_raw_tp', () => idOf(`btf_trace_${TEST_TRACEPOINT}`, 'typedef')),
  perfEvent: plain('perf_event', (program) => attachSamples(program, { process: process.pid })),
  iterator: bound('trace_iter', () => idOf('bpf_iter_task', 'func')),
  kprobe: plain('kprobe', (program) => attachKprobe(program, { function: TEST_FUNCTION })),
  kprobeMulti: plain(
    'kprobe',
    (program) => attachKprobeMulti(program, { functions: [TEST_FUNCTION] }),
    'trace_kprobe_multi',
  ),
  uprobe: plain('kprobe', (program) =>
    attachProbe(program, { executable: OWN_FILE, offset: ownEntry(), counter: 0 }, { process: process.pid }),
  ),
  uprobeMulti: plain(
    'kprobe',
    (program) =>
      attachPlaces(program, OWN_FILE, [{ offset: ownEntry() }], {
        process: process.pid,
        where: 'this process’s own file',
      }),
    'trace_uprobe_multi',
  ),
  fentry: bound('trace_fentry', () => idOf(TEST_FUNCTION, 'func')),
  fexit: bound('trace_fexit', () => idOf(TEST_FUNCTION, 'func')),
  fmodRet: bound('modify_return', () => idOf(TEST_MODIFIED, 'func')),
  lsm: {
    loads: () => programFeature('lsm'),
    program: () => ({ type: 'lsm', attachType: 'lsm_mac', attachBtfId: idOf('bpf_lsm_syslog', 'func') }),
    attach: (program) => attachTracing(program, 'lsm/syslog'),
  },
};

/** Whether programs of a kind can be attached. What does not even load has the reason for that. */
export function attachFeature(name: AttachmentName): Feature {
  const trial = trials[name];
  const loads = trial.loads();
  if (!loads.available) return loads;
  try {
    using program = loadProgram({ ...trial.program(), instructions: NOTHING });
    using _attachment = trial.attach(program);
    return AVAILABLE;
  } catch (error) {
    return missing(error instanceof Error ? error.message : String(error));
  }
}

/** All of them. Takes some tenths of a second: the kernel waits for running programs each time one is taken away. */
export function attachFeatures(): Readonly<Record<AttachmentName, Feature>> {
  return Object.fromEntries(ATTACHMENTS.map((name) => [name, attachFeature(name)])) as Record<AttachmentName, Feature>;
}
