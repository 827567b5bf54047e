/**
 * Room `bpf`: loops.
 *
 * A newcomer would get wrong: what is known of a pointer before a loop holds within it only where the loop does not assign to it, for
 * control comes back to the head with whatever the body left.
 */

import { bytesOf, I32, type IntegerType, U32 } from '../../types.ts';
import type { Variable } from '../builder.ts';
import { type Located, refuse } from '../diagnostics.ts';
import { binary, commonType, compare, convert, operandOf } from './arithmetic.ts';
import { condition } from './conditions.ts';
import type { Frame, Label } from './frame.ts';
import { load } from './memory.ts';
import { assignedIn } from './scan.ts';
import {
  argumentsOf,
  bare,
  type Call,
  type Expression,
  elementsOf,
  type Statement,
  type StatementNode,
} from './syntax.ts';
import { computed, describe, known, type Operand, type Place, type Pointer, type Scalar } from './values.ts';

/** Lowers one statement: the caller's, as statements and loops contain each other. */
type Lower = (frame: Frame, node: Statement) => void;

/** Enters a loop's head, to which the body will come back. */
function openHead(frame: Frame, loop: object): Label {
  frame.forget(assignedIn(loop));
  const head = frame.label();
  frame.jump(head);
  frame.enterOpen(head);
  return head;
}

/** Goes back to the head, which is complete then. */
function closeHead(frame: Frame, head: Label): void {
  if (frame.isReached) frame.builder.jump(head.block);
  frame.builder.seal(head.block);
}

function body(frame: Frame, node: Statement, names: readonly string[], end: Label, next: Label, lower: Lower): void {
  frame.targets.push({ names, end, next });
  if (frame.isReached) frame.scoped(() => lower(frame, node));
  frame.targets.pop();
  frame.jump(next);
  frame.enter(next);
}

export function whileStatement(
  frame: Frame,
  node: StatementNode<'WhileStatement'>,
  names: readonly string[],
  lower: Lower,
): void {
  const head = openHead(frame, node);
  const [inside, next, end] = [frame.label(), frame.label(), frame.label()];
  condition(frame, node.test, inside, end);
  frame.enter(inside);
  body(frame, node.body, names, end, next, lower);
  closeHead(frame, head);
  frame.enter(end);
}

export function doWhileStatement(
  frame: Frame,
  node: StatementNode<'DoWhileStatement'>,
  names: readonly string[],
  lower: Lower,
): void {
  const head = openHead(frame, node);
  const [next, again, end] = [frame.label(), frame.label(), frame.label()];
  body(frame, node.body, names, end, next, lower);
  if (frame.isReached) condition(frame, node.test, again, end);
  frame.enter(again);
  closeHead(frame, head);
  frame.enter(end);
}

export function forStatement(
  frame: Frame,
  node: StatementNode<'ForStatement'>,
  names: readonly string[],
  lower: Lower,
): void {
  frame.scoped(() => {
    const { init, test, update } = node;
    if (init?.type === 'VariableDeclaration') lower(frame, init);
    else if (init) frame.expression(init);
    const head = openHead(frame, node);
    const [inside, next, end] = [frame.label(), frame.label(), frame.label()];
    if (test) condition(frame, test, inside, end);
    else frame.jump(inside);
    frame.enter(inside);
    body(frame, node.body, names, end, next, lower);
    const updates = update?.type === 'SequenceExpression' ? update.expressions : update ? [update] : [];
    if (frame.isReached) for (const one of updates) frame.expression(one);
    closeHead(frame, head);
    frame.enter(end);
  });
}

/** From where to where a counter goes, and by what step. */
interface Counter {
  readonly from: Scalar;
  readonly to: Scalar;
  readonly step: bigint;
  readonly type: IntegerType;
}

function counterOf(frame: Frame, node: Call): Counter {
  const given = argumentsOf(node);
  if (given.length < 1 || given.length > 3) refuse(node, 'range takes an end, or a beginning and an end, and a step');
  const numbers = given.slice(0, 2).map((one) => frame.scalar(one));
  const [from, to] = numbers.length === 1 ? [known(I32, 0n, true), numbers[0]] : [numbers[0], numbers[1]];
  const step = given.length === 3 ? frame.scalar(given[2]).constant : 1n;
  if (step === null || step === 0n) refuse(given[2], 'a step must be known when compiling, and not 0');
  const isNatural = from.low >= 0n && to.low >= 0n && from.literal && to.literal && step > 0n;
  const type = isNatural ? U32 : commonType(from, to);
  return { from: convert(frame.builder, from, type), to: convert(frame.builder, to, type), step, type };
}

/** Runs `work` for each value of a counter. */
function count(
  frame: Frame,
  node: StatementNode<'ForOfStatement'>,
  counter: Counter,
  names: readonly string[],
  work: (index: Scalar) => void,
): void {
  const { builder } = frame;
  const { from, to, step, type } = counter;
  const variable: Variable = { name: 'index', space: 'scalar' };
  builder.write(variable, operandOf(builder, from, 64));
  const head = openHead(frame, node);
  const [inside, next, end] = [frame.label(), frame.label(), frame.label()];
  const [low, high] = step > 0n ? [from.low, to.high - 1n] : [to.low + 1n, from.high];
  const range = low > high ? ([low, low] as const) : ([low, high] as const);
  const index = computed(type, builder.read(variable), range);
  // The comparison sees what may be past the end, too.
  const unbounded = step > 0n ? { ...index, high: to.high + step } : { ...index, low: to.low + step };
  frame.branch(compare(builder, step > 0n ? '<' : '>', unbounded, to), inside, end);
  frame.enter(inside);
  frame.targets.push({ names, end, next });
  if (frame.isReached) frame.scoped(() => work(index));
  frame.targets.pop();
  frame.jump(next);
  frame.enter(next);
  if (frame.isReached) {
    frame.at(node.right);
    const amount = binary(builder, node, step > 0n ? '+' : '-', index, known(type, step > 0n ? step : -step));
    builder.write(variable, operandOf(builder, convert(builder, amount, type), 64));
  }
  closeHead(frame, head);
  frame.enter(end);
}

function nameOf(node: StatementNode<'ForOfStatement'>): string {
  const { left } = node;
  if (left.type !== 'VariableDeclaration' || left.kind === 'var' || left.declarations[0].id.type !== 'Identifier') {
    return refuse(left, 'this form of for…of is not supported', 'write for (const x of …)');
  }
  return left.declarations[0].id.name;
}

function elementAt(frame: Frame, node: Located, array: Pointer, index: Scalar): Operand {
  const { type } = array;
  if (type.kind !== 'array') return refuse(node, `${describe(array)} is no array`);
  const { builder } = frame;
  const size = bytesOf(type.element);
  const wide = operandOf(builder, index, 64);
  const scaled = size === 1 ? wide : builder.binary('mul', 64, wide, builder.constant(size));
  const address = builder.binary('add', 64, frame.addressOf(array), scaled, array.space);
  const place: Place = {
    ...array,
    kind: 'place',
    type: type.element,
    address,
    offset: 0,
    alignment: Math.min(array.alignment, size & -size),
    bits: null,
    pointer: null,
    core: null,
    text: 'the element',
  };
  return load(frame, node, place);
}

function isRange(frame: Frame, node: Expression): node is Call {
  if (node.type !== 'CallExpression' || node.callee.type !== 'Identifier') return false;
  const callee = frame.expression(node.callee);
  return callee.kind === 'definition' && callee.definition.name === 'range';
}

/** The body once for each element of a list that is known now. */
function writeOut<T>(
  frame: Frame,
  node: StatementNode<'ForOfStatement'>,
  elements: readonly T[],
  names: readonly string[],
  work: (element: T) => void,
): void {
  const end = frame.label();
  for (const element of elements) {
    if (!frame.isReached) break;
    frame.at(node);
    const next = frame.label();
    frame.targets.push({ names, end, next });
    frame.scoped(() => work(element));
    frame.targets.pop();
    frame.jump(next);
    frame.enter(next);
  }
  frame.jump(end);
  frame.enter(end);
}

export function forOf(
  frame: Frame,
  node: StatementNode<'ForOfStatement'>,
  names: readonly string[],
  lower: Lower,
): void {
  if (node.await) refuse(node, '“for await” is not supported', 'nothing waits in the kernel');
  const name = nameOf(node);
  const right = bare(node.right);
  if (isRange(frame, right)) {
    count(frame, node, counterOf(frame, right), names, (index) => {
      frame.bind(node.left, name, index);
      lower(frame, node.body);
    });
    return;
  }
  if (right.type === 'ArrayExpression') {
    writeOut(frame, node, elementsOf(right), names, (element) => {
      frame.bind(node.left, name, frame.value(element));
      lower(frame, node.body);
    });
    return;
  }
  const array = frame.value(right);
  if (array.kind === 'list') {
    writeOut(frame, node, array.elements, names, (element) => {
      frame.bind(node.left, name, element);
      lower(frame, node.body);
    });
    return;
  }
  if (array.kind !== 'pointer' || array.type.kind !== 'array') {
    refuse(right, `${describe(array)} cannot be iterated`, 'write range(n), or an array');
  }
  frame.present(right, array);
  const counter: Counter = { from: known(U32, 0n), to: known(U32, BigInt(array.type.length)), step: 1n, type: U32 };
  count(frame, node, counter, names, (index) => {
    frame.bind(node.left, name, elementAt(frame, right, array, index));
    lower(frame, node.body);
  });
}
