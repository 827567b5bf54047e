/**
 * Room `bpf`: which registers hold something that is still read, at the beginning and end of each block; and what to remove because
 * nobody reads it.
 *
 * A newcomer would get wrong: sets are bits in words, and machine registers are members like any other (0 to 10, without r10).
 */
import {
  FRAME,
  type MachineBlock,
  type MachineFunction,
  type MachineInstruction,
  NONE,
  postorder,
  successors,
} from './machine.ts';

/** Sets of registers, one beside the other. */
export class RegisterSet {
  readonly words: Uint32Array;

  constructor(registers: number) {
    this.words = new Uint32Array((registers + 31) >>> 5);
  }

  has(register: number): boolean {
    return (this.words[register >>> 5] & (1 << (register & 31))) !== 0;
  }

  add(register: number): void {
    this.words[register >>> 5] |= 1 << (register & 31);
  }

  delete(register: number): void {
    this.words[register >>> 5] &= ~(1 << (register & 31));
  }

  copyFrom(other: RegisterSet): void {
    this.words.set(other.words);
  }

  /** Calls `visit` for each member, in order. */
  forEach(visit: (register: number) => void): void {
    for (let index = 0; index < this.words.length; index++) {
      for (let word = this.words[index]; word !== 0; word &= word - 1)
        visit(index * 32 + 31 - Math.clz32(word & -word));
    }
  }
}

/** Calls `visit` for each register that an instruction reads; r10 is none. */
export function forEachRead(instruction: MachineInstruction, visit: (register: number) => void): void {
  const { tied, first, second, reads } = instruction;
  if (tied !== NONE && tied !== FRAME) visit(tied);
  if (first !== NONE && first !== FRAME) visit(first);
  if (second !== NONE && second !== FRAME) visit(second);
  for (let left = reads; left !== 0; left &= left - 1) visit(31 - Math.clz32(left & -left));
}

/** Calls `visit` for each register that the end of a block reads. */
export function forEachEndRead({ end }: MachineBlock, visit: (register: number) => void): void {
  if (end.kind === 'exit') visit(0);
  if (end.kind !== 'branch') return;
  if (end.first !== FRAME) visit(end.first);
  if (end.second !== NONE && end.second !== FRAME) visit(end.second);
}

/** Live registers by block index. */
export interface Liveness {
  readonly into: readonly RegisterSet[];
  readonly outOf: readonly RegisterSet[];
}

/** Steps backwards over an instruction: `live` held what is live behind it, and then what is live before it. */
export function stepBack(live: RegisterSet, instruction: MachineInstruction): void {
  if (instruction.def !== NONE) live.delete(instruction.def);
  if (instruction.writes !== 0) live.words[0] &= ~instruction.writes;
  forEachRead(instruction, (register) => live.add(register));
}

/** Finds what is live. Blocks must be numbered, and all reachable. */
export function findLiveness(target: MachineFunction): Liveness {
  const { blocks, registers } = target;
  const into = blocks.map(() => new RegisterSet(registers));
  const outOf = blocks.map(() => new RegisterSet(registers));
  const read = blocks.map(() => new RegisterSet(registers));
  const written = blocks.map(() => new RegisterSet(registers));
  for (const block of blocks) summarise(block, read[block.index], written[block.index]);
  const order = postorder(target);
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of order) {
      const { index } = block;
      const out = outOf[index].words;
      for (const successor of successors(block)) {
        const words = into[successor.index].words;
        for (let word = 0; word < out.length; word++) out[word] |= words[word];
      }
      const live = into[index].words;
      for (let word = 0; word < out.length; word++) {
        const next = (read[index].words[word] | (out[word] & ~written[index].words[word])) >>> 0;
        if (next === live[word]) continue;
        live[word] = next;
        changed = true;
      }
    }
  }
  return { into, outOf };
}

function summarise(block: MachineBlock, read: RegisterSet, written: RegisterSet): void {
  const note = (register: number): void => {
    if (!written.has(register)) read.add(register);
  };
  for (const instruction of block.instructions) {
    forEachRead(instruction, note);
    if (instruction.def !== NONE) written.add(instruction.def);
    written.words[0] |= instruction.writes;
  }
  forEachEndRead(block, note);
}
