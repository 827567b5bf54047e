/**
 * Room `bpf`: the VM's arithmetic as steps (RFC 9669 sections 4.1 and 4.2): functions that act on two places of the
 * register file. A register is two 32-bit words side by side, because every step of 64-bit arithmetic on them is exact
 * in JavaScript's numbers, and BigInt would allocate at each.
 *
 * A newcomer would get wrong: what a 32-bit operation does to the upper half: it clears it, also where the operation
 * changes nothing. And `>>> 0` is needed wherever a word is compared or carried as unsigned.
 */
import { STEP } from './steps.ts';

/** Executes one instruction and gives the slot of the next. */
export type Step = () => number;

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

function multiply(file: Int32Array, d: number, s: number): void {
  const a = file[d];
  const b = file[s];
  file[d + 1] = multiplyHigh(a, b) + Math.imul(a, file[s + 1]) + Math.imul(file[d + 1], b);
  file[d] = Math.imul(a, b);
}

/** The step of a 64-bit operation `d = d step s`; null for what is none. */
export function wideStep(file: Int32Array, step: number, d: number, s: number, next: number): Step | null {
  switch (step) {
    case STEP.move64:
      return () => {
        file[d] = file[s];
        file[d + 1] = file[s + 1];
        return next;
      };
    case STEP.add64:
      return () => {
        const low = file[d];
        const sum = (low + file[s]) | 0;
        // The sum of two unsigned words is less than either exactly where it was carried.
        file[d + 1] += file[s + 1] + (sum >>> 0 < low >>> 0 ? 1 : 0);
        file[d] = sum;
        return next;
      };
    case STEP.sub64:
      return () => {
        const low = file[d];
        const other = file[s];
        file[d + 1] -= file[s + 1] + (low >>> 0 < other >>> 0 ? 1 : 0);
        file[d] = (low - other) | 0;
        return next;
      };
    case STEP.and64:
      return () => {
        file[d] &= file[s];
        file[d + 1] &= file[s + 1];
        return next;
      };
    case STEP.or64:
      return () => {
        file[d] |= file[s];
        file[d + 1] |= file[s + 1];
        return next;
      };
    case STEP.xor64:
      return () => {
        file[d] ^= file[s];
        file[d + 1] ^= file[s + 1];
        return next;
      };
    default:
      return wideShiftStep(file, step, d, s, next);
  }
}

function wideShiftStep(file: Int32Array, step: number, d: number, s: number, next: number): Step | null {
  switch (step) {
    case STEP.lsh64:
      return () => {
        shiftLeft(file, d, file[s] & 63);
        return next;
      };
    case STEP.rsh64:
      return () => {
        shiftRight(file, d, file[s] & 63, 0);
        return next;
      };
    case STEP.arsh64:
      return () => {
        shiftRight(file, d, file[s] & 63, file[d + 1] >> 31);
        return next;
      };
    case STEP.mul64:
      return () => {
        multiply(file, d, s);
        return next;
      };
    default:
      return null;
  }
}

/** The low word of a 32-bit operation; the high word is 0. Null for what is none. */
function narrowOperation(step: number): ((a: number, b: number) => number) | null {
  switch (step) {
    case STEP.lsh32:
      return (a, b) => a << (b & 31);
    case STEP.rsh32:
      return (a, b) => (a >>> (b & 31)) | 0;
    case STEP.arsh32:
      return (a, b) => a >> (b & 31);
    case STEP.mul32:
      return Math.imul;
    case STEP.or32:
      return (a, b) => a | b;
    case STEP.xor32:
      return (a, b) => a ^ b;
    default:
      return null;
  }
}

/** The step of a 32-bit operation; null for what is none. The frequent ones have a function of their own, which spares a call. */
export function narrowStep(file: Int32Array, step: number, d: number, s: number, next: number): Step | null {
  switch (step) {
    case STEP.move32:
      return () => {
        file[d] = file[s];
        file[d + 1] = 0;
        return next;
      };
    case STEP.add32:
      return () => {
        file[d] = (file[d] + file[s]) | 0;
        file[d + 1] = 0;
        return next;
      };
    case STEP.sub32:
      return () => {
        file[d] = (file[d] - file[s]) | 0;
        file[d + 1] = 0;
        return next;
      };
    case STEP.and32:
      return () => {
        file[d] &= file[s];
        file[d + 1] = 0;
        return next;
      };
    default: {
      const operation = narrowOperation(step);
      if (operation === null) return null;
      return () => {
        file[d] = operation(file[d], file[s]);
        file[d + 1] = 0;
        return next;
      };
    }
  }
}
