/**
 * Test support for arenas: objects that use one, run in the kernel and in the VM alike.
 */
import test from 'node:test';
import { compileText } from '../../src/bpf/compiler/compile.ts';
import type { ArenaMemory } from '../../src/bpf/loader/arena-memory.ts';
import { loadObject } from '../../src/bpf/loader/collection.ts';
import type { ObjectSpec } from '../../src/bpf/object/spec.ts';
import { instantiate } from '../../src/bpf/vm/object.ts';
import { moduleOf } from './bpf-compiler.ts';
import { kernelSkip as skip } from './bpf-kernel.ts';

/** An object whose programs can be run, wherever that is. */
export interface Runnable {
  readonly arena: ArenaMemory;
  readonly globals: Readonly<Record<string, { value: unknown }>>;
  run(program: string): number;
}

/** Runs a check with an object in the kernel, unless that is not possible, and in the VM. */
export function inBoth(
  name: string,
  compiled: () => ObjectSpec,
  check: (object: Runnable) => void,
  unavailable: string | false = false,
): void {
  test(`${name} in the kernel`, { skip: skip || unavailable }, () => {
    using object = loadObject(compiled());
    const { programs, arenas, globals } = object;
    const [arena] = Object.values(arenas);
    const input = (program: string) => (programs[program].kind.type === 'xdp' ? { data: new Uint8Array(64) } : {});
    check({ arena, globals, run: (program) => programs[program].testRun(input(program)).result });
  });
  test(`${name} in the VM`, { skip: unavailable }, () => {
    const { programs, arenas, variables } = instantiate(compiled());
    const [arena] = Object.values(arenas);
    const packet = new Uint8Array(64);
    check({ arena, globals: variables, run: (program) => programs[program].run({ packet }).action });
  });
}

/** The same with the optimiser and without. */
export function everywhere(
  name: string,
  compiled: (optimise: boolean) => ObjectSpec,
  check: (object: Runnable) => void,
): void {
  inBoth(name, () => compiled(true), check);
  inBoth(`${name}, not optimised,`, () => compiled(false), check);
}

/** A module's object, optimised or not. */
export const ofText = (text: string) => (optimise: boolean) =>
  compileText(moduleOf(text), 'test.bpf.ts', { optimise, check: true });
