/**
 * Room `http`: writing heads as octets: constants, runs copied from another head, whole numbers. No strings in between.
 *
 * A newcomer would get wrong: source and target may be the same memory (the engine's), but the ranges never overlap.
 */
import { writeText } from './text.ts';

/** Below this length a loop beats the call into the engine's copy (measured: about 40 ns a call). */
const LOOP_BYTES_MAX = 48;

/** A constant text of ASCII characters as octets. */
export function octetsOf(ascii: string): Uint8Array {
  const octets = new Uint8Array(ascii.length);
  writeText(octets, 0, ascii);
  return octets;
}

/** Copies `source[start, end)` to `target` and answers the offset behind it. */
export function copyOctets(target: Uint8Array, at: number, source: Uint8Array, start: number, end: number): number {
  const length = end - start;
  if (length <= LOOP_BYTES_MAX) for (let index = 0; index < length; index++) target[at + index] = source[start + index];
  else if (source === target) target.copyWithin(at, start, end);
  else target.set(source.subarray(start, end), at);
  return at + length;
}

/** Copies all of a constant. */
export function writeOctets(target: Uint8Array, at: number, octets: Uint8Array): number {
  const length = octets.length;
  for (let index = 0; index < length; index++) target[at + index] = octets[index];
  return at + length;
}

/** The most digits that `writeNumber` writes: a safe integer's. */
export const NUMBER_BYTES_MAX = 16;

/** Writes a whole number from 0 up, in decimal. */
export function writeNumber(target: Uint8Array, at: number, value: number): number {
  let size = 1;
  for (let bound = 10; value >= bound; bound *= 10) size++;
  let rest = value;
  for (let index = at + size - 1; index >= at; index--) {
    const tenth = Math.floor(rest / 10);
    target[index] = 48 + (rest - tenth * 10);
    rest = tenth;
  }
  return at + size;
}
