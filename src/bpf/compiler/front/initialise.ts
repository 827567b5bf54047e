/**
 * Room `bpf`: memory on the stack and what is put into it: `local(Flow, { source: 1 })`, object literals where a struct is expected.
 *
 * A newcomer would get wrong: padding is cleared, too. Hash maps compare keys byte by byte, and the verifier refuses to pass bytes that
 * were never written.
 */
import { bytesOf, type Field, fieldOf, type StructType, type Type } from '../../types.ts';
import { type Located, refuse } from '../diagnostics.ts';
import type { Frame } from './frame.ts';
import { fieldPlace, targetPlace } from './members.ts';
import { assign, clear } from './memory.ts';
import { bare, type Expression, type ExpressionOf, elementsOf, propertiesOf } from './syntax.ts';
import { nameOfType, type Pointer, pointerTo } from './values.ts';

/** The stack of a chain of calls (MAX_BPF_STACK, include/linux/filter.h). */
const STACK_BYTES = 512;

/** Bytes on the stack, not cleared. Structs are 8-aligned, so that they can be copied by words. */
export function slotFor(frame: Frame, node: Located, type: Type, name: string): Pointer {
  const bytes = bytesOf(type);
  if (bytes > STACK_BYTES) {
    refuse(
      node,
      `${nameOfType(type)} takes ${bytes} bytes, and the stack has ${STACK_BYTES}`,
      'keep large values in a map, such as perCpuArray',
    );
  }
  const alignment = bytes >= 8 ? 8 : bytes >= 4 ? 4 : bytes >= 2 ? 2 : 1;
  const slot = frame.builder.slot(bytes, alignment, name);
  return pointerTo(type, frame.builder.stackAddress(slot), 'stack', { alignment });
}

/** Clears what `fields` leave of a struct. */
function clearRest(frame: Frame, target: Pointer, type: StructType, written: readonly Field[]): void {
  const bytes = bytesOf(type);
  const covered = new Uint8Array(bytes);
  for (const field of written) {
    if (field.bits === undefined) covered.fill(1, field.offset, field.offset + bytesOf(field.type));
  }
  for (let at = 0; at < bytes; ) {
    let end = at;
    while (end < bytes && covered[end] === covered[at]) end++;
    if (covered[at] === 0) clear(frame, target, at, end);
    at = end;
  }
}

function fillStruct(frame: Frame, target: Pointer, type: StructType, node: ExpressionOf<'ObjectExpression'>): void {
  const given = propertiesOf(node);
  const fields = given.map(({ name, value }) => {
    const field = fieldOf(type, name);
    const names = type.fields.map((one) => one.name).join(', ');
    return field ?? refuse(value, `${nameOfType(type)} has no field ${name}`, `it has ${names}`);
  });
  clearRest(frame, target, type, fields);
  for (const { name, value } of given) {
    const place = fieldPlace(value, target, name, name);
    fill(frame, { ...target, ...place, kind: 'pointer', tests: null, binding: null }, value, place.bits ?? null);
  }
}

/** Writes an expression to memory that has no value yet. Literals are written field by field. */
function fill(frame: Frame, target: Pointer, expression: Expression, bits: Field['bits'] | null = null): void {
  const node = bare(expression);
  const { type } = target;
  if (node.type === 'ObjectExpression') {
    if (type.kind !== 'struct') refuse(node, `${nameOfType(type)} is no struct`, 'write a number');
    fillStruct(frame, target, type, node);
    return;
  }
  if (node.type === 'ArrayExpression') {
    if (type.kind !== 'array') refuse(node, `${nameOfType(type)} is no array`);
    fillArray(frame, target, node);
    return;
  }
  frame.at(node);
  assign(frame, node, { ...targetPlace(target, 'this'), bits }, frame.expression(node, type));
}

function fillArray(frame: Frame, target: Pointer, node: ExpressionOf<'ArrayExpression'>): void {
  const { type } = target;
  if (type.kind !== 'array') return;
  if (node.elements.length > type.length)
    refuse(node, `${node.elements.length} elements do not fit ${nameOfType(type)}`);
  const size = bytesOf(type.element);
  for (const [index, element] of elementsOf(node).entries()) {
    fill(frame, { ...target, type: type.element, offset: target.offset + index * size }, element);
  }
  clear(frame, target, node.elements.length * size, type.length * size);
}

/** A value on the stack for as long as the function runs. */
export function temporary(frame: Frame, node: Expression, type: Type, name = 'literal'): Pointer {
  const target = slotFor(frame, node, type, name);
  fill(frame, target, node);
  return target;
}

/** `local(Type)` and `local(Type, initial)`. */
export function local(frame: Frame, node: Located, type: Type, initial: Expression | null): Pointer {
  if (bytesOf(type) === 0) refuse(node, `${nameOfType(type)} has no bytes`);
  if (type.kind === 'struct' && type.relocatable) {
    refuse(
      node,
      `${type.name} is laid out by the kernel`,
      'declare a struct of your own with the fields that you need',
    );
  }
  const target = slotFor(frame, node, type, nameOfType(type));
  if (initial === null) clear(frame, target, 0, bytesOf(type));
  else fill(frame, target, initial);
  return target;
}
