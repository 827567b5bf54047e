/**
 * Room `bpf`: functions of the source: inlined where they are called, or compiled as BPF subprograms.
 *
 * A newcomer would get wrong: a subprogram is compiled once for each combination of what its arguments are (which map, which memory), as
 * the verifier, too, looks at a static function anew for each caller. So generic functions need no types.
 */
import { BPF_F_SLEEPABLE } from '../../../kernel/bpf-attributes.ts';
import { type PointerType, type Type, VOID } from '../../types.ts';
import { Builder } from '../builder.ts';
import { type Located, refuse } from '../diagnostics.ts';
import type { Space, Value } from '../ir.ts';
import { convert, operandOf, promote } from './arithmetic.ts';
import type { FunctionEntity, Module } from './entities.ts';
import { type Exit, Frame } from './frame.ts';
import { join, leave } from './join.ts';
import { assignedIn, callsOf, sizeOf } from './scan.ts';
import type { Expression, FunctionNode, Parameter } from './syntax.ts';
import { type Annotation, annotated, annotationOf } from './types.ts';
import type { Unit } from './unit.ts';
import {
  computed,
  describe,
  hostType,
  isScalarType,
  known,
  NOTHING,
  type Operand,
  type Pointer,
  type Scalar,
} from './values.ts';

/** Nodes of the syntax up to which a function that is called several times is still inlined. */
const INLINE_SIZE_MAX = 160;
/** Nodes that a function takes in of others; beyond that they are called. Functions that call each other twice double at each step. */
const INLINED_NODES_MAX = 20_000;
/** Arguments of a BPF function: registers 1 to 5. */
const ARGUMENTS_MAX = 5;

/** A compiled subprogram. */
interface Instance {
  readonly name: string;
  /** What it gives, without a value. */
  readonly result: Operand;
  readonly movesPacket: boolean;
}

const instances = new WeakMap<Unit, Map<string, Instance>>();
const identities = new WeakMap<object, number>();
let nextIdentity = 1;

function identityOf(value: object): number {
  const known = identities.get(value);
  if (known !== undefined) return known;
  identities.set(value, nextIdentity);
  return nextIdentity++;
}

/** What a function's result is annotated with; null without an annotation. */
function resultAnnotation(unit: Unit, module: Module, node: FunctionNode): Annotation | null {
  const { returnType } = node;
  if (returnType?.type !== 'TSTypeAnnotation') return null;
  return annotationOf(unit, module, returnType.typeAnnotation);
}

/** Gives a parameter its name and value in the current scope. */
export function bindParameter(frame: Frame, parameter: Parameter, operand: Operand | null): void {
  const isDefault = parameter.type === 'AssignmentPattern';
  const target = isDefault ? parameter.left : parameter;
  if (target.type === 'RestElement') {
    refuse(parameter, 'rest parameters (…) are not supported', 'declare each by its name, or pass a struct');
  }
  if (target.type !== 'Identifier') {
    refuse(parameter, 'this form of parameter is not supported', 'give it a name, and read its fields in the body');
  }
  const given = operand ?? (isDefault ? frame.value(parameter.right) : null);
  if (given === null) refuse(parameter, `${target.name} is not passed`);
  const declared = annotated(frame.unit, frame.module, target)?.type ?? null;
  const type = declared !== null && isScalarType(declared) ? declared : null;
  const converted = given.kind === 'scalar' && type !== null ? convert(frame.builder, given, type) : given;
  if (!frame.assigned.has(target.name)) {
    frame.bind(target, target.name, converted);
    return;
  }
  if (converted.kind !== 'scalar' && converted.kind !== 'pointer') {
    refuse(target, `${target.name} cannot be assigned to`, 'it stands for something known when compiling');
  }
  const shape =
    converted.kind === 'scalar'
      ? { ...converted, type: type ?? promote(converted.type) }
      : { ...converted, tests: null };
  frame.write(target, frame.variable(target, target.name, shape), converted);
}

/** Lowers a function's body in the current scope. @returns its exits, of which the last may be its end */
export function lowerBody(frame: Frame, node: FunctionNode): Exit[] {
  if (node.async) refuse(node, '“async” is not supported', 'nothing waits in the kernel');
  if (node.generator) refuse(node, 'generators are not supported', 'use a loop');
  const { exits, result } = frame;
  frame.exits = [];
  frame.result = resultAnnotation(frame.unit, frame.module, node)?.type ?? null;
  const { body } = node;
  try {
    let operand = NOTHING;
    if (body.type === 'BlockStatement') frame.scoped(() => frame.rules.statements(frame, body.body));
    else operand = frame.value(body, frame.result);
    const end = leave(frame, body, operand);
    return end === null ? frame.exits : [...frame.exits, end];
  } finally {
    frame.exits = exits;
    frame.result = result;
  }
}

function checkArguments(node: Located, entity: FunctionEntity, count: number): void {
  const { params } = entity.node;
  const optional = params.find((one) => one.type === 'Identifier' && one.optional);
  if (optional !== undefined) refuse(optional, '“?” is not supported', 'give the parameter a default: n: u32 = 0');
  const needed = params.filter((one) => one.type !== 'AssignmentPattern').length;
  if (count < needed || count > params.length)
    refuse(
      node,
      `${entity.name} takes ${params.length} ${params.length === 1 ? 'argument' : 'arguments'}, not ${count}`,
    );
}

/** Lowers the body in the place of the call. */
function inline(frame: Frame, node: Located, entity: FunctionEntity, values: readonly Operand[]): Operand {
  const { module, scope, targets, labels, assigned, calling } = frame;
  frame.module = entity.module;
  frame.scope = { parent: null, names: new Map() };
  frame.targets = [];
  frame.labels = [];
  frame.assigned = assignedIn(entity.node);
  frame.calling = [...calling, entity];
  try {
    for (const [index, parameter] of entity.node.params.entries())
      bindParameter(frame, parameter, values[index] ?? null);
    const exits = lowerBody(frame, entity.node);
    return join(frame, node, exits, resultAnnotation(frame.unit, entity.module, entity.node));
  } finally {
    Object.assign(frame, { module, scope, targets, labels, assigned, calling });
  }
}

/** A pointer to this type, as BTF describes it. */
export const pointerType = (target: Type): PointerType => ({ kind: 'pointer', target: () => target });

/** How an operand crosses a call: as a register, or not at all, because it is known when compiling. */
interface Crossing {
  readonly key: string;
  readonly type: Type | null;
  readonly space: Space;
}

function crossingOf(frame: Frame, operand: Operand): Crossing {
  if (operand.kind === 'scalar') {
    const type = hostType(operand.type);
    return { key: type.kind === 'integer' ? type.name : type.kind, type, space: 'scalar' };
  }
  if (operand.kind === 'pointer') {
    const { space, boxed, type, map } = operand;
    const state = frame.nullness(operand);
    const parts = [space, boxed, identityOf(type), state, operand.writable, map === null ? 0 : identityOf(map)];
    return { key: parts.join('/'), type: pointerType(type), space };
  }
  if (operand.kind === 'null' || operand.kind === 'void') return { key: operand.kind, type: null, space: 'scalar' };
  const entity = Object.values(operand).find((value) => typeof value === 'object' && value !== null);
  return {
    key: `#${entity === undefined ? JSON.stringify(operand) : identityOf(entity)}`,
    type: null,
    space: 'scalar',
  };
}

const isNullable = (frame: Frame, operand: Operand): boolean =>
  operand.kind === 'pointer' && frame.nullness(operand) !== 'present';

/** An argument as the subprogram sees it. */
function parameterOperand(frame: Frame, operand: Operand, value: Value, nullable: boolean): Operand {
  if (operand.kind === 'scalar') return computed(hostType(operand.type), value);
  if (operand.kind !== 'pointer') return operand;
  const { packet, type } = operand;
  return {
    ...operand,
    address: value,
    offset: 0,
    alignment: operand.offset === 0 ? operand.alignment : 1,
    core: type.kind === 'struct' && type.relocatable ? { struct: type, path: [] } : null,
    nullable,
    tests: null,
    binding: null,
    packet: packet === null ? null : frame.packet,
  };
}

/** Ends each way of a function with its own return: joining them first would cost a jump. */
export function returnAll(
  frame: Frame,
  exits: readonly Exit[],
  of: (operand: Operand, node: Located) => Value | null,
): void {
  for (const exit of exits) {
    frame.builder.current = exit.block;
    frame.facts = exit.facts;
    frame.packet = exit.packet;
    frame.at(exit.node);
    frame.builder.return(of(exit.operand, exit.node));
  }
}

function resultShape(frame: Frame, exits: readonly Exit[], annotation: Annotation | null): Operand {
  const declared = annotation?.type ?? null;
  if (declared !== null && isScalarType(declared)) return known(declared, 0n);
  const pointer = exits.map((exit) => exit.operand).find((operand) => operand.kind === 'pointer');
  if (pointer !== undefined) {
    const nullable = exits.some(({ operand, facts }) => {
      frame.facts = facts;
      return operand.kind !== 'pointer' || frame.nullness(operand) !== 'present';
    });
    return { ...pointer, nullable, tests: null, binding: null, offset: 0, packet: null };
  }
  const scalars = exits.map((exit) => exit.operand).filter((operand) => operand.kind === 'scalar');
  if (scalars.length === 0) return NOTHING;
  const [first, ...rest] = scalars;
  const type = rest.reduce((met: Scalar['type'], next) => (met === next.type ? met : promote(met)), first.type);
  return { ...first, type, constant: null, literal: false };
}

function compileInstance(
  frame: Frame,
  entity: FunctionEntity,
  values: readonly Operand[],
  crossings: readonly Crossing[],
): Instance {
  const { unit } = frame;
  const name = unit.uniqueName(entity.name);
  const passed = crossings.filter(({ type }) => type !== null);
  const annotation = resultAnnotation(unit, entity.module, entity.node);
  const parameters = passed.map(({ type }, index) => ({
    name: nameOf(entity.node.params[index], index),
    type: type ?? VOID,
  }));
  const signature = { parameters, result: annotation?.type ?? VOID };
  const location = unit.locate(entity.node);
  const builder = new Builder({
    name,
    linkage: 'static',
    location,
    spaces: passed.map(({ space }) => space),
    signature,
  });
  const inner = new Frame(unit, entity.module, builder, frame.rules, { program: frame.program });
  inner.calling = [...frame.calling, entity];
  inner.assigned = assignedIn(entity.node);
  const { packet } = inner;
  let register = 0;
  for (const [index, parameter] of entity.node.params.entries()) {
    const operand = values[index];
    const value =
      operand !== undefined && crossings[index].type !== null ? builder.function.parameters[register++] : null;
    const given =
      operand === undefined
        ? null
        : value === null
          ? operand
          : parameterOperand(inner, operand, value, isNullable(frame, operand));
    bindParameter(inner, parameter, given);
  }
  const exits = lowerBody(inner, entity.node);
  const result = resultShape(inner, exits, annotation);
  const movesPacket = exits.some((exit) => exit.packet !== packet);
  returnAll(inner, exits, (operand, node) => returned(inner, node, operand, result));
  unit.finishFunction(builder);
  return { name, result, movesPacket };
}

function nameOf(parameter: Parameter | undefined, index: number): string {
  const target = parameter?.type === 'AssignmentPattern' ? parameter.left : parameter;
  return target?.type === 'Identifier' ? target.name : `argument${index}`;
}

function returned(frame: Frame, node: Located, operand: Operand, result: Operand): Value | null {
  const { builder } = frame;
  if (result.kind === 'void') return null;
  if (result.kind === 'scalar') {
    const scalar = frame.scalarOf(node, operand);
    return operandOf(builder, convert(builder, scalar, result.type), 64);
  }
  if (operand.kind === 'null') return builder.constant(0);
  if (operand.kind !== 'pointer')
    refuse(node, `${describe(operand)} is returned where other ways return ${describe(result)}`);
  if (operand.space === 'stack')
    refuse(node, 'this lies on the stack of the function that returns', 'let the caller pass local(Type)');
  return frame.settle(operand);
}

/** Calls a function as a subprogram. */
function callSeparate(frame: Frame, node: Located, entity: FunctionEntity, values: readonly Operand[]): Operand {
  const { builder, unit } = frame;
  const crossings = values.map((operand) => crossingOf(frame, operand));
  const passed = values.filter((_, index) => crossings[index].type !== null);
  if (passed.length > ARGUMENTS_MAX) {
    refuse(
      node,
      `${entity.name} has ${passed.length} arguments, ${ARGUMENTS_MAX} fit the registers`,
      'pass some of them in a struct',
    );
  }
  const compiled = instances.get(unit) ?? new Map<string, Instance>();
  instances.set(unit, compiled);
  // Where a program may sleep, the compiler itself may choose a helper that does: arguments of USDT probes.
  const maySleep = ((frame.program?.flags ?? 0) & BPF_F_SLEEPABLE) !== 0;
  const key = [identityOf(entity.node), maySleep, ...crossings.map((one) => one.key)].join('|');
  const instance = compiled.get(key) ?? compileInstance(frame, entity, values, crossings);
  compiled.set(key, instance);
  const registers = passed.map((operand) => {
    if (operand.kind === 'scalar') return operandOf(builder, convert(builder, operand, hostType(operand.type)), 64);
    return frame.settle(operand as Pointer);
  });
  frame.at(node);
  const { result, name, movesPacket } = instance;
  const space = result.kind === 'pointer' ? result.space : 'scalar';
  const value = builder.call({ kind: 'function', name }, registers, space);
  if (movesPacket) frame.packet = {};
  if (result.kind === 'scalar') return computed(hostType(result.type), value);
  if (result.kind !== 'pointer') return NOTHING;
  return { ...result, address: value, packet: result.space === 'packet' ? frame.packet : null };
}

function annotationOfParameter(unit: Unit, entity: FunctionEntity, index: number): Type | null {
  const parameter = entity.node.params[index];
  const target = parameter?.type === 'AssignmentPattern' ? parameter.left : parameter;
  return target === undefined ? null : (annotated(unit, entity.module, target)?.type ?? null);
}

/** Calls a function of the source. */
export function callFunction(
  frame: Frame,
  node: Located,
  entity: FunctionEntity,
  given: readonly Expression[],
): Operand {
  checkArguments(node, entity, given.length);
  if (frame.calling.some((one) => one.node === entity.node)) {
    refuse(node, `${entity.name} calls itself, and the kernel’s stack is small`, 'write a loop');
  }
  const values = given.map((argument, index) => {
    // An object literal is what the parameter says that it is.
    const expected = annotationOfParameter(frame.unit, entity, index);
    return frame.value(argument, expected);
  });
  const { unit } = frame;
  const size = sizeOf(entity.node);
  const isSmall = size <= INLINE_SIZE_MAX && frame.inlinedNodes + size <= INLINED_NODES_MAX;
  const inlines = !entity.separate && (isSmall || callsOf(unit, entity.name) <= 1);
  if (inlines) frame.inlinedNodes += size;
  return inlines ? inline(frame, node, entity, values) : callSeparate(frame, node, entity, values);
}
