/**
 * Room `bpf`: the types that programs, maps and user space share: their sizes, offsets and byte order, laid out as C does on x86-64
 * and arm64. The compiler gives them to values, `object/` writes them as BTF, the loader decodes map values by them.
 *
 * A newcomer would get wrong: `order: 'big'` is a property of how an integer lies in memory. A load of it swaps and a store swaps
 * back, so that a value in a register, a key or a comparison is always in the host's order.
 */

/** An integer of 1, 2, 4 or 8 bytes. In TypeScript one of 8 bytes is a bigint, the others are numbers. */
export interface IntegerType {
  readonly kind: 'integer';
  /** As in the language: u8, i64, be16. */
  readonly name: string;
  readonly bytes: 1 | 2 | 4 | 8;
  readonly signed: boolean;
  readonly order: 'host' | 'big';
}

/** One byte, 0 or 1. */
export interface BooleanType {
  readonly kind: 'boolean';
}

/** What a function without a value gives. */
export interface VoidType {
  readonly kind: 'void';
}

/** A part of a struct. `offset` in bytes from its beginning. */
export interface Field {
  readonly name: string;
  readonly type: Type;
  readonly offset: number;
  /** For a bit field: its first bit within the integer at `offset` (from the least significant) and how many there are. */
  readonly bits?: { readonly shift: number; readonly count: number };
}

/** A struct or union. */
export interface StructType {
  readonly kind: 'struct';
  /** The name in BTF; kernel structs are found by it. */
  readonly name: string;
  readonly fields: readonly Field[];
  readonly bytes: number;
  readonly alignment: number;
  readonly union: boolean;
  /** A struct of the kernel's: its offsets are those of the running kernel, found at load time (CO-RE), not those written here. */
  readonly relocatable: boolean;
}

/** `length` elements of one type, side by side. */
export interface ArrayType {
  readonly kind: 'array';
  readonly element: Type;
  readonly length: number;
}

/** A pointer that lies in memory (8 bytes), as in kernel structs. `target` is called for when needed: types may be recursive. */
export interface PointerType {
  readonly kind: 'pointer';
  readonly target: () => Type;
}

/** A type of the language. */
export type Type = IntegerType | BooleanType | VoidType | StructType | ArrayType | PointerType;

function integer(name: string, bytes: 1 | 2 | 4 | 8, signed: boolean, order: 'host' | 'big' = 'host'): IntegerType {
  return { kind: 'integer', name, bytes, signed, order };
}

export const U8 = integer('u8', 1, false);
export const U16 = integer('u16', 2, false);
export const U32 = integer('u32', 4, false);
export const U64 = integer('u64', 8, false);
export const I8 = integer('i8', 1, true);
export const I16 = integer('i16', 2, true);
export const I32 = integer('i32', 4, true);
export const I64 = integer('i64', 8, true);
/** Unsigned integers in network byte order. */
export const BE16 = integer('be16', 2, false, 'big');
export const BE32 = integer('be32', 4, false, 'big');
export const BE64 = integer('be64', 8, false, 'big');
export const BOOLEAN: BooleanType = { kind: 'boolean' };
export const VOID: VoidType = { kind: 'void' };

/** Bytes that a value of this type takes in memory. */
export function bytesOf(type: Type): number {
  switch (type.kind) {
    case 'integer':
    case 'struct':
      return type.bytes;
    case 'boolean':
      return 1;
    case 'void':
      return 0;
    case 'array':
      return bytesOf(type.element) * type.length;
    case 'pointer':
      return 8;
  }
}

/** The alignment that C gives a value of this type, in bytes. */
export function alignmentOf(type: Type): number {
  switch (type.kind) {
    case 'struct':
      return type.alignment;
    case 'array':
      return alignmentOf(type.element);
    case 'void':
      return 1;
    default:
      return bytesOf(type);
  }
}

/** Options of {@link layOut}. `packed`: no padding, as headers on the wire. */
export interface LayoutOptions {
  readonly packed?: boolean;
  readonly union?: boolean;
  readonly relocatable?: boolean;
}

/** A field without its place. A bit field of `bits` bits goes on where the one before it ended, as with C's compilers. */
export interface FieldSpec {
  readonly name: string;
  readonly type: Type;
  readonly bits?: number;
}

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;

/** Gives a struct's fields their offsets by C's rules. @throws RangeError for a bit field that is wider than its type */
export function layOut(name: string, specs: readonly FieldSpec[], options: LayoutOptions = {}): StructType {
  const { packed = false, union = false, relocatable = false } = options;
  const fields: Field[] = [];
  let endBits = 0;
  let alignment = 1;
  let largest = 0;
  for (const { name: fieldName, type, bits } of specs) {
    const size = bytesOf(type);
    const align = packed ? 1 : alignmentOf(type);
    alignment = Math.max(alignment, align);
    if (union) endBits = 0;
    if (bits === undefined) {
      const offset = roundUp(Math.ceil(endBits / 8), align);
      fields.push({ name: fieldName, type, offset });
      endBits = (offset + size) * 8;
    } else {
      if (bits < 1 || bits > size * 8) throw new RangeError(`${name}.${fieldName}: ${bits} bits in ${size} bytes`);
      // A bit field never crosses the boundary of a unit of its type.
      if (Math.floor(endBits / (size * 8)) !== Math.floor((endBits + bits - 1) / (size * 8))) {
        endBits = roundUp(endBits, size * 8);
      }
      const offset = Math.floor(endBits / (size * 8)) * size;
      fields.push({ name: fieldName, type, offset, bits: { shift: endBits - offset * 8, count: bits } });
      endBits += bits;
    }
    largest = Math.max(largest, endBits);
  }
  const bytes = roundUp(Math.ceil(largest / 8), alignment);
  return { kind: 'struct', name, fields, bytes, alignment, union, relocatable };
}

/** The field of this name, or null. */
export function fieldOf(struct: StructType, name: string): Field | null {
  return struct.fields.find((field) => field.name === name) ?? null;
}
