/**
 * Room `bpf`: what can be said of a value's bits before the program runs: which are surely 0, which surely 1, how many at the top
 * equal the sign. The verifier follows values the same way (kernel/bpf/tnum.c), but less far: after a division, a negation, a byte
 * swap or a shift by a variable it knows nothing. A mask that is useless by arithmetic may be what lets a program pass.
 *
 * A newcomer would get wrong: a phi whose inputs are not judged yet counts as unknown. That is always right and never complete.
 */
import type { Binary, IrFunction, Unary, Value } from '../ir.ts';
import { signed64 } from './evaluate.ts';
import { ValueMap } from './value-map.ts';

const ALL = 0xffff_ffff_ffff_ffffn;
const LOW = 0xffff_ffffn;

/** How far back a value is followed: sums of a thousand parts are rare, and as deep as the stack of this process allows. */
const DEPTH_MAX = 200;

/** Unsigned 64-bit masks. No bit is in both. */
export interface Bits64 {
  readonly zeros: bigint;
  readonly ones: bigint;
}

const unknown: Bits64 = { zeros: 0n, ones: 0n };
const boolean: Bits64 = { zeros: ALL ^ 1n, ones: 0n };
const upperZero: Bits64 = { zeros: ALL ^ LOW, ones: 0n };

const maskOf = (bytes: number): bigint => (1n << BigInt(bytes * 8)) - 1n;
/** A number with every bit up to the highest one of `value` set. */
const filled = (value: bigint): bigint => (value === 0n ? 0n : (1n << BigInt(value.toString(2).length)) - 1n);

/** Knowledge about the values of one function. It holds as long as the function means the same. */
export class KnownBits {
  readonly #isVerifiers: boolean;
  readonly #counters: ValueMap<bigint>;
  readonly #known: ValueMap<Bits64>;
  readonly #signs: ValueMap<number>;
  #depth = 0;

  /** `isVerifiers`: no more than what the verifier finds out, too. `counters`: the largest values of loops' counters and of their sums. */
  constructor(irFunction: IrFunction, isVerifiers: boolean, counters: ValueMap<bigint>) {
    this.#isVerifiers = isVerifiers;
    this.#counters = counters;
    this.#known = new ValueMap(irFunction);
    this.#signs = new ValueMap(irFunction);
  }

  of(value: Value): Bits64 {
    const known = this.#known.get(value);
    if (known !== undefined) return known;
    if (this.#depth === DEPTH_MAX) return unknown;
    // Whoever asks for it while it is being found out (through a loop) learns nothing.
    this.#known.set(value, unknown);
    this.#depth++;
    const found = value.space === 'scalar' || value.kind === 'constant' ? this.#find(value) : unknown;
    this.#depth--;
    this.#known.set(value, found);
    return found;
  }

  /** The largest and least value it can have as an unsigned number. */
  largest(value: Value): bigint {
    return ALL ^ this.of(value).zeros;
  }

  least(value: Value): bigint {
    return this.of(value).ones;
  }

  /** Whether all bits of `mask` are surely 0. */
  areZero(value: Value, mask: bigint): boolean {
    return (this.of(value).zeros & mask) === mask;
  }

  /** Whether it is its own low `bytes` bytes, extended with zeros. */
  isZeroExtended(value: Value, bytes: number): boolean {
    return bytes === 8 || this.areZero(value, ALL ^ maskOf(bytes));
  }

  /** Whether it is its own low `bytes` bytes, extended by their sign. */
  isSignExtended(value: Value, bytes: number): boolean {
    return this.signBits(value) > 64 - bytes * 8;
  }

  /** How many bits at the top are surely equal: 1 to 64. */
  signBits(value: Value): number {
    const known = this.#signs.get(value);
    if (known !== undefined) return known;
    if (this.#depth === DEPTH_MAX) return 1;
    this.#signs.set(value, 1);
    const { zeros, ones } = this.of(value);
    const byBits = Math.max(leadingOnes(zeros), leadingOnes(ones), 1);
    this.#depth++;
    const found = value.space === 'scalar' ? Math.max(byBits, this.#findSigns(value)) : 1;
    this.#depth--;
    this.#signs.set(value, found);
    return found;
  }

  #findSigns(value: Value): number {
    switch (value.kind) {
      case 'load':
        return value.signed ? 65 - value.width * 8 : 1;
      case 'unary':
        return value.operator === 'sext' ? Math.max(65 - value.width * 8, this.signBits(value.operand)) : 1;
      case 'phi':
        return value.inputs.reduce((least, input) => Math.min(least, this.signBits(input)), 64);
      case 'binary': {
        if (value.bits === 32) return 1;
        const { left, right } = value;
        if (value.operator === 'and' || value.operator === 'or' || value.operator === 'xor') {
          return Math.min(this.signBits(left), this.signBits(right));
        }
        if (value.operator === 'add' || value.operator === 'sub') {
          return Math.max(1, Math.min(this.signBits(left), this.signBits(right)) - 1);
        }
        if (value.operator === 'ashr' && right.kind === 'constant') {
          return Math.min(64, this.signBits(left) + Number(right.value & 63n));
        }
        return 1;
      }
      default:
        return 1;
    }
  }

  #find(value: Value): Bits64 {
    const counted = this.#counters.get(value);
    if (counted !== undefined) return { zeros: ALL ^ filled(counted), ones: 0n };
    switch (value.kind) {
      case 'constant': {
        const ones = BigInt.asUintN(64, value.value);
        return { zeros: ALL ^ ones, ones };
      }
      case 'compare':
        return boolean;
      case 'load':
        return value.signed || value.width === 8 ? unknown : { zeros: ALL ^ maskOf(value.width), ones: 0n };
      case 'unary':
        return this.#unary(value);
      case 'binary':
        return this.#binary(value);
      case 'phi': {
        let zeros = ALL;
        let ones = ALL;
        for (const input of value.inputs) {
          const bits = this.of(input);
          zeros &= bits.zeros;
          ones &= bits.ones;
          if (zeros === 0n && ones === 0n) break;
        }
        return value.inputs.length === 0 ? unknown : { zeros, ones };
      }
      default:
        return unknown;
    }
  }

  #unary({ operator, width, operand }: Unary): Bits64 {
    const mask = maskOf(width);
    const { zeros, ones } = this.of(operand);
    switch (operator) {
      case 'zext':
        return { zeros: (zeros & mask) | (ALL ^ mask), ones: ones & mask };
      case 'sext': {
        const sign = 1n << BigInt(width * 8 - 1);
        if ((zeros & sign) !== 0n) return { zeros: (zeros & mask) | (ALL ^ mask), ones: ones & mask };
        if ((ones & sign) !== 0n) return { zeros: zeros & mask, ones: (ones & mask) | (ALL ^ mask) };
        return { zeros: zeros & mask, ones: ones & mask };
      }
      case 'swap':
        // kernel/bpf/verifier.c: mark_reg_unknown after BPF_END.
        return this.#isVerifiers ? unknown : { zeros: ALL ^ mask, ones: 0n };
      case 'neg':
        return width === 4 && !this.#isVerifiers ? upperZero : unknown;
    }
  }

  #binary(value: Binary): Bits64 {
    if (this.#isVerifiers && isUntracked(value)) return unknown;
    const whole = this.#wide(value);
    if (value.bits === 64) return whole;
    return { zeros: (whole.zeros & LOW) | (ALL ^ LOW), ones: whole.ones & LOW };
  }

  /** Of the operation's own width; the upper half of a 32-bit operation's answer is cut by the caller. */
  #wide({ operator, bits, left, right }: Binary): Bits64 {
    const width = bits === 64 ? ALL : LOW;
    const cut = (value: Value): Bits64 => {
      const known = this.of(value);
      return bits === 64 ? known : { zeros: (known.zeros & LOW) | (ALL ^ LOW), ones: known.ones & LOW };
    };
    const a = cut(left);
    const b = cut(right);
    const below = (most: bigint): Bits64 => ({ zeros: ALL ^ filled(most), ones: 0n });
    switch (operator) {
      case 'and':
        return { zeros: a.zeros | b.zeros, ones: a.ones & b.ones };
      case 'or':
        return { zeros: a.zeros & b.zeros, ones: a.ones | b.ones };
      case 'xor':
        return {
          zeros: (a.zeros & b.zeros) | (a.ones & b.ones),
          ones: (a.zeros & b.ones) | (a.ones & b.zeros),
        };
      case 'add':
      case 'mul': {
        const [x, y] = [ALL ^ a.zeros, ALL ^ b.zeros];
        const most = operator === 'add' ? x + y : x * y;
        return most > width ? unknown : below(most);
      }
      case 'udiv':
        return below(ALL ^ a.zeros);
      case 'umod': {
        const most = ALL ^ b.zeros;
        const dividend = ALL ^ a.zeros;
        // A remainder by 0 is the dividend.
        return below(b.ones !== 0n && most < dividend ? most : dividend);
      }
      case 'shl':
      case 'lshr':
      case 'ashr':
        if (right.kind !== 'constant') {
          return operator === 'lshr' ? below(ALL ^ a.zeros) : unknown;
        }
        return shifted(operator, bits, a, right.value & BigInt(bits - 1));
      default:
        return unknown;
    }
  }
}

/**
 * kernel/bpf/verifier.c, is_safe_to_compute_dst_reg_range: after these the verifier knows nothing, of 32-bit operations not even that
 * the upper half is 0.
 */
function isUntracked({ operator, right }: Binary): boolean {
  if (operator === 'shl' || operator === 'lshr' || operator === 'ashr') return right.kind !== 'constant';
  return operator === 'udiv' || operator === 'sdiv' || operator === 'umod' || operator === 'smod';
}

function shifted(operator: 'shl' | 'lshr' | 'ashr', bits: 32 | 64, a: Bits64, count: bigint): Bits64 {
  const width = bits === 64 ? ALL : LOW;
  if (operator === 'shl') {
    return { zeros: ((a.zeros << count) | ((1n << count) - 1n)) & width, ones: (a.ones << count) & width };
  }
  const isPositive = ((a.zeros >> BigInt(bits - 1)) & 1n) === 1n;
  if (operator === 'ashr' && !isPositive) return unknown;
  const top = width ^ (width >> count);
  return { zeros: ((a.zeros & width) >> count) | top, ones: (a.ones & width) >> count };
}

function leadingOnes(mask: bigint): number {
  const value = signed64(mask);
  // The bits from the first 0 on: as many as the complement has.
  return value < 0n ? 64 - (value === -1n ? 0 : (ALL ^ mask).toString(2).length) : 0;
}
