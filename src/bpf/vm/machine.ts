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
import { alu32, alu64, byteOrder, type Registers } from './arithmetic.ts';
import { holds } from './comparison.ts';
import { Violation, VmFault } from './fault.ts';
import { type Helper, HelperCall } from './helper-call.ts';
import { commonHelpers } from './helpers.ts';
import type { VmMap } from './maps.ts';
import { type Address, AddressSpace, type Region } from './memory.ts';
import {
  type Program,
  prepare,
  SLOT_WORDS,
  STEP,
  WORD_HIGH,
  WORD_IMMEDIATE,
  WORD_OFFSET,
  WORD_READS,
  WORD_STEP,
  WORD_TARGET,
  WORD_WRITES,
} from './program.ts';
import { atomic, load, store } from './transfers.ts';
import { ValueRegions } from './value-regions.ts';

/** Bytes of a function's stack frame, and how deep calls may go (RFC 9669 section 4.3.2; MAX_CALL_FRAMES). */
const FRAME_BYTES = 512;
const FRAMES_MAX = 8;
const INSTRUCTIONS_MAX = 1_000_000;

const ARGUMENTS = 0b111110;
const SAVED_FIRST = 6;
const SAVED = FRAME_POINTER - SAVED_FIRST;
const SAVED_MASK = 0b1111000000;

export interface MachineOptions {
  /** Maps by the number that the program's wide loads name (`map_by_fd(3)`, `map_by_idx(3)`). */
  readonly maps?: ReadonlyMap<number, VmMap>;
  /** Helpers by number, in place of or beside the common ones. */
  readonly helpers?: ReadonlyMap<number, Helper>;
  /** Instructions that one run may execute: the bound on endless loops. 1,000,000 unless told. */
  readonly instructionsMax?: number;
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
  readonly registers: Registers = { low: new Int32Array(REGISTERS), high: new Int32Array(REGISTERS) };
  readonly space = new AddressSpace();
  readonly values = new ValueRegions(this.space);
  /** Instructions that the last run executed. */
  executed = 0;
  readonly #instructionsMax: number;
  readonly #helpers: ReadonlyMap<number, Helper>;
  readonly #call: HelperCall;
  readonly #frames: Region[] = [];
  /** r6 to r9 of each caller and where it goes on. */
  readonly #savedLow = new Int32Array(FRAMES_MAX * SAVED);
  readonly #savedHigh = new Int32Array(FRAMES_MAX * SAVED);
  readonly #savedSet = new Int32Array(FRAMES_MAX);
  readonly #returns = new Int32Array(FRAMES_MAX);
  #depth = 0;
  /** Where the run is, and how many instructions it may still execute. */
  #slot = 0;
  #left = 0;
  /** Registers that hold something, and those whose pointer may be null, as bits. */
  #set = 0;
  #maybeNull = 0;

  /** @throws VmFault for a program that could never run: see `prepare`, and maps or helpers that are not there */
  constructor(instructions: readonly Instruction[], options: MachineOptions = {}) {
    this.program = prepare(instructions);
    this.#instructionsMax = options.instructionsMax ?? INSTRUCTIONS_MAX;
    this.#helpers = new Map([...commonHelpers, ...(options.helpers ?? [])]);
    this.#call = new HelperCall(this);
    for (let depth = 0; depth < FRAMES_MAX; depth++) {
      const bytes = new Uint8Array(FRAME_BYTES);
      this.#frames.push(this.space.add({ name: `the stack of frame ${depth}`, bytes, writable: true }));
    }
    this.#link(options.maps ?? new Map());
  }

  /** Puts maps' addresses into wide loads, and sees that every helper is there. */
  #link(maps: ReadonlyMap<number, VmMap>): void {
    const { slots, code } = this.program;
    for (let slot = 0; slot < slots; slot++) {
      const found = this.program.at(slot);
      if (found === undefined) continue;
      const base = slot * SLOT_WORDS;
      const step = code[base + WORD_STEP] & 0xff;
      const number = found.immediate;
      if (step === STEP.helper && !this.#helpers.has(number)) {
        throw new VmFault(slot, found, `calls helper ${number}, which the VM does not have`);
      }
      if (step !== STEP.wide || found.source === 0) continue;
      const map = maps.get(number);
      if (map === undefined) throw new VmFault(slot, found, `names map ${number}, which the VM was not given`);
      const isValue = found.source === abi.BPF_PSEUDO_MAP_VALUE || found.source === abi.BPF_PSEUDO_MAP_IDX_VALUE;
      if (isValue && map.spec.type !== 'array') {
        throw new VmFault(slot, found, 'takes the address of a value, which only arrays allow');
      }
      const region = isValue ? this.values.region(map, 0) : this.values.handle(map);
      const address = region.address(isValue ? found.nextImmediate : 0);
      code[base + WORD_IMMEDIATE] = address.low;
      code[base + WORD_HIGH] = address.high;
    }
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

  /** Runs with the given values in r1, r2 and on, and returns r0. @throws VmFault */
  runWith(values: readonly Address[]): bigint {
    const { low, high } = this.registers;
    this.#set = 1 << FRAME_POINTER;
    this.#maybeNull = 0;
    for (const [index, value] of values.entries()) {
      low[index + 1] = value.low;
      high[index + 1] = value.high;
      this.#set |= 1 << (index + 1);
    }
    for (const [depth, frame] of this.#frames.entries()) {
      if (depth > 0) this.space.retire(frame, 'that function does not run');
      frame.bytes.fill(0);
    }
    this.#depth = 0;
    this.#enterFrame();
    this.#execute();
    return BigInt.asUintN(64, (BigInt(high[0]) << 32n) | BigInt(low[0] >>> 0));
  }

  #enterFrame(): void {
    const frame = this.#frames[this.#depth];
    frame.length = FRAME_BYTES;
    frame.gone = undefined;
    const top = frame.address(FRAME_BYTES);
    this.registers.low[FRAME_POINTER] = top.low;
    this.registers.high[FRAME_POINTER] = top.high;
  }

  #execute(): void {
    this.#left = this.#instructionsMax;
    this.#slot = 0;
    try {
      this.#loop(this.program.code, this.registers);
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      throw new VmFault(this.#slot, this.program.at(this.#slot), error.message);
    } finally {
      this.executed = this.#instructionsMax - Math.max(this.#left, 0);
    }
  }

  /** Executes instructions until the program ends. Frequent ones stand here: a call for each would cost as much as the work. */
  #loop(code: Int32Array, registers: Registers): void {
    const { low, high } = registers;
    for (let slot = 0; slot >= 0; ) {
      this.#slot = slot;
      if (--this.#left < 0)
        throw new Violation(`more than ${this.#instructionsMax} instructions ran: an endless loop?`);
      const base = slot * SLOT_WORDS;
      const missing = code[base + WORD_READS] & ~this.#set;
      if (missing !== 0) throw this.#unset(missing);
      const packed = code[base + WORD_STEP];
      const opcode = (packed >>> 8) & 0xff;
      const d = (packed >>> 16) & 0xff;
      const s = packed >>> 24;
      const offset = code[base + WORD_OFFSET];
      const isRegister = (opcode & abi.BPF_X) !== 0;
      let next = slot + 1;
      switch (packed & 0xff) {
        case STEP.alu64: {
          const bLow = isRegister ? low[s] : code[base + WORD_IMMEDIATE];
          alu64(registers, opcode & 0xf0, d, bLow, isRegister ? high[s] : code[base + WORD_HIGH], offset);
          this.#maybeNull &= ~(1 << d);
          break;
        }
        case STEP.move:
          low[d] = low[s];
          high[d] = high[s];
          this.#maybeNull = (this.#maybeNull & ~(1 << d)) | (((this.#maybeNull >>> s) & 1) << d);
          break;
        case STEP.load:
          if (((this.#maybeNull >>> s) & 1) !== 0) throw this.#untested(s);
          load(this.space, registers, opcode, d, s, offset);
          this.#maybeNull &= ~(1 << d);
          break;
        case STEP.jump:
          if (this.#compare(code, base, opcode, d, s, isRegister)) next = code[base + WORD_TARGET];
          break;
        case STEP.store: {
          const isStored = (opcode & 7) === abi.BPF_STX;
          const value = isStored ? low[s] : code[base + WORD_IMMEDIATE];
          if (((this.#maybeNull >>> d) & 1) !== 0) throw this.#untested(d);
          store(this.space, registers, opcode, d, offset, value, isStored ? high[s] : code[base + WORD_HIGH]);
          break;
        }
        case STEP.alu32:
          alu32(registers, opcode & 0xf0, d, isRegister ? low[s] : code[base + WORD_IMMEDIATE], offset);
          this.#maybeNull &= ~(1 << d);
          break;
        case STEP.always:
          next = code[base + WORD_TARGET];
          break;
        default:
          next = this.#rareStep(slot, code, base, opcode, d, s);
      }
      this.#set |= code[base + WORD_WRITES];
      slot = next;
    }
  }

  /** Executes one of the other instructions and returns the slot of the next; negative at the end of the program. */
  #rareStep(slot: number, code: Int32Array, base: number, opcode: number, d: number, s: number): number {
    const { registers } = this;
    switch (code[base + WORD_STEP] & 0xff) {
      case STEP.wide:
        registers.low[d] = code[base + WORD_IMMEDIATE];
        registers.high[d] = code[base + WORD_HIGH];
        this.#maybeNull &= ~(1 << d);
        return slot + 2;
      case STEP.byteOrder: {
        const isKept = (opcode & 7) === abi.BPF_ALU && (opcode & abi.BPF_TO_BE) === 0;
        byteOrder(registers, d, code[base + WORD_IMMEDIATE], isKept);
        this.#maybeNull &= ~(1 << d);
        return slot + 1;
      }
      case STEP.atomic:
        if (((this.#maybeNull >>> d) & 1) !== 0) throw this.#untested(d);
        atomic(this.space, registers, opcode, code[base + WORD_IMMEDIATE], d, s, code[base + WORD_OFFSET]);
        this.#maybeNull &= ~code[base + WORD_WRITES];
        return slot + 1;
      case STEP.helper:
        this.#callHelper(code[base + WORD_IMMEDIATE]);
        return slot + 1;
      case STEP.local:
        return this.#callLocal(slot);
      case STEP.exit:
        return this.#exit();
      default:
        throw new Violation('the program runs past its last instruction');
    }
  }

  #compare(code: Int32Array, base: number, opcode: number, d: number, s: number, isRegister: boolean): boolean {
    const { registers } = this;
    const bLow = isRegister ? registers.low[s] : code[base + WORD_IMMEDIATE];
    const bHigh = isRegister ? registers.high[s] : code[base + WORD_HIGH];
    const isWide = (opcode & 7) === abi.BPF_JMP;
    const operation = opcode & 0xf0;
    const isTest = operation === abi.BPF_JEQ || operation === abi.BPF_JNE;
    if (this.#maybeNull !== 0 && isTest && isWide && bLow === 0 && bHigh === 0) this.#markTested(d);
    return holds(operation, isWide, registers.low[d], registers.high[d], bLow, bHigh);
  }

  /** The pointer in register `d` was compared with 0; so were its copies. */
  #markTested(d: number): void {
    const { low, high } = this.registers;
    for (let other = 0; other < REGISTERS; other++) {
      if (low[other] === low[d] && high[other] === high[d]) this.#maybeNull &= ~(1 << other);
    }
  }

  #untested(register: number): Violation {
    return new Violation(
      `%r${register} may be null: map_lookup_elem finds nothing for some key; compare it with 0 first`,
    );
  }

  #unset(registers: number): Violation {
    const first = 31 - Math.clz32(registers & -registers);
    const after = first <= 5 ? ' (a call leaves only %r0 and %r6 to %r9)' : '';
    return new Violation(`reads %r${first}, which holds nothing yet${after}`);
  }

  #callHelper(number: number): void {
    const helper = this.#helpers.get(number)!;
    const wanted = ((1 << helper.arguments) - 1) << 1;
    if ((wanted & ~this.#set) !== 0) throw this.#unset(wanted & ~this.#set);
    const untested = wanted & this.#maybeNull;
    if (untested !== 0) throw this.#untested(31 - Math.clz32(untested & -untested));
    this.#call.mayBeNull = false;
    helper.run(this.#call);
    this.#set = (this.#set & ~ARGUMENTS) | 1;
    this.#maybeNull = this.#call.mayBeNull ? (this.#maybeNull & ~ARGUMENTS) | 1 : this.#maybeNull & ~(ARGUMENTS | 1);
  }

  #callLocal(slot: number): number {
    if (this.#depth + 1 === FRAMES_MAX) throw new Violation(`calls are ${FRAMES_MAX} deep, deeper than allowed`);
    const { low, high } = this.registers;
    const base = this.#depth * SAVED;
    for (let index = 0; index < SAVED; index++) {
      this.#savedLow[base + index] = low[SAVED_FIRST + index];
      this.#savedHigh[base + index] = high[SAVED_FIRST + index];
    }
    this.#savedSet[this.#depth] = (this.#set & SAVED_MASK) | ((this.#maybeNull & SAVED_MASK) << 16);
    this.#returns[this.#depth] = slot + 1;
    this.#set &= ARGUMENTS | (1 << FRAME_POINTER);
    this.#maybeNull &= ARGUMENTS;
    this.#depth++;
    this.#enterFrame();
    return this.program.code[slot * SLOT_WORDS + WORD_TARGET];
  }

  #exit(): number {
    if (this.#depth === 0) return -1;
    this.space.retire(this.#frames[this.#depth], 'that function has returned');
    this.#depth--;
    this.#enterFrame();
    const { low, high } = this.registers;
    const base = this.#depth * SAVED;
    for (let index = 0; index < SAVED; index++) {
      low[SAVED_FIRST + index] = this.#savedLow[base + index];
      high[SAVED_FIRST + index] = this.#savedHigh[base + index];
    }
    this.#set = (this.#savedSet[this.#depth] & SAVED_MASK) | 1 | (1 << FRAME_POINTER);
    this.#maybeNull = (this.#savedSet[this.#depth] >>> 16) & SAVED_MASK;
    return this.#returns[this.#depth];
  }
}
