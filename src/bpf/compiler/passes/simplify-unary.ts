/**
 * Room `bpf`: rules for extensions, byte swaps and negation. Most extensions of a compiled program are useless: what they extend is
 * extended already, or their user looks at the low bytes only.
 *
 * A newcomer would get wrong: an extension is also what the verifier knows a bound by. Of a value that it must bound only what it would
 * see itself is left out.
 */
import type { Unary, Value, Width } from '../ir.ts';
import { evaluateUnary } from './evaluate.ts';
import { lowPart, type Workshop } from './simplify-binary.ts';

const narrowable = new Set(['add', 'sub', 'mul', 'and', 'or', 'xor']);

/** zext 4 of a 64-bit operation is the 32-bit operation, where its low half depends on the operands' low halves only. */
function narrow(workshop: Workshop, value: Unary): Value | null {
  const { operand } = value;
  if (value.width !== 4 || operand.kind !== 'binary' || operand.bits !== 64 || operand.space !== 'scalar') return null;
  const { operator, left, right } = operand;
  if (left.space !== 'scalar' || right.space !== 'scalar') return null;
  const isShift = operator === 'shl' && right.kind === 'constant' && right.value >= 0n && right.value < 32n;
  if (!isShift && !narrowable.has(operator)) return null;
  return workshop.emit(workshop.editor.binary(operator, 32, left, right, value));
}

function simplifyZeroExtension(workshop: Workshop, value: Unary): Value | null {
  const { editor, knowledge } = workshop;
  const { width, operand } = value;
  if (knowledge.bits(value).isZeroExtended(operand, width)) return operand;
  // A check of the operand bounds a watched value; one of what came before does not.
  if (knowledge.isWatched(value)) return null;
  if (operand.kind === 'unary' && operand.operator === 'zext') {
    return workshop.emit(editor.unary('zext', Math.min(width, operand.width) as Width, operand.operand, value));
  }
  const source = lowPart(operand, width);
  if (source !== operand) return workshop.emit(editor.unary('zext', width, source, value));
  if (operand.kind === 'unary' && operand.operator === 'neg' && operand.width === 8 && width === 4) {
    return workshop.emit(editor.unary('neg', 4, operand.operand, value));
  }
  return narrow(workshop, value);
}

function simplifySignExtension(workshop: Workshop, value: Unary): Value | null {
  const { editor, knowledge } = workshop;
  const { width, operand } = value;
  const bits = knowledge.bits(value);
  if (bits.isSignExtended(operand, width)) return operand;
  if (bits.areZero(operand, 1n << BigInt(width * 8 - 1))) {
    return workshop.emit(editor.unary('zext', width, operand, value));
  }
  const source = knowledge.isWatched(value) ? operand : lowPart(operand, width);
  return source === operand ? null : workshop.emit(editor.unary('sext', width, source, value));
}

function simplifySwap(workshop: Workshop, value: Unary): Value | null {
  const { editor } = workshop;
  const { width, operand } = value;
  if (width === 1) return workshop.emit(editor.unary('zext', 1, operand, value));
  if (operand.kind === 'unary' && operand.operator === 'swap' && operand.width === width) {
    return workshop.emit(editor.unary('zext', width, operand.operand, value));
  }
  const source = lowPart(operand, width);
  return source === operand ? null : workshop.emit(editor.unary('swap', width, source, value));
}

/** What a unary operation is in a cheaper form; null where it is fine as it is. */
export function simplifyUnary(workshop: Workshop, value: Unary): Value | null {
  const { editor } = workshop;
  const { operator, width, operand } = value;
  if (operand.kind === 'constant') return editor.constant(evaluateUnary(operator, width, operand.value));
  if (operand.space !== 'scalar') return null;
  switch (operator) {
    case 'zext':
      return width === 8 ? operand : simplifyZeroExtension(workshop, value);
    case 'sext':
      return width === 8 ? operand : simplifySignExtension(workshop, value);
    case 'swap':
      return simplifySwap(workshop, value);
    case 'neg':
      if (operand.kind !== 'unary' || operand.operator !== 'neg' || operand.width !== width) return null;
      return width === 8 ? operand.operand : workshop.emit(editor.unary('zext', 4, operand.operand, value));
  }
}
