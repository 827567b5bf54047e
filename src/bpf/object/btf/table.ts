/**
 * Room `bpf`: a table of types in the BPF Type Format, as bytes that are read where they lie. The kernel's own has 5 MB and 150,000
 * types, of which a program needs a dozen: opening it makes one pass over the records to note where each begins, and no more.
 *
 * A newcomer would get wrong: `decode` checks that records end where the section ends, not what they say. A name or type out of range
 * is a BtfError of the call that meets it, and ids may form a circle: who follows them needs a bound (`resolve` has one).
 */
import { decodeRecord } from './decode-record.ts';
import { BtfError, type BtfKind, type BtfModifier, type BtfType, essentialName, KINDS } from './records.ts';
import { indexRecords, sectionsOf } from './sections.ts';
import { StringSearch } from './string-search.ts';

/** How many modifiers `resolve` follows before it calls them a circle. The kernel refuses chains longer than 32. */
const MODIFIERS_MAX = 32;
const VOID: BtfType = { kind: 'void', name: '' };

/** Whether a type only stands before another one. */
export function isModifier(type: BtfType): type is BtfModifier {
  switch (type.kind) {
    case 'typedef':
    case 'volatile':
    case 'const':
    case 'restrict':
    case 'typeTag':
      return true;
    default:
      return false;
  }
}

/** A table of types, whole or split: a split one adds types to those of `base` and counts on from them. */
export class Btf {
  readonly base: Btf | null;
  /** The id of this table's own first type. */
  readonly firstId: number;
  /** Ids are smaller than this. */
  readonly endId: number;
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #strings: Uint8Array;
  readonly #search: StringSearch;
  /** Offsets of names count on from the base's strings. */
  readonly #firstString: number;
  readonly #starts: Uint32Array;
  readonly #decoded = new Map<number, BtfType>();
  readonly #found = new Map<string, readonly number[]>();
  #flavoured: ReadonlyMap<string, readonly string[]> | null = null;
  #byNameOffset: { readonly heads: Int32Array; readonly next: Int32Array } | null = null;

  private constructor(bytes: Uint8Array, base: Btf | null) {
    const { words, strings } = sectionsOf(bytes);
    this.base = base;
    this.#bytes = bytes;
    this.#words = words;
    this.#strings = strings;
    this.#search = new StringSearch(strings);
    this.firstId = base === null ? 1 : base.endId;
    this.#firstString = base === null ? 0 : base.stringsEnd;
    this.#starts = indexRecords(words, this.firstId);
    this.endId = this.firstId + this.#starts.length;
  }

  /**
   * Opens a table. The bytes are kept, not copied, and must not change.
   * @throws BtfError for bytes that are not BTF, are cut off, or of an unknown kind
   */
  static decode(bytes: Uint8Array, base: Btf | null = null): Btf {
    return new Btf(bytes, base);
  }

  /** The bytes it was opened from: header, types and strings of this table, without its base's. */
  encode(): Uint8Array {
    return this.#bytes;
  }

  /** The first offset behind the strings of this table and its base. */
  get stringsEnd(): number {
    return this.#firstString + this.#strings.length;
  }

  /** The strings of this table alone, each ended by a zero. */
  get strings(): Uint8Array {
    return this.#strings;
  }

  /** The records of this table alone, as 32-bit words. */
  get words(): Uint32Array {
    return this.#words;
  }

  /** The text at an offset, as records and `.BTF.ext` name it. @throws BtfError where none begins there */
  string(offset: number): string {
    if (offset < this.#firstString && this.base !== null) return this.base.string(offset);
    const from = offset - this.#firstString;
    if (from === 0 && this.#strings.length === 0) return '';
    if (from < 0 || from >= this.#strings.length) throw new BtfError(`BTF has no string at ${offset}`);
    const to = this.#strings.indexOf(0, from);
    return Buffer.from(this.#strings.buffer, this.#strings.byteOffset + from, to - from).toString('utf8');
  }

  /** Where a string stands, or null. For a table of an object; in one of the kernel's size it is a search through megabytes. */
  stringOffset(text: string): number | null {
    if (text === '') return 0;
    for (const offset of this.#offsetsOf(text)) return offset;
    return this.base?.stringOffset(text) ?? null;
  }

  /** The type of this id. @throws BtfError for an id that the table does not have, or a record that makes no sense */
  type(id: number): BtfType {
    if (id === 0) return VOID;
    if (id < this.firstId && this.base !== null) return this.base.type(id);
    if (!(id >= this.firstId && id < this.endId)) throw new BtfError(`BTF has no type ${id}`);
    let type = this.#decoded.get(id);
    if (type === undefined) {
      type = decodeRecord(this.#words, this.#starts[id - this.firstId], id, (offset) => this.string(offset));
      this.#decoded.set(id, type);
    }
    return type;
  }

  /** The kind of this id, without decoding the rest. */
  kind(id: number): BtfKind {
    return KINDS[(this.#head(id, 1) >>> 24) & 0x1f];
  }

  /** The name of this id, without decoding the rest; empty for types without one. */
  nameOf(id: number): string {
    return this.string(this.#head(id, 0));
  }

  /** A word of a record's head, 0 for void. */
  #head(id: number, word: number): number {
    if (id === 0) return 0;
    if (id < this.firstId && this.base !== null) return this.base.#head(id, word);
    if (!(id >= this.firstId && id < this.endId)) throw new BtfError(`BTF has no type ${id}`);
    return this.#words[this.#starts[id - this.firstId] + word];
  }

  /** Where this record begins in {@link words}; for those who write into a copy. */
  wordOf(id: number): number {
    if (!(id >= this.firstId && id < this.endId)) throw new BtfError(`BTF has no type ${id} of its own`);
    return this.#starts[id - this.firstId];
  }

  /** Ids of all types of this name, of one kind where it is given; the base's come first. */
  byName(name: string, kind?: BtfKind): readonly number[] {
    let found = this.#found.get(name);
    if (found === undefined) {
      found = [...(this.base?.byName(name) ?? []), ...this.#idsOf(name)];
      this.#found.set(name, found);
    }
    return kind === undefined ? found : found.filter((id) => this.kind(id) === kind);
  }

  /**
   * Ids of all types whose name is this one, or this one and a flavour behind three underscores: task_struct and task_struct___old
   * (Documentation/bpf/libbpf, “CO-RE”).
   */
  byEssentialName(name: string): readonly number[] {
    return [name, ...(this.#flavours().get(name) ?? [])].flatMap((full) => this.byName(full));
  }

  /** Names with a flavour, by their essential part; found in one pass over the strings. */
  #flavours(): ReadonlyMap<string, readonly string[]> {
    if (this.#flavoured !== null) return this.#flavoured;
    const found = new Map<string, string[]>();
    const add = (full: string): void => {
      const essential = essentialName(full);
      const known = found.get(essential) ?? [];
      if (full !== essential && !known.includes(full)) found.set(essential, [...known, full]);
    };
    if (this.base !== null) for (const names of this.base.#flavours().values()) names.forEach(add);
    this.#search.containing('___').forEach(add);
    this.#flavoured = found;
    return found;
  }

  /** The offsets at which exactly this string begins, in this table alone. */
  #offsetsOf(text: string): number[] {
    return this.#search.find(text).map((at) => this.#firstString + at);
  }

  #idsOf(name: string): number[] {
    if (name === '') return [];
    const { heads, next } = this.#nameIndex();
    const offsets = this.#offsetsOf(name);
    const elsewhere = this.base?.stringOffset(name) ?? null;
    if (elsewhere !== null) offsets.push(elsewhere);
    const found: number[] = [];
    for (const offset of offsets) {
      for (let index = heads[offset & (heads.length - 1)]; index !== -1; index = next[index]) {
        if (this.#words[this.#starts[index]] === offset) found.push(this.firstId + index);
      }
    }
    return found.sort((a, b) => a - b);
  }

  /** Chains of records whose names' offsets have the same low bits. */
  #nameIndex(): { readonly heads: Int32Array; readonly next: Int32Array } {
    if (this.#byNameOffset !== null) return this.#byNameOffset;
    const count = this.#starts.length;
    const size = 1 << Math.max(4, 32 - Math.clz32(count));
    const heads = new Int32Array(size).fill(-1);
    const next = new Int32Array(count);
    for (let index = 0; index < count; index++) {
      const slot = this.#words[this.#starts[index]] & (size - 1);
      next[index] = heads[slot];
      heads[slot] = index;
    }
    this.#byNameOffset = { heads, next };
    return this.#byNameOffset;
  }

  /** Skips modifiers: the id of what is meant. @throws BtfError where they lead in a circle */
  resolve(id: number): number {
    for (let step = 0; step <= MODIFIERS_MAX; step++) {
      const type = this.type(id);
      if (!isModifier(type)) return id;
      id = type.type;
    }
    throw new BtfError(`BTF type ${id}: more than ${MODIFIERS_MAX} modifiers before a type, or a circle of them`);
  }

  /** The type behind modifiers. */
  resolved(id: number): BtfType {
    return this.type(this.resolve(id));
  }

  /** Bytes that a value of this type takes. @throws BtfError where it has no size (void, a function, a forward declaration) */
  sizeOf(id: number): number {
    let factor = 1;
    for (let step = 0; step <= MODIFIERS_MAX; step++) {
      const type = this.resolved(id);
      switch (type.kind) {
        case 'int':
        case 'struct':
        case 'union':
        case 'enum':
        case 'enum64':
        case 'float':
        case 'datasec':
          return factor * type.bytes;
        case 'ptr':
          return factor * 8;
        case 'array':
          factor *= type.length;
          id = type.element;
          continue;
        case 'var':
          id = type.type;
          continue;
        default:
          throw new BtfError(`BTF type ${id} (${type.kind} ${type.name}) has no size`);
      }
    }
    throw new BtfError(`BTF type ${id}: arrays nested more than ${MODIFIERS_MAX} deep, or a circle of them`);
  }
}
