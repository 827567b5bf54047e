/**
 * Room `bpf`: rules that make a binary operation cheaper or let it vanish. Each looks at the operation and at what its operands are.
 *
 * A newcomer would get wrong: the value of a 32-bit operation has a cleared upper half. `x + 0` of 32 bits is therefore not x but
 * its low half. And a pointer's arithmetic keeps its shape: constants are added up, nothing else is moved.
 */
import type { Binary, BinaryOperator, Constant, Operation, Value } from '../ir.ts';
import type { Editor } from './editor.ts';
import { evaluateBinary } from './evaluate.ts';
import type { Knowledge } from './knowledge.ts';

/** What rules work with. */
export interface Workshop {
  readonly editor: Editor;
  readonly knowledge: Knowledge;
  /** Whether a condition may be put on the values that its own are computed from. */
  readonly mayMoveConditions: boolean;
  /** Places a new operation before the one that is simplified, itself simplified first. */
  emit(operation: Operation): Value;
}

const commutative: ReadonlySet<BinaryOperator> = new Set(['add', 'mul', 'and', 'or', 'xor']);
const IMMEDIATE_LEAST = -(2n ** 31n);

/** Whether left and right may be exchanged. */
export const isCommutative = (operator: BinaryOperator): boolean => commutative.has(operator);

/** What has the same low `bytes` bytes and is found earlier: extensions and masks that do not touch them fall away. */
export function lowPart(value: Value, bytes: number): Value {
  let found = value;
  for (;;) {
    if (found.kind === 'unary' && found.operator !== 'neg' && found.operator !== 'swap' && found.width >= bytes) {
      found = found.operand;
    } else if (
      found.kind === 'binary' &&
      found.operator === 'and' &&
      found.right.kind === 'constant' &&
      BigInt.asIntN(bytes * 8, found.right.value) === -1n &&
      found.bits >= bytes * 8
    ) {
      found = found.left;
    } else {
      return found;
    }
    // A pointer's bytes are no number to be used in a scalar's place.
    if (found.space !== 'scalar') return value;
  }
}

/** The power of two that a positive number is, or -1. */
function exponentOf(value: bigint, bits: number): number {
  const number = BigInt.asUintN(bits, value);
  return number > 0n && (number & (number - 1n)) === 0n ? number.toString(2).length - 1 : -1;
}

/** The low half of a value (32 bits) or all of it, as the value of an operation of that width. */
function asResult(workshop: Workshop, value: Binary, operand: Value): Value {
  if (value.bits === 64) return operand;
  return workshop.emit(workshop.editor.unary('zext', 4, operand, value));
}

function foldShiftPair(workshop: Workshop, value: Binary, inner: Binary, count: number): Value | null {
  const { editor } = workshop;
  const { operator, bits } = value;
  if (inner.right.kind !== 'constant' || inner.bits !== bits) return null;
  const first = Number(inner.right.value & BigInt(bits - 1));
  if (inner.operator === operator) {
    if (first + count < bits) {
      return workshop.emit(editor.binary(operator, bits, inner.left, editor.constant(first + count), value));
    }
    return operator === 'ashr' ? null : editor.constant(0);
  }
  if (first !== count) return null;
  const width = (bits - count) / 8;
  if (inner.operator === 'shl' && (width === 1 || width === 2 || width === 4)) {
    if (operator === 'lshr') return workshop.emit(editor.unary('zext', width, inner.left, value));
    if (operator === 'ashr' && bits === 64) return workshop.emit(editor.unary('sext', width, inner.left, value));
  }
  // Masks that fit into an instruction: the low `count` bits cleared, with a sign that reaches to the top.
  if (operator === 'shl' && inner.operator === 'lshr' && count < 32) {
    const mask = editor.constant(-(1n << BigInt(count)));
    return workshop.emit(editor.binary('and', bits, inner.left, mask, value));
  }
  return null;
}

function simplifyShift(workshop: Workshop, value: Binary, right: Constant): Value | null {
  const { editor } = workshop;
  const { operator, bits, left } = value;
  const count = Number(right.value & BigInt(bits - 1));
  if (count === 0) return asResult(workshop, value, left);
  if (BigInt(count) !== right.value) {
    return workshop.emit(editor.binary(operator, bits, left, editor.constant(count), value));
  }
  if (left.kind !== 'binary' || workshop.knowledge.isWatched(value)) return null;
  return foldShiftPair(workshop, value, left, count);
}

function simplifyMask(workshop: Workshop, value: Binary, right: Constant): Value | null {
  const { editor, knowledge } = workshop;
  const { bits, left } = value;
  const mask = BigInt.asUintN(bits, right.value);
  if (mask === 0n) return editor.constant(0);
  if (bits === 64 && right.value === -1n) return left;
  // zext is the one form of these masks: what is written in two ways would be computed twice.
  for (const width of [1, 2, 4] as const) {
    if (mask === (1n << BigInt(width * 8)) - 1n) return workshop.emit(editor.unary('zext', width, left, value));
  }
  const open = BigInt.asUintN(64, ~mask);
  if (left.space === 'scalar' && knowledge.bits(value).areZero(left, open)) return left;
  return null;
}

function simplifyMultiplication(workshop: Workshop, value: Binary, right: Constant): Value | null {
  const { editor } = workshop;
  const { bits, left } = value;
  const factor = BigInt.asIntN(bits, right.value);
  if (factor === 0n) return editor.constant(0);
  if (factor === 1n) return asResult(workshop, value, left);
  if (factor === -1n) return workshop.emit(editor.unary('neg', bits === 64 ? 8 : 4, left, value));
  const exponent = exponentOf(factor, bits);
  if (exponent === -1) return null;
  return workshop.emit(editor.binary('shl', bits, left, editor.constant(exponent), value));
}

/**
 * Division by a power of two becomes a shift, its remainder a mask, which the verifier can bound besides. By other constants it
 * stays: multiplication by the inverse takes three instructions or more for one.
 */
function simplifyDivision(workshop: Workshop, value: Binary, right: Constant): Value | null {
  const { editor, knowledge } = workshop;
  const { operator, bits, left } = value;
  const divisor = BigInt.asUintN(bits, right.value);
  const isRemainder = operator === 'umod' || operator === 'smod';
  if (divisor === 0n) return isRemainder ? asResult(workshop, value, left) : editor.constant(0);
  if (divisor === 1n) return isRemainder ? editor.constant(0) : asResult(workshop, value, left);
  if (operator === 'sdiv' || operator === 'smod') {
    const sign = 1n << BigInt(bits - 1);
    if ((divisor & sign) !== 0n || !knowledge.bits(value).areZero(left, sign)) return null;
    return workshop.emit(editor.binary(operator === 'sdiv' ? 'udiv' : 'umod', bits, left, right, value));
  }
  const exponent = exponentOf(divisor, bits);
  if (exponent === -1) return null;
  if (isRemainder) return workshop.emit(editor.binary('and', bits, left, editor.constant(divisor - 1n), value));
  return workshop.emit(editor.binary('lshr', bits, left, editor.constant(exponent), value));
}

/** (x op c) op d becomes x op (c op d). */
function reassociate(workshop: Workshop, value: Binary, right: Constant): Value | null {
  const { editor } = workshop;
  const { operator, bits, left } = value;
  if (left.kind !== 'binary' || left.operator !== operator || left.bits !== bits) return null;
  if (operator !== 'and' && workshop.knowledge.isWatched(value)) return null;
  if (left.right.kind !== 'constant' || (left.space === 'scalar') !== (value.space === 'scalar')) return null;
  const sum = BigInt.asIntN(bits, evaluateBinary(operator, bits, left.right.value, right.value));
  return workshop.emit(editor.binary(operator, bits, left.left, editor.constant(sum), value, value.space));
}

function withConstant(workshop: Workshop, value: Binary, right: Constant): Value | null {
  const { editor } = workshop;
  const { operator, bits, left } = value;
  const number = BigInt.asIntN(bits, right.value);
  // One form of each number: 32-bit operands as signed numbers, which is how instructions hold them.
  if (number !== right.value && operator !== 'shl' && operator !== 'lshr' && operator !== 'ashr') {
    return workshop.emit(editor.binary(operator, bits, left, editor.constant(number), value, value.space));
  }
  switch (operator) {
    case 'sub':
      if (number === IMMEDIATE_LEAST) return null;
      return workshop.emit(editor.binary('add', bits, left, editor.constant(-number), value, value.space));
    case 'add':
    case 'xor':
    case 'or':
      if (number === 0n) return asResult(workshop, value, left);
      if (operator === 'or' && number === -1n) return editor.constant(bits === 64 ? -1n : 0xffff_ffffn);
      return reassociate(workshop, value, right);
    case 'and':
      return simplifyMask(workshop, value, right) ?? reassociate(workshop, value, right);
    case 'mul':
      return simplifyMultiplication(workshop, value, right) ?? reassociate(workshop, value, right);
    case 'udiv':
    case 'sdiv':
    case 'umod':
    case 'smod':
      return simplifyDivision(workshop, value, right);
    default:
      return simplifyShift(workshop, value, right);
  }
}

function withItself(workshop: Workshop, value: Binary): Value | null {
  switch (value.operator) {
    case 'and':
    case 'or':
      return asResult(workshop, value, value.left);
    case 'xor':
    case 'sub':
      return workshop.editor.constant(0);
    default:
      return null;
  }
}

/** x + (-y) is x - y. */
function withNegation(workshop: Workshop, value: Binary): Value | null {
  const { left, right, bits, operator } = value;
  if (workshop.knowledge.isWatched(value)) return null;
  if (right.kind !== 'unary' || right.operator !== 'neg' || right.width * 8 !== bits) return null;
  if (operator !== 'add' && operator !== 'sub') return null;
  const other = operator === 'add' ? 'sub' : 'add';
  return workshop.emit(workshop.editor.binary(other, bits, left, right.operand, value, value.space));
}

/** What a binary operation is in a cheaper form; null where it is fine as it is. */
export function simplifyBinary(workshop: Workshop, value: Binary): Value | null {
  const { editor, knowledge } = workshop;
  const { operator, bits, left, right, space } = value;
  if (left.kind === 'constant' && right.kind === 'constant') {
    return editor.constant(evaluateBinary(operator, bits, left.value, right.value));
  }
  if (left.kind === 'constant' && isCommutative(operator)) {
    return workshop.emit(editor.binary(operator, bits, right, left, value, space));
  }
  if (bits === 32) {
    const [a, b] = [lowPart(left, 4), lowPart(right, 4)];
    // A watched value may be bounded through a check of its very operands, so it keeps them.
    if ((a !== left || b !== right) && !knowledge.isWatched(value)) {
      return workshop.emit(editor.binary(operator, bits, a, b, value));
    }
  }
  if (right.kind === 'constant') return withConstant(workshop, value, right);
  if (left === right && left.space === 'scalar') return withItself(workshop, value);
  return withNegation(workshop, value);
}
