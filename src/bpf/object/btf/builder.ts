/**
 * Room `bpf`: writes the types of the language as BTF, under the names that clang gives them, so that the kernel, bpftool and libbpf
 * read them as they read C's.
 *
 * A newcomer would get wrong: two types that look the same get one id, also where the compiler made two objects of them. Structs are
 * compared by name and content, and pointers may make them recursive, so that the comparison has to remember what it assumes.
 */
import { BTF_FUNC_GLOBAL, BTF_FUNC_STATIC, BTF_VAR_GLOBAL_ALLOCATED } from '../../../kernel/btf-abi.ts';
import { bytesOf, type Field, type IntegerType, type StructType, type Type } from '../../types.ts';
import type { BtfMember, BtfPlace, BtfType } from './records.ts';
import { RecordWriter } from './records-writer.ts';
import type { Btf } from './table.ts';

/** clang's names of host-order integers, unsigned and signed, by bytes. */
const integerNames: Readonly<Record<number, readonly [string, string]>> = {
  1: ['unsigned char', 'signed char'],
  2: ['unsigned short', 'short'],
  4: ['unsigned int', 'int'],
  8: ['unsigned long long', 'long long'],
};

/** A parameter of a function. */
export interface NamedType {
  readonly name: string;
  readonly type: Type;
}

/** A variable in a data section. */
export interface PlacedVariable extends NamedType {
  readonly offset: number;
}

/** A name as the kernel accepts it: letters of ASCII, digits and underscores, no digit in front (btf_name_valid_identifier). */
export function identifierOf(name: string): string {
  const cleaned = name.replace(/[^A-Za-z0-9_]/g, '_');
  return /^\d/.test(cleaned) || cleaned === '' ? `_${cleaned}` : cleaned;
}

/** Whether two types are the same to whoever reads them. `assumed` holds pairs of structs that are being compared. */
function isSame(left: Type, right: Type, assumed: readonly (readonly [Type, Type])[] = []): boolean {
  if (left === right) return true;
  if (left.kind === 'integer' && right.kind === 'integer') {
    return left.bytes === right.bytes && left.signed === right.signed && left.order === right.order;
  }
  if (left.kind === 'array' && right.kind === 'array') {
    return left.length === right.length && isSame(left.element, right.element, assumed);
  }
  if (left.kind === 'pointer' && right.kind === 'pointer') return isSame(left.target(), right.target(), assumed);
  if (left.kind !== 'struct' || right.kind !== 'struct') return left.kind === right.kind;
  if (assumed.some(([one, other]) => one === left && other === right)) return true;
  const pairs = [...assumed, [left, right] as const];
  return (
    left.name === right.name &&
    left.bytes === right.bytes &&
    left.union === right.union &&
    left.fields.length === right.fields.length &&
    left.fields.every((field, index) => isSameField(field, right.fields[index], pairs))
  );
}

function isSameField(left: Field, right: Field, assumed: readonly (readonly [Type, Type])[]): boolean {
  return (
    left.name === right.name &&
    left.offset === right.offset &&
    left.bits?.shift === right.bits?.shift &&
    left.bits?.count === right.bits?.count &&
    isSame(left.type, right.type, assumed)
  );
}

/** Collects types, functions and variables, and gives the table. Ids are those of the finished table. */
export class BtfBuilder {
  readonly #writer = new RecordWriter();
  /** Ids of records without members, by what they say. */
  readonly #plain = new Map<string, number>();
  readonly #structs = new Map<string, { readonly type: StructType; readonly id: number }[]>();
  readonly #prototypes = new Map<string, number>();

  /** Keeps a string for `.BTF.ext`, whose records name files and lines of source by it. */
  addString(text: string): number {
    return this.#writer.string(text);
  }

  /** Writes any record; equal ones without members (an int, a pointer, a forward declaration) get one id. */
  addRecord(record: BtfType): number {
    const key = JSON.stringify(record, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));
    const known = this.#plain.get(key);
    if (known !== undefined) return known;
    const id = this.#writer.add(record);
    this.#plain.set(key, id);
    return id;
  }

  /** The id of a type of the language, 0 for void. */
  addType(type: Type): number {
    switch (type.kind) {
      case 'void':
        return 0;
      case 'boolean':
        return this.#addInt('_Bool', 1, false, true);
      case 'integer':
        return this.#addInteger(type);
      case 'array':
        return this.addArray(this.addType(type.element), type.length);
      case 'pointer':
        return this.addPointer(this.addType(type.target()));
      case 'struct':
        return this.#addStruct(type);
    }
  }

  addPointer(target: number): number {
    return this.addRecord({ kind: 'ptr', name: '', type: target });
  }

  addArray(element: number, length: number): number {
    // clang gives every array this index type.
    const index = this.#addInt('__ARRAY_SIZE_TYPE__', 4, false, false);
    return this.addRecord({ kind: 'array', name: '', element, index, length });
  }

  #addInt(name: string, bytes: number, signed: boolean, boolean: boolean): number {
    return this.addRecord({
      kind: 'int',
      name,
      bytes,
      bits: bytes * 8,
      offsetBits: 0,
      signed,
      character: false,
      boolean,
    });
  }

  #addInteger({ bytes, signed, order }: IntegerType): number {
    const plain = this.#addInt(integerNames[bytes][signed ? 1 : 0], bytes, signed, false);
    // The kernel's own names; who reads the table back knows the byte order by them.
    return order === 'host' ? plain : this.addRecord({ kind: 'typedef', name: `__be${bytes * 8}`, type: plain });
  }

  #addStruct(type: StructType): number {
    const namesakes = this.#structs.get(type.name) ?? [];
    const known = namesakes.find((one) => isSame(one.type, type));
    if (known !== undefined) return known.id;
    const id = this.#writer.reserve();
    namesakes.push({ type, id });
    this.#structs.set(type.name, namesakes);
    const members: BtfMember[] = type.fields.map((field) => ({
      name: field.name === '' ? '' : identifierOf(field.name),
      type: this.addType(field.type),
      offsetBits: field.offset * 8 + (field.bits?.shift ?? 0),
      bits: field.bits?.count ?? 0,
    }));
    const name = type.name === '' ? '' : identifierOf(type.name);
    this.#writer.put(id, { kind: type.union ? 'union' : 'struct', name, bytes: type.bytes, members });
    return id;
  }

  /** A struct of members that are given by their ids, as maps are defined by; never joined with another. */
  addMembers(name: string, members: readonly BtfMember[], bytes: number): number {
    return this.#writer.add({ kind: 'struct', name, bytes, members });
  }

  /** The id of a prototype. A parameter without a name gets one, because the kernel wants one. */
  addPrototype(parameters: readonly NamedType[], result: Type): number {
    const list = parameters.map((one, index) => ({
      name: identifierOf(one.name === '' ? `argument${index + 1}` : one.name),
      type: this.addType(one.type),
    }));
    const resultId = this.addType(result);
    const key = JSON.stringify([resultId, list]);
    const known = this.#prototypes.get(key);
    if (known !== undefined) return known;
    const id = this.#writer.add({ kind: 'funcProto', name: '', result: resultId, parameters: list });
    this.#prototypes.set(key, id);
    return id;
  }

  /** A function's BTF_KIND_FUNC. `linkage` as in the kernel: 0 static, 1 global, 2 extern. */
  addFunction(
    name: string,
    parameters: readonly NamedType[],
    result: Type,
    linkage: 'static' | 'global' | number,
  ): number {
    const number = linkage === 'static' ? BTF_FUNC_STATIC : linkage === 'global' ? BTF_FUNC_GLOBAL : linkage;
    const type = this.addPrototype(parameters, result);
    return this.#writer.add({ kind: 'func', name: identifierOf(name), type, linkage: number });
  }

  /** A variable's BTF_KIND_VAR, by the id of its type. */
  addVariable(name: string, type: number, linkage: number = BTF_VAR_GLOBAL_ALLOCATED): number {
    return this.#writer.add({ kind: 'var', name: identifierOf(name), type, linkage });
  }

  /** A section of variables, in order of their offsets. The kernel takes none without a variable: 0 is given for it. */
  addDataSection(name: string, bytes: number, variables: readonly PlacedVariable[]): number {
    const places = variables.map((one) => ({
      type: this.addVariable(one.name, this.addType(one.type)),
      offset: one.offset,
      bytes: bytesOf(one.type),
    }));
    return this.addPlaces(name, bytes, places);
  }

  /** A section of what was added already. */
  addPlaces(name: string, bytes: number, places: readonly BtfPlace[]): number {
    if (places.length === 0) return 0;
    const sorted = [...places].sort((a, b) => a.offset - b.offset);
    return this.#writer.add({ kind: 'datasec', name, bytes, places: sorted });
  }

  /** The table. The builder may not be used afterwards. */
  finish(): Btf {
    return this.#writer.finish();
  }
}
