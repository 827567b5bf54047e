/**
 * Room `bpf`: where several ways meet with a value each: `?:`, `&&`, the returns of a function.
 *
 * A newcomer would get wrong: the ways have been lowered up to their ends and stand there open. Only here, where all operands are known,
 * is the common type chosen, and one way alone keeps its operand as it is, constants and untested packet pointers included.
 */
import { BOOLEAN, type BooleanType, type IntegerType } from '../../types.ts';
import type { Variable } from '../builder.ts';
import { type Located, refuse } from '../diagnostics.ts';
import { commonType, convert, operandOf, promote } from './arithmetic.ts';
import type { Exit, Frame } from './frame.ts';
import type { Annotation } from './types.ts';
import {
  computed,
  describe,
  isScalarType,
  known,
  NOTHING,
  NULL,
  type Operand,
  type Pointer,
  type Scalar,
} from './values.ts';

/** Ends a way here, to be joined later. */
export function leave(frame: Frame, node: Located, operand: Operand): Exit | null {
  const { builder, facts, packet } = frame;
  const block = builder.current;
  builder.current = null;
  return block === null ? null : { operand, block, facts, packet, node };
}

function resume(frame: Frame, exit: Exit): void {
  frame.builder.current = exit.block;
  frame.facts = exit.facts;
  frame.packet = exit.packet;
}

/** The type in which numbers of several ways meet. */
export function commonScalarType(scalars: readonly Scalar[]): IntegerType | BooleanType {
  if (scalars.every((one) => one.type.kind === 'boolean')) return BOOLEAN;
  // What counts of an operand here is its type, and its value where it is a literal.
  const [first, ...rest] = scalars.map((one) => (one.literal ? one : known(one.type, 0n)));
  let met = first;
  for (const next of rest) met = known(commonType(met, next), 0n, met.literal && next.literal);
  return promote(met.type);
}

function joinScalars(
  frame: Frame,
  exits: readonly Exit[],
  scalars: readonly Scalar[],
  wanted: Annotation | null,
): Operand {
  const { builder } = frame;
  const declared = wanted?.type ?? null;
  const type = declared !== null && isScalarType(declared) ? declared : commonScalarType(scalars);
  const variable: Variable = { name: 'result', space: 'scalar' };
  const end = frame.label();
  let [low, high]: [bigint | null, bigint | null] = [null, null];
  for (const [index, exit] of exits.entries()) {
    resume(frame, exit);
    frame.at(exit.node);
    const converted = convert(builder, scalars[index], type);
    builder.write(variable, operandOf(builder, converted, 64));
    low = low === null || converted.low < low ? converted.low : low;
    high = high === null || converted.high > high ? converted.high : high;
    frame.jump(end);
  }
  frame.enter(end);
  const host = convert(null, known(type, 0n), type).type;
  return computed(host, builder.read(variable), [low ?? 0n, high ?? 0n]);
}

function samePointers(node: Located, one: Pointer, other: Pointer): void {
  const isSame = one.type === other.type || describe(one) === describe(other);
  if (!isSame || one.boxed !== other.boxed) {
    refuse(node, `${describe(one)} and ${describe(other)} cannot be in one variable`, 'their types must be the same');
  }
  if (one.space !== other.space) {
    refuse(node, `this points into ${other.space} in one case and into ${one.space} in another`, 'use two variables');
  }
}

/** A pointer whose variable was only null when it was read, as in a loop, leads where that has led since. */
function asKnownNow(pointer: Pointer): Pointer {
  const shape = pointer.binding?.variable?.shape;
  return pointer.space === 'scalar' && shape?.kind === 'pointer' ? { ...pointer, space: shape.space } : pointer;
}

function joinPointers(frame: Frame, exits: readonly Exit[]): Operand {
  const { builder } = frame;
  let shape: Pointer | null = null;
  for (const { operand, node } of exits) {
    if (operand.kind !== 'pointer') continue;
    const pointer = asKnownNow(operand);
    if (shape !== null) samePointers(node, shape, pointer);
    shape ??= pointer;
  }
  const space = shape?.space ?? 'scalar';
  const variable: Variable = { name: shape?.binding?.name ?? 'pointer', space };
  const end = frame.label();
  let nullable = false;
  for (const exit of exits) {
    resume(frame, exit);
    frame.at(exit.node);
    const { operand } = exit;
    if (operand.kind === 'pointer') {
      nullable ||= frame.nullness(operand) !== 'present';
      builder.write(variable, frame.settle(operand));
    } else {
      nullable = true;
      builder.write(variable, builder.constant(0));
    }
    frame.jump(end);
  }
  frame.enter(end);
  if (shape === null) return NULL;
  const core = shape.type.kind === 'struct' && shape.type.relocatable ? { struct: shape.type, path: [] } : null;
  return { ...shape, address: builder.read(variable), offset: 0, nullable, tests: null, binding: null, core };
}

/** Goes on where all the ways meet. @returns what their operands are there */
export function join(frame: Frame, node: Located, exits: readonly Exit[], wanted: Annotation | null = null): Operand {
  if (exits.length === 0) {
    frame.builder.current = null;
    return NOTHING;
  }
  if (exits.length === 1) {
    resume(frame, exits[0]);
    const { operand } = exits[0];
    const type = wanted?.type ?? null;
    const converts = operand.kind === 'scalar' && type !== null && isScalarType(type);
    return converts ? convert(frame.builder, operand, type) : operand;
  }
  const all = exits.map((exit) => exit.operand);
  const scalars = all.filter((operand) => operand.kind === 'scalar');
  if (scalars.length === all.length) return joinScalars(frame, exits, scalars, wanted);
  if (all.every((operand) => operand.kind === 'pointer' || operand.kind === 'null')) return joinPointers(frame, exits);
  const odd = all.find((operand) => operand.kind !== all[0].kind);
  if (odd !== undefined) {
    refuse(
      node,
      `this is ${describe(all[0])} in one case and ${describe(odd)} in another`,
      'give the same in all cases',
    );
  }
  const end = frame.label();
  for (const exit of exits) {
    resume(frame, exit);
    frame.jump(end);
  }
  frame.enter(end);
  return all[0];
}
