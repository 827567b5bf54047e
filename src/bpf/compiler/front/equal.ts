/**
 * Room `bpf`: `equal(one, other)`: whether two structs, arrays or texts have the same bytes.
 *
 * A newcomer would get wrong: this is no loop. The words of both are combined by exclusive or, so it is one branch, which the verifier
 * walks through once. Bytes are compared as they lie in memory, so an address of `array(be32, 4)` equals the same one of `array(u8, 16)`.
 */
import { BOOLEAN, bytesOf, type Type } from '../../types.ts';
import { refuse } from '../diagnostics.ts';
import type { Value, Width } from '../ir.ts';
import type { Frame } from './frame.ts';
import { bytesOfConstant, wordOf } from './initial-bytes.ts';
import { slotFor } from './initialise.ts';
import { targetPlace } from './members.ts';
import { copy, readableAt } from './memory.ts';
import { argumentsOf, type Call, type Expression } from './syntax.ts';
import { computed, describe, isScalarType, known, nameOfType, type Operand, type Pointer } from './values.ts';

/** Words that a comparison may take: 512 bytes, as much as a stack has. */
const WORDS_MAX = 64;

/** One side: memory, or bytes that are known now. */
type Side = { readonly pointer: Pointer } | { readonly bytes: Uint8Array };

function refuseSide(node: Expression, operand: Operand): never {
  const isNumber = operand.kind === 'scalar' || (operand.kind === 'pointer' && isScalarType(operand.type));
  const advice = isNumber ? 'compare numbers with ===' : 'pass two structs, arrays or texts';
  return refuse(node, `${describe(operand)} has no bytes to compare`, advice);
}

/** Memory that loads can reach: what only a helper can read, or only the loader can find, is copied to the stack first. */
function sideOf(frame: Frame, node: Expression, operand: Operand, type: Type): Side {
  if (operand.kind === 'list' || operand.kind === 'string') return { bytes: bytesOfConstant(node, type, operand) };
  if (operand.kind !== 'pointer') return refuseSide(node, operand);
  const pointer = frame.present(node, operand);
  if (!pointer.probe && pointer.core === null) return { pointer };
  const target = slotFor(frame, node, pointer.type, 'compared');
  copy(frame, node, targetPlace(target, 'this'), pointer);
  return { pointer: target };
}

function widthOf(side: Side, at: number, bytes: number): Width {
  if ('pointer' in side) return readableAt(side.pointer, side.pointer, at, bytes);
  return ([8, 4, 2, 1] as const).find((width) => width <= bytes) as Width;
}

function wordAt(frame: Frame, side: Side, at: number, width: Width): Value {
  if ('bytes' in side) return frame.builder.constant(wordOf(side.bytes, at, width));
  const { address, offset } = side.pointer;
  return frame.builder.load(width, false, address, 'scalar', { offset: offset + at });
}

const typeOfSide = (operand: Operand): Type | null =>
  operand.kind === 'pointer' && !isScalarType(operand.type) && operand.type.kind !== 'void' ? operand.type : null;

/** `equal(one, other)`. */
export function equal(frame: Frame, node: Call): Operand {
  const { builder } = frame;
  const [oneNode, otherNode, ...rest] = argumentsOf(node);
  if (oneNode === undefined || otherNode === undefined || rest.length > 0) {
    refuse(node, 'equal takes two structs, arrays or texts', 'write equal(one, other)');
  }
  const isLiteral = oneNode.type === 'ArrayExpression' || oneNode.type === 'ObjectExpression';
  // A literal takes the type of the other side.
  const later = isLiteral ? frame.value(otherNode) : null;
  const one = frame.value(oneNode, later === null ? null : typeOfSide(later));
  const other = later ?? frame.value(otherNode, typeOfSide(one));
  const type = typeOfSide(one) ?? typeOfSide(other);
  if (type === null) refuseSide(oneNode, one);
  for (const [place, operand] of [[oneNode, one] as const, [otherNode, other] as const]) {
    const its = typeOfSide(operand);
    if (its !== null && bytesOf(its) !== bytesOf(type)) {
      refuse(
        place,
        `${nameOfType(type)} and ${nameOfType(its)} are of different sizes`,
        'only the same size can be equal',
      );
    }
  }
  frame.at(node);
  const sides = [sideOf(frame, oneNode, one, type), sideOf(frame, otherNode, other, type)] as const;
  const bytes = bytesOf(type);
  let difference: Value | null = null;
  for (let at = 0, words = 0; at < bytes; words++) {
    if (words === WORDS_MAX)
      refuse(node, `${nameOfType(type)} is too large to be compared at once`, 'compare parts of it');
    const width = Math.min(widthOf(sides[0], at, bytes - at), widthOf(sides[1], at, bytes - at)) as Width;
    const word = builder.binary('xor', 64, wordAt(frame, sides[0], at, width), wordAt(frame, sides[1], at, width));
    difference = difference === null ? word : builder.binary('or', 64, difference, word);
    at += width;
  }
  if (difference === null) return known(BOOLEAN, 1n);
  return computed(BOOLEAN, builder.compare('eq', 64, difference, builder.constant(0)));
}
