/**
 * Room `bpf`: maps of an object, from the BTF that defines them (`map-definitions.ts` says how) and, for what they hold at first, from
 * the relocations of their section.
 *
 * A newcomer would get wrong: the older way, an array of numbers in a section `maps`, is refused as libbpf refuses it since 1.0.
 */
import { BPF_F_LINK } from '../../../kernel/bpf-attributes.ts';
import { MAP_TYPES } from '../../../kernel/bpf-names.ts';
import type { Type } from '../../types.ts';
import { PIN_BY_NAME } from '../btf/map-definitions.ts';
import type { BtfComposite, BtfMember, BtfPlace, BtfType } from '../btf/records.ts';
import type { Btf } from '../btf/table.ts';
import { typeOf } from '../btf/to-type.ts';
import type { MapSpec } from '../spec.ts';
import { ElfError, type ElfFile, type ElfRelocation, type ElfSection, type ElfSymbol } from './file.ts';

const POINTER_BYTES = 8;
/** How many entries `values` may have. */
const VALUES_MAX = 1 << 20;

const typeNames = new Map(Object.entries(MAP_TYPES).map(([name, number]): [number, string] => [number, name]));

/** A map and where its definition begins in its section. */
export interface PlacedMap {
  readonly map: MapSpec;
  readonly section: number;
  readonly offset: number;
}

/** A name of a function or map for what a relocation refers to. */
export type NameOf = (symbol: ElfSymbol, addend: number) => string;

/** The variables of a data section, by its name. */
export function placesOf(btf: Btf, section: string): readonly BtfPlace[] {
  const [id] = btf.byName(section, 'datasec');
  const type = id === undefined ? null : btf.type(id);
  return type?.kind === 'datasec' ? type.places : [];
}

/** The maps of `.maps`. `functionOf` names the function that an entry of a prog array is. */
export function readMaps(elf: ElfFile, btf: Btf | null, functionOf: NameOf): PlacedMap[] {
  const legacy = elf.section('maps');
  if (legacy !== null && legacy.size > 0) {
    const names = elf.symbols.filter((one) => one.section === legacy.index && one.size > 0).map((one) => one.name);
    throw new ElfError(
      `the object defines ${names.join(', ') || 'its maps'} in the section maps, as libbpf before 1.0 did; define them in SEC(".maps")`,
    );
  }
  const section = elf.section('.maps');
  if (section === null || section.size === 0) return [];
  if (btf === null) throw new ElfError('the object has maps and no .BTF, which defines them; compile with -g');
  const relocations = elf.relocationsFor(section);
  const placed = placesOf(btf, '.maps').map(({ type, offset, bytes }) => {
    const name = btf.nameOf(type);
    const definition = btf.resolved(variableType(btf, type));
    if (definition.kind !== 'struct') throw new ElfError(`map ${name} is no struct`);
    const reader = new DefinitionReader(btf, name, definition);
    const within = relocations.filter((one) => one.offset >= offset && one.offset < offset + bytes);
    return { offset, map: reader.map(), reader, within, bytes };
  });
  const mapOf: NameOf = (symbol, addend) => {
    const at = symbol.value + addend;
    const target = placed.find((one) => one.offset === at);
    if (symbol.section !== section.index || target === undefined) throw new ElfError(`${symbol.name} is no map`);
    return target.map.name;
  };
  return placed.map(({ map, reader, within, offset, bytes }) => {
    const nameOf = map.type === 'prog_array' ? functionOf : mapOf;
    const values = reader.values(within, offset, bytes, nameOf);
    return { section: section.index, offset, map: values === null ? map : { ...map, values } };
  });
}

function variableType(btf: Btf, id: number): number {
  const variable = btf.type(id);
  if (variable.kind !== 'var') throw new ElfError(`BTF type ${id} (${variable.kind}) is in .maps and is no variable`);
  return variable.type;
}

/** Reads one struct that defines a map. */
class DefinitionReader {
  readonly #btf: Btf;
  readonly #name: string;
  readonly #definition: BtfComposite;

  constructor(btf: Btf, name: string, definition: BtfComposite) {
    this.#btf = btf;
    this.#name = name;
    this.#definition = definition;
  }

  #fail(problem: string): never {
    throw new ElfError(`map ${this.#name}: ${problem}`);
  }

  #member(name: string): BtfMember | undefined {
    return this.#definition.members.find((member) => member.name === name);
  }

  #pointee(member: BtfMember): number {
    const pointer = this.#btf.resolved(member.type);
    if (pointer.kind !== 'ptr') this.#fail(`${member.name} is no pointer`);
    return pointer.type;
  }

  /** The length of the array that a member points to, or the only value of the enum. */
  #number(name: string): bigint {
    const member = this.#member(name);
    if (member === undefined) return 0n;
    const type: BtfType = this.#btf.resolved(this.#pointee(member));
    if (type.kind === 'array') return BigInt(type.length);
    if ((type.kind === 'enum' || type.kind === 'enum64') && type.values.length === 1) return type.values[0].value;
    return this.#fail(`${name} is neither __uint nor __ulong`);
  }

  /** A key or a value: its size, its type's id and its type. */
  #part(what: 'key' | 'value'): { readonly bytes: number; readonly id: number; readonly type: Type | null } {
    const given = Number(this.#number(`${what}_size`));
    const member = this.#member(what);
    if (member === undefined) return { bytes: given, id: 0, type: null };
    const id = this.#pointee(member);
    const bytes = this.#btf.sizeOf(id);
    if (given !== 0 && given !== bytes) this.#fail(`${what}_size is ${given} and its type has ${bytes} bytes`);
    return { bytes, id, type: typeOf(this.#btf, id) };
  }

  map(depth = 0): MapSpec {
    const number = Number(this.#number('type'));
    const type = typeNames.get(number);
    if (type === undefined) this.#fail(number === 0 ? 'has no type' : `has the unknown type ${number}`);
    const key = this.#part('key');
    const value = this.#part('value');
    const inner = this.#inner(depth);
    const numaNode = this.#member('numa_node') === undefined ? null : Number(this.#number('numa_node'));
    const holdsDescriptors = inner !== null || type === 'prog_array';
    return {
      name: this.#name,
      type,
      keyBytes: key.bytes || (holdsDescriptors ? 4 : 0),
      valueBytes: value.bytes || (holdsDescriptors ? 4 : 0),
      maxEntries: Number(this.#number('max_entries')),
      flags: Number(this.#number('map_flags')),
      key: key.type,
      value: value.type,
      keyTypeId: key.id,
      valueTypeId: value.id,
      ...(inner === null ? {} : { inner }),
      pinByName: Number(this.#number('pinning')) === PIN_BY_NAME,
      extra: this.#number('map_extra'),
      ...(numaNode === null ? {} : { numaNode }),
    };
  }

  /** What a map of maps holds: `values` is an array of pointers to the struct that defines it. */
  #inner(depth: number): MapSpec | null {
    const member = this.#member('values');
    if (member === undefined) return null;
    if (depth > 0) this.#fail('holds maps of maps');
    const array = this.#btf.resolved(member.type);
    const pointer = array.kind === 'array' ? this.#btf.resolved(array.element) : null;
    if (pointer?.kind !== 'ptr') this.#fail('values is no array of pointers');
    const definition = this.#btf.resolved(pointer.type);
    if (definition.kind !== 'struct') return null;
    return new DefinitionReader(this.#btf, `${this.#name}.inner`, definition).map(depth + 1);
  }

  /** Names by index for what `values` holds at first; null for a map without. */
  values(
    relocations: readonly ElfRelocation[],
    offset: number,
    bytes: number,
    nameOf: NameOf,
  ): (string | null)[] | null {
    const member = this.#member('values');
    if (member === undefined) {
      if (relocations.length > 0) this.#fail('refers to something and has no values');
      return null;
    }
    const start = member.offsetBits / 8;
    const count = Math.floor((bytes - start) / POINTER_BYTES);
    if (count > VALUES_MAX) this.#fail(`has ${count} values`);
    if (count <= 0) return null;
    const values: (string | null)[] = new Array(count).fill(null);
    for (const relocation of relocations) {
      const index = (relocation.offset - offset - start) / POINTER_BYTES;
      if (!(Number.isInteger(index) && index >= 0 && index < count)) this.#fail('has a value that is not aligned');
      values[index] = nameOf(relocation.symbol, 0);
    }
    return values;
  }
}

/** The variables of `.struct_ops` and `.struct_ops.link`: structs of functions that the kernel calls. */
export function readStructOps(elf: ElfFile, btf: Btf | null, functionOf: NameOf): MapSpec[] {
  return ['.struct_ops', '.struct_ops.link'].flatMap((name) => {
    const section = elf.section(name);
    if (section === null || section.size === 0) return [];
    if (btf === null) throw new ElfError(`the object has ${name} and no .BTF, which defines it; compile with -g`);
    const relocations = elf.relocationsFor(section);
    const content = elf.contentOf(section);
    return placesOf(btf, name).map((place) => structOpsMap(btf, section, content, place, relocations, functionOf));
  });
}

function structOpsMap(
  btf: Btf,
  section: ElfSection,
  content: Uint8Array,
  { type: variable, offset, bytes }: BtfPlace,
  relocations: readonly ElfRelocation[],
  functionOf: NameOf,
): MapSpec {
  const name = btf.nameOf(variable);
  const id = btf.resolve(variableType(btf, variable));
  const type = btf.type(id);
  if (type.kind !== 'struct') throw new ElfError(`${section.name}: ${name} is no struct`);
  if (offset + bytes > content.length) throw new ElfError(`${section.name}: ${name} reaches beyond its section`);
  const functions = relocations
    .filter((one) => one.offset >= offset && one.offset < offset + bytes)
    .map((one) => ({ offset: one.offset - offset, name: functionOf(one.symbol, 0) }));
  return {
    name,
    type: 'struct_ops',
    keyBytes: 4,
    valueBytes: bytes,
    maxEntries: 1,
    flags: section.name.endsWith('.link') ? BPF_F_LINK : 0,
    key: null,
    value: typeOf(btf, id),
    keyTypeId: 0,
    valueTypeId: id,
    pinByName: false,
    extra: 0n,
    structOps: { type: type.name, data: content.slice(offset, offset + bytes), functions },
  };
}
