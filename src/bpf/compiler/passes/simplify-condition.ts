/**
 * Room `bpf`: rules for conditions, of comparisons and of branches alike: answered where the operands tell, moved to earlier values
 * (before an extension, a byte swap, an addition of a constant), comparisons of comparisons undone.
 *
 * A newcomer would get wrong: the verifier learns from a condition about the very registers that it compares. Where one of them is an
 * offset or a size that the verifier must bound, the condition stays on it.
 */
import type { Bits, Compare, Condition, Value } from '../ir.ts';
import { evaluateCondition, mirrored, opposite, swapBytes } from './evaluate.ts';
import type { Bits64 } from './known-bits.ts';
import { lowPart, type Workshop } from './simplify-binary.ts';

/** A condition with its operands. `isNegated`: it is asked whether it does not hold; only `test` has no opposite. */
export interface Test {
  readonly condition: Condition;
  readonly bits: Bits;
  readonly left: Value;
  readonly right: Value;
  readonly isNegated: boolean;
}

const STEPS_MAX = 16;
const IMMEDIATE_BITS = 32;

/** Whether a pointer surely is none: what has been computed from a pointer the verifier would not have let be null. */
export function isNeverNull(value: Value): boolean {
  switch (value.kind) {
    case 'stackAddress':
    case 'mapAddress':
    case 'functionAddress':
      return true;
    case 'dataAddress':
      // The address of a weak kernel symbol may be 0; sections of the object begin with a dot, as .data does.
      return value.section.startsWith('.') && value.section !== '.ksyms' && value.section !== '.kconfig';
    case 'binary':
      return (
        value.space === 'packet' || value.space === 'stack' || value.space === 'mapValue' || value.space === 'global'
      );
    case 'load':
      return value.address.space === 'context' && (value.space === 'packet' || value.space === 'packetEnd');
    default:
      return false;
  }
}

function withConstants(test: Test): boolean | null {
  const { condition, bits, left, right } = test;
  if (left.kind === 'constant' && right.kind === 'constant') {
    return evaluateCondition(condition, bits, left.value, right.value);
  }
  if (left === right && condition !== 'test') return evaluateCondition(condition, bits, 0n, 0n);
  if (right.kind === 'constant' && right.value === 0n && bits === 64 && isNeverNull(left)) {
    if (condition === 'eq') return false;
    if (condition === 'ne') return true;
  }
  return null;
}

/** By what is known of the bits: `u8 > 300` and kin. */
function byBits(workshop: Workshop, test: Test): boolean | null {
  const { condition, left, right } = test;
  if (left.space !== 'scalar' || right.space !== 'scalar') return null;
  const known = workshop.knowledge.ofCondition(left, right);
  const [a, b] = [known.of(left), known.of(right)];
  const isUnknown = (bits: Bits64): boolean => bits.zeros === 0n && bits.ones === 0n;
  if (isUnknown(a) || isUnknown(b)) return null;
  if (test.bits === 32 && !(known.isZeroExtended(left, 4) && known.isZeroExtended(right, 4))) return null;
  const [leftMost, leftLeast] = [known.largest(left), a.ones];
  const [rightMost, rightLeast] = [known.largest(right), b.ones];
  const sign = 1n << BigInt(test.bits - 1);
  const isSigned = condition.startsWith('s');
  if (isSigned && !((a.zeros & b.zeros & sign) !== 0n)) return null;
  switch (condition) {
    case 'eq':
    case 'ne':
      return (a.zeros & b.ones) !== 0n || (a.ones & b.zeros) !== 0n ? condition === 'ne' : null;
    case 'ult':
    case 'slt':
    case 'uge':
    case 'sge': {
      const isLess = leftMost < rightLeast ? true : leftLeast >= rightMost ? false : null;
      return isLess === null ? null : isLess === condition.endsWith('lt');
    }
    case 'ugt':
    case 'sgt':
    case 'ule':
    case 'sle': {
      const isGreater = leftLeast > rightMost ? true : leftMost <= rightLeast ? false : null;
      return isGreater === null ? null : isGreater === condition.endsWith('gt');
    }
    case 'test':
      return (a.ones & b.ones) !== 0n
        ? true
        : ((a.zeros | b.zeros) & 0xffff_ffff_ffff_ffffn) === 0xffff_ffff_ffff_ffffn
          ? false
          : null;
  }
}

/** Comparisons with the ends of the unsigned range say no more than equality does. */
function atBounds(workshop: Workshop, test: Test, right: bigint): Test | boolean | null {
  const zero = workshop.editor.constant(0);
  if (right === 0n) {
    if (test.condition === 'ult') return false;
    if (test.condition === 'uge') return true;
    if (test.condition === 'ugt') return { ...test, condition: 'ne' };
    if (test.condition === 'ule') return { ...test, condition: 'eq' };
  }
  if (right === 1n && test.condition === 'ult') return { ...test, condition: 'eq', right: zero };
  if (right === 1n && test.condition === 'uge') return { ...test, condition: 'ne', right: zero };
  return null;
}

const asTest = (condition: Condition, bits: Bits, left: Value, right: Value, isNegated: boolean): Test => {
  const other = isNegated ? opposite[condition] : null;
  return other === null
    ? { condition, bits, left, right, isNegated }
    : { condition: other, bits, left, right, isNegated: false };
};

/** Whether a comparison gave a number: the comparison itself, or its opposite. */
function ofComparison({ condition, isNegated }: Test, left: Compare, number: bigint): Test | boolean {
  const isEqual = condition === 'eq';
  if (number !== 0n && number !== 1n) return !isEqual;
  return asTest(left.condition, left.bits, left.left, left.right, isNegated !== (isEqual === (number === 0n)));
}

/** Equality with a number: earlier values compared with another number. */
function equality(workshop: Workshop, test: Test, number: bigint): Test | boolean | null {
  const { editor } = workshop;
  const { left, bits, condition, isNegated } = test;
  const isEqual = condition === 'eq';
  if (left.kind === 'unary' && left.operator === 'swap' && left.width * 8 <= bits) {
    const { width, operand } = left;
    if (BigInt.asUintN(width * 8, number) !== BigInt.asUintN(bits, number)) return !isEqual;
    const source = workshop.emit(editor.unary('zext', width, operand, left));
    return { ...test, left: source, right: constantFor(workshop, bits, swapBytes(width, number)) };
  }
  if (left.kind !== 'binary' || left.space !== 'scalar' || left.left.space !== 'scalar') return null;
  if (left.operator === 'and' && number === 0n) {
    const narrower = left.bits === 32 ? 32 : bits;
    if (left.right.kind === 'constant' && !fitsImmediate(left.right.value, narrower)) return null;
    return asTest('test', narrower, left.left, left.right, isNegated !== isEqual);
  }
  if ((left.operator === 'sub' || left.operator === 'xor') && number === 0n && left.bits === bits) {
    if (left.right.space !== 'scalar') return null;
    return { ...test, left: left.left, right: left.right };
  }
  if (left.right.kind !== 'constant' || left.bits !== bits) return null;
  if (left.operator === 'add')
    return { ...test, left: left.left, right: constantFor(workshop, bits, number - left.right.value) };
  if (left.operator === 'xor')
    return { ...test, left: left.left, right: constantFor(workshop, bits, number ^ left.right.value) };
  if (left.operator !== 'and') return null;
  const mask = left.right.value;
  return maskedSwap(workshop, test, left.left, mask, number) ?? maskedShift(workshop, test, left.left, mask, number);
}

/** (swap(x) & mask) == number is (x & swap(mask)) == swap(number). */
function maskedSwap(workshop: Workshop, test: Test, inner: Value, mask: bigint, number: bigint): Test | null {
  const { editor } = workshop;
  if (inner.kind !== 'unary' || inner.operator !== 'swap' || inner.width * 8 > test.bits) return null;
  const outer = BigInt.asUintN(test.bits, number | mask);
  const swapped = BigInt.asIntN(test.bits, swapBytes(inner.width, mask));
  if (outer >> BigInt(inner.width * 8) !== 0n || !fitsImmediate(swapped, test.bits)) return null;
  const left = workshop.emit(editor.binary('and', test.bits, inner.operand, editor.constant(swapped), inner));
  return { ...test, left, right: constantFor(workshop, test.bits, swapBytes(inner.width, number)) };
}

const constantFor = (workshop: Workshop, bits: Bits, value: bigint): Value =>
  workshop.editor.constant(BigInt.asIntN(bits, value));

function fitsImmediate(value: bigint, bits: Bits): boolean {
  return bits === 32 || BigInt.asIntN(IMMEDIATE_BITS, value) === value;
}

/** Any bit of a mask in a value that was swapped, shifted, masked or extended before: another mask of what it was. */
function testOf(workshop: Workshop, test: Test, number: bigint): Test | null {
  const { left, bits } = test;
  const to = (source: Value, width: Bits, mask: bigint): Test | null => {
    if (source.space !== 'scalar' || !fitsImmediate(BigInt.asIntN(width, mask), width)) return null;
    return { ...test, bits: width, left: source, right: constantFor(workshop, width, mask) };
  };
  const mask = BigInt.asUintN(bits, number);
  if (left.kind === 'unary') {
    if (left.operator === 'swap' && left.width * 8 <= bits) {
      return to(left.operand, left.width <= 4 ? 32 : 64, swapBytes(left.width, number));
    }
    const isLow = mask >> BigInt(left.width * 8) === 0n;
    return isLow && (left.operator === 'zext' || left.operator === 'sext') ? to(left.operand, bits, mask) : null;
  }
  if (left.kind !== 'binary' || left.right.kind !== 'constant') return null;
  const width = left.bits === 32 ? 32 : bits;
  if (left.operator === 'and') return to(left.left, width, mask & BigInt.asUintN(width, left.right.value));
  const count = left.right.value;
  if (left.operator !== 'lshr' || count < 0n || count >= BigInt(left.bits)) return null;
  const moved = BigInt.asUintN(left.bits, mask << count);
  return to(left.left, left.bits, moved);
}

/** (x >> count) < number is x < (number << count), and so on: the shift is not needed. */
function orderOfShift(workshop: Workshop, test: Test, number: bigint): Test | null {
  const { left, bits, condition } = test;
  if (left.kind !== 'binary' || left.operator !== 'lshr' || left.right.kind !== 'constant') return null;
  if (left.bits !== bits || number < 0n || left.left.space !== 'scalar') return null;
  const isPast = condition === 'ugt' || condition === 'ule';
  if (!isPast && condition !== 'ult' && condition !== 'uge') return null;
  const bound = (number + (isPast ? 1n : 0n)) << (left.right.value & BigInt(bits - 1));
  // Within the positive numbers that an instruction holds.
  if (bound >> 31n !== 0n) return null;
  const form = condition === 'ugt' ? 'uge' : condition === 'ule' ? 'ult' : condition;
  return { ...test, condition: form, left: left.left, right: constantFor(workshop, bits, bound) };
}

/** ((x >> count) & mask) == number is (x & (mask << count)) == (number << count). */
function maskedShift(workshop: Workshop, test: Test, inner: Value, mask: bigint, number: bigint): Test | null {
  const { bits } = test;
  if (inner.kind !== 'binary' || inner.operator !== 'lshr' || inner.right.kind !== 'constant') return null;
  if (inner.bits !== bits || mask < 0n || number < 0n || inner.left.space !== 'scalar') return null;
  const count = inner.right.value & BigInt(bits - 1);
  if ((mask << count) >> 31n !== 0n || (number << count) >> 31n !== 0n) return null;
  const { editor } = workshop;
  const left = workshop.emit(editor.binary('and', bits, inner.left, editor.constant(mask << count), inner));
  return { ...test, left, right: constantFor(workshop, bits, number << count) };
}

/** What a value was before its 32 bits were extended, and how; null where they were not. */
function extended(value: Value): { readonly source: Value; readonly how: 'sext' | 'zext' } | null {
  if (value.kind === 'binary' && value.bits === 32) return { source: value, how: 'zext' };
  if (value.kind !== 'unary' || value.width !== 4 || value.operand.space !== 'scalar') return null;
  return value.operator === 'sext' || value.operator === 'zext' ? { source: value.operand, how: value.operator } : null;
}

const unsignedForm: Readonly<Record<Condition, Condition>> = {
  ...{ eq: 'eq', ne: 'ne', ult: 'ult', ule: 'ule', ugt: 'ugt', uge: 'uge', test: 'test' },
  ...{ slt: 'ult', sle: 'ule', sgt: 'ugt', sge: 'uge' },
};

/** A 64-bit comparison of values that are extended from 32 bits alike is one of 32 bits. */
function narrowed(workshop: Workshop, test: Test): Test | null {
  const { left, right, condition } = test;
  const from = extended(left);
  if (from === null || condition === 'test') return null;
  const known = workshop.knowledge.ofCondition(left, right);
  const isAlike = from.how === 'zext' ? known.isZeroExtended(right, 4) : known.isSignExtended(right, 4);
  if (!isAlike) return null;
  const form = from.how === 'zext' ? unsignedForm[condition] : condition;
  const other = right.kind === 'constant' ? constantFor(workshop, 32, right.value) : (extended(right)?.source ?? right);
  return { ...test, bits: 32, condition: form, left: from.source, right: other };
}

function step(workshop: Workshop, test: Test): Test | boolean | null {
  const { condition, bits, left, right } = test;
  const answer = withConstants(test) ?? byBits(workshop, test);
  if (answer !== null) return answer;
  if (left.kind === 'constant') return { ...test, condition: mirrored[condition], left: right, right: left };
  if (left.kind === 'compare' && right.kind === 'constant' && (condition === 'eq' || condition === 'ne')) {
    return ofComparison(test, left, BigInt.asIntN(bits, right.value));
  }
  if (!workshop.mayMoveConditions) return null;
  if (workshop.knowledge.isWatched(left) || workshop.knowledge.isWatched(right)) return null;
  if (bits === 32) {
    const [a, b] = [lowPart(left, 4), lowPart(right, 4)];
    if (a !== left || b !== right) return { ...test, left: a, right: b };
  } else {
    const narrow = narrowed(workshop, test);
    if (narrow !== null) return narrow;
  }
  if (right.kind !== 'constant') {
    return extended(right) === null || bits === 32
      ? null
      : narrowed(workshop, { ...test, condition: mirrored[condition], left: right, right: left });
  }
  const number = BigInt.asIntN(bits, right.value);
  if (number !== right.value) return { ...test, right: workshop.editor.constant(number) };
  if (condition === 'eq' || condition === 'ne') return equality(workshop, test, number);
  if (condition === 'test') return testOf(workshop, test, number);
  return atBounds(workshop, test, number) ?? orderOfShift(workshop, test, number);
}

/** The condition in its cheapest form, or its answer. */
export function simplifyTest(workshop: Workshop, test: Test): Test | boolean {
  let current = test;
  for (let steps = 0; steps < STEPS_MAX; steps++) {
    const next = step(workshop, current);
    if (next === null) break;
    if (typeof next === 'boolean') return next !== current.isNegated;
    current = next;
  }
  return current;
}
