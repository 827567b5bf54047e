/**
 * Room `http`: the head of an upstream's response (RFC 9112 sections 4 and 6.3), read in one pass into offsets, with the
 * framing of its body, which depends on the request as well.
 *
 * A newcomer would get wrong: a 1xx head is not the response. After one (`isInterim`) the next head follows at once, except 101,
 * behind which the connection speaks another protocol. And a refusal here is 502 for the client, whatever the defect was.
 */
import { CR, FIELD_VALUE, LF, SP } from './characters.ts';
import { FIELD_CONNECTION, FIELD_UPGRADE } from './field-names.ts';
import { Fields, INCOMPLETE } from './fields.ts';
import { CODING_CHUNKED, CODING_NONE, contentLengthOf, LENGTH_NONE, transferCodingOf } from './framing.ts';
import type { HeadLimits } from './head.ts';
import { METHOD_CONNECT, METHOD_HEAD } from './methods.ts';
import { text } from './text.ts';

/** The refusal: the client gets 502 (Bad Gateway), the upstream connection is closed. */
export const BAD_GATEWAY = -502;

/** The response ends behind its head. */
export const BODY_NONE = 0;
/** `contentLength` octets follow. */
export const BODY_LENGTH = 1;
export const BODY_CHUNKED = 2;
/** The body ends when the upstream closes; the connection cannot be used again. */
export const BODY_UNTIL_CLOSE = 3;
/** The connection is a tunnel from here on (101, or 2xx to CONNECT). */
export const BODY_TUNNEL = 4;

export class ResponseHead {
  readonly fields: Fields = new Fields();
  /** 0, or 1 for every later minor version. */
  versionMinor = 1;
  status = 0;
  reasonStart = 0;
  reasonEnd = 0;
  /** BODY_NONE… */
  body: number = BODY_NONE;
  /** What Content-Length says, -1 where it does not. It is the body's length only with BODY_LENGTH (HEAD and 304 have none). */
  contentLength: number = LENGTH_NONE;
  /** Whether the upstream allows the connection to be used again, once the body has been read to its end. */
  keepAlive = true;

  /**
   * Parses the head that starts at `bytes[start]`, of a response to a request with `method` (METHOD_GET…). `upgradeAsked`: that
   * request asked to switch protocols. Above 0: the offset just behind the head. 0: incomplete. BAD_GATEWAY: refused.
   */
  parse(
    bytes: Uint8Array,
    start: number,
    end: number,
    limits: HeadLimits,
    method: number,
    upgradeAsked: boolean,
  ): number {
    const sizeMax = limits.headSize;
    const bound = end - start > sizeMax ? start + sizeMax : end;
    let position = this.#statusLine(bytes, start, bound);
    if (position > 0) position = this.fields.parse(bytes, position, bound, limits.headerCount);
    if (position > 0) return this.#conclude(method, upgradeAsked) ? position : BAD_GATEWAY;
    return position < 0 || end - start >= sizeMax ? BAD_GATEWAY : INCOMPLETE;
  }

  /** 1xx but 101: another head follows. */
  get isInterim(): boolean {
    return this.status < 200 && this.status !== 101;
  }

  get reason(): string {
    return text(this.fields.bytes, this.reasonStart, this.reasonEnd);
  }

  /** The values of the field (name in lower case) joined by `, `, or null. */
  field(name: string): string | null {
    return this.fields.get(name);
  }

  /** Reads `HTTP/1.x SP 3DIGIT SP [reason] CRLF` and answers the offset behind it. */
  #statusLine(bytes: Uint8Array, start: number, end: number): number {
    if (start < end && bytes[start] !== 0x48) return BAD_GATEWAY;
    if (start + 1 < end && bytes[start + 1] !== 0x54) return BAD_GATEWAY;
    if (start + 2 < end && bytes[start + 2] !== 0x54) return BAD_GATEWAY;
    if (start + 3 < end && bytes[start + 3] !== 0x50) return BAD_GATEWAY;
    if (start + 4 < end && bytes[start + 4] !== 0x2f) return BAD_GATEWAY;
    if (start + 5 < end && bytes[start + 5] !== 0x31) return BAD_GATEWAY;
    if (start + 6 < end && bytes[start + 6] !== 0x2e) return BAD_GATEWAY;
    if (start + 7 < end && !isDigit(bytes[start + 7])) return BAD_GATEWAY;
    if (start + 8 < end && bytes[start + 8] !== SP) return BAD_GATEWAY;
    if (start + 9 < end && !(bytes[start + 9] >= 0x31 && bytes[start + 9] <= 0x35)) return BAD_GATEWAY;
    if (start + 10 < end && !isDigit(bytes[start + 10])) return BAD_GATEWAY;
    if (start + 11 < end && !isDigit(bytes[start + 11])) return BAD_GATEWAY;
    // Some servers leave the space out where they give no reason; nothing can be misread then.
    if (start + 12 < end && bytes[start + 12] !== SP && bytes[start + 12] !== CR) return BAD_GATEWAY;
    if (start + 12 >= end) return INCOMPLETE;
    this.versionMinor = bytes[start + 7] === 0x30 ? 0 : 1;
    this.status = (bytes[start + 9] - 0x30) * 100 + (bytes[start + 10] - 0x30) * 10 + bytes[start + 11] - 0x30;

    let position = bytes[start + 12] === SP ? start + 13 : start + 12;
    this.reasonStart = position;
    while (position < end && FIELD_VALUE[bytes[position]] !== 0) position++;
    if (position === end) return INCOMPLETE;
    if (bytes[position] !== CR) return BAD_GATEWAY;
    this.reasonEnd = position;
    if (position + 1 === end) return INCOMPLETE;
    return bytes[position + 1] === LF ? position + 2 : BAD_GATEWAY;
  }

  /** Framing in the order of RFC 9112 section 6.3; false where the response is not to be trusted. */
  #conclude(method: number, upgradeAsked: boolean): boolean {
    const fields = this.fields;
    this.keepAlive = this.versionMinor !== 0;
    if (fields.indexOf(FIELD_CONNECTION) >= 0) {
      if (fields.hasElement(FIELD_CONNECTION, 'close')) this.keepAlive = false;
      else if (!this.keepAlive) this.keepAlive = fields.hasElement(FIELD_CONNECTION, 'keep-alive');
    }

    const length = contentLengthOf(fields);
    const coding = transferCodingOf(fields);
    const hasFraming = length !== LENGTH_NONE || coding !== CODING_NONE;
    this.contentLength = length < 0 ? LENGTH_NONE : length;
    // An invalid length, two ways of framing, or a coding that HTTP/1.0 does not know: none may be guessed at.
    if (length < LENGTH_NONE) return false;
    if (coding !== CODING_NONE && (length !== LENGTH_NONE || this.versionMinor === 0)) return false;

    if (this.status === 101) {
      // Switching without being asked, or with a body of its own, would leave the client guessing (RFC 9110 section 7.8).
      this.body = BODY_TUNNEL;
      return upgradeAsked && !hasFraming && fields.indexOf(FIELD_UPGRADE) >= 0;
    }
    if (method === METHOD_CONNECT && this.status >= 200 && this.status < 300) {
      this.body = BODY_TUNNEL;
      return true;
    }
    if (this.status < 200 || this.status === 204) {
      // Content-Length and Transfer-Encoding must not be here (RFC 9110 section 8.6, RFC 9112 section 6.1): sooner or later
      // somebody reads a body after it. `Content-Length: 0` is common with 204 and harmless.
      this.body = BODY_NONE;
      return coding === CODING_NONE && length <= 0;
    }
    if (this.status === 304 || method === METHOD_HEAD) {
      this.body = BODY_NONE;
      return coding === CODING_NONE || coding === CODING_CHUNKED;
    }
    if (coding !== CODING_NONE) {
      // Unknown codings cannot be passed on: Transfer-Encoding is hop-by-hop, and the client never said that it takes them.
      this.body = BODY_CHUNKED;
      return coding === CODING_CHUNKED;
    }
    if (length >= 0) {
      this.body = length === 0 ? BODY_NONE : BODY_LENGTH;
      return true;
    }
    this.body = BODY_UNTIL_CLOSE;
    this.keepAlive = false;
    return true;
  }
}

function isDigit(octet: number): boolean {
  return octet >= 0x30 && octet <= 0x39;
}
