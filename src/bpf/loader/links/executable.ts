/**
 * Room `bpf`: where functions and USDT probes lie in an executable or a shared library, for uprobes.
 *
 * A newcomer would get wrong: a uprobe wants an offset in the file, a symbol has an address in memory; the program header that loads it
 * translates. And the file may have hundreds of megabytes: only its tables are read.
 */
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';

/** Thrown for a file or a symbol that cannot be probed. */
export class ProbeError extends Error {
  override readonly name = 'ProbeError';
}

/** A part of the file that is loaded at an address. */
interface Segment {
  readonly offset: number;
  readonly address: number;
  readonly bytes: number;
}

interface Section {
  readonly name: string;
  readonly type: number;
  readonly address: number;
  readonly offset: number;
  readonly bytes: number;
  readonly link: number;
}

/** A statically defined probe (`sys/sdt.h`). */
export interface UsdtProbe {
  readonly provider: string;
  readonly name: string;
  /** In the file. */
  readonly offset: number;
  /** In memory, as the file has it: where it is loaded adds to it. */
  readonly address: number;
  /** Where in the file the counter lies that must be above 0 for the probe to be prepared; 0 for none. */
  readonly semaphoreOffset: number;
  /** How its arguments are found, in the assembler's notation: `-4@%edi 8@-16(%rbp)`. */
  readonly arguments: string;
}

// ELF-64 (elf(5)).
const HEADER_BYTES = 64;
const SEGMENT_BYTES = 56;
const SECTION_BYTES = 64;
const SYMBOL_BYTES = 24;
/** A file that may be loaded anywhere: a library, or a position-independent executable. */
const ET_DYN = 3;
const PT_LOAD = 1;
const SHT_SYMTAB = 2;
const SHT_DYNSYM = 11;
const STT_OBJECT = 1;
const STT_FUNC = 2;
const STT_GNU_IFUNC = 10;
/** A table larger than this is no table of a real file. */
const TABLE_BYTES_MAX = 1 << 28;

/** An executable's tables, read from its file. */
export class Executable implements Disposable {
  readonly path: string;
  /** EM_*: the processor that it is for. */
  readonly machine: number;
  /** Whether its addresses are only known once it is loaded. */
  readonly isMovable: boolean;
  /** Where it begins to run, as an offset in the file; 0 for most libraries. */
  readonly entryOffset: number;
  readonly #descriptor: number;
  readonly #segments: readonly Segment[];
  readonly #sections: readonly Section[];

  /** @throws ProbeError for a file that is not ELF of 64 bits; Error of node:fs */
  constructor(path: string) {
    this.path = path;
    this.#descriptor = openSync(path, 'r');
    try {
      const header = this.#read(0, HEADER_BYTES);
      if (header.getUint32(0) !== 0x7f454c46 || header.getUint8(4) !== 2 || header.getUint8(5) !== 1) {
        throw new ProbeError(`${path} is no executable or library for this machine (ELF, 64 bits, little-endian)`);
      }
      this.isMovable = header.getUint16(16, true) === ET_DYN;
      this.machine = header.getUint16(18, true);
      this.#segments = this.#readSegments(header);
      const entry = wordAt(header, 24);
      this.entryOffset = entry === 0 ? 0 : this.offsetOf(entry);
      this.#sections = this.#readSections(header);
    } catch (error) {
      closeSync(this.#descriptor);
      throw error;
    }
  }

  #read(offset: number, length: number): DataView {
    if (length > TABLE_BYTES_MAX) throw new ProbeError(`${this.path} says that a table has ${length} bytes`);
    const bytes = new Uint8Array(length);
    const count = readSync(this.#descriptor, bytes, 0, length, offset);
    if (count < length) throw new ProbeError(`${this.path} ends at ${offset + count}, within a table`);
    return new DataView(bytes.buffer);
  }

  #readSegments(header: DataView): Segment[] {
    const count = header.getUint16(56, true);
    const table = this.#read(wordAt(header, 32), count * SEGMENT_BYTES);
    return Array.from({ length: count }, (_, index) => index * SEGMENT_BYTES)
      .filter((at) => table.getUint32(at, true) === PT_LOAD)
      .map((at) => ({ offset: wordAt(table, at + 8), address: wordAt(table, at + 16), bytes: wordAt(table, at + 32) }));
  }

  #readSections(header: DataView): Section[] {
    const count = header.getUint16(60, true);
    if (count === 0) return [];
    const table = this.#read(wordAt(header, 40), count * SECTION_BYTES);
    const raw = Array.from({ length: count }, (_, index) => {
      const at = index * SECTION_BYTES;
      return {
        nameAt: table.getUint32(at, true),
        type: table.getUint32(at + 4, true),
        address: wordAt(table, at + 16),
        offset: wordAt(table, at + 24),
        bytes: wordAt(table, at + 32),
        link: table.getUint32(at + 40, true),
      };
    });
    const names = raw[header.getUint16(62, true)];
    const text = names === undefined ? null : this.#read(names.offset, names.bytes);
    return raw.map(({ nameAt, ...rest }) => ({ ...rest, name: text === null ? '' : textAt(text, nameAt) }));
  }

  /** The place in the file that is loaded at an address. @throws ProbeError where none is */
  offsetOf(address: number): number {
    const segment = this.#segments.find((one) => address >= one.address && address < one.address + one.bytes);
    if (segment === undefined) throw new ProbeError(`nothing of ${this.path} is loaded at 0x${address.toString(16)}`);
    return address - segment.address + segment.offset;
  }

  /** The place of a function in the file. @throws ProbeError where no symbol has the name */
  functionOffset(name: string): number {
    const address = this.#addressOf(name, [STT_FUNC, STT_GNU_IFUNC]);
    if (address !== null) return this.offsetOf(address);
    throw new ProbeError(
      `${this.path} has no function ${name}: it is another library’s, or was stripped; give an offset`,
    );
  }

  /** The address of a variable as the file has it; null where no symbol has the name. */
  variableAddress(name: string): number | null {
    return this.#addressOf(name, [STT_OBJECT]);
  }

  #addressOf(name: string, types: readonly number[]): number | null {
    for (const section of this.#sections) {
      if (section.type !== SHT_SYMTAB && section.type !== SHT_DYNSYM) continue;
      const address = this.#findSymbol(section, name, types);
      if (address !== null) return address;
    }
    return null;
  }

  #findSymbol(section: Section, name: string, types: readonly number[]): number | null {
    const strings = this.#sections[section.link];
    if (strings === undefined) return null;
    const texts = this.#read(strings.offset, strings.bytes);
    const symbols = this.#read(section.offset, section.bytes);
    const wanted = Buffer.from(`${name}\0`);
    const bytes = new Uint8Array(texts.buffer);
    for (let at = 0; at + SYMBOL_BYTES <= section.bytes; at += SYMBOL_BYTES) {
      const type = symbols.getUint8(at + 4) & 15;
      const value = wordAt(symbols, at + 8);
      if (!types.includes(type) || value === 0) continue;
      const nameAt = symbols.getUint32(at, true);
      // Symbols of versions (`read@@GLIBC_2.2.5`) have theirs in a table of its own, so the name is compared whole.
      if (wanted.equals(bytes.subarray(nameAt, nameAt + wanted.length))) return value;
    }
    return null;
  }

  /** The probes that the file defines. */
  usdtProbes(): UsdtProbe[] {
    const notes = this.#sections.find(({ name }) => name === '.note.stapsdt');
    if (notes === undefined) return [];
    // Prelinking moves addresses; the section .stapsdt.base tells by how much (sys/sdt.h).
    const base = this.#sections.find(({ name }) => name === '.stapsdt.base')?.address ?? null;
    const table = this.#read(notes.offset, notes.bytes);
    const found: UsdtProbe[] = [];
    for (let at = 0; at + 12 <= notes.bytes; ) {
      const nameBytes = Math.ceil(table.getUint32(at, true) / 4) * 4;
      const contentBytes = Math.ceil(table.getUint32(at + 4, true) / 4) * 4;
      found.push(this.#probe(table, at + 12 + nameBytes, base));
      at += 12 + nameBytes + contentBytes;
    }
    return found;
  }

  #probe(table: DataView, at: number, base: number | null): UsdtProbe {
    const moved = base === null ? 0 : base - wordAt(table, at + 8);
    const semaphore = wordAt(table, at + 16);
    const provider = textAt(table, at + 24);
    const name = textAt(table, at + 25 + Buffer.byteLength(provider));
    const places = textAt(table, at + 26 + Buffer.byteLength(provider) + Buffer.byteLength(name));
    const address = wordAt(table, at) + moved;
    return {
      provider,
      name,
      offset: this.offsetOf(address),
      address,
      semaphoreOffset: semaphore === 0 ? 0 : this.offsetOf(semaphore + moved),
      arguments: places,
    };
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor);
  }
}

/** A 64-bit field: offsets and addresses of files stay far below 2^53. */
function wordAt(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}

function textAt(view: DataView, at: number): string {
  const bytes = new Uint8Array(view.buffer, at);
  return Buffer.from(bytes.subarray(0, bytes.indexOf(0))).toString('latin1');
}

const libraryFolders = [
  '/lib/x86_64-linux-gnu',
  '/usr/lib/x86_64-linux-gnu',
  '/lib64',
  '/usr/lib64',
  '/lib',
  '/usr/lib',
  '/usr/local/lib',
];

/** The file of an executable or library: a path as it is, `libc.so.6` from the system's folders, a command from PATH. */
export function findExecutable(name: string): string {
  if (name.includes('/')) return name;
  const folders = name.includes('.so') ? libraryFolders : (process.env.PATH ?? '').split(':').filter(Boolean);
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) throw new ProbeError(`${name} is in none of ${folders.join(', ')}: give its path`);
  return found;
}
