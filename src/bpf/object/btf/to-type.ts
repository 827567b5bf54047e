/**
 * Room `bpf`: BTF back to types of the language: for decoding the maps of objects that clang made, and for declarations of kernel types.
 *
 * A newcomer would get wrong: what the language has no word for becomes the nearest bytes: an enum its integer, a float or a 128-bit
 * integer an array. Members of anonymous structs and unions are taken as the outer struct's own, as C lets one write them.
 */
import {
  BE16,
  BE32,
  BE64,
  BOOLEAN,
  type Field,
  I8,
  I16,
  I32,
  I64,
  type IntegerType,
  type StructType,
  type Type,
  U8,
  U16,
  U32,
  U64,
  VOID,
} from '../../types.ts';
import { type BtfComposite, BtfError, type BtfMember } from './records.ts';
import type { Btf } from './table.ts';

/** How deep structs and arrays may lie in each other before they are called a circle. */
const DEPTH_MAX = 64;
/** How many fields a struct may have with those of its anonymous members; more than BTF's members, fewer than a made-up table's. */
const FIELDS_MAX = 1 << 17;

const integers: Readonly<Record<number, readonly [IntegerType, IntegerType]>> = {
  1: [U8, I8],
  2: [U16, I16],
  4: [U32, I32],
  8: [U64, I64],
};

/** Typedefs of the kernel that say in which order an integer's bytes lie. */
const bigEndian: Readonly<Record<string, IntegerType>> = { __be16: BE16, __be32: BE32, __be64: BE64 };

const cache = new WeakMap<Btf, Map<number, Type>>();

/** The type of this id. A table gives the same object each time. @throws BtfError for a function, or structs that hold themselves */
export function typeOf(btf: Btf, id: number): Type {
  let known = cache.get(btf);
  if (known === undefined) {
    known = new Map();
    cache.set(btf, known);
  }
  return new Reader(btf, known).type(id, 0);
}

function largestAlignment(bytes: number, fields: readonly Field[]): number {
  let alignment = 1;
  for (const { type, offset } of fields) {
    const own = alignmentIn(type);
    // A field that does not lie on its own alignment is in a packed struct.
    if (offset % own === 0 && bytes % own === 0) alignment = Math.max(alignment, own);
  }
  return alignment;
}

function alignmentIn(type: Type): number {
  switch (type.kind) {
    case 'integer':
      return type.bytes;
    case 'pointer':
      return 8;
    case 'array':
      return alignmentIn(type.element);
    case 'struct':
      return type.alignment;
    default:
      return 1;
  }
}

class Reader {
  readonly #btf: Btf;
  readonly #known: Map<number, Type>;

  constructor(btf: Btf, known: Map<number, Type>) {
    this.#btf = btf;
    this.#known = known;
  }

  type(id: number, depth: number): Type {
    const known = this.#known.get(id);
    if (known !== undefined) return known;
    if (depth > DEPTH_MAX) throw new BtfError(`BTF type ${id} lies more than ${DEPTH_MAX} deep, or in a circle`);
    const type = this.#read(id, depth);
    this.#known.set(id, type);
    return type;
  }

  #read(id: number, depth: number): Type {
    const type = this.#btf.type(id);
    switch (type.kind) {
      case 'void':
      case 'fwd':
      case 'func':
      case 'funcProto':
        return VOID;
      case 'int':
        // C's char is a byte of text wherever it occurs.
        if (type.boolean && type.bytes === 1) return BOOLEAN;
        return this.#integer(type.bytes, type.signed && type.name !== 'char');
      case 'enum':
      case 'enum64':
        return this.#integer(type.bytes, type.signed);
      case 'float':
        return { kind: 'array', element: U8, length: type.bytes };
      case 'ptr':
        return { kind: 'pointer', target: () => this.type(type.type, 0) };
      case 'array':
        return { kind: 'array', element: this.type(type.element, depth + 1), length: type.length };
      case 'struct':
      case 'union':
        return this.#struct(type, depth);
      case 'typedef':
        return bigEndian[type.name] ?? this.#typedef(type.name, type.type, depth);
      case 'const':
      case 'volatile':
      case 'restrict':
      case 'typeTag':
      case 'var':
        return this.type(type.type, depth + 1);
      default:
        throw new BtfError(`BTF type ${id} (${type.kind} ${type.name}) is no type of a value`);
    }
  }

  /** A typedef gives its name to an anonymous struct. */
  #typedef(name: string, id: number, depth: number): Type {
    const type = this.type(id, depth + 1);
    return type.kind === 'struct' && type.name === '' ? { ...type, name } : type;
  }

  #integer(bytes: number, signed: boolean): Type {
    const found = integers[bytes]?.[signed ? 1 : 0];
    return found ?? { kind: 'array', element: U8, length: bytes };
  }

  #struct({ kind, name, bytes, members }: BtfComposite, depth: number): StructType {
    const fields: Field[] = [];
    for (const member of members) {
      for (const field of this.#fields(member, depth)) fields.push(field);
      if (fields.length > FIELDS_MAX) throw new BtfError(`${kind} ${name} has more than ${FIELDS_MAX} fields`);
    }
    const alignment = largestAlignment(bytes, fields);
    return { kind: 'struct', name, fields, bytes, alignment, union: kind === 'union', relocatable: false };
  }

  #fields({ name, type: id, offsetBits, bits }: BtfMember, depth: number): Field[] {
    const type = this.type(id, depth + 1);
    const offset = Math.floor(offsetBits / 8);
    if (name === '' && type.kind === 'struct') {
      return type.fields.map((field) => ({ ...field, offset: field.offset + offset }));
    }
    // A bit field without a name is padding.
    if (name === '') return [];
    if (bits === 0) return [{ name, type, offset }];
    const unit = type.kind === 'boolean' ? 1 : type.kind === 'integer' ? type.bytes : 0;
    if (unit === 0) return [];
    // Within a unit of its own type, as C lays it out; from its first byte on where the struct is packed.
    const aligned = Math.floor(offset / unit) * unit;
    const start = offsetBits - aligned * 8 + bits <= unit * 8 ? aligned : offset;
    return [{ name, type, offset: start, bits: { shift: offsetBits - start * 8, count: bits } }];
  }
}
