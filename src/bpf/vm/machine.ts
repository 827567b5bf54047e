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
import { type Program, prepare, STEP } from './program.ts';
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
    const { program } = this;
    for (let slot = 0; slot < program.slots; slot++) {
      const number = program.immediates[slot];
      if (program.steps[slot] === STEP.helper && !this.#helpers.has(number)) {
        throw new VmFault(slot, program.at(slot), `calls helper ${number}, which the VM does not have`);
      }
      if (program.steps[slot] !== STEP.wide || program.sources[slot] === 0) continue;
      const map = maps.get(number);
      if (map === undefined)
        throw new VmFault(slot, program.at(slot), `names map ${number}, which the VM was not given`);
      const source = program.sources[slot];
      const isValue = source === abi.BPF_PSEUDO_MAP_VALUE || source === abi.BPF_PSEUDO_MAP_IDX_VALUE;
      if (isValue && map.spec.type !== 'array') {
        throw new VmFault(slot, program.at(slot), `takes the address of a value, which only arrays allow`);
      }
      const address = isValue
        ? this.values.region(map, 0).address(program.highs[slot])
        : this.values.handle(map).address();
      program.immediates[slot] = address.low;
      program.highs[slot] = address.high;
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
    const { steps, reads, writes } = this.program;
    let slot = 0;
    let left = this.#instructionsMax;
    try {
      while (slot >= 0) {
        if (--left < 0) throw new Violation(`more than ${this.#instructionsMax} instructions ran: an endless loop?`);
        const read = reads[slot];
        if ((read & ~this.#set) !== 0) throw this.#unset(read & ~this.#set);
        const next = this.#step(slot, steps[slot]);
        this.#set |= writes[slot];
        slot = next;
      }
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      throw new VmFault(slot, this.program.at(slot), error.message);
    } finally {
      this.executed = this.#instructionsMax - Math.max(left, 0);
    }
  }

  /** Executes one instruction and returns the slot of the next; negative at the end of the program. */
  #step(slot: number, step: number): number {
    const { registers, program } = this;
    const opcode = program.opcodes[slot];
    const d = program.destinations[slot];
    const s = program.sources[slot];
    const offset = program.offsets[slot];
    const isRegister = (opcode & abi.BPF_X) !== 0;
    switch (step) {
      case STEP.alu64: {
        const bLow = isRegister ? registers.low[s] : program.immediates[slot];
        alu64(registers, opcode & 0xf0, d, bLow, isRegister ? registers.high[s] : program.highs[slot], offset);
        this.#maybeNull &= ~(1 << d);
        return slot + 1;
      }
      case STEP.move:
        registers.low[d] = registers.low[s];
        registers.high[d] = registers.high[s];
        this.#maybeNull = (this.#maybeNull & ~(1 << d)) | (((this.#maybeNull >>> s) & 1) << d);
        return slot + 1;
      case STEP.load:
        this.#tested(s);
        load(this.space, registers, opcode, d, s, offset);
        this.#maybeNull &= ~(1 << d);
        return slot + 1;
      case STEP.jump:
        return this.#compare(slot, opcode, d, s, isRegister) ? program.targets[slot] : slot + 1;
      case STEP.store: {
        const isStored = (opcode & 7) === abi.BPF_STX;
        const low = isStored ? registers.low[s] : program.immediates[slot];
        this.#tested(d);
        store(this.space, registers, opcode, d, offset, low, isStored ? registers.high[s] : program.highs[slot]);
        return slot + 1;
      }
      case STEP.alu32:
        alu32(registers, opcode & 0xf0, d, isRegister ? registers.low[s] : program.immediates[slot], offset);
        this.#maybeNull &= ~(1 << d);
        return slot + 1;
      case STEP.always:
        return program.targets[slot];
      default:
        return this.#rareStep(slot, step, opcode, d, s);
    }
  }

  #rareStep(slot: number, step: number, opcode: number, d: number, s: number): number {
    const { registers, program } = this;
    switch (step) {
      case STEP.wide:
        registers.low[d] = program.immediates[slot];
        registers.high[d] = program.highs[slot];
        this.#maybeNull &= ~(1 << d);
        return slot + 2;
      case STEP.byteOrder: {
        const isKept = (opcode & 7) === abi.BPF_ALU && (opcode & abi.BPF_TO_BE) === 0;
        byteOrder(registers, d, program.immediates[slot], isKept);
        this.#maybeNull &= ~(1 << d);
        return slot + 1;
      }
      case STEP.atomic:
        this.#tested(d);
        atomic(this.space, registers, opcode, program.immediates[slot], d, s, program.offsets[slot]);
        this.#maybeNull &= ~program.writes[slot];
        return slot + 1;
      case STEP.helper:
        this.#callHelper(program.immediates[slot]);
        return slot + 1;
      case STEP.local:
        return this.#callLocal(slot);
      case STEP.exit:
        return this.#exit();
      default:
        throw new Violation('the program runs past its last instruction');
    }
  }

  #compare(slot: number, opcode: number, d: number, s: number, isRegister: boolean): boolean {
    const { registers, program } = this;
    const bLow = isRegister ? registers.low[s] : program.immediates[slot];
    const bHigh = isRegister ? registers.high[s] : program.highs[slot];
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

  #tested(register: number): void {
    if (((this.#maybeNull >>> register) & 1) === 0) return;
    throw new Violation(
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
    for (let register = 1; register <= helper.arguments; register++) this.#tested(register);
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
    return this.program.targets[slot];
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
