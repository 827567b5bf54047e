/**
 * Room `bpf`: an ELF object to an `ObjectSpec`, our own or clang's (`clang -target bpf -g -O2 -c`).
 *
 * A newcomer would get wrong: nothing here asks the kernel. Offsets of kernel structs are still those of the compiler's headers,
 * kconfig options have places and no values, and a program's section may name a hook that does not exist.
 */
import { SHN_UNDEF, SHT_NOBITS, SHT_PROGBITS, STB_WEAK, STT_OBJECT } from '../../../kernel/elf-abi.ts';
import { decodeExt } from '../btf/ext.ts';
import { placeInOrder } from '../btf/for-kernel.ts';
import type { Btf } from '../btf/table.ts';
import { typeOf } from '../btf/to-type.ts';
import type { DataSection, KconfigSpec, KernelSymbolSpec, ObjectSpec, VariableSpec } from '../spec.ts';
import { ElfError, ElfFile, type ElfSection, stringAt } from './file.ts';
import { readBtf } from './read-btf.ts';
import { functionAt, type PlacedFunction, placeFunctions, readFunctions } from './read-functions.ts';
import { type NameOf, placesOf, readMaps, readStructOps } from './read-maps.ts';

const DATA = /^\.(?:ro)?data(?:\..+)?$|^\.bss(?:\..+)?$|^\.addr_space\.1$/;
const READ_ONLY = /^\.rodata/;

/**
 * Reads an object.
 * @throws ElfError for bytes that are no eBPF object, lie about offsets, or use what is not supported, each named
 * @throws BtfError for types that make no sense
 */
export function readElf(bytes: Uint8Array): ObjectSpec {
  const elf = new ElfFile(bytes);
  const functions = placeFunctions(elf);
  const btf = readBtf(elf, functions);
  const functionOf: NameOf = (symbol, addend) => {
    const name = functionAt(functions, symbol.section, symbol.value + addend);
    if (name === null) throw new ElfError(`${symbol.name} is no function`);
    return name;
  };
  const placedMaps = readMaps(elf, btf, functionOf);
  const data = readData(elf, btf);
  const kconfig = readKconfig(elf, btf);
  const ext = elf.section('.BTF.ext');
  const dataNames = new Map(data.map(({ section, spec }) => [section.index, spec.name]));
  return {
    license: readLicense(elf),
    functions: readFunctions(elf, functions, ext === null || btf === null ? new Map() : decodeExt(ext.bytes, btf), {
      mapAt: (section, offset) =>
        placedMaps.find((one) => one.section === section && one.offset === offset)?.map.name ?? null,
      dataSection: (section) => dataNames.get(section) ?? null,
      kconfig: (name) => kconfig.find((one) => one.name === name)?.offset ?? null,
    }),
    maps: [...placedMaps.map((one) => one.map), ...readStructOps(elf, btf, functionOf)],
    data: data.map((one) => one.spec),
    kconfig,
    kernelSymbols: readKernelSymbols(elf, btf, functions, kconfig),
    btf,
  };
}

function readLicense(elf: ElfFile): string {
  const section = elf.section('license');
  return section === null || section.bytes.length === 0 ? '' : stringAt(section.bytes, 0);
}

function readData(elf: ElfFile, btf: Btf | null): { readonly section: ElfSection; readonly spec: DataSection }[] {
  return elf.sections
    .filter(({ name, type, size }) => DATA.test(name) && size > 0 && (type === SHT_PROGBITS || type === SHT_NOBITS))
    .map((section) => {
      const typeId = btf?.byName(section.name, 'datasec')[0] ?? 0;
      const variables = btf === null || typeId === 0 ? variablesBySymbol(elf, section) : variablesByType(btf, section);
      return {
        section,
        spec: {
          name: section.name,
          bytes: elf.contentOf(section),
          readOnly: READ_ONLY.test(section.name),
          variables,
          typeId,
        },
      };
    });
}

function variablesBySymbol(elf: ElfFile, section: ElfSection): VariableSpec[] {
  return elf.symbols
    .filter((symbol) => symbol.section === section.index && symbol.type === STT_OBJECT)
    .map(({ name, value, size }) => ({ name, offset: value, bytes: size, type: null }))
    .sort((a, b) => a.offset - b.offset);
}

function variablesByType(btf: Btf, section: ElfSection): VariableSpec[] {
  return placesOf(btf, section.name).map(({ type: id, offset, bytes }) => {
    const variable = btf.type(id);
    if (variable.kind !== 'var') throw new ElfError(`BTF type ${id} is in ${section.name} and is no variable`);
    if (offset + bytes > section.size) throw new ElfError(`${variable.name} reaches beyond ${section.name}`);
    return { name: variable.name, offset, bytes, type: typeOf(btf, variable.type) };
  });
}

function isWeak(elf: ElfFile, name: string): boolean {
  return elf.symbols.some((one) => one.name === name && one.section === SHN_UNDEF && one.binding === STB_WEAK);
}

function readKconfig(elf: ElfFile, btf: Btf | null): KconfigSpec[] {
  if (btf === null) return [];
  return placeInOrder(placesOf(btf, '.kconfig')).map(({ type: id, offset, bytes }) => {
    const variable = btf.type(id);
    if (variable.kind !== 'var') throw new ElfError(`BTF type ${id} is in .kconfig and is no variable`);
    const { name, type } = variable;
    return { name, offset, bytes, weak: isWeak(elf, name), typeKind: kconfigKind(btf, name, type) };
  });
}

function kconfigKind(btf: Btf, name: string, id: number): KconfigSpec['typeKind'] {
  const type = btf.resolved(id);
  switch (type.kind) {
    case 'int':
      return type.boolean ? 'boolean' : 'integer';
    case 'enum':
      if (type.name === 'libbpf_tristate') return 'tristate';
      return 'integer';
    case 'array':
      return 'string';
    default:
      throw new ElfError(
        `kconfig option ${name} is a ${type.kind}; an integer, bool, tristate or char array is expected`,
      );
  }
}

/** Undefined symbols that are no kconfig options. Without BTF, all that is known is the name. */
function readKernelSymbols(
  elf: ElfFile,
  btf: Btf | null,
  functions: readonly PlacedFunction[],
  kconfig: readonly KconfigSpec[],
): KernelSymbolSpec[] {
  const symbols: KernelSymbolSpec[] =
    btf === null
      ? []
      : placesOf(btf, '.ksyms').map(({ type }) => {
          const found = btf.type(type);
          const spec = { name: found.name, weak: isWeak(elf, found.name), typeId: type };
          if (found.kind === 'func') return { ...spec, kind: 'function' };
          if (found.kind !== 'var')
            throw new ElfError(`BTF type ${type} is in .ksyms and is neither function nor variable`);
          if (btf.resolved(found.type).kind === 'void') return { ...spec, kind: 'variable' };
          return { ...spec, kind: 'variable', type: typeOf(btf, found.type) };
        });
  const known = new Set([...symbols, ...kconfig].map((one) => one.name));
  for (const { name, section, binding } of elf.symbols) {
    if (section !== SHN_UNDEF || name === '' || known.has(name)) continue;
    throw new ElfError(
      `${name} is not defined${binding === STB_WEAK ? ' (weak)' : ''}; ` +
        `${functions.length === 0 ? 'the object has no functions' : 'a kernel symbol needs __ksym, a kconfig option __kconfig'}`,
    );
  }
  return symbols;
}
