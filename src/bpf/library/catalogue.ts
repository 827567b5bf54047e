/**
 * Room `bpf`: every export of the library and what the compiler makes of it. Nothing is listed twice: an export that someone
 * defined carries its definition, and a number is a constant.
 *
 * A newcomer would get wrong: the key is the name of the export. A definition's own `name` is the same; a struct's name in BTF may
 * differ (`spinLock` is struct bpf_spin_lock).
 */
import { I32, I64, type IntegerType, U32, U64 } from '../types.ts';
import type { Definition } from './definitions.ts';
import * as library from './index.ts';
import { definitionOf } from './registry.ts';

/** The type of an untyped literal: i32 where it fits, then u32, u64, i64. */
function typeOf(value: number | bigint): IntegerType {
  if (typeof value === 'bigint') return value < 0n ? I64 : U64;
  return value > 0x7fffffff ? U32 : I32;
}

function definitionFor(name: string, value: unknown): Definition {
  if (typeof value === 'number' || typeof value === 'bigint') {
    return { kind: 'constant', name, value: BigInt(value), type: typeOf(value) };
  }
  const definition = definitionOf(value);
  if (definition === null) throw new Error(`the library exports ${name} without a definition`);
  return definition;
}

/** Definitions by the name of the export. */
export const catalogue: ReadonlyMap<string, Definition> = new Map(
  Object.entries(library).map(([name, value]) => [name, definitionFor(name, value)]),
);
