/**
 * Room `bpf`: which bits of a value anybody looks at, found from its users back, through phis and loops. An extension or a mask of bits
 * that nobody looks at goes: a loop's counter of 32 bits is not extended to 64 in each turn for a comparison of 32.
 *
 * A newcomer would get wrong: afterwards the value has other upper bits than before. So whoever looks at them must be found, and
 * a value that the verifier bounds is looked at as a whole.
 */
import {
  forEachOperand,
  type IrFunction,
  type Operation,
  type Phi,
  type Terminator,
  type Value,
  type Width,
} from '../ir.ts';
import type { Editor } from './editor.ts';
import { Knowledge } from './knowledge.ts';

const ALL = 0xffff_ffff_ffff_ffffn;
const LOW = 0xffff_ffffn;

const lowMasks: readonly bigint[] = [1, 2, 3, 4, 5, 6, 7, 8].map((bytes) => (1n << BigInt(bytes * 8)) - 1n);
const lowMask = (bytes: Width): bigint => lowMasks[bytes - 1];

/** Every bit up to the highest of a mask: what sums and products of low bits depend on. */
function upTo(mask: bigint): bigint {
  // Nearly all masks are one of these two.
  if (mask === ALL || mask === LOW) return mask;
  return mask === 0n ? 0n : (1n << BigInt(mask.toString(2).length)) - 1n;
}

/** The bits of the operand at `index` that matter where those of `demanded` do of the user's result. */
function demandOf(user: Exclude<Value, Phi>, index: number, demanded: bigint): bigint {
  switch (user.kind) {
    case 'binary': {
      if (user.space !== 'scalar') return ALL;
      const width = user.bits === 32 ? LOW : ALL;
      const wanted = demanded === ALL ? width : demanded & width;
      const { operator, right } = user;
      switch (operator) {
        case 'add':
        case 'sub':
        case 'mul':
          return upTo(wanted);
        case 'and':
          return index === 0 && right.kind === 'constant' ? wanted & BigInt.asUintN(64, right.value) : wanted;
        case 'or':
        case 'xor':
          return wanted;
        case 'shl':
          if (index === 1) return BigInt(user.bits - 1);
          return right.kind === 'constant' ? wanted >> (right.value & BigInt(user.bits - 1)) : upTo(wanted);
        case 'lshr':
        case 'ashr':
          if (index === 1) return BigInt(user.bits - 1);
          if (right.kind !== 'constant') return width;
          // The sign fills what is shifted in.
          return (
            ((wanted << (right.value & BigInt(user.bits - 1))) & width) |
            (operator === 'ashr' ? (width + 1n) >> 1n : 0n)
          );
        default:
          return width;
      }
    }
    case 'unary': {
      const mask = lowMask(user.width);
      // Of a value that is looked at as a whole, and most are, all bits of the operand matter that it takes.
      if (demanded === ALL) return mask;
      if (user.operator === 'neg') return upTo(demanded & mask);
      if (user.operator === 'swap' || user.operator === 'zext')
        return user.operator === 'swap' ? mask : demanded & mask;
      const isSignWanted = (demanded & ~mask & ALL) !== 0n;
      return (demanded & mask) | (isSignWanted ? 1n << BigInt(user.width * 8 - 1) : 0n);
    }
    case 'compare':
      return user.bits === 32 ? LOW : ALL;
    case 'store':
      return index === 1 ? lowMask(user.width) : ALL;
    case 'atomic':
      return index === 0 ? ALL : lowMask(user.width);
    default:
      return ALL;
  }
}

function endDemand(end: Terminator): bigint {
  return end.kind === 'branch' && end.bits === 32 ? LOW : ALL;
}

/** The bits of each value that matter, by its id; undefined for a value that matters to nobody. */
function findDemand(irFunction: IrFunction, knowledge: Knowledge): (bigint | undefined)[] {
  const demand = new Array<bigint | undefined>(irFunction.nextId).fill(undefined);
  const open: Value[] = [];
  const ask = (value: Value, mask: bigint): void => {
    const before = demand[value.id];
    if (before === ALL || mask === 0n) return;
    const wanted = mask !== ALL && knowledge.isWatched(value) ? ALL : mask;
    const after = before === undefined ? wanted : before | wanted;
    if (after === before) return;
    demand[value.id] = after;
    // Numbers and addresses have no operands to ask.
    if (value.kind !== 'constant') open.push(value);
  };
  const askOperands = (user: Value, wanted: bigint): void => {
    if (user.kind === 'phi') for (const input of user.inputs) ask(input, wanted);
    else forEachOperand(user, (operand, index) => ask(operand, demandOf(user, index, wanted)));
  };
  for (const { operations, terminator } of irFunction.blocks) {
    for (const operation of operations) {
      const { kind } = operation;
      if (kind === 'store' || kind === 'atomic' || kind === 'call' || kind === 'load') askOperands(operation, ALL);
    }
    if (terminator?.kind === 'branch') {
      ask(terminator.left, endDemand(terminator));
      ask(terminator.right, endDemand(terminator));
    } else if (terminator?.kind === 'return' && terminator.value !== null) ask(terminator.value, ALL);
  }
  for (let value = open.pop(); value !== undefined; value = open.pop()) askOperands(value, demand[value.id]!);
  return demand;
}

/** What an operation may be replaced by where only `demanded` bits of it matter; null for itself. */
function withoutUnseen(operation: Operation, demanded: bigint): Value | null {
  if (operation.kind === 'unary' && (operation.operator === 'zext' || operation.operator === 'sext')) {
    return (demanded & ~lowMask(operation.width)) === 0n ? operation.operand : null;
  }
  if (operation.kind !== 'binary' || operation.right.kind !== 'constant' || operation.space !== 'scalar') return null;
  if (operation.operator !== 'and' && operation.operator !== 'or' && operation.operator !== 'xor') return null;
  const number = BigInt.asUintN(64, operation.right.value);
  const seen = operation.bits === 32 ? demanded & LOW : demanded;
  if (operation.bits === 32 && seen !== demanded) return null;
  const isUnseen = operation.operator === 'and' ? (seen & ~number) === 0n : (seen & number) === 0n;
  return isUnseen ? operation.left : null;
}

/** Leaves out extensions and masks whose effect nobody sees. Whether anything changed. */
export function removeUnseenBits(editor: Editor): boolean {
  const knowledge = new Knowledge(editor.function);
  const demand = findDemand(editor.function, knowledge);
  let isChanged = false;
  for (const block of editor.function.blocks) {
    for (const operation of block.operations) {
      const demanded = demand[operation.id];
      if (demanded === undefined || demanded === ALL) continue;
      const instead = withoutUnseen(operation, demanded);
      if (instead === null || instead.space !== 'scalar') continue;
      editor.replace(operation, instead);
      isChanged = true;
    }
  }
  editor.settle();
  return isChanged;
}
