/**
 * Room `bpf`: conditions: where control goes, and what each way knows of pointers afterwards.
 *
 * A newcomer would get wrong: a condition is lowered to branches, not to a value, because the verifier learns from branches only.
 * `a === null || a.x` works for the same reason that it does in TypeScript: the right side is lowered where the left side left off.
 */
import { bytesOf } from '../../types.ts';
import { type Located, refuse } from '../diagnostics.ts';
import { type Comparison, compare, operandOf, swapConstant } from './arithmetic.ts';
import { comparisonOperator } from './constants.ts';
import type { Frame, Label } from './frame.ts';
import { memberOf } from './members.ts';
import { isSwapped, loadUnswapped } from './memory.ts';
import { bare, type Expression, type ExpressionOf } from './syntax.ts';
import { adviceOnNumber, describe, type Operand, type Place, type Pointer, type Scalar, type Test } from './values.ts';

/** Whether evaluating an expression can change memory that another operand reads. */
export function isQuiet(node: Expression): boolean {
  switch (node.type) {
    case 'Identifier':
    case 'NumericLiteral':
    case 'BigIntLiteral':
    case 'BooleanLiteral':
    case 'NullLiteral':
      return true;
    case 'MemberExpression':
      return isQuiet(node.object as Expression) && (!node.computed || isQuiet(node.property as Expression));
    case 'UnaryExpression':
      return isQuiet(node.argument);
    case 'BinaryExpression':
      return isQuiet(node.left as Expression) && isQuiet(node.right);
    default:
      return false;
  }
}

/** Both operands of an expression, left before right. A place on the left is read at once where the right side may change it. */
export function operands(frame: Frame, node: ExpressionOf<'BinaryExpression'>): readonly [Operand, Operand] {
  if (node.left.type === 'PrivateName') refuse(node, 'private fields are not supported');
  const left = frame.expression(node.left);
  const first = isQuiet(node.right) ? left : frame.rules.value(frame, node.left, left);
  return [first, frame.expression(node.right)];
}

function constantOf(operand: Operand): Scalar | null {
  return operand.kind === 'scalar' && operand.constant !== null ? operand : null;
}

/** Equality of something in network order with a constant or with another such place: nothing is swapped when the program runs. */
function compareUnswapped(frame: Frame, operator: Comparison, left: Operand, right: Operand): Test | boolean | null {
  if (operator !== '===' && operator !== '!==') return null;
  const [place, other] = isSwapped(left) ? [left, right] : isSwapped(right) ? [right, left] : [null, null];
  if (place === null) return null;
  const bytes = bytesOf(place.type);
  const bits = bytes === 8 ? 64 : 32;
  const condition = operator === '===' ? 'eq' : 'ne';
  if (isSwapped(other)) {
    if (bytesOf(other.type) !== bytes) return null;
    return { condition, bits, left: loadUnswapped(frame, place), right: loadUnswapped(frame, other) };
  }
  const constant = constantOf(other)?.constant ?? null;
  if (constant === null) return null;
  if (constant < 0n || constant >= 1n << BigInt(bytes * 8)) return null;
  const swapped = swapConstant(constant, bytes);
  const number = frame.builder.constant(bits === 32 ? BigInt.asIntN(32, swapped) : swapped);
  return { condition, bits, left: loadUnswapped(frame, place as Place), right: number };
}

function adviceOnComparison(odd: Operand): string {
  const isMemory = odd.kind === 'pointer' && !odd.boxed && (odd.type.kind === 'array' || odd.type.kind === 'struct');
  if (isMemory || odd.kind === 'list' || odd.kind === 'string') return 'equal(one, other) compares their bytes';
  return adviceOnNumber(odd, 'numbers are compared, and pointers with null');
}

/** A comparison of two numbers: what to test. Null where one of them is no number. */
export function numberTest(
  frame: Frame,
  node: ExpressionOf<'BinaryExpression'>,
  operator: Comparison,
  pair: readonly [Operand, Operand],
): Test | boolean {
  const unswapped = compareUnswapped(frame, operator, pair[0], pair[1]);
  if (unswapped !== null) return unswapped;
  const left = frame.rules.value(frame, node.left, pair[0]);
  const right = frame.rules.value(frame, node.right, pair[1]);
  if (left.kind === 'scalar' && right.kind === 'scalar') return compare(frame.builder, operator, left, right);
  const isEquality = operator === '===' || operator === '!==';
  if (isEquality && left.kind === 'pointer' && right.kind === 'pointer' && left.space === 'arena') {
    // To the verifier an address in an arena is a number, null and others alike.
    const condition = operator === '===' ? 'eq' : 'ne';
    if (right.space === 'arena') return { condition, bits: 64, left: frame.settle(left), right: frame.settle(right) };
  }
  const [odd, place] = left.kind === 'scalar' ? [right, node.right] : [left, node.left];
  const advice = adviceOnComparison(odd);
  return refuse(place, `${describe(odd)} cannot be compared with “${operator}”`, advice);
}

/** Goes to `present` where the pointer is there, to `absent` where it is null, and lets both ways know. */
export function testPointer(frame: Frame, pointer: Pointer, present: Label, absent: Label): void {
  const state = frame.nullness(pointer);
  // What the kernel's structs point to may be followed untested, as what cannot be read is zero. It may be null all the same.
  const isKnown = state === 'null' || (state === 'present' && (pointer.nullable || pointer.space !== 'kernel'));
  if (isKnown) {
    frame.jump(state === 'present' ? present : absent);
    return;
  }
  const { builder } = frame;
  const [there, missing] = [frame.label(), frame.label()];
  if (pointer.tests !== null) {
    frame.testAll(pointer.tests, there, missing);
  } else {
    const left = frame.addressOf(pointer);
    frame.branch({ condition: 'ne', bits: 64, left, right: builder.constant(0) }, there, missing);
  }
  frame.enter(there);
  frame.learn(pointer.binding, 'present');
  frame.jump(present);
  frame.enter(missing);
  frame.learn(pointer.binding, 'null');
  frame.jump(absent);
}

/** Where a value that is no comparison leads: numbers are compared with 0, pointers with null. */
export function testOperand(frame: Frame, node: Located, operand: Operand, whenTrue: Label, whenFalse: Label): void {
  if (operand.kind === 'pointer') {
    testPointer(frame, operand, whenTrue, whenFalse);
    return;
  }
  if (operand.kind === 'null') {
    frame.jump(whenFalse);
    return;
  }
  if (operand.kind !== 'scalar')
    refuse(node, `${describe(operand)} is no condition`, 'test a number, a boolean or a pointer');
  if (operand.constant !== null) {
    frame.jump(operand.constant === 0n ? whenFalse : whenTrue);
    return;
  }
  const bits = operand.type.kind === 'integer' && operand.type.bytes === 8 ? 64 : 32;
  const left = operandOf(frame.builder, operand, bits);
  frame.branch({ condition: 'ne', bits, left, right: frame.builder.constant(0) }, whenTrue, whenFalse);
}

function comparison(
  frame: Frame,
  node: ExpressionOf<'BinaryExpression'>,
  operator: Comparison,
  whenTrue: Label,
  whenFalse: Label,
): void {
  const first = node.left.type === 'PrivateName' ? node.left : bare(node.left);
  if (first.type === 'OptionalMemberExpression' && first.optional) {
    // As in JavaScript, where there is no `a` only `!==` holds.
    const left = optional(frame, first, operator === '!==' ? whenTrue : whenFalse);
    if (!frame.isReached) return;
    const value = isQuiet(node.right) ? left : frame.rules.value(frame, first, left);
    const test = numberTest(frame, node, operator, [value, frame.expression(node.right)]);
    frame.branch(test, whenTrue, whenFalse);
    return;
  }
  const pair = operands(frame, node);
  const [left, right] = pair;
  const isEquality = operator === '===' || operator === '!==';
  if (isEquality && (left.kind === 'null' || right.kind === 'null')) {
    const [pointerNode, operand] = left.kind === 'null' ? [node.right, right] : [node.left, left];
    const pointer = frame.rules.value(frame, pointerNode, operand);
    if (pointer.kind === 'null') {
      frame.jump(operator === '===' ? whenTrue : whenFalse);
      return;
    }
    if (pointer.kind !== 'pointer')
      refuse(pointerNode, `${describe(pointer)} is never null`, 'compare it with a number');
    if (operator === '===') testPointer(frame, pointer, whenFalse, whenTrue);
    else testPointer(frame, pointer, whenTrue, whenFalse);
    return;
  }
  const test = numberTest(frame, node, operator, pair);
  frame.at(node);
  frame.branch(test, whenTrue, whenFalse);
}

/** Where `a?.b` is tested: without an `a` to `absent`. @returns what is to be tested where there is one */
function optional(frame: Frame, node: ExpressionOf<'OptionalMemberExpression'>, absent: Label): Operand {
  const object = bare(node.object as Expression);
  const pointer = frame.value(object);
  if (pointer.kind !== 'pointer') refuse(object, `${describe(pointer)} is never null`, 'write . in place of ?.');
  const there = frame.label();
  testPointer(frame, pointer, there, absent);
  frame.enter(there);
  return memberOf(frame, node, { ...pointer, nullable: false, tests: null });
}

/** Lowers a condition: every way out of it leads to one of the labels. */
export function condition(frame: Frame, expression: Expression, whenTrue: Label, whenFalse: Label): void {
  const node = bare(expression);
  frame.at(node);
  if (node.type === 'UnaryExpression' && node.operator === '!') {
    condition(frame, node.argument, whenFalse, whenTrue);
    return;
  }
  if (node.type === 'LogicalExpression' && node.operator !== '??') {
    const middle = frame.label();
    if (node.operator === '&&') condition(frame, node.left, middle, whenFalse);
    else condition(frame, node.left, whenTrue, middle);
    frame.enter(middle);
    if (frame.isReached) condition(frame, node.right, whenTrue, whenFalse);
    return;
  }
  if (node.type === 'BinaryExpression') {
    const operator = comparisonOperator(node);
    if (operator !== null) {
      comparison(frame, node, operator, whenTrue, whenFalse);
      return;
    }
  }
  if (node.type === 'OptionalMemberExpression' && node.optional) {
    const operand = optional(frame, node, whenFalse);
    if (frame.isReached) testOperand(frame, node, frame.rules.value(frame, node, operand), whenTrue, whenFalse);
    return;
  }
  testOperand(frame, node, frame.value(node), whenTrue, whenFalse);
}
