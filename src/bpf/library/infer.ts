/**
 * Room `bpf`: what user space knows of a module of programs from its type alone: `load<typeof import('./drop.bpf.ts')>` gives maps
 * with typed keys and values, programs by name, and globals.
 *
 * A newcomer would get wrong: nothing here exists at run time. A module's maps, programs and globals are told apart by the `kind`
 * that their descriptions carry, which is also how a test can find them.
 */
import type { PointerType } from '../types.ts';
import type { Global, ReadOnlyGlobal } from './intrinsics.ts';
import type { Elements, Layout, Value } from './layout.ts';
import type { BpfMap } from './maps/types.ts';
import type { Program } from './programs/program.ts';

type AnyGlobal = ReadOnlyGlobal<Layout> | Global<Layout>;

/** Names of what a module exports that are a T. */
type NamesOf<M, T> = { [N in keyof M]: M[N] extends T ? N : never }[keyof M];

/** A value as user space has it: arrays are arrays. Numbers, booleans and structs are the same on both sides. */
export type Plain<T> = T extends Elements<infer E> ? PlainElements<E> : T extends object ? PlainFields<T> : T;
type PlainElements<E> = Plain<E>[];
type PlainFields<T> = { [N in keyof T]: Plain<T[N]> };

/** A pointer is a number to user space, an address. */
type PlainOf<L> =
  L extends Layout<unknown, PointerType>
    ? bigint
    : L extends Layout
      ? Plain<Value<L>>
      : L extends BpfMap
        ? MapType<L>
        : undefined;

/** The key of a map as user space has it; `undefined` for maps without keys (queues, ring buffers). */
export type KeyOf<T> = T extends { readonly key: infer K } ? PlainOf<K> : undefined;

/**
 * The value of a map as user space has it: a ring buffer's is that of its records (`unknown` where it was declared without), a map of
 * maps holds maps.
 */
export type ValueOf<T> = T extends { readonly value: infer V }
  ? unknown extends V
    ? unknown
    : Layout extends V
      ? unknown
      : PlainOf<V>
  : undefined;

/** What user space knows of a map. */
export interface MapType<M extends BpfMap = BpfMap> {
  readonly type: M['type'];
  readonly key: KeyOf<M>;
  readonly value: ValueOf<M>;
}

/** A module's maps by name: `MapsOf<typeof import('./drop.bpf.ts')>['blocked']['key']`. */
export type MapsOf<M> = { readonly [N in NamesOf<M, BpfMap>]: M[N] extends BpfMap ? MapType<M[N]> : never };

/** What user space knows of a program: its constructor's name and the hook that the source names. */
export interface ProgramType<Hook extends string = string> {
  readonly hook: Hook;
}

/** A module's programs by name. */
export type ProgramsOf<M> = {
  readonly [N in NamesOf<M, Program>]: M[N] extends Program<infer Hook> ? ProgramType<Hook> : never;
};

/** What user space knows of a global. One that is read-only in the program is set before it is loaded. */
export interface GlobalType<T = unknown, ReadOnly = boolean> {
  readonly value: T;
  readonly readOnly: ReadOnly;
}

/** A module's globals by name. */
export type GlobalsOf<M> = {
  readonly [N in NamesOf<M, AnyGlobal>]: M[N] extends { readonly layout: infer L; readonly readOnly: infer R }
    ? GlobalType<PlainOf<L>, R>
    : never;
};
