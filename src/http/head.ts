/**
 * Room `http`: the head of a request (RFC 9112 sections 2 to 6), read in one pass into offsets, with the framing of its body.
 *
 * One `RequestHead` serves all connections of a thread: a head is parsed in one go when it is there whole, and the answer is
 * used before the next is parsed. An incomplete head is kept by the connection, which parses it again from its start when
 * {@link lineEndsIn} says that it pays.
 *
 * A newcomer would get wrong: everything ambiguous is refused, and the parser never looks for the end of the head first. It
 * goes from left to right, so the verdict is the same however the octets are cut, and garbage is refused at its first octet.
 */
import { isAuthority } from './authority.ts';
import {
  ASTERISK,
  COLON,
  CR,
  HEXADECIMAL,
  LF,
  QUESTION,
  SLASH,
  SP,
  TARGET,
  TARGET_PERCENT,
  TARGET_PLAIN,
  TOKEN,
} from './characters.ts';
import {
  FIELD_CONNECTION,
  FIELD_CONTENT_LENGTH,
  FIELD_EXPECT,
  FIELD_HOST,
  FIELD_TRANSFER_ENCODING,
  FIELD_UPGRADE,
} from './field-names.ts';
import { BAD_REQUEST, FIELDS_TOO_LARGE, Fields, INCOMPLETE } from './fields.ts';
import {
  CODING_CHUNKED,
  CODING_NONE,
  CODING_UNKNOWN,
  contentLengthOf,
  LENGTH_NONE,
  LENGTH_TOO_LARGE,
  transferCodingOf,
} from './framing.ts';
import { METHOD_CONNECT, METHOD_GET, METHOD_NAMES, METHOD_OPTIONS, METHOD_OTHER, methodOf } from './methods.ts';
import { equalsIgnoringCase, TextCache, text } from './text.ts';

const CONTENT_TOO_LARGE = -413;
const TARGET_TOO_LONG = -414;
const NOT_IMPLEMENTED = -501;
const VERSION_NOT_SUPPORTED = -505;

/** `/path?query` */
export const FORM_ORIGIN = 0;
/** `http://authority/path?query` */
export const FORM_ABSOLUTE = 1;
/** `authority`, for CONNECT */
export const FORM_AUTHORITY = 2;
/** `*`, for OPTIONS */
export const FORM_ASTERISK = 3;

export interface HeadLimits {
  /** Octets of a head, its empty line and empty lines before it included. More is 431, or 414 within the request line. */
  readonly headSize: number;
  /** Field lines. More is 431. */
  readonly headerCount: number;
}

/**
 * Whether parsing an incomplete head again could bring news, `bytes[from, end)` being what has arrived since: only where a
 * line ended. So a head that comes an octet at a time is parsed once a line, not once an octet. A head that has reached
 * `headSize` has to be parsed regardless, to be refused.
 */
export function lineEndsIn(bytes: Uint8Array, from: number, end: number): boolean {
  for (let position = from; position < end; position++) if (bytes[position] === LF) return true;
  return false;
}

export class RequestHead {
  readonly fields: Fields = new Fields();
  readonly #texts = new TextCache();
  /** METHOD_GET…, METHOD_OTHER for what `methodStart` and `methodEnd` say. */
  method: number = METHOD_OTHER;
  methodStart = 0;
  methodEnd = 0;
  targetStart = 0;
  targetEnd = 0;
  form: number = FORM_ORIGIN;
  /** The path within the target; empty in absolute-form without one, where it means `/`, and in the other two forms. */
  pathStart = 0;
  pathEnd = 0;
  /** The query without its `?`; start and end are equal where there is none. */
  queryStart = 0;
  queryEnd = 0;
  /** The authority that the request is for: the target's where it has one (RFC 9112 section 3.2.2), else Host's. */
  authorityStart = 0;
  authorityEnd = 0;
  /** 0, or 1 for HTTP/1.1 and every later minor version, which is treated like it (RFC 9110 section 2.5). */
  versionMinor = 1;
  /** Octets of the body; -1 where no Content-Length says. A request without length and coding has no body (section 6.3). */
  contentLength: number = LENGTH_NONE;
  chunked = false;
  /** Whether the client allows the connection to be used again. */
  keepAlive = true;
  /** The client waits for 100 (Continue) before it sends the body. */
  expectContinue = false;
  /** The client offers to switch protocols; what to, says the Upgrade field. */
  upgrade = false;

  /**
   * Parses the head that starts at `bytes[start]`. Above 0: the offset just behind it. 0: incomplete; read on. Below 0: refused
   * with this status, to be answered and followed by closing. After 0 or a refusal the properties mean nothing.
   */
  parse(bytes: Uint8Array, start: number, end: number, limits: HeadLimits): number {
    const sizeMax = limits.headSize;
    const bound = end - start > sizeMax ? start + sizeMax : end;
    this.targetStart = 0;
    let position = this.#requestLine(bytes, start, bound);
    const inFields = position > 0;
    if (inFields) position = this.fields.parse(bytes, position, bound, limits.headerCount);
    if (position > 0) {
      const refusal = this.#conclude(bytes);
      return refusal === 0 ? position : refusal;
    }
    if (position === INCOMPLETE && end - start >= sizeMax) {
      return inFields || this.targetStart === 0 ? FIELDS_TOO_LARGE : TARGET_TOO_LONG;
    }
    return position;
  }

  /** The head was copied to `bytes`, every offset `distance` further on: cheaper than parsing the copy. */
  move(bytes: Uint8Array, distance: number): void {
    this.fields.move(bytes, distance);
    this.methodStart += distance;
    this.methodEnd += distance;
    this.targetStart += distance;
    this.targetEnd += distance;
    this.pathStart += distance;
    this.pathEnd += distance;
    this.queryStart += distance;
    this.queryEnd += distance;
    this.authorityStart += distance;
    this.authorityEnd += distance;
  }

  /** The method as a string; no allocation for known ones. */
  get methodName(): string {
    return this.method === METHOD_OTHER
      ? text(this.fields.bytes, this.methodStart, this.methodEnd)
      : METHOD_NAMES[this.method];
  }

  /** The whole request-target as it was sent. */
  get target(): string {
    return text(this.fields.bytes, this.targetStart, this.targetEnd);
  }

  /** The path as it was sent, percent-encodings and dot segments included; `/` where the target has none, `*` for that form. */
  get path(): string {
    if (this.form === FORM_ASTERISK) return '*';
    return this.pathStart === this.pathEnd ? '/' : this.#texts.get(this.fields.bytes, this.pathStart, this.pathEnd);
  }

  /** The query without `?`, empty where there is none. */
  get query(): string {
    return text(this.fields.bytes, this.queryStart, this.queryEnd);
  }

  /** Host and port that the request is for, as sent; empty where an HTTP/1.0 client named none. */
  get authority(): string {
    return this.#texts.get(this.fields.bytes, this.authorityStart, this.authorityEnd);
  }

  /** The values of the field (name in lower case) joined by `, `, or null. */
  field(name: string): string | null {
    return this.fields.get(name);
  }

  get hasBody(): boolean {
    return this.chunked || this.contentLength > 0;
  }

  /** Reads `method SP request-target SP HTTP-version CRLF` and answers the offset behind it. */
  #requestLine(bytes: Uint8Array, start: number, end: number): number {
    let position = start;
    // Empty lines before the request line are ignored (section 2.2): some clients send one after a body.
    while (position < end && bytes[position] === CR) {
      if (position + 1 === end) return INCOMPLETE;
      if (bytes[position + 1] !== LF) return BAD_REQUEST;
      position += 2;
    }

    this.methodStart = position;
    while (position < end && TOKEN[bytes[position]] !== 0) position++;
    if (position === end) return INCOMPLETE;
    if (bytes[position] !== SP || position === this.methodStart) return BAD_REQUEST;
    this.methodEnd = position;
    this.method =
      position - this.methodStart === 3 &&
      bytes[position - 3] === 0x47 &&
      bytes[position - 2] === 0x45 &&
      bytes[position - 1] === 0x54
        ? METHOD_GET
        : methodOf(bytes, this.methodStart, position);
    position++;

    this.targetStart = position;
    let queryStart = -1;
    for (; position < end; position++) {
      const kind = TARGET[bytes[position]];
      if (kind === TARGET_PLAIN) continue;
      if (kind === 0) break;
      if (kind === TARGET_PERCENT) {
        // In a query browsers send `%` as it stands; in a path its meaning would be anybody's guess.
        if (queryStart >= 0) continue;
        if (position + 1 < end && HEXADECIMAL[bytes[position + 1]] === 0) return BAD_REQUEST;
        if (position + 2 < end && HEXADECIMAL[bytes[position + 2]] === 0) return BAD_REQUEST;
      } else if (queryStart < 0) queryStart = position + 1;
    }
    if (position === end) return INCOMPLETE;
    if (bytes[position] !== SP || position === this.targetStart) return BAD_REQUEST;
    this.targetEnd = position;
    this.queryEnd = position;
    this.queryStart = queryStart < 0 ? position : queryStart;
    this.pathStart = this.targetStart;
    this.pathEnd = queryStart < 0 ? position : queryStart - 1;
    position++;

    position = this.#version(bytes, position, end);
    if (position <= 0) return position;

    if (bytes[this.targetStart] === SLASH && this.method !== METHOD_CONNECT) {
      this.form = FORM_ORIGIN;
      return position;
    }
    return this.#otherForm(bytes) ? position : BAD_REQUEST;
  }

  /** Reads `HTTP/1.x CRLF`, octet by octet so that a wrong one is refused although the rest has not come. */
  #version(bytes: Uint8Array, position: number, end: number): number {
    if (position < end && bytes[position] !== 0x48) return BAD_REQUEST;
    if (position + 1 < end && bytes[position + 1] !== 0x54) return BAD_REQUEST;
    if (position + 2 < end && bytes[position + 2] !== 0x54) return BAD_REQUEST;
    if (position + 3 < end && bytes[position + 3] !== 0x50) return BAD_REQUEST;
    if (position + 4 < end && bytes[position + 4] !== SLASH) return BAD_REQUEST;
    if (position + 5 < end && !isDigit(bytes[position + 5])) return BAD_REQUEST;
    if (position + 6 < end && bytes[position + 6] !== 0x2e) return BAD_REQUEST;
    if (position + 7 < end && !isDigit(bytes[position + 7])) return BAD_REQUEST;
    if (position + 8 < end && bytes[position + 8] !== CR) return BAD_REQUEST;
    if (position + 9 < end && bytes[position + 9] !== LF) return BAD_REQUEST;
    if (position + 10 > end) return INCOMPLETE;
    if (bytes[position + 5] !== 0x31) return VERSION_NOT_SUPPORTED;
    this.versionMinor = bytes[position + 7] === 0x30 ? 0 : 1;
    return position + 10;
  }

  /** Sorts out the forms that do not begin with a slash (section 3.2); false where the target is none of them. */
  #otherForm(bytes: Uint8Array): boolean {
    const start = this.targetStart;
    const end = this.targetEnd;
    if (this.method === METHOD_CONNECT) {
      this.form = FORM_AUTHORITY;
      this.authorityStart = start;
      this.authorityEnd = end;
      this.pathEnd = this.pathStart = this.queryStart = this.queryEnd = end;
      return isAuthority(bytes, start, end, true);
    }
    if (bytes[start] === ASTERISK) {
      this.form = FORM_ASTERISK;
      this.pathStart = this.pathEnd = end;
      return this.method === METHOD_OPTIONS && end - start === 1;
    }
    this.form = FORM_ABSOLUTE;
    let position = start;
    while (position < end && bytes[position] !== COLON) position++;
    if (!equalsIgnoringCase(bytes, start, position, 'http') && !equalsIgnoringCase(bytes, start, position, 'https'))
      return false;
    if (position + 2 >= end || bytes[position + 1] !== SLASH || bytes[position + 2] !== SLASH) return false;
    position += 3;
    this.authorityStart = position;
    while (position < end && bytes[position] !== SLASH && bytes[position] !== QUESTION) position++;
    this.authorityEnd = position;
    this.pathStart = position;
    return isAuthority(bytes, this.authorityStart, position, false);
  }

  /** Draws the conclusions from the fields: 0, or the refusal. */
  #conclude(bytes: Uint8Array): number {
    const fields = this.fields;
    const host = fields.indexOf(FIELD_HOST);
    if (host >= 0) {
      const start = fields.valueStart(host);
      const end = fields.valueEnd(host);
      if (fields.isRepeated(FIELD_HOST) || !isAuthority(bytes, start, end, false)) return BAD_REQUEST;
      if (this.form === FORM_ORIGIN || this.form === FORM_ASTERISK) {
        this.authorityStart = start;
        this.authorityEnd = end;
      }
    } else {
      if (this.versionMinor !== 0) return BAD_REQUEST;
      if (this.form === FORM_ORIGIN || this.form === FORM_ASTERISK)
        this.authorityStart = this.authorityEnd = this.targetEnd;
    }

    this.contentLength = LENGTH_NONE;
    this.chunked = false;
    if (fields.indexOf(FIELD_CONTENT_LENGTH) >= 0 || fields.indexOf(FIELD_TRANSFER_ENCODING) >= 0) {
      const refusal = this.#framing();
      if (refusal !== 0) return refusal;
    }

    this.keepAlive = this.versionMinor !== 0;
    this.upgrade = false;
    if (fields.indexOf(FIELD_CONNECTION) >= 0) {
      if (fields.hasElement(FIELD_CONNECTION, 'close')) this.keepAlive = false;
      else if (!this.keepAlive) this.keepAlive = fields.hasElement(FIELD_CONNECTION, 'keep-alive');
      // Upgrade in HTTP/1.0 is ignored (RFC 9110 section 7.8).
      this.upgrade =
        this.versionMinor !== 0 && fields.indexOf(FIELD_UPGRADE) >= 0 && fields.hasElement(FIELD_CONNECTION, 'upgrade');
    }

    // An HTTP/1.0 client knows no interim responses, and without a body there is nothing to wait for (RFC 9110 section 10.1.1).
    this.expectContinue =
      fields.indexOf(FIELD_EXPECT) >= 0 &&
      this.versionMinor !== 0 &&
      this.hasBody &&
      fields.hasElement(FIELD_EXPECT, '100-continue');
    return 0;
  }

  #framing(): number {
    const fields = this.fields;
    const length = contentLengthOf(fields);
    const coding = transferCodingOf(fields);
    if (coding !== CODING_NONE) {
      // With a length beside it, or from HTTP/1.0, a coding is an attempt to smuggle or an error (section 6.1).
      if (length !== LENGTH_NONE || this.versionMinor === 0) return BAD_REQUEST;
      if (coding === CODING_UNKNOWN) return NOT_IMPLEMENTED;
      if (coding !== CODING_CHUNKED) return BAD_REQUEST;
      this.chunked = true;
      return 0;
    }
    if (length === LENGTH_TOO_LARGE) return CONTENT_TOO_LARGE;
    if (length < 0) return BAD_REQUEST;
    this.contentLength = length;
    return 0;
  }
}

function isDigit(octet: number): boolean {
  return octet >= 0x30 && octet <= 0x39;
}
