/**
 * Room `bpf`: chooses instructions for arithmetic.
 *
 * A newcomer would get wrong: some of it is for the verifier's sake. It follows shifts and masks but no divisions, takes no shift by
 * the width or more and no division by the number 0, and may know more of a number than of the sum it would be replaced by.
 */
import * as abi from '../../../kernel/bpf-abi.ts';
import type { Binary, Unary, Value } from '../ir.ts';
import { type Code, extendSign, fits } from './code.ts';
import { divideSigned, divideSignedBy } from './division.ts';
import { KIND, machine } from './machine.ts';
import { constantStep } from './memory.ts';

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

/** How selection finds operands. */
export interface Operands {
  /** The value that really computes what this one is. */
  readonly source: (value: Value) => Value;
  /** A register that holds the value. */
  readonly use: (value: Value) => number;
}

/** Writes arithmetic. */
export class Arithmetic {
  readonly #code: Code;
  readonly #operands: Operands;
  readonly #cpu: 3 | 4;

  constructor(code: Code, operands: Operands, cpu: 3 | 4) {
    this.#code = code;
    this.#operands = operands;
    this.#cpu = cpu;
  }

  binary(value: Binary): void {
    const { operator, bits } = value;
    let { left, right } = value;
    if (commutative.has(operator) && isNumber(this.#operands.source(left)) && !isNumber(this.#operands.source(right))) {
      [left, right] = [right, left];
    }
    const number = this.#operands.source(right);
    if (number.kind === 'constant' && this.#binaryConstant(value, left, number.value)) return;
    const def = this.#code.registerOf(value);
    if (number.kind === 'relocated' && bits === 64 && operator === 'add') {
      const core = number.relocation;
      const fields = { def, tied: this.#operands.use(left), immediate: Number(number.value), core };
      this.#code.push(machine(KIND.alu, abi.BPF_ALU64 | abi.BPF_ADD | abi.BPF_K, this.#code.location, fields));
    } else if (operator === 'sdiv' || operator === 'smod') {
      const registers = { def, left: this.#operands.use(left), right: this.#operands.use(right) };
      divideSigned(this.#code, this.#cpu, { remainder: operator === 'smod', bits, ...registers });
    } else {
      this.#code.alu(bits, codes[operator], def, this.#operands.use(left), this.#operands.use(right));
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
      code.aluImmediate(bits, codes[operator as 'shl'], code.registerOf(value), this.#operands.use(left), count);
      return true;
    }
    if (divisions.has(operator) && number === 0n) {
      // The verifier refuses a division by the number 0, whose result RFC 9669 defines all the same.
      const def = code.registerOf(value);
      if (operator.endsWith('div')) code.number(def, 0n);
      else if (bits === 32) code.low(def, this.#operands.use(left));
      else code.move(def, this.#operands.use(left));
      return true;
    }
    if (operator === 'and' && bits === 64 && number >> 32n === 0n) {
      const def = code.registerOf(value);
      if (number === 0xffffffffn) code.low(def, this.#operands.use(left));
      // The high half of the result is 0 either way, so the number may use its sign bit.
      else code.aluImmediate(32, abi.BPF_AND, def, this.#operands.use(left), Number(BigInt.asIntN(32, number)));
      return true;
    }
    if (operator === 'udiv' || operator === 'umod') {
      const power = powerOf(bits === 32 ? BigInt.asUintN(32, number) : number);
      if (power !== -1 && (operator === 'udiv' || power < 32)) {
        // The verifier follows shifts and masks, but no divisions.
        const def = code.registerOf(value);
        if (operator === 'udiv') code.aluImmediate(bits, abi.BPF_RSH, def, this.#operands.use(left), power);
        else code.aluImmediate(32, abi.BPF_AND, def, this.#operands.use(left), 2 ** power - 1);
        return true;
      }
    }
    if (!fits(number)) return false;
    if (operator === 'sdiv' || operator === 'smod') {
      if (this.#cpu === 3) {
        if (number === IMMEDIATE_MIN) return false;
        const division = {
          remainder: operator === 'smod',
          bits,
          def: code.registerOf(value),
          left: this.#operands.use(left),
        };
        divideSignedBy(code, division, Number(number));
        return true;
      }
      const which = operator === 'sdiv' ? abi.BPF_DIV : abi.BPF_MOD;
      code.aluImmediate(bits, which, code.registerOf(value), this.#operands.use(left), Number(number), 1);
      return true;
    }
    code.aluImmediate(bits, codes[operator], code.registerOf(value), this.#operands.use(left), Number(number));
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
    this.#code.aluImmediate(64, abi.BPF_ADD, this.#code.registerOf(value), this.#operands.use(step.from), Number(sum));
    return true;
  }

  unary(value: Unary): void {
    const { operator, width, operand } = value;
    const code = this.#code;
    const def = code.registerOf(value);
    const from = this.#operands.use(operand);
    if (operator === 'neg') {
      code.aluImmediate(width === 8 ? 64 : 32, abi.BPF_NEG, def, from, 0);
    } else if (operator === 'sext') {
      extendSign(code, this.#cpu, { def, from, width });
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
}

/** The exponent of a power of 2; -1 for other numbers. */
function powerOf(number: bigint): number {
  return number > 0n && (number & (number - 1n)) === 0n ? number.toString(2).length - 1 : -1;
}

/** What can stand on the right only. */
export function isNumber(value: Value): boolean {
  return value.kind === 'constant' || value.kind === 'relocated';
}
