/**
 * Room `bpf`: where selection writes machine instructions: the block that grows, virtual registers for values, and what can be made
 * again at any place (numbers and addresses).
 *
 * A newcomer would get wrong: a number or an address has no place of its own in the code. It is made where it is needed, once for
 * each block, and register allocation makes it once more rather than keep it in memory.
 */
import * as abi from '../../../kernel/bpf-abi.ts';
import { WIDE_LOAD } from '../../instructions.ts';
import type { Condition, Location, StackSlot, Value, Width } from '../ir.ts';
import {
  FRAME,
  KIND,
  type MachineBlock,
  type MachineFunction,
  type MachineInstruction,
  machine,
  moveOf,
  NONE,
  type PendingRelocation,
} from './machine.ts';

const MOVE_IMMEDIATE = abi.BPF_ALU64 | abi.BPF_MOV | abi.BPF_K;
const MOVE_IMMEDIATE_32 = abi.BPF_ALU | abi.BPF_MOV | abi.BPF_K;

/** Whether a number can stand in an instruction, which extends it by its sign. */
export const fits = (value: bigint): boolean => value === BigInt.asIntN(32, value);

/** Whether this value is a number or an address that any place can make for itself. */
export function isRepeatable(value: Value): boolean {
  switch (value.kind) {
    case 'constant':
    case 'stackAddress':
    case 'mapAddress':
    case 'dataAddress':
    case 'functionAddress':
    case 'relocated':
      return true;
    default:
      return false;
  }
}

/** Grows one function. */
export class Code {
  readonly result: MachineFunction;
  /** Put on what is written from now on. */
  location: Location | null = null;
  block: MachineBlock;
  readonly #slots: ReadonlyMap<StackSlot, number>;
  readonly #registers: Int32Array;
  /** Repeatable values that the current block has in a register. */
  #made = new Map<string, number>();

  constructor(name: string, values: number, slots: ReadonlyMap<StackSlot, number>, frameBytes: number) {
    this.result = { name, blocks: [], registers: FRAME + 1, names: [], slotBytes: frameBytes, frameBytes };
    this.#registers = new Int32Array(values).fill(NONE);
    this.#slots = slots;
    this.block = this.newBlock();
  }

  newBlock(): MachineBlock {
    const block: MachineBlock = {
      index: this.result.blocks.length,
      instructions: [],
      end: { kind: 'exit', location: null },
      frequency: 1,
    };
    this.result.blocks.push(block);
    return block;
  }

  enter(block: MachineBlock): void {
    this.block = block;
    this.#made = new Map();
  }

  /** A register of its own. */
  fresh(name?: string): number {
    const register = this.result.registers++;
    this.result.names[register] = name;
    return register;
  }

  /** The register that a value lives in. */
  registerOf(value: Value): number {
    const known = this.#registers[value.id];
    if (known !== NONE) return known;
    const register = this.fresh(value.name);
    this.#registers[value.id] = register;
    return register;
  }

  /** Says that a value lives where another does. */
  share(value: Value, register: number): void {
    this.#registers[value.id] = register;
    this.result.names[register] ??= value.name;
  }

  isShared(value: Value): boolean {
    return this.#registers[value.id] !== NONE;
  }

  push(instruction: MachineInstruction): void {
    this.block.instructions.push(instruction);
  }

  move(def: number, first: number): void {
    this.push(moveOf(def, first, this.location));
  }

  /** def = left op right, where right is a register. */
  alu(bits: 32 | 64, code: number, def: number, left: number, right: number, offset = 0): void {
    const opcode = (bits === 64 ? abi.BPF_ALU64 : abi.BPF_ALU) | code | abi.BPF_X;
    this.push(machine(KIND.alu, opcode, this.location, { def, tied: left, first: right, offset }));
  }

  /** def = left op number. */
  aluImmediate(bits: 32 | 64, code: number, def: number, left: number, immediate: number, offset = 0): void {
    const opcode = (bits === 64 ? abi.BPF_ALU64 : abi.BPF_ALU) | code | abi.BPF_K;
    this.push(machine(KIND.alu, opcode, this.location, { def, tied: left, immediate, offset }));
  }

  /** def = the low half of first. */
  low(def: number, first: number): void {
    this.push(machine(KIND.extend, abi.BPF_ALU | abi.BPF_MOV | abi.BPF_X, this.location, { def, first }));
  }

  number(def: number, value: bigint): void {
    if (fits(value)) {
      this.push(machine(KIND.constant, MOVE_IMMEDIATE, this.location, { def, immediate: Number(value) }));
    } else if (value >> 32n === 0n) {
      const immediate = Number(BigInt.asIntN(32, value));
      this.push(machine(KIND.constant, MOVE_IMMEDIATE_32, this.location, { def, immediate }));
    } else {
      this.#wide(def, 0, value, null);
    }
  }

  #wide(def: number, pseudo: number, value: bigint, relocation: PendingRelocation | null): void {
    const immediate = Number(BigInt.asIntN(32, value));
    const nextImmediate = Number(BigInt.asIntN(32, value >> 32n));
    const fields = { def, immediate, nextImmediate, pseudo, relocation };
    this.push(machine(KIND.constant, WIDE_LOAD, this.location, fields));
  }

  /** Makes a repeatable value in a register. */
  make(def: number, value: Value): void {
    switch (value.kind) {
      case 'constant':
        this.number(def, value.value);
        break;
      case 'stackAddress':
        this.push(machine(KIND.frame, 0, this.location, { def, immediate: this.slotOffset(value.slot) }));
        break;
      case 'mapAddress':
        this.#wide(def, abi.BPF_PSEUDO_MAP_FD, 0n, { kind: 'map', symbol: value.map, addend: 0 });
        break;
      case 'dataAddress':
        if (value.section === '.ksyms') {
          this.#wide(def, abi.BPF_PSEUDO_BTF_ID, 0n, { kind: 'kernelSymbol', symbol: value.symbol, addend: 0 });
        } else {
          const relocation = { kind: 'data', symbol: value.section, addend: value.offset } as const;
          this.#wide(def, abi.BPF_PSEUDO_MAP_VALUE, 0n, relocation);
        }
        break;
      case 'functionAddress':
        this.#wide(def, abi.BPF_PSEUDO_FUNC, 0n, { kind: 'callback', symbol: value.function, addend: 0 });
        break;
      case 'relocated': {
        const fields = { def, immediate: Number(BigInt.asIntN(32, value.value)), core: value.relocation };
        this.push(machine(KIND.constant, MOVE_IMMEDIATE, this.location, fields));
        break;
      }
      default:
        throw new Error(`${this.result.name}: a ${value.kind} cannot be repeated`);
    }
  }

  /** Bytes from r10 to a slot. */
  slotOffset(slot: StackSlot): number {
    const offset = this.#slots.get(slot);
    if (offset === undefined) throw new Error(`${this.result.name}: slot ${slot.name} has no place`);
    return offset;
  }

  /** A register that holds a repeatable value in this block. */
  repeated(value: Value): number {
    const key = keyOf(value);
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const register = this.fresh(value.name);
    this.make(register, value);
    this.#made.set(key, register);
    return register;
  }

  jump(target: MachineBlock): void {
    this.block.end = { kind: 'jump', location: this.location, target };
  }

  /** Ends the block with a comparison with a number. */
  branchImmediate(
    condition: Condition,
    bits: 32 | 64,
    first: number,
    immediate: number,
    targets: readonly [MachineBlock, MachineBlock],
  ): void {
    const [whenTrue, whenFalse] = targets;
    const { location } = this;
    this.block.end = { kind: 'branch', location, condition, bits, first, second: NONE, immediate, whenTrue, whenFalse };
  }

  /** Ends the block with a comparison of registers. */
  branch(
    condition: Condition,
    bits: 32 | 64,
    [first, second]: readonly [number, number],
    [whenTrue, whenFalse]: readonly [MachineBlock, MachineBlock],
  ): void {
    const { location } = this;
    this.block.end = { kind: 'branch', location, condition, bits, first, second, immediate: 0, whenTrue, whenFalse };
  }
}

/** def = the low `width` bytes of `from`, extended by their sign. */
export function extendSign(
  code: Code,
  cpu: 3 | 4,
  { def, from, width }: { readonly def: number; readonly from: number; readonly width: Width },
): void {
  const bits = width * 8;
  if (cpu === 4) {
    const opcode = abi.BPF_ALU64 | abi.BPF_MOV | abi.BPF_X;
    code.push(machine(KIND.extend, opcode, code.location, { def, first: from, offset: bits }));
    return;
  }
  const shifted = code.fresh();
  code.aluImmediate(64, abi.BPF_LSH, shifted, from, 64 - bits);
  code.aluImmediate(64, abi.BPF_ARSH, def, shifted, 64 - bits);
}

/** Equal for values that are the same number or address. */
function keyOf(value: Value): string {
  switch (value.kind) {
    case 'constant':
      return `${value.value}`;
    case 'stackAddress':
      return `slot ${value.slot.id}`;
    case 'mapAddress':
      return `map ${value.map}`;
    case 'dataAddress':
      return `data ${value.section} ${value.symbol} ${value.offset}`;
    case 'functionAddress':
      return `function ${value.function}`;
    default:
      return `value ${value.id}`;
  }
}
