/**
 * Room `bpf`: a program with the functions that it calls, one behind the other, as the kernel takes it, and the way back from a slot
 * to the source.
 *
 * A newcomer would get wrong: a static function is verified each time it is called, a global one once, by its types alone; both are
 * only there if they are in the same load. A function that two programs call is loaded twice.
 */
import { BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC } from '../../kernel/bpf-abi.ts';
import { type Instruction, slotsOf } from '../instructions.ts';
import type { FunctionSpec, LineInfo, Relocation } from '../object/spec.ts';
import type { ProgramSource, SourcePosition } from './verifier.ts';

/** A function at its place in a program. */
export interface PlacedFunction {
  readonly function: FunctionSpec;
  /** The slot of its first instruction. */
  readonly slot: number;
  /** The slot of each instruction, from the program's beginning. */
  readonly slots: readonly number[];
}

export interface ProgramLayout {
  readonly functions: readonly PlacedFunction[];
  readonly slotCount: number;
}

/** What stands in the place of a relocated instruction; null leaves it. */
export type Patch = (relocation: Relocation, one: Instruction, owner: FunctionSpec) => Instruction | null;

const isInternal = (relocation: Relocation): boolean => relocation.kind === 'call' || relocation.kind === 'callback';

/** The functions that `program` reaches, itself first, in the order in which they are met. @throws ReferenceError for a missing one */
function reached(program: FunctionSpec, functions: ReadonlyMap<string, FunctionSpec>): FunctionSpec[] {
  const found = [program];
  const names = new Set([program.name]);
  for (const one of found) {
    for (const relocation of one.relocations.filter(isInternal)) {
      if (names.has(relocation.symbol)) continue;
      const called = functions.get(relocation.symbol);
      if (called === undefined)
        throw new ReferenceError(`${one.name} calls ${relocation.symbol}, which the object does not have`);
      names.add(called.name);
      found.push(called);
    }
  }
  return found;
}

/** Places a program and the functions that it calls, directly or not. */
export function layOutProgram(program: FunctionSpec, functions: ReadonlyMap<string, FunctionSpec>): ProgramLayout {
  let next = 0;
  const placed = reached(program, functions).map((one) => {
    const slot = next;
    const slots = one.instructions.map((instruction) => {
      const here = next;
      next += slotsOf(instruction);
      return here;
    });
    return { function: one, slot, slots };
  });
  return { functions: placed, slotCount: next };
}

/** The program's instructions with every relocation filled: calls here, everything else by `patch`. */
export function instructionsOf(layout: ProgramLayout, patch: Patch): Instruction[] {
  const slotOf = new Map(layout.functions.map(({ function: one, slot }) => [one.name, slot]));
  return layout.functions.flatMap(({ function: owner, slots }) => {
    const code = [...owner.instructions];
    for (const relocation of owner.relocations) {
      const { index, symbol } = relocation;
      // Relative to the slot behind the instruction; of a wide load, behind its first half (fixup_call_args, kernel/bpf/verifier.c).
      const distance = (slotOf.get(symbol) ?? 0) - slots[index] - 1;
      if (relocation.kind === 'call') code[index] = { ...code[index], source: BPF_PSEUDO_CALL, immediate: distance };
      else if (relocation.kind === 'callback')
        code[index] = { ...code[index], source: BPF_PSEUDO_FUNC, immediate: distance };
      else code[index] = patch(relocation, code[index], owner) ?? code[index];
    }
    return code;
  });
}

/** The last entry of a list in rising order whose `index` is not beyond `index`. */
function lastUpTo<T extends { readonly index: number }>(entries: readonly T[], index: number): T | null {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (entries[middle].index <= index) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? null : entries[low - 1];
}

/** Which instruction of a function a slot is; that of a wide load for its second half. */
function indexAt(slots: readonly number[], slot: number): number {
  const found = lastUpTo(
    slots.map((at, place) => ({ index: at, place })),
    slot,
  );
  return found?.place ?? 0;
}

/** From slots back to the source, for the verifier's messages. */
export function sourceOf(layout: ProgramLayout): ProgramSource {
  return {
    at(slot): SourcePosition | null {
      const placed = layout.functions.findLast((one) => one.slot <= slot);
      if (placed === undefined) return null;
      const index = indexAt(placed.slots, slot);
      const line: LineInfo | null = lastUpTo(placed.function.lines, index);
      if (line === null) return null;
      const names = lastUpTo(placed.function.registerNames ?? [], index)?.names ?? [];
      return { file: line.file, line: line.line, column: line.column, text: line.text, names };
    },
  };
}
