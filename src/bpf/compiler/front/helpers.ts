/**
 * Room `bpf`: calls of the kernel's helpers, by their definitions in the library.
 *
 * A newcomer would get wrong: one argument of the language may be two of the kernel's (memory and its size), and what a helper reads must
 * lie in memory: a number that is passed as a key is put on the stack first.
 */
import type { HelperDefinition, HelperParameter } from '../../library/definitions.ts';
import { bytesOf, type Type, U64, VOID } from '../../types.ts';
import { type Located, refuse } from '../diagnostics.ts';
import type { Space, Value } from '../ir.ts';
import { convert, operandOf } from './arithmetic.ts';
import { lowerCallback } from './callbacks.ts';
import type { MapEntity } from './entities.ts';
import type { Frame } from './frame.ts';
import { slotFor, temporary } from './initialise.ts';
import { refuseUnannotated } from './kernel-hints.ts';
import { globalPlace, targetPlace, withoutGlobal } from './members.ts';
import { assign, copy, kernelPointer, load } from './memory.ts';
import { argumentsOf, bare, type Call, type Expression, type FunctionNode } from './syntax.ts';
import {
  computed,
  describe,
  isScalarType,
  NOTHING,
  nameOfType,
  type Operand,
  type Pointer,
  pointerTo,
} from './values.ts';

/** A map as the object of a method; `pointer` for one that was found in another. */
export interface MapOperand {
  readonly entity: MapEntity;
  readonly pointer: Pointer | null;
}

/** What is gathered on the way through a helper's parameters. */
interface Passing {
  readonly frame: Frame;
  readonly node: Call;
  readonly definition: HelperDefinition;
  readonly values: Value[];
  map: MapOperand | null;
  /** The type in place of a size: of what a reservation gives. */
  reserved: Type | null;
  /** A callback, lowered once the type of its context is known. */
  callback: { readonly index: number; readonly node: Expression; readonly parameter: HelperParameter } | null;
}

/** Memory that helpers do not look at by themselves. */
const isUnreachable = (space: Space): boolean => space === 'kernel' || space === 'context' || space === 'arena';

/** Memory that a helper may look at by itself: what it may not is copied to the stack first. */
export function reachable(frame: Frame, node: Located, pointer: Pointer, writes: boolean): Pointer {
  frame.present(node, pointer);
  if (!isUnreachable(pointer.space)) return pointer;
  if (pointer.space === 'arena' && writes) {
    refuse(node, 'helpers do not write into an arena', 'pass local(Type), and copy it there');
  }
  const target = slotFor(frame, node, pointer.type, 'copy');
  copy(frame, node, targetPlace(target, 'this'), pointer);
  return target;
}

/** The address of a value of this type: where it lies, or a copy on the stack. */
function memoryOf(frame: Frame, argument: Expression, type: Type, writes: boolean): Value {
  const node = bare(argument);
  if (node.type === 'ObjectExpression' || node.type === 'ArrayExpression') {
    return frame.addressOf(temporary(frame, node, type));
  }
  const operand = frame.expression(node, type);
  const whole = operand.kind === 'place' && !isScalarType(operand.type) ? load(frame, node, operand) : operand;
  // Where pointers are kept, what is passed is the pointer itself, or memory that holds one.
  const isMemory = whole.kind === 'pointer' && (type.kind !== 'pointer' || whole.type.kind === 'pointer');
  if (isMemory) {
    const isSame = bytesOf(whole.type) === bytesOf(type) && whole.type.kind === type.kind;
    if (!isSame) refuse(node, `${describe(whole)} is passed where ${nameOfType(type)} is wanted`);
    return frame.addressOf(reachable(frame, node, whole, writes));
  }
  if (writes) refuse(node, 'this helper writes here', 'pass local(Type)');
  const target = slotFor(frame, node, type, 'argument');
  assign(frame, node, targetPlace(target, 'this'), whole);
  return frame.addressOf(target);
}

function passKeyOrValue(
  passing: Passing,
  parameter: HelperParameter & { kind: 'key' | 'value' },
  argument: Expression,
): void {
  const { frame, node, map, values } = passing;
  if (parameter.nullable === true && argument.type === 'NullLiteral') {
    values.push(frame.builder.constant(0));
    return;
  }
  const spec = map?.entity.spec;
  const type = parameter.kind === 'key' ? spec?.key : spec?.value;
  if (type === undefined || type === null) {
    refuse(argument, `the ${parameter.kind} of this map has no type`, 'declare the map with one');
  }
  frame.at(node);
  values.push(memoryOf(frame, argument, type, parameter.writes === true));
}

/** Memory and its size. */
function passMemory(passing: Passing, parameter: HelperParameter & { kind: 'memory' }, argument: Expression): void {
  const { frame, values } = passing;
  const { builder } = frame;
  const node = bare(argument);
  if (node.type === 'CallExpression' && node.callee.type === 'Identifier' && node.callee.name === 'slice') {
    const [memory, length] = argumentsOf(node);
    if (memory === undefined || length === undefined) refuse(node, 'slice takes memory and a length');
    const pointer = frame.value(memory);
    if (pointer.kind !== 'pointer') refuse(memory, `${describe(pointer)} is no memory`);
    values.push(frame.addressOf(reachable(frame, memory, pointer, parameter.writes)));
    const taken = frame.scalar(length);
    const most = pointer.type.kind === 'void' ? null : bytesOf(pointer.type);
    if (most !== null && taken.constant !== null && taken.constant > BigInt(most)) {
      refuse(length, `${describe(pointer)} has ${most} bytes, not ${taken.constant}`, 'take fewer of them');
    }
    values.push(operandOf(builder, convert(builder, taken, U64), 64));
    return;
  }
  const operand = withoutGlobal(frame, frame.expression(node, passing.map?.entity.spec.value ?? null));
  if (operand.kind === 'null') {
    if (!parameter.nullable) refuse(node, `${parameter.name} cannot be null here`);
    values.push(builder.constant(0), builder.constant(0));
    return;
  }
  if (operand.kind === 'string') {
    const place = globalPlace(frame, frame.unit.addString(operand.text));
    values.push(frame.addressOf(place), builder.constant(bytesOf(place.type)));
    return;
  }
  const type =
    operand.kind === 'scalar' || operand.kind === 'place' || operand.kind === 'pointer' ? operand.type : null;
  if (type === null)
    refuse(node, `${describe(operand)} is no memory`, 'pass a struct, an array, a Reference or a number');
  values.push(addressOfOperand(frame, node, operand, type, parameter.writes), builder.constant(bytesOf(type)));
}

function addressOfOperand(frame: Frame, node: Expression, operand: Operand, type: Type, writes: boolean): Value {
  const whole = operand.kind === 'place' && !isScalarType(operand.type) ? load(frame, node, operand) : operand;
  if (whole.kind === 'pointer') return frame.addressOf(reachable(frame, node, whole, writes));
  // A number within memory is passed where it lies, so that a helper can write it.
  if (whole.kind === 'place' && whole.bits === null && !isUnreachable(whole.space)) {
    return frame.addressOf(whole);
  }
  if (writes) refuse(node, 'this helper writes here', 'pass local(Type)');
  const target = slotFor(frame, node, type, 'argument');
  assign(frame, node, targetPlace(target, 'this'), whole);
  return frame.addressOf(target);
}

function passStruct(passing: Passing, parameter: HelperParameter & { kind: 'struct' }, argument: Expression): void {
  const { frame } = passing;
  const operand = withoutGlobal(frame, frame.expression(argument));
  const type =
    operand.kind === 'scalar' || operand.kind === 'place' || operand.kind === 'pointer' ? operand.type : null;
  if (type === null) refuse(argument, `${describe(operand)} is no memory`, 'pass a struct or a Reference');
  if (parameter.bytes !== 0 && bytesOf(type) < parameter.bytes) {
    refuse(argument, `${describe(operand)} has ${bytesOf(type)} bytes`, `${parameter.name} has ${parameter.bytes}`);
  }
  passing.values.push(addressOfOperand(frame, argument, operand, type, parameter.writes));
}

function passPointer(passing: Passing, parameter: HelperParameter, argument: Expression, nullable: boolean): void {
  const { frame, values } = passing;
  const operand = frame.value(argument);
  if (operand.kind === 'null') {
    if (!nullable) refuse(argument, `${parameter.name} cannot be null here`);
    values.push(frame.builder.constant(0));
    return;
  }
  refuseUnannotated(frame, argument, operand, null);
  if (operand.kind !== 'pointer') refuse(argument, `${describe(operand)} is no pointer`);
  if (parameter.kind === 'context' && operand.space !== 'context') {
    refuse(argument, `${describe(operand)} is not the program’s context`, 'pass the context');
  }
  values.push(frame.settle(nullable ? operand : frame.present(argument, operand)));
}

/** An address that the helper follows with care: nothing about it needs to be known. */
function passAddress(passing: Passing, argument: Expression): void {
  const { frame, values } = passing;
  const operand = frame.value(argument, U64);
  if (operand.kind === 'pointer') values.push(frame.addressOf(operand));
  else values.push(operandOf(frame.builder, convert(frame.builder, frame.scalarOf(argument, operand), U64), 64));
}

function passMap(passing: Passing, parameter: HelperParameter & { kind: 'map' }, argument: Expression): void {
  const { frame, values, definition } = passing;
  const operand = frame.value(argument);
  if (operand.kind === 'pointer' && operand.map !== null) {
    frame.present(argument, operand);
    passing.map = { entity: operand.map, pointer: operand };
  } else if (operand.kind === 'map') {
    passing.map = { entity: operand.map, pointer: null };
  } else {
    refuse(argument, `${describe(operand)} is no map`);
  }
  const { spec } = passing.map.entity;
  if (parameter.types.length > 0 && !parameter.types.includes(spec.type)) {
    refuse(argument, `${definition.name} does not take ${spec.type} maps`, `it takes ${parameter.types.join(', ')}`);
  }
  values.push(mapValue(frame, passing.map));
}

const mapValue = (frame: Frame, map: MapOperand): Value =>
  map.pointer === null ? frame.builder.mapAddress(map.entity.spec.name) : frame.addressOf(map.pointer);

function passScalar(
  passing: Passing,
  parameter: HelperParameter & { kind: 'scalar' | 'constant' },
  argument: Expression,
): void {
  const { frame, values } = passing;
  const operand = frame.value(argument);
  if (operand.kind === 'type') {
    passing.reserved = operand.type;
    values.push(frame.builder.constant(bytesOf(operand.type)));
    return;
  }
  const scalar = frame.scalarOf(argument, operand);
  if (parameter.kind === 'constant' && scalar.constant === null) {
    refuse(argument, `${parameter.name} must be known when compiling`);
  }
  if (!isScalarType(parameter.type)) refuse(argument, `${parameter.name} is no number`);
  values.push(operandOf(frame.builder, convert(frame.builder, scalar, parameter.type), 64));
}

function pass(passing: Passing, parameter: HelperParameter, argument: Expression): void {
  const { frame, values } = passing;
  switch (parameter.kind) {
    case 'context':
      passPointer(passing, parameter, argument, false);
      return;
    case 'pointer':
      passPointer(passing, parameter, argument, parameter.nullable);
      return;
    case 'scalar':
    case 'constant':
      passScalar(passing, parameter, argument);
      return;
    case 'map':
      passMap(passing, parameter, argument);
      return;
    case 'key':
    case 'value':
      passKeyOrValue(passing, parameter, argument);
      return;
    case 'memory':
      passMemory(passing, parameter, argument);
      return;
    case 'struct':
      passStruct(passing, parameter, argument);
      return;
    case 'address':
      passAddress(passing, argument);
      return;
    case 'callback':
      passing.callback = { index: values.length, node: argument, parameter };
      values.push(frame.builder.constant(0));
      return;
    case 'callbackContext':
      passCallbackContext(passing, argument);
      return;
    case 'string': {
      const operand = frame.value(argument);
      if (operand.kind !== 'string') refuse(argument, `${describe(operand)} is no text`, "write it out: 'text'");
      const place = globalPlace(frame, frame.unit.addString(operand.text));
      values.push(frame.addressOf(place));
      if (parameter.size) values.push(frame.builder.constant(bytesOf(place.type)));
    }
  }
}

function passCallbackContext(passing: Passing, argument: Expression): void {
  const { frame, values } = passing;
  const operand = frame.value(argument);
  const isNull = operand.kind === 'null';
  if (!isNull && operand.kind !== 'pointer') {
    refuse(argument, `${describe(operand)} is no memory`, 'pass null, or local(Type) with what the callback needs');
  }
  values.push(isNull ? frame.builder.constant(0) : frame.settle(frame.present(argument, operand)));
  finishCallback(passing, operand);
}

/** Lowers the callback now that it is known what it is given. */
function finishCallback(passing: Passing, context: Operand): void {
  const { callback, frame, values, map } = passing;
  if (callback === null || callback.parameter.kind !== 'callback') return;
  const node = bare(callback.node);
  let body: { readonly node: FunctionNode; readonly module: Frame['module']; readonly name: string };
  if (node.type === 'ArrowFunctionExpression' || node.type === 'FunctionExpression') {
    body = { node, module: frame.module, name: `${frame.builder.function.name}_callback` };
  } else {
    const operand = frame.expression(node);
    if (operand.kind !== 'function') refuse(node, `${describe(operand)} is no function`);
    body = operand.function;
  }
  const name = lowerCallback(frame, body, callback.parameter.parameters, { context, map: map?.entity ?? null });
  values[callback.index] = frame.builder.functionAddress(name);
  passing.callback = null;
}

function resultOf(passing: Passing, value: () => Value): Operand {
  const { frame, definition, map, reserved } = passing;
  const { result } = definition;
  if (result.kind === 'void') {
    value();
    return NOTHING;
  }
  if (result.kind === 'scalar') {
    if (!isScalarType(result.type)) return NOTHING;
    const wide = computed(result.type, value());
    const isUnsigned32 = result.type.kind === 'integer' && result.type.bytes < 8 && !result.type.signed;
    // The kernel says u32 and gives 64 bits; the verifier knows nothing of the upper ones.
    return isUnsigned32 ? computed(result.type, frame.builder.unary('zext', 4, wide.value as Value)) : wide;
  }
  return pointerResult(passing, value(), map?.entity ?? null, reserved);
}

function pointerResult(passing: Passing, address: Value, map: MapEntity | null, reserved: Type | null): Operand {
  const { result } = passing.definition;
  if (result.kind === 'value') {
    if (map?.inner) return pointerTo(VOID, address, 'map', { nullable: true, map: map.inner });
    const { unit } = passing.frame;
    const { nullable } = result;
    const struct = map?.definition.lookupStruct ?? null;
    if (struct === null) return pointerTo(map?.spec.value ?? VOID, address, 'mapValue', { nullable });
    const type = unit.structNamed(struct) ?? VOID;
    const release = struct === 'bpf_sock' ? 'bpf_sk_release' : null;
    return pointerTo(type, address, 'kernel', { nullable, writable: false, context: unit.viewOf(type), release });
  }
  if (result.kind !== 'pointer') return NOTHING;
  const { space, struct, nullable, release } = result;
  const type = reserved ?? (struct === null ? VOID : (passing.frame.unit.structNamed(struct) ?? VOID));
  const view = passing.frame.unit.viewOf(type);
  const writable = reserved !== null;
  return pointerTo(type, address, space, {
    ...(type.kind === 'struct' && type.relocatable ? kernelPointer(type, false) : {}),
    nullable,
    writable,
    context: view,
    release: release ?? null,
  });
}

/** The space that the call's result is in. */
function spaceOf(definition: HelperDefinition, map: MapOperand | null): Value['space'] {
  const { result } = definition;
  if (result.kind === 'value') {
    if (map?.entity.inner) return 'map';
    return map?.entity.definition.lookupStruct === undefined ? 'mapValue' : 'kernel';
  }
  return result.kind === 'pointer' ? result.space : 'scalar';
}

/** Calls a helper; `map`: it is called as a method of this map. */
export function callHelper(
  frame: Frame,
  node: Call,
  definition: HelperDefinition,
  given: readonly Expression[],
  map: MapOperand | null,
): Operand {
  const { builder, unit } = frame;
  if (definition.gplOnly) unit.requireGpl(node, definition.name);
  const passing: Passing = { frame, node, definition, values: [], map, reserved: null, callback: null };
  const taken = definition.parameters.length - (map === null ? 0 : definition.parameters.filter(isMap).length);
  if (given.length > taken) {
    refuse(given[taken], `${definition.name} takes no more arguments`, `it takes ${namesOf(definition, map)}`);
  }
  let next = 0;
  for (const parameter of definition.parameters) {
    if (parameter.kind === 'map' && map !== null) {
      passing.values.push(mapValue(frame, map));
      continue;
    }
    const argument = given[next++];
    if (argument !== undefined) pass(passing, parameter, argument);
    else if (parameter.kind === 'scalar' && parameter.optional === true) passing.values.push(builder.constant(0));
    else refuse(node, `${definition.name} needs ${parameter.name}`, `it takes ${namesOf(definition, map)}`);
  }
  finishCallback(passing, { kind: 'null' });
  frame.at(node);
  const { id, name } = definition;
  const space = spaceOf(definition, passing.map);
  const operand = resultOf(passing, () => builder.call({ kind: 'helper', id, name }, passing.values, space));
  if (definition.changesPacket) frame.packet = {};
  return operand;
}

const isMap = (parameter: HelperParameter): boolean => parameter.kind === 'map';

function namesOf(definition: HelperDefinition, map: MapOperand | null): string {
  const names = definition.parameters.filter((one) => map === null || !isMap(one)).map(({ name }) => name);
  return names.length === 0 ? 'none' : names.join(', ');
}
