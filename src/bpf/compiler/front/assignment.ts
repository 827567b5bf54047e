/**
 * Room `bpf`: `=`, `+=` and kin, `++` and `--`.
 *
 * A newcomer would get wrong: assigning a struct copies its bytes where the target is a place, and only re-points where the target is a
 * variable, as in JavaScript.
 */

import { I32 } from '../../types.ts';
import { type Located, refuse, refuseSilently } from '../diagnostics.ts';
import * as arithmetic from './arithmetic.ts';
import { isQuiet } from './conditions.ts';
import { arithmeticOperator } from './constants.ts';
import type { Frame } from './frame.ts';
import { assign, store } from './memory.ts';
import { bare, type Expression, type ExpressionOf } from './syntax.ts';
import { adviceOnNumber, type Binding, describe, known, type Operand, type Place, type Scalar } from './values.ts';

type Target =
  | { readonly kind: 'binding'; readonly binding: Binding }
  | { readonly kind: 'place'; readonly place: Place };

function target(frame: Frame, whole: Expression): Target {
  const node = bare(whole);
  if (node.type === 'Identifier') {
    const binding = frame.find(node.name);
    if (binding?.operand?.kind === 'broken') refuseSilently();
    if (binding !== null) return { kind: 'binding', binding };
    const operand = frame.unit.valueOf(frame.module, node.name, node);
    if (operand?.kind === 'global') refuse(node, `${node.name} is a global`, `write ${node.name}.value = …`);
    refuse(
      node,
      operand === null ? `${node.name} is not declared` : `${node.name} is a constant`,
      'declare it with let',
    );
  }
  const operand = frame.expression(node);
  if (operand.kind === 'place') return { kind: 'place', place: operand };
  return refuse(node, `${describe(operand)} cannot be assigned to`);
}

function write(frame: Frame, node: Located, to: Target, operand: Operand): void {
  if (to.kind === 'binding') frame.write(node, to.binding, frame.rules.value(frame, node, operand));
  else assign(frame, node, to.place, operand);
}

/** The number that a target holds. */
function valueIn(frame: Frame, node: Located, to: Target): Scalar {
  const value = to.kind === 'binding' ? frame.read(to.binding) : frame.rules.value(frame, node, to.place);
  if (value.kind === 'scalar') return value;
  return refuse(node, `${describe(value)} is no number`, adviceOnNumber(value, 'arithmetic is for numbers'));
}

/** `target operator= by`. `held`: what the target holds, where it was read already. @returns the value before and after */
function change(
  frame: Frame,
  node: Located,
  to: Target,
  operator: arithmetic.Operator,
  by: Scalar,
  held: Scalar | null = null,
): readonly [Scalar, Scalar] {
  const before = held ?? valueIn(frame, node, to);
  const after = arithmetic.binary(frame.builder, node, operator, before, by);
  if (to.kind === 'binding') frame.write(node, to.binding, after);
  else store(frame, node, to.place, after);
  return [before, after];
}

export function assignment(frame: Frame, node: ExpressionOf<'AssignmentExpression'>): Operand {
  const { left, operator } = node;
  if (left.type === 'ObjectPattern' || left.type === 'ArrayPattern') {
    refuse(left, 'destructuring into variables is not supported', 'assign one after the other');
  }
  const to = target(frame, left as Expression);
  if (operator === '=') {
    const expected = to.kind === 'place' ? to.place.type : (to.binding.variable?.shape.type ?? null);
    const operand = frame.expression(node.right, expected);
    frame.at(node);
    write(frame, node, to, operand);
    return to.kind === 'binding' ? frame.read(to.binding) : operand;
  }
  const plain = arithmeticOperator(operator.slice(0, -1));
  if (plain === null) refuse(node, `“${operator}” is not supported`, 'write it as an if');
  // As in JavaScript, what the target holds is read before the right side runs.
  const before = isQuiet(node.right) ? null : valueIn(frame, node, to);
  const by = frame.scalar(node.right);
  frame.at(node);
  return change(frame, node, to, plain, by, before)[1];
}

export function update(frame: Frame, node: ExpressionOf<'UpdateExpression'>): Operand {
  const to = target(frame, node.argument as Expression);
  const one = known(I32, 1n, true);
  const [before, after] = change(frame, node, to, node.operator === '++' ? '+' : '-', one);
  return node.prefix ? after : before;
}
