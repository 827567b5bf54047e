/**
 * Room `bpf`: chooses instructions for one function: IR in, machine instructions on virtual registers out.
 *
 * A newcomer would get wrong: the verifier watches the result. Bounds and null checks must compare the very register that is used
 * afterwards (or a copy), contexts are accessed at constant offsets only, and pointers know 64-bit addition and subtraction alone.
 */
import * as abi from '../../../kernel/bpf-abi.ts';
import type {
  Binary,
  Block,
  Call,
  Compare,
  Condition,
  IrFunction,
  Operation,
  StackSlot,
  Terminator,
  Unary,
  Value,
} from '../ir.ts';
import { operandsOf, terminatorOperands } from '../ir.ts';
import { Code, fits, isRepeatable } from './code.ts';
import { divideSigned, divideSignedBy } from './division.ts';
import { comparedBy, Facts } from './facts.ts';
import { CALL_WRITES, KIND, type MachineBlock, type MachineFunction, machine, swapped } from './machine.ts';
import { constantStep, Memory } from './memory.ts';
import { lowerPhis } from './phis.ts';
import { layOutStack } from './stack.ts';

/** What the machine can do: 4 has signed division, sign extension and far jumps (kernel 6.6). */
export type Cpu = 3 | 4;

const codes = {
  add: abi.BPF_ADD,
  sub: abi.BPF_SUB,
  mul: abi.BPF_MUL,
  udiv: abi.BPF_DIV,
  umod: abi.BPF_MOD,
  and: abi.BPF_AND,
  or: abi.BPF_OR,
  xor: abi.BPF_XOR,
  shl: abi.BPF_LSH,
  lshr: abi.BPF_RSH,
  ashr: abi.BPF_ARSH,
} as const;

const commutative = new Set(['add', 'mul', 'and', 'or', 'xor']);
const shifts = new Set(['shl', 'lshr', 'ashr']);
const divisions = new Set(['udiv', 'umod', 'sdiv', 'smod']);

/** The only number of an instruction whose opposite does not fit in one. */
const IMMEDIATE_MIN = -(1n << 31n);

/** Options of {@link select}. */
export interface SelectOptions {
  readonly cpu: Cpu;
  /** Whether callers read the high half of the result. */
  readonly returnsHigh: boolean;
}

/** Chooses instructions. The IR stays as it is. */
export function select(target: IrFunction, options: SelectOptions): MachineFunction {
  return new Selector(target, options).run();
}

/** Slots that some instruction names. */
function usedSlots(target: IrFunction): Set<StackSlot> {
  const used = new Set<StackSlot>();
  const look = (value: Value): void => {
    if (value.kind === 'stackAddress') used.add(value.slot);
  };
  for (const block of target.blocks) {
    for (const value of [...block.phis, ...block.operations]) operandsOf(value).forEach(look);
    if (block.terminator !== null) terminatorOperands(block.terminator).forEach(look);
  }
  return used;
}

class Selector {
  readonly #target: IrFunction;
  readonly #cpu: Cpu;
  readonly #facts: Facts;
  readonly #code: Code;
  readonly #memory: Memory;
  readonly #entries = new Map<Block, MachineBlock>();
  /** Where a block's code ends: comparisons and divisions break blocks. */
  readonly #exits = new Map<Block, MachineBlock>();

  constructor(target: IrFunction, { cpu, returnsHigh }: SelectOptions) {
    this.#target = target;
    this.#cpu = cpu;
    this.#facts = new Facts(target, returnsHigh);
    const { offsets, bytes } = layOutStack(target.slots, usedSlots(target));
    this.#code = new Code(target.name, target.nextId, offsets, bytes);
    this.#memory = new Memory(this.#code, this.#facts, (value) => this.#use(value), cpu);
  }

  run(): MachineFunction {
    const code = this.#code;
    for (const [index, block] of this.#target.blocks.entries()) {
      this.#entries.set(block, index === 0 ? code.block : code.newBlock());
    }
    this.#shareExtensions();
    for (const [index, block] of this.#target.blocks.entries()) {
      code.enter(this.#entryOf(block));
      code.location = this.#target.location;
      if (index === 0) this.#receive();
      for (const operation of block.operations) this.#operation(operation);
      this.#end(block.terminator);
      this.#exits.set(block, code.block);
    }
    lowerPhis(this.#target, code, { entries: this.#entries, exits: this.#exits, use: (value) => this.#source(value) });
    return code.result;
  }

  #entryOf(block: Block): MachineBlock {
    const entry = this.#entries.get(block);
    if (entry === undefined) throw new Error(`${this.#target.name}: block ${block.id} is not in the function`);
    return entry;
  }

  #receive(): void {
    for (const parameter of this.#target.parameters) {
      if (this.#facts.isUsed(parameter)) this.#code.move(this.#code.registerOf(parameter), parameter.index + 1);
    }
  }

  /** Lets an extension that changes nothing, or nothing that is read, live where its operand does. */
  #shareExtensions(): void {
    const open: Value[] = [];
    for (const block of this.#target.blocks) {
      for (const operation of block.operations) if (this.#source(operation) !== operation) open.push(operation);
    }
    for (const value of open) {
      const source = this.#source(value);
      if (!isRepeatable(source)) this.#code.share(value, this.#code.registerOf(source));
    }
  }

  /** The value that really computes what this one is. */
  #source(value: Value): Value {
    let found = value;
    while (found.kind === 'unary' && this.#isIdle(found)) found = found.operand;
    return found;
  }

  #isIdle(value: Unary): boolean {
    const { operator, width, operand } = value;
    if (operator !== 'sext' && operator !== 'zext') return false;
    if (width === 8 || (width === 4 && !this.#facts.isHighRead(value))) return true;
    if (operator === 'zext') return this.#facts.bits(operand) <= width * 8;
    if (this.#facts.bits(operand) < width * 8) return true;
    const inner = this.#source(operand);
    if (inner.kind === 'load') return inner.signed && inner.width <= width && !this.#memory.isCut(inner);
    return inner.kind === 'unary' && inner.operator === 'sext' && inner.width <= width;
  }

  /** A register that holds the value. */
  #use(value: Value): number {
    const source = this.#source(value);
    return isRepeatable(source) ? this.#code.repeated(source) : this.#code.registerOf(source);
  }

  /** Puts a value into a given register. */
  #put(register: number, value: Value): void {
    const source = this.#source(value);
    if (isRepeatable(source)) this.#code.make(register, source);
    else this.#code.move(register, this.#code.registerOf(source));
  }

  #operation(value: Operation): void {
    this.#code.location = value.location ?? this.#code.location;
    switch (value.kind) {
      case 'binary':
        this.#binary(value);
        break;
      case 'unary':
        if (this.#source(value) === value) this.#unary(value);
        break;
      case 'compare':
        if (this.#facts.isUsed(value)) this.#compare(value);
        break;
      case 'load':
        this.#memory.load(value);
        break;
      case 'store':
        this.#memory.store(value);
        break;
      case 'atomic':
        this.#memory.atomic(value);
        break;
      case 'call':
        this.#call(value);
        break;
      default:
        // Numbers and addresses are made where they are used.
        break;
    }
  }

  #binary(value: Binary): void {
    const { operator, bits } = value;
    let { left, right } = value;
    if (commutative.has(operator) && isNumber(this.#source(left)) && !isNumber(this.#source(right))) {
      [left, right] = [right, left];
    }
    const number = this.#source(right);
    if (number.kind === 'constant' && this.#binaryConstant(value, left, number.value)) return;
    const def = this.#code.registerOf(value);
    if (number.kind === 'relocated' && bits === 64 && operator === 'add') {
      const core = number.relocation;
      const fields = { def, tied: this.#use(left), immediate: Number(number.value), core };
      this.#code.push(machine(KIND.alu, abi.BPF_ALU64 | abi.BPF_ADD | abi.BPF_K, this.#code.location, fields));
    } else if (operator === 'sdiv' || operator === 'smod') {
      const registers = { def, left: this.#use(left), right: this.#use(right) };
      divideSigned(this.#code, this.#cpu, { remainder: operator === 'smod', bits, ...registers });
    } else {
      this.#code.alu(bits, codes[operator], def, this.#use(left), this.#use(right));
    }
  }

  /** The form with a number as the second operand; false where there is none. */
  #binaryConstant(value: Binary, left: Value, whole: bigint): boolean {
    const { operator, bits } = value;
    const code = this.#code;
    const number = bits === 32 ? BigInt.asIntN(32, whole) : whole;
    if (bits === 64 && (operator === 'add' || operator === 'sub') && this.#addBoth(value, left, number)) return true;
    if (shifts.has(operator)) {
      const count = Number(BigInt.asUintN(6, whole)) & (bits - 1);
      // A shift by 0 of 32 bits still clears the high half.
      code.aluImmediate(bits, codes[operator as 'shl'], code.registerOf(value), this.#use(left), count);
      return true;
    }
    if (divisions.has(operator) && number === 0n) {
      // The verifier refuses a division by the number 0, whose result RFC 9669 defines all the same.
      const def = code.registerOf(value);
      if (operator.endsWith('div')) code.number(def, 0n);
      else if (bits === 32) code.low(def, this.#use(left));
      else code.move(def, this.#use(left));
      return true;
    }
    if (operator === 'and' && bits === 64 && number >> 32n === 0n) {
      const def = code.registerOf(value);
      if (number === 0xffffffffn) code.low(def, this.#use(left));
      // The high half of the result is 0 either way, so the number may use its sign bit.
      else code.aluImmediate(32, abi.BPF_AND, def, this.#use(left), Number(BigInt.asIntN(32, number)));
      return true;
    }
    if (!fits(number)) return false;
    if (operator === 'sdiv' || operator === 'smod') {
      if (this.#cpu === 3) {
        if (number === IMMEDIATE_MIN) return false;
        const division = { remainder: operator === 'smod', bits, def: code.registerOf(value), left: this.#use(left) };
        divideSignedBy(code, division, Number(number));
        return true;
      }
      const which = operator === 'sdiv' ? abi.BPF_DIV : abi.BPF_MOD;
      code.aluImmediate(bits, which, code.registerOf(value), this.#use(left), Number(number), 1);
      return true;
    }
    code.aluImmediate(bits, codes[operator], code.registerOf(value), this.#use(left), Number(number));
    return true;
  }

  /**
   * Adds to an address to which another number was added: one addition of both, and the one between is perhaps not needed. Numbers
   * are left alone: the verifier may have learned about the one between.
   */
  #addBoth(value: Binary, left: Value, number: bigint): boolean {
    const step = value.space === 'scalar' ? null : constantStep(left);
    if (step === null) return false;
    const sum = BigInt(step.bytes) + (value.operator === 'add' ? number : -number);
    if (sum === 0n || !fits(sum)) return false;
    this.#code.aluImmediate(64, abi.BPF_ADD, this.#code.registerOf(value), this.#use(step.from), Number(sum));
    return true;
  }

  #unary(value: Unary): void {
    const { operator, width, operand } = value;
    const code = this.#code;
    const def = code.registerOf(value);
    const from = this.#use(operand);
    if (operator === 'neg') {
      code.aluImmediate(width === 8 ? 64 : 32, abi.BPF_NEG, def, from, 0);
    } else if (operator === 'sext') {
      this.#memory.extendSign(def, from, width);
    } else if (operator === 'zext') {
      if (width === 4) code.low(def, from);
      else code.aluImmediate(32, abi.BPF_AND, def, from, width === 1 ? 0xff : 0xffff);
    } else if (width === 1) {
      code.aluImmediate(32, abi.BPF_AND, def, from, 0xff);
    } else {
      // Programs run on little-endian machines, where “to big endian” swaps; every kernel has it.
      const opcode = abi.BPF_ALU | abi.BPF_END | abi.BPF_TO_BE;
      code.push(machine(KIND.alu, opcode, code.location, { def, tied: from, immediate: width * 8 }));
    }
  }

  /** A comparison as a value: 1, and 0 instead where it does not hold. */
  #compare(value: Compare): void {
    const code = this.#code;
    const def = code.registerOf(value);
    const otherwise = code.newBlock();
    const next = code.newBlock();
    const { block } = code;
    this.#branch(value.condition, value.bits, value.left, value.right, [next, otherwise]);
    // Written before the comparison, which reads other registers.
    code.number(def, 1n);
    if (code.block !== block) throw new Error('a comparison broke its block');
    code.enter(otherwise);
    code.number(def, 0n);
    code.jump(next);
    code.enter(next);
  }

  /** Ends the block; numbers go to the right, and into the instruction where they fit. */
  #branch(
    condition: Condition,
    bits: 32 | 64,
    left: Value,
    right: Value,
    targets: readonly [MachineBlock, MachineBlock],
  ): void {
    let [first, second] = [this.#source(left), this.#source(right)];
    if (isNumber(first) && !isNumber(second)) {
      [first, second] = [second, first];
      condition = swapped[condition];
    }
    if (second.kind === 'constant') {
      const narrow = bits === 32 || (!fits(second.value) && this.#isNarrow(condition, first, second.value));
      const number = narrow ? BigInt.asIntN(32, second.value) : second.value;
      if (fits(number)) {
        this.#code.branchImmediate(condition, narrow ? 32 : 64, this.#use(first), Number(number), targets);
        return;
      }
    }
    this.#code.branch(condition, bits, [this.#use(first), this.#use(second)], targets);
  }

  /** Whether comparing the low halves gives the same. */
  #isNarrow(condition: Condition, first: Value, number: bigint): boolean {
    return !condition.startsWith('s') && number >> 32n === 0n && this.#facts.bits(first) <= 32;
  }

  #call(value: Call): void {
    const code = this.#code;
    // Numbers and addresses last: they need no register to come from.
    for (const isLast of [false, true]) {
      for (const [index, argument] of value.arguments.entries()) {
        if (isRepeatable(this.#source(argument)) === isLast) this.#put(index + 1, argument);
      }
    }
    const { target } = value;
    const pseudo =
      target.kind === 'helper' ? 0 : target.kind === 'function' ? abi.BPF_PSEUDO_CALL : abi.BPF_PSEUDO_KFUNC_CALL;
    const kind = target.kind === 'function' ? 'call' : 'kernelFunction';
    const relocation = target.kind === 'helper' ? null : ({ kind, symbol: target.name, addend: 0 } as const);
    const immediate = target.kind === 'helper' ? target.id : -1;
    const reads = ((1 << value.arguments.length) - 1) << 1;
    const fields = { immediate, pseudo, relocation, reads, writes: CALL_WRITES, removable: false };
    code.push(machine(KIND.call, abi.BPF_JMP | abi.BPF_CALL, code.location, fields));
    if (this.#facts.isUsed(value)) code.move(code.registerOf(value), 0);
  }

  #end(end: Terminator | null): void {
    const code = this.#code;
    if (end === null) throw new Error(`${this.#target.name}: a block has no end`);
    code.location = end.location ?? code.location;
    if (end.kind === 'jump') {
      code.jump(this.#entryOf(end.target));
    } else if (end.kind === 'branch') {
      let targets = [this.#entryOf(end.whenTrue), this.#entryOf(end.whenFalse)] as const;
      const repeated = comparedBy(end);
      if (repeated === null) {
        this.#branch(end.condition, end.bits, end.left, end.right, targets);
      } else {
        const { condition, bits, left, right } = repeated.compare;
        if (repeated.negated) targets = [targets[1], targets[0]];
        this.#branch(condition, bits, left, right, targets);
      }
    } else {
      if (end.value !== null) this.#put(0, end.value);
      // A function that is verified by itself must give a number, even where nobody wants one.
      else if (this.#target.linkage === 'global') code.number(0, 0n);
      code.block.end = { kind: 'exit', location: code.location };
    }
  }
}

/** What can stand on the right only. */
function isNumber(value: Value): boolean {
  return value.kind === 'constant' || value.kind === 'relocated';
}
