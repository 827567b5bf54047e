/**
 * Room `cli`: `millrace bpf run`: a program over the packets of a capture: verdicts, and what became of the packets.
 *
 * A newcomer would get wrong: packets come one after another and maps keep what earlier ones left in them, as in the kernel. In this
 * process no privilege is needed, and a fault is shown at the source line; --kernel is what the kernel itself says.
 */
import { writeFileSync } from 'node:fs';
import { type Frame, readCapture, writePcap } from '../../bpf/capture/pcap.ts';
import { catalogue } from '../../bpf/library/catalogue.ts';
import type { FunctionSpec, ObjectSpec } from '../../bpf/object/spec.ts';
import {
  type CommonOptions,
  constantsOf,
  counted,
  guarded,
  readBytes,
  readObject,
  say,
  table,
  UsageError,
} from './report.ts';

export interface RunOptions extends CommonOptions {
  readonly packet: string;
  readonly program?: string;
  readonly kernel?: boolean;
  readonly set?: readonly string[];
  readonly output?: string;
}

/** What one packet met. `cost`: instructions in this process, nanoseconds in the kernel. */
interface Outcome {
  readonly verdict: number;
  readonly packet: Uint8Array;
  readonly cost: number;
}

/** Runs packets; disposed of at the end. */
interface Runner extends Disposable {
  run(packet: Uint8Array): Outcome;
  readonly costUnit: 'instructions' | 'nanoseconds';
  /** Entries of each map afterwards; null where they cannot be counted. */
  maps(): readonly (readonly [name: string, entries: number | null])[];
}

function chooseProgram(spec: ObjectSpec, wanted: string | undefined, file: string): FunctionSpec {
  const programs = spec.functions.filter(({ kind }) => kind !== null);
  const names = programs.map(({ name }) => name).join(', ');
  if (wanted !== undefined) {
    const found = programs.find(({ name }) => name === wanted);
    if (found === undefined) throw new UsageError(`${file} has no program ${wanted}; it has ${names}`);
    return found;
  }
  if (programs.length !== 1)
    throw new UsageError(`${file} has ${counted(programs.length, 'program')} (${names}); choose one with --program`);
  return programs[0];
}

/** Verdicts by their names, for the types whose verdicts have some. */
function verdictNames(type: string): ReadonlyMap<number, string> {
  const prefix = type === 'xdp' ? 'XDP_' : type === 'sched_cls' ? 'TC_ACT_' : null;
  const names = new Map<number, string>();
  if (prefix === null) return names;
  for (const [name, definition] of catalogue) {
    if (definition.kind === 'constant' && name.startsWith(prefix))
      names.set(Number(BigInt.asIntN(32, definition.value)), name);
  }
  return names;
}

function countEntries(map: { entries(): Iterable<unknown> }): number | null {
  try {
    let count = 0;
    for (const _ of map.entries()) count++;
    return count;
  } catch {
    return null;
  }
}

async function inProcess(spec: ObjectSpec, name: string, options: RunOptions): Promise<Runner> {
  const { instantiate } = await import('../../bpf/vm/object.ts');
  const object = instantiate(spec, { constants: constantsOf(options.set, spec) });
  const program = object.programs[name];
  return {
    costUnit: 'instructions',
    run(packet) {
      const { action, packet: after, executed } = program.run({ packet });
      return { verdict: action, packet: after ?? packet, cost: executed };
    },
    maps: () => Object.entries(object.maps).map(([map, one]) => [map, countEntries(one)] as const),
    [Symbol.dispose]() {},
  };
}

async function inKernel(spec: ObjectSpec, name: string, options: RunOptions): Promise<Runner> {
  const { loadObject } = await import('../../bpf/loader/collection.ts');
  const collection = loadObject(spec, { programs: [name], constants: constantsOf(options.set, spec) });
  const program = collection.programs[name];
  return {
    costUnit: 'nanoseconds',
    run(packet) {
      const { result, data, durationNs } = program.testRun({ data: packet });
      return { verdict: result | 0, packet: data, cost: durationNs };
    },
    maps: () => Object.entries(collection.maps).map(([map, one]) => [map, countEntries(one)] as const),
    [Symbol.dispose]: () => collection[Symbol.dispose](),
  };
}

const isSame = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;

export async function run(file: string, options: RunOptions): Promise<void> {
  await guarded(options, async () => {
    const spec = await readObject(file);
    const { name, kind } = chooseProgram(spec, options.program, file);
    const frames = readCapture(readBytes(options.packet));
    using runner = await (options.kernel === true ? inKernel : inProcess)(spec, name, options);
    const names = verdictNames(kind!.type);
    const counts = new Map<string, number>();
    const left: Frame[] = [];
    let cost = 0;
    let changed = 0;
    for (const [index, frame] of frames.entries()) {
      const outcome = runner.run(frame.data);
      const verdict = names.get(outcome.verdict) ?? String(outcome.verdict);
      const isChanged = !isSame(outcome.packet, frame.data);
      counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
      cost += outcome.cost;
      if (isChanged) changed++;
      left.push({ ...frame, data: outcome.packet, length: outcome.packet.length });
      if (options.json === true) {
        say(options, '', {
          event: 'packet',
          index,
          verdict,
          bytes: outcome.packet.length,
          changed: isChanged,
          [runner.costUnit]: outcome.cost,
        });
      }
    }
    if (options.output !== undefined) writeFileSync(options.output, writePcap(left));
    conclude(options, { program: name, frames: frames.length, counts, changed, cost, runner });
  });
}

interface Summary {
  readonly program: string;
  readonly frames: number;
  readonly counts: ReadonlyMap<string, number>;
  readonly changed: number;
  readonly cost: number;
  readonly runner: Runner;
}

function conclude(options: RunOptions, { program, frames, counts, changed, cost, runner }: Summary): void {
  const sorted = [...counts].sort(([, one], [, other]) => other - one);
  const mean = frames === 0 ? 0 : cost / frames;
  const maps = runner.maps();
  const lines = [
    `${program} over ${counted(frames, 'packet')}, ${changed} changed, ${mean.toFixed(1)} ${runner.costUnit} for each`,
    table(sorted.map(([verdict, count]) => [`  ${verdict}`, String(count)])),
    ...(maps.length === 0
      ? []
      : [
          table(
            maps.map(([map, entries]) => [
              `  map ${map}`,
              entries === null ? 'not countable' : `${entries} ${entries === 1 ? 'entry' : 'entries'}`,
            ]),
          ),
        ]),
  ];
  say(options, lines.join('\n'), {
    event: 'done',
    program,
    packets: frames,
    changed,
    verdicts: Object.fromEntries(sorted),
    [`mean${runner.costUnit === 'instructions' ? 'Instructions' : 'Nanoseconds'}`]: mean,
  });
}
