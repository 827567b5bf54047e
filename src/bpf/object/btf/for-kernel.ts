/**
 * Room `bpf`: an object's types as BPF_BTF_LOAD takes them. What an object says of externs (kconfig options, kernel functions and
 * variables) is for its loader, and the kernel refuses it.
 *
 * A newcomer would get wrong: ids stay what they are. Records are changed where they lie, and one is added behind the last.
 */
import {
  BTF_FUNC_EXTERN,
  BTF_FUNC_GLOBAL,
  BTF_VAR_GLOBAL_ALLOCATED,
  BTF_VAR_GLOBAL_EXTERN,
} from '../../../kernel/btf-abi.ts';
import type { BtfPlace } from './records.ts';
import { joinSections, RecordWriter } from './records-writer.ts';
import { HEAD_WORDS } from './sections.ts';
import { Btf } from './table.ts';

/** What stands in the place of a kernel symbol. */
const PLACEHOLDER_BYTES = 4;
/** A record's info word: its kind and its flag; the rest is a count, or a function's linkage. */
const ALL_BUT_COUNT = 0xffff0000;

/** The table that the kernel takes. Its own bytes stay as they are. */
export function forKernel(btf: Btf): Btf {
  const isExtern = (id: number): boolean => {
    const type = btf.type(id);
    return (
      (type.kind === 'func' && type.linkage === BTF_FUNC_EXTERN) ||
      (type.kind === 'var' && type.linkage === BTF_VAR_GLOBAL_EXTERN)
    );
  };
  const ids = Array.from({ length: btf.endId - btf.firstId }, (_, index) => btf.firstId + index);
  const externs = ids.filter(isExtern);
  const unnamed = ids.filter((id) => btf.kind(id) === 'funcProto' && hasUnnamedParameter(btf, id));
  if (externs.length === 0 && unnamed.length === 0) return btf;

  const writer = new RecordWriter(btf);
  const placeholder = addPlaceholder(writer);
  const extended = writer.finish();
  const words = extended.words.slice();
  const name = extended.stringOffset('argument') ?? 0;
  for (const id of externs) makeGlobal(words, btf, id, placeholder.int);
  for (const id of unnamed) nameParameters(words, btf, id, name);
  for (const id of ids) {
    const type = btf.type(id);
    if (type.kind !== 'datasec') continue;
    if (type.name === '.ksyms') putPlaceholders(words, btf.wordOf(id), type.places.length, placeholder.variable);
    if (type.name === '.kconfig') putInOrder(words, btf, id, type.places);
  }
  return Btf.decode(joinSections(words, extended.strings));
}

function hasUnnamedParameter(btf: Btf, id: number): boolean {
  const type = btf.type(id);
  return type.kind === 'funcProto' && type.parameters.some((one) => one.name === '' && one.type !== 0);
}

function addPlaceholder(writer: RecordWriter): { readonly int: number; readonly variable: number } {
  writer.string('argument');
  const int = writer.add({
    kind: 'int',
    name: 'int',
    bytes: PLACEHOLDER_BYTES,
    bits: PLACEHOLDER_BYTES * 8,
    offsetBits: 0,
    signed: true,
    character: false,
    boolean: false,
  });
  const variable = writer.add({
    kind: 'var',
    name: 'kernel_symbol',
    type: int,
    linkage: BTF_VAR_GLOBAL_ALLOCATED,
  });
  return { int, variable };
}

/** `const void` has no size, which the kernel wants of a variable: its type becomes an int unless it is a kconfig option's. */
function makeGlobal(words: Uint32Array, btf: Btf, id: number, int: number): void {
  const at = btf.wordOf(id);
  const type = btf.type(id);
  if (type.kind === 'func') {
    words[at + 1] = (words[at + 1] & ALL_BUT_COUNT) | BTF_FUNC_GLOBAL;
    return;
  }
  words[at + HEAD_WORDS] = BTF_VAR_GLOBAL_ALLOCATED;
  if (type.kind === 'var' && btf.resolved(type.type).kind === 'void') words[at + 2] = int;
}

/** The kernel wants a name for each parameter of a function; C's prototypes need none. */
function nameParameters(words: Uint32Array, btf: Btf, id: number, name: number): void {
  const type = btf.type(id);
  if (type.kind !== 'funcProto') return;
  const at = btf.wordOf(id) + HEAD_WORDS;
  for (const [index, parameter] of type.parameters.entries()) {
    if (parameter.name === '' && parameter.type !== 0) words[at + index * 2] = name;
  }
}

/** A section of kernel symbols becomes one of as many ints. */
function putPlaceholders(words: Uint32Array, at: number, count: number, variable: number): void {
  words[at + 2] = count * PLACEHOLDER_BYTES;
  for (let index = 0; index < count; index++) {
    words.set([variable, index * PLACEHOLDER_BYTES, PLACEHOLDER_BYTES], at + HEAD_WORDS + index * 3);
  }
}

/** clang leaves all offsets of `.kconfig` 0; the kernel wants them to ascend. */
function putInOrder(words: Uint32Array, btf: Btf, id: number, places: readonly BtfPlace[]): void {
  const ordered = placeInOrder(places);
  const at = btf.wordOf(id);
  words[at + 2] = ordered.reduce((end, place) => Math.max(end, place.offset + place.bytes), 0);
  for (const [index, { type, offset, bytes }] of ordered.entries()) {
    words.set([type, offset, bytes], at + HEAD_WORDS + index * 3);
  }
}

/** Offsets one behind the other, aligned, for variables that have none yet; others keep theirs. */
export function placeInOrder(places: readonly BtfPlace[]): BtfPlace[] {
  if (new Set(places.map((place) => place.offset)).size === places.length) return [...places];
  let end = 0;
  return places.map((place) => {
    const alignment = [8, 4, 2].find((one) => place.bytes % one === 0) ?? 1;
    const offset = Math.ceil(end / alignment) * alignment;
    end = offset + place.bytes;
    return { ...place, offset };
  });
}
