/**
 * Room `bpf`: what is known about the values of a function before instructions are chosen: how many low bits can be set, who reads
 * the high half, who reads a value at all. By it extensions fall away that change nothing or that nobody notices.
 *
 * A newcomer would get wrong: eBPF has no free narrow registers. On a CPU of version 3 a sign extension is two shifts, and the front
 * end writes one behind nearly every operation on i32; most are read by 32-bit operations only.
 */
import type { Compare, IrFunction, Terminator, Unary, Value } from '../ir.ts';
import { operandsOf, terminatorOperands } from '../ir.ts';

/** A comparison that a branch repeats itself: `compare != 0` or `compare == 0`. */
export function comparedBy(end: Terminator): { readonly compare: Compare; readonly negated: boolean } | null {
  if (end.kind !== 'branch' || end.left.kind !== 'compare' || end.right.kind !== 'constant') return null;
  if (end.right.value !== 0n || (end.condition !== 'ne' && end.condition !== 'eq')) return null;
  // Where both ends are one block, the order of its phis' inputs says which edge is which: nothing may be swapped.
  if (end.whenTrue === end.whenFalse) return null;
  return { compare: end.left, negated: end.condition === 'eq' };
}

/** What is known of whether the verifier sees a value's bounds; 0: nothing yet. */
const SEEN = 1;
const UNSEEN = 2;
/** How far `bits` follows operands: chains of thousands of operations must not exhaust the stack. */
const DEPTH_MAX = 100;

const bitLength = (value: bigint): number => (value < 0n ? 64 : value.toString(2).length);

/** Facts of one function. */
export class Facts {
  readonly #bits: Int8Array;
  readonly #high: Uint8Array;
  readonly #seen: Uint8Array;
  readonly #uses: Int32Array;
  readonly #returnsHigh: boolean;
  #depth = 0;

  /** @param returnsHigh whether callers read the high half of the result */
  constructor(target: IrFunction, returnsHigh: boolean) {
    this.#bits = new Int8Array(target.nextId).fill(-1);
    this.#high = new Uint8Array(target.nextId);
    this.#seen = new Uint8Array(target.nextId);
    this.#uses = new Int32Array(target.nextId);
    this.#returnsHigh = returnsHigh;
    this.#read(target);
  }

  /** Whether anybody reads the value, apart from branches that repeat a comparison. */
  isUsed(value: Value): boolean {
    return this.#uses[value.id] > 0;
  }

  /** Whether anybody reads bits 32 to 63. */
  isHighRead(value: Value): boolean {
    return this.#high[value.id] !== 0;
  }

  #read(target: IrFunction): void {
    const open: Value[] = [];
    const mark = (value: Value): void => {
      if (this.#high[value.id] !== 0) return;
      this.#high[value.id] = 1;
      open.push(value);
    };
    for (const block of target.blocks) {
      for (const value of [...block.phis, ...block.operations]) {
        for (const operand of operandsOf(value)) this.#uses[operand.id]++;
        for (const operand of alwaysHigh(value)) mark(operand);
        if (value.kind === 'compare' && this.comparesWhole(value)) operandsOf(value).forEach(mark);
      }
      const end = block.terminator;
      if (end === null) continue;
      const repeated = comparedBy(end);
      if (repeated === null) for (const operand of terminatorOperands(end)) this.#uses[operand.id]++;
      if (end.kind === 'branch' && this.comparesWhole(end)) terminatorOperands(end).forEach(mark);
      if (end.kind === 'return' && end.value !== null && this.#returnsHigh) mark(end.value);
    }
    for (let value = open.pop(); value !== undefined; value = open.pop()) {
      passedHigh(value).forEach(mark);
      // An extension that is left out hands on its operand's high half.
      if (value.kind === 'unary' && this.changesNothing(value)) mark(value.operand);
    }
  }

  /** Whether the operand's high half is already what this extension would make it, and the verifier sees that by itself. */
  changesNothing({ operator, width, operand }: Unary): boolean {
    if (operator !== 'zext' && operator !== 'sext') return false;
    const most = operator === 'zext' ? width * 8 : width * 8 - 1;
    return this.bits(operand) <= most && this.#isSeen(operand);
  }

  /**
   * Whether a comparison is made on 64 bits: where it says so, and where the high halves are 0 anyway. The verifier forgets about the
   * high half of a quotient or of swapped bytes; only a comparison of all bits tells it.
   */
  comparesWhole({ condition, bits, left, right }: Pick<Compare, 'condition' | 'bits' | 'left' | 'right'>): boolean {
    if (bits === 64) return true;
    // Signed comparisons see bit 31, and a number in an instruction is extended by its sign.
    const most = (value: Value): number => (value.kind === 'constant' || condition.startsWith('s') ? 31 : 32);
    // An extension may be left out for this comparison, or stand in the register because something else needs it: both must fit.
    return [left, right].every((value) => {
      return Math.max(this.bits(withoutExtension(value)), this.bits(value)) <= most(value);
    });
  }

  /** No bit at or above this is set. 64 where nothing is known. */
  bits(value: Value): number {
    const known = this.#bits[value.id];
    if (known !== -1) return known;
    // What depends on itself around a loop is met again here, and nothing is assumed of it.
    this.#bits[value.id] = 64;
    if (this.#depth === DEPTH_MAX) return 64;
    this.#depth++;
    const found = this.#find(value);
    this.#depth--;
    this.#bits[value.id] = found;
    return found;
  }

  #find(value: Value): number {
    switch (value.kind) {
      case 'constant':
        return bitLength(value.value);
      case 'compare':
        return 1;
      case 'load':
        return value.signed || value.space !== 'scalar' ? 64 : value.width * 8;
      case 'atomic':
        return value.width * 8;
      case 'unary':
        if (value.operator === 'zext') return Math.min(value.width * 8, this.bits(value.operand));
        if (value.operator === 'sext') {
          const bits = this.bits(value.operand);
          return bits < value.width * 8 ? bits : 64;
        }
        return value.width * 8;
      case 'binary':
        return Math.min(value.bits, this.#ofBinary(value.operator, value.left, value.right, value.bits));
      case 'phi':
        return value.inputs.reduce((most, input) => Math.max(most, this.bits(input)), 0);
      default:
        return 64;
    }
  }

  /**
   * Whether the verifier knows as much of a value's high bits as we do. After a division, a shift by a register and a change of byte
   * order it takes the whole register for unknown (is_safe_to_compute_dst_reg_range, kernel/bpf/verifier.c, Linux 6.18), so that an
   * extension behind one is what bounds the value for it.
   */
  #isSeen(value: Value): boolean {
    const known = this.#seen[value.id];
    if (known !== 0) return known === SEEN;
    // A value that depends on itself around a loop is what its other parts are.
    this.#seen[value.id] = SEEN;
    if (this.#depth === DEPTH_MAX) return true;
    this.#depth++;
    const found = this.#findSeen(value);
    this.#depth--;
    this.#seen[value.id] = found ? SEEN : UNSEEN;
    return found;
  }

  #findSeen(value: Value): boolean {
    if (value.kind === 'phi') return value.inputs.every((input) => this.#isSeen(input));
    if (value.kind === 'unary') return value.operator !== 'swap';
    if (value.kind !== 'binary') return true;
    const { operator, bits, left, right } = value;
    if (/div|mod/.test(operator)) return false;
    if ((operator === 'shl' || operator === 'lshr' || operator === 'ashr') && right.kind !== 'constant') return false;
    if (bits === 32) return true;
    const isLeftSeen = this.#isSeen(left);
    return operator === 'and' ? isLeftSeen || this.#isSeen(right) : isLeftSeen && this.#isSeen(right);
  }

  #ofBinary(operator: string, left: Value, right: Value, width: number): number {
    const count = right.kind === 'constant' ? Number(BigInt.asUintN(6, right.value)) & (width - 1) : -1;
    switch (operator) {
      case 'and':
        return Math.min(this.bits(left), this.bits(right));
      case 'or':
      case 'xor':
        return Math.max(this.bits(left), this.bits(right));
      case 'udiv':
      case 'umod':
        return Math.min(width, this.bits(left));
      case 'lshr':
        return Math.max(0, Math.min(width, this.bits(left)) - Math.max(count, 0));
      case 'shl':
        return count === -1 ? 64 : Math.min(64, this.bits(left) + count);
      case 'add':
        return Math.min(64, Math.max(this.bits(left), this.bits(right)) + 1);
      case 'mul':
        return Math.min(64, this.bits(left) + this.bits(right));
      default:
        return 64;
    }
  }
}

/** What an extension of 32 bits takes its low half from. */
function withoutExtension(value: Value): Value {
  const isExtension = value.kind === 'unary' && (value.operator === 'sext' || value.operator === 'zext');
  return isExtension && value.width === 4 ? withoutExtension(value.operand) : value;
}

/** Operands whose high half is read in any case. */
function alwaysHigh(value: Value): readonly Value[] {
  switch (value.kind) {
    case 'binary':
      if (value.bits === 32) return [];
      if (value.operator === 'lshr' || value.operator === 'ashr') return [value.left];
      return /div|mod/.test(value.operator) ? [value.left, value.right] : [];
    case 'unary':
      return value.operator === 'swap' && value.width === 8 ? [value.operand] : [];
    case 'load':
      return [value.address];
    case 'store':
      return value.width === 8 ? [value.address, value.value] : [value.address];
    case 'atomic':
      return value.width === 8 ? operandsOf(value) : [value.address];
    case 'call':
      return value.arguments;
    case 'addressCast':
      return value.to === 'kernel' ? [value.operand] : [];
    default:
      return [];
  }
}

/** Operands whose high half is read because the value's is. */
function passedHigh(value: Value): readonly Value[] {
  switch (value.kind) {
    case 'phi':
      return value.inputs;
    case 'unary':
      return value.width === 8 ? [value.operand] : [];
    case 'binary':
      if (value.bits === 32) return [];
      return value.operator === 'shl' ? [value.left] : [value.left, value.right];
    default:
      return [];
  }
}
