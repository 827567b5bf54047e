/**
 * Room `http`: strings from octets and octets from strings, ISO 8859-1 both ways: one octet is one character.
 *
 * A newcomer would get wrong: fields are octets, not UTF-8 (RFC 9110 section 5.5). Read as ISO 8859-1 nothing is lost, and
 * writing them back gives the same octets.
 */

const latin1Slice = Buffer.prototype.latin1Slice;
const latin1Write = Buffer.prototype.latin1Write;

/** Below this length a loop beats the call into Node (measured by `bench/parser.ts`). */
const LOOP_BYTES_MAX = 8;

/** The longest string that a `TextCache` keeps. */
const TEXT_CACHE_BYTES_MAX = 64;

/** `bytes[start, end)` as a string. */
export function text(bytes: Uint8Array, start: number, end: number): string {
  if (end - start > LOOP_BYTES_MAX) return latin1Slice.call(bytes, start, end);
  let result = '';
  for (let index = start; index < end; index++) result += String.fromCharCode(bytes[index]);
  return result;
}

/**
 * Strings for octets that come again and again (paths, host names), so that the same octets give the same string without an
 * allocation. Bounded: each of its places holds the last string that fell there. Nothing depends on what is found.
 */
export class TextCache {
  readonly #places: string[];
  readonly #mask: number;

  /** `places`: a power of two. */
  constructor(places = 256) {
    if (!Number.isInteger(Math.log2(places))) throw new RangeError(`places is ${places}: a power of two is allowed`);
    this.#places = new Array<string>(places).fill('');
    this.#mask = places - 1;
  }

  /** `bytes[start, end)` as a string. Longer ones than TEXT_CACHE_BYTES_MAX are made anew each time. */
  get(bytes: Uint8Array, start: number, end: number): string {
    const length = end - start;
    if (length > TEXT_CACHE_BYTES_MAX || length === 0) return text(bytes, start, end);
    const place =
      (length * 31 + bytes[start + (length >> 1)] * 17 + bytes[end - 1] * 7 + bytes[start + (length >> 2)]) &
      this.#mask;
    const known = this.#places[place];
    if (known.length === length) {
      let index = 0;
      while (index < length && known.charCodeAt(index) === bytes[start + index]) index++;
      if (index === length) return known;
    }
    const made = text(bytes, start, end);
    this.#places[place] = made;
    return made;
  }
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
