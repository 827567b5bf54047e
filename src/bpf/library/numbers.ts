/**
 * Room `bpf`: the integers and the boolean of the language. Each name is a type (`let n: u32`), a layout (`struct({ n: u32 })`) and
 * a conversion (`u32(x)`).
 *
 * A newcomer would get wrong: TypeScript has one `number`, so that `u8` and `i32` are the same to it. Width and sign are the
 * compiler's matter. What TypeScript does check is number against bigint: 64 bits are always a bigint.
 */
import { BE16, BE32, BE64, BOOLEAN, I8, I16, I32, I64, type IntegerType, U8, U16, U32, U64 } from '../types.ts';
import { type IntegerLayout, type Layout, layout } from './layout.ts';
import { define } from './registry.ts';

/** 8 bits, unsigned. */
export type u8 = number;
/** 16 bits, unsigned. */
export type u16 = number;
/** 32 bits, unsigned. */
export type u32 = number;
/** 64 bits, unsigned. */
export type u64 = bigint;
/** 8 bits, signed. */
export type i8 = number;
/** 16 bits, signed. */
export type i16 = number;
/** 32 bits, signed. */
export type i32 = number;
/** 64 bits, signed. */
export type i64 = bigint;
/** 16 bits that lie in network order. The value is in the host's order, as every value. */
export type be16 = number;
/** 32 bits that lie in network order. The value is in the host's order, as every value. */
export type be32 = number;
/** 64 bits that lie in network order. The value is in the host's order, as every value. */
export type be64 = bigint;

function cut(type: IntegerType, value: number | bigint | boolean): bigint {
  const bits = type.bytes * 8;
  // A fraction has no meaning in the language; Math.trunc is what a cast in C does with one.
  const whole = typeof value === 'number' ? BigInt(Math.trunc(value)) : BigInt(value);
  return type.signed ? BigInt.asIntN(bits, whole) : BigInt.asUintN(bits, whole);
}

/** Makes a callable name of a conversion: a layout that is a function as well. */
function integer<T extends number | bigint>(
  type: IntegerType,
  convert: (value: number | bigint | boolean) => T,
): IntegerLayout<T> {
  const name = Object.assign(convert, layout<T, IntegerType>(type, type.bytes));
  return define(name, { kind: 'type', name: type.name, type });
}

const narrow = (type: IntegerType): IntegerLayout<number> => integer(type, (value) => Number(cut(type, value)));
const wide = (type: IntegerType): IntegerLayout<bigint> => integer(type, (value) => cut(type, value));

export const u8 = narrow(U8);
export const u16 = narrow(U16);
export const u32 = narrow(U32);
export const u64 = wide(U64);
export const i8 = narrow(I8);
export const i16 = narrow(I16);
export const i32 = narrow(I32);
export const i64 = wide(I64);
export const be16 = narrow(BE16);
export const be32 = narrow(BE32);
export const be64 = wide(BE64);

/** A byte that is true or false. As a type it is TypeScript's own. */
export const boolean: Layout<boolean> = define(layout<boolean, typeof BOOLEAN>(BOOLEAN, 1), {
  kind: 'type',
  name: 'boolean',
  type: BOOLEAN,
});
