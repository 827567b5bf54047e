/**
 * Room `http`: the chunked coding (RFC 9112 section 7.1): an incremental decoder that reports runs of data where they lie, and
 * what an encoder writes around its data.
 *
 * A newcomer would get wrong: no octet of data is copied, so a run is valid only as long as the octets given to `next`. Chunk
 * lines end in CRLF and nothing else: the leave to take a single LF covers start lines and fields only (section 2.2).
 */
import { BACKSLASH, CR, EQUALS, HEXADECIMAL, HT, LF, QUOTE, QUOTED, SEMICOLON, SP, TOKEN } from './characters.ts';
import { FIELD_CONTENT_LENGTH, FIELD_HOST, FIELD_TRANSFER_ENCODING } from './field-names.ts';
import { BAD_REQUEST, FIELDS_TOO_LARGE, Fields } from './fields.ts';
import type { HeadLimits } from './head.ts';

/** All octets are used up; the body goes on. */
export const CHUNK_MORE = 0;
/** `bytes[dataStart, dataEnd)` is data; go on from `position`. */
export const CHUNK_DATA = 1;
/** The body is complete, its trailers in `trailers`; `position` is just behind it. */
export const CHUNK_END = 2;

const CONTENT_TOO_LARGE = -413;
/** No size that counts needs more; leading zeros beyond are an attack or a defect. */
const SIZE_DIGITS_MAX = 16;

const IN_SIZE = 0;
const IN_SPACE_BEFORE_SEMICOLON = 1;
const IN_EXTENSION_START = 2;
const IN_EXTENSION_NAME = 3;
const IN_SPACE_AFTER_NAME = 4;
const IN_VALUE_START = 5;
const IN_VALUE = 6;
const IN_QUOTED = 7;
const IN_ESCAPE = 8;
const IN_VALUE_END = 9;
const IN_SIZE_LF = 10;
const IN_DATA = 11;
const IN_DATA_CR = 12;
const IN_DATA_LF = 13;
const IN_TRAILER_START = 14;
const IN_END_LF = 15;
const IN_TRAILERS = 16;
const AT_END = 17;

const NO_TRAILERS = new Fields(0);
const NO_BYTES = new Uint8Array(0);

export class ChunkedDecoder {
  /** Where to go on reading, after each event. */
  position = 0;
  dataStart = 0;
  dataEnd = 0;
  /** Octets of data so far, for the limit of the body's size. */
  received = 0;
  /** After CHUNK_END. Empty, or a view into octets of the decoder's own, valid until `reset`. */
  trailers: Fields = NO_TRAILERS;

  #state: number = IN_SIZE;
  #digits = 0;
  /** What is left of the chunk; while its line is read, its size. */
  #remaining = 0;
  #extensionBytes = 0;
  #trailerBytes: Uint8Array = NO_BYTES;
  #trailerLength = 0;
  readonly #limits: HeadLimits;

  /** `limits` bound the trailers like the fields of a head, and all extensions of a body together by `headSize`. */
  constructor(limits: HeadLimits) {
    this.#limits = limits;
  }

  /** Gets ready for another body. */
  reset(): void {
    this.#state = IN_SIZE;
    this.#digits = 0;
    this.#remaining = 0;
    this.#extensionBytes = 0;
    this.#trailerBytes = NO_BYTES;
    this.#trailerLength = 0;
    this.received = 0;
    this.trailers = NO_TRAILERS;
  }

  /** Octets that are left of the chunk whose data is being read: what a transfer past user memory may take. See `skip`. */
  get dataRemaining(): number {
    return this.#state === IN_DATA ? this.#remaining : 0;
  }

  /** Says that `length` octets of data, at most `dataRemaining`, went another way. */
  skip(length: number): void {
    this.received += length;
    this.#remaining -= length;
    if (this.#remaining === 0) this.#state = IN_DATA_CR;
  }

  /** Reads `bytes[start, end)` up to the next event: CHUNK_MORE, CHUNK_DATA, CHUNK_END, or a refusal (a negative status). */
  next(bytes: Uint8Array, start: number, end: number): number {
    let position = start;
    while (position < end) {
      switch (this.#state) {
        case IN_DATA: {
          const available = end - position;
          const length = Math.min(available, this.#remaining);
          this.dataStart = position;
          this.dataEnd = position + length;
          this.position = position + length;
          this.skip(length);
          return CHUNK_DATA;
        }
        case IN_SIZE: {
          const digit = HEXADECIMAL[bytes[position]];
          if (digit !== 0) {
            if (++this.#digits > SIZE_DIGITS_MAX) return BAD_REQUEST;
            this.#remaining = this.#remaining * 16 + digit - 1;
            if (this.#remaining > Number.MAX_SAFE_INTEGER) return CONTENT_TOO_LARGE;
            position++;
            break;
          }
          if (this.#digits === 0) return BAD_REQUEST;
          if (bytes[position] === CR) {
            this.#state = IN_SIZE_LF;
            position++;
            break;
          }
          this.#state = IN_SPACE_BEFORE_SEMICOLON;
          break;
        }
        case IN_SIZE_LF:
          if (bytes[position++] !== LF) return BAD_REQUEST;
          this.#digits = 0;
          this.#state = this.#remaining === 0 ? IN_TRAILER_START : IN_DATA;
          break;
        case IN_DATA_CR:
          if (bytes[position++] !== CR) return BAD_REQUEST;
          this.#state = IN_DATA_LF;
          break;
        case IN_DATA_LF:
          if (bytes[position++] !== LF) return BAD_REQUEST;
          this.#state = IN_SIZE;
          break;
        case IN_TRAILER_START:
          if (bytes[position] === CR) {
            this.#state = IN_END_LF;
            position++;
          } else this.#state = IN_TRAILERS;
          break;
        case IN_END_LF:
          if (bytes[position++] !== LF) return BAD_REQUEST;
          return this.#finish(position);
        case IN_TRAILERS: {
          const event = this.#readTrailers(bytes, position, end);
          if (event !== CHUNK_MORE) return event;
          position = end;
          break;
        }
        case AT_END:
          this.position = position;
          return CHUNK_END;
        default: {
          if (++this.#extensionBytes > this.#limits.headSize) return CONTENT_TOO_LARGE;
          this.#state = extensionState(this.#state, bytes[position++]);
          if (this.#state < 0) return BAD_REQUEST;
        }
      }
    }
    this.position = position;
    return CHUNK_MORE;
  }

  /** Gathers the trailer section, which may come in pieces, and parses what there is whenever a line ended. */
  #readTrailers(bytes: Uint8Array, start: number, end: number): number {
    const sizeMax = this.#limits.headSize;
    if (this.#trailerLength === 0) {
      this.#trailerBytes = new Uint8Array(sizeMax);
      this.trailers = new Fields(this.#limits.headerCount);
    }
    let position = start;
    while (position < end) {
      if (this.#trailerLength === sizeMax) return FIELDS_TOO_LARGE;
      const byte = bytes[position++];
      this.#trailerBytes[this.#trailerLength++] = byte;
      if (byte !== LF) continue;
      const result = this.trailers.parse(this.#trailerBytes, 0, this.#trailerLength, this.#limits.headerCount);
      if (result < 0) return result;
      if (result > 0) return mayTrail(this.trailers) ? this.#finish(position) : BAD_REQUEST;
    }
    return CHUNK_MORE;
  }

  #finish(position: number): number {
    this.position = position;
    this.#state = AT_END;
    return CHUNK_END;
  }
}

/** Framing and routing fields must not trail (RFC 9110 section 6.5.1): somebody might merge them into the head. */
function mayTrail(trailers: Fields): boolean {
  return (
    trailers.indexOf(FIELD_CONTENT_LENGTH) < 0 &&
    trailers.indexOf(FIELD_TRANSFER_ENCODING) < 0 &&
    trailers.indexOf(FIELD_HOST) < 0
  );
}

/**
 * One octet of `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) CRLF` (section 7.1.1): the state after it, or -1.
 * What is meant by an extension is ignored; its grammar is kept, because a laxer reader could see a line end in it.
 */
function extensionState(state: number, byte: number): number {
  const isSpace = byte === SP || byte === HT;
  switch (state) {
    case IN_SPACE_BEFORE_SEMICOLON:
      if (isSpace) return state;
      return byte === SEMICOLON ? IN_EXTENSION_START : -1;
    case IN_EXTENSION_START:
      if (isSpace) return state;
      return TOKEN[byte] !== 0 ? IN_EXTENSION_NAME : -1;
    case IN_EXTENSION_NAME:
      if (TOKEN[byte] !== 0) return state;
      if (isSpace) return IN_SPACE_AFTER_NAME;
      break;
    case IN_SPACE_AFTER_NAME:
      if (isSpace) return state;
      if (byte === CR) return -1;
      break;
    case IN_VALUE_START:
      if (isSpace) return state;
      if (byte === QUOTE) return IN_QUOTED;
      return TOKEN[byte] !== 0 ? IN_VALUE : -1;
    case IN_VALUE:
      if (TOKEN[byte] !== 0) return state;
      if (isSpace) return IN_SPACE_BEFORE_SEMICOLON;
      return endOfExtension(byte);
    case IN_QUOTED:
      if (QUOTED[byte] !== 0) return state;
      if (byte === BACKSLASH) return IN_ESCAPE;
      return byte === QUOTE ? IN_VALUE_END : -1;
    case IN_ESCAPE:
      return QUOTED[byte] !== 0 || byte === QUOTE || byte === BACKSLASH ? IN_QUOTED : -1;
    default:
      if (isSpace) return IN_SPACE_BEFORE_SEMICOLON;
      return endOfExtension(byte);
  }
  return byte === EQUALS ? IN_VALUE_START : endOfExtension(byte);
}

function endOfExtension(byte: number): number {
  if (byte === SEMICOLON) return IN_EXTENSION_START;
  return byte === CR ? IN_SIZE_LF : -1;
}

/** The most octets that `writeChunkHead` writes: 14 digits for any safe integer, and CRLF. */
export const CHUNK_HEAD_BYTES_MAX = 16;
/** What stands behind the data of a chunk. */
export const CHUNK_TAIL = '\r\n';
/** The last chunk and an empty trailer section. */
export const LAST_CHUNK = '0\r\n\r\n';

/** Writes `size` in hexadecimal and CRLF at `offset`; the offset behind it. 0 would end the body, so it is refused. */
export function writeChunkHead(bytes: Uint8Array, offset: number, size: number): number {
  if (!(size > 0)) throw new RangeError(`a chunk has at least one octet, not ${size}: zero ends the body`);
  let digits = 1;
  for (let rest = Math.floor(size / 16); rest > 0; rest = Math.floor(rest / 16)) digits++;
  let rest = size;
  for (let index = offset + digits - 1; index >= offset; index--) {
    const digit = rest % 16;
    bytes[index] = digit < 10 ? 0x30 + digit : 0x57 + digit;
    rest = Math.floor(rest / 16);
  }
  bytes[offset + digits] = CR;
  bytes[offset + digits + 1] = LF;
  return offset + digits + 2;
}
