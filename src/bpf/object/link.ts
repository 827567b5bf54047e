/**
 * Room `bpf`: from an object to what bpf(2) takes: one program with all functions that it calls, behind each other in one stream of
 * instructions, calls among them filled in. Maps, data and kernel symbols stay to be filled by the loader.
 *
 * A newcomer would get wrong: the distance of a call counts slots, and positions in relocations and lines count instructions, where a
 * wide load is one. The kernel wants the types of all functions of a stream or of none, and likewise their lines.
 */
import { BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC } from '../../kernel/bpf-abi.ts';
import { type Instruction, slotsOf } from '../instructions.ts';
import { packLine } from './btf/ext.ts';
import type { Btf } from './btf/table.ts';
import type { CoreRecord, FunctionSpec, LineInfo, ObjectSpec, ProgramKind, RegisterNames, Relocation } from './spec.ts';

/** Where a function begins in a linked program. */
export interface LinkedFunction {
  readonly name: string;
  /** Its first instruction. */
  readonly index: number;
  readonly typeId: number;
}

/** A program with everything it calls. The program itself comes first. */
export interface LinkedProgram {
  readonly name: string;
  readonly kind: ProgramKind | null;
  readonly instructions: readonly Instruction[];
  /** Those of the kinds map, data, kernelFunction and kernelSymbol. */
  readonly relocations: readonly Relocation[];
  readonly core: readonly CoreRecord[];
  readonly functions: readonly LinkedFunction[];
  readonly lines: readonly LineInfo[];
  readonly registerNames: readonly RegisterNames[];
}

/** Something refers to a function, or a program is asked for, that the object does not have. */
export class LinkError extends Error {
  override readonly name = 'LinkError';
}

/** The functions that `first` reaches by calls and callbacks, each once, in the order in which they are met. */
function reachable(first: FunctionSpec, byName: ReadonlyMap<string, FunctionSpec>): FunctionSpec[] {
  const found = [first];
  // The list grows while it is walked.
  for (const from of found) {
    for (const { kind, symbol } of from.relocations) {
      if (kind !== 'call' && kind !== 'callback') continue;
      const target = byName.get(symbol);
      if (target === undefined) throw new LinkError(`${from.name} calls ${symbol}, which the object does not have`);
      if (!found.includes(target)) found.push(target);
    }
  }
  return found;
}

/** The slot of each instruction, and behind them the number of all slots. */
export function slotsBefore(instructions: readonly Instruction[]): Uint32Array {
  const slots = new Uint32Array(instructions.length + 1);
  for (const [index, one] of instructions.entries()) slots[index + 1] = slots[index] + slotsOf(one);
  return slots;
}

const moved = <T extends { readonly index: number }>(list: readonly T[], by: number): T[] =>
  list.map((one) => ({ ...one, index: one.index + by }));

/** Every function's first instruction gets a line, where the function has any. */
function linesFromBeginning(lines: readonly LineInfo[]): readonly LineInfo[] {
  const [first] = lines;
  return first === undefined || first.index === 0 ? lines : [{ ...first, index: 0 }, ...lines];
}

/**
 * Links one program. @throws LinkError where it, or a function that it calls, does not exist
 * @example link(spec, 'filter').instructions
 */
export function link(spec: ObjectSpec, program: string): LinkedProgram {
  const byName = new Map(spec.functions.map((one) => [one.name, one]));
  const first = byName.get(program);
  if (first === undefined) throw new LinkError(`the object has no program ${program}`);
  const parts = reachable(first, byName);
  const starts = new Map<string, number>();
  let length = 0;
  for (const part of parts) {
    starts.set(part.name, length);
    length += part.instructions.length;
  }
  const startOf = (name: string): number => starts.get(name) ?? 0;
  const instructions = parts.flatMap((part) => part.instructions);
  const slots = slotsBefore(instructions);
  const relocations: Relocation[] = [];
  for (const part of parts) {
    for (const relocation of moved(part.relocations, startOf(part.name))) {
      const { kind, index, symbol } = relocation;
      if (kind !== 'call' && kind !== 'callback') {
        relocations.push(relocation);
        continue;
      }
      instructions[index] = {
        ...instructions[index],
        source: kind === 'call' ? BPF_PSEUDO_CALL : BPF_PSEUDO_FUNC,
        // Counted from the slot behind the one that refers; for a wide load, behind its first.
        immediate: slots[startOf(symbol)] - slots[index] - 1,
        nextImmediate: 0,
      };
    }
  }
  const lists = parts.map((part) => linesFromBeginning(part.lines));
  const withLines = lists.every((lines) => lines.length > 0);
  const withTypes = parts.every((part) => part.typeId !== 0);
  return {
    name: first.name,
    kind: first.kind,
    instructions,
    relocations,
    core: parts.flatMap((part) => moved(part.core, startOf(part.name))),
    functions: withTypes ? parts.map(({ name, typeId }) => ({ name, index: startOf(name), typeId })) : [],
    lines: withLines ? parts.flatMap((part, index) => moved(lists[index], startOf(part.name))) : [],
    registerNames: parts.flatMap((part) => moved(part.registerNames ?? [], startOf(part.name))),
  };
}

/** The tables that BPF_PROG_LOAD takes beside the instructions: arrays of struct bpf_func_info and struct bpf_line_info. */
export interface ProgramInfo {
  readonly functions: Uint8Array;
  readonly functionCount: number;
  readonly functionBytes: number;
  readonly lines: Uint8Array;
  readonly lineCount: number;
  readonly lineBytes: number;
}

const FUNCTION_WORDS = 2;
const LINE_WORDS = 4;

/** Lines whose text the table does not have are left out; an object's own table has them all. */
export function programInfo(program: LinkedProgram, btf: Btf): ProgramInfo {
  const slots = slotsBefore(program.instructions);
  const functions = program.functions.flatMap(({ index, typeId }) => [slots[index], typeId]);
  const known = new Map<string, number | null>();
  const offsetOf = (text: string): number | null => {
    let offset = known.get(text);
    if (offset === undefined) {
      offset = btf.stringOffset(text);
      known.set(text, offset);
    }
    return offset;
  };
  const lines: number[] = [];
  for (const { index, file, text, line, column } of program.lines) {
    const fileOffset = offsetOf(file);
    if (fileOffset === null) continue;
    lines.push(slots[index], fileOffset, offsetOf(text) ?? 0, packLine(line, column));
  }
  return {
    functions: new Uint8Array(Uint32Array.from(functions).buffer),
    functionCount: program.functions.length,
    functionBytes: FUNCTION_WORDS * 4,
    lines: new Uint8Array(Uint32Array.from(lines).buffer),
    lineCount: lines.length / LINE_WORDS,
    lineBytes: LINE_WORDS * 4,
  };
}
