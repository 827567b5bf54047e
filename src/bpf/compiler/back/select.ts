/**
 * Room `bpf`: chooses instructions for one function: IR in, machine instructions on virtual registers out.
 *
 * A newcomer would get wrong: the verifier watches the result. Bounds and null checks must compare the very register that is used
 * afterwards (or a copy), contexts are accessed at constant offsets only, and pointers know 64-bit addition and subtraction alone.
 */
import * as abi from '../../../kernel/bpf-abi.ts';
import { ADDRESS_CAST, CAST_TO_KERNEL, CAST_TO_USER, WIDE_LOAD } from '../../instructions.ts';
import type {
  AddressCast,
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
import { Arithmetic, isNumber } from './arithmetic.ts';
import { Code, fits, isRepeatable } from './code.ts';
import { comparedBy, Facts } from './facts.ts';
import { CALL_WRITES, KIND, type MachineBlock, type MachineFunction, machine, swapped } from './machine.ts';
import { Memory } from './memory.ts';
import { lowerPhis } from './phis.ts';
import { layOutStack } from './stack.ts';

/** What the machine can do: 4 has signed division, sign extension and far jumps (kernel 6.6). */
export type Cpu = 3 | 4;

/** Options of {@link select}. */
export interface SelectOptions {
  readonly cpu: Cpu;
  /** Whether callers read the high half of the result. */
  readonly returnsHigh: boolean;
  /** The arena that addresses are cast for. */
  readonly arena?: string | undefined;
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
  readonly #arena: string | undefined;
  readonly #facts: Facts;
  readonly #code: Code;
  readonly #memory: Memory;
  readonly #arithmetic: Arithmetic;
  readonly #entries = new Map<Block, MachineBlock>();
  /** Where a block's code ends: comparisons and divisions break blocks. */
  readonly #exits = new Map<Block, MachineBlock>();

  constructor(target: IrFunction, { cpu, returnsHigh, arena }: SelectOptions) {
    this.#target = target;
    this.#arena = arena;
    this.#facts = new Facts(target, returnsHigh);
    const { offsets, bytes } = layOutStack(target.slots, usedSlots(target));
    this.#code = new Code(target.name, target.nextId, offsets, bytes);
    const operands = { source: (value: Value) => this.#source(value), use: (value: Value) => this.#use(value) };
    this.#arithmetic = new Arithmetic(this.#code, operands, cpu);
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
      if (index === 0) {
        this.#receive();
        this.#nameArena();
      }
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

  /** Loads the arena's map, for nothing but to be there: a program that casts addresses must name it (kernel/bpf/verifier.c). */
  #nameArena(): void {
    const operations = this.#target.blocks.flatMap((block) => block.operations);
    if (!operations.some((operation) => operation.kind === 'addressCast')) return;
    if (this.#arena === undefined) throw new Error(`${this.#target.name} casts addresses without an arena`);
    const isNamed = (value: Value): boolean => value.kind === 'mapAddress' && value.map === this.#arena;
    if (operations.some((operation) => operation.kind === 'call' && operation.arguments.some(isNamed))) return;
    const relocation = { kind: 'map', symbol: this.#arena, addend: 0 } as const;
    const fields = { def: 0, pseudo: abi.BPF_PSEUDO_MAP_FD, relocation, removable: false };
    this.#code.push(machine(KIND.constant, WIDE_LOAD, this.#code.location, fields));
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
    if (this.#facts.changesNothing(value)) return true;
    if (operator === 'zext') return false;
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
        this.#arithmetic.binary(value);
        break;
      case 'unary':
        if (this.#source(value) === value) this.#arithmetic.unary(value);
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
      case 'addressCast':
        this.#cast(value);
        break;
      default:
        // Numbers and addresses are made where they are used.
        break;
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
    if (this.#facts.comparesWhole({ condition, bits, left, right })) bits = 64;
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

  #cast(value: AddressCast): void {
    const code = this.#code;
    const immediate = value.to === 'kernel' ? CAST_TO_KERNEL : CAST_TO_USER;
    const fields = { def: code.registerOf(value), first: this.#use(value.operand), offset: ADDRESS_CAST, immediate };
    code.push(machine(KIND.extend, abi.BPF_ALU64 | abi.BPF_MOV | abi.BPF_X, code.location, fields));
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
