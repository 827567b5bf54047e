/**
 * Room `bpf`: whether two types, the program's and the kernel's, mean the same for CO-RE. Three degrees: a field may be read as if it had
 * the program's type; a type of that name is there; a type is the same in all that the program says of it
 * (the kernel's tools/lib/bpf/relo_core.c holds the rules that all loaders follow).
 *
 * A newcomer would get wrong: sizes and signs of integers do not count for a field. Which bytes it has is asked by other records.
 */
import { type BtfComposite, type BtfEnum, type BtfPrototype, type BtfType, essentialName } from '../btf/records.ts';
import type { Btf } from '../btf/table.ts';

/** How many pointers, arrays and parameters deep two types are compared. */
const DEPTH_MAX = 32;

function isComposite(type: BtfType): type is BtfComposite {
  return type.kind === 'struct' || type.kind === 'union';
}

function isEnum(type: BtfType): type is BtfEnum {
  return type.kind === 'enum' || type.kind === 'enum64';
}

/** Whether both are of one kind; an enum of 64 bits is one too. */
export function areKindsCompatible(left: BtfType, right: BtfType): boolean {
  return left.kind === right.kind || (isEnum(left) && isEnum(right));
}

const areNamesCompatible = (left: string, right: string): boolean =>
  left === '' || right === '' || essentialName(left) === essentialName(right);

/** Whether a field of the second type may be read where the program says the first. */
export function areFieldsCompatible(local: Btf, localId: number, target: Btf, targetId: number, depth = 0): boolean {
  if (depth > DEPTH_MAX) return false;
  const left = local.resolved(localId);
  const right = target.resolved(targetId);
  if (isComposite(left) && isComposite(right)) return true;
  // The language has no enums: a program that reads one says which integer it is. Loaders of C's objects are stricter here.
  if (left.kind === 'int' && isEnum(right)) return true;
  if (!areKindsCompatible(left, right)) return false;
  switch (left.kind) {
    case 'ptr':
    case 'float':
      return true;
    case 'fwd':
    case 'enum':
    case 'enum64':
      return areNamesCompatible(left.name, right.name);
    case 'int':
      return left.offsetBits === 0 && right.kind === 'int' && right.offsetBits === 0;
    case 'array':
      return right.kind === 'array' && areFieldsCompatible(local, left.element, target, right.element, depth + 1);
    default:
      return false;
  }
}

/** Whether the second type, found by the first's name, is what the first is about; what structs contain does not count. */
export function areTypesCompatible(local: Btf, localId: number, target: Btf, targetId: number, depth = 0): boolean {
  if (depth > DEPTH_MAX) return false;
  const left = local.resolved(localId);
  const right = target.resolved(targetId);
  // Whether a struct may stand for a union is decided where candidates are chosen.
  if (depth === 0 && isComposite(left) && isComposite(right)) return true;
  if (!areKindsCompatible(left, right)) return false;
  const deeper = (one: number, other: number): boolean => areTypesCompatible(local, one, target, other, depth + 1);
  switch (left.kind) {
    case 'void':
    case 'struct':
    case 'union':
    case 'enum':
    case 'enum64':
    case 'fwd':
      return true;
    case 'int':
      return left.offsetBits === 0 && right.kind === 'int' && right.offsetBits === 0;
    case 'ptr':
      return right.kind === 'ptr' && deeper(left.type, right.type);
    case 'array':
      return right.kind === 'array' && deeper(left.element, right.element);
    case 'funcProto':
      return right.kind === 'funcProto' && havePrototypesInCommon(left, right, deeper);
    default:
      return false;
  }
}

function havePrototypesInCommon(
  left: BtfPrototype,
  right: BtfPrototype,
  compare: (one: number, other: number) => boolean,
): boolean {
  return (
    left.parameters.length === right.parameters.length &&
    left.parameters.every((one, index) => compare(one.type, right.parameters[index].type)) &&
    compare(left.result, right.result)
  );
}

/** Whether the second type has all that the first says, of the same form. Behind a pointer only kind and name count. */
export function doTypesMatch(
  local: Btf,
  localId: number,
  target: Btf,
  targetId: number,
  behindPointer = false,
  depth = 0,
): boolean {
  if (depth > DEPTH_MAX) return false;
  const left = local.resolved(localId);
  const right = target.resolved(targetId);
  if (essentialName(left.name) !== essentialName(right.name)) return false;
  const deeper = (one: number, other: number, pointer = behindPointer): boolean =>
    doTypesMatch(local, one, target, other, pointer, depth + 1);
  if (!areKindsCompatible(left, right)) return behindPointer && isForwardOf(left, right);
  switch (left.kind) {
    case 'void':
      return true;
    case 'fwd':
      return right.kind === 'fwd' && left.union === right.union;
    case 'enum':
    case 'enum64':
      return isEnum(right) && doEnumsMatch(left, right);
    case 'int':
      return right.kind === 'int' && left.bytes === right.bytes && left.signed === right.signed;
    case 'ptr':
      return right.kind === 'ptr' && deeper(left.type, right.type, true);
    case 'array':
      return right.kind === 'array' && left.length === right.length && deeper(left.element, right.element);
    case 'struct':
    case 'union':
      return isComposite(right) && (behindPointer || doMembersMatch(left, right, deeper));
    case 'funcProto':
      return right.kind === 'funcProto' && havePrototypesInCommon(left, right, deeper);
    default:
      return false;
  }
}

/** A declaration without a definition stands for the struct or union of its name. */
function isForwardOf(left: BtfType, right: BtfType): boolean {
  const [forward, other] = left.kind === 'fwd' ? [left, right] : [right, left];
  return forward.kind === 'fwd' && other.kind === (forward.union ? 'union' : 'struct');
}

function doEnumsMatch(left: BtfEnum, right: BtfEnum): boolean {
  if (left.bytes !== right.bytes || left.values.length > right.values.length) return false;
  const names = new Set(right.values.map((one) => essentialName(one.name)));
  return left.values.every((one) => names.has(essentialName(one.name)));
}

function doMembersMatch(
  left: BtfComposite,
  right: BtfComposite,
  compare: (one: number, other: number) => boolean,
): boolean {
  if (left.members.length > right.members.length) return false;
  return left.members.every((member) =>
    right.members.some(
      (other) => essentialName(member.name) === essentialName(other.name) && compare(member.type, other.type),
    ),
  );
}
