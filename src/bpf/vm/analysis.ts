/**
 * Room `bpf`: what can be said of a program's registers before it runs: which surely hold something at each slot, and
 * which may hold a pointer that was not compared with null. What is sure needs no check when the program runs, which is
 * most of what a compiler makes.
 *
 * A newcomer would get wrong: this decides nothing. Where it is not sure, the machine looks while it runs, instruction
 * by instruction, so that a program is stopped at the same place either way.
 */

import { BPF_PSEUDO_FUNC } from '../../kernel/bpf-abi.ts';
import { FRAME_POINTER, WIDE_LOAD } from '../instructions.ts';
import { type Program, SLOT_WORDS, WORD_ELSE, WORD_NEXT, WORD_READS, WORD_SOURCE, WORD_WRITES } from './program.ts';
import { STEP } from './steps.ts';

const ARGUMENTS = 0b111110;
const SAVED = 0b1111000000;
const FRAME = 1 << FRAME_POINTER;
const UNREACHED = -1;

/** A slot from which the program may be entered, and the registers that hold something then. */
export interface Entry {
  readonly slot: number;
  readonly set: number;
}

export interface Analysis {
  /** By slot: registers that surely hold something before it, as bits. UNREACHED slots never run. */
  readonly set: Int32Array;
  /** Registers whose pointer may be untested. */
  readonly marked: Int32Array;
  /** 1 where the function's registers must be followed while it runs. */
  readonly followed: Uint8Array;
}

class Flow {
  readonly set: Int32Array;
  readonly marked: Int32Array;
  readonly #program: Program;
  readonly #work: number[] = [];
  /** Slots that functions begin with. */
  readonly entries = new Set<number>();

  constructor(program: Program) {
    this.#program = program;
    this.set = new Int32Array(program.slots + 1).fill(UNREACHED);
    this.marked = new Int32Array(program.slots + 1);
  }

  /** Takes account of another way to a slot. */
  reach(slot: number, set: number, marked: number): void {
    const known = this.set[slot];
    // A slot that nothing reached has all bits set, so that the first way's registers are what is left.
    const joined = known & set;
    const more = this.marked[slot] | marked;
    if (known !== UNREACHED && joined === known && more === this.marked[slot]) return;
    this.set[slot] = joined;
    this.marked[slot] = more;
    this.#work.push(slot);
  }

  enter(slot: number, set: number, marked: number): void {
    this.entries.add(slot);
    this.reach(slot, set, marked);
  }

  run(): void {
    for (let slot = this.#work.pop(); slot !== undefined; slot = this.#work.pop()) this.#step(slot);
  }

  #step(slot: number): void {
    const { code } = this.#program;
    const base = slot * SLOT_WORDS;
    const writes = code[base + WORD_WRITES];
    const next = code[base + WORD_NEXT] / SLOT_WORDS;
    let set = this.set[slot];
    let marked = this.marked[slot];
    switch (code[base]) {
      case STEP.exit:
      case STEP.end:
        return;
      case STEP.callLocal:
        this.enter(next, (set & ARGUMENTS) | FRAME, marked & ARGUMENTS);
        this.reach(slot + 1, (set & SAVED) | FRAME | 1, marked & SAVED);
        return;
      case STEP.callHelper:
        this.reach(slot + 1, (set & ~ARGUMENTS) | 1, (marked & ~ARGUMENTS) | 1);
        return;
      case STEP.move64:
        marked = ((marked >>> (code[base + WORD_SOURCE] >> 1)) & 1) === 1 ? marked | writes : marked & ~writes;
        break;
      default:
        marked &= ~writes;
    }
    set |= writes;
    this.reach(next, set, marked);
    if (code[base + WORD_ELSE] !== code[base + WORD_NEXT]) {
      this.reach(code[base + WORD_ELSE] / SLOT_WORDS, set, marked);
    }
  }
}

/** The slots of the function that begins at `entry`, those of others it calls left out. */
function slotsOf({ code }: Program, entry: number): Set<number> {
  const found = new Set([entry]);
  for (const slot of found) {
    const base = slot * SLOT_WORDS;
    const step = code[base];
    if (step === STEP.exit || step === STEP.end) continue;
    if (step === STEP.callLocal) {
      found.add(slot + 1);
      continue;
    }
    found.add(code[base + WORD_NEXT] / SLOT_WORDS);
    found.add(code[base + WORD_ELSE] / SLOT_WORDS);
  }
  return found;
}

/** The functions whose address is taken: helpers call them with as many arguments as each has. */
function callbacksOf(program: Program): number[] {
  const found: number[] = [];
  for (let slot = 0; slot < program.slots; slot++) {
    const one = program.at(slot);
    if (one?.opcode === WIDE_LOAD && one.source === BPF_PSEUDO_FUNC) found.push(slot + 1 + one.immediate);
  }
  return found;
}

/** @param argumentsOf how many arguments a helper takes, by its number */
export function analyse(
  program: Program,
  entries: readonly Entry[],
  argumentsOf: (helper: number) => number,
): Analysis {
  const flow = new Flow(program);
  for (const { slot, set } of entries) flow.enter(slot, set | FRAME, 0);
  // Every helper with a callback gives it two arguments at least.
  for (const slot of callbacksOf(program)) flow.enter(slot, 0b110 | FRAME, 0);
  flow.run();
  const functions = [...flow.entries].map((entry) => slotsOf(program, entry));
  const readBy = (slot: number): number => {
    const base = slot * SLOT_WORDS;
    if (program.code[base] !== STEP.callHelper) return program.code[base + WORD_READS];
    return ((1 << argumentsOf(program.at(slot)?.immediate ?? 0)) - 1) << 1;
  };
  const isSure = (slot: number): boolean => (readBy(slot) & ~flow.set[slot]) === 0;
  const followed = new Uint8Array(program.slots + 1);
  for (let hasChanged = true; hasChanged; ) {
    hasChanged = false;
    for (const slots of functions) {
      // Code that two functions share is followed in both or in neither.
      const isUnsure = [...slots].some((slot) => !isSure(slot) || followed[slot] === 1);
      if (!isUnsure || [...slots].every((slot) => followed[slot] === 1)) continue;
      for (const slot of slots) followed[slot] = 1;
      hasChanged = true;
    }
  }
  return { set: flow.set, marked: flow.marked, followed };
}
