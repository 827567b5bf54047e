/**
 * Room `bpf`: values of the language as JavaScript's values: what a map's key or value, a global variable or an event of a ring
 * buffer is in user space. One codec is made for a type and then used for every value of it.
 *
 * A newcomer would get wrong: integers of 8 bytes are bigints when read, as in the language, but a number is taken for one where it
 * is safe. Padding is written as zeroes: the kernel compares keys by their bytes.
 */
import { bytesOf, type Field, type IntegerType, type StructType, type Type } from '../types.ts';

/** How values of one kind lie in memory. */
export interface Codec<T> {
  readonly bytes: number;
  /** The value at `at`. */
  read(view: DataView, at: number): T;
  /** Writes all of `bytes` at `at`. @throws TypeError or RangeError for what the type cannot hold */
  write(view: DataView, at: number, value: T): void;
}

/** Bytes as they are; a read gives a copy. */
export function bytesCodec(bytes: number, what = 'value'): Codec<Uint8Array> {
  return {
    bytes,
    read: (view, at) => new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset + at, bytes).slice(),
    write(view, at, value) {
      if (value.length !== bytes) {
        throw new RangeError(`the ${what} has ${value.length} bytes, the map's have ${bytes}`);
      }
      new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset + at, bytes).set(value);
    },
  };
}

function asInteger(value: unknown, type: IntegerType): bigint {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value);
  if (typeof value === 'boolean') return value ? 1n : 0n;
  throw new TypeError(`${describe(value)} is no ${type.name}: an integer is needed`);
}

function describe(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

function checkRange(value: bigint, type: IntegerType): bigint {
  const bits = BigInt(type.bytes * 8);
  const lowest = type.signed ? -(1n << (bits - 1n)) : 0n;
  const highest = type.signed ? (1n << (bits - 1n)) - 1n : (1n << bits) - 1n;
  if (value >= lowest && value <= highest) return value;
  throw new RangeError(`${value} does not fit ${type.name}: ${lowest} to ${highest} are allowed`);
}

function readInteger(view: DataView, at: number, type: IntegerType): number | bigint {
  const little = type.order === 'host';
  switch (type.bytes) {
    case 1:
      return type.signed ? view.getInt8(at) : view.getUint8(at);
    case 2:
      return type.signed ? view.getInt16(at, little) : view.getUint16(at, little);
    case 4:
      return type.signed ? view.getInt32(at, little) : view.getUint32(at, little);
    case 8:
      return type.signed ? view.getBigInt64(at, little) : view.getBigUint64(at, little);
  }
}

function writeInteger(view: DataView, at: number, type: IntegerType, value: unknown): void {
  const little = type.order === 'host';
  if (type.bytes === 8) {
    view.setBigUint64(at, BigInt.asUintN(64, checkRange(asInteger(value, type), type)), little);
    return;
  }
  // A 32-bit integer needs no bigint; only what is out of range or not an integer takes the long way, to its error.
  const limit = 2 ** (type.bytes * 8);
  const [lowest, highest] = type.signed ? [-limit / 2, limit / 2 - 1] : [0, limit - 1];
  const fits = typeof value === 'number' && Number.isInteger(value) && value >= lowest && value <= highest;
  const number = fits ? value : Number(checkRange(asInteger(value, type), type));
  if (type.bytes === 1) view.setInt8(at, number);
  else if (type.bytes === 2) view.setInt16(at, number, little);
  else view.setInt32(at, number, little);
}

function integerCodec(type: IntegerType): Codec<unknown> {
  return {
    bytes: type.bytes,
    read: (view, at) => readInteger(view, at, type),
    write: (view, at, value) => writeInteger(view, at, type, value),
  };
}

const booleanCodec: Codec<unknown> = {
  bytes: 1,
  read: (view, at) => view.getUint8(at) !== 0,
  write(view, at, value) {
    if (typeof value !== 'boolean' && value !== 0 && value !== 1) {
      throw new TypeError(`${describe(value)} is no boolean`);
    }
    view.setUint8(at, value ? 1 : 0);
  },
};

const pointerCodec: Codec<unknown> = {
  bytes: 8,
  read: (view, at) => view.getBigUint64(at, true),
  write(view, at, value) {
    const address = value === null ? 0n : value;
    if (typeof address !== 'bigint')
      throw new TypeError(`${describe(value)} is no pointer: a bigint is needed, or null`);
    view.setBigUint64(at, BigInt.asUintN(64, address), true);
  },
};

const voidCodec: Codec<unknown> = { bytes: 0, read: () => undefined, write: () => undefined };

function arrayCodec(element: Type, length: number): Codec<unknown> {
  const inner = codecOf(element);
  const bytes = inner.bytes * length;
  const write = (view: DataView, at: number, value: unknown): void => {
    const given = value as ArrayLike<unknown> | null | undefined;
    if (given?.length !== length || typeof value === 'string') {
      throw new TypeError(`an array of ${length} elements is needed, ${describe(given?.length ?? value)} given`);
    }
    for (let index = 0; index < length; index++) inner.write(view, at + index * inner.bytes, given[index]);
  };
  // Bytes (addresses, names) are read far more often as bytes than as numbers.
  if (element.kind === 'integer' && element.bytes === 1 && !element.signed) {
    return { bytes, read: bytesCodec(bytes).read, write };
  }
  const read = (view: DataView, at: number): unknown[] =>
    Array.from({ length }, (_, index) => inner.read(view, at + index * inner.bytes));
  return { bytes, read, write };
}

function bitFieldCodec({ name, type, bits }: Field & Required<Pick<Field, 'bits'>>): Codec<unknown> {
  if (type.kind !== 'integer') throw new TypeError(`${name}: a bit field of type ${type.kind}`);
  const unit: IntegerType = { ...type, signed: false };
  const count = BigInt(bits.count);
  const shift = BigInt(bits.shift);
  const mask = ((1n << count) - 1n) << shift;
  return {
    bytes: type.bytes,
    read(view, at) {
      const found = (BigInt(readInteger(view, at, unit)) & mask) >> shift;
      const value = type.signed ? BigInt.asIntN(bits.count, found) : found;
      return type.bytes === 8 ? value : Number(value);
    },
    write(view, at, value) {
      const given = asInteger(value, type);
      if (given !== (type.signed ? BigInt.asIntN(bits.count, given) : BigInt.asUintN(bits.count, given))) {
        throw new RangeError(`${given} does not fit ${bits.count} bits`);
      }
      const others = BigInt(readInteger(view, at, unit)) & ~mask;
      writeInteger(view, at, unit, others | ((given << shift) & mask));
    },
  };
}

/** Structs in a map's value whose bytes are the kernel's (btf_parse_fields, kernel/bpf/btf.c). */
const KERNEL_OWNED: ReadonlySet<string> = new Set(['bpf_spin_lock', 'bpf_timer', 'bpf_wq']);

function structCodec(struct: StructType): Codec<unknown> {
  const parts = struct.fields.map((field) => ({
    name: field.name,
    offset: field.offset,
    codec: field.bits === undefined ? codecOf(field.type) : bitFieldCodec({ ...field, bits: field.bits }),
  }));
  const isPartial = struct.union || KERNEL_OWNED.has(struct.name);
  return {
    bytes: struct.bytes,
    read(view, at) {
      const found: Record<string, unknown> = {};
      for (const { name, offset, codec } of parts) found[name] = codec.read(view, at + offset);
      return found;
    },
    write(view, at, value) {
      if (typeof value !== 'object' || value === null) {
        throw new TypeError(`${describe(value)} is no ${struct.name}: an object with its fields is needed`);
      }
      const given = value as Readonly<Record<string, unknown>>;
      new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset + at, struct.bytes).fill(0);
      for (const { name, offset, codec } of parts) {
        // Of a union's members, which lie over each other, those that are given count.
        if (given[name] === undefined && isPartial) continue;
        writePart(codec, view, at + offset, given[name], `${struct.name}.${name}`);
      }
    },
  };
}

function writePart(codec: Codec<unknown>, view: DataView, at: number, value: unknown, path: string): void {
  try {
    codec.write(view, at, value);
  } catch (error) {
    if (error instanceof RangeError) throw new RangeError(`${path}: ${error.message}`);
    if (error instanceof TypeError) throw new TypeError(`${path}: ${error.message}`);
    throw error;
  }
}

const known = new WeakMap<Type, Codec<unknown>>();

/**
 * The codec of a type: numbers for integers up to 4 bytes, bigints for 8, objects for structs, Uint8Array for arrays of u8, arrays for
 * others, bigints for pointers. Network order is the memory's business: values are in host order.
 */
export function codecOf(type: Type): Codec<unknown> {
  let codec = known.get(type);
  if (codec === undefined) {
    codec = makeCodec(type);
    known.set(type, codec);
  }
  return codec;
}

function makeCodec(type: Type): Codec<unknown> {
  switch (type.kind) {
    case 'integer':
      return integerCodec(type);
    case 'boolean':
      return booleanCodec;
    case 'void':
      return voidCodec;
    case 'pointer':
      return pointerCodec;
    case 'array':
      return arrayCodec(type.element, type.length);
    case 'struct':
      return structCodec(type);
  }
}

/**
 * The codec of a type that shall take `bytes`; bytes as they are where the type is not known or does not agree (an object without
 * BTF says sizes only).
 */
export function codecFor(type: Type | null, bytes: number, what: string): Codec<unknown> {
  if (type === null || bytesOf(type) !== bytes) return bytesCodec(bytes, what) as Codec<unknown>;
  return codecOf(type);
}

/** What has a descriptor that maps and links take: a program, a map, a link. */
export interface Holder {
  readonly descriptor: number;
}

/**
 * Values of maps that hold kernel objects: a handle or a descriptor when written. What is read is no descriptor: the kernel gives
 * the id of a program or map, or the cookie of a socket, as a number.
 */
export function holderCodec(bytes: number): Codec<unknown> {
  return {
    bytes,
    read: (view, at) => (bytes === 8 ? Number(view.getBigUint64(at, true)) : view.getUint32(at, true)),
    write(view, at, value) {
      const descriptor = typeof value === 'number' ? value : (value as Holder | null)?.descriptor;
      if (typeof descriptor !== 'number')
        throw new TypeError(`${describe(value)} is neither a handle nor a descriptor`);
      if (bytes === 8) view.setBigUint64(at, BigInt(descriptor), true);
      else view.setInt32(at, descriptor, true);
    },
  };
}

/** Values of per-CPU maps: one for each CPU that the machine may have, each in a multiple of 8 bytes (bpf(2)). */
export function perCpuCodec<T>(inner: Codec<T>, cpus: number): Codec<T[]> {
  const step = Math.ceil(inner.bytes / 8) * 8;
  return {
    bytes: step * cpus,
    read: (view, at) => Array.from({ length: cpus }, (_, cpu) => inner.read(view, at + cpu * step)),
    write(view, at, values) {
      if (values.length !== cpus) throw new RangeError(`${values.length} values are given for ${cpus} possible CPUs`);
      for (const [cpu, value] of values.entries()) inner.write(view, at + cpu * step, value);
    },
  };
}
