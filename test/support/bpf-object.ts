/**
 * Test support for the room `bpf`: objects made by hand from assembler text, with maps and data by name.
 *
 * A newcomer would get wrong: in the text, `lddw %r1, 0` stands for each wide load that a relocation fills; relocations are given by the
 * instruction's index, not by slot.
 */
import { assemble } from '../../src/bpf/assembler.ts';
import { loadObject } from '../../src/bpf/loader/collection.ts';
import type { ObjectProgram } from '../../src/bpf/loader/collection-programs.ts';
import type {
  DataSection,
  FunctionSpec,
  MapSpec,
  ObjectSpec,
  ProgramKind,
  Relocation,
} from '../../src/bpf/object/spec.ts';
import { U64 } from '../../src/bpf/types.ts';

/** A program's kind; fields left out are null and 0. */
export function kind(type: string, fields: Partial<ProgramKind> = {}): ProgramKind {
  return { type, attachType: null, section: type, target: null, flags: 0, ...fields };
}

export function functionOf(
  name: string,
  text: string,
  fields: Partial<Omit<FunctionSpec, 'relocations'>> & {
    readonly relocations?: readonly (readonly [number, Relocation['kind'], string, number?])[];
  } = {},
): FunctionSpec {
  const { relocations = [], ...rest } = fields;
  return {
    name,
    kind: null,
    linkage: 'static',
    instructions: assemble(text),
    lines: [],
    core: [],
    typeId: 0,
    ...rest,
    relocations: relocations.map(([index, of, symbol, addend = 0]) => ({ index, kind: of, symbol, addend })),
  };
}

export function mapOf(name: string, type: string, fields: Partial<MapSpec> = {}): MapSpec {
  return {
    name,
    type,
    keyBytes: 4,
    valueBytes: 8,
    maxEntries: 16,
    flags: 0,
    key: null,
    value: null,
    keyTypeId: 0,
    valueTypeId: 0,
    pinByName: false,
    extra: 0n,
    ...fields,
  };
}

export function sectionOf(name: string, bytes: Uint8Array, fields: Partial<DataSection> = {}): DataSection {
  return { name, bytes, readOnly: name.startsWith('.rodata'), variables: [], typeId: 0, ...fields };
}

export function objectOf(fields: Partial<ObjectSpec>): ObjectSpec {
  return {
    license: 'Dual MIT/GPL',
    functions: [],
    maps: [],
    data: [],
    kconfig: [],
    kernelSymbols: [],
    btf: null,
    ...fields,
  };
}

/** A program that counts its runs in the global `hits` and answers `verdict`. */
export function countingObject(of: ProgramKind, verdict: number): ObjectSpec {
  return objectOf({
    data: [sectionOf('.bss', new Uint8Array(8), { variables: [{ name: 'hits', offset: 0, bytes: 8, type: U64 }] })],
    functions: [
      functionOf('count', `lddw %r1, 0\nldxdw %r2, [%r1]\nadd %r2, 1\nstxdw [%r1], %r2\nmov %r0, ${verdict}\nexit`, {
        kind: of,
        relocations: [[0, 'data', '.bss']],
      }),
    ],
  });
}

/** A counting program that is loaded. */
export interface Counter extends Disposable {
  readonly program: ObjectProgram;
  hits(): number;
}

export function loadCounter(of: ProgramKind, verdict: number): Counter {
  const collection = loadObject(countingObject(of, verdict));
  return {
    program: collection.programs.count,
    hits: () => Number(collection.globals.hits.value),
    [Symbol.dispose]: () => collection[Symbol.dispose](),
  };
}
