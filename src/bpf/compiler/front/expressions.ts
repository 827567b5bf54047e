/**
 * Room `bpf`: expressions, by kind. What has a file of its own (members, conditions, calls, assignment) is called from here.
 *
 * A newcomer would get wrong: an expression may give a place. Whoever wants its value asks {@link Frame.value}.
 */
import { BOOLEAN, type Type } from '../../types.ts';
import { type Located, Refusal, refuse } from '../diagnostics.ts';
import * as arithmetic from './arithmetic.ts';
import { assignment, update } from './assignment.ts';
import { call } from './calls.ts';
import { condition, numberTest, operands, testOperand, testPointer } from './conditions.ts';
import { arithmeticOperator, comparisonOperator, literalOf } from './constants.ts';
import type { Exit, Frame, Label } from './frame.ts';
import { temporary } from './initialise.ts';
import { commonScalarType, join, leave } from './join.ts';
import { member, memberOf } from './members.ts';
import { load } from './memory.ts';
import { bare, type Expression, type ExpressionOf } from './syntax.ts';
import { adviceOnNumber, computed, describe, known, type Operand } from './values.ts';

/** What cannot be said in this language, and what to write instead. */
const refused: Partial<Record<Expression['type'], readonly [what: string, advice: string]>> = {
  ArrowFunctionExpression: [
    'a function within a function',
    'declare it at the top of the module, or pass it to a helper directly',
  ],
  FunctionExpression: ['a function within a function', 'declare it at the top of the module'],
  AwaitExpression: ['“await”', 'nothing waits in the kernel'],
  ClassExpression: ['a class', 'use struct({…}) and functions'],
  NewExpression: ['“new”', 'local(Type) makes one on the stack'],
  RegExpLiteral: ['a regular expression', 'compare the bytes'],
  SequenceExpression: ['the comma operator', 'write two statements'],
  SpreadElement: ['spread (…)', 'write the elements out'],
  TaggedTemplateExpression: ['a tagged template', 'print(`…`) takes a plain one'],
  TemplateLiteral: ['a template', 'print(`…`) takes one'],
  ThisExpression: ['“this”', 'pass the value as a parameter'],
  YieldExpression: ['“yield”', 'use a loop'],
  OptionalCallExpression: ['an optional call', 'test the object first'],
  ImportExpression: ['a dynamic import', 'import at the top of the module'],
  Super: ['“super”', 'use functions'],
} as Partial<Record<Expression['type'], readonly [string, string]>>;

/** What converts in JavaScript, and what does here. */
const conversions: Readonly<Record<string, string>> = {
  Number: 'u32(x) converts to a number',
  BigInt: 'u64(x) converts to a bigint',
  Boolean: 'boolean is the answer of a comparison: x !== 0',
};

function identifier(frame: Frame, node: ExpressionOf<'Identifier'>): Operand {
  const binding = frame.find(node.name);
  if (binding !== null) return frame.read(binding);
  for (let { outer } = frame; outer !== null; outer = outer.outer) {
    const captured = outer.find(node.name)?.operand ?? null;
    if (captured?.kind === 'scalar' && captured.constant !== null) return captured;
    if (outer.find(node.name) !== null) {
      refuse(
        node,
        `${node.name} belongs to the function around this callback`,
        'pass it in the object that the callback is given',
      );
    }
  }
  if (node.name === 'undefined') refuse(node, 'undefined is not supported', 'write null');
  const operand = frame.unit.valueOf(frame.module, node.name, node);
  if (operand !== null) return operand;
  const conversion = conversions[node.name];
  if (conversion !== undefined) refuse(node, `${node.name} is not declared`, conversion);
  const advice =
    node.name in globalThis ? 'JavaScript’s own objects do not exist in the kernel' : 'import or declare it';
  return refuse(node, `${node.name} is not declared`, advice);
}

/** A condition as a value: 1 or 0. */
function conditionValue(frame: Frame, node: Expression): Operand {
  const [whenTrue, whenFalse] = [frame.label(), frame.label()];
  condition(frame, node, whenTrue, whenFalse);
  return choose(frame, node, [
    { node, label: whenTrue, work: () => known(BOOLEAN, 1n) },
    { node, label: whenFalse, work: () => known(BOOLEAN, 0n) },
  ]);
}

/** One way of several: where it begins, and what gives its operand. */
interface Way {
  readonly node: Expression;
  readonly label: Label;
  readonly work: () => Operand;
}

/** What a way would give to which no control leads; null where it would be refused. Nothing of it is kept. */
function wouldGive(frame: Frame, way: Way): Operand | null {
  const { facts, packet } = frame;
  frame.enterAfresh();
  try {
    return way.work();
  } catch (error) {
    if (error instanceof Refusal) return null;
    throw error;
  } finally {
    frame.builder.current = null;
    Object.assign(frame, { facts, packet });
  }
}

/** Lowers all ways and joins them. The type of a number is that of all of them, also where only one is ever taken. */
function choose(frame: Frame, node: Located, ways: readonly Way[]): Operand {
  const exits: Exit[] = [];
  const dead: Way[] = [];
  for (const way of ways) {
    frame.enter(way.label);
    const exit = frame.isReached ? leave(frame, way.node, way.work()) : null;
    if (exit === null) dead.push(way);
    else exits.push(exit);
  }
  const only = exits.length === 1 ? exits[0].operand : null;
  if (only?.kind !== 'scalar' || dead.length === 0) return join(frame, node, exits);
  const others = dead.map((way) => wouldGive(frame, way)).filter((operand) => operand?.kind === 'scalar');
  const literals = [only, ...others].every((one) => one.literal);
  if (literals || others.length === 0) return join(frame, node, exits);
  return join(frame, node, exits, { type: commonScalarType([only, ...others]), nullable: false, boxed: false });
}

function unary(frame: Frame, node: ExpressionOf<'UnaryExpression'>): Operand {
  const { operator } = node;
  if (operator === '!') return conditionValue(frame, node);
  if (operator !== '-' && operator !== '~' && operator !== '+') {
    const advice = operator === 'delete' ? 'call the map’s delete(key)' : 'types are known when compiling';
    refuse(node, `“${operator}” is not supported`, advice);
  }
  return arithmetic.unary(frame.builder, node, operator, frame.scalar(node.argument));
}

function binary(frame: Frame, node: ExpressionOf<'BinaryExpression'>): Operand {
  const operator = arithmeticOperator(node.operator);
  if (operator !== null) {
    const pair = operands(frame, node);
    const left = number(frame, node.left as Expression, pair[0]);
    const right = number(frame, node.right, pair[1]);
    frame.at(node);
    return arithmetic.binary(frame.builder, node, operator, left, right);
  }
  const comparison = comparisonOperator(node);
  if (comparison === null) {
    const advice =
      node.operator === '**'
        ? 'multiply'
        : node.operator === 'in'
          ? 'look the key up in a map'
          : 'types are known when compiling';
    refuse(node, `“${node.operator}” is not supported`, advice);
  }
  const isOptional = node.left.type === 'OptionalMemberExpression';
  if (isOptional || node.left.type === 'NullLiteral' || node.right.type === 'NullLiteral') {
    return conditionValue(frame, node);
  }
  const test = numberTest(frame, node, comparison, operands(frame, node));
  if (typeof test === 'boolean') return known(BOOLEAN, test ? 1n : 0n);
  return computed(BOOLEAN, frame.builder.compare(test.condition, test.bits, test.left, test.right));
}

function number(frame: Frame, node: Expression, operand: Operand): ReturnType<Frame['scalar']> {
  const value = frame.rules.value(frame, node, operand);
  if (value.kind === 'scalar') return value;
  return refuse(node, `${describe(value)} is no number`, adviceOnNumber(value, 'arithmetic is for numbers'));
}

/** Whether an expression can only be true or false. */
function isBoolean(node: Expression): boolean {
  if (node.type === 'UnaryExpression') return node.operator === '!';
  if (node.type === 'LogicalExpression') return node.operator !== '??' && isBoolean(node.left) && isBoolean(node.right);
  if (node.type === 'BinaryExpression') return /^(?:[<>]=?|[!=]==?)$/.test(node.operator);
  return node.type === 'BooleanLiteral';
}

/** `a ?? b`, and `a?.b ?? c`, which tests `a`. */
function coalesce(frame: Frame, node: ExpressionOf<'LogicalExpression'>): Operand {
  const left = bare(node.left);
  const tested = left.type === 'OptionalMemberExpression' ? bare(left.object as Expression) : left;
  const pointer = frame.value(tested);
  if (pointer.kind !== 'pointer')
    refuse(tested, `${describe(pointer)} is never null`, 'leave out what stands behind ??');
  const [present, absent] = [frame.label(), frame.label()];
  testPointer(frame, pointer, present, absent);
  const whenPresent = (): Operand => {
    const there = { ...pointer, nullable: false, tests: null };
    if (left.type !== 'OptionalMemberExpression') return there;
    return readOperand(frame, left, memberOf(frame, left, there));
  };
  return choose(frame, node, [
    { node: left, label: present, work: whenPresent },
    { node: node.right, label: absent, work: () => frame.value(node.right) },
  ]);
}

function logical(frame: Frame, node: ExpressionOf<'LogicalExpression'>): Operand {
  if (node.operator === '??') return coalesce(frame, node);
  if (isBoolean(node)) return conditionValue(frame, node);
  const left = frame.value(node.left);
  const [further, done] = [frame.label(), frame.label()];
  if (node.operator === '&&') testOperand(frame, node.left, left, further, done);
  else testOperand(frame, node.left, left, done, further);
  return choose(frame, node, [
    { node: node.left, label: done, work: () => left },
    { node: node.right, label: further, work: () => frame.value(node.right) },
  ]);
}

function conditional(frame: Frame, node: ExpressionOf<'ConditionalExpression'>, expected: Type | null): Operand {
  const [whenTrue, whenFalse] = [frame.label(), frame.label()];
  condition(frame, node.test, whenTrue, whenFalse);
  return choose(frame, node, [
    { node: node.consequent, label: whenTrue, work: () => frame.value(node.consequent, expected) },
    { node: node.alternate, label: whenFalse, work: () => frame.value(node.alternate, expected) },
  ]);
}

/** Lowers an expression. */
export function expression(frame: Frame, whole: Expression, expected: Type | null): Operand {
  const node = bare(whole);
  const literal = literalOf(node);
  if (literal !== null) return literal;
  frame.at(node);
  switch (node.type) {
    case 'Identifier':
      return identifier(frame, node);
    case 'UnaryExpression':
      return unary(frame, node);
    case 'BinaryExpression':
      return binary(frame, node);
    case 'LogicalExpression':
      return logical(frame, node);
    case 'ConditionalExpression':
      return conditional(frame, node, expected);
    case 'AssignmentExpression':
      return assignment(frame, node);
    case 'UpdateExpression':
      return update(frame, node);
    case 'MemberExpression':
    case 'OptionalMemberExpression':
      return member(frame, node);
    case 'CallExpression':
      return call(frame, node);
    case 'ObjectExpression':
    case 'ArrayExpression':
      if (expected === null) {
        refuse(
          node,
          'the type of this literal is not known',
          'write local(Type, {…}), or pass it where a type is expected',
        );
      }
      return temporary(frame, node, expected);
    default: {
      const [what, advice] = refused[node.type] ?? [node.type, 'see the reference of the language'];
      return refuse(node, `${what} is not supported`, advice);
    }
  }
}

/** What an operand's value is: places are read. */
export function readOperand(frame: Frame, node: Located, operand: Operand): Operand {
  return operand.kind === 'place' ? load(frame, node, operand) : operand;
}
