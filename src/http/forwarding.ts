/**
 * Room `http`: what a proxy passes on of a head and what it adds (RFC 9110 section 7.6, RFC 7239). Lines that pass are taken
 * in runs as they stand, so a head of a dozen fields becomes two or three strings.
 *
 * A newcomer would get wrong: what `Connection` names is hop-by-hop too, whatever its name; leaving it in lets a client smuggle
 * a field past the proxy's own rules.
 */
import type { SocketAddress } from '../kernel/address.ts';
import * as names from './field-names.ts';
import type { Fields } from './fields.ts';
import type { Request } from './request.ts';
import { text } from './text.ts';

const HOP_BY_HOP = new Uint8Array(256);
for (const id of [
  names.FIELD_CONNECTION,
  names.FIELD_KEEP_ALIVE,
  names.FIELD_PROXY_CONNECTION,
  names.FIELD_PROXY_AUTHENTICATE,
  names.FIELD_PROXY_AUTHORIZATION,
  names.FIELD_TE,
  names.FIELD_TRAILER,
  names.FIELD_TRANSFER_ENCODING,
  names.FIELD_UPGRADE,
  names.FIELD_HTTP2_SETTINGS,
  // Written anew with the framing of the next hop.
  names.FIELD_CONTENT_LENGTH,
]) {
  HOP_BY_HOP[id] = 1;
}

const DROPPED_FROM_REQUEST = HOP_BY_HOP.slice();
for (const id of [names.FIELD_HOST, names.FIELD_EXPECT]) DROPPED_FROM_REQUEST[id] = 1;

/** The field lines that pass, each with its CRLF. `dropped` marks the known names that do not. */
function passing(fields: Fields, dropped: Uint8Array): string {
  const hasConnection = fields.indexOf(names.FIELD_CONNECTION) >= 0;
  let lines = '';
  let runStart = -1;
  let runEnd = -1;
  for (let index = 0; index < fields.count; index++) {
    const stays = dropped[fields.id(index)] === 0 && !(hasConnection && fields.isNamedByConnection(index));
    if (stays) {
      if (runStart < 0) runStart = fields.nameStart(index);
      runEnd = fields.valueEnd(index);
    }
    if (runStart >= 0 && (!stays || index === fields.count - 1)) {
      lines += `${text(fields.bytes, runStart, runEnd)}\r\n`;
      runStart = -1;
    }
  }
  return lines;
}

export type ForwardedStyle = 'x-forwarded' | 'forwarded' | 'both' | 'none';

export interface ForwardingOptions {
  /** Which fields tell the upstream about the client. Default `x-forwarded`. */
  readonly forwarded?: ForwardedStyle;
  /** Whether such fields that the client sent are kept and added to. Default false: they are replaced. */
  readonly trustForwarded?: boolean;
  /** Removes the route's path from the front of the request's. */
  readonly stripPrefix?: boolean;
  /** The name of this proxy in Via. Default `millrace`; '' for no Via. */
  readonly via?: string;
}

const X_FORWARDED = ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto'] as const;

/** The request's head for the upstream. `upgrade` passes the client's wish to switch protocols on. */
export function requestHead(request: Request, options: ForwardingOptions, upgrade: boolean): string {
  const head = request.head;
  const fields = head.fields;
  const style = options.forwarded ?? 'x-forwarded';
  const trusted = options.trustForwarded === true;
  const dropped = DROPPED_FROM_REQUEST.slice();
  // What the client claims about itself goes, unless it is trusted; what is trusted is written anew with our part added.
  for (const name of X_FORWARDED) dropped[names.fieldIdOfName(name)] = 1;
  dropped[names.FIELD_FORWARDED] = 1;
  dropped[names.FIELD_OTHER] = 0;
  let text_ = `${request.method} ${target(request, options)} HTTP/1.1\r\nHost: ${head.authority}\r\n`;
  text_ += passing(fields, dropped);
  const client = request.remoteAddress;
  if (style === 'x-forwarded' || style === 'both') text_ += xForwarded(request, client, trusted);
  if (style === 'forwarded' || style === 'both') text_ += forwarded(request, client, trusted);
  if (options.via !== '') text_ += `Via: 1.${head.versionMinor} ${options.via ?? 'millrace'}\r\n`;
  if (upgrade) text_ += `Connection: upgrade\r\nUpgrade: ${fields.get('upgrade') ?? ''}\r\n`;
  if (head.chunked) text_ += 'Transfer-Encoding: chunked\r\n';
  else if (head.contentLength >= 0) text_ += `Content-Length: ${head.contentLength}\r\n`;
  return `${text_}\r\n`;
}

function target(request: Request, options: ForwardingOptions): string {
  const head = request.head;
  const path = options.stripPrefix === true ? `/${request.rest.replace(/^\//, '')}` : head.path;
  return head.queryStart === head.queryEnd ? path : `${path}?${head.query}`;
}

function xForwarded(request: Request, client: SocketAddress | null, trusted: boolean): string {
  const before = trusted ? request.header('x-forwarded-for') : null;
  const own = client === null || client.family === 'unix' ? 'unknown' : client.address;
  const host = (trusted ? request.header('x-forwarded-host') : null) ?? request.host;
  const protocol = (trusted ? request.header('x-forwarded-proto') : null) ?? 'http';
  return `X-Forwarded-For: ${before === null ? '' : `${before}, `}${own}\r\nX-Forwarded-Host: ${host}\r\nX-Forwarded-Proto: ${protocol}\r\n`;
}

function forwarded(request: Request, client: SocketAddress | null, trusted: boolean): string {
  const before = trusted ? request.header('forwarded') : null;
  let node = 'unknown';
  if (client !== null && client.family === 'ipv4') node = client.address;
  // An IPv6 address stands in brackets and quotes (RFC 7239 section 6).
  if (client !== null && client.family === 'ipv6') node = `"[${client.address}]"`;
  return `Forwarded: ${before === null ? '' : `${before}, `}for=${node};host="${request.host}";proto=http\r\n`;
}

/** The field lines of a response that pass to the client. */
export function responseLines(fields: Fields): string {
  return passing(fields, HOP_BY_HOP);
}
