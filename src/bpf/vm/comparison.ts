/**
 * Room `bpf`: the conditions of the VM's jumps (RFC 9669 section 4.3) on values of two words.
 *
 * A newcomer would get wrong: signed and unsigned 64-bit comparisons differ in the high word only; low words are always unsigned.
 */
import {
  BPF_JEQ,
  BPF_JGE,
  BPF_JGT,
  BPF_JLE,
  BPF_JLT,
  BPF_JNE,
  BPF_JSET,
  BPF_JSGE,
  BPF_JSGT,
  BPF_JSLE,
  BPF_JSLT,
} from '../../kernel/bpf-abi.ts';

/** -1, 0 or 1. */
function order(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Whether `a operation b`. With `isWide` false the low words alone are compared. */
export function holds(
  operation: number,
  isWide: boolean,
  aLow: number,
  aHigh: number,
  bLow: number,
  bHigh: number,
): boolean {
  if (operation === BPF_JEQ) return aLow === bLow && (!isWide || aHigh === bHigh);
  if (operation === BPF_JNE) return aLow !== bLow || (isWide && aHigh !== bHigh);
  if (operation === BPF_JSET) return (aLow & bLow) !== 0 || (isWide && (aHigh & bHigh) !== 0);
  const isUnsigned = operation === BPF_JGT || operation === BPF_JGE || operation === BPF_JLT || operation === BPF_JLE;
  let ordered = 0;
  if (isWide) ordered = isUnsigned ? order(aHigh >>> 0, bHigh >>> 0) : order(aHigh, bHigh);
  if (ordered === 0) ordered = isUnsigned || isWide ? order(aLow >>> 0, bLow >>> 0) : order(aLow, bLow);
  switch (operation) {
    case BPF_JGT:
    case BPF_JSGT:
      return ordered > 0;
    case BPF_JGE:
    case BPF_JSGE:
      return ordered >= 0;
    case BPF_JLT:
    case BPF_JSLT:
      return ordered < 0;
    case BPF_JLE:
    case BPF_JSLE:
      return ordered <= 0;
    default:
      return false;
  }
}
