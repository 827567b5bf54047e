/**
 * Room `bpf`: an ELF file's tables: sections, symbols and relocations, every offset checked before it is used. What they mean for eBPF
 * is said in `read.ts`.
 *
 * A newcomer would get wrong: a file is input from anywhere. Whatever it says of offsets, sizes and indices may be a lie, and an error
 * must name what is wrong instead of reading elsewhere.
 */
import {
  EI_CLASS,
  EI_DATA,
  ELF_EXTRAS,
  ELF64_HDR,
  ELF64_REL,
  ELF64_SHDR,
  ELF64_SYM,
  ELFCLASS64,
  ELFDATA2LSB,
  ELFDATA2MSB,
  EM_BPF,
  EM_NONE,
  ET_REL,
  SHF_EXECINSTR,
  SHT_NOBITS,
  SHT_REL,
  SHT_SYMTAB,
  STB_LOCAL,
  STT_FUNC,
  STT_SECTION,
} from '../../../kernel/elf-abi.ts';

/** The longest name that is read, in bytes. */
const NAME_BYTES_MAX = 4096;
/** The largest section without bytes in the file (.bss) that is made. */
const ZEROS_MAX = 256 << 20;

/** What is wrong with bytes that should be an eBPF object. */
export class ElfError extends Error {
  override readonly name = 'ElfError';
}

export interface ElfSection {
  readonly index: number;
  readonly name: string;
  readonly type: number;
  readonly executable: boolean;
  /** Empty for one without bytes in the file. */
  readonly bytes: Uint8Array;
  /** As the header says, also where there are no bytes in the file. */
  readonly size: number;
  readonly link: number;
  readonly info: number;
}

export interface ElfSymbol {
  readonly name: string;
  /** STT_FUNC and others. */
  readonly type: number;
  /** STB_LOCAL, STB_GLOBAL or STB_WEAK. */
  readonly binding: number;
  /** Not to be called from outside of its object. */
  readonly hidden: boolean;
  /** Its section, or one of SHN_UNDEF, SHN_COMMON and others. */
  readonly section: number;
  /** From the section's beginning. */
  readonly value: number;
  readonly size: number;
}

export interface ElfRelocation {
  /** In bytes, within the section that it is for. */
  readonly offset: number;
  readonly type: number;
  readonly symbol: ElfSymbol;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A 64-bit number of the file; none that makes sense is beyond 2^53. */
function number64(data: DataView, at: number, what: string): number {
  const value = data.getBigUint64(at, true);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ElfError(`${what} is ${value}`);
  return Number(value);
}

function checkHeader(bytes: Uint8Array): void {
  if (bytes.length < ELF64_HDR.size) throw new ElfError(`${bytes.length} bytes are too few for an ELF file`);
  if (view(bytes).getUint32(0) !== 0x7f454c46) throw new ElfError('this is not an ELF file');
  if (bytes[EI_CLASS] !== ELFCLASS64) throw new ElfError('this is a 32-bit ELF file; eBPF objects have 64 bits');
  if (bytes[EI_DATA] === ELFDATA2MSB) {
    throw new ElfError('this object is for big-endian machines; compile it with -target bpfel');
  }
  if (bytes[EI_DATA] !== ELFDATA2LSB) throw new ElfError(`unknown byte order ${bytes[EI_DATA]} in the ELF header`);
  const type = view(bytes).getUint16(ELF64_HDR.e_type, true);
  if (type !== ET_REL) throw new ElfError(`this ELF file is not relocatable (type ${type}); compile with -c`);
  const machine = view(bytes).getUint16(ELF64_HDR.e_machine, true);
  if (machine !== EM_BPF && machine !== EM_NONE) {
    throw new ElfError(`this object is for machine ${machine}, not for eBPF (${EM_BPF}); compile with -target bpf`);
  }
}

/** The tables of an object. */
export class ElfFile {
  readonly sections: readonly ElfSection[];
  readonly symbols: readonly ElfSymbol[];
  readonly #bytes: Uint8Array;

  /** @throws ElfError for bytes that are no relocatable eBPF object of a little-endian machine, or lie about offsets */
  constructor(bytes: Uint8Array) {
    checkHeader(bytes);
    // A Buffer's slice() does not copy, a Uint8Array's does: whoever gives one gets the other.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.sections = this.#readSections();
    this.symbols = this.#readSymbols();
  }

  /** The first section of this name, or null. */
  section(name: string): ElfSection | null {
    return this.sections.find((section) => section.name === name) ?? null;
  }

  #readSections(): ElfSection[] {
    const header = view(this.#bytes);
    const count = header.getUint16(ELF64_HDR.e_shnum, true);
    const offset = number64(header, ELF64_HDR.e_shoff, 'the offset of the section table');
    const entryBytes = header.getUint16(ELF64_HDR.e_shentsize, true);
    if (count === 0) throw new ElfError('this ELF file has no sections');
    if (entryBytes !== ELF64_SHDR.size) throw new ElfError(`section headers of ${entryBytes} bytes`);
    const table = view(this.#part(offset, count * ELF64_SHDR.size, 'the section table'));
    const raw = Array.from({ length: count }, (_, index) => this.#readSection(table, index));
    const names = raw[header.getUint16(ELF64_HDR.e_shstrndx, true)];
    if (names === undefined) throw new ElfError('the section of section names does not exist');
    return raw.map(({ nameOffset, ...section }) => ({ ...section, name: stringAt(names.bytes, nameOffset) }));
  }

  #readSection(table: DataView, index: number): Omit<ElfSection, 'name'> & { readonly nameOffset: number } {
    const at = index * ELF64_SHDR.size;
    const type = table.getUint32(at + ELF64_SHDR.sh_type, true);
    const offset = number64(table, at + ELF64_SHDR.sh_offset, `the offset of section ${index}`);
    const size = number64(table, at + ELF64_SHDR.sh_size, `the size of section ${index}`);
    const isEmpty = type === SHT_NOBITS || type === 0;
    return {
      index,
      nameOffset: table.getUint32(at + ELF64_SHDR.sh_name, true),
      type,
      executable: (table.getUint32(at + ELF64_SHDR.sh_flags, true) & SHF_EXECINSTR) !== 0,
      bytes: isEmpty ? new Uint8Array(0) : this.#part(offset, size, `section ${index}`),
      size,
      link: table.getUint32(at + ELF64_SHDR.sh_link, true),
      info: table.getUint32(at + ELF64_SHDR.sh_info, true),
    };
  }

  #part(offset: number, size: number, what: string): Uint8Array {
    if (offset + size > this.#bytes.length) {
      throw new ElfError(`${what} at ${offset}, ${size} bytes, reaches beyond the file's ${this.#bytes.length} bytes`);
    }
    return this.#bytes.subarray(offset, offset + size);
  }

  #readSymbols(): ElfSymbol[] {
    const table = this.sections.find((section) => section.type === SHT_SYMTAB);
    if (table === undefined) throw new ElfError('this object has no symbols: was it stripped?');
    const names = this.sections[table.link];
    if (names === undefined) throw new ElfError('the section of symbol names does not exist');
    const data = view(table.bytes);
    return Array.from({ length: Math.floor(table.bytes.length / ELF64_SYM.size) }, (_, index) => {
      const at = index * ELF64_SYM.size;
      const info = data.getUint8(at + ELF64_SYM.st_info);
      const section = data.getUint16(at + ELF64_SYM.st_shndx, true);
      const type = info & 15;
      const ownName = stringAt(names.bytes, data.getUint32(at + ELF64_SYM.st_name, true));
      const visibility = data.getUint8(at + ELF64_SYM.st_other) & 3;
      return {
        name: type === STT_SECTION ? (this.sections[section]?.name ?? ownName) : ownName,
        type,
        binding: info >> 4,
        hidden: visibility === ELF_EXTRAS.STV_INTERNAL || visibility === ELF_EXTRAS.STV_HIDDEN,
        section,
        value: number64(data, at + ELF64_SYM.st_value, `the value of symbol ${ownName}`),
        size: number64(data, at + ELF64_SYM.st_size, `the size of symbol ${ownName}`),
      };
    });
  }

  /** The relocations for a section, in order of their offsets. @throws ElfError where one is for no symbol */
  relocationsFor(section: ElfSection): ElfRelocation[] {
    const tables = this.sections.filter((one) => one.type === SHT_REL && one.info === section.index);
    const found = tables.flatMap((table) => {
      const data = view(table.bytes);
      return Array.from({ length: Math.floor(table.bytes.length / ELF64_REL.size) }, (_, index) => {
        const at = index * ELF64_REL.size;
        const offset = number64(data, at + ELF64_REL.r_offset, `an offset in ${table.name}`);
        const type = data.getUint32(at + ELF64_REL.r_info, true);
        const symbolIndex = data.getUint32(at + ELF64_REL.r_info + 4, true);
        const symbol = this.symbols[symbolIndex];
        if (symbol === undefined) throw new ElfError(`${table.name} names symbol ${symbolIndex}, which does not exist`);
        if (offset >= section.size) throw new ElfError(`${table.name} changes byte ${offset} of ${section.size}`);
        return { offset, type, symbol };
      });
    });
    return found.sort((a, b) => a.offset - b.offset);
  }

  /** The functions of a section, in order of their offsets. */
  functionsIn(section: ElfSection): ElfSymbol[] {
    return this.symbols
      .filter((symbol) => symbol.type === STT_FUNC && symbol.section === section.index)
      .sort((a, b) => a.value - b.value);
  }

  /** The bytes of a section as they are when the program begins: zeros where the file has none. */
  contentOf(section: ElfSection): Uint8Array {
    if (section.type !== SHT_NOBITS) return section.bytes.slice();
    if (section.size > ZEROS_MAX) {
      throw new ElfError(`section ${section.name} has ${section.size} bytes, at most ${ZEROS_MAX} are allowed`);
    }
    return new Uint8Array(section.size);
  }
}

/** Whether a symbol is seen only within its own object: `static`, or hidden. */
export function isLocal(symbol: ElfSymbol): boolean {
  return symbol.binding === STB_LOCAL || symbol.hidden;
}

/** The text at an offset of a section of strings. @throws ElfError where it does not end */
export function stringAt(bytes: Uint8Array, offset: number): string {
  if (offset === 0 && bytes.length === 0) return '';
  const end = bytes.indexOf(0, offset);
  if (offset >= bytes.length || end === -1) throw new ElfError(`there is no name at ${offset} of a section of strings`);
  if (end - offset > NAME_BYTES_MAX) throw new ElfError(`a name of ${end - offset} bytes`);
  return Buffer.from(bytes.buffer, bytes.byteOffset + offset, end - offset).toString('utf8');
}
