/**
 * Room `bpf`: what can only be seen once registers are given and blocks are repeated: numbers that a register holds already, branches
 * whose answer is known, stores of numbers, and what is written for nobody.
 *
 * A newcomer would get wrong: each block is looked at by itself, from its beginning, where nothing is known.
 */
import * as abi from '../../../kernel/bpf-abi.ts';
import type { BinaryOperator } from '../ir.ts';
import { evaluateBinary, evaluateCondition } from '../passes/evaluate.ts';
import type { Allocation } from './allocate.ts';
import { fits } from './code.ts';
import { forEachBit, forEachEndRead, forEachRead } from './liveness.ts';
import {
  FRAME,
  KIND,
  type MachineBlock,
  type MachineFunction,
  type MachineInstruction,
  NONE,
  postorder,
  successors,
} from './machine.ts';

/** Machine registers, by instruction fields. */
type RegisterOf = (register: number) => number;

const operators: ReadonlyMap<number, BinaryOperator> = new Map([
  [abi.BPF_ADD, 'add'],
  [abi.BPF_AND, 'and'],
  [abi.BPF_LSH, 'shl'],
  [abi.BPF_RSH, 'lshr'],
]);

/** Makes the blocks' code shorter; their order and edges stay, apart from branches that become jumps. */
export function polish(target: MachineFunction, { of }: Allocation): void {
  const registerOf: RegisterOf = (register) => (register < 0 || register === FRAME ? register : of[register]);
  for (const block of target.blocks) new Polisher(block, target.slotBytes, registerOf).run();
  removeDead(target, registerOf);
}

class Polisher {
  readonly #block: MachineBlock;
  readonly #slotBytes: number;
  readonly #registerOf: RegisterOf;
  readonly #numbers = new Map<number, bigint>();
  /** Registers that hold what lies at an offset from r10; only for spilled values, which nobody else can write. */
  readonly #spilled = new Map<number, number>();

  constructor(block: MachineBlock, slotBytes: number, registerOf: RegisterOf) {
    this.#block = block;
    this.#slotBytes = slotBytes;
    this.#registerOf = registerOf;
  }

  run(): void {
    const block = this.#block;
    block.instructions = block.instructions.filter((one) => {
      if (this.#isNeedless(one)) return false;
      this.#storeNumber(one);
      this.#follow(one);
      return true;
    });
    const { end } = block;
    if (end.kind !== 'branch' || end.second !== NONE) return;
    const number = this.#numbers.get(this.#registerOf(end.first));
    if (number === undefined) return;
    const holds = evaluateCondition(end.condition, end.bits, number, BigInt(end.immediate));
    block.end = { kind: 'jump', location: end.location, target: holds ? end.whenTrue : end.whenFalse };
  }

  /** Whether the register holds this already. */
  #isNeedless(one: MachineInstruction): boolean {
    const def = this.#registerOf(one.def);
    const number = numberOf(one);
    if (number !== undefined) return this.#numbers.get(def) === number;
    return one.kind === KIND.load && this.#isSpilled(one) && this.#spilled.get(one.offset) === def;
  }

  #isSpilled({ first, offset }: MachineInstruction): boolean {
    return first === FRAME && offset < -this.#slotBytes;
  }

  /** Lets a store into the stack name the number itself. Elsewhere the place may be a context, which takes registers only. */
  #storeNumber(one: MachineInstruction): void {
    if (one.kind !== KIND.store || one.first !== FRAME || one.second === NONE) return;
    const number = this.#numbers.get(this.#registerOf(one.second));
    const size = one.opcode & SIZE;
    if (number === undefined || (size === abi.BPF_DW && !fits(number))) return;
    one.opcode = abi.BPF_ST | abi.BPF_MEM | size;
    one.second = NONE;
    one.immediate = Number(BigInt.asIntN(bitsOf(size), number));
  }

  #follow(one: MachineInstruction): void {
    const def = this.#registerOf(one.def);
    if (one.kind === KIND.move && def === this.#registerOf(one.first)) return;
    const number = numberOf(one) ?? this.#computed(one);
    forEachBit(one.writes, (register) => this.#change(register));
    if (def !== NONE) this.#change(def);
    if (number !== undefined) this.#numbers.set(def, number);
    if (!this.#isSpilled(one)) return;
    if (one.kind === KIND.load) this.#spilled.set(one.offset, def);
    else if (one.second === NONE) this.#spilled.delete(one.offset);
    else this.#spilled.set(one.offset, this.#registerOf(one.second));
  }

  #change(register: number): void {
    this.#numbers.delete(register);
    for (const [offset, holder] of this.#spilled) if (holder === register) this.#spilled.delete(offset);
  }

  #computed({ kind, opcode, tied, first, immediate, core }: MachineInstruction): bigint | undefined {
    if (kind === KIND.move) return this.#numbers.get(this.#registerOf(first));
    const operator = operators.get(opcode & OPERATION);
    const number = this.#numbers.get(this.#registerOf(tied));
    if (kind !== KIND.alu || first !== NONE || core !== null || operator === undefined || number === undefined) {
      return undefined;
    }
    return evaluateBinary(operator, (opcode & CLASS) === abi.BPF_ALU64 ? 64 : 32, number, BigInt(immediate));
  }
}

const CLASS = 0x07;
const SIZE = 0x18;
const OPERATION = 0xf0;

function bitsOf(size: number): number {
  if (size === abi.BPF_B) return 8;
  return size === abi.BPF_H ? 16 : 32;
}

/** The number that an instruction makes; undefined for others. Signed, 64 bits. */
function numberOf({ opcode, immediate, kind, core }: MachineInstruction): bigint | undefined {
  if (kind !== KIND.constant || core !== null) return undefined;
  if (opcode === (abi.BPF_ALU64 | abi.BPF_MOV | abi.BPF_K)) return BigInt(immediate);
  return opcode === (abi.BPF_ALU | abi.BPF_MOV | abi.BPF_K) ? BigInt.asUintN(32, BigInt(immediate)) : undefined;
}

/** Removes what is written for nobody. */
function removeDead(target: MachineFunction, registerOf: RegisterOf): void {
  const into = new Map<MachineBlock, number>();
  const liveBefore = (block: MachineBlock, isLast: boolean): number => {
    let live = successors(block).reduce((sum, next) => sum | (into.get(next) ?? 0), 0);
    const read = (register: number): void => {
      live |= 1 << registerOf(register);
    };
    forEachEndRead(block, read);
    const kept: MachineInstruction[] = [];
    for (let at = block.instructions.length - 1; at >= 0; at--) {
      const one = block.instructions[at];
      const def = registerOf(one.def);
      const isIdle = one.kind === KIND.move && registerOf(one.first) === def;
      if (one.removable && !isIdle && def !== NONE && (live & (1 << def)) === 0) continue;
      if (isLast) kept.push(one);
      if (isIdle) continue;
      if (def !== NONE) live &= ~(1 << def);
      live &= ~one.writes;
      forEachRead(one, read);
    }
    if (isLast) block.instructions = kept.reverse();
    return live;
  };
  const order = postorder(target);
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of order) {
      const live = liveBefore(block, false);
      if (live === into.get(block)) continue;
      into.set(block, live);
      changed = true;
    }
  }
  for (const block of order) liveBefore(block, true);
}
