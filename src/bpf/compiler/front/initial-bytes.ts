/**
 * Room `bpf`: the initial bytes of a global, from the literal that it is declared with.
 *
 * A newcomer would get wrong: bytes are those of a little-endian machine, as everything that the compiler writes; be16 and kin are
 * reversed here as stores would do it.
 */
import { bytesOf, fieldOf, type Type } from '../../types.ts';
import { type Located, refuse } from '../diagnostics.ts';
import { swapConstant, wrap } from './arithmetic.ts';
import { bare, type Expression, elementsOf, propertiesOf } from './syntax.ts';
import type { EvaluateNode } from './types.ts';
import { describe, isScalarType, nameOfType, type Operand } from './values.ts';

function putNumber(into: Uint8Array, offset: number, bytes: number, value: bigint): void {
  for (let index = 0, rest = BigInt.asUintN(64, value); index < bytes; index++, rest >>= 8n) {
    into[offset + index] |= Number(rest & 0xffn);
  }
}

/** Writes a literal of this type at `offset` of bytes that are zero. */
export function initialBytes(
  into: Uint8Array,
  offset: number,
  type: Type,
  expression: Expression,
  evaluate: EvaluateNode,
): void {
  const node = bare(expression);
  if (node.type === 'ObjectExpression' && type.kind === 'struct') {
    for (const { name, value } of propertiesOf(node)) {
      const field = fieldOf(type, name);
      if (field === null) refuse(value, `${nameOfType(type)} has no field ${name}`);
      if (field.bits === undefined) {
        initialBytes(into, offset + field.offset, field.type, value, evaluate);
        continue;
      }
      const operand = evaluate(value);
      if (operand.kind !== 'scalar' || operand.constant === null) refuse(value, `${describe(operand)} is no number`);
      const mask = (1n << BigInt(field.bits.count)) - 1n;
      putNumber(
        into,
        offset + field.offset,
        bytesOf(field.type),
        (operand.constant & mask) << BigInt(field.bits.shift),
      );
    }
    return;
  }
  if (node.type === 'ArrayExpression' && type.kind === 'array') {
    if (node.elements.length > type.length)
      refuse(node, `${node.elements.length} elements do not fit ${nameOfType(type)}`);
    for (const [index, element] of elementsOf(node).entries()) {
      initialBytes(into, offset + index * bytesOf(type.element), type.element, element, evaluate);
    }
    return;
  }
  putOperand(into, offset, type, evaluate(node), node);
}

/** The same of what is known already: a number, a text, a list. */
function putOperand(into: Uint8Array, offset: number, type: Type, operand: Operand, node: Located): void {
  if (operand.kind === 'list' && type.kind === 'array') {
    const { elements, address } = operand;
    if (address !== undefined && bytesOf(type.element) === 1 && type.length === address.length) {
      into.set(address, offset);
      return;
    }
    if (elements.length > type.length) refuse(node, `${elements.length} elements do not fit ${nameOfType(type)}`);
    const size = bytesOf(type.element);
    for (const [index, element] of elements.entries())
      putOperand(into, offset + index * size, type.element, element, node);
    return;
  }
  if (operand.kind === 'string' && type.kind === 'array' && bytesOf(type.element) === 1) {
    const text = new TextEncoder().encode(operand.text);
    if (text.length > type.length) refuse(node, `${text.length} bytes of text do not fit ${nameOfType(type)}`);
    into.set(text, offset);
    return;
  }
  if (operand.kind === 'null' && type.kind === 'pointer') return;
  if (operand.kind !== 'scalar' || operand.constant === null || !isScalarType(type)) {
    refuse(node, `${describe(operand)} is no initial value of ${nameOfType(type)}`);
  }
  const bytes = bytesOf(type);
  const value = wrap(operand.constant, type);
  putNumber(into, offset, bytes, type.kind === 'integer' && type.order === 'big' ? swapConstant(value, bytes) : value);
}

/** The bytes of a list or a text of the source, as a value of this type. */
export function bytesOfConstant(node: Located, type: Type, operand: Operand): Uint8Array {
  const bytes = new Uint8Array(bytesOf(type));
  putOperand(bytes, 0, type, operand, node);
  return bytes;
}

/** `width` of the bytes as the number that a little-endian machine loads. */
export function wordOf(bytes: Uint8Array, offset: number, width: number): bigint {
  let word = 0n;
  for (let index = width - 1; index >= 0; index--) word = (word << 8n) | BigInt(bytes[offset + index]);
  return BigInt.asIntN(64, word);
}
