/**
 * Room `bpf`: makes of each slot of a program the function that executes it. Which places it reads, whether it must
 * look for pointers that were not tested or registers that hold nothing: all of that is settled here, once, so that
 * what runs is short.
 *
 * A newcomer would get wrong: calls, returns and rare instructions are no functions of their own. Their step only says
 * that the machine is to do them (a number below DONE), because they change more than registers.
 */
import { FRAME_POINTER, REGISTERS } from '../instructions.ts';
import type { Analysis } from './analysis.ts';
import type { Violation } from './fault.ts';
import { FRAME_BYTES, type Frames } from './frames.ts';
import type { AddressSpace } from './memory.ts';
import { learnRange } from './packet-range.ts';
import {
  type Program,
  SLOT_WORDS,
  WORD_DESTINATION,
  WORD_ELSE,
  WORD_NEXT,
  WORD_OPERAND,
  WORD_READS,
  WORD_SOURCE,
  WORD_WRITES,
} from './program.ts';
import { STEP } from './steps.ts';
import { narrowStep, type Step, wideStep } from './steps-arithmetic.ts';
import { jumpStep } from './steps-jump.ts';
import { load, store } from './transfers.ts';

/** What the loop ends with: the function that it was started for is done. */
export const DONE = -1;
/** Below it: the machine executes the slot itself. */
export const rare = (slot: number): number => -2 - slot;

/** What steps ask of the machine. */
export interface StepHost {
  readonly program: Program;
  readonly file: Int32Array;
  readonly space: AddressSpace;
  readonly frames: Frames;
  /** The high word of pointers into the packet. */
  packetHigh: number;
  /** @throws Violation for a pointer that was not compared with 0 */
  checkTested(marks: number, place: number, slot: number): void;
  /** A register is read that holds nothing. */
  unset(registers: number, slot: number): Violation;
}

export class StepBuilder {
  readonly #host: StepHost;
  readonly #analysis: Analysis;

  constructor(host: StepHost, analysis: Analysis) {
    this.#host = host;
    this.#analysis = analysis;
  }

  build(): Step[] {
    return Array.from({ length: this.#host.program.slots + 1 }, (_, slot) => this.#complete(slot));
  }

  #complete(slot: number): Step {
    const { code } = this.#host.program;
    const base = slot * SLOT_WORDS;
    const isRare = code[base] > STEP.test32;
    const step = this.#withMarks(slot, isRare ? () => rare(slot) : this.#plain(slot));
    return this.#analysis.followed[slot] === 1 ? this.#withSet(slot, isRare, step) : step;
  }

  /** Looks for registers that hold nothing, and keeps account of those that do. */
  #withSet(slot: number, isRare: boolean, step: Step): Step {
    const { frames, program } = this.#host;
    const reads = program.code[slot * SLOT_WORDS + WORD_READS];
    const writes = isRare ? 0 : program.code[slot * SLOT_WORDS + WORD_WRITES];
    return () => {
      const missing = reads & ~frames.set;
      if (missing !== 0) throw this.#host.unset(missing, slot);
      const next = step();
      frames.set |= writes;
      return next;
    };
  }

  /** Keeps account of pointers that may be null, where this instruction may touch one. */
  #withMarks(slot: number, step: Step): Step {
    const host = this.#host;
    const { frames, program, file } = host;
    const { code } = program;
    const base = slot * SLOT_WORDS;
    const marked = this.#analysis.marked[slot];
    const writes = code[base + WORD_WRITES];
    const d = code[base + WORD_DESTINATION];
    const s = code[base + WORD_SOURCE];
    const kind = code[base];
    const isMarked = (place: number) => ((marked >>> (place >> 1)) & 1) !== 0;
    if (kind === STEP.move64 && (isMarked(s) || isMarked(d))) {
      return () => {
        frames.marks = ((frames.marks >>> (s >> 1)) & 1) !== 0 ? frames.marks | writes : frames.marks & ~writes;
        return step();
      };
    }
    if (kind === STEP.equal64 && isMarked(d)) {
      return () => {
        if (frames.marks !== 0 && file[s] === 0 && file[s + 1] === 0) frames.marks = untested(file, frames.marks, d);
        return step();
      };
    }
    const isAccess = kind >= STEP.load8 && kind <= STEP.store64;
    const pointer = kind >= STEP.store8 ? d : s;
    if (isAccess && isMarked(pointer)) {
      return () => {
        host.checkTested(frames.marks, pointer, slot);
        frames.marks &= ~writes;
        return step();
      };
    }
    if ((marked & writes) === 0 || kind > STEP.test32) return step;
    return () => {
      frames.marks &= ~writes;
      return step();
    };
  }

  #plain(slot: number): Step {
    const host = this.#host;
    const { file, program } = host;
    const { code } = program;
    const base = slot * SLOT_WORDS;
    const kind = code[base];
    const d = code[base + WORD_DESTINATION];
    const s = code[base + WORD_SOURCE];
    const operand = code[base + WORD_OPERAND];
    const next = code[base + WORD_NEXT] / SLOT_WORDS;
    const otherwise = code[base + WORD_ELSE] / SLOT_WORDS;
    if (kind === STEP.always) return () => next;
    if (kind === STEP.constant) {
      return () => {
        file[d] = s;
        file[d + 1] = operand;
        return next;
      };
    }
    if (kind >= STEP.load8 && kind <= STEP.store64) return this.#access(kind, d, s, operand, next);
    const jump = jumpStep(file, kind, { a: d, b: s }, next, otherwise);
    // Two registers: they may be a pointer into the packet and its end.
    const isOfRegisters = d < REGISTERS * 2 && s < REGISTERS * 2;
    if (jump !== null) return kind === STEP.below64 && isOfRegisters ? this.#comparing(jump, d, s, next) : jump;
    return wideStep(file, kind, d, s, next) ?? narrowStep(file, kind, d, s, next) ?? (() => rare(slot));
  }

  #comparing(jump: Step, a: number, b: number, then: number): Step {
    const host = this.#host;
    const { file, space } = host;
    return () => {
      const next = jump();
      if (file[a + 1] === host.packetHigh) learnRange(space, file, a, b, next === then);
      return next;
    };
  }

  #access(kind: number, d: number, s: number, offset: number, next: number): Step {
    const { file, space } = this.#host;
    const isLoad = kind <= STEP.load64;
    const pointer = isLoad ? s : d;
    if (pointer === FRAME_POINTER * 2) {
      const own = this.#stackAccess(kind, isLoad ? d : s, FRAME_BYTES + offset, next);
      if (own !== null) return own;
    }
    if (isLoad) {
      return () => {
        load(space, file, kind, d, s, offset);
        return next;
      };
    }
    return () => {
      store(space, file, kind, d, s, offset);
      return next;
    };
  }

  /** An access of whole words to the function's own frame: its place is known. Null for others. */
  #stackAccess(kind: number, register: number, at: number, next: number): Step | null {
    const { file, frames, space } = this.#host;
    const isLoad = kind <= STEP.load64;
    const isWide = kind === STEP.load64 || kind === STEP.store64;
    const size = isWide ? 8 : 4;
    const isWhole = isWide || kind === STEP.load32 || kind === STEP.store32;
    if (!isWhole || !frames.isChecked || at < 0 || at + size > FRAME_BYTES || at % size !== 0) return null;
    const word = at >> 2;
    const account = at >> 5;
    const mask = ((1 << size) - 1) << (at & 31);
    const high = isWide ? word + 1 : -1;
    if (!isLoad) {
      return () => {
        const { words, written } = frames;
        words[word] = file[register];
        if (high !== -1) words[high] = file[register + 1];
        written[account] |= mask;
        return next;
      };
    }
    return () => {
      const { words, written } = frames;
      if ((written[account] & mask) !== mask) {
        const top = FRAME_POINTER * 2;
        throw space.violation(file[top], file[top + 1], at - FRAME_BYTES, size, false);
      }
      file[register] = words[word];
      file[register + 1] = high === -1 ? 0 : words[high];
      return next;
    };
  }
}

/** The marks after the pointer at place `d` was compared with 0: it and its copies are tested. */
function untested(file: Int32Array, marks: number, d: number): number {
  let left = marks;
  for (let other = 0; other < REGISTERS; other++) {
    if (file[other * 2] === file[d] && file[other * 2 + 1] === file[d + 1]) left &= ~(1 << other);
  }
  return left;
}
