/**
 * Room `bpf`: an `ObjectSpec` to a relocatable ELF file as clang makes it, for bpftool, libbpf and other loaders, and for `readElf`.
 *
 * A newcomer would get wrong: local symbols stand before all global ones, and the symbol table's `sh_info` says where these begin.
 * Loaders read the wrong symbols where that is not so.
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
  EM_BPF,
  ET_REL,
  EV_CURRENT,
  SHN_UNDEF,
  SHT_PROGBITS,
  SHT_REL,
  SHT_STRTAB,
  SHT_SYMTAB,
  STB_LOCAL,
  STT_SECTION,
} from '../../../kernel/elf-abi.ts';
import { encodeExt } from '../btf/ext.ts';
import { joinSections } from '../btf/records-writer.ts';
import { StringTable } from '../btf/strings.ts';
import type { ObjectSpec } from '../spec.ts';
import { type Layout, layOutObject, type OutputSection, type OutputSymbol } from './layout.ts';

const EI_VERSION = 6;

/** A section with all that its header says. */
interface Finished {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly alignment: number;
  readonly bytes: Uint8Array;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly entryBytes: number;
}

/**
 * The object as a file. Deterministic: the same spec gives the same bytes.
 * @throws RangeError for a reference to what the object does not have
 */
export function writeElf(spec: ObjectSpec): Uint8Array {
  const layout = layOutObject(spec);
  return new FileWriter([...layout.sections, ...typeSections(spec, layout)], layout.symbols).finish();
}

/** `.BTF` and `.BTF.ext`. The second's texts are among the first's strings. */
function typeSections(spec: ObjectSpec, { ext }: Layout): OutputSection[] {
  if (spec.btf === null) return [];
  const strings = new StringTable(spec.btf.strings);
  const extBytes = encodeExt(ext, strings);
  const btfBytes = joinSections(spec.btf.words, strings.bytes());
  return [['.BTF', btfBytes] as const, ['.BTF.ext', extBytes] as const].map(([name, bytes]) => ({
    name,
    type: SHT_PROGBITS,
    flags: 0,
    alignment: 4,
    bytes,
    size: bytes.length,
    relocations: [],
  }));
}

class FileWriter {
  readonly #sections: readonly OutputSection[];
  readonly #symbols: readonly OutputSymbol[];
  readonly #names = new StringTable();
  /** 1 for the section of names, then sections in order, each followed by its relocations. */
  readonly #sectionIndex = new Map<string, number>();
  readonly #symbolIndex = new Map<string, number>();
  #firstGlobal = 0;

  constructor(sections: readonly OutputSection[], symbols: readonly OutputSymbol[]) {
    this.#sections = sections;
    let index = 2;
    for (const { name, relocations } of sections) {
      this.#sectionIndex.set(name, index);
      index += relocations.length > 0 ? 2 : 1;
    }
    const ofSections = sections.map(({ name }) => this.#sectionSymbol(name));
    const isLocal = (symbol: OutputSymbol): boolean => symbol.binding === STB_LOCAL;
    const locals = [...ofSections, ...symbols.filter(isLocal)];
    this.#symbols = [...locals, ...symbols.filter((symbol) => !isLocal(symbol))];
    // Symbol 0 is the empty one.
    this.#firstGlobal = locals.length + 1;
    for (const [position, symbol] of this.#symbols.entries()) {
      const key = symbol.type === STT_SECTION ? `section ${symbol.section}` : symbol.name;
      // Functions and maps come first: a variable of the same name is never referred to by it.
      if (!this.#symbolIndex.has(key)) this.#symbolIndex.set(key, position + 1);
    }
  }

  #sectionSymbol(name: string): OutputSymbol {
    return { name: '', type: STT_SECTION, binding: STB_LOCAL, section: name, value: 0, size: 0 };
  }

  finish(): Uint8Array {
    const symbolTable = this.#sections.reduce((sum, one) => sum + (one.relocations.length > 0 ? 2 : 1), 2);
    const finished: Finished[] = this.#sections.flatMap((one) => {
      const own = { ...one, link: 0, info: 0, entryBytes: 0 };
      return one.relocations.length === 0 ? [own] : [own, this.#relocationTable(one, symbolTable)];
    });
    finished.push({
      name: '.symtab',
      type: SHT_SYMTAB,
      flags: 0,
      alignment: 8,
      ...withSize(this.#symbolTable()),
      link: 1,
      info: this.#firstGlobal,
      entryBytes: ELF64_SYM.size,
    });
    for (const { name } of finished) this.#names.add(name);
    this.#names.add('.strtab');
    const names = { name: '.strtab', type: SHT_STRTAB, flags: 0, alignment: 1, link: 0, info: 0, entryBytes: 0 };
    return this.#file([{ ...names, ...withSize(this.#names.bytes()) }, ...finished]);
  }

  #relocationTable(section: OutputSection, symbolTable: number): Finished {
    const view = new DataView(new ArrayBuffer(section.relocations.length * ELF64_REL.size));
    for (const [index, { offset, type, symbol }] of section.relocations.entries()) {
      const at = index * ELF64_REL.size;
      const key = 'section' in symbol ? `section ${symbol.section}` : symbol.name;
      const symbolIndex = this.#symbolIndex.get(key);
      if (symbolIndex === undefined)
        throw new RangeError(`${section.name} refers to ${key}, which the object does not have`);
      view.setBigUint64(at + ELF64_REL.r_offset, BigInt(offset), true);
      view.setUint32(at + ELF64_REL.r_info, type, true);
      view.setUint32(at + ELF64_REL.r_info + 4, symbolIndex, true);
    }
    return {
      name: `.rel${section.name}`,
      type: SHT_REL,
      flags: ELF_EXTRAS.SHF_INFO_LINK,
      alignment: 8,
      ...withSize(new Uint8Array(view.buffer)),
      link: symbolTable,
      info: this.#sectionIndex.get(section.name) ?? 0,
      entryBytes: ELF64_REL.size,
    };
  }

  #symbolTable(): Uint8Array {
    const view = new DataView(new ArrayBuffer((this.#symbols.length + 1) * ELF64_SYM.size));
    for (const [index, { name, type, binding, section, value, size }] of this.#symbols.entries()) {
      const at = (index + 1) * ELF64_SYM.size;
      const sectionIndex = section === null ? SHN_UNDEF : this.#sectionIndex.get(section);
      if (sectionIndex === undefined) throw new RangeError(`${name} is in ${section}, which has no bytes`);
      view.setUint32(at + ELF64_SYM.st_name, this.#names.add(name), true);
      view.setUint8(at + ELF64_SYM.st_info, (binding << 4) | type);
      view.setUint16(at + ELF64_SYM.st_shndx, sectionIndex, true);
      view.setBigUint64(at + ELF64_SYM.st_value, BigInt(value), true);
      view.setBigUint64(at + ELF64_SYM.st_size, BigInt(size), true);
    }
    return new Uint8Array(view.buffer);
  }

  /** Header, contents, section headers. The first section header is all zeros. */
  #file(sections: readonly Finished[]): Uint8Array {
    const offsets: number[] = [];
    let end: number = ELF64_HDR.size;
    for (const { bytes, alignment } of sections) {
      end = Math.ceil(end / alignment) * alignment;
      offsets.push(end);
      end += bytes.length;
    }
    const table = Math.ceil(end / 8) * 8;
    const file = new Uint8Array(table + (sections.length + 1) * ELF64_SHDR.size);
    const view = new DataView(file.buffer);
    file.set([0x7f, 0x45, 0x4c, 0x46]);
    file[EI_CLASS] = ELFCLASS64;
    file[EI_DATA] = ELFDATA2LSB;
    file[EI_VERSION] = EV_CURRENT;
    view.setUint16(ELF64_HDR.e_type, ET_REL, true);
    view.setUint16(ELF64_HDR.e_machine, EM_BPF, true);
    view.setUint32(ELF64_HDR.e_version, EV_CURRENT, true);
    view.setBigUint64(ELF64_HDR.e_shoff, BigInt(table), true);
    view.setUint16(ELF64_HDR.e_ehsize, ELF64_HDR.size, true);
    view.setUint16(ELF64_HDR.e_shentsize, ELF64_SHDR.size, true);
    view.setUint16(ELF64_HDR.e_shnum, sections.length + 1, true);
    view.setUint16(ELF64_HDR.e_shstrndx, 1, true);
    for (const [index, section] of sections.entries()) {
      file.set(section.bytes, offsets[index]);
      this.#writeHeader(view, table + (index + 1) * ELF64_SHDR.size, section, offsets[index]);
    }
    return file;
  }

  #writeHeader(view: DataView, at: number, section: Finished, offset: number): void {
    view.setUint32(at + ELF64_SHDR.sh_name, this.#names.add(section.name), true);
    view.setUint32(at + ELF64_SHDR.sh_type, section.type, true);
    view.setBigUint64(at + ELF64_SHDR.sh_flags, BigInt(section.flags), true);
    view.setBigUint64(at + ELF64_SHDR.sh_offset, BigInt(offset), true);
    view.setBigUint64(at + ELF64_SHDR.sh_size, BigInt(section.size), true);
    view.setUint32(at + ELF64_SHDR.sh_link, section.link, true);
    view.setUint32(at + ELF64_SHDR.sh_info, section.info, true);
    view.setBigUint64(at + ELF64_SHDR.sh_addralign, BigInt(section.alignment), true);
    view.setBigUint64(at + ELF64_SHDR.sh_entsize, BigInt(section.entryBytes), true);
  }
}

function withSize(bytes: Uint8Array): { readonly bytes: Uint8Array; readonly size: number } {
  return { bytes, size: bytes.length };
}
