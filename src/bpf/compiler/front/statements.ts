/**
 * Room `bpf`: statements, except loops.
 *
 * A newcomer would get wrong: a refusal ends one statement, not the function. Its names are declared as broken, so that what uses them is
 * not reported again.
 */

import { VOID } from '../../types.ts';
import { type Located, refuse } from '../diagnostics.ts';
import { compare, convert, promote } from './arithmetic.ts';
import { condition } from './conditions.ts';
import type { Frame, Label } from './frame.ts';
import { leave } from './join.ts';
import { doWhileStatement, forOf, forStatement, whileStatement } from './loops.ts';
import { fieldPlace } from './members.ts';
import { kernelPointer } from './memory.ts';
import { nameOfStatement } from './modules.ts';
import {
  bare,
  type Declarator,
  type Expression,
  type ExpressionOf,
  elementsOf,
  type Statement,
  type StatementNode,
  type VariableDeclaration,
} from './syntax.ts';
import { type Annotation, annotated } from './types.ts';
import {
  type Binding,
  BROKEN,
  describe,
  isScalarType,
  known,
  NOTHING,
  type Operand,
  pointerTo,
  type Scalar,
} from './values.ts';

/** Words for refused statements, beside what {@link nameOfStatement} says. */
const advice: Partial<Record<Statement['type'], string>> = {
  ThrowStatement: 'return an error code',
  TryStatement: 'nothing throws in the kernel: test what is returned',
  ClassDeclaration: 'use struct({…}) and functions',
  ForInStatement: 'write for (const i of range(n))',
  FunctionDeclaration: 'declare it at the top of the module',
};

function listOf(frame: Frame, node: ExpressionOf<'ArrayExpression'>): Operand {
  const elements = elementsOf(node).map((one) => {
    const operand = frame.value(one);
    const isKnown = operand.kind === 'scalar' ? operand.constant !== null : operand.kind !== 'pointer';
    if (isKnown && operand.kind !== 'void') return operand;
    return refuse(one, 'a list of the source has only what is known when compiling', 'write local(array(u32, 2), […])');
  });
  return { kind: 'list', elements };
}

function initialValue(frame: Frame, node: Declarator, annotation: Annotation | null): Operand | null {
  if (node.init === null || node.init === undefined) return null;
  const init = bare(node.init);
  // Without a type it is a list of the source, of what is known now.
  const isList = init.type === 'ArrayExpression' && annotation === null;
  const operand = isList ? listOf(frame, init) : frame.value(init, annotation?.type ?? null);
  const type = annotation?.type ?? null;
  if (operand.kind === 'scalar' && type !== null && isScalarType(type)) return convert(frame.builder, operand, type);
  if (operand.kind === 'void') refuse(node.init, 'this gives nothing', 'call it as a statement');
  // What a helper's pointer into the kernel leads to says the annotation alone: const task: Task = bpf_get_current_task_btf().
  if (operand.kind === 'pointer' && operand.space === 'kernel' && operand.type.kind === 'void' && type !== null) {
    return { ...operand, ...kernelPointer(type, false), type };
  }
  return operand;
}

/** A variable that is assigned to. */
function declareVariable(
  frame: Frame,
  node: Declarator,
  name: string,
  annotation: Annotation | null,
  initial: Operand | null,
): void {
  const type = annotation?.type ?? null;
  if (type !== null && isScalarType(type) && annotation?.boxed === false) {
    const binding = frame.variable(node, name, known(type, 0n));
    frame.write(node, binding, initial ?? known(type, 0n));
    return;
  }
  if (initial === null) {
    if (type === null) refuse(node, `the type of ${name} is not known`, `write let ${name}: u32, or give it a value`);
  }
  if (initial?.kind === 'scalar') {
    const shape = initial.type.kind === 'boolean' ? initial : { ...initial, type: promote(initial.type) };
    frame.write(node, frame.variable(node, name, shape), initial);
    return;
  }
  if (initial !== null && initial.kind !== 'pointer' && initial.kind !== 'null') {
    refuse(node, `${describe(initial)} cannot be in a variable`, 'declare it with const');
  }
  const pointer = initial?.kind === 'pointer' ? initial : null;
  const isBoxed = annotation?.boxed ?? (type !== null && type.kind !== 'struct');
  const shape = pointer ?? pointerTo(type ?? VOID, frame.builder.constant(0), 'scalar', { boxed: isBoxed });
  const nullable = shape.nullable || annotation?.nullable === true || pointer === null;
  const binding = frame.variable(node, name, { ...shape, nullable, tests: null, offset: 0, binding: null });
  frame.write(node, binding, initial ?? { kind: 'null' });
}

/** `const { source, port } = flow`. */
function destructure(frame: Frame, node: Declarator, operand: Operand | null): void {
  const { id } = node;
  if (id.type !== 'ObjectPattern') return;
  if (operand?.kind !== 'pointer' || operand.type.kind !== 'struct' || operand.boxed) {
    refuse(node, 'only a struct has fields to take out', 'declare one name at a time');
  }
  frame.present(node, operand);
  for (const property of id.properties) {
    const isPlain = property.type === 'ObjectProperty' && property.key.type === 'Identifier' && !property.computed;
    if (!isPlain || property.value.type !== 'Identifier') {
      refuse(property, 'this form of destructuring is not supported', 'write { field } or { field: name }');
    }
    const { name } = property.key as { name: string };
    frame.bind(
      property,
      property.value.name,
      frame.rules.value(frame, property, fieldPlace(property, operand, name, name)),
    );
  }
}

function declareOne(frame: Frame, node: Declarator, isConstant: boolean): void {
  const { id } = node;
  if (id.type === 'ArrayPattern') {
    refuse(id, 'this form of destructuring is not supported', 'declare one name at a time');
  }
  if (id.type !== 'Identifier') {
    const operand = initialValue(frame, node, null);
    destructure(frame, node, operand);
    return;
  }
  const annotation = annotated(frame.unit, frame.module, id);
  const initial = initialValue(frame, node, annotation);
  const varies = !isConstant && (initial === null || frame.assigned.has(id.name));
  if (varies) {
    declareVariable(frame, node, id.name, annotation, initial);
    return;
  }
  if (initial === null) refuse(node, `${id.name} has no value`);
  const named = !isConstant && initial.kind === 'scalar' && initial.literal ? { ...initial, literal: true } : initial;
  frame.bind(node, id.name, named);
}

/** `const` and `let`. */
export function declareVariables(frame: Frame, node: VariableDeclaration): void {
  if (node.kind !== 'const' && node.kind !== 'let') {
    refuse(node, `“${node.kind}” is not supported`, 'write const or let');
  }
  for (const declarator of node.declarations) {
    try {
      frame.at(declarator);
      declareOne(frame, declarator, node.kind === 'const');
    } catch (error) {
      frame.unit.report(error, declarator);
      breakNames(frame, declarator);
    }
  }
}

function breakNames(frame: Frame, node: Declarator): void {
  const { id } = node;
  const names: string[] = [];
  if (id.type === 'Identifier') names.push(id.name);
  if (id.type === 'ObjectPattern') {
    for (const property of id.properties) {
      if (property.type === 'ObjectProperty' && property.value.type === 'Identifier') names.push(property.value.name);
    }
  }
  if (id.type === 'ArrayPattern') {
    for (const element of id.elements) if (element?.type === 'Identifier') names.push(element.name);
  }
  for (const name of names) {
    const binding: Binding = { name, operand: BROKEN, variable: null };
    frame.scope.names.set(name, binding);
  }
}

function ifStatement(frame: Frame, node: StatementNode<'IfStatement'>): void {
  const [whenTrue, whenFalse, end] = [frame.label(), frame.label(), frame.label()];
  condition(frame, node.test, whenTrue, whenFalse);
  frame.enter(whenTrue);
  if (frame.isReached) frame.scoped(() => statement(frame, node.consequent));
  frame.jump(end);
  frame.enter(whenFalse);
  const { alternate } = node;
  if (frame.isReached && alternate) frame.scoped(() => statement(frame, alternate));
  frame.jump(end);
  frame.enter(end);
}

interface Case {
  readonly node: StatementNode<'SwitchStatement'>['cases'][number];
  readonly label: Label;
}

/** Where each value of a switch leads. */
function dispatch(
  frame: Frame,
  node: StatementNode<'SwitchStatement'>,
  cases: readonly Case[],
  otherwise: Label,
): void {
  const subject = frame.scalar(node.discriminant);
  const seen = new Set<bigint>();
  for (const { node: one, label } of cases) {
    const { test } = one;
    if (test === null || test === undefined) continue;
    const value: Scalar = frame.scalar(test);
    if (value.constant !== null) {
      if (seen.has(value.constant)) refuse(test, `the case ${value.constant} is there twice`, 'remove one of them');
      seen.add(value.constant);
    }
    frame.at(test);
    const next = frame.label();
    frame.branch(compare(frame.builder, '===', subject, value), label, next);
    frame.enter(next);
    if (!frame.isReached) return;
  }
  frame.jump(otherwise);
}

function switchStatement(frame: Frame, node: StatementNode<'SwitchStatement'>): void {
  const end = frame.label();
  const cases = node.cases.map((one): Case => ({ node: one, label: frame.label() }));
  const otherwise = cases.find((one) => one.node.test === null || one.node.test === undefined)?.label ?? end;
  dispatch(frame, node, cases, otherwise);
  frame.targets.push({ names: takeLabels(frame), end, next: null });
  for (const { node: one, label } of cases) {
    // A case that does not end with break goes on in the next.
    frame.jump(label);
    frame.enter(label);
    if (frame.isReached) frame.scoped(() => statements(frame, one.consequent));
  }
  frame.jump(end);
  frame.targets.pop();
  frame.enter(end);
}

/** The labels of the source that stand before this statement. */
function takeLabels(frame: Frame): string[] {
  const { labels } = frame;
  frame.labels = [];
  return labels;
}

function labeled(frame: Frame, node: StatementNode<'LabeledStatement'>): void {
  frame.labels = [...frame.labels, node.label.name];
  if (/^(?:For|While|DoWhile|Switch|Labeled)/.test(node.body.type)) {
    statement(frame, node.body);
    return;
  }
  const end = frame.label();
  frame.targets.push({ names: takeLabels(frame), end, next: null });
  frame.scoped(() => statement(frame, node.body));
  frame.jump(end);
  frame.targets.pop();
  frame.enter(end);
}

function goTo(frame: Frame, node: StatementNode<'BreakStatement'> | StatementNode<'ContinueStatement'>): void {
  const name = node.label?.name ?? null;
  const isContinue = node.type === 'ContinueStatement';
  const isPlainBlock = (one: Frame['targets'][number]): boolean => one.next === null && one.names.length > 0;
  const target = frame.targets.findLast((one) => {
    if (isContinue && one.next === null) return false;
    return name === null ? isContinue || !isPlainBlock(one) : one.names.includes(name);
  });
  if (target === undefined) refuse(node, name === null ? 'there is no loop here' : `there is no loop ${name} here`);
  frame.jump(isContinue && target.next !== null ? target.next : target.end);
}

function returnStatement(frame: Frame, node: StatementNode<'ReturnStatement'>): void {
  const operand = node.argument ? frame.value(node.argument, frame.result) : NOTHING;
  const exit = leave(frame, node, operand);
  if (exit !== null) frame.exits.push(exit);
}

function expressionStatement(frame: Frame, node: StatementNode<'ExpressionStatement'>): void {
  frame.discarded = node.expression;
  const operand = frame.expression(node.expression as Expression);
  frame.discarded = null;
  if (operand.kind === 'pointer' && operand.release !== null) {
    refuse(node, 'what this gives must be given back', `keep it, test it, and call ${operand.release}`);
  }
}

/** Lowers one statement. */
function statement(frame: Frame, node: Statement): void {
  frame.at(node);
  switch (node.type) {
    case 'BlockStatement':
      frame.scoped(() => statements(frame, node.body));
      return;
    case 'VariableDeclaration':
      declareVariables(frame, node);
      return;
    case 'ExpressionStatement':
      expressionStatement(frame, node);
      return;
    case 'IfStatement':
      ifStatement(frame, node);
      return;
    case 'ReturnStatement':
      returnStatement(frame, node);
      return;
    case 'SwitchStatement':
      switchStatement(frame, node);
      return;
    case 'WhileStatement':
      whileStatement(frame, node, takeLabels(frame), statement);
      return;
    case 'DoWhileStatement':
      doWhileStatement(frame, node, takeLabels(frame), statement);
      return;
    case 'ForStatement':
      forStatement(frame, node, takeLabels(frame), statement);
      return;
    case 'ForOfStatement':
      forOf(frame, node, takeLabels(frame), statement);
      return;
    case 'BreakStatement':
    case 'ContinueStatement':
      goTo(frame, node);
      return;
    case 'LabeledStatement':
      labeled(frame, node);
      return;
    case 'EmptyStatement':
    case 'TSTypeAliasDeclaration':
    case 'TSInterfaceDeclaration':
      return;
    default:
      refuse(node as Located, `${nameOfStatement(node)} is not supported in a function`, advice[node.type] ?? null);
  }
}

/** Lowers statements one after another, up to where control ends. */
export function statements(frame: Frame, nodes: readonly Statement[]): void {
  for (const node of nodes) {
    if (!frame.isReached) return;
    const { scope, targets } = frame;
    const depth = targets.length;
    try {
      statement(frame, node);
    } catch (error) {
      frame.unit.report(error, node);
      // Nothing is generated from here on; lowering goes on only to find what else is wrong.
      frame.scope = scope;
      frame.targets.length = depth;
      frame.labels = [];
      if (!frame.isReached) frame.enterAfresh();
    }
  }
}
