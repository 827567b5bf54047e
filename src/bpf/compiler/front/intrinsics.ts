/**
 * Room `bpf`: what the compiler itself gives meaning to, when it is called in a function. Each has a rule below, by its name.
 *
 * A newcomer would get wrong: types and globals are intrinsics, too, but those of a module's top level; `declare.ts` has them.
 */
import type { IntrinsicDefinition } from '../../library/definitions.ts';
import { BOOLEAN, bytesOf, fieldOf, type IntegerType, type StructType, type Type, U16, U32, U64 } from '../../types.ts';
import { refuse } from '../diagnostics.ts';
import type { CoreRelocation, Width } from '../ir.ts';
import { convert, operandOf, swapConstant } from './arithmetic.ts';
import { atomic, atomicOperator } from './atomics.ts';
import { addressFromCall } from './constants.ts';
import { equal } from './equal.ts';
import type { Frame } from './frame.ts';
import { callHelper } from './helpers.ts';
import { local, slotFor } from './initialise.ts';
import { targetPlace } from './members.ts';
import { kernelPointer, load, probeInto } from './memory.ts';
import { packet, packetLength } from './packets.ts';
import { print } from './print.ts';
import { argumentsOf, type Call, type Expression } from './syntax.ts';
import { typeFromCall } from './types.ts';
import { usdtArgument, usdtArgumentCount, usdtCookie } from './usdt.ts';
import { computed, describe, isScalarType, known, type Location, type Operand, pointerTo } from './values.ts';

type Rule = (frame: Frame, node: Call) => Operand;

function typeArgument(frame: Frame, node: Call, argument: Expression | undefined): Type {
  if (argument === undefined) refuse(node, 'a type is missing here', 'pass a struct or a type such as u32');
  const operand = frame.expression(argument);
  return operand.kind === 'type'
    ? operand.type
    : refuse(argument, `${describe(operand)} is no type`, 'pass a struct or a type such as u32');
}

function structArgument(frame: Frame, node: Call, argument: Expression | undefined): StructType {
  const type = typeArgument(frame, node, argument);
  return type.kind === 'struct' ? type : refuse(argument ?? node, 'a struct is wanted here');
}

function swap(type: IntegerType): Rule {
  return (frame, node) => {
    const [argument] = argumentsOf(node);
    if (argument === undefined) refuse(node, 'a number is missing here');
    const scalar = convert(frame.builder, frame.scalar(argument), type);
    if (scalar.constant !== null) return known(type, swapConstant(scalar.constant, type.bytes));
    return computed(type, frame.builder.unary('swap', type.bytes as Width, operandOf(frame.builder, scalar, 64)));
  };
}

/** A number that the loader finds in the kernel's BTF. */
function question(
  kind: CoreRelocation['kind'],
  type: Type,
  local: (struct: StructType, name: string | null) => bigint,
): Rule {
  return (frame, node) => {
    const [structNode, fieldNode] = argumentsOf(node);
    const struct = structArgument(frame, node, structNode);
    let name: string | null = null;
    if (kind.startsWith('field')) {
      const field = fieldNode === undefined ? null : frame.value(fieldNode);
      if (field?.kind !== 'string')
        refuse(fieldNode ?? node, 'the field is named by a string', "write fieldExists(T, 'name')");
      if (fieldOf(struct, field.text) === null)
        refuse(fieldNode ?? node, `${struct.name} has no field ${field.text}`, 'declare it there');
      name = field.text;
    }
    const value = local(struct, name);
    if (!isScalarType(type)) return refuse(node, 'this is no number');
    if (!struct.relocatable) return known(type, value);
    frame.at(node);
    return computed(type, frame.builder.relocated({ struct, path: name === null ? [] : [name], kind }, value));
  };
}

/** Where `read` begins: a pointer into the kernel, or an address as a number. */
function addressArgument(frame: Frame, node: Expression): Location {
  const operand = frame.value(node);
  if (operand.kind === 'scalar') {
    const address = operandOf(frame.builder, convert(frame.builder, operand, U64), 64);
    return pointerTo(U64, address, 'kernel', { probe: true });
  }
  if (operand.kind !== 'pointer') refuse(node, `${describe(operand)} is no address`, 'pass a pointer, or a u64');
  return operand;
}

const read: Rule = (frame, node) => {
  const [addressNode, typeNode] = argumentsOf(node);
  if (addressNode === undefined) refuse(node, 'read takes an address and a type');
  const type = typeArgument(frame, node, typeNode);
  const address = addressArgument(frame, addressNode);
  frame.at(node);
  if (type.kind === 'struct' && type.relocatable) {
    return pointerTo(type, frame.addressOf(address), 'kernel', kernelPointer(type, true));
  }
  if (type.kind === 'pointer') {
    const target = slotFor(frame, node, U64, 'pointer');
    probeInto(frame, target.address, address, 8);
    const followed = frame.builder.load(8, false, target.address, 'kernel');
    return pointerTo(type.target(), followed, 'kernel', kernelPointer(type.target(), true));
  }
  const target = slotFor(frame, node, type, 'read');
  probeInto(frame, target.address, address, bytesOf(type));
  return load(frame, node, targetPlace(target, 'this'));
};

const tailCall: Rule = (frame, node) => {
  const helper = frame.unit.catalogue.get('bpf_tail_call');
  if (helper?.kind !== 'helper') refuse(node, 'tailCall needs bpf_tail_call, which is unknown');
  return callHelper(frame, node, helper, argumentsOf(node), null);
};

const outside =
  (what: string, advice: string): Rule =>
  (_, node) =>
    refuse(node, what, advice);
const atTop = 'declare it at the top of the module: export const name = …';

const rules: Partial<Record<IntrinsicDefinition['name'], Rule>> = {
  equal,
  packet,
  packetLength,
  print,
  read,
  tailCall,
  usdtArgument,
  usdtArgumentCount,
  usdtCookie,
  swap16: swap(U16),
  swap32: swap(U32),
  swap64: swap(U64),
  local: (frame, node) => {
    const [typeNode, initial] = argumentsOf(node);
    return local(frame, node, typeArgument(frame, node, typeNode), initial ?? null);
  },
  fieldExists: question('fieldExists', BOOLEAN, () => 1n),
  typeExists: question('typeExists', BOOLEAN, () => 1n),
  sizeOf: question('typeSize', U32, (struct) => BigInt(bytesOf(struct))),
  offsetOf: question('fieldByteOffset', U32, (struct, name) => BigInt(fieldOf(struct, name ?? '')?.offset ?? 0)),
  range: outside('range is for loops', 'write for (const i of range(n))'),
  slice: outside('slice is for what is passed to a helper', 'pass slice(memory, length) directly'),
  global: outside('a global belongs to a module', atTop),
  readOnly: outside('a global belongs to a module', atTop),
  kconfig: outside('a kconfig option belongs to a module', atTop),
  kernelFunction: outside('a kernel function is declared in a module', atTop),
  kernelSymbol: outside('a kernel symbol is declared in a module', atTop),
  subprogram: outside('a function belongs to a module', atTop),
  license: outside('the licence is the module’s', 'write license(…); at the top of the module'),
};

export function callIntrinsic(frame: Frame, node: Call, definition: IntrinsicDefinition): Operand {
  const { name } = definition;
  const operator = atomicOperator(name);
  if (operator !== null) return atomic(frame, node, operator);
  const rule = rules[name];
  if (rule !== undefined) return rule(frame, node);
  const address = addressFromCall(node, name);
  if (address !== null) return address;
  const type = typeFromCall(node, name, '', (inner) => frame.expression(inner));
  if (type !== null) return { kind: 'type', type };
  return refuse(node, `${name} cannot be called here`);
}
