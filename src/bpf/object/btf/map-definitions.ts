/**
 * Room `bpf`: maps as BTF defines them (`SEC(".maps")` of C): a variable whose type is a struct with a member for each property.
 * libbpf documents the encoding in its bpf_helpers.h: `__uint(name, X)` is a pointer to an array of X ints, `__type(name, T)` a
 * pointer to T, `__array(values, T)` an array of T without a length.
 *
 * A newcomer would get wrong: nothing of such a variable's memory is ever read but the addresses in `values`. All numbers are types.
 */
import { BPF_F_LINK } from '../../../kernel/bpf-attributes.ts';
import { MAP_TYPES } from '../../../kernel/bpf-names.ts';
import { bytesOf, type StructType, type Type, VOID } from '../../types.ts';
import type { MapSpec } from '../spec.ts';
import type { BtfBuilder } from './builder.ts';
import type { BtfMember } from './records.ts';

/** LIBBPF_PIN_BY_NAME of libbpf's enum libbpf_pin_type. */
export const PIN_BY_NAME = 1;
const POINTER_BYTES = 8;

/** Where a map's definition stands in the section `.maps`. */
export interface MapPlace {
  readonly offset: number;
  readonly bytes: number;
  /** Where its first `values` entry is, from the map's own beginning; null for maps without. */
  readonly values: number | null;
}

/** The order and room of maps in `.maps`: each takes a pointer for each property and for each of its values. */
export function placeMaps(maps: readonly MapSpec[]): MapPlace[] {
  let offset = 0;
  return maps.map((map) => {
    const properties = propertiesOf(map).length;
    const values = hasValues(map) ? properties * POINTER_BYTES : null;
    const bytes = (properties + (map.values?.length ?? 0)) * POINTER_BYTES;
    const place = { offset, bytes, values };
    offset += bytes;
    return place;
  });
}

type Property = { readonly name: string } & ({ readonly number: number } | { readonly type: Type });

function hasValues(map: MapSpec): boolean {
  return map.inner !== undefined || map.values !== undefined;
}

/**
 * The types that the kernel's key and value have. A ring buffer has no value, and what the source says its records are is for decoding
 * them; a type would be taken for the size.
 */
function typesOf({ key, value, keyBytes, valueBytes, ...map }: MapSpec): Pick<MapSpec, 'key' | 'value'> {
  const holdsDescriptors = map.inner !== undefined || map.values !== undefined;
  return {
    key: key !== null && bytesOf(key) === keyBytes ? key : null,
    value: value !== null && !holdsDescriptors && bytesOf(value) === valueBytes ? value : null,
  };
}

/** What stands in the struct before `values`. */
function propertiesOf(map: MapSpec): Property[] {
  const properties: Property[] = [{ name: 'type', number: typeNumber(map) }];
  const { key, value } = typesOf(map);
  if (key !== null) properties.push({ name: 'key', type: key });
  else if (map.keyBytes > 0) properties.push({ name: 'key_size', number: map.keyBytes });
  if (value !== null) properties.push({ name: 'value', type: value });
  else if (map.valueBytes > 0) properties.push({ name: 'value_size', number: map.valueBytes });
  const numbers: readonly (readonly [string, number])[] = [
    ['max_entries', map.maxEntries],
    ['map_flags', map.flags],
    ['map_extra', Number(map.extra)],
    ['pinning', map.pinByName ? PIN_BY_NAME : 0],
  ];
  for (const [name, number] of numbers) if (number !== 0) properties.push({ name, number });
  if (map.numaNode !== undefined) properties.push({ name: 'numa_node', number: map.numaNode });
  return properties;
}

function typeNumber(map: MapSpec): number {
  const number = (MAP_TYPES as Readonly<Record<string, number>>)[map.type];
  if (number === undefined) throw new RangeError(`map ${map.name}: there is no map type ${map.type}`);
  return number;
}

/** A pointer to an array of `value` ints. One of 64 bits (an arena's address) is the only value of an enum, as `__ulong` writes it. */
function addNumber(builder: BtfBuilder, value: number): number {
  if (value <= 0xffffffff) {
    const int = builder.addRecord({
      kind: 'int',
      name: 'int',
      bytes: 4,
      bits: 32,
      offsetBits: 0,
      signed: true,
      character: false,
      boolean: false,
    });
    return builder.addPointer(builder.addArray(int, value));
  }
  const values = [{ name: `__unique_value_${value}`, value: BigInt(value) }];
  return builder.addPointer(builder.addRecord({ kind: 'enum64', name: '', bytes: 8, signed: false, values }));
}

/** The struct that defines a map, and the map with the ids of its key and value. */
export function addMapDefinition(builder: BtfBuilder, map: MapSpec): { readonly map: MapSpec; readonly type: number } {
  const properties = propertiesOf(map);
  const members: BtfMember[] = properties.map((property, index) => ({
    name: property.name,
    type:
      'number' in property ? addNumber(builder, property.number) : builder.addPointer(builder.addType(property.type)),
    offsetBits: index * POINTER_BYTES * 8,
    bits: 0,
  }));
  const bytes = members.length * POINTER_BYTES;
  let inner: MapSpec | undefined;
  if (hasValues(map)) {
    const of = map.inner === undefined ? null : addMapDefinition(builder, map.inner);
    inner = of?.map;
    // What a prog array holds are functions; libbpf asks for a prototype, whichever.
    const element = builder.addPointer(of === null ? builder.addPrototype([], VOID) : of.type);
    members.push({ name: 'values', type: builder.addArray(element, 0), offsetBits: bytes * 8, bits: 0 });
  }
  const type = builder.addMembers('', members, bytes);
  const { key, value } = typesOf(map);
  const keyTypeId = key === null ? 0 : builder.addType(key);
  const valueTypeId = value === null ? 0 : builder.addType(value);
  return { map: { ...map, keyTypeId, valueTypeId, ...(inner === undefined ? {} : { inner }) }, type };
}

/** The name of the section that a struct_ops map goes to: those that are attached by a link are apart. */
export function structOpsSection(map: MapSpec): string {
  return (map.flags & BPF_F_LINK) === 0 ? '.struct_ops' : '.struct_ops.link';
}

/**
 * The struct of a struct_ops map. libbpf takes a member for a function only where it points to a prototype, so that members which
 * programs fill point to one here, whatever the source wrote.
 */
export function addStructOps(builder: BtfBuilder, map: MapSpec, type: StructType): number {
  const functions = new Set(map.structOps?.functions.map((one) => one.offset));
  const pointer = builder.addPointer(builder.addPrototype([], VOID));
  const members = type.fields.map((field) => ({
    name: field.name,
    type: functions.has(field.offset) ? pointer : builder.addType(field.type),
    offsetBits: field.offset * 8 + (field.bits?.shift ?? 0),
    bits: field.bits?.count ?? 0,
  }));
  return builder.addMembers(map.structOps?.type ?? type.name, members, type.bytes);
}
