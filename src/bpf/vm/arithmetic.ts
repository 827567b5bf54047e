/**
 * Room `bpf`: the VM's arithmetic (RFC 9669 sections 4.1 and 4.2). A register is two 32-bit words side by side in the register
 * file, because every step of 64-bit arithmetic on them is exact in JavaScript's numbers, and BigInt would allocate at each.
 *
 * A newcomer would get wrong: what a 32-bit operation does to the upper half: it clears it, also where the operation changes
 * nothing. And `>>> 0` is needed wherever a word is compared or carried as unsigned.
 */
import { BPF_ALU, BPF_DIV, BPF_END, BPF_MOD, BPF_MOV, BPF_NEG, BPF_TO_BE } from '../../kernel/bpf-abi.ts';
import type { Instruction } from '../instructions.ts';
import { divide32, divide64, result64 } from './division.ts';
import { STEP } from './steps.ts';

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

function shiftLeft(file: Int32Array, d: number, count: number): void {
  const low = file[d];
  if (count === 0) return;
  file[d] = count < 32 ? low << count : 0;
  file[d + 1] = count < 32 ? (file[d + 1] << count) | (low >>> (32 - count)) : low << (count - 32);
}

/** `fill` is what comes in from above: 0, or the sign in every bit. */
function shiftRight(file: Int32Array, d: number, count: number, fill: number): void {
  const high = file[d + 1];
  if (count === 0) return;
  const shifted = fill === 0 ? high >>> (count & 31) : high >> (count & 31);
  file[d] = count < 32 ? (file[d] >>> count) | (high << (32 - count)) : shifted;
  file[d + 1] = count < 32 ? shifted : fill;
}

/** `d += s` for 64 bits. */
export function addWide(file: Int32Array, d: number, s: number): void {
  const low = file[d];
  const sum = (low + file[s]) | 0;
  // The sum of two unsigned words is less than either exactly where it was carried.
  file[d + 1] += file[s + 1] + (sum >>> 0 < low >>> 0 ? 1 : 0);
  file[d] = sum;
}

/** `d = d step s` for 64 bits, where `d` and `s` are places in the register file. Moves and additions stand in the machine's loop. */
export function arithmetic64(file: Int32Array, step: number, d: number, s: number): void {
  switch (step) {
    case STEP.sub64: {
      const low = file[d];
      file[d + 1] -= file[s + 1] + (low >>> 0 < file[s] >>> 0 ? 1 : 0);
      file[d] = (low - file[s]) | 0;
      return;
    }
    case STEP.and64:
      file[d] &= file[s];
      file[d + 1] &= file[s + 1];
      return;
    case STEP.or64:
      file[d] |= file[s];
      file[d + 1] |= file[s + 1];
      return;
    case STEP.xor64:
      file[d] ^= file[s];
      file[d + 1] ^= file[s + 1];
      return;
    case STEP.lsh64:
      shiftLeft(file, d, file[s] & 63);
      return;
    case STEP.rsh64:
      shiftRight(file, d, file[s] & 63, 0);
      return;
    case STEP.arsh64:
      shiftRight(file, d, file[s] & 63, file[d + 1] >> 31);
      return;
    default: {
      const aLow = file[d];
      const bLow = file[s];
      file[d + 1] = multiplyHigh(aLow, bLow) + Math.imul(aLow, file[s + 1]) + Math.imul(file[d + 1], bLow);
      file[d] = Math.imul(aLow, bLow);
    }
  }
}

/** The same for 32 bits: the low word of the result; the high word is 0. */
export function arithmetic32(step: number, a: number, b: number): number {
  switch (step) {
    case STEP.move32:
      return b;
    case STEP.add32:
      return (a + b) | 0;
    case STEP.sub32:
      return (a - b) | 0;
    case STEP.and32:
      return a & b;
    case STEP.or32:
      return a | b;
    case STEP.xor32:
      return a ^ b;
    case STEP.lsh32:
      return a << (b & 31);
    case STEP.rsh32:
      return (a >>> (b & 31)) | 0;
    case STEP.arsh32:
      return a >> (b & 31);
    default:
      return Math.imul(a, b);
  }
}

function swapWord(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

/** `le`, `be` and `bswap`: the value is cut to `bits` and, unless `isKept`, its bytes are reversed. */
function byteOrder(file: Int32Array, d: number, bits: number, isKept: boolean): void {
  if (bits === 64) {
    if (isKept) return;
    const swapped = swapWord(file[d + 1]);
    file[d + 1] = swapWord(file[d]);
    file[d] = swapped;
    return;
  }
  file[d + 1] = 0;
  const swapped = isKept ? file[d] : swapWord(file[d]);
  if (bits === 32) file[d] = swapped;
  else file[d] = isKept ? swapped & 0xffff : swapped >>> 16;
}

/** Negation, division, sign-extending moves and byte order. `s` is the place of the operand in the register file. */
export function rareArithmetic(
  file: Int32Array,
  { opcode, offset, immediate }: Instruction,
  d: number,
  s: number,
): void {
  const isWide = (opcode & 7) !== BPF_ALU;
  switch (opcode & 0xf0) {
    case BPF_END:
      byteOrder(file, d, immediate, !isWide && (opcode & BPF_TO_BE) === 0);
      return;
    case BPF_NEG:
      file[d + 1] = isWide ? ~file[d + 1] + (file[d] === 0 ? 1 : 0) : 0;
      file[d] = -file[d];
      return;
    case BPF_MOV:
      file[d] = (file[s] << (32 - offset)) >> (32 - offset);
      file[d + 1] = isWide ? file[d] >> 31 : 0;
      return;
    case BPF_DIV:
    case BPF_MOD: {
      const wantRemainder = (opcode & 0xf0) === BPF_MOD;
      if (!isWide) {
        file[d] = divide32(file[d], file[s], wantRemainder, offset === 1);
        file[d + 1] = 0;
        return;
      }
      divide64(file[d], file[d + 1], file[s], file[s + 1], wantRemainder, offset === 1);
      file[d] = result64[0];
      file[d + 1] = result64[1];
    }
  }
}
