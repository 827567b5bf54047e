/**
 * Room `bpf`: the VM's call frames: each function's 512 bytes of stack, the registers it must find again when a call
 * returns, and which registers hold something.
 *
 * A newcomer would get wrong: a frame is not cleared when it is entered; instead the machine knows which of its bytes
 * were written. What a function finds on its stack before it writes is what an earlier one left, in the kernel as here.
 */
import { FRAME_POINTER } from '../instructions.ts';
import { Violation } from './fault.ts';
import type { Address, AddressSpace, Region } from './memory.ts';

/** Bytes of a function's stack frame, and how deep calls may go (RFC 9669 section 4.3.2; MAX_CALL_FRAMES). */
export const FRAME_BYTES = 512;
const FRAMES_MAX = 8;

const ARGUMENTS = 0b111110;
/** r6 to r9, as words of the register file. */
const SAVED_FIRST = 12;
const SAVED_WORDS = 8;
const SAVED_MASK = 0b1111000000;
/** Where the loop goes on after the outermost function: nowhere. */
const DONE = -1;

export class Frames {
  /** Registers that hold something, as bits, where they are followed while the program runs, and those whose pointer may be null. */
  set = 0;
  marks = 0;
  /** Whether it is known which bytes were written. */
  readonly isChecked: boolean;
  /** The running function's frame in words, and which of its bytes were written, as bits. */
  words: Int32Array;
  written: Int32Array;
  readonly #words: Int32Array[] = [];
  readonly #space: AddressSpace;
  readonly #file: Int32Array;
  readonly #regions: Region[] = [];
  /** r6 to r9 of each caller, its sets, and where it goes on. */
  readonly #saved = new Int32Array(FRAMES_MAX * SAVED_WORDS);
  readonly #savedSet = new Int32Array(FRAMES_MAX);
  readonly #savedMarks = new Int32Array(FRAMES_MAX);
  readonly #returns = new Int32Array(FRAMES_MAX);
  #depth = 0;

  constructor(space: AddressSpace, file: Int32Array, isChecked: boolean) {
    this.#space = space;
    this.#file = file;
    this.isChecked = isChecked;
    for (let depth = 0; depth < FRAMES_MAX; depth++) {
      const region = space.add({
        name: `the stack of frame ${depth}`,
        bytes: new Uint8Array(FRAME_BYTES),
        writable: true,
      });
      if (isChecked) region.written = new Int32Array(FRAME_BYTES / 32);
      this.#regions.push(region);
      this.#words.push(new Int32Array(region.bytes.buffer));
    }
    this.words = this.#words[0];
    this.written = this.#regions[0].written ?? new Int32Array(0);
  }

  /** The outermost function begins with these in r1 and on. */
  begin(values: readonly Address[]): void {
    // A run that a fault ended has left frames behind.
    for (let depth = this.#depth; depth > 0; depth--) this.#retire(depth, 'that function does not run');
    this.#depth = 0;
    this.#returns[0] = DONE;
    this.setArguments(values);
    this.#open();
  }

  /** Puts values into r1 and on; no other register but the frame pointer holds something. */
  setArguments(values: readonly Address[]): void {
    this.set = 1 << FRAME_POINTER;
    this.marks = 0;
    for (let index = 0; index < values.length; index++) {
      this.#file[index * 2 + 2] = values[index].low;
      this.#file[index * 2 + 3] = values[index].high;
      this.set |= 2 << index;
    }
  }

  /** A call: the caller goes on at `next`. */
  enter(next: number): void {
    if (this.#depth + 1 === FRAMES_MAX) throw new Violation(`calls are ${FRAMES_MAX} deep, deeper than allowed`);
    const base = this.#depth * SAVED_WORDS;
    for (let index = 0; index < SAVED_WORDS; index++) this.#saved[base + index] = this.#file[SAVED_FIRST + index];
    this.#savedSet[this.#depth] = this.set & (SAVED_MASK | ARGUMENTS);
    this.#savedMarks[this.#depth] = this.marks & SAVED_MASK;
    this.set &= ARGUMENTS | (1 << FRAME_POINTER);
    this.marks &= ARGUMENTS;
    this.#depth++;
    this.#returns[this.#depth] = next;
    this.#open();
  }

  /** The function returns; where the loop goes on. */
  leave(): number {
    const next = this.#returns[this.#depth];
    if (this.#depth === 0) return next;
    this.#retire(this.#depth, 'that function has returned');
    this.#depth--;
    const base = this.#depth * SAVED_WORDS;
    for (let index = 0; index < SAVED_WORDS; index++) this.#file[SAVED_FIRST + index] = this.#saved[base + index];
    this.set = (this.#savedSet[this.#depth] & SAVED_MASK) | 1 | (1 << FRAME_POINTER);
    this.marks = this.#savedMarks[this.#depth];
    this.#point();
    return next;
  }

  /** Another program takes this frame over (a tail call): r1 stays, all else is gone. */
  restart(): void {
    this.set = 2 | (1 << FRAME_POINTER);
    this.marks = 0;
    this.#open();
  }

  #retire(depth: number, reason: string): void {
    this.#space.retire(this.#regions[depth], reason);
  }

  #open(): void {
    const region = this.#regions[this.#depth];
    region.length = FRAME_BYTES;
    region.gone = undefined;
    region.written?.fill(0);
    this.#point();
  }

  #point(): void {
    const region = this.#regions[this.#depth];
    this.words = this.#words[this.#depth];
    if (region.written !== null) this.written = region.written;
    const top = region.address(FRAME_BYTES);
    this.#file[FRAME_POINTER * 2] = top.low;
    this.#file[FRAME_POINTER * 2 + 1] = top.high;
  }
}
