/**
 * Room `http`: strings from octets and octets from strings, ISO 8859-1 both ways: one octet is one character.
 *
 * A newcomer would get wrong: fields are octets, not UTF-8 (RFC 9110 section 5.5). Read as ISO 8859-1 nothing is lost, and
 * writing them back gives the same octets.
 */

const latin1Slice = Buffer.prototype.latin1Slice;
const latin1Write = Buffer.prototype.latin1Write;

/** Below this length a loop beats the call into Node (measured by `bench/parser.ts`). */
const LOOP_BYTES_MAX = 12;

/** `bytes[start, end)` as a string. */
export function text(bytes: Uint8Array, start: number, end: number): string {
  if (end - start > LOOP_BYTES_MAX) return latin1Slice.call(bytes, start, end);
  let result = '';
  for (let index = start; index < end; index++) result += String.fromCharCode(bytes[index]);
  return result;
}

/** Writes `value` at `offset` and returns the offset behind it. The caller has checked that it fits. */
export function writeText(bytes: Uint8Array, offset: number, value: string): number {
  const length = value.length;
  if (length > LOOP_BYTES_MAX) return offset + latin1Write.call(bytes, value, offset, length);
  for (let index = 0; index < length; index++) bytes[offset + index] = value.charCodeAt(index);
  return offset + length;
}

/** Whether `bytes[start, end)` is `lower` in any case. `lower` holds letters, digits and hyphens only, letters lower-case. */
export function equalsIgnoringCase(bytes: Uint8Array, start: number, end: number, lower: string): boolean {
  const length = lower.length;
  if (end - start !== length) return false;
  for (let index = 0; index < length; index++) {
    const byte = bytes[start + index];
    const folded = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
    if (folded !== lower.charCodeAt(index)) return false;
  }
  return true;
}
