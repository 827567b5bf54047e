/**
 * Test support for the compiler of the room `bpf`: programs as text, compiled with and without the optimiser, run in the kernel over a
 * packet, with their globals read back.
 */
import assert from 'node:assert/strict';
import { compileText } from '../../src/bpf/compiler/compile.ts';
import { CompileErrors } from '../../src/bpf/compiler/diagnostics.ts';
import { lowerModule } from '../../src/bpf/compiler/front/index.ts';
import { loadObject } from '../../src/bpf/loader/collection.ts';

/** A module: the names of the library that it uses are imported. */
export function moduleOf(text: string): string {
  const declared = new Set([...text.matchAll(/\b(?:const|function|enum|type|let) (\w+)/g)].map((match) => match[1]));
  const names = new Set(
    [...text.matchAll(/\b[A-Za-z_]\w*\b/g)].map((match) => match[0]).filter((name) => exported.has(name)),
  );
  const used = [...names].filter((name) => !declared.has(name));
  return `import { ${used.join(', ')} } from 'millrace/bpf';\n${text}`;
}

const exported: ReadonlySet<string> = new Set(Object.keys(await import('../../src/bpf/library/index.ts')));

/** Compiles and loads a module, runs its program `main` over a packet, and gives the result and the globals. */
export interface Outcome {
  readonly result: number;
  readonly globals: Readonly<Record<string, unknown>>;
  readonly packet: Uint8Array;
}

export interface RunOptions {
  readonly packet?: Uint8Array;
  readonly globals?: Readonly<Record<string, unknown>>;
  readonly constants?: Readonly<Record<string, unknown>>;
  readonly optimise?: boolean;
}

export function runMain(text: string, options: RunOptions = {}): Outcome {
  using runner = loadMain(text, options);
  return runner.run(options);
}

/** Runs a module compiled with and without the optimiser, which must not make a difference. */
export function runBoth(text: string, options: Omit<RunOptions, 'optimise'> = {}): Outcome {
  const plain = runMain(text, { ...options, optimise: false });
  const optimised = runMain(text, options);
  assert.deepEqual(optimised, plain);
  return optimised;
}

/** A module in the kernel, whose program `main` can be run again and again. */
export interface Runner extends Disposable {
  run(options: Pick<RunOptions, 'packet' | 'globals'>): Outcome;
}

export function loadMain(text: string, { constants = {}, optimise = true }: RunOptions = {}): Runner {
  const object = compileText(moduleOf(text), 'test.bpf.ts', { optimise, check: true });
  const collection = loadObject(object, { constants });
  return {
    run({ packet = new Uint8Array(64), globals = {} }) {
      for (const [name, value] of Object.entries(globals)) collection.globals[name].value = value;
      const { result, data } = collection.programs.main.testRun({ data: packet });
      const after = Object.entries(collection.globals).map(([name, global]) => [name, global.value]);
      return { result, globals: Object.fromEntries(after), packet: data ?? new Uint8Array(0) };
    },
    [Symbol.dispose]: () => collection[Symbol.dispose](),
  };
}

/** What the front end refuses in a module: `line:column message; advice`. The import's line counts as line 1. */
export function refusals(text: string): string[] {
  try {
    lowerModule('test.bpf.ts', () => moduleOf(text));
    return [];
  } catch (error) {
    if (!(error instanceof CompileErrors)) throw error;
    return error.errors.map(
      ({ line, column, message, advice }) => `${line}:${column} ${message}${advice === null ? '' : `; ${advice}`}`,
    );
  }
}
