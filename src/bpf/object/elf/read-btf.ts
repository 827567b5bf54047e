/**
 * Room `bpf`: the `.BTF` of an object, completed by what only ELF knows: clang leaves the sizes of data sections and the places of
 * global variables in them to whoever reads the object.
 *
 * A newcomer would get wrong: relocations of `.BTF` are to be applied before it is read, and the kernel wants a section's variables in
 * the order of their places, which clang does not give.
 */
import { BTF_FUNC_STATIC } from '../../../kernel/btf-abi.ts';
import { RELOCATION_TYPES } from '../../../kernel/elf-abi.ts';
import { HEAD_WORDS } from '../btf/sections.ts';
import { Btf } from '../btf/table.ts';
import { ElfError, type ElfFile, isLocal } from './file.ts';
import type { PlacedFunction } from './read-functions.ts';

const BYTES_OF_RELOCATION: Readonly<Record<number, number>> = {
  [RELOCATION_TYPES.R_BPF_64_ABS32]: 4,
  [RELOCATION_TYPES.R_BPF_64_NODYLD32]: 4,
};

/** The object's types, or null where it has none. @throws ElfError, BtfError for a table that is broken */
export function readBtf(elf: ElfFile, functions: readonly PlacedFunction[]): Btf | null {
  const section = elf.section('.BTF');
  if (section === null) return null;
  const bytes = section.bytes.slice();
  const view = new DataView(bytes.buffer);
  for (const { offset, type, symbol } of elf.relocationsFor(section)) {
    const width = BYTES_OF_RELOCATION[type];
    if (width === undefined) throw new ElfError(`.BTF has a relocation of type ${type}`);
    if (offset + width > bytes.length) throw new ElfError(`a relocation of .BTF reaches beyond its end`);
    view.setUint32(offset, view.getUint32(offset, true) + symbol.value, true);
  }
  // The table reads the bytes where they lie, so that what is written into its words is read from it afterwards.
  const btf = Btf.decode(bytes);
  completeSections(elf, btf);
  hideFunctions(btf, functions);
  return Btf.decode(bytes);
}

function completeSections(elf: ElfFile, btf: Btf): void {
  for (let id = btf.firstId; id < btf.endId; id++) {
    if (btf.kind(id) !== 'datasec') continue;
    const at = btf.wordOf(id);
    const count = btf.words[at + 1] & 0xffff;
    const section = elf.section(btf.nameOf(id));
    if (btf.words[at + 2] === 0 && section !== null) btf.words[at + 2] = section.size;
    const places = Array.from({ length: count }, (_, index) => {
      const from = at + HEAD_WORDS + index * 3;
      return btf.words.slice(from, from + 3);
    });
    places.sort((left, right) => left[1] - right[1]);
    for (const [index, place] of places.entries()) btf.words.set(place, at + HEAD_WORDS + index * 3);
  }
}

/** A global function that is hidden is verified with its callers, as a static one; the kernel sees that in its type. */
function hideFunctions(btf: Btf, functions: readonly PlacedFunction[]): void {
  for (const { symbol } of functions) {
    if (!isLocal(symbol)) continue;
    for (const id of btf.byName(symbol.name, 'func')) {
      const at = btf.wordOf(id) + 1;
      btf.words[at] = (btf.words[at] & 0xffff0000) | BTF_FUNC_STATIC;
    }
  }
}
