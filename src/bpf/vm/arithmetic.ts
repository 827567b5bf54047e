/**
 * Room `bpf`: the VM's arithmetic (RFC 9669 sections 4.1 and 4.2). A register is two 32-bit words, because every step of 64-bit
 * arithmetic on them is exact in JavaScript's numbers, and BigInt would allocate at each.
 *
 * A newcomer would get wrong: what a 32-bit operation does to the upper half: it clears it, also where the operation changes
 * nothing. And `>>> 0` is needed wherever a word is compared or carried as unsigned.
 */
import {
  BPF_ADD,
  BPF_AND,
  BPF_ARSH,
  BPF_DIV,
  BPF_LSH,
  BPF_MOD,
  BPF_MOV,
  BPF_MUL,
  BPF_NEG,
  BPF_OR,
  BPF_RSH,
  BPF_SUB,
  BPF_XOR,
} from '../../kernel/bpf-abi.ts';
import { divide32, divide64, result64 } from './division.ts';

/** Low and high words of the registers, by number. */
export interface Registers {
  readonly low: Int32Array;
  readonly high: Int32Array;
}

/** The upper 32 bits of the product of two unsigned words, from products of 16 bits, which stay exact. */
function multiplyHigh(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const other = a0 * b1 + (middle & 0xffff);
  return (a1 * b1 + (middle >>> 16) + (other >>> 16)) | 0;
}

function shift64(registers: Registers, operation: number, d: number, count: number): void {
  const low = registers.low[d];
  const high = registers.high[d];
  if (count === 0) return;
  if (operation === BPF_LSH) {
    registers.low[d] = count < 32 ? low << count : 0;
    registers.high[d] = count < 32 ? (high << count) | (low >>> (32 - count)) : low << (count - 32);
    return;
  }
  const fill = operation === BPF_ARSH ? high >> 31 : 0;
  const shifted = operation === BPF_ARSH ? high >> (count & 31) : high >>> (count & 31);
  registers.low[d] = count < 32 ? (low >>> count) | (high << (32 - count)) : shifted;
  registers.high[d] = count < 32 ? shifted : fill;
}

/** One 64-bit operation: `d = d operation b`. `offset` tells signed division and modulo (1) and sign-extending moves. */
export function alu64(registers: Registers, operation: number, d: number, bLow: number, bHigh: number, offset: number) {
  const { low, high } = registers;
  const aLow = low[d];
  const aHigh = high[d];
  switch (operation) {
    case BPF_MOV:
      low[d] = offset === 0 || offset === 32 ? bLow : (bLow << (32 - offset)) >> (32 - offset);
      high[d] = offset === 0 ? bHigh : low[d] >> 31;
      return;
    case BPF_ADD: {
      const sum = (aLow >>> 0) + (bLow >>> 0);
      low[d] = sum;
      high[d] = aHigh + bHigh + (sum > 0xffffffff ? 1 : 0);
      return;
    }
    case BPF_SUB: {
      const difference = (aLow >>> 0) - (bLow >>> 0);
      low[d] = difference;
      high[d] = aHigh - bHigh - (difference < 0 ? 1 : 0);
      return;
    }
    case BPF_AND:
      low[d] = aLow & bLow;
      high[d] = aHigh & bHigh;
      return;
    case BPF_OR:
      low[d] = aLow | bLow;
      high[d] = aHigh | bHigh;
      return;
    case BPF_XOR:
      low[d] = aLow ^ bLow;
      high[d] = aHigh ^ bHigh;
      return;
    case BPF_LSH:
    case BPF_RSH:
    case BPF_ARSH:
      shift64(registers, operation, d, bLow & 63);
      return;
    case BPF_MUL:
      low[d] = Math.imul(aLow, bLow);
      high[d] = multiplyHigh(aLow, bLow) + Math.imul(aLow, bHigh) + Math.imul(aHigh, bLow);
      return;
    case BPF_NEG:
      low[d] = -aLow;
      high[d] = ~aHigh + (aLow === 0 ? 1 : 0);
      return;
    case BPF_DIV:
    case BPF_MOD:
      divide64(aLow, aHigh, bLow, bHigh, operation === BPF_MOD, offset === 1);
      low[d] = result64[0];
      high[d] = result64[1];
  }
}

/** One 32-bit operation; the upper half becomes 0. */
export function alu32(registers: Registers, operation: number, d: number, b: number, offset: number): void {
  const { low } = registers;
  const a = low[d];
  registers.high[d] = 0;
  switch (operation) {
    case BPF_MOV:
      low[d] = offset === 0 ? b : (b << (32 - offset)) >> (32 - offset);
      return;
    case BPF_ADD:
      low[d] = a + b;
      return;
    case BPF_SUB:
      low[d] = a - b;
      return;
    case BPF_AND:
      low[d] = a & b;
      return;
    case BPF_OR:
      low[d] = a | b;
      return;
    case BPF_XOR:
      low[d] = a ^ b;
      return;
    case BPF_LSH:
      low[d] = a << (b & 31);
      return;
    case BPF_RSH:
      low[d] = a >>> (b & 31);
      return;
    case BPF_ARSH:
      low[d] = a >> (b & 31);
      return;
    case BPF_MUL:
      low[d] = Math.imul(a, b);
      return;
    case BPF_NEG:
      low[d] = -a;
      return;
    case BPF_DIV:
    case BPF_MOD:
      low[d] = divide32(a, b, operation === BPF_MOD, offset === 1);
  }
}

function swapWord(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

/** `le`, `be` and `bswap`: the value is cut to `bits` and, unless `isKept`, its bytes are reversed. */
export function byteOrder(registers: Registers, d: number, bits: number, isKept: boolean): void {
  const { low, high } = registers;
  if (bits === 64) {
    if (isKept) return;
    const swapped = swapWord(high[d]);
    high[d] = swapWord(low[d]);
    low[d] = swapped;
    return;
  }
  high[d] = 0;
  const swapped = isKept ? low[d] : swapWord(low[d]);
  if (bits === 32) low[d] = swapped;
  else low[d] = isKept ? swapped & 0xffff : swapped >>> 16;
}
