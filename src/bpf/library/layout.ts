/**
 * Room `bpf`: the names of types as TypeScript sees them: `u32`, `struct({…})`, `array(u8, 6)` are all layouts, and `Value<typeof
 * Flow>` is what one holds.
 *
 * A newcomer would get wrong: a value's type lives only in TypeScript. At run time a layout has its size and its `type`, from which
 * the compiler, BTF and the decoding of map values all start; the symbol below is never there.
 */
import type { ArrayType, IntegerType, PointerType, StructType, Type } from '../types.ts';

/** Carries the type of the values, for inference. No object has it. */
export declare const holds: unique symbol;
/** Marks pointers into the kernel with the name of the struct that they point to. No object has it. */
export declare const kernelType: unique symbol;

/** How values of type T lie in memory. */
export interface Layout<T = unknown, D extends Type = Type> {
  /** Bytes that a value takes. A constant in a program. */
  readonly size: number;
  /** The same for the compiler. */
  readonly type: D;
  readonly [holds]: T;
}

/** What a layout holds: `type Flow = Value<typeof Flow>`. A number is `number`, one of 64 bits `bigint`, a struct an object. */
export type Value<L> = L extends { readonly [holds]: infer T } ? T : never;

/** An integer's name: a type, a layout, and a conversion that cuts or extends as a cast in C does. */
export interface IntegerLayout<T extends number | bigint> extends Layout<T, IntegerType> {
  (value: number | bigint | boolean): T;
}

/** The elements of an array: read and written by index, iterated by `for…of`. An array literal can stand for them. */
export interface Elements<T> {
  readonly length: number;
  [index: number]: T;
  [Symbol.iterator](): Iterator<T>;
}

/** Fields by name, in the order in which they lie in memory. */
export type Fields = Readonly<Record<string, Layout>>;

/** The object that has these fields. */
export type StructValue<F extends Fields> = { -readonly [N in keyof F]: Value<F[N]> };

/** A struct or union. */
export type StructLayout<T = unknown> = Layout<T, StructType>;
/** A fixed number of elements. */
export type ArrayLayout<T = unknown> = Layout<Elements<T>, ArrayType>;
/** A pointer that lies in memory. */
export type PointerLayout<T = unknown> = Layout<T, PointerType>;

/** A place in memory that holds a number, a boolean or an array: `hits.value += 1n`. */
export interface Reference<T> {
  value: T;
}

/** What a look-up gives: a struct itself, to be read and written in place, and a {@link Reference} for everything else. */
export type Stored<L> = L extends StructLayout<infer T> ? T : L extends Layout<infer T> ? Reference<T> : never;

/** A pointer to a struct of the kernel's. Fields are added by `kernelStruct`. */
export interface Kernel<Name extends string> {
  readonly [kernelType]: Name;
}

/** Where the kernel takes 64 bits of flags, a plain number may stand. */
export type Flags = number | bigint;

/** A layout from its compile-time form. What it holds is a matter of types alone, which is why it is claimed here and nowhere else. */
export function layout<T, D extends Type>(type: D, size: number): Layout<T, D> {
  return Object.freeze({ type, size }) as Layout<T, D>;
}
