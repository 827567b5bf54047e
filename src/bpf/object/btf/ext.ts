/**
 * Room `bpf`: `.BTF.ext`, which says of an object's instructions what types their functions have, which lines they come from, and
 * which of them are relocated to the kernel's types (Documentation/bpf/btf.rst, “.BTF.ext section”).
 *
 * A newcomer would get wrong: offsets count bytes from the beginning of an ELF section, not of a function, and every text it names
 * stands among the strings of `.BTF`.
 */
import { BtfError } from './records.ts';
import type { StringTable } from './strings.ts';
import type { Btf } from './table.ts';

const MAGIC = 0xeb9f;
const VERSION = 1;
/** Bytes of the header with its three tables; older compilers leave out the last. */
const HEADER_BYTES = 32;
const HEADER_BYTES_MIN = 24;
/** A line's number and column share a word. */
const LINE_SHIFT = 10;
const COLUMN_MAX = (1 << LINE_SHIFT) - 1;
const LINE_MAX = (1 << (32 - LINE_SHIFT)) - 1;

/** A function begins here. `offset` in bytes from the section's beginning, here and below. */
export interface ExtFunction {
  readonly offset: number;
  readonly typeId: number;
}

export interface ExtLine {
  readonly offset: number;
  readonly file: string;
  readonly text: string;
  readonly line: number;
  readonly column: number;
}

export interface ExtCore {
  readonly offset: number;
  readonly typeId: number;
  readonly access: string;
  readonly kind: number;
}

/** What is said of one ELF section. */
export interface ExtSection {
  readonly name: string;
  readonly functions: readonly ExtFunction[];
  readonly lines: readonly ExtLine[];
  readonly core: readonly ExtCore[];
}

/** One of the three tables: by section, records of words. */
type Table = Map<string, Uint32Array[]>;

/** A record of line information: bytes, and the word that holds line and column. */
export function packLine(line: number, column: number): number {
  return ((Math.min(line, LINE_MAX) << LINE_SHIFT) | Math.min(column, COLUMN_MAX)) >>> 0;
}

function decodeTable(bytes: Uint8Array, btf: Btf, name: string, wordsMin: number): Table {
  const table: Table = new Map();
  if (bytes.length === 0) return table;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const recordBytes = bytes.length < 4 ? 0 : view.getUint32(0, true);
  if (recordBytes < wordsMin * 4 || recordBytes % 4 !== 0) {
    throw new BtfError(`.BTF.ext ${name}: records of ${recordBytes} bytes, at least ${wordsMin * 4} are needed`);
  }
  for (let at = 4; at < bytes.length; ) {
    if (at + 8 > bytes.length) throw new BtfError(`.BTF.ext ${name} is cut off at byte ${at}`);
    const section = btf.string(view.getUint32(at, true));
    const count = view.getUint32(at + 4, true);
    at += 8;
    if (at + count * recordBytes > bytes.length) throw new BtfError(`.BTF.ext ${name} of ${section} is cut off`);
    const records = table.get(section) ?? [];
    for (let index = 0; index < count; index++, at += recordBytes) {
      records.push(Uint32Array.from({ length: wordsMin }, (_, word) => view.getUint32(at + word * 4, true)));
    }
    table.set(section, records);
  }
  return table;
}

/** Reads what it says, by section. @throws BtfError for bytes that are cut off or name what is not there */
export function decodeExt(bytes: Uint8Array, btf: Btf): Map<string, ExtSection> {
  if (bytes.length < HEADER_BYTES_MIN) throw new BtfError(`.BTF.ext of ${bytes.length} bytes is too short`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(0, true) !== MAGIC || view.getUint8(2) !== VERSION) {
    throw new BtfError('.BTF.ext has the wrong magic or version');
  }
  const headerBytes = view.getUint32(4, true);
  const table = (index: number, name: string, words: number): Table => {
    const at = 8 + index * 8;
    if (at + 8 > Math.min(headerBytes, bytes.length)) return new Map();
    const offset = headerBytes + view.getUint32(at, true);
    const length = view.getUint32(at + 4, true);
    if (offset + length > bytes.length) throw new BtfError(`.BTF.ext ${name} reaches beyond its ${bytes.length} bytes`);
    return decodeTable(bytes.subarray(offset, offset + length), btf, name, words);
  };
  const functions = table(0, 'function information', 2);
  const lines = table(1, 'line information', 4);
  const core = table(2, 'relocations', 4);
  const names = new Set([...functions.keys(), ...lines.keys(), ...core.keys()]);
  return new Map([...names].map((name) => [name, sectionOf(name, functions, lines, core, btf)]));
}

function sectionOf(name: string, functions: Table, lines: Table, core: Table, btf: Btf): ExtSection {
  return {
    name,
    functions: (functions.get(name) ?? []).map(([offset, typeId]) => ({ offset, typeId })),
    lines: (lines.get(name) ?? []).map(([offset, file, text, place]) => ({
      offset,
      file: btf.string(file),
      text: btf.string(text),
      line: place >>> LINE_SHIFT,
      column: place & COLUMN_MAX,
    })),
    core: (core.get(name) ?? []).map(([offset, typeId, access, kind]) => ({
      offset,
      typeId,
      access: btf.string(access),
      kind,
    })),
  };
}

function encodeTable(
  sections: readonly ExtSection[],
  strings: StringTable,
  words: number,
  recordsOf: (section: ExtSection) => number[][],
): number[] {
  const out: number[] = [];
  for (const section of sections) {
    const records = recordsOf(section);
    if (records.length === 0) continue;
    out.push(strings.add(section.name), records.length, ...records.flat());
  }
  return out.length === 0 ? [] : [words * 4, ...out];
}

/** Writes it. Texts are added to `strings`, which are to become those of `.BTF`. */
export function encodeExt(sections: readonly ExtSection[], strings: StringTable): Uint8Array {
  const tables = [
    encodeTable(sections, strings, 2, ({ functions }) => functions.map(({ offset, typeId }) => [offset, typeId])),
    encodeTable(sections, strings, 4, ({ lines }) =>
      lines.map((one) => [one.offset, strings.add(one.file), strings.add(one.text), packLine(one.line, one.column)]),
    ),
    encodeTable(sections, strings, 4, ({ core }) =>
      core.map((one) => [one.offset, one.typeId, strings.add(one.access), one.kind]),
    ),
  ];
  const words = [MAGIC | (VERSION << 16), HEADER_BYTES];
  let offset = 0;
  for (const table of tables) {
    words.push(offset, table.length * 4);
    offset += table.length * 4;
  }
  return new Uint8Array(Uint32Array.from([...words, ...tables.flat()]).buffer);
}
