/**
 * Room `http`: what a proxy passes on of a head and what it adds (RFC 9110 section 7.6, RFC 7239), written as octets. Lines
 * that pass are copied in runs as they stand: the parser took nothing but well-formed ones.
 *
 * A newcomer would get wrong: what `Connection` names is hop-by-hop too, whatever its name; leaving it in lets a client smuggle
 * a field past the proxy's own rules.
 */
import { CR, LF, SLASH } from './characters.ts';
import * as names from './field-names.ts';
import type { Fields } from './fields.ts';
import { FORM_ABSOLUTE } from './head.ts';
import { METHOD_OPTIONS, METHOD_TRACE } from './methods.ts';
import { copyOctets, NUMBER_BYTES_MAX, octetsOf, writeNumber, writeOctets } from './octets.ts';
import type { Request } from './request.ts';
import { equalsIgnoringCase, writeText } from './text.ts';

/** Marks known names; FIELD_OTHER stays 0. */
function marking(...ids: readonly number[]): Uint8Array {
  const marks = new Uint8Array(256);
  for (const id of ids) if (id !== names.FIELD_OTHER) marks[id] = 1;
  return marks;
}

const HOP_BY_HOP = marking(
  names.FIELD_CONNECTION,
  names.FIELD_KEEP_ALIVE,
  names.FIELD_PROXY_CONNECTION,
  names.FIELD_PROXY_AUTHENTICATE,
  names.FIELD_PROXY_AUTHORIZATION,
  names.FIELD_TE,
  names.FIELD_TRANSFER_ENCODING,
  names.FIELD_UPGRADE,
  names.FIELD_HTTP2_SETTINGS,
  // Written anew with the framing of the next hop.
  names.FIELD_CONTENT_LENGTH,
);

/** Fields that say how a message is framed, routed, authorised or read: in trailers they come too late to be believed. */
const NOT_TRAILING = marking(
  ...[
    'accept, accept-encoding, accept-language, authorization, cache-control, connection, content-encoding, content-length',
    'content-range, content-type, cookie, expect, forwarded, host, http2-settings, if-match, if-modified-since',
    'if-none-match, if-range, if-unmodified-since, keep-alive, location, max-forwards, pragma, proxy-authenticate',
    'proxy-authorization, proxy-connection, range, set-cookie, te, trailer, transfer-encoding, upgrade, vary, via',
    'www-authenticate, x-forwarded-for, x-forwarded-host, x-forwarded-proto, x-real-ip',
  ]
    .join(', ')
    .split(', ')
    .map((name) => names.fieldIdOfName(name)),
);

export type ForwardedStyle = 'x-forwarded' | 'forwarded' | 'both' | 'none';

export interface ForwardingOptions {
  /** Which fields tell the upstream about the client. Default `x-forwarded`. */
  readonly forwarded?: ForwardedStyle;
  /** Whether such fields that the client sent are kept and added to. Default false: they are removed. */
  readonly trustForwarded?: boolean;
  /** Removes the route's path from the front of the request's. */
  readonly stripPrefix?: boolean;
  /** The name of this proxy in Via, a token. Default `millrace`; '' for no Via. */
  readonly via?: string;
}

const LINE_END = octetsOf('\r\n');
const VERSION_AND_HOST = octetsOf(' HTTP/1.1\r\nHost: ');
const FORWARDED_FOR = octetsOf('X-Forwarded-For: ');
const FORWARDED_HOST = octetsOf('X-Forwarded-Host: ');
const FORWARDED_PROTO = octetsOf('X-Forwarded-Proto: ');
const FORWARDED = octetsOf('Forwarded: ');
const LIST_COMMA = octetsOf(', ');
const MAX_FORWARDS = octetsOf('Max-Forwards: ');
const TAKES_TRAILERS = octetsOf('TE: trailers\r\nConnection: TE\r\n');
const CONNECTION_UPGRADE = octetsOf('Connection: upgrade\r\nUpgrade: ');
const CHUNKED = octetsOf('Transfer-Encoding: chunked\r\n');
const CONTENT_LENGTH = octetsOf('Content-Length: ');
const HTTP_1_1 = octetsOf('HTTP/1.1 ');
const CLOSE = octetsOf('Connection: close\r\n');
const KEEP_ALIVE = octetsOf('Connection: keep-alive\r\n');

/** The client's address where it is not known, or has no name (a Unix socket): RFC 7239 section 6.2. */
const UNKNOWN = 'unknown';
/** What is added at most beside strings whose lengths are counted: the constants above, numbers, an address thrice. */
const ADDED_BYTES_MAX = 640;

/** What one proxy does to the heads of requests. */
export class Forwarding {
  private readonly strips: boolean;
  private readonly trusts: boolean;
  private readonly x: boolean;
  private readonly standard: boolean;
  private readonly dropped: Uint8Array;
  private readonly viaLines: readonly Uint8Array[];

  constructor(options: ForwardingOptions) {
    const style = options.forwarded ?? 'x-forwarded';
    const via = options.via ?? 'millrace';
    if (!/^[\w!#$%&'*+.^`|~:-]*$/.test(via)) throw new RangeError(`'${via}' is no name for Via: a token is allowed`);
    this.strips = options.stripPrefix === true;
    this.trusts = options.trustForwarded === true;
    this.x = style === 'x-forwarded' || style === 'both';
    this.standard = style === 'forwarded' || style === 'both';
    this.viaLines = [0, 1].map((minor) => octetsOf(via === '' ? '' : `Via: 1.${minor} ${via}\r\n`));
    this.dropped = HOP_BY_HOP.slice();
    this.dropped[names.FIELD_HOST] = 1;
    this.dropped[names.FIELD_EXPECT] = 1;
    // What the client claims about itself goes, unless it is trusted; what is trusted is written anew with our part added.
    if (!this.trusts) this.dropped[names.FIELD_X_REAL_IP] = 1;
    if (this.x || !this.trusts) {
      this.dropped[names.FIELD_X_FORWARDED_FOR] = 1;
      this.dropped[names.FIELD_X_FORWARDED_HOST] = 1;
      this.dropped[names.FIELD_X_FORWARDED_PROTO] = 1;
    }
    if (this.standard || !this.trusts) this.dropped[names.FIELD_FORWARDED] = 1;
  }

  /** Bytes that `writeRequestHead` writes at most. */
  requestHeadBytesMax(request: Request, upstreamHost: string): number {
    const fields = request.head.fields;
    const last = fields.count === 0 ? request.head.targetEnd : fields.valueEnd(fields.count - 1);
    const length = last - request.head.methodStart;
    // A path by its meaning may be longer than it was spelled: every octet may need an encoding of three.
    const resolved = request.resolved === null ? 0 : request.resolved.length * 9;
    return length * (this.trusts ? 3 : 2) + resolved + upstreamHost.length + this.viaLines[0].length + ADDED_BYTES_MAX;
  }

  /**
   * Writes the request's head for the upstream and answers the offset behind it. `upgrade` passes the client's wish to switch
   * protocols on; `upstreamHost` stands in for a host that an HTTP/1.0 client did not name.
   */
  writeRequestHead(
    target: Uint8Array,
    start: number,
    request: Request,
    upgrade: boolean,
    upstreamHost: string,
  ): number {
    const head = request.head;
    const fields = head.fields;
    const bytes = fields.bytes;
    let at = copyOctets(target, start, bytes, head.methodStart, head.methodEnd);
    target[at++] = 0x20;
    at = this.writeTarget(target, at, request);
    at = writeOctets(target, at, VERSION_AND_HOST);
    if (head.authorityStart === head.authorityEnd) at = writeText(target, at, upstreamHost);
    else at = copyOctets(target, at, bytes, head.authorityStart, head.authorityEnd);
    at = writeOctets(target, at, LINE_END);
    const forwards = maxForwards(request);
    at = copyPassing(target, at, fields, this.dropped, forwards >= 0 ? names.FIELD_MAX_FORWARDS : names.FIELD_HOST);
    if (forwards >= 0) {
      at = writeNumber(target, writeOctets(target, at, MAX_FORWARDS), forwards - 1);
      at = writeOctets(target, at, LINE_END);
    }
    if (this.x) at = this.writeXForwarded(target, at, request);
    if (this.standard) at = this.writeForwarded(target, at, request);
    at = writeOctets(target, at, this.viaLines[head.versionMinor]);
    if (upgrade) {
      at = writeText(target, writeOctets(target, at, CONNECTION_UPGRADE), fields.getKnown(names.FIELD_UPGRADE) ?? '');
      at = writeOctets(target, at, LINE_END);
    } else if (fields.indexOf(names.FIELD_TE) >= 0 && fields.hasElement(names.FIELD_TE, 'trailers')) {
      at = writeOctets(target, at, TAKES_TRAILERS);
    }
    if (head.chunked) at = writeOctets(target, at, CHUNKED);
    else if (head.contentLength >= 0) at = writeLength(target, at, head.contentLength);
    return writeOctets(target, at, LINE_END);
  }

  private writeTarget(target: Uint8Array, start: number, request: Request): number {
    const head = request.head;
    const bytes = head.fields.bytes;
    let at = start;
    if (this.strips && request.resolved !== null) {
      at = writeText(target, at, encodePath(`/${request.rest.replace(/^\//, '')}`));
    } else if (this.strips && head.pathStart < head.pathEnd) {
      const from = head.pathStart + request.restStart;
      if (from >= head.pathEnd || bytes[from] !== SLASH) target[at++] = SLASH;
      at = copyOctets(target, at, bytes, Math.min(from, head.pathEnd), head.pathEnd);
    } else if (head.pathStart < head.pathEnd) {
      at = copyOctets(target, at, bytes, head.pathStart, head.pathEnd);
    } else {
      // RFC 9112 section 3.2.4: an absolute-form OPTIONS without path and query becomes `*` at the last proxy.
      const isOptions = head.method === METHOD_OPTIONS && head.targetEnd === head.authorityEnd;
      target[at++] = head.form !== FORM_ABSOLUTE || isOptions ? 0x2a : SLASH;
    }
    // From the `?` on, an empty query included.
    return copyOctets(target, at, bytes, head.pathEnd, head.queryEnd);
  }

  private writeXForwarded(target: Uint8Array, start: number, request: Request): number {
    const head = request.head;
    let at = writeOctets(target, start, FORWARDED_FOR);
    at = this.writeBefore(target, at, request, names.FIELD_X_FORWARDED_FOR);
    at = writeOctets(target, writeText(target, at, clientAddress(request) ?? UNKNOWN), LINE_END);
    const trustedHost = this.trusts ? head.fields.getKnown(names.FIELD_X_FORWARDED_HOST) : null;
    if (trustedHost !== null || head.authorityStart < head.authorityEnd) {
      at = writeOctets(target, at, FORWARDED_HOST);
      if (trustedHost !== null) at = writeText(target, at, trustedHost);
      else at = copyOctets(target, at, head.fields.bytes, head.authorityStart, head.authorityEnd);
      at = writeOctets(target, at, LINE_END);
    }
    const trustedProtocol = this.trusts ? head.fields.getKnown(names.FIELD_X_FORWARDED_PROTO) : null;
    at = writeText(target, writeOctets(target, at, FORWARDED_PROTO), trustedProtocol ?? 'http');
    return writeOctets(target, at, LINE_END);
  }

  private writeForwarded(target: Uint8Array, start: number, request: Request): number {
    const client = clientAddress(request);
    // An IPv6 address stands in brackets and quotes (RFC 7239 section 6).
    const node = client === null ? UNKNOWN : client.includes(':') ? `"[${client}]"` : client;
    const host = request.host === '' ? '' : `;host="${request.host}"`;
    let at = writeOctets(target, start, FORWARDED);
    at = this.writeBefore(target, at, request, names.FIELD_FORWARDED);
    at = writeText(target, at, `for=${node}${host};proto=http`);
    return writeOctets(target, at, LINE_END);
  }

  /** What trusted proxies before this one have said. */
  private writeBefore(target: Uint8Array, at: number, request: Request, id: number): number {
    const before = this.trusts ? request.head.fields.getKnown(id) : null;
    return before === null || before === '' ? at : writeOctets(target, writeText(target, at, before), LIST_COMMA);
  }
}

/** An IPv4 client of a dual-stack listener is named as what it is. */
function clientAddress(request: Request): string | null {
  const client = request.remoteAddress;
  if (client === null || client.family === 'unix') return null;
  return client.address.startsWith('::ffff:') && client.address.includes('.')
    ? client.address.slice(7)
    : client.address;
}

/** Characters of a path segment that stand for themselves (RFC 3986 section 3.3), beyond those that encodeURI leaves. */
function encodePath(path: string): string {
  return encodeURI(path).replace(/[?#[\]]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** The number of Max-Forwards where it means something (RFC 9110 section 7.6.2), else -1. 0: not to be forwarded. */
export function maxForwards(request: Request): number {
  const head = request.head;
  if (head.method !== METHOD_OPTIONS && head.method !== METHOD_TRACE) return -1;
  const value = head.fields.getKnown(names.FIELD_MAX_FORWARDS);
  return value !== null && /^\d{1,9}$/.test(value) ? Number(value) : -1;
}

/** Whether the client asks for a protocol that can be passed through: h2c cannot, its settings are between neighbours. */
export function mayPassUpgrade(request: Request): boolean {
  const head = request.head;
  return head.upgrade && !head.hasBody && !head.fields.hasElement(names.FIELD_UPGRADE, 'h2c');
}

/** Whether Connection names nothing but `keep-alive`, `close` or `upgrade`, which are no fields that could pass. */
function namesNoField(fields: Fields): boolean {
  const index = fields.indexOf(names.FIELD_CONNECTION);
  if (index < 0) return true;
  if (fields.isRepeated(names.FIELD_CONNECTION)) return false;
  const start = fields.valueStart(index);
  const end = fields.valueEnd(index);
  return (
    equalsIgnoringCase(fields.bytes, start, end, 'keep-alive') ||
    equalsIgnoringCase(fields.bytes, start, end, 'close') ||
    equalsIgnoringCase(fields.bytes, start, end, 'upgrade')
  );
}

/** Copies the lines that pass. `dropped` marks the known names that do not; `further` is one more of them. */
function copyPassing(target: Uint8Array, start: number, fields: Fields, dropped: Uint8Array, further: number): number {
  const bytes = fields.bytes;
  const count = fields.count;
  const simple = namesNoField(fields);
  let at = start;
  let runStart = -1;
  let runEnd = 0;
  for (let index = 0; index < count; index++) {
    const id = fields.id(index);
    if (dropped[id] === 0 && id !== further && (simple || !fields.isNamedByConnection(index))) {
      if (runStart < 0) runStart = fields.nameStart(index);
      runEnd = fields.valueEnd(index);
    } else if (runStart >= 0) {
      at = writeOctets(target, copyOctets(target, at, bytes, runStart, runEnd), LINE_END);
      runStart = -1;
    }
  }
  return runStart < 0 ? at : writeOctets(target, copyOctets(target, at, bytes, runStart, runEnd), LINE_END);
}

function writeLength(target: Uint8Array, at: number, length: number): number {
  return writeOctets(target, writeNumber(target, writeOctets(target, at, CONTENT_LENGTH), length), LINE_END);
}

/** How the response goes on to the client. */
export interface ResponseFraming {
  /** Written as Content-Length; -1 for none. */
  readonly announced: number;
  readonly isChunked: boolean;
  readonly keepsAlive: boolean;
  /** The client's minor version: HTTP/1.0 has to be told that the connection stays. */
  readonly versionMinor: number;
}

/** Bytes that a relayed response head has at most beside the lines that pass. */
export const RESPONSE_HEAD_ADDED_BYTES_MAX: number = 256 + NUMBER_BYTES_MAX;

/** `HTTP/1.1 status reason CRLF` and the lines that pass to the client. */
export function writeResponseLines(
  target: Uint8Array,
  start: number,
  status: number,
  fields: Fields,
  reasonStart: number,
  reasonEnd: number,
): number {
  let at = writeNumber(target, writeOctets(target, start, HTTP_1_1), status);
  target[at++] = 0x20;
  at = copyOctets(target, at, fields.bytes, reasonStart, reasonEnd);
  target[at++] = CR;
  target[at++] = LF;
  return copyPassing(target, at, fields, HOP_BY_HOP, names.FIELD_CONNECTION);
}

/** The lines of a response's framing and the empty line. */
export function writeResponseFraming(target: Uint8Array, start: number, framing: ResponseFraming): number {
  let at = start;
  if (framing.isChunked) at = writeOctets(target, at, CHUNKED);
  else if (framing.announced >= 0) at = writeLength(target, at, framing.announced);
  if (!framing.keepsAlive) at = writeOctets(target, at, CLOSE);
  else if (framing.versionMinor === 0) at = writeOctets(target, at, KEEP_ALIVE);
  return writeOctets(target, at, LINE_END);
}

/** The trailer lines that may be passed on (RFC 9110 section 6.5.1), each with its CRLF. */
export function trailerLines(trailers: Fields): string {
  let lines = '';
  for (let index = 0; index < trailers.count; index++) {
    if (NOT_TRAILING[trailers.id(index)] === 0) lines += `${trailers.rawName(index)}: ${trailers.value(index)}\r\n`;
  }
  return lines;
}
