/**
 * Room `bpf`: what operations give for known numbers (RFC 9669 section 4.1), for folding constants.
 *
 * A newcomer would get wrong: the result of a 32-bit operation has a cleared upper half, so -1 as a 32-bit result is the constant
 * 4294967295. Constants of the IR are signed 64-bit numbers.
 */
import type { BinaryOperator, Bits, Condition, UnaryOperator, Width } from '../ir.ts';

/** A 64-bit pattern as the IR writes it. */
export const signed64 = (value: bigint): bigint => BigInt.asIntN(64, value);

function quotient(a: bigint, b: bigint): bigint {
  return b === 0n ? 0n : a / b;
}

function remainder(a: bigint, b: bigint): bigint {
  return b === 0n ? a : a % b;
}

function compute(operator: BinaryOperator, bits: Bits, a: bigint, b: bigint): bigint {
  const count = b & BigInt(bits - 1);
  switch (operator) {
    case 'add':
      return a + b;
    case 'sub':
      return a - b;
    case 'mul':
      return a * b;
    case 'udiv':
      return quotient(a, b);
    case 'umod':
      return remainder(a, b);
    case 'sdiv':
      return quotient(BigInt.asIntN(bits, a), BigInt.asIntN(bits, b));
    case 'smod':
      return remainder(BigInt.asIntN(bits, a), BigInt.asIntN(bits, b));
    case 'and':
      return a & b;
    case 'or':
      return a | b;
    case 'xor':
      return a ^ b;
    case 'shl':
      return a << count;
    case 'lshr':
      return a >> count;
    case 'ashr':
      return BigInt.asIntN(bits, a) >> count;
  }
}

/** `left operator right`. */
export function evaluateBinary(operator: BinaryOperator, bits: Bits, left: bigint, right: bigint): bigint {
  const result = compute(operator, bits, BigInt.asUintN(bits, left), BigInt.asUintN(bits, right));
  return signed64(BigInt.asUintN(bits, result));
}

/** The low `width` bytes, reversed. */
export function swapBytes(width: Width, value: bigint): bigint {
  let left = BigInt.asUintN(width * 8, value);
  let result = 0n;
  for (let byte = 0; byte < width; byte++) {
    result = (result << 8n) | (left & 0xffn);
    left >>= 8n;
  }
  return signed64(result);
}

/** `operator operand`. */
export function evaluateUnary(operator: UnaryOperator, width: Width, operand: bigint): bigint {
  const bits = width * 8;
  switch (operator) {
    case 'neg':
      return signed64(BigInt.asUintN(bits, -operand));
    case 'sext':
      return BigInt.asIntN(bits, operand);
    case 'zext':
      return signed64(BigInt.asUintN(bits, operand));
    case 'swap':
      return swapBytes(width, operand);
  }
}

/** Whether the condition holds. */
export function evaluateCondition(condition: Condition, bits: Bits, left: bigint, right: bigint): boolean {
  const isSigned = condition.startsWith('s');
  const a = isSigned ? BigInt.asIntN(bits, left) : BigInt.asUintN(bits, left);
  const b = isSigned ? BigInt.asIntN(bits, right) : BigInt.asUintN(bits, right);
  switch (condition) {
    case 'eq':
      return a === b;
    case 'ne':
      return a !== b;
    case 'ult':
    case 'slt':
      return a < b;
    case 'ule':
    case 'sle':
      return a <= b;
    case 'ugt':
    case 'sgt':
      return a > b;
    case 'uge':
    case 'sge':
      return a >= b;
    case 'test':
      return (a & b) !== 0n;
  }
}

/** The condition that holds where `condition` does not; null for `test`, which has none. */
export const opposite: Readonly<Record<Condition, Condition | null>> = {
  eq: 'ne',
  ne: 'eq',
  ult: 'uge',
  uge: 'ult',
  ule: 'ugt',
  ugt: 'ule',
  slt: 'sge',
  sge: 'slt',
  sle: 'sgt',
  sgt: 'sle',
  test: null,
};

/** The condition that says the same with left and right exchanged. */
export const mirrored: Readonly<Record<Condition, Condition>> = {
  eq: 'eq',
  ne: 'ne',
  ult: 'ugt',
  ugt: 'ult',
  ule: 'uge',
  uge: 'ule',
  slt: 'sgt',
  sgt: 'slt',
  sle: 'sge',
  sge: 'sle',
  test: 'test',
};
