/**
 * Room `bpf`: an object's types in the kernel (BPF_BTF_LOAD), and the tables that tie a program's instructions to functions and source
 * lines, so that the verifier's log and bpftool show them.
 *
 * A newcomer would get wrong: an object's BTF is not what the kernel takes. It names things that lie elsewhere (`extern`: kernel
 * functions, kconfig values), which the kernel refuses in a program's BTF. They are made ordinary in a copy.
 */
import { BPF_BTF_LOAD } from '../../kernel/bpf-attributes.ts';
import { own } from '../../kernel/native.ts';
import type { Btf } from '../object/btf/table.ts';
import { bpf, bpfError, stable, textOf } from './bpf.ts';
import { FUNCTION_INFO_BYTES, LINE_INFO_BYTES, type ProgramBtf } from './program.ts';
import type { ProgramLayout } from './program-layout.ts';

const LOG_BYTES = 1 << 16;
/** A record's head: name, info (kind, count), size or type (Documentation/bpf/btf.rst). */
const HEAD_WORDS = 3;
/** type, offset, size of a variable in a DATASEC; name, type, offset of a member in a STRUCT: both have three words. */
const ENTRY_WORDS = 3;
const KIND_STRUCT = 4;
const EXTERN = 2;

function infoOf(kind: number, count: number): number {
  return (kind << 24) | count;
}

/** Makes what is elsewhere ordinary: variables become global ones, functions static ones. */
function makeOrdinary(btf: Btf, words: Uint32Array, id: number): void {
  const at = btf.wordOf(id);
  const kind = btf.kind(id);
  const count = words[at + 1] & 0xffff;
  if (kind === 'var' && words[at + HEAD_WORDS] === EXTERN) words[at + HEAD_WORDS] = 1;
  if (kind === 'func' && count === EXTERN) words[at + 1] = infoOf(words[at + 1] >>> 24, 0);
  if (kind !== 'datasec') return;
  const members = Array.from({ length: count }, (_, index) => words[at + HEAD_WORDS + index * ENTRY_WORDS]);
  if (members.every((member) => btf.kind(member) === 'var') && words[at + 2] > 0) return;
  // Functions are no variables, and a section without size is none: such a section becomes a nameless struct of as many integers.
  const integer = firstInteger(btf);
  words[at] = 0;
  words[at + 1] = infoOf(KIND_STRUCT, integer === null ? 0 : count);
  words[at + 2] = integer === null ? 0 : count * integer.bytes;
  if (integer === null) return;
  for (let index = 0; index < count; index++) {
    words.set([0, integer.id, index * integer.bytes * 8], at + HEAD_WORDS + index * ENTRY_WORDS);
  }
}

function firstInteger(btf: Btf): { readonly id: number; readonly bytes: number } | null {
  for (let id = btf.firstId; id < btf.endId; id++) {
    const type = btf.kind(id) === 'int' ? btf.type(id) : null;
    if (type?.kind === 'int') return { id, bytes: type.bytes };
  }
  return null;
}

/** The bytes of a table as the kernel takes them. Ids stay what they are. */
export function kernelBytes(btf: Btf): Uint8Array {
  const bytes = stable(btf.encode());
  // The records begin behind the header, whose second word is its length and third their offset behind it.
  const header = new DataView(bytes.buffer, 0, bytes.length);
  const first = header.getUint32(4, true) + header.getUint32(8, true);
  const words = new Uint32Array(bytes.buffer, first, header.getUint32(12, true) / 4);
  for (let id = btf.firstId; id < btf.endId; id++) makeOrdinary(btf, words, id);
  return bytes;
}

/** Types that the kernel has loaded: a descriptor to close. @throws KernelError with the kernel's own words */
export function loadBtf(btf: Btf): number {
  const bytes = kernelBytes(btf);
  const result = bpf(BPF_BTF_LOAD, { btf: bytes, btf_size: bytes.length });
  if (result >= 0) {
    own(result);
    return result;
  }
  const log = stable(LOG_BYTES);
  bpf(BPF_BTF_LOAD, {
    btf: bytes,
    btf_size: bytes.length,
    btf_log_buf: log,
    btf_log_size: LOG_BYTES,
    btf_log_level: 1,
  });
  const said = textOf(log).trim().split('\n').at(-1) ?? '';
  throw bpfError(result, 'types of the object', said === '' ? undefined : `the kernel says: ${said}`);
}

/**
 * The tables of a program. Empty where a function has no type, since the kernel wants one for each; without lines where a function
 * has none, since it wants one for each function's beginning (check_btf_func, check_btf_line).
 */
export function programBtf(descriptor: number, btf: Btf, layout: ProgramLayout): ProgramBtf {
  const { functions } = layout;
  const none = { descriptor, functions: new Uint8Array(0), lines: new Uint8Array(0) };
  if (functions.some((one) => one.function.typeId === 0)) return none;
  const table = new Uint32Array(functions.flatMap((one) => [one.slot, one.function.typeId]));
  const rows = functions.flatMap((one) => lineRows(btf, one));
  const isComplete = functions.every((one) => one.function.lines.length > 0);
  const lines = new Uint32Array(isComplete ? rows.flat() : []);
  return { descriptor, functions: bytesOf(table, FUNCTION_INFO_BYTES), lines: bytesOf(lines, LINE_INFO_BYTES) };
}

function lineRows(btf: Btf, { function: one, slots }: ProgramLayout['functions'][number]): number[][] {
  const rows: number[][] = [];
  for (const { index, file, line, column, text } of one.lines) {
    // Only the first of an instruction counts; and a function's first instruction must have one.
    const slot = rows.length === 0 ? slots[0] : slots[index];
    if (slot === undefined || slot === rows.at(-1)?.[0]) continue;
    const place = ((line << 10) | Math.min(column, 1023)) >>> 0;
    rows.push([slot, btf.stringOffset(file) ?? 0, btf.stringOffset(text) ?? 0, place]);
  }
  return rows;
}

function bytesOf(words: Uint32Array, recordBytes: number): Uint8Array {
  if (words.byteLength % recordBytes !== 0) throw new RangeError('a table of records that is not whole');
  return new Uint8Array(words.buffer);
}
