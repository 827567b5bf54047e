/**
 * Room `bpf`: how the structs that programs get are described: fields with the kernel's names (include/uapi/linux/bpf.h), which of
 * them are pointers once loaded, and which may be written.
 *
 * A newcomer would get wrong: these structs exist nowhere. The kernel turns each load from a context into one from its own structs,
 * so `data` takes 4 bytes in the layout and is a pointer of 8 when it is loaded.
 */
import { type StructType, type Type, U32, U64 } from '../../types.ts';
import type { ContextStruct } from '../definitions.ts';
import { type Fields, type Layout, layout, type StructLayout, type Value } from '../layout.ts';
import { define } from '../registry.ts';
import { layOutOverlaid, type Overlaid } from '../structs.ts';

declare const writes: unique symbol;
declare const contextName: unique symbol;
declare const packetPointer: unique symbol;

/** Where a packet begins. `packet()` and `packetLength()` take the whole context; a program hardly needs this one. */
export interface PacketPointer {
  readonly [packetPointer]: 'packet';
}

/** Where it ends. A type of its own, so that TypeScript refuses to compare it with the beginning, as the compiler does. */
export interface PacketEnd {
  readonly [packetPointer]: 'packetEnd';
}

/** Marks what only the kernel gives: the context of a program, by the name of its struct. */
export interface Context<Name extends string> {
  readonly [contextName]: Name;
}

/** A field that the program may write. */
export interface Writable<T> extends Layout<T> {
  readonly [writes]: true;
}

type PointerField = ContextStruct['pointers'][string];

const writable = new WeakSet<object>();
const pointers = new WeakMap<object, PointerField>();

/** Lets the program write the field. */
export function mayWrite<T>(field: Layout<T>): Writable<T> {
  const copy = layout<T, Type>(field.type, field.size);
  writable.add(copy);
  return copy as Writable<T>;
}

function pointerField<T>(type: Type, size: number, pointer: PointerField): Layout<T> {
  const field = layout<T, Type>(type, size);
  pointers.set(field, pointer);
  return field;
}

/** Where the packet begins. 4 bytes in the layout. */
export const packetBegin = pointerField<PacketPointer>(U32, 4, { space: 'packet', struct: null, nullable: false });
/** Where the packet ends. 4 bytes in the layout. */
export const packetEnd = pointerField<PacketEnd>(U32, 4, { space: 'packetEnd', struct: null, nullable: false });
/** The same where the layout has 8 bytes (`__bpf_md_ptr`). */
export const widePacketBegin = pointerField<PacketPointer>(U64, 8, { space: 'packet', struct: null, nullable: false });
export const widePacketEnd = pointerField<PacketEnd>(U64, 8, { space: 'packetEnd', struct: null, nullable: false });

/** A pointer to a struct of the UAPI's. `of` is needed for its type alone: the compiler finds it by name. */
export function pointsTo<T>(_of: Layout<T>, struct: string): Layout<T> {
  return pointerField<T>(U64, 8, { space: 'kernel', struct, nullable: false });
}

/** The same where the program fills the struct in. */
export function fills<T>(_of: Layout<T>, struct: string): Layout<T> {
  return pointerField<T>(U64, 8, { space: 'kernel', struct, nullable: false, writable: true });
}

/** The same where there may be none: the program must test it. */
export function mayPointTo<T>(_of: Layout<T>, struct: string): Layout<T | null> {
  return pointerField<T | null>(U64, 8, { space: 'kernel', struct, nullable: true });
}

/** A pointer to a struct of the kernel's, by its name in the kernel's BTF. */
export function kernelPointer<T>(struct: string): Layout<T> {
  return pointerField<T>(U64, 8, { space: 'kernel', struct, nullable: false });
}

/** What a program may do with a context's fields: read all, write some. */
export type ContextValue<F extends Fields> = {
  readonly [N in keyof F as F[N] extends Writable<unknown> ? never : N]: Value<F[N]>;
} & { -readonly [N in keyof F as F[N] extends Writable<unknown> ? N : never]: Value<F[N]> };

/** A context's layout with what its fields are. */
export interface ContextLayout<T> extends StructLayout<T> {
  readonly context: ContextStruct;
}

/** A context by the kernel's name for it. */
export function context<N extends string, F extends Fields>(
  name: N,
  fields: F,
  overlaid: Overlaid = {},
): ContextLayout<ContextValue<F> & Context<N>> {
  const struct = layOutOverlaid(name, fields, overlaid);
  const names = Object.keys(fields);
  const found = names.flatMap((field) => {
    const pointer = pointers.get(fields[field]);
    return pointer === undefined ? [] : [[field, pointer] as const];
  });
  const parts: ContextStruct = {
    struct,
    pointers: Object.fromEntries(found),
    writable: names.filter((field) => writable.has(fields[field])),
  };
  const made = layout<ContextValue<F> & Context<N>, StructType>(struct, struct.bytes);
  return define(Object.freeze({ ...made, context: parts }), { kind: 'type', name, type: struct });
}
