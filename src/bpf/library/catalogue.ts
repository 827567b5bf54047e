/**
 * Room `bpf`: every export of the library and what the compiler makes of it. Nothing is listed twice: an export that someone
 * defined carries its definition, and a number is a constant.
 *
 * A newcomer would get wrong: the key is the name of the export. A definition's own `name` is the same; a struct's name in BTF may
 * differ (`spinLock` is struct bpf_spin_lock). And a program uses a handful of nearly a thousand: looking at all exports takes longer than
 * compiling it, so each is looked at when it is asked for.
 */
import { I32, I64, type IntegerType, U32, U64 } from '../types.ts';
import type { Definition, ProgramDefinition } from './definitions.ts';
import * as library from './index.ts';
import { definedPrograms, definitionOf } from './registry.ts';

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

const exported: Readonly<Record<string, unknown>> = library;

class Catalogue implements ReadonlyMap<string, Definition> {
  readonly #known = new Map<string, Definition>();

  get(name: string): Definition | undefined {
    const known = this.#known.get(name);
    if (known !== undefined || !this.has(name)) return known;
    const found = definitionFor(name, exported[name]);
    this.#known.set(name, found);
    return found;
  }

  has(name: string): boolean {
    return Object.hasOwn(exported, name);
  }

  /** All of them, by name in the order of the alphabet. */
  #all(): Map<string, Definition> {
    const names = Object.keys(exported).sort();
    return new Map(names.map((name) => [name, this.get(name)!]));
  }

  get size(): number {
    return Object.keys(exported).length;
  }

  keys() {
    return this.#all().keys();
  }

  values() {
    return this.#all().values();
  }

  entries() {
    return this.#all().entries();
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  forEach(visit: (definition: Definition, name: string, map: ReadonlyMap<string, Definition>) => void): void {
    for (const [name, definition] of this.#all()) visit(definition, name, this);
  }
}

/** Definitions by the name of the export. */
export const catalogue: ReadonlyMap<string, Definition> = new Catalogue();

/** The programs in a catalogue, in the order of their names. Of the library's own no other export is looked at. */
export function programsOf(from: ReadonlyMap<string, Definition>): ProgramDefinition[] {
  const all = from === catalogue ? definedPrograms() : [...from.values()].filter((one) => one.kind === 'program');
  return all.sort((one, other) => (one.name < other.name ? -1 : 1));
}
