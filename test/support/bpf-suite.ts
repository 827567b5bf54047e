/**
 * Test support: the programs of `test/bpf/programs/`, each in TypeScript and in C, compiled and run over the same inputs.
 *
 * A newcomer would get wrong: the two objects differ in names only by spelling (`closedPorts`, `closed_ports`), and their maps hold
 * the same bytes. So everything here is by bytes: types are taken off the maps, whatever either compiler says of them.
 */
import { compile } from '../../src/bpf/compiler/compile.ts';
import { type Collection, loadObject } from '../../src/bpf/loader/collection.ts';
import { type EventCallback, RingBufferReader } from '../../src/bpf/loader/ring-buffer.ts';
import { readElf } from '../../src/bpf/object/elf/read.ts';
import type { ObjectSpec } from '../../src/bpf/object/spec.ts';
import { check } from '../../src/kernel/error.ts';
import { bind, listen, socket } from '../../src/kernel/socket.ts';
import { AF_INET, SOCK_CLOEXEC, SOCK_STREAM } from '../../src/kernel/socket-constants.ts';
import { clang } from './bpf-objects.ts';
import type { Input, MapContent, Setup, SuiteCase } from './bpf-suite-case.ts';

export type Language = 'c' | 'typescript';

const programsFolder = new URL('../bpf/programs/', import.meta.url);
const pathOf = (name: string): string => new URL(name, programsFolder).pathname;

/** As a good C programmer has it compiled: optimised, with 32-bit arithmetic (-mcpu=v3), and without a warning. */
const clangFlags = ['-mcpu=v3', '-Wall', '-Werror', '-Wno-unused-function'];

const compileC = (name: string): ObjectSpec => readElf(clang(pathOf(`${name}.bpf.c`), ...clangFlags));

/** The map without its types: keys and values are bytes. */
const untyped = (spec: ObjectSpec): ObjectSpec => ({
  ...spec,
  maps: spec.maps.map((map) => ({ ...map, key: null, value: null })),
});

const built = new Map<string, ObjectSpec>();

/** A program of the suite as an object, compiled once. `optimise` is for our compiler; clang always does. */
export function build(name: string, language: Language, optimise = true): ObjectSpec {
  const key = `${name} ${language} ${optimise}`;
  const known = built.get(key);
  if (known !== undefined) return known;
  const spec = untyped(language === 'c' ? compileC(name) : compile(pathOf(`${name}.bpf.ts`), { optimise }));
  built.set(key, spec);
  return spec;
}

/** `closedPorts` as C spells it. */
const inC = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** What of a record goes by a name in either spelling. @throws Error where it is not there */
export function named<T>(record: Readonly<Record<string, T>>, name: string): T {
  const found = record[name] ?? record[inC(name)];
  if (found === undefined) throw new Error(`${name} is not among ${Object.keys(record).join(', ')}`);
  return found;
}

/** What a program made of one input. */
export interface Outcome {
  readonly result: number;
  /** The packet afterwards, in hexadecimal; empty for programs without one. */
  readonly data: string;
  /** What it wrote into its context. */
  readonly context: string;
}

const hex = (data: Uint8Array): string => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex');

/** Entries in the order of their keys. Values of several CPUs are given as the sum of their 64-bit words. */
export function contentOf(entries: Iterable<readonly [Uint8Array, Uint8Array | readonly Uint8Array[]]>): MapContent {
  const all = [...entries].map(([key, value]): [string, Uint8Array] => [
    hex(key),
    value instanceof Uint8Array ? value : summed(value),
  ]);
  return new Map(all.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function summed(values: readonly Uint8Array[]): Uint8Array {
  const words = new BigUint64Array(Math.ceil(values[0].length / 8));
  for (const value of values) {
    const padded = new Uint8Array(words.length * 8);
    padded.set(value);
    for (const [index, word] of new BigUint64Array(padded.buffer).entries()) words[index] += word;
  }
  return new Uint8Array(words.buffer).slice(0, values[0].length);
}

/** What a case looks at when all inputs are through. */
export type Observation = Readonly<Record<string, unknown>>;

/** What maps and variables hold in the end, without what time put there. */
export function observe(
  suiteCase: SuiteCase,
  contentOfMap: (name: string) => MapContent,
  variable: (name: string) => unknown,
): Observation {
  const { observed = [], globals = [], ignored = {} } = suiteCase;
  const variables = globals.map((name) => [name, variable(name)] as const);
  const maps = Object.fromEntries(
    observed.map((name) => {
      const rows = [...contentOfMap(name)].map(([key, value]): [string, string] => {
        const seen = value.slice();
        for (const [from, to] of ignored[name] ?? []) seen.fill(0, from, to);
        return [key, hex(seen)];
      });
      return [name, rows];
    }),
  );
  return { ...Object.fromEntries(variables), ...maps };
}

/** Something that runs one of the suite's objects: the kernel here, the VM in `bpf-suite-vm.ts`. */
export interface Runner extends Disposable {
  run(input: Input): Outcome;
  observation(): Observation;
}

let listener = -1;

/** A TCP socket that listens on the loopback address: the same for all, as its cookie shows in contexts. It ends with the process. */
function listeningSocket(): number {
  if (listener !== -1) return listener;
  listener = check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC), 'socket');
  check(bind(listener, { family: 'ipv4', address: '127.0.0.1', port: 0 }), 'bind');
  check(listen(listener, 1), 'listen');
  return listener;
}

class KernelRunner implements Runner {
  readonly #case: SuiteCase;
  readonly collection: Collection;

  constructor(suiteCase: SuiteCase, spec: ObjectSpec) {
    this.#case = suiteCase;
    const variables = Object.fromEntries(
      spec.data.flatMap(({ variables }) => variables).map(({ name }) => [name, name]),
    );
    const constants = Object.entries(suiteCase.constants ?? {}).map(([name, value]) => [named(variables, name), value]);
    this.collection = loadObject(spec, { constants: Object.fromEntries(constants) });
    const setup: Setup = {
      set: (map, key, value) => named(this.collection.maps, map).set(key, value),
      assign: (variable, value) => {
        named(this.collection.globals, variable).value = value;
      },
      listen: (map, key) => {
        // Without a test run the map is not looked at; and groups of sockets do not take one twice.
        if (suiteCase.kernel) named(this.collection.maps, map).set(key, listeningSocket());
      },
    };
    suiteCase.prepare?.(setup);
  }

  run({ program = this.#case.program, data, context }: Input): Outcome {
    const run = named(this.collection.programs, program).testRun({ data, context });
    return { result: run.result, data: hex(run.data), context: hex(run.context) };
  }

  /** The time of one run. */
  durationNs({ program = this.#case.program, data, context }: Input): number {
    return named(this.collection.programs, program).testRun({ data, context }).durationNs;
  }

  /** Instructions that the verifier went through, of all programs. */
  get verified(): number {
    const counts = Object.values(this.collection.programs).map((program) => program.info().verifiedInstructions);
    return counts.reduce((sum, count) => sum + count, 0);
  }

  observation(): Observation {
    const contentOfMap = (name: string): MapContent =>
      contentOf(named(this.collection.maps, name).entries() as Iterable<[Uint8Array, Uint8Array]>);
    const end = observe(this.#case, contentOfMap, (name) => named(this.collection.globals, name).value);
    const { records = [] } = this.#case;
    return { ...end, ...Object.fromEntries(records.map((name) => [name, this.#recordsOf(name)])) };
  }

  #recordsOf(name: string): string[] {
    const records: string[] = [];
    const map = named(this.collection.maps, name);
    const keep: EventCallback = (view, offset, length) =>
      records.push(hex(new Uint8Array(view.buffer, offset, length)));
    // All records are there already: nothing is waited for.
    using reader = new RingBufferReader(map, keep, { watch: () => ({ [Symbol.dispose]() {} }) });
    reader.read();
    return records;
  }

  [Symbol.dispose](): void {
    this.collection[Symbol.dispose]();
  }
}

/** The case's object in the kernel, its maps filled. */
export function inKernel(suiteCase: SuiteCase, spec: ObjectSpec): KernelRunner {
  return new KernelRunner(suiteCase, spec);
}
