/**
 * Room `bpf`: the VM: runs a program in this process, without privilege, by RFC 9669's rules, and stops it where the
 * kernel's verifier would have refused it.
 *
 * A newcomer would get wrong: the VM sees one path, the verifier all. A program that runs here on every input a test
 * has may still be refused by the kernel; what is reported here is surely wrong. A value whose pointer
 * `map_lookup_elem` returned counts as "may be null" until the program compares it with 0, also when it was found; the
 * mark is lost when it goes through memory.
 */
import * as abi from '../../kernel/bpf-abi.ts';
import { FRAME_POINTER, type Instruction } from '../instructions.ts';
import { type Analysis, analyse, type Entry } from './analysis.ts';
import { castAddress, VmArena } from './arena.ts';
import { rareArithmetic } from './arithmetic.ts';
import { type Place, Violation, VmFault } from './fault.ts';
import { Frames } from './frames.ts';
import { type Helper, HelperCall } from './helper-call.ts';
import { commonHelpers } from './helpers.ts';
import { BPF_LOAD_ACQUIRE } from './instruction-check.ts';
import { linkProgram } from './link.ts';
import { type Address, AddressSpace } from './memory.ts';
import { NO_PACKET } from './packet-range.ts';
import { type Program, prepare, SLOT_WORDS, WORD_DESTINATION, WORD_NEXT, WORD_SOURCE, WORD_WRITES } from './program.ts';
import { DONE, StepBuilder, type StepHost } from './step-builder.ts';
import { STEP } from './steps.ts';
import type { Step } from './steps-arithmetic.ts';
import { atomic, loadSigned } from './transfers.ts';
import { type AnyMap, ValueRegions } from './value-regions.ts';

const INSTRUCTIONS_MAX = 1_000_000;
const ARGUMENTS = 0b111110;

export interface MachineOptions {
  /** Maps by the number that the program's wide loads name (`map_by_fd(3)`, `map_by_idx(3)`). */
  readonly maps?: ReadonlyMap<number, AnyMap>;
  /** Helpers by number, in place of or beside the common ones. */
  readonly helpers?: ReadonlyMap<number, Helper>;
  /** Instructions that one run may execute: the bound on endless loops. 1,000,000 unless told. */
  readonly instructionsMax?: number;
  /** Whether reading a stack byte that was never written is a fault, as before Linux 6.3; true unless told. */
  readonly checkStack?: boolean;
  /** Where runs begin, and which registers they are given then; the first slot and none unless told. Elsewhere costs time, no more. */
  readonly entries?: readonly Entry[];
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
export class Machine implements StepHost {
  readonly program: Program;
  /** Low and high word of each register, then constants. */
  readonly file: Int32Array;
  readonly space = new AddressSpace();
  readonly values = new ValueRegions(this.space);
  /** The high word of pointers into the packet whose comparisons with data_end count. */
  packetHigh = NO_PACKET;
  /** Spin locks that the program holds. */
  locks = 0;
  /** Instructions that the last run executed. */
  executed = 0;
  readonly #options: MachineOptions;
  readonly #instructionsMax: number;
  readonly #helpers: Map<number, Helper>;
  readonly #call: HelperCall;
  readonly frames: Frames;
  /** The memory that the program's casts are about: the kernel, too, lets a program have one. */
  readonly #arena: VmArena | undefined;
  #analysis: Analysis;
  #steps: readonly Step[];
  /** How many instructions may still be executed. */
  #left = 0;
  /** Where a helper wants the run to go on in place of returning, or DONE. */
  #tail = DONE;
  /** The last `exit` that was executed. */
  #exit = 0;
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
    this.frames = new Frames(this.space, this.file, options.checkStack ?? true);
    this.#arena = [...(options.maps?.values() ?? [])].find((map) => map instanceof VmArena);
    linkProgram(this.program, this.values, this.#helpers, options.maps ?? new Map());
    this.#analysis = this.#analyse();
    this.#steps = new StepBuilder(this, this.#analysis).build();
  }

  #analyse(): Analysis {
    const argumentsOf = (helper: number): number => this.#helpers.get(helper)?.arguments ?? 0;
    return analyse(this.program, this.#options.entries ?? [{ slot: 0, set: 0 }], argumentsOf);
  }

  /** Puts helpers in the place of those with the same numbers. */
  addHelpers(helpers: ReadonlyMap<number, Helper>): void {
    for (const [number, helper] of helpers) this.#helpers.set(number, helper);
    // They may take other arguments than those before them.
    this.#analysis = this.#analyse();
    this.#steps = new StepBuilder(this, this.#analysis).build();
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
    this.frames.begin(values);
    this.locks = 0;
    this.#left = this.#instructionsMax;
    try {
      this.#loop(entry);
    } finally {
      this.executed = this.#instructionsMax - Math.max(this.#left, 0);
    }
  }

  /** Calls a function of the program from within a helper: a callback. Its result is left in r0. @throws VmFault */
  callBack(slot: number, values: readonly Address[]): void {
    this.frames.enter(DONE);
    this.frames.setArguments(values);
    this.#loop(slot);
  }

  /** Lets the run go on at `slot` when the helper that calls this returns: what was called never comes back (bpf_tail_call). */
  tailCall(slot: number): void {
    this.#tail = slot;
  }

  /** A register as errors call it: by its variable where one is known. */
  nameOf(register: number, slot: number): string {
    const name = this.#options.placeOf?.(slot)?.names[register];
    return name === undefined || name === null ? `%r${register}` : `${name} (%r${register})`;
  }

  /** Executes instructions until the function ends. */
  #loop(entry: number): void {
    const steps = this.#steps;
    let slot = entry;
    let left = this.#left;
    try {
      while (slot >= 0) {
        if (--left < 0) throw this.#endless();
        const next = steps[slot]();
        if (next < DONE) {
          // Callbacks count instructions, too.
          this.#left = left;
          slot = this.#rareStep(slot);
          left = this.#left;
        } else slot = next;
      }
    } catch (error) {
      throw error instanceof Violation ? this.#fault(slot, error) : error;
    } finally {
      this.#left = Math.min(this.#left, left);
    }
  }

  /** Executes what is more than a change of registers or memory, and returns the slot of the next instruction, or DONE. */
  #rareStep(slot: number): number {
    const { program, file, space, frames } = this;
    const { code } = program;
    const base = slot * SLOT_WORDS;
    const d = code[base + WORD_DESTINATION];
    const s = code[base + WORD_SOURCE];
    const found = program.at(slot);
    // A function whose registers are not followed has them as they were found to be before it ran.
    if (this.#analysis.followed[slot] === 0) frames.set = this.#analysis.set[slot];
    if (found === undefined) throw new Violation('the program runs past its last instruction');
    switch (code[base]) {
      case STEP.rareArithmetic:
        rareArithmetic(file, found, d, s);
        break;
      case STEP.loadSigned:
        this.checkTested(frames.marks, s, slot);
        loadSigned(space, file, found, d, s);
        break;
      case STEP.atomic:
        this.checkTested(frames.marks, found.immediate === BPF_LOAD_ACQUIRE ? s : d, slot);
        atomic(space, file, found, d, s);
        break;
      case STEP.castAddress:
        this.#castAddress(found.immediate, d, s);
        break;
      case STEP.callHelper:
        return this.#callHelper(found.immediate, slot);
      case STEP.callLocal:
        frames.enter(slot + 1);
        return code[base + WORD_NEXT] / SLOT_WORDS;
      default:
        this.#exit = slot;
        return frames.leave();
    }
    frames.set |= code[base + WORD_WRITES];
    frames.marks &= ~code[base + WORD_WRITES];
    return code[base + WORD_NEXT] / SLOT_WORDS;
  }

  #castAddress(immediate: number, d: number, s: number): void {
    if (this.#arena === undefined) throw new Violation('casts an address, and the program has no arena');
    castAddress(this.file, this.values.region(this.#arena, 0), this.#arena, { immediate, d, s });
  }

  #callHelper(number: number, slot: number): number {
    const { frames } = this;
    const helper = this.#helpers.get(number)!;
    const wanted = ((1 << helper.arguments) - 1) << 1;
    if ((wanted & ~frames.set) !== 0) throw this.unset(wanted & ~frames.set, slot);
    const untested = wanted & frames.marks;
    if (untested !== 0) this.checkTested(untested, (31 - Math.clz32(untested & -untested)) * 2, slot);
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
    return slot + 1;
  }

  /** Sees that the pointer at place `place` of the register file was compared with 0. @throws Violation */
  checkTested(marks: number, place: number, slot: number): void {
    if (((marks >>> (place >> 1)) & 1) === 0) return;
    throw new Violation(
      `${this.nameOf(place >> 1, slot)} may be null: ${this.#giver} finds nothing at times; compare it with 0 first`,
    );
  }

  #endless(): Violation {
    return new Violation(`more than ${this.#instructionsMax} instructions ran: an endless loop?`);
  }

  /** A register is read that holds nothing. */
  unset(registers: number, slot: number): Violation {
    const first = 31 - Math.clz32(registers & -registers);
    const after = first <= 5 ? ' (a call leaves only %r0 and %r6 to %r9)' : '';
    return new Violation(`reads ${this.nameOf(first, slot)}, which holds nothing yet${after}`);
  }

  /** What is wrong with how the program ended. */
  faultAtEnd(problem: string): VmFault {
    return new VmFault(this.#exit, this.program.at(this.#exit), problem, this.#options.placeOf?.(this.#exit));
  }

  #fault(slot: number, violation: Violation): VmFault {
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
