/**
 * Room `kernel`: numbers of ELF as far as eBPF objects use it (elf(5), include/uapi/linux/elf.h), and the relocation types that LLVM
 * gave to eBPF (Documentation/bpf/llvm_reloc.rst). `test/bpf/object/abi.test.ts` pins them.
 *
 * A newcomer would get wrong: eBPF's relocations are REL, without an addend of their own: what is to be added lies in the bytes that
 * the relocation changes.
 */
export const EI_CLASS = 4;
export const EI_DATA = 5;
export const ELFCLASS64 = 2;
export const ELFDATA2LSB = 1;
export const ELFDATA2MSB = 2;
export const EV_CURRENT = 1;
export const ET_REL = 1;
export const EM_NONE = 0;
export const EM_BPF = 247;

export const SHT_PROGBITS = 1;
export const SHT_SYMTAB = 2;
export const SHT_STRTAB = 3;
export const SHT_NOBITS = 8;
export const SHT_REL = 9;

export const SHF_WRITE = 1;
export const SHF_ALLOC = 2;
export const SHF_EXECINSTR = 4;

export const SHN_UNDEF = 0;
export const SHN_LORESERVE = 0xff00;
export const SHN_COMMON = 0xfff2;

export const STB_LOCAL = 0;
export const STB_GLOBAL = 1;
export const STB_WEAK = 2;

export const STT_NOTYPE = 0;
export const STT_OBJECT = 1;
export const STT_FUNC = 2;
export const STT_SECTION = 3;

/** struct elf64_hdr, in bytes. */
export const ELF64_HDR = {
  size: 64,
  e_type: 16,
  e_machine: 18,
  e_version: 20,
  e_shoff: 40,
  e_ehsize: 52,
  e_shentsize: 58,
  e_shnum: 60,
  e_shstrndx: 62,
} as const;

/** struct elf64_shdr, in bytes. */
export const ELF64_SHDR = {
  size: 64,
  sh_name: 0,
  sh_type: 4,
  sh_flags: 8,
  sh_offset: 24,
  sh_size: 32,
  sh_link: 40,
  sh_info: 44,
  sh_addralign: 48,
  sh_entsize: 56,
} as const;

/** struct elf64_sym, in bytes. */
export const ELF64_SYM = {
  size: 24,
  st_name: 0,
  st_info: 4,
  st_other: 5,
  st_shndx: 6,
  st_value: 8,
  st_size: 16,
} as const;

/** struct elf64_rel, in bytes. */
export const ELF64_REL = { size: 16, r_offset: 0, r_info: 8 } as const;

/** What elf(5) has and the kernel's header has not. */
export const ELF_EXTRAS = {
  /** Visibility, in st_other: not seen from outside of the object. */
  STV_INTERNAL: 1,
  STV_HIDDEN: 2,
  /** sh_info names the section that a table of relocations is for. */
  SHF_INFO_LINK: 0x40,
} as const;

/** Relocation types (elf.h of LLVM and elfutils). */
export const RELOCATION_TYPES = {
  /** A wide load's 64 bits. */
  R_BPF_64_64: 1,
  R_BPF_64_ABS64: 2,
  R_BPF_64_ABS32: 3,
  /** 32 bits of `.BTF` and `.BTF.ext`, which nobody but the object's reader resolves. */
  R_BPF_64_NODYLD32: 4,
  /** A call's immediate. */
  R_BPF_64_32: 10,
} as const;
