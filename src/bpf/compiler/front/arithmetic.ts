/**
 * Room `bpf`: arithmetic on the numbers of the source, by C's rules: promotion, the common type of two operands, conversion, folding of
 * what is known now, and the range that a result lies in.
 *
 * A newcomer would get wrong: with `builder` null (module constants) every operand is known, and nothing is emitted. Ranges are there to
 * leave out widenings and masks, so they must hold whatever the program does: where a result may wrap, it is the type's whole range.
 */
import { BOOLEAN, type BooleanType, I32, I64, type IntegerType, U32, U64 } from '../../types.ts';
import type { Builder } from '../builder.ts';
import { type Located, refuse } from '../diagnostics.ts';
import type { BinaryOperator, Condition, Value, Width } from '../ir.ts';
import { computed, hostType, known, rangeOf, type Scalar, type Test } from './values.ts';

/** The operators of the source that take two numbers. */
export type Operator = '+' | '-' | '*' | '/' | '%' | '&' | '|' | '^' | '<<' | '>>' | '>>>';
export type Comparison = '===' | '!==' | '<' | '<=' | '>' | '>=';

/** Cuts a number to a type, as a cast in C does. */
export function wrap(value: bigint, type: IntegerType | BooleanType): bigint {
  if (type.kind === 'boolean') return value === 0n ? 0n : 1n;
  return type.signed ? BigInt.asIntN(type.bytes * 8, value) : BigInt.asUintN(type.bytes * 8, value);
}

/** Bytes reversed: what a number in host order is in network order. */
export function swapConstant(value: bigint, bytes: number): bigint {
  let result = 0n;
  for (let rest = BigInt.asUintN(bytes * 8, value), index = 0; index < bytes; index++, rest >>= 8n) {
    result = (result << 8n) | (rest & 0xffn);
  }
  return result;
}

const fits = (low: bigint, high: bigint, type: IntegerType | BooleanType): boolean => {
  const [least, greatest] = rangeOf(type);
  return low >= least && high <= greatest;
};

/** C's integer promotion: what is narrower than 32 bits becomes an i32. */
export function promote(type: IntegerType | BooleanType): IntegerType {
  if (type.kind === 'boolean' || type.bytes < 4) return I32;
  return hostType(type) as IntegerType;
}

/** The type in which two operands meet. */
export function commonType(left: Scalar, right: Scalar): IntegerType {
  const one = promote(left.type);
  const other = promote(right.type);
  // A literal yields where the other's type can hold it, or where it is -1 for “all bits”.
  if (left.literal && !right.literal && yields(left, other)) return other;
  if (right.literal && !left.literal && yields(right, one)) return one;
  if (one.bytes !== other.bytes) return one.bytes > other.bytes ? one : other;
  return one.signed ? other : one;
}

function yields(literal: Scalar, type: IntegerType): boolean {
  if (type.bytes < promote(literal.type).bytes) return false;
  return literal.low < 0n || fits(literal.low, literal.high, type);
}

/** The IR value of a scalar, for an operation of 32 or 64 bits. */
export function operandOf(builder: Builder, scalar: Scalar, bits: 32 | 64): Value {
  if (scalar.constant !== null) {
    return builder.constant(bits === 32 ? BigInt.asIntN(32, scalar.constant) : scalar.constant);
  }
  return scalar.value as Value;
}

/** A boolean from a number: whether it is not 0. */
function toBoolean(builder: Builder | null, scalar: Scalar): Scalar {
  if (scalar.constant !== null) return known(BOOLEAN, scalar.constant === 0n ? 0n : 1n);
  if (scalar.type.kind === 'boolean') return scalar;
  const bits = scalar.type.bytes === 8 ? 64 : 32;
  const out = builder as Builder;
  return computed(BOOLEAN, out.compare('ne', bits, operandOf(out, scalar, bits), out.constant(0)));
}

/** A cast: cuts or extends. The result's IR value keeps what `values.ts` promises of its type. */
export function convert(builder: Builder | null, scalar: Scalar, to: IntegerType | BooleanType): Scalar {
  if (to.kind === 'boolean') return toBoolean(builder, scalar);
  const type = hostType(to) as IntegerType;
  if (scalar.constant !== null) return known(type, wrap(scalar.constant, type));
  const value = scalar.value as Value;
  const inRange = fits(scalar.low, scalar.high, type);
  const range = inRange ? ([scalar.low, scalar.high] as const) : rangeOf(type);
  if (type.bytes === 8) {
    // What is not negative has a clear high half already.
    const isWide = scalar.type.kind === 'integer' && scalar.type.bytes === 8;
    if (isWide || scalar.low >= 0n) return computed(type, value, range);
    return computed(type, (builder as Builder).unary('sext', 4, value), range);
  }
  if (inRange && (type.signed || scalar.low >= 0n)) return computed(type, value, range);
  // The low half is all that an i32 is.
  if (type.bytes === 4 && type.signed) return computed(type, value, range);
  const width = type.bytes as Width;
  return computed(type, (builder as Builder).unary(type.signed ? 'sext' : 'zext', width, value), range);
}

/** The operand of a 64-bit register: what helpers take and what is stored in 8 bytes. */
export function widened(builder: Builder, scalar: Scalar): Value {
  const wide = convert(builder, scalar, scalar.type.kind === 'integer' && scalar.type.signed ? I64 : U64);
  return operandOf(builder, wide, 64);
}

const least = (one: bigint, other: bigint): bigint => (other < one ? other : one);
const bitsIn = (value: bigint): bigint => BigInt(value.toString(2).length);

/** The range of a result without wrapping, or null where none is known. */
function resultRange(operator: Operator, left: Scalar, right: Scalar): readonly [bigint, bigint] | null {
  const isNatural = left.low >= 0n && right.low >= 0n;
  switch (operator) {
    case '+':
      return [left.low + right.low, left.high + right.high];
    case '-':
      return [left.low - right.high, left.high - right.low];
    case '*':
      return isNatural ? [left.low * right.low, left.high * right.high] : null;
    case '/':
      return isNatural ? [0n, left.high] : null;
    case '%':
      // The remainder of 0 is the dividend.
      return isNatural ? [0n, right.low > 0n && right.high <= left.high ? right.high - 1n : left.high] : null;
    case '&':
      if (isNatural) return [0n, least(left.high, right.high)];
      if (right.low >= 0n) return [0n, right.high];
      return left.low >= 0n ? [0n, left.high] : null;
    case '|':
    case '^': {
      if (!isNatural) return null;
      return [0n, (1n << bitsIn(left.high | right.high)) - 1n];
    }
    case '<<':
      return isNatural && right.constant !== null ? [left.low << right.constant, left.high << right.constant] : null;
    default:
      if (!isNatural) return null;
      return right.constant === null ? [0n, left.high] : [left.low >> right.constant, left.high >> right.constant];
  }
}

/** Two numbers that are known. Division by zero gives 0, the remainder of it the dividend (RFC 9669 section 4.1). */
function fold(operator: Operator, left: bigint, right: bigint, type: IntegerType): bigint {
  switch (operator) {
    case '+':
      return left + right;
    case '-':
      return left - right;
    case '*':
      return left * right;
    case '/':
      return right === 0n ? 0n : left / right;
    case '%':
      return right === 0n ? left : left % right;
    case '&':
      return left & right;
    case '|':
      return left | right;
    case '^':
      return left ^ right;
    case '<<':
      return left << right;
    case '>>':
      return left >> right;
    case '>>>':
      return BigInt.asUintN(type.bytes * 8, left) >> right;
  }
}

/** A literal of the source, or a result of literals: i32, u32 if too large for it; with `isWide` i64 or u64. */
export function literal(node: Located, value: bigint, isWide: boolean): Scalar {
  if (isWide) {
    const type = value < 0n ? I64 : U64;
    if (!fits(value, value, type)) refuse(node, `${value}n does not fit 64 bits`);
    return known(type, value, true);
  }
  if (fits(value, value, I32)) return known(I32, value, true);
  if (fits(value, value, U32)) return known(U32, value, true);
  return refuse(node, `${value} does not fit 32 bits`, `write a 64-bit number: ${value}n`);
}

const operators: Readonly<Record<Operator, readonly [signed: BinaryOperator, unsigned: BinaryOperator]>> = {
  '+': ['add', 'add'],
  '-': ['sub', 'sub'],
  '*': ['mul', 'mul'],
  '/': ['sdiv', 'udiv'],
  '%': ['smod', 'umod'],
  '&': ['and', 'and'],
  '|': ['or', 'or'],
  '^': ['xor', 'xor'],
  '<<': ['shl', 'shl'],
  '>>': ['ashr', 'lshr'],
  '>>>': ['lshr', 'lshr'],
};

const isShift = (operator: Operator): boolean => operator === '<<' || operator === '>>' || operator === '>>>';
const unsignedOf = (type: IntegerType): IntegerType => (type.bytes === 8 ? U64 : U32);

/** `left operator right`. */
export function binary(
  builder: Builder | null,
  node: Located,
  operator: Operator,
  left: Scalar,
  right: Scalar,
): Scalar {
  const shifts = isShift(operator);
  let type = shifts ? promote(left.type) : commonType(left, right);
  const count = shifts && right.constant !== null ? right.constant & BigInt(type.bytes * 8 - 1) : right.constant;
  if (left.constant !== null && count !== null) {
    const isLiteral = left.literal && (right.literal || shifts);
    const folded = fold(operator, wrap(left.constant, type), shifts ? count : wrap(count, type), type);
    if (isLiteral && operator !== '<<') return literal(node, folded, type.bytes === 8);
    if (operator === '>>>') type = unsignedOf(type);
    return known(type, wrap(folded, type), isLiteral);
  }
  const out = builder as Builder;
  const bits = type.bytes === 8 ? 64 : 32;
  const one = convertTo(out, left, type);
  // A shift takes its count from the low bits, whatever stands above them.
  const other = shifts ? (count === null ? right : known(I32, count)) : convertTo(out, right, type);
  const isNatural = one.low >= 0n && (shifts || other.low >= 0n);
  const code = operators[operator][type.signed && !isNatural ? 0 : 1];
  const value = out.binary(code, bits, operandOf(out, one, bits), operandOf(out, other, bits));
  if (operator === '>>>') type = unsignedOf(type);
  const range = resultRange(operator, one, other);
  return computed(type, value, range !== null && fits(range[0], range[1], type) ? range : rangeOf(type));
}

/** As {@link convert}, but within 32 bits the high half may be anything: an operation of 32 bits does not see it. */
function convertTo(builder: Builder, scalar: Scalar, type: IntegerType): Scalar {
  if (type.bytes === 8 || scalar.constant !== null) return convert(builder, scalar, type);
  const range = fits(scalar.low, scalar.high, type) ? ([scalar.low, scalar.high] as const) : rangeOf(type);
  return computed(type, scalar.value as Value, range);
}

const conditions: Readonly<Record<Comparison, readonly [signed: Condition, unsigned: Condition]>> = {
  '===': ['eq', 'eq'],
  '!==': ['ne', 'ne'],
  '<': ['slt', 'ult'],
  '<=': ['sle', 'ule'],
  '>': ['sgt', 'ugt'],
  '>=': ['sge', 'uge'],
};

function holds(operator: Comparison, left: bigint, right: bigint): boolean {
  switch (operator) {
    case '===':
      return left === right;
    case '!==':
      return left !== right;
    case '<':
      return left < right;
    case '<=':
      return left <= right;
    case '>':
      return left > right;
    case '>=':
      return left >= right;
  }
}

/** A comparison of numbers: what to test, or whether it is known to hold. */
export function compare(builder: Builder | null, operator: Comparison, left: Scalar, right: Scalar): Test | boolean {
  const type = commonType(left, right);
  if (left.constant !== null && right.constant !== null) {
    return holds(operator, wrap(left.constant, type), wrap(right.constant, type));
  }
  const out = builder as Builder;
  const bits = type.bytes === 8 ? 64 : 32;
  const one = convertTo(out, left, type);
  const other = convertTo(out, right, type);
  // The verifier learns more from unsigned comparisons: they bound both ends.
  const isNatural = one.low >= 0n && other.low >= 0n;
  const condition = conditions[operator][type.signed && !isNatural ? 0 : 1];
  return { condition, bits, left: operandOf(out, one, bits), right: operandOf(out, other, bits) };
}

/** `-x`, `~x`, `+x`. */
export function unary(builder: Builder | null, node: Located, operator: '-' | '~' | '+', operand: Scalar): Scalar {
  const type = promote(operand.type);
  if (operand.constant !== null) {
    const value = operator === '-' ? -operand.constant : operator === '~' ? ~operand.constant : operand.constant;
    if (operand.literal) return literal(node, operator === '~' ? wrap(value, type) : value, type.bytes === 8);
    return known(type, wrap(value, type));
  }
  const out = builder as Builder;
  if (operator === '+') return convertTo(out, operand, type);
  if (operator === '~') return binary(out, node, '^', operand, known(type, wrap(-1n, type)));
  const value = out.unary('neg', type.bytes as 4 | 8, operandOf(out, operand, type.bytes === 8 ? 64 : 32));
  return computed(type, value);
}
