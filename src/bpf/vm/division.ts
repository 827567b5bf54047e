/**
 * Room `bpf`: 64-bit division and remainder on two 32-bit words (RFC 9669 section 4.1). Division by 0 gives 0; a
 * remainder by 0 leaves the dividend; the least number divided by -1 is itself. Signed division rounds towards zero.
 */

/** Numbers below it are exact as doubles, and so are quotient and remainder of two of them. */
const EXACT_HIGH = 0x200000;

/** Result of {@link divide64}: low word, high word. */
export const result64 = new Int32Array(2);

function setNumber(value: number): void {
  result64[0] = value | 0;
  result64[1] = (value / 4294967296) | 0;
}

/** `a % b` of doubles is exact, and `a - remainder` is a multiple of b, so the quotient is exact too. */
function divideUnsigned(aLow: number, aHigh: number, bLow: number, bHigh: number, wantRemainder: boolean): void {
  const highA = aHigh >>> 0;
  const highB = bHigh >>> 0;
  if (highA < EXACT_HIGH && highB < EXACT_HIGH) {
    const a = highA * 4294967296 + (aLow >>> 0);
    const b = highB * 4294967296 + (bLow >>> 0);
    const remainder = a % b;
    setNumber(wantRemainder ? remainder : (a - remainder) / b);
    return;
  }
  // Beyond 53 bits: rare in packet programs, so BigInt's allocation is no matter.
  const a = (BigInt(highA) << 32n) | BigInt(aLow >>> 0);
  const b = (BigInt(highB) << 32n) | BigInt(bLow >>> 0);
  const value = wantRemainder ? a % b : a / b;
  result64[0] = Number(value & 0xffffffffn) | 0;
  result64[1] = Number(value >> 32n) | 0;
}

function negateHigh(low: number, high: number): number {
  return (~high + (low === 0 ? 1 : 0)) | 0;
}

/** Divides; the outcome stands in {@link result64}. */
export function divide64(
  aLow: number,
  aHigh: number,
  bLow: number,
  bHigh: number,
  wantRemainder: boolean,
  isSigned: boolean,
): void {
  if (bLow === 0 && bHigh === 0) {
    result64[0] = wantRemainder ? aLow : 0;
    result64[1] = wantRemainder ? aHigh : 0;
    return;
  }
  if (!isSigned) {
    divideUnsigned(aLow, aHigh, bLow, bHigh, wantRemainder);
    return;
  }
  // Of magnitudes; the least number's magnitude is right as an unsigned number, so its special case needs no code.
  const isNegative = aHigh < 0 !== bHigh < 0;
  const magnitudeLow = aHigh < 0 ? -aLow | 0 : aLow;
  const magnitudeHigh = aHigh < 0 ? negateHigh(aLow, aHigh) : aHigh;
  const divisorLow = bHigh < 0 ? -bLow | 0 : bLow;
  const divisorHigh = bHigh < 0 ? negateHigh(bLow, bHigh) : bHigh;
  divideUnsigned(magnitudeLow, magnitudeHigh, divisorLow, divisorHigh, wantRemainder);
  // A remainder has the dividend's sign.
  if (wantRemainder ? aHigh < 0 : isNegative) {
    result64[1] = negateHigh(result64[0], result64[1]);
    result64[0] = -result64[0];
  }
}

/** The same for 32 bits; the result is to be zero-extended. */
export function divide32(a: number, b: number, wantRemainder: boolean, isSigned: boolean): number {
  if (b === 0) return wantRemainder ? a : 0;
  if (isSigned) return wantRemainder ? (a % b) | 0 : (a / b) | 0;
  const unsignedA = a >>> 0;
  const unsignedB = b >>> 0;
  return wantRemainder ? (unsignedA % unsignedB) | 0 : (unsignedA / unsignedB) | 0;
}
