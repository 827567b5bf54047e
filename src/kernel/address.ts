/**
 * Room `kernel`: socket addresses as values, as the kernel's bytes (sockaddr_in, sockaddr_in6, sockaddr_un) and as one line of
 * text, in every direction.
 *
 * A newcomer would get wrong: the length belongs to a Unix address. The abstract names "\0a" and "\0a\0" are two names, an
 * unnamed socket has two bytes and no name at all, and a path counts with its closing NUL (unix(7)).
 */
import { isIPv4, isIPv6 } from 'node:net';
import * as constants from './constants.ts';
import { interfaceIndex } from './interface.ts';
import { formatIpv6, parseIpv4, parseIpv6 } from './ip.ts';
import { SOCKADDR_IN, SOCKADDR_IN6, SOCKADDR_UN } from './layouts.ts';

export interface Ipv4Address {
  readonly family: 'ipv4';
  readonly address: string;
  /** 0 to 65,535. */
  readonly port: number;
}

export interface Ipv6Address {
  readonly family: 'ipv6';
  /** May name its interface: `fe80::1%eth0`, `fe80::1%2`. What the kernel gave carries `scope` instead. */
  readonly address: string;
  /** 0 to 65,535. */
  readonly port: number;
  /** The interface's index, for link-local addresses (RFC 4007 section 11). Absent or 0: none. */
  readonly scope?: number;
}

export interface UnixAddress {
  readonly family: 'unix';
  /** A path of at most 107 bytes, or NUL and an abstract name of at most 107 bytes. */
  readonly path: string;
}

export type SocketAddress = Ipv4Address | Ipv6Address | UnixAddress;

/** Room that holds every address of this file: sizeof(struct sockaddr_storage). */
export const ADDRESS_BYTES_MAX = 128;
/** Bytes of sun_path; a path's closing NUL counts among them. */
const PATH_BYTES = SOCKADDR_UN.size - SOCKADDR_UN.sun_path;
const SCOPE_MAX = 0xffffffff;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Returns a port that is an integer from 0 to 65,535, throws RangeError otherwise. */
export function checkPort(port: unknown): number {
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 0 || port > 65535) {
    throw new RangeError(`port is ${shown(port)}: an integer from 0 to 65535 is allowed`);
  }
  return port;
}

function shown(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

function writeHead(bytes: Uint8Array, offset: number, family: number, port: number): void {
  bytes[offset] = family & 255;
  bytes[offset + 1] = family >> 8;
  bytes[offset + 2] = port >> 8;
  bytes[offset + 3] = port & 255;
}

function encodeIpv4(address: Ipv4Address, bytes: Uint8Array, offset: number): number {
  if (typeof address.address !== 'string' || !isIPv4(address.address)) {
    throw new TypeError(
      `address is ${shown(address.address)}: four numbers from 0 to 255 are allowed, as in 127.0.0.1`,
    );
  }
  const port = checkPort(address.port);
  bytes.fill(0, offset, offset + SOCKADDR_IN.size);
  writeHead(bytes, offset, constants.AF_INET, port);
  parseIpv4(address.address, bytes, offset + SOCKADDR_IN.sin_addr);
  return SOCKADDR_IN.size;
}

/** The interface's index from `scope` or from what follows the percent sign, which wins. */
function scopeOf(address: Ipv6Address, zone: string | null): number {
  if (zone !== null) {
    const index = /^\d+$/.test(zone) ? Number(zone) : interfaceIndex(zone);
    if (index <= SCOPE_MAX) return index;
    throw new RangeError(`the interface of ${address.address} is ${zone}: an index from 0 to ${SCOPE_MAX} is allowed`);
  }
  const scope = address.scope ?? 0;
  if (!Number.isInteger(scope) || scope < 0 || scope > SCOPE_MAX) {
    throw new RangeError(`scope is ${shown(scope)}: an integer from 0 to ${SCOPE_MAX} is allowed`);
  }
  return scope;
}

function encodeIpv6(address: Ipv6Address, bytes: Uint8Array, offset: number): number {
  const percent = typeof address.address === 'string' ? address.address.indexOf('%') : -1;
  const text = percent < 0 ? address.address : address.address.slice(0, percent);
  if (typeof text !== 'string' || !isIPv6(text)) {
    throw new TypeError(`address is ${shown(address.address)}: an IPv6 address is allowed, as in ::1 or fe80::1%eth0`);
  }
  const port = checkPort(address.port);
  const scope = scopeOf(address, percent < 0 ? null : address.address.slice(percent + 1));
  bytes.fill(0, offset, offset + SOCKADDR_IN6.size);
  writeHead(bytes, offset, constants.AF_INET6, port);
  parseIpv6(text, bytes, offset + SOCKADDR_IN6.sin6_addr);
  for (let byte = 0; byte < 4; byte++) bytes[offset + SOCKADDR_IN6.sin6_scope_id + byte] = scope >>> (8 * byte);
  return SOCKADDR_IN6.size;
}

function encodeUnix(address: UnixAddress, bytes: Uint8Array, offset: number): number {
  const path = address.path;
  if (typeof path !== 'string') throw new TypeError(`path is ${shown(path)}: a string is allowed`);
  if (path === '') throw new RangeError('path is empty: a path, or NUL and an abstract name, is allowed');
  const encoded = encoder.encode(path);
  const abstract = encoded[0] === 0;
  if (!abstract && encoded.includes(0)) {
    throw new TypeError(`path is ${shown(path)}: NUL is allowed only in abstract names, which begin with it`);
  }
  const length = encoded.length + (abstract ? 0 : 1);
  if (length > PATH_BYTES) {
    throw new RangeError(
      `path has ${encoded.length - (abstract ? 1 : 0)} bytes: at most ${PATH_BYTES - 1} are allowed (${shown(path)})`,
    );
  }
  bytes[offset] = constants.AF_UNIX;
  bytes[offset + 1] = 0;
  bytes.set(encoded, offset + SOCKADDR_UN.sun_path);
  if (!abstract) bytes[offset + SOCKADDR_UN.sun_path + encoded.length] = 0;
  return SOCKADDR_UN.sun_path + length;
}

/**
 * Writes an address as the kernel's bytes and returns their length, as bind(2) and connect(2) want it. `bytes` needs room for
 * {@link ADDRESS_BYTES_MAX} from `offset` on.
 * @throws TypeError for what is not an address, RangeError for a port, scope or path outside its range
 * @throws KernelError where `%interface` names none of this host
 */
export function encodeAddress(address: SocketAddress, bytes: Uint8Array, offset: number): number {
  if (offset < 0 || offset + ADDRESS_BYTES_MAX > bytes.length) {
    throw new RangeError(`offset is ${offset}: room for ${ADDRESS_BYTES_MAX} of ${bytes.length} bytes is needed`);
  }
  switch (address.family) {
    case 'ipv4':
      return encodeIpv4(address, bytes, offset);
    case 'ipv6':
      return encodeIpv6(address, bytes, offset);
    case 'unix':
      return encodeUnix(address, bytes, offset);
    default:
      throw new TypeError(`family is ${shown((address as { family: unknown }).family)}: ipv4, ipv6 or unix is allowed`);
  }
}

function decodeUnix(bytes: Uint8Array, offset: number, length: number): UnixAddress | null {
  const start = offset + SOCKADDR_UN.sun_path;
  const end = offset + length;
  if (end <= start) return null;
  if (bytes[start] === 0) return { family: 'unix', path: decoder.decode(bytes.subarray(start, end)) };
  // The kernel counts the closing NUL, and gives no NUL at all for a path of the full 108 bytes.
  const closing = bytes.subarray(start, end).indexOf(0);
  return { family: 'unix', path: decoder.decode(bytes.subarray(start, closing < 0 ? end : start + closing)) };
}

/**
 * Reads the kernel's bytes. Null for an unnamed Unix socket, for no address (length 0, as recvmsg(2) gives for connected
 * streams), for a cut one and for families other than these three. Bytes of a path that are not UTF-8 become U+FFFD.
 */
export function decodeAddress(bytes: Uint8Array, offset: number, length: number): SocketAddress | null {
  if (length < 2) return null;
  const family = bytes[offset] | (bytes[offset + 1] << 8);
  const port = (bytes[offset + 2] << 8) | bytes[offset + 3];
  if (family === constants.AF_INET && length >= SOCKADDR_IN.size) {
    const at = offset + SOCKADDR_IN.sin_addr;
    return { family: 'ipv4', address: `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`, port };
  }
  if (family === constants.AF_INET6 && length >= SOCKADDR_IN6.size) {
    const address = formatIpv6(bytes, offset + SOCKADDR_IN6.sin6_addr);
    const at = offset + SOCKADDR_IN6.sin6_scope_id;
    const scope = (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
    return scope === 0 ? { family: 'ipv6', address, port } : { family: 'ipv6', address, port, scope };
  }
  return family === constants.AF_UNIX ? decodeUnix(bytes, offset, length) : null;
}

/** The inverse of {@link parseAddress}: `127.0.0.1:80`, `[::1]:80`, `[fe80::1%2]:80`, `unix:/path`, `unix:@abstract`. */
export function formatAddress(address: SocketAddress): string {
  if (address.family === 'ipv4') return `${address.address}:${address.port}`;
  if (address.family === 'ipv6') {
    const zone = address.scope && !address.address.includes('%') ? `%${address.scope}` : '';
    return `[${address.address}${zone}]:${address.port}`;
  }
  if (address.path.startsWith('\0')) return `unix:@${address.path.slice(1)}`;
  // A file whose name begins with @ is not an abstract name.
  return address.path.startsWith('@') ? `unix:./${address.path}` : `unix:${address.path}`;
}

/**
 * Reads an address as configurations write it: `127.0.0.1:8080`, `[::]:8080`, `[fe80::1%eth0]:8080`, `unix:/run/x.sock`,
 * `unix:@abstract`.
 * @throws TypeError or RangeError that names the value and what is allowed
 */
export function parseAddress(text: string): SocketAddress {
  if (text.startsWith('unix:')) {
    const rest = text.slice(5);
    const path = rest.startsWith('@') ? `\0${rest.slice(1)}` : rest;
    return checked({ family: 'unix', path });
  }
  const match = /^(?:\[([^\]]*)\]|([^[\]:]*)):(\d{1,5})$/.exec(text);
  if (match === null || (match[1] === undefined ? !isIPv4(match[2]) : !isIPv6(match[1]))) {
    throw new TypeError(
      `address is ${shown(text)}: allowed are forms like 127.0.0.1:8080, [::]:8080, unix:/run/x.sock, unix:@abstract`,
    );
  }
  const port = checkPort(Number(match[3]));
  return match[1] === undefined
    ? { family: 'ipv4', address: match[2], port }
    : { family: 'ipv6', address: match[1], port };
}

function checked(address: UnixAddress): UnixAddress {
  encodeUnix(address, new Uint8Array(ADDRESS_BYTES_MAX), 0);
  return address;
}
