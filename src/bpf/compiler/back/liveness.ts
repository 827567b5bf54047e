/**
 * Room `bpf`: which registers hold something that is still read, at the beginning and end of each block.
 *
 * A newcomer would get wrong: most registers live within one block. Only those that some block reads before it writes them are in the
 * sets, so the sets stay small; machine registers are members like any other (0 to 9).
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

/** Calls `visit` for each register that an instruction reads; r10 is none. */
export function forEachRead(instruction: MachineInstruction, visit: (register: number) => void): void {
  const { tied, first, second, reads } = instruction;
  if (tied !== NONE && tied !== FRAME) visit(tied);
  if (first !== NONE && first !== FRAME) visit(first);
  if (second !== NONE && second !== FRAME) visit(second);
  if (reads !== 0) forEachBit(reads, visit);
}

/** Calls `visit` for each bit that is set, the lowest first. */
export function forEachBit(bits: number, visit: (bit: number) => void): void {
  for (let left = bits; left !== 0; left &= left - 1) visit(31 - Math.clz32(left & -left));
}

/** Calls `visit` for each register that the end of a block reads. */
export function forEachEndRead({ end }: MachineBlock, visit: (register: number) => void): void {
  if (end.kind === 'exit') visit(0);
  if (end.kind !== 'branch') return;
  if (end.first !== FRAME) visit(end.first);
  if (end.second !== NONE && end.second !== FRAME) visit(end.second);
}

/** A set of registers, quick to change and to go through. */
export class LiveSet {
  /** The first `size` are the members. */
  readonly members: Int32Array;
  size = 0;
  readonly #places: Int32Array;

  constructor(registers: number) {
    this.members = new Int32Array(registers);
    this.#places = new Int32Array(registers).fill(-1);
  }

  has(register: number): boolean {
    return this.#places[register] !== -1;
  }

  add(register: number): void {
    if (this.#places[register] !== -1) return;
    this.#places[register] = this.size;
    this.members[this.size++] = register;
  }

  delete(register: number): void {
    const place = this.#places[register];
    if (place === -1) return;
    const last = this.members[--this.size];
    this.members[place] = last;
    this.#places[last] = place;
    this.#places[register] = -1;
  }

  clear(): void {
    while (this.size > 0) this.#places[this.members[--this.size]] = -1;
  }

  /** Makes it what is live at the end of a block, before its end reads anything. */
  enterEnd(block: MachineBlock, liveness: Liveness): void {
    this.clear();
    liveness.forEachOutOf(block, (register) => this.add(register));
    forEachEndRead(block, (register) => this.add(register));
  }

  /** Steps backwards over an instruction: it held what is live behind, and then what is live before. */
  stepBack(instruction: MachineInstruction): void {
    if (instruction.def !== NONE) this.delete(instruction.def);
    if (instruction.writes !== 0) forEachBit(instruction.writes, (register) => this.delete(register));
    forEachRead(instruction, (register) => this.add(register));
  }
}

/** What is live between blocks. Blocks keep the indices that they had when it was made. */
export class Liveness {
  /** Registers that some block reads before it writes them. */
  readonly #shared: readonly number[];
  /** Their positions; -1 for others. */
  readonly #positions: Int32Array;
  /** Bits of the shared registers, `#words` words for each block. */
  readonly #words: number;
  readonly #into: Uint32Array;
  readonly #outOf: Uint32Array;

  /** Finds what is live. Blocks must be numbered, and all reachable. */
  constructor(target: MachineFunction) {
    const { shared, positions } = findShared(target);
    this.#shared = shared;
    this.#positions = positions;
    this.#words = (shared.length + 31) >>> 5;
    this.#into = new Uint32Array(this.#words * target.blocks.length);
    this.#outOf = new Uint32Array(this.#words * target.blocks.length);
    const written = new Uint32Array(this.#words * target.blocks.length);
    for (const block of target.blocks) this.#summarise(block, written);
    const read = this.#into.slice();
    const order = postorder(target);
    for (let changed = true; changed; ) {
      changed = false;
      for (const block of order) if (this.#flow(block, read, written)) changed = true;
    }
  }

  #summarise(block: MachineBlock, written: Uint32Array): void {
    const start = block.index * this.#words;
    const positions = this.#positions;
    const bitOf = (register: number): number => 1 << (positions[register] & 31);
    const wordOf = (register: number): number => start + (positions[register] >>> 5);
    const read = (register: number): void => {
      if (positions[register] === -1 || (written[wordOf(register)] & bitOf(register)) !== 0) return;
      this.#into[wordOf(register)] |= bitOf(register);
    };
    const write = (register: number): void => {
      if (positions[register] !== -1) written[wordOf(register)] |= bitOf(register);
    };
    for (const instruction of block.instructions) {
      forEachRead(instruction, read);
      if (instruction.def !== NONE) write(instruction.def);
      if (instruction.writes !== 0) forEachBit(instruction.writes, write);
    }
    forEachEndRead(block, read);
  }

  /** Takes over what successors need; whether that changed anything. */
  #flow(block: MachineBlock, read: Uint32Array, written: Uint32Array): boolean {
    const words = this.#words;
    const start = block.index * words;
    for (const successor of successors(block)) {
      const from = successor.index * words;
      for (let word = 0; word < words; word++) this.#outOf[start + word] |= this.#into[from + word];
    }
    let changed = false;
    for (let at = start; at < start + words; at++) {
      const next = (read[at] | (this.#outOf[at] & ~written[at])) >>> 0;
      if (next === this.#into[at]) continue;
      this.#into[at] = next;
      changed = true;
    }
    return changed;
  }

  /** Calls `visit` for each register that is live where the block begins. */
  forEachInto(block: MachineBlock, visit: (register: number) => void): void {
    this.#forEach(this.#into, block, visit);
  }

  /** Calls `visit` for each register that is live where the block has ended. */
  forEachOutOf(block: MachineBlock, visit: (register: number) => void): void {
    this.#forEach(this.#outOf, block, visit);
  }

  #forEach(sets: Uint32Array, block: MachineBlock, visit: (register: number) => void): void {
    const start = block.index * this.#words;
    for (let word = 0; word < this.#words; word++) {
      const bits = sets[start + word];
      if (bits !== 0) forEachBit(bits, (bit) => visit(this.#shared[word * 32 + bit]));
    }
  }

  /** Says that these live in memory from now on. What is written to replace them lives within single blocks. */
  remove(registers: readonly number[]): void {
    for (const register of registers) {
      // Those made since then live within one block and have no position.
      const position = register < this.#positions.length ? this.#positions[register] : -1;
      if (position === -1) continue;
      const bit = 1 << (position & 31);
      for (let at = position >>> 5; at < this.#into.length; at += this.#words) {
        this.#into[at] &= ~bit;
        this.#outOf[at] &= ~bit;
      }
    }
  }
}

function findShared(target: MachineFunction): { shared: number[]; positions: Int32Array } {
  const shared: number[] = [];
  const positions = new Int32Array(target.registers).fill(-1);
  /** The last block that wrote each register. */
  const writtenIn = new Int32Array(target.registers).fill(-1);
  for (const block of target.blocks) {
    const read = (register: number): void => {
      if (positions[register] !== -1 || writtenIn[register] === block.index) return;
      positions[register] = shared.push(register) - 1;
    };
    for (const instruction of block.instructions) {
      forEachRead(instruction, read);
      if (instruction.def !== NONE) writtenIn[instruction.def] = block.index;
      if (instruction.writes !== 0) forEachBit(instruction.writes, (register) => (writtenIn[register] = block.index));
    }
    forEachEndRead(block, read);
  }
  return { shared, positions };
}
