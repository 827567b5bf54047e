/**
 * Room `bpf`: writes BTF records one by one, each under the next id. What a type of the language becomes is said in `builder.ts`.
 *
 * A newcomer would get wrong: a record may name ids that do not exist yet, which is how recursive structs are written: `reserve`
 * first, `put` later. Everything has been put when `finish` is called.
 */
import {
  BTF_HEADER,
  BTF_INT_BOOL,
  BTF_INT_CHAR,
  BTF_INT_SIGNED,
  BTF_MAGIC,
  BTF_MAX_NAME_OFFSET,
  BTF_MAX_TYPE,
  BTF_MAX_VLEN,
  BTF_VERSION,
} from '../../../kernel/btf-abi.ts';
import { BtfError, type BtfType, KINDS } from './records.ts';
import { StringTable } from './strings.ts';
import { Btf } from './table.ts';

/** Header, records and strings as one run of bytes. */
export function joinSections(words: Uint32Array, strings: Uint8Array): Uint8Array {
  const typeBytes = words.length * 4;
  const bytes = new Uint8Array(BTF_HEADER.size + typeBytes + strings.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(BTF_HEADER.magic, BTF_MAGIC, true);
  view.setUint8(BTF_HEADER.version, BTF_VERSION);
  view.setUint32(BTF_HEADER.hdr_len, BTF_HEADER.size, true);
  view.setUint32(BTF_HEADER.type_len, typeBytes, true);
  view.setUint32(BTF_HEADER.str_off, typeBytes, true);
  view.setUint32(BTF_HEADER.str_len, strings.length, true);
  bytes.set(new Uint8Array(words.buffer, words.byteOffset, typeBytes), BTF_HEADER.size);
  bytes.set(strings, BTF_HEADER.size + typeBytes);
  return bytes;
}

/** The words of a record behind its name: whether its flag is set, its count, its third word, and what follows. */
interface Shape {
  readonly flag?: boolean;
  readonly count?: number;
  readonly third?: number;
  readonly rest?: readonly number[];
}

/** Collects records and strings. */
export class RecordWriter {
  readonly #records: (readonly number[] | null)[] = [];
  readonly #strings: StringTable;
  readonly #firstId: number;

  /** Goes on from `base` (which is copied) or begins a new table. */
  constructor(base: Btf | null = null) {
    this.#firstId = base === null ? 1 : base.endId;
    this.#strings = new StringTable(base?.strings);
    this.#base = base;
  }

  readonly #base: Btf | null;

  /** Where a string stands in the table; added where it is new. */
  string(text: string): number {
    const offset = this.#strings.add(text);
    if (offset > BTF_MAX_NAME_OFFSET) throw new BtfError('BTF strings of more than 16 MB');
    return offset;
  }

  /** The next id, whose record comes later. */
  reserve(): number {
    const id = this.#firstId + this.#records.length;
    if (id > BTF_MAX_TYPE) throw new BtfError(`more than ${BTF_MAX_TYPE} BTF types`);
    this.#records.push(null);
    return id;
  }

  /** Writes a record under the next id. */
  add(type: BtfType): number {
    const id = this.reserve();
    this.put(id, type);
    return id;
  }

  /** Writes the record of a reserved id. */
  put(id: number, type: BtfType): void {
    const { flag = false, count = 0, third = 0, rest = [] } = this.#shapeOf(type);
    if (count > BTF_MAX_VLEN) throw new BtfError(`${type.kind} ${type.name} has more than ${BTF_MAX_VLEN} members`);
    const info = ((flag ? 1 << 31 : 0) | (KINDS.indexOf(type.kind) << 24) | count) >>> 0;
    this.#records[id - this.#firstId] = [this.string(type.name), info, third, ...rest];
  }

  #shapeOf(type: BtfType): Shape {
    switch (type.kind) {
      case 'void':
        throw new BtfError('void has no record');
      case 'int': {
        const encoding =
          (type.signed ? BTF_INT_SIGNED : 0) | (type.character ? BTF_INT_CHAR : 0) | (type.boolean ? BTF_INT_BOOL : 0);
        return { third: type.bytes, rest: [(encoding << 24) | (type.offsetBits << 16) | type.bits] };
      }
      case 'array':
        return { rest: [type.element, type.index, type.length] };
      case 'struct':
      case 'union':
        return this.#shapeOfComposite(type);
      case 'enum':
      case 'enum64':
        return this.#shapeOfEnum(type);
      case 'fwd':
        return { flag: type.union };
      case 'func':
        return { count: type.linkage, third: type.type };
      case 'funcProto': {
        const rest = type.parameters.flatMap((one) => [this.string(one.name), one.type]);
        return { count: type.parameters.length, third: type.result, rest };
      }
      case 'var':
        return { third: type.type, rest: [type.linkage] };
      case 'datasec': {
        const rest = type.places.flatMap((place) => [place.type, place.offset, place.bytes]);
        return { count: type.places.length, third: type.bytes, rest };
      }
      case 'float':
        return { third: type.bytes };
      case 'declTag':
        return { third: type.type, rest: [type.component] };
      default:
        return { third: type.type };
    }
  }

  #shapeOfComposite(type: Extract<BtfType, { kind: 'struct' | 'union' }>): Shape {
    const flag = type.members.some((member) => member.bits !== 0);
    const rest = type.members.flatMap(({ name, type: member, offsetBits, bits }) => {
      if (flag && offsetBits > 0xffffff) {
        throw new BtfError(
          `${type.kind} ${type.name} has bit fields and is too large for them: ${name} at bit ${offsetBits}`,
        );
      }
      return [this.string(name), member, flag ? (bits << 24) | offsetBits : offsetBits];
    });
    return { flag, count: type.members.length, third: type.bytes, rest };
  }

  #shapeOfEnum(type: Extract<BtfType, { kind: 'enum' | 'enum64' }>): Shape {
    const rest = type.values.flatMap(({ name, value }) => {
      const low = Number(BigInt.asUintN(32, value));
      return [this.string(name), low, ...(type.kind === 'enum' ? [] : [Number(BigInt.asUintN(32, value >> 32n))])];
    });
    return { flag: type.signed, count: type.values.length, third: type.bytes, rest };
  }

  /** The table: the base's records, if there is one, and these. */
  finish(): Btf {
    const before = this.#base?.words ?? new Uint32Array(0);
    const own = this.#records.flatMap((record, index) => {
      if (record === null) throw new BtfError(`BTF type ${this.#firstId + index} was reserved and not written`);
      return record;
    });
    const words = new Uint32Array(before.length + own.length);
    words.set(before);
    words.set(own, before.length);
    return Btf.decode(joinSections(words, this.#strings.bytes()));
  }
}
