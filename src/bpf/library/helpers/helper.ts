/**
 * Room `bpf`: the words in which the kernel's helpers are described: what each takes, what it gives, and who may call it.
 *
 * A newcomer would get wrong: a helper's TypeScript type and its definition stand side by side because they say different things.
 * The type is what a program passes; the definition is what becomes of that in registers: one argument of memory is two of the
 * kernel's.
 */
import { I32, I64, type Type, U32, U64 } from '../../types.ts';
import type { CallbackParameter, HelperDefinition, HelperParameter, HelperResult } from '../definitions.ts';
import { kernelOnly } from '../registry.ts';

const scalar =
  (type: Type, optional = false) =>
  (name: string): HelperParameter => ({ kind: 'scalar', name, type, optional });

/** Parameters by what the kernel takes. */
export const take = {
  context: { kind: 'context', name: 'context' },
  u32: scalar(U32),
  u64: scalar(U64),
  i32: scalar(I32),
  /** Flags that may be left out, and are 0 then. */
  flags: scalar(U64, true)('flags'),
  /** A number that may be left out, and is 0 then. */
  optional: scalar(U64, true),
  constant: (name: string): HelperParameter => ({ kind: 'constant', name, type: U64 }),
  map: (...types: string[]): HelperParameter => ({ kind: 'map', name: 'map', types }),
  key: { kind: 'key', name: 'key' },
  value: { kind: 'value', name: 'value' },
  /** Room for a value of the map's. */
  into: { kind: 'value', name: 'into', writes: true },
  /** A value of the map's, or null for zeros. */
  maybeValue: { kind: 'value', name: 'value', nullable: true },
  /** Memory that the helper reads; its size follows. */
  memory: (name: string): HelperParameter => ({ kind: 'memory', name, writes: false, nullable: false }),
  maybeMemory: (name: string): HelperParameter => ({ kind: 'memory', name, writes: false, nullable: true }),
  /** Memory that the helper fills; its size follows. */
  room: (name: string): HelperParameter => ({ kind: 'memory', name, writes: true, nullable: false }),
  /** Memory of a size that both sides know. */
  struct: (name: string, bytes: number): HelperParameter => ({ kind: 'struct', name, bytes, writes: false }),
  /** The same, filled by the helper. */
  structRoom: (name: string, bytes: number): HelperParameter => ({ kind: 'struct', name, bytes, writes: true }),
  pointer: (name: string, struct: string | null = null): HelperParameter => ({
    kind: 'pointer',
    name,
    struct,
    nullable: false,
  }),
  maybePointer: (name: string, struct: string | null = null): HelperParameter => ({
    kind: 'pointer',
    name,
    struct,
    nullable: true,
  }),
  /** A number or any pointer: it is read with care. */
  address: { kind: 'address', name: 'address' },
  callback: (...parameters: CallbackParameter[]): HelperParameter => ({
    kind: 'callback',
    name: 'callback',
    parameters,
  }),
  state: { kind: 'callbackContext', name: 'state' },
  /** A constant string; its size follows where `size`. */
  text: (name: string, size: boolean): HelperParameter => ({ kind: 'string', name, size }),
} as const satisfies Record<string, HelperParameter | ((...values: never[]) => HelperParameter)>;

/** Results. */
export const give = {
  nothing: { kind: 'void' },
  /** 0 or a negative errno, a verdict, a small count. The kernel's `long`, of which the low half says it all. */
  i32: { kind: 'scalar', type: I32 },
  u32: { kind: 'scalar', type: U32 },
  i64: { kind: 'scalar', type: I64 },
  u64: { kind: 'scalar', type: U64 },
  /** The map's value, or null. */
  value: { kind: 'value', nullable: true },
  /** The map's value, which is always there. */
  ownValue: { kind: 'value', nullable: false },
  /** A socket (by the kernel's name of the struct) or null, to be given back where `release` says by what. */
  socket: (struct: string, release?: string): HelperResult => ({
    kind: 'pointer',
    space: 'kernel',
    struct,
    nullable: true,
    release,
  }),
  /** A pointer to a struct of the kernel's, or null. */
  maybeKernel: (struct: string): HelperResult => ({ kind: 'pointer', space: 'kernel', struct, nullable: true }),
  /** The same that is never null. */
  kernel: (struct: string): HelperResult => ({ kind: 'pointer', space: 'kernel', struct, nullable: false }),
  /** Memory of a size that a constant argument says, or null. */
  memory: (release?: string): HelperResult => ({
    kind: 'pointer',
    space: 'memory',
    struct: null,
    nullable: true,
    release,
  }),
} as const satisfies Record<string, HelperResult | ((...values: never[]) => HelperResult)>;

/** Who may call it, and what it does to packet pointers. */
export interface Marks {
  readonly gplOnly?: true;
  readonly changesPacket?: true;
}

/** For programs with a GPL-compatible licence alone. */
export const GPL: Marks = { gplOnly: true };
/** Pointers into the packet are void afterwards. */
export const MOVES: Marks = { changesPacket: true };

/** One helper. `since`: the kernel that introduced it. */
export function helper(
  id: number,
  name: string,
  since: string,
  parameters: readonly HelperParameter[],
  result: HelperResult,
  { gplOnly = false, changesPacket = false }: { gplOnly?: boolean; changesPacket?: boolean } = {},
): () => never {
  const definition: HelperDefinition = { kind: 'helper', id, name, since, parameters, result, gplOnly, changesPacket };
  return kernelOnly(definition);
}
