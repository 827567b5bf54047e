/**
 * Test support for the eBPF compiler: says what a function in IR means, by running it on numbers, and joins compiled functions to one
 * program. The IR's only second implementation, so it takes the plainest way.
 *
 * A newcomer would get wrong: addresses are numbers in one small memory here: the argument's bytes first, then each frame's slots.
 */

import { type Instruction, slotsOf } from '../../src/bpf/assembly.ts';
import type { CompiledFunction } from '../../src/bpf/compiler/back/index.ts';
import type {
  Atomic,
  Binary,
  Bits,
  Block,
  Condition,
  IrFunction,
  IrModule,
  Operation,
  StackSlot,
  Terminator,
  Value,
} from '../../src/bpf/compiler/ir.ts';

const STEPS_MAX = 1_000_000;
/** Where the argument's memory begins: not at 0, which is null. */
const MEMORY_AT = 4096;
const STACK_BYTES = 4096;

const unsigned = (bits: number, value: bigint): bigint => BigInt.asUintN(bits, value);
const signed = (bits: number, value: bigint): bigint => BigInt.asIntN(bits, value);

/** What an operator gives, as an unsigned number of 64 bits. */
export function evaluateBinary(operator: Binary['operator'], bits: Bits, left: bigint, right: bigint): bigint {
  const a = unsigned(bits, left);
  const b = unsigned(bits, right);
  const count = b & BigInt(bits - 1);
  const results: Record<Binary['operator'], () => bigint> = {
    add: () => a + b,
    sub: () => a - b,
    mul: () => a * b,
    udiv: () => (b === 0n ? 0n : a / b),
    sdiv: () => (b === 0n ? 0n : signed(bits, a) / signed(bits, b)),
    umod: () => (b === 0n ? a : a % b),
    smod: () => (b === 0n ? a : signed(bits, a) % signed(bits, b)),
    and: () => a & b,
    or: () => a | b,
    xor: () => a ^ b,
    shl: () => a << count,
    lshr: () => a >> count,
    ashr: () => signed(bits, a) >> count,
  };
  return unsigned(bits, results[operator]());
}

/** Whether a condition holds. */
export function evaluateCondition(condition: Condition, bits: Bits, left: bigint, right: bigint): boolean {
  const [a, b] = condition.startsWith('s')
    ? [signed(bits, left), signed(bits, right)]
    : [unsigned(bits, left), unsigned(bits, right)];
  switch (condition) {
    case 'eq':
      return a === b;
    case 'ne':
      return a !== b;
    case 'test':
      return (a & b) !== 0n;
    case 'ult':
    case 'slt':
      return a < b;
    case 'ule':
    case 'sle':
      return a <= b;
    case 'ugt':
    case 'sgt':
      return a > b;
    default:
      return a >= b;
  }
}

/** What a run gave. */
export interface Evaluation {
  /** Unsigned, 64 bits. */
  readonly result: bigint;
  readonly memory: Uint8Array;
  /** Operations and ends that ran. */
  readonly steps: number;
}

/** Runs the module's first function with the address of `memory` and its length. Helpers give 0. */
export function evaluate(module: IrModule, memory: Uint8Array): Evaluation {
  const evaluator = new Evaluator(module, memory);
  const result = evaluator.call(module.functions[0], [BigInt(MEMORY_AT), BigInt(memory.length)]);
  return { result: unsigned(64, result), memory: evaluator.memory(), steps: evaluator.steps };
}

interface Frame {
  readonly values: Map<Value, bigint>;
  readonly slots: Map<StackSlot, number>;
}

class Evaluator {
  steps = 0;
  readonly #module: IrModule;
  readonly #length: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #stack: number;

  constructor(module: IrModule, memory: Uint8Array) {
    this.#module = module;
    this.#length = memory.length;
    this.#bytes = new Uint8Array(MEMORY_AT + memory.length + STACK_BYTES);
    this.#bytes.set(memory, MEMORY_AT);
    this.#view = new DataView(this.#bytes.buffer);
    this.#stack = this.#bytes.length;
  }

  memory(): Uint8Array {
    return this.#bytes.slice(MEMORY_AT, MEMORY_AT + this.#length);
  }

  call(target: IrFunction, values: readonly bigint[]): bigint {
    const before = this.#stack;
    const frame: Frame = { values: new Map(), slots: new Map() };
    for (const slot of target.slots) {
      this.#stack = Math.floor((this.#stack - slot.bytes) / slot.alignment) * slot.alignment;
      frame.slots.set(slot, this.#stack);
    }
    for (const parameter of target.parameters) frame.values.set(parameter, values[parameter.index]);
    const result = this.#run(target.blocks[0], frame);
    this.#stack = before;
    return result;
  }

  #run(entry: Block, frame: Frame): bigint {
    for (let block = entry, from: Block | null = null; ; ) {
      if (from !== null) this.#phis(block, from, frame);
      for (const operation of block.operations) frame.values.set(operation, this.#operation(operation, frame));
      if (++this.steps > STEPS_MAX) throw new Error('the function does not end');
      const end: Terminator | null = block.terminator;
      if (end === null) throw new Error('a block has no end');
      if (end.kind === 'return') return end.value === null ? 0n : this.#value(end.value, frame);
      from = block;
      if (end.kind === 'jump') {
        block = end.target;
        continue;
      }
      if (end.whenTrue === end.whenFalse) throw new Error('both ways lead to one block');
      const { condition, bits } = end;
      const holds = evaluateCondition(condition, bits, this.#value(end.left, frame), this.#value(end.right, frame));
      block = holds ? end.whenTrue : end.whenFalse;
    }
  }

  #phis(block: Block, from: Block, frame: Frame): void {
    const index = block.predecessors.indexOf(from);
    const inputs = block.phis.map((phi) => this.#value(phi.inputs[index], frame));
    for (const [position, phi] of block.phis.entries()) frame.values.set(phi, inputs[position]);
  }

  #value(value: Value, frame: Frame): bigint {
    const found = frame.values.get(value);
    if (found === undefined) throw new Error(`value ${value.id} (${value.kind}) is read before it is there`);
    return found;
  }

  #operation(value: Operation, frame: Frame): bigint {
    this.steps++;
    const get = (operand: Value): bigint => this.#value(operand, frame);
    switch (value.kind) {
      case 'constant':
        return unsigned(64, value.value);
      case 'binary':
        return evaluateBinary(value.operator, value.bits, get(value.left), get(value.right));
      case 'unary':
        return unary(value.operator, value.width, get(value.operand));
      case 'compare':
        return evaluateCondition(value.condition, value.bits, get(value.left), get(value.right)) ? 1n : 0n;
      case 'load': {
        const loaded = this.#load(Number(get(value.address)) + value.offset, value.width);
        return value.signed ? unsigned(64, signed(value.width * 8, loaded)) : loaded;
      }
      case 'store':
        this.#store(Number(get(value.address)) + value.offset, value.width, get(value.value));
        return 0n;
      case 'atomic':
        return this.#atomic(value, get);
      case 'stackAddress':
        return BigInt(frame.slots.get(value.slot) ?? 0);
      case 'call': {
        const { target } = value;
        if (target.kind === 'helper') return 0n;
        const callee = this.#module.functions.find(({ name }) => name === target.name);
        if (callee === undefined) throw new Error(`no function ${target.name}`);
        return this.call(callee, value.arguments.map(get));
      }
      default:
        throw new Error(`a ${value.kind} has no meaning without a kernel`);
    }
  }

  #load(at: number, width: number): bigint {
    let result = 0n;
    for (let index = width - 1; index >= 0; index--) result = (result << 8n) | BigInt(this.#view.getUint8(at + index));
    return result;
  }

  #store(at: number, width: number, value: bigint): void {
    for (let index = 0; index < width; index++) {
      this.#view.setUint8(at + index, Number((value >> BigInt(index * 8)) & 255n));
    }
  }

  #atomic({ operator, width, address, offset, value, expected }: Atomic, get: (operand: Value) => bigint): bigint {
    const at = Number(get(address)) + offset;
    const bits = (width * 8) as Bits;
    const before = this.#load(at, width);
    const operand = unsigned(bits, get(value));
    if (operator === 'compareExchange') {
      if (expected !== null && before === unsigned(bits, get(expected))) this.#store(at, width, operand);
    } else {
      this.#store(at, width, operator === 'exchange' ? operand : evaluateBinary(operator, bits, before, operand));
    }
    return before;
  }
}

function unary(operator: 'neg' | 'sext' | 'zext' | 'swap', width: number, operand: bigint): bigint {
  const bits = width * 8;
  const low = unsigned(bits, operand);
  switch (operator) {
    case 'neg':
      return unsigned(bits, -low);
    case 'sext':
      return unsigned(64, signed(bits, low));
    case 'zext':
      return low;
    case 'swap': {
      let result = 0n;
      for (let index = 0; index < width; index++) result = (result << 8n) | ((low >> BigInt(index * 8)) & 255n);
      return result;
    }
  }
}

/**
 * Puts functions one behind the other, the first in front, and resolves the calls between them. What nobody calls is left out.
 * `numberOf`: what stands for a map in the program, its descriptor in the kernel or its number in the VM.
 */
export function joinFunctions(
  functions: readonly CompiledFunction[],
  numberOf: (map: string) => number = () => 0,
): Instruction[] {
  const byName = new Map(functions.map((compiled) => [compiled.name, compiled]));
  const starts = new Map<CompiledFunction, number>();
  const open = [functions[0]];
  let slots = 0;
  for (let next = open.shift(); next !== undefined; next = open.shift()) {
    if (starts.has(next)) continue;
    starts.set(next, slots);
    slots += next.instructions.reduce((sum, one) => sum + slotsOf(one), 0);
    for (const { kind, symbol } of next.relocations) {
      if (kind === 'map') continue;
      const callee = byName.get(symbol);
      if (kind !== 'call' || callee === undefined) throw new Error(`${kind} of ${symbol} is unknown here`);
      open.push(callee);
    }
  }
  let slot = 0;
  return [...starts.keys()].flatMap(({ instructions, relocations }) => {
    const symbols = new Map(relocations.map(({ index, symbol }) => [index, symbol]));
    return instructions.map((one, index) => {
      slot += slotsOf(one);
      const symbol = symbols.get(index);
      if (symbol === undefined) return one;
      const callee = byName.get(symbol);
      return { ...one, immediate: callee === undefined ? numberOf(symbol) : (starts.get(callee) ?? 0) - slot };
    });
  });
}
