/**
 * Room `bpf`: what operations and ends of blocks read and where they lead, one kind after the other, so that passes need not know all.
 *
 * A newcomer would get wrong: there are three ways to go through operands, and they must agree. A kind of value with operands is added to
 * each.
 */
import type { Block, Terminator, Value } from './ir.ts';

/** The operands of a value, in order. */
export function operandsOf(value: Value): readonly Value[] {
  switch (value.kind) {
    case 'binary':
    case 'compare':
      return [value.left, value.right];
    case 'unary':
    case 'addressCast':
      return [value.operand];
    case 'load':
      return [value.address];
    case 'store':
      return [value.address, value.value];
    case 'atomic':
      return value.expected === null ? [value.address, value.value] : [value.address, value.value, value.expected];
    case 'call':
      return value.arguments;
    case 'phi':
      return value.inputs;
    default:
      return [];
  }
}

/** Calls `visit` for each operand of a value, in order: {@link operandsOf} without an array, for what looks at every operation. */
export function forEachOperand(value: Value, visit: (operand: Value, index: number) => void): void {
  switch (value.kind) {
    case 'binary':
    case 'compare':
      visit(value.left, 0);
      visit(value.right, 1);
      break;
    case 'unary':
    case 'addressCast':
      visit(value.operand, 0);
      break;
    case 'load':
      visit(value.address, 0);
      break;
    case 'store':
    case 'atomic':
      visit(value.address, 0);
      visit(value.value, 1);
      if (value.kind === 'atomic' && value.expected !== null) visit(value.expected, 2);
      break;
    case 'call':
      value.arguments.forEach(visit);
      break;
    case 'phi':
      value.inputs.forEach(visit);
      break;
  }
}

/** The list with `of(value)` for each; the list itself where nothing changes. */
function mapped(values: Value[], of: (operand: Value) => Value): Value[] {
  let result = values;
  for (let index = 0; index < values.length; index++) {
    const next = of(values[index]);
    if (next === values[index]) continue;
    if (result === values) result = values.slice();
    result[index] = next;
  }
  return result;
}

/** Puts `of(operand)` in the place of each operand. */
export function mapOperands(value: Value, of: (operand: Value) => Value): void {
  switch (value.kind) {
    case 'binary':
    case 'compare':
      value.left = of(value.left);
      value.right = of(value.right);
      break;
    case 'unary':
    case 'addressCast':
      value.operand = of(value.operand);
      break;
    case 'load':
      value.address = of(value.address);
      break;
    case 'store':
      value.address = of(value.address);
      value.value = of(value.value);
      break;
    case 'atomic':
      value.address = of(value.address);
      value.value = of(value.value);
      if (value.expected !== null) value.expected = of(value.expected);
      break;
    case 'call':
      value.arguments = mapped(value.arguments, of);
      break;
    case 'phi':
      value.inputs = mapped(value.inputs, of);
      break;
  }
}

/** The values that a terminator reads. */
export function terminatorOperands(terminator: Terminator): readonly Value[] {
  if (terminator.kind === 'branch') return [terminator.left, terminator.right];
  if (terminator.kind === 'return' && terminator.value !== null) return [terminator.value];
  return [];
}

/** Where control may go from here. */
export function successorsOf(block: Block): readonly Block[] {
  const end = block.terminator;
  if (end === null || end.kind === 'return') return [];
  return end.kind === 'jump' ? [end.target] : [end.whenTrue, end.whenFalse];
}
