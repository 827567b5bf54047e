/**
 * Room `bpf`: an object's functions as one program of the VM: behind each other, calls and callbacks among them
 * resolved, maps and data by number. Programs that tail call each other are then in the same code, and a place in it
 * leads back to its source line.
 *
 * A newcomer would get wrong: indices in an object count instructions, everything the machine knows counts slots.
 */
import { BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC, BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE } from '../../kernel/bpf-abi.ts';
import { type Instruction, slotsOf } from '../instructions.ts';
import type { FunctionSpec, LineInfo, ObjectSpec, Relocation } from '../object/spec.ts';
import type { Place } from './fault.ts';

/** The number of the first kernel function, as a helper of the machine's: above all that the kernel gives to helpers. */
export const KERNEL_FUNCTION_FIRST = 1_000_000;

/** What relocations become. */
export interface Numbers {
  /** A map's, a section's, a kernel variable's; undefined where there is none. */
  readonly map: (name: string) => number | undefined;
  /** A kernel function's. */
  readonly kernelFunction: (name: string) => number;
}

export interface LinkedObject {
  readonly instructions: readonly Instruction[];
  /** The slot in which each function begins. */
  readonly starts: ReadonlyMap<string, number>;
  placeOf(slot: number): Place | undefined;
}

interface Part {
  readonly spec: FunctionSpec;
  readonly start: number;
  /** The slot of each instruction, from the function's beginning, and behind them their sum. */
  readonly slots: Uint32Array;
}

function slotsBefore(instructions: readonly Instruction[]): Uint32Array {
  const slots = new Uint32Array(instructions.length + 1);
  for (const [index, one] of instructions.entries()) slots[index + 1] = slots[index] + slotsOf(one);
  return slots;
}

/** The last element at or before `index`. */
function lastBefore<T extends { readonly index: number }>(list: readonly T[], index: number): T | null {
  let found: T | null = null;
  for (const one of list) if (one.index <= index && (found === null || one.index >= found.index)) found = one;
  return found;
}

function place(part: Part, slot: number): Place {
  const within = slot - part.start;
  const index = part.slots.findLastIndex((start) => start <= within);
  const line: LineInfo | null = lastBefore(part.spec.lines, index);
  const names = lastBefore(part.spec.registerNames ?? [], index)?.names ?? [];
  return { function: part.spec.name, slot: within, line, names };
}

function resolve(
  found: Instruction,
  relocation: Relocation,
  slot: number,
  starts: ReadonlyMap<string, number>,
  numbers: Numbers,
): Instruction {
  const { kind, symbol, addend } = relocation;
  switch (kind) {
    case 'call':
    case 'callback': {
      const target = starts.get(symbol);
      if (target === undefined) throw new ReferenceError(`the object has no function ${symbol}`);
      const source = kind === 'call' ? BPF_PSEUDO_CALL : BPF_PSEUDO_FUNC;
      return { ...found, source, immediate: target - slot - 1, nextImmediate: 0 };
    }
    case 'kernelFunction':
      return { ...found, source: 0, offset: 0, immediate: numbers.kernelFunction(symbol) };
    default: {
      const number = numbers.map(symbol);
      // A weak symbol of the kernel's that is not there has address 0.
      if (number === undefined && kind === 'kernelSymbol')
        return { ...found, source: 0, immediate: 0, nextImmediate: 0 };
      if (number === undefined) throw new ReferenceError(`the object has no ${kind} ${symbol}`);
      const source = kind === 'map' ? BPF_PSEUDO_MAP_FD : BPF_PSEUDO_MAP_VALUE;
      return { ...found, source, immediate: number, nextImmediate: kind === 'data' ? addend : 0 };
    }
  }
}

/** @throws ReferenceError for something that the object refers to and does not have */
export function linkObject(spec: ObjectSpec, numbers: Numbers): LinkedObject {
  const parts: Part[] = [];
  const starts = new Map<string, number>();
  let end = 0;
  for (const one of spec.functions) {
    const slots = slotsBefore(one.instructions);
    parts.push({ spec: one, start: end, slots });
    starts.set(one.name, end);
    end += slots[one.instructions.length];
  }
  const instructions = parts.flatMap(({ spec: { instructions: own, relocations }, start, slots }) => {
    const resolved = [...own];
    for (const relocation of relocations) {
      const { index } = relocation;
      resolved[index] = resolve(own[index], relocation, start + slots[index], starts, numbers);
    }
    return resolved;
  });
  return {
    instructions,
    starts,
    placeOf(slot) {
      const part = parts.findLast(({ start }) => start <= slot);
      return part === undefined ? undefined : place(part, slot);
    },
  };
}
