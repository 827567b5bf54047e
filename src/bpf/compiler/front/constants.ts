/**
 * Room `bpf`: expressions that are known when compiling: module constants, sizes, flags, types, enums.
 *
 * A newcomer would get wrong: this never emits anything, so it is also how the lowering of functions asks whether an expression is
 * known. What it cannot know it refuses by saying so.
 */
import { ipv4, ipv6 } from '../../addresses.ts';
import { BOOLEAN, bytesOf } from '../../types.ts';
import { refuse } from '../diagnostics.ts';
import * as arithmetic from './arithmetic.ts';
import type { Module } from './entities.ts';
import {
  argumentsOf,
  bare,
  type Call,
  type Expression,
  type ExpressionOf,
  elementsOf,
  propertiesOf,
} from './syntax.ts';
import { type EvaluateNode, typeFromCall } from './types.ts';
import type { Unit } from './unit.ts';
import { describe, isScalarType, known, NULL, type Operand, type Scalar } from './values.ts';

/** The operators that TypeScript spells as C does. */
export function arithmeticOperator(operator: string): arithmetic.Operator | null {
  return /^(?:[-+*/%&|^]|<<|>>>?)$/.test(operator) ? (operator as arithmetic.Operator) : null;
}

/** The comparisons; `==` and `!=` are refused. */
export function comparisonOperator(node: { readonly operator: string } & Expression): arithmetic.Comparison | null {
  const { operator } = node;
  if (operator === '==' || operator === '!=') refuse(node, `“${operator}” is not supported`, `write ${operator}=`);
  return /^(?:[<>]=?|[!=]==)$/.test(operator) ? (operator as arithmetic.Comparison) : null;
}

/** A literal of the source, or null where the node is something else. */
export function literalOf(node: Expression): Operand | null {
  switch (node.type) {
    case 'NumericLiteral':
      if (!Number.isInteger(node.value))
        refuse(node, 'fractions are not supported in the kernel', 'count in smaller units');
      return arithmetic.literal(node, BigInt(node.value), false);
    case 'BigIntLiteral':
      return arithmetic.literal(node, BigInt(node.value), true);
    case 'BooleanLiteral':
      return known(BOOLEAN, node.value ? 1n : 0n);
    case 'StringLiteral':
      return { kind: 'string', text: node.value };
    case 'NullLiteral':
      return NULL;
    case 'TemplateLiteral':
      if (node.expressions.length > 0) return null;
      return { kind: 'string', text: node.quasis[0].value.cooked ?? '' };
    default:
      return null;
  }
}

/** A part of something that is only there while compiling: `Flow.size`, `Color.red`; null where it has no such part. */
export function partOf(unit: Unit, node: Expression, object: Operand, name: string): Operand | null {
  switch (object.kind) {
    case 'type':
      if (name === 'size') return known(arithmetic.literal(node, 0n, false).type, BigInt(bytesOf(object.type)), true);
      if (name === 'length' && object.type.kind === 'array')
        return arithmetic.literal(node, BigInt(object.type.length), false);
      return refuse(node, `${describe(object)} has no ${name}`, 'a type has size');
    case 'enum': {
      const value = object.members.get(name);
      if (value === undefined) refuse(node, `${object.name} has no ${name}`);
      return arithmetic.literal(node, value, false);
    }
    case 'list':
      return name === 'length' ? arithmetic.literal(node, BigInt(object.elements.length), false) : null;
    case 'namespace':
      return unit.exportOf(object.module, name, node);
    default:
      return null;
  }
}

/** A number. @throws Refusal for anything else */
export function scalarOf(node: Expression, operand: Operand): Scalar {
  if (operand.kind === 'scalar') return operand;
  return refuse(node, `${describe(operand)} is no number`, 'a number is wanted here');
}

function evaluateUnary(node: ExpressionOf<'UnaryExpression'>, evaluate: EvaluateNode): Operand {
  const operand = scalarOf(node.argument, evaluate(node.argument));
  switch (node.operator) {
    case '-':
    case '~':
    case '+':
      return arithmetic.unary(null, node, node.operator, operand);
    case '!':
      return known(BOOLEAN, operand.constant === 0n ? 1n : 0n);
    default:
      return refuse(node, `“${node.operator}” is not supported`);
  }
}

function evaluateBinary(node: ExpressionOf<'BinaryExpression'>, evaluate: EvaluateNode): Operand {
  const left = node.left as Expression;
  const one = scalarOf(left, evaluate(left));
  const other = scalarOf(node.right, evaluate(node.right));
  const operator = arithmeticOperator(node.operator);
  if (operator !== null) return arithmetic.binary(null, node, operator, one, other);
  const comparison = comparisonOperator(node);
  if (comparison === null) refuse(node, `“${node.operator}” is not supported`);
  return known(BOOLEAN, arithmetic.compare(null, comparison, one, other) === true ? 1n : 0n);
}

/** What `ipv4('192.0.2.1')` and `ipv6('2001:db8::1')` are: a number, and four. Null where `maker` is neither. */
export function addressFromCall(node: Call, maker: string): Operand | null {
  if (maker !== 'ipv4' && maker !== 'ipv6') return null;
  const [text, ...rest] = argumentsOf(node);
  if (text?.type !== 'StringLiteral' || rest.length > 0) {
    const example = maker === 'ipv4' ? '192.0.2.1' : '2001:db8::1';
    refuse(node, `${maker} takes an address that is written out`, `write ${maker}('${example}')`);
  }
  try {
    if (maker === 'ipv4') return arithmetic.literal(node, BigInt(ipv4(text.value)), false);
    const words = ipv6(text.value);
    const address = Uint8Array.from({ length: 16 }, (_, index) => words[index >> 2] >>> (24 - (index & 3) * 8));
    return { kind: 'list', elements: words.map((word) => arithmetic.literal(node, BigInt(word), false)), address };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return refuse(text, error.message);
  }
}

function evaluateCall(unit: Unit, module: Module, node: Call, name: string): Operand {
  const evaluate: EvaluateNode = (inner) => evaluateConstant(unit, module, inner);
  const callee = evaluate(node.callee as Expression);
  if (callee.kind === 'type' && isScalarType(callee.type)) {
    const [argument] = argumentsOf(node);
    if (argument === undefined) refuse(node, `${describe(callee)} converts one number`);
    return arithmetic.convert(null, scalarOf(argument, evaluate(argument)), callee.type);
  }
  if (callee.kind === 'definition' && callee.definition.kind === 'intrinsic') {
    const intrinsic = callee.definition.name;
    const type = typeFromCall(node, intrinsic, name, evaluate);
    if (type !== null) return { kind: 'type', type };
    const address = addressFromCall(node, intrinsic);
    if (address !== null) return address;
    if (intrinsic === 'sizeOf') {
      const [argument] = argumentsOf(node);
      const operand = argument === undefined ? null : evaluate(argument);
      if (operand?.kind === 'type') return arithmetic.literal(node, BigInt(bytesOf(operand.type)), false);
    }
  }
  return refuse(node, 'this call is not known when compiling', 'call it within a function');
}

/** `{ A: 1, B: 2 }` as a constant is an enum without the word. */
function evaluateObject(node: ExpressionOf<'ObjectExpression'>, name: string, evaluate: EvaluateNode): Operand {
  const members = new Map<string, bigint>();
  for (const { name: member, value } of propertiesOf(node)) {
    if (value.type === 'ObjectExpression') {
      refuse(value, 'constants within constants are not supported', 'declare it as a const of its own');
    }
    const { constant } = scalarOf(value, evaluate(value));
    if (constant !== null) members.set(member, constant);
  }
  return { kind: 'enum', name, members };
}

/** TypeScript's own names of types are no layouts. */
function adviceOnName(name: string): string {
  if (name === 'number') return 'say how wide it is: u8, u16, u32, or i32';
  if (name === 'bigint') return 'say which it is: u64 or i64';
  if (name in globalThis) return 'JavaScript’s own objects do not exist in the kernel';
  return name === 'string' ? 'write array(u8, 16)' : 'import it, or declare it in this module';
}

/** The operand of an expression that is known now. `name`: of the const that it initialises, which names its type. */
export function evaluateConstant(unit: Unit, module: Module, expression: Expression, name = ''): Operand {
  const node = bare(expression);
  const evaluate: EvaluateNode = (inner) => evaluateConstant(unit, module, inner);
  const found = literalOf(node);
  if (found !== null) return found;
  switch (node.type) {
    case 'Identifier': {
      const operand = unit.valueOf(module, node.name, node);
      return operand ?? refuse(node, `${node.name} is not declared`, adviceOnName(node.name));
    }
    case 'UnaryExpression':
      return evaluateUnary(node, evaluate);
    case 'BinaryExpression':
      return evaluateBinary(node, evaluate);
    case 'ConditionalExpression': {
      const test = scalarOf(node.test, evaluate(node.test));
      return evaluate(test.constant === 0n ? node.alternate : node.consequent);
    }
    case 'MemberExpression': {
      const object = evaluate(node.object as Expression);
      const property = node.property;
      const part = property.type === 'Identifier' && !node.computed ? partOf(unit, node, object, property.name) : null;
      return part ?? refuse(node, 'this is not known when compiling', 'read it within a function');
    }
    case 'CallExpression':
      return evaluateCall(unit, module, node, name);
    case 'ObjectExpression':
      return evaluateObject(node, name, evaluate);
    case 'ArrayExpression':
      return { kind: 'list', elements: elementsOf(node).map(evaluate) };
    default:
      return refuse(
        node,
        'this is not known when compiling',
        'constants of a module are numbers, types, maps and functions',
      );
  }
}
