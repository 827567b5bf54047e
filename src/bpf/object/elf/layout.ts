/**
 * Room `bpf`: which bytes of an object go into which ELF section, and which symbols name them. `write.ts` makes the file of it.
 *
 * A newcomer would get wrong: static functions, data and their section get relocations against the section's own symbol, with the
 * distance in the instruction; global functions and maps are named. libbpf takes no other form for each.
 */
import { BPF_PSEUDO_CALL } from '../../../kernel/bpf-abi.ts';
import {
  RELOCATION_TYPES,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHF_WRITE,
  SHN_UNDEF,
  SHT_NOBITS,
  SHT_PROGBITS,
  STB_GLOBAL,
  STB_LOCAL,
  STB_WEAK,
  STT_FUNC,
  STT_NOTYPE,
  STT_OBJECT,
} from '../../../kernel/elf-abi.ts';
import { encode, INSTRUCTION_BYTES, type Instruction } from '../../instructions.ts';
import { identifierOf } from '../btf/builder.ts';
import type { ExtSection } from '../btf/ext.ts';
import { structOpsSection } from '../btf/map-definitions.ts';
import type { Btf } from '../btf/table.ts';
import { slotsBefore } from '../link.ts';
import type { FunctionSpec, MapSpec, ObjectSpec, Relocation } from '../spec.ts';

/** A symbol to be written. `section` is a name; null: not defined here. */
export interface OutputSymbol {
  readonly name: string;
  readonly type: number;
  readonly binding: number;
  readonly section: string | null;
  readonly value: number;
  readonly size: number;
  readonly hidden?: boolean;
}

/** A relocation to be written: against a symbol's name, or against a section's own symbol. */
export interface OutputRelocation {
  readonly offset: number;
  readonly type: number;
  readonly symbol: { readonly name: string } | { readonly section: string };
}

export interface OutputSection {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly alignment: number;
  readonly bytes: Uint8Array;
  /** Differs from the bytes' number for a section of zeros that the file does not hold. */
  readonly size: number;
  readonly relocations: readonly OutputRelocation[];
}

export interface Layout {
  readonly sections: readonly OutputSection[];
  readonly symbols: readonly OutputSymbol[];
  readonly ext: readonly ExtSection[];
}

const SUBPROGRAMS = '.text';
const POINTER_BYTES = 8;

/** The section that a function's code goes to. */
function sectionOf(one: FunctionSpec): string {
  return one.kind === null ? SUBPROGRAMS : one.kind.section;
}

function section(
  name: string,
  flags: number,
  bytes: Uint8Array,
  relocations: readonly OutputRelocation[] = [],
): OutputSection {
  return { name, type: SHT_PROGBITS, flags, alignment: 8, bytes, size: bytes.length, relocations };
}

/** Gives every part of the object its place. @throws RangeError for a reference to what the object does not have */
export function layOutObject(spec: ObjectSpec): Layout {
  const code = new CodeLayout(spec);
  const maps = layOutMaps(spec, code);
  const operations = layOutStructOps(spec);
  const licence = Buffer.from(`${spec.license}\0`);
  const licenceSection = section('license', SHF_ALLOC | SHF_WRITE, licence);
  return {
    sections: [...code.sections(), ...maps.sections, ...operations.sections, ...layOutData(spec), licenceSection],
    symbols: [
      ...code.symbols(),
      ...maps.symbols,
      ...operations.symbols,
      ...variableSymbols(spec),
      {
        name: licenseName(spec.btf),
        type: STT_OBJECT,
        binding: STB_GLOBAL,
        section: 'license',
        value: 0,
        size: licence.length,
      },
      ...externSymbols(spec),
    ],
    ext: code.ext(),
  };
}

/** libbpf wants a symbol for each variable that BTF names, so that one that C's source gave a name keeps it. */
function licenseName(btf: Btf | null): string {
  const [id] = btf?.byName('license', 'datasec') ?? [];
  const type = id === undefined ? null : btf?.type(id);
  const place = type?.kind === 'datasec' ? type.places[0] : undefined;
  return btf === null || place === undefined ? '_license' : btf.nameOf(place.type);
}

/** Functions behind each other in their sections. */
class CodeLayout {
  readonly #spec: ObjectSpec;
  /** By section, in order of first occurrence; subprograms first. */
  readonly #sections = new Map<string, FunctionSpec[]>();
  readonly #offsets = new Map<string, number>();
  readonly #functions: ReadonlyMap<string, FunctionSpec>;

  constructor(spec: ObjectSpec) {
    this.#spec = spec;
    this.#functions = new Map(spec.functions.map((one) => [one.name, one]));
    const ends = new Map<string, number>();
    for (const one of [...spec.functions].sort((a, b) => Number(a.kind !== null) - Number(b.kind !== null))) {
      const name = sectionOf(one);
      const end = ends.get(name) ?? 0;
      this.#offsets.set(one.name, end);
      ends.set(name, end + bytesIn(one.instructions));
      this.#sections.set(name, [...(this.#sections.get(name) ?? []), one]);
    }
  }

  functionNamed(name: string): FunctionSpec {
    const found = this.#functions.get(name);
    if (found === undefined) throw new RangeError(`the object has no function ${name}`);
    return found;
  }

  offsetOf(name: string): number {
    return this.#offsets.get(this.functionNamed(name).name) ?? 0;
  }

  sections(): OutputSection[] {
    return [...this.#sections].map(([name, functions]) => {
      const parts = functions.map((one) => encode(this.#instructions(one)));
      const relocations = functions.flatMap((one) => this.#relocations(one));
      return section(name, SHF_ALLOC | SHF_EXECINSTR, new Uint8Array(Buffer.concat(parts)), relocations);
    });
  }

  symbols(): OutputSymbol[] {
    return this.#spec.functions.map((one) => ({
      name: identifierOf(one.name),
      type: STT_FUNC,
      binding: one.linkage === 'static' ? STB_LOCAL : STB_GLOBAL,
      section: sectionOf(one),
      value: this.offsetOf(one.name),
      size: bytesIn(one.instructions),
    }));
  }

  /** Calls and wide loads as LLVM leaves them: what the relocation adds to lies in the immediate. */
  #instructions(one: FunctionSpec): Instruction[] {
    const instructions = [...one.instructions];
    for (const { index, kind, symbol, addend } of one.relocations) {
      instructions[index] = {
        ...instructions[index],
        source: kind === 'call' || kind === 'kernelFunction' ? BPF_PSEUDO_CALL : 0,
        offset: 0,
        immediate: this.#immediate(kind, symbol, addend),
        nextImmediate: 0,
      };
    }
    return instructions;
  }

  #immediate(kind: Relocation['kind'], symbol: string, addend: number): number {
    switch (kind) {
      case 'call': {
        const isStatic = this.functionNamed(symbol).linkage === 'static';
        return isStatic ? this.offsetOf(symbol) / INSTRUCTION_BYTES - 1 : -1;
      }
      case 'callback':
        return this.offsetOf(symbol);
      case 'kernelFunction':
        return -1;
      case 'data':
        return symbol === '.kconfig' ? 0 : addend;
      default:
        return 0;
    }
  }

  #relocations(one: FunctionSpec): OutputRelocation[] {
    const start = this.offsetOf(one.name);
    const slots = slotsBefore(one.instructions);
    const sorted = [...one.relocations].sort((a, b) => a.index - b.index);
    return sorted.map(({ index, kind, symbol, addend }) => ({
      offset: start + slots[index] * INSTRUCTION_BYTES,
      type: kind === 'call' || kind === 'kernelFunction' ? RELOCATION_TYPES.R_BPF_64_32 : RELOCATION_TYPES.R_BPF_64_64,
      symbol: this.#target(kind, symbol, addend),
    }));
  }

  #target(kind: Relocation['kind'], symbol: string, addend: number): OutputRelocation['symbol'] {
    switch (kind) {
      case 'call': {
        const target = this.functionNamed(symbol);
        return target.linkage === 'static' ? { section: sectionOf(target) } : { name: identifierOf(symbol) };
      }
      case 'callback':
        return { section: sectionOf(this.functionNamed(symbol)) };
      case 'data': {
        if (symbol !== '.kconfig') return { section: symbol };
        const option = this.#spec.kconfig.find((one) => one.offset === addend);
        if (option === undefined) throw new RangeError(`no kconfig option lies at ${addend}`);
        return { name: option.name };
      }
      case 'map':
        return { name: identifierOf(symbol) };
      default:
        return { name: symbol };
    }
  }

  ext(): ExtSection[] {
    return [...this.#sections].map(([name, functions]) => {
      const at = (one: FunctionSpec) => {
        const start = this.offsetOf(one.name);
        const slots = slotsBefore(one.instructions);
        return (index: number): number => start + slots[index] * INSTRUCTION_BYTES;
      };
      return {
        name,
        functions: functions
          .filter((one) => one.typeId !== 0)
          .map((one) => ({ offset: this.offsetOf(one.name), typeId: one.typeId })),
        lines: functions.flatMap((one) => {
          const offsetAt = at(one);
          return one.lines.map((line) => ({ ...line, offset: offsetAt(line.index) }));
        }),
        core: functions.flatMap((one) => {
          const offsetAt = at(one);
          return one.core.map((record) => ({ ...record, offset: offsetAt(record.index) }));
        }),
      };
    });
  }
}

function bytesIn(instructions: readonly Instruction[]): number {
  return slotsBefore(instructions)[instructions.length] * INSTRUCTION_BYTES;
}

type Part = Pick<Layout, 'sections' | 'symbols'>;

interface PlacedDefinition {
  readonly map: MapSpec;
  readonly offset: number;
  readonly bytes: number;
  /** Where its `values` begin within it; 0 without any. */
  readonly values: number;
}

/** Where BTF says that a section's maps are. @throws RangeError for a map that it does not define */
function placesIn(btf: Btf | null, name: string, maps: readonly MapSpec[]): PlacedDefinition[] {
  const [id] = btf?.byName(name, 'datasec') ?? [];
  const types = id === undefined ? null : btf?.type(id);
  return maps.map((map) => {
    const places = types?.kind === 'datasec' ? types.places : [];
    const place = places.find((one) => btf?.nameOf(one.type) === identifierOf(map.name));
    if (btf === null || place === undefined) throw new RangeError(`map ${map.name} is not defined in BTF`);
    const variable = btf.type(place.type);
    const definition = variable.kind === 'var' ? btf.resolved(variable.type) : variable;
    const member = definition.kind === 'struct' && definition.members.find((one) => one.name === 'values');
    return { map, offset: place.offset, bytes: place.bytes, values: member ? member.offsetBits / 8 : 0 };
  });
}

/** A section of variables that are given by their places, with a symbol for each. */
function sectionOfMaps(
  name: string,
  places: readonly PlacedDefinition[],
  contentOf: (place: PlacedDefinition) => Uint8Array,
  relocationsOf: (place: PlacedDefinition) => readonly { readonly offset: number; readonly symbol: string }[],
): Part {
  const bytes = new Uint8Array(Math.max(...places.map((place) => place.offset + place.bytes)));
  for (const place of places) bytes.set(contentOf(place), place.offset);
  const relocations = places.flatMap((place) =>
    relocationsOf(place).map(({ offset, symbol }) => ({
      offset: place.offset + offset,
      type: RELOCATION_TYPES.R_BPF_64_ABS64,
      symbol: { name: symbol },
    })),
  );
  return {
    sections: [section(name, SHF_ALLOC | SHF_WRITE, bytes, relocations)],
    symbols: places.map(({ map, offset, bytes: size }) => ({
      name: identifierOf(map.name),
      type: STT_OBJECT,
      binding: STB_GLOBAL,
      section: name,
      value: offset,
      size,
    })),
  };
}

function layOutMaps({ btf, maps }: ObjectSpec, code: CodeLayout): Part {
  const ordinary = maps.filter((map) => map.structOps === undefined);
  if (ordinary.length === 0) return { sections: [], symbols: [] };
  const nameOf = (map: MapSpec, name: string): string =>
    identifierOf(map.type === 'prog_array' ? code.functionNamed(name).name : name);
  return sectionOfMaps(
    '.maps',
    placesIn(btf, '.maps', ordinary),
    () => new Uint8Array(0),
    ({ map, values }) =>
      (map.values ?? []).flatMap((name, index) =>
        name === null ? [] : [{ offset: values + index * POINTER_BYTES, symbol: nameOf(map, name) }],
      ),
  );
}

function layOutStructOps({ btf, maps }: ObjectSpec): Part {
  const operations = maps.filter((map) => map.structOps !== undefined);
  const parts = [...new Set(operations.map(structOpsSection))].map((name) =>
    sectionOfMaps(
      name,
      placesIn(
        btf,
        name,
        operations.filter((map) => structOpsSection(map) === name),
      ),
      ({ map }) => map.structOps?.data ?? new Uint8Array(0),
      ({ map }) =>
        (map.structOps?.functions ?? []).map((one) => ({ offset: one.offset, symbol: identifierOf(one.name) })),
    ),
  );
  return { sections: parts.flatMap((part) => part.sections), symbols: parts.flatMap((part) => part.symbols) };
}

function layOutData(spec: ObjectSpec): OutputSection[] {
  return spec.data
    .filter(({ bytes }) => bytes.length > 0)
    .map(({ name, bytes, readOnly }) => {
      const flags = readOnly ? SHF_ALLOC : SHF_ALLOC | SHF_WRITE;
      if (!name.startsWith('.bss')) return section(name, flags, bytes);
      return { ...section(name, flags, new Uint8Array(0)), type: SHT_NOBITS, size: bytes.length };
    });
}

function variableSymbols(spec: ObjectSpec): OutputSymbol[] {
  return spec.data.flatMap(({ name: of, variables }) =>
    variables.map(({ name, offset, bytes }) => ({
      name: identifierOf(name),
      type: STT_OBJECT,
      binding: STB_GLOBAL,
      section: of,
      value: offset,
      size: bytes,
    })),
  );
}

function externSymbols(spec: ObjectSpec): OutputSymbol[] {
  return [...spec.kconfig, ...spec.kernelSymbols].map(({ name, weak }) => ({
    name,
    type: STT_NOTYPE,
    binding: weak ? STB_WEAK : STB_GLOBAL,
    section: null,
    value: SHN_UNDEF,
    size: 0,
  }));
}
