/**
 * Room `bpf`: the VM: runs a program in this process, without privilege, by RFC 9669's rules, and stops it where the kernel's
 * verifier would have refused it.
 *
 * A newcomer would get wrong: the VM sees one path, the verifier all. A program that runs here on every input a test has may
 * still be refused by the kernel; what is reported here is surely wrong. A value whose pointer `map_lookup_elem` returned counts
 * as "may be null" until the program compares it with 0, also when it was found; the mark is lost when it goes through memory.
 */
import * as abi from '../../kernel/bpf-abi.ts';
import { FRAME_POINTER, type Instruction, REGISTERS } from '../instructions.ts';
import { addWide, arithmetic32, arithmetic64, rareArithmetic } from './arithmetic.ts';
import { holds } from './comparison.ts';
import { type Place, Violation, VmFault } from './fault.ts';
import { Frames } from './frames.ts';
import { type Helper, HelperCall } from './helper-call.ts';
import { commonHelpers } from './helpers.ts';
import { linkProgram } from './link.ts';
import { type Address, AddressSpace } from './memory.ts';
import { learnRange, NO_PACKET } from './packet-range.ts';
import {
  type Program,
  prepare,
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
import { atomic, load, loadSigned, store } from './transfers.ts';
import { type AnyMap, ValueRegions } from './value-regions.ts';

const INSTRUCTIONS_MAX = 1_000_000;
const ARGUMENTS = 0b111110;
/** What the loop returns with: the function that it was started for is done. */
const DONE = -1;

export interface MachineOptions {
  /** Maps by the number that the program's wide loads name (`map_by_fd(3)`, `map_by_idx(3)`). */
  readonly maps?: ReadonlyMap<number, AnyMap>;
  /** Helpers by number, in place of or beside the common ones. */
  readonly helpers?: ReadonlyMap<number, Helper>;
  /** Instructions that one run may execute: the bound on endless loops. 1,000,000 unless told. */
  readonly instructionsMax?: number;
  /** Whether reading a stack byte that was never written is a fault, as before Linux 6.3; true unless told. */
  readonly checkStack?: boolean;
  /** Whence an instruction comes, for messages. */
  readonly placeOf?: (slot: number) => Place | undefined;
}

/** What a run begins with. */
export interface RunArguments {
  /** r1 points to it. Absent: r1 is not set, as r2. */
  readonly memory?: Uint8Array;
  /** Whether the program may write `memory`; true unless told. */
  readonly writable?: boolean;
}

/** A program and its memory, to be run any number of times. Maps keep their values between runs. */
export class Machine {
  readonly program: Program;
  /** Low and high word of each register, then constants. */
  readonly file: Int32Array;
  readonly space = new AddressSpace();
  readonly values = new ValueRegions(this.space);
  /** The high word of pointers into the packet whose comparisons with data_end count. */
  packetHigh = NO_PACKET;
  /** Instructions that the last run executed. */
  executed = 0;
  readonly #options: MachineOptions;
  readonly #instructionsMax: number;
  readonly #helpers: Map<number, Helper>;
  readonly #call: HelperCall;
  readonly #frames: Frames;
  /** How many instructions may still be executed. */
  #left = 0;
  /** Where a helper wants the run to go on in place of returning, or DONE. */
  #tail = DONE;
  /** The helper that gave the last pointer that may be null. */
  #giver = 'map_lookup_elem';

  /** @throws VmFault for a program that could never run: see `prepare`, and maps or helpers that are not there */
  constructor(instructions: readonly Instruction[], options: MachineOptions = {}) {
    this.program = prepare(instructions);
    this.file = this.program.file;
    this.#options = options;
    this.#instructionsMax = options.instructionsMax ?? INSTRUCTIONS_MAX;
    this.#helpers = new Map([...commonHelpers, ...(options.helpers ?? [])]);
    this.#call = new HelperCall(this);
    this.#frames = new Frames(this.space, this.file, options.checkStack ?? true);
    linkProgram(this.program, this.values, this.#helpers, options.maps ?? new Map());
  }

  /** Puts helpers in the place of those with the same numbers. */
  addHelpers(helpers: ReadonlyMap<number, Helper>): void {
    for (const [number, helper] of helpers) this.#helpers.set(number, helper);
  }

  /** Runs with r1 pointing to `memory` and r2 its length, and returns r0. @throws VmFault */
  run({ memory, writable = true }: RunArguments = {}): bigint {
    if (memory === undefined) return this.runWith([]);
    const region = this.space.add({ name: 'the memory', bytes: memory, writable });
    try {
      return this.runWith([region.address(), { low: memory.length, high: 0 }]);
    } finally {
      this.space.retire(region, 'the run has ended');
      this.space.reuse(region);
    }
  }

  /** Runs with the given values in r1, r2 and on, from slot `entry`, and returns r0. @throws VmFault */
  runWith(values: readonly Address[], entry = 0): bigint {
    this.start(values, entry);
    return BigInt.asUintN(64, (BigInt(this.file[1]) << 32n) | BigInt(this.file[0] >>> 0));
  }

  /** The same without making a bigint of the result, which is left in the register file. */
  start(values: readonly Address[], entry: number): void {
    this.#frames.begin(values);
    this.#left = this.#instructionsMax;
    try {
      this.#loop(entry * SLOT_WORDS);
    } finally {
      this.executed = this.#instructionsMax - Math.max(this.#left, 0);
    }
  }

  /** Calls a function of the program from within a helper: a callback. Its result is left in r0. @throws VmFault */
  callBack(slot: number, values: readonly Address[]): void {
    this.#frames.enter(DONE);
    this.#frames.setArguments(values);
    this.#loop(slot * SLOT_WORDS);
  }

  /** Lets the run go on at `slot` when the helper that calls this returns: what was called never comes back (bpf_tail_call). */
  tailCall(slot: number): void {
    this.#tail = slot * SLOT_WORDS;
  }

  /** A register as errors call it: by its variable where one is known. */
  nameOf(register: number, at: number): string {
    const name = this.#options.placeOf?.(at / SLOT_WORDS)?.names[register];
    return name === undefined || name === null ? `%r${register}` : `${name} (%r${register})`;
  }

  /** Executes instructions until the function ends. Frequent ones stand here: a call for each would cost as much as the work. */
  #loop(entry: number): void {
    const { file, space } = this;
    const frames = this.#frames;
    const { code } = this.program;
    let at = entry;
    let { set, marks } = frames;
    let left = this.#left;
    try {
      while (at !== DONE) {
        if (--left < 0) throw this.#endless();
        const missing = code[at + WORD_READS] & ~set;
        if (missing !== 0) throw this.#unset(missing, at);
        const step = code[at];
        const d = code[at + WORD_DESTINATION];
        const s = code[at + WORD_SOURCE];
        switch (step) {
          case STEP.constant:
            file[d] = s;
            file[d + 1] = code[at + WORD_OPERAND];
            break;
          case STEP.move64:
            file[d] = file[s];
            file[d + 1] = file[s + 1];
            if (((marks >>> (s >> 1)) & 1) === 0) break;
            marks |= code[at + WORD_WRITES];
            set |= code[at + WORD_WRITES];
            at = code[at + WORD_NEXT];
            continue;
          case STEP.add64:
            addWide(file, d, s);
            break;
          case STEP.load8:
          case STEP.load16:
          case STEP.load32:
          case STEP.load64:
            if (marks !== 0) this.#checkTested(marks, s, at);
            load(space, file, step, d, s, code[at + WORD_OPERAND]);
            break;
          case STEP.store8:
          case STEP.store16:
          case STEP.store32:
          case STEP.store64:
            if (marks !== 0) this.#checkTested(marks, d, at);
            store(space, file, step, d, s, code[at + WORD_OPERAND]);
            break;
          case STEP.always:
            break;
          case STEP.equal64:
            if (marks !== 0) marks = this.#tested(marks, d, s);
            at = code[at + (file[d] === file[s] && file[d + 1] === file[s + 1] ? WORD_NEXT : WORD_ELSE)];
            continue;
          default: {
            if (step <= STEP.mul64) {
              arithmetic64(file, step, d, s);
              break;
            }
            if (step <= STEP.mul32) {
              file[d] = arithmetic32(step, file[d], file[s]);
              file[d + 1] = 0;
              break;
            }
            if (step <= STEP.test32) {
              const isMet = holds(file, step, d, s);
              if (file[d + 1] === this.packetHigh && step === STEP.below64) learnRange(space, file, d, s, isMet);
              at = code[at + (isMet ? WORD_NEXT : WORD_ELSE)];
              continue;
            }
            frames.set = set;
            frames.marks = marks;
            this.#left = left;
            const next = this.#rareStep(step, at, d, s);
            ({ set, marks } = frames);
            left = this.#left;
            at = next;
            continue;
          }
        }
        set |= code[at + WORD_WRITES];
        marks &= ~code[at + WORD_WRITES];
        at = code[at + WORD_NEXT];
      }
    } catch (error) {
      throw error instanceof Violation ? this.#fault(at, error) : error;
    } finally {
      this.#left = left;
    }
  }

  /** Executes one of the other instructions and returns the place of the next, or DONE. */
  #rareStep(step: number, at: number, d: number, s: number): number {
    const { program, file, space } = this;
    const frames = this.#frames;
    const { code } = program;
    const found = program.at(at / SLOT_WORDS)!;
    switch (step) {
      case STEP.rareArithmetic:
        rareArithmetic(file, found, d, s);
        break;
      case STEP.loadSigned:
        this.#checkTested(frames.marks, s, at);
        loadSigned(space, file, found, d, s);
        break;
      case STEP.atomic:
        this.#checkTested(frames.marks, d, at);
        atomic(space, file, found, d, s);
        break;
      case STEP.callHelper:
        return this.#callHelper(found.immediate, at);
      case STEP.callLocal:
        frames.enter(at + SLOT_WORDS);
        return code[at + WORD_NEXT];
      case STEP.exit:
        return frames.leave();
      default:
        throw new Violation('the program runs past its last instruction');
    }
    frames.set |= code[at + WORD_WRITES];
    frames.marks &= ~code[at + WORD_WRITES];
    return code[at + WORD_NEXT];
  }

  #callHelper(number: number, at: number): number {
    const frames = this.#frames;
    const helper = this.#helpers.get(number)!;
    const wanted = ((1 << helper.arguments) - 1) << 1;
    if ((wanted & ~frames.set) !== 0) throw this.#unset(wanted & ~frames.set, at);
    const untested = wanted & frames.marks;
    if (untested !== 0) this.#checkTested(untested, (31 - Math.clz32(untested & -untested)) * 2, at);
    this.#call.mayBeNull = false;
    helper.run(this.#call);
    if (this.#tail !== DONE) {
      const next = this.#tail;
      this.#tail = DONE;
      frames.restart();
      return next;
    }
    frames.set = (frames.set & ~ARGUMENTS) | 1;
    frames.marks &= ~(ARGUMENTS | 1);
    if (this.#call.mayBeNull) {
      frames.marks |= 1;
      this.#giver = helper.name;
    }
    return at + SLOT_WORDS;
  }

  /** Sees that the pointer at place `place` of the register file was compared with 0. @throws Violation */
  #checkTested(marks: number, place: number, at: number): void {
    if (((marks >>> (place >> 1)) & 1) === 0) return;
    throw new Violation(
      `${this.nameOf(place >> 1, at)} may be null: ${this.#giver} finds nothing at times; compare it with 0 first`,
    );
  }

  /** The marks after the register at place `d` was compared with the one at `s`: with 0, it and its copies are tested. */
  #tested(marks: number, d: number, s: number): number {
    const { file } = this;
    if (file[s] !== 0 || file[s + 1] !== 0) return marks;
    let left = marks;
    for (let other = 0; other < REGISTERS; other++) {
      if (file[other * 2] === file[d] && file[other * 2 + 1] === file[d + 1]) left &= ~(1 << other);
    }
    return left;
  }

  #endless(): Violation {
    return new Violation(`more than ${this.#instructionsMax} instructions ran: an endless loop?`);
  }

  #unset(registers: number, at: number): Violation {
    const first = 31 - Math.clz32(registers & -registers);
    const after = first <= 5 ? ' (a call leaves only %r0 and %r6 to %r9)' : '';
    return new Violation(`reads ${this.nameOf(first, at)}, which holds nothing yet${after}`);
  }

  #fault(at: number, violation: Violation): VmFault {
    const slot = at / SLOT_WORDS;
    const found = this.program.at(slot);
    const place = this.#options.placeOf?.(slot);
    const pointer = found === undefined ? undefined : place?.names[pointerOf(found)];
    const prefix =
      pointer === undefined || pointer === null || !/^(reads|writes)/.test(violation.message) ? '' : `${pointer} `;
    return new VmFault(slot, found, prefix + violation.message, place);
  }
}

/** The register that a memory access goes through; the frame pointer, which has no variable, for other instructions. */
function pointerOf({ opcode, destination, source }: Instruction): number {
  switch (opcode & 7) {
    case abi.BPF_LDX:
      return source;
    case abi.BPF_ST:
    case abi.BPF_STX:
      return destination;
    default:
      return FRAME_POINTER;
  }
}
