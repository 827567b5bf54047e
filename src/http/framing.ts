/**
 * Room `http`: what the framing fields say (Content-Length, Transfer-Encoding, Connection), for requests and responses alike.
 *
 * A newcomer would get wrong: nothing here is lenient. Two recipients that read a length differently are a request smuggling
 * hole (RFC 9112 section 11.2), so equal repeated lengths, empty list elements and the like are refused although a recipient
 * might repair them.
 */
import { COMMA, HT, SP, TOKEN } from './characters.ts';
import { FIELD_CONTENT_LENGTH, FIELD_TRANSFER_ENCODING } from './field-names.ts';
import type { Fields } from './fields.ts';
import { equalsIgnoringCase } from './text.ts';

/** No Content-Length. */
export const LENGTH_NONE = -1;
/** Content-Length that is no number, empty, or there more than once. */
export const LENGTH_INVALID = -2;
/** A number that no integer of JavaScript holds. */
export const LENGTH_TOO_LARGE = -3;

/** The Content-Length, or one of the three above (RFC 9110 section 8.6: 1*DIGIT). */
export function contentLengthOf(fields: Fields): number {
  const index = fields.indexOf(FIELD_CONTENT_LENGTH);
  if (index < 0) return LENGTH_NONE;
  if (fields.isRepeated(FIELD_CONTENT_LENGTH)) return LENGTH_INVALID;
  const bytes = fields.bytes;
  const end = fields.valueEnd(index);
  let position = fields.valueStart(index);
  if (position === end) return LENGTH_INVALID;
  let length = 0;
  for (; position < end; position++) {
    const digit = bytes[position] - 0x30;
    if (digit < 0 || digit > 9) return LENGTH_INVALID;
    length = length * 10 + digit;
  }
  return length <= Number.MAX_SAFE_INTEGER ? length : LENGTH_TOO_LARGE;
}

export const CODING_NONE = 0;
/** `chunked` and nothing else. */
export const CODING_CHUNKED = 1;
/** Well-formed, `chunked` last and once, but with codings before it that nobody here can undo. */
export const CODING_UNKNOWN = 2;
/** `chunked` is not last, or there twice, or this is no list of tokens: the body's end cannot be known. */
export const CODING_INVALID = 3;

/** What all Transfer-Encoding lines together say (RFC 9112 sections 6.1 and 7). */
export function transferCodingOf(fields: Fields): number {
  let index = fields.indexOf(FIELD_TRANSFER_ENCODING);
  if (index < 0) return CODING_NONE;
  const bytes = fields.bytes;
  let coding = CODING_NONE;
  for (; index >= 0; index = fields.next(index)) {
    const end = fields.valueEnd(index);
    let position = fields.valueStart(index);
    for (;;) {
      // Once chunked was seen nothing may follow it, not even chunked.
      if (coding === CODING_CHUNKED || coding === CODING_UNKNOWN) return CODING_INVALID;
      const start = position;
      while (position < end && TOKEN[bytes[position]] !== 0) position++;
      if (position === start) return CODING_INVALID;
      if (equalsIgnoringCase(bytes, start, position, 'chunked')) {
        coding = coding === CODING_NONE ? CODING_CHUNKED : CODING_UNKNOWN;
      } else if (equalsIgnoringCase(bytes, start, position, 'identity')) {
        return CODING_INVALID;
      } else {
        coding = CODING_INVALID;
      }
      while (position < end && (bytes[position] === SP || bytes[position] === HT)) position++;
      if (position === end) break;
      if (bytes[position] !== COMMA) return CODING_INVALID;
      position++;
      while (position < end && (bytes[position] === SP || bytes[position] === HT)) position++;
    }
  }
  return coding;
}
