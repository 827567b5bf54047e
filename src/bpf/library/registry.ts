/**
 * Room `bpf`: ties an export of the library to what the compiler makes of it. Whoever makes an export calls {@link define};
 * `catalogue.ts` collects what was said.
 *
 * A newcomer would get wrong: importing a `*.bpf.ts` in Node is allowed (its maps and structs are read from user space), so
 * constructors must work there. Only what has a meaning in the kernel alone throws, and it throws when called, not when imported.
 */
import type { Definition, ProgramDefinition } from './definitions.ts';

const definitions = new WeakMap<object, Definition>();
/** Those of programs, which nobody but the library makes. */
const programs: ProgramDefinition[] = [];

/** Says what an export means to the compiler; gives the export. */
export function define<T extends object>(value: T, definition: Definition): T {
  definitions.set(value, definition);
  if (definition.kind === 'program') programs.push(definition);
  return value;
}

/** All kinds of programs. */
export function definedPrograms(): ProgramDefinition[] {
  return [...programs];
}

/** What was said of an export; null for numbers and for what no one defined. */
export function definitionOf(value: unknown): Definition | null {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
    ? (definitions.get(value) ?? null)
    : null;
}

/** A function that has no meaning outside the kernel. @throws Error whenever it is called */
export function inKernel(name: string): () => never {
  return () => {
    throw new Error(
      `${name} runs in the kernel; compile this module (millrace bpf build, or load() of millrace/bpf) or run it in the VM`,
    );
  };
}

/** An export that the compiler replaces by code and that throws when it is called in user space. */
export function kernelOnly(definition: Definition): () => never {
  return define(inKernel(definition.name), definition);
}
