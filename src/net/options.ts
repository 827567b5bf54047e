/**
 * Room `net`: socket options and addresses of a descriptor.
 *
 * A newcomer would get wrong: on a closed connection (descriptor -1) setters do nothing and getters answer null; a program
 * that sets an option in its close handler has done nothing wrong.
 */
import { decodeAddress, encodeAddress, formatAddress, type SocketAddress } from '../kernel/address.ts';
import * as constants from '../kernel/constants.ts';
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import { addressOf, call, SYS } from '../kernel/syscall.ts';

const ADDRESS_BYTES = 128;
const scratch = new Uint8Array(new ArrayBuffer(256));
const words = new Int32Array(scratch.buffer);
const scratchAddress = addressOf(scratch);
const LENGTH_AT = 128;
const NUMBER_AT = 136;

function nameOf(number: number, descriptor: number): SocketAddress | null {
  if (descriptor < 0) return null;
  words[LENGTH_AT / 4] = ADDRESS_BYTES;
  const result = call(number, descriptor, scratchAddress, scratchAddress + LENGTH_AT);
  return result < 0 ? null : decodeAddress(scratch, 0, words[LENGTH_AT / 4]);
}

/** The address that the socket is bound to; null when it has none or the descriptor is closed. */
export function ownAddress(descriptor: number): SocketAddress | null {
  return nameOf(SYS.getsockname, descriptor);
}

/** The address of the other side; null when there is none (ENOTCONN after a reset too). */
export function peerAddress(descriptor: number): SocketAddress | null {
  return nameOf(SYS.getpeername, descriptor);
}

/**
 * Writes an address where `connect` and `bind` can read it until the next call here; returns its length. An empty Unix path
 * becomes the family alone, for which bind(2) makes an abstract name up (unix(7), autobind).
 */
export function placeAddress(address: SocketAddress): { readonly address: number; readonly length: number } {
  if (address.family === 'unix' && address.path === '') {
    scratch[0] = constants.AF_UNIX;
    scratch[1] = 0;
    return { address: scratchAddress, length: 2 };
  }
  return { address: scratchAddress, length: encodeAddress(address, scratch, 0) };
}

export function describe(address: SocketAddress | null): string {
  return address === null ? 'an unnamed peer' : formatAddress(address);
}

/** Sets an integer option; the result is 0 or a negative errno. */
export function setInteger(descriptor: number, level: number, option: number, value: number): number {
  if (descriptor < 0) return 0;
  words[NUMBER_AT / 4] = value;
  return call(SYS.setsockopt, descriptor, level, option, scratchAddress + NUMBER_AT, 4);
}

/** Reads an integer option; a negative errno where that fails. Not for options that may themselves be negative. */
export function getInteger(descriptor: number, level: number, option: number): number {
  words[LENGTH_AT / 4] = 4;
  words[NUMBER_AT / 4] = 0;
  const result = call(
    SYS.getsockopt,
    descriptor,
    level,
    option,
    scratchAddress + NUMBER_AT,
    scratchAddress + LENGTH_AT,
  );
  return result < 0 ? result : words[NUMBER_AT / 4];
}

/** As {@link setInteger}, throwing a {@link KernelError} that names the option. */
export function requireInteger(descriptor: number, level: number, option: number, value: number, name: string): void {
  const result = setInteger(descriptor, level, option, value);
  if (result < 0) throw new KernelError('setsockopt', result, { object: `${name} = ${value}` });
}

/** SO_LINGER on, with `seconds`; 0 makes close(2) reset the connection. */
export function setLinger(descriptor: number, seconds: number): void {
  if (descriptor < 0) return;
  words[NUMBER_AT / 4] = 1;
  words[NUMBER_AT / 4 + 1] = seconds;
  call(SYS.setsockopt, descriptor, constants.SOL_SOCKET, constants.SO_LINGER, scratchAddress + NUMBER_AT, 8);
}

/**
 * Returns `value` when it is an integer within the range.
 * @throws KernelError EINVAL that names the option and the range, also where the kernel itself would take the value
 */
export function requireRange(name: string, value: number, minimum: number, maximum: number): number {
  if (Number.isInteger(value) && value >= minimum && value <= maximum) return value;
  throw new KernelError('setsockopt', ERRNO.EINVAL, {
    object: `${name} = ${value}`,
    remedy: `an integer from ${minimum} to ${maximum} is allowed`,
  });
}

export function setNoDelay(descriptor: number, on: boolean): void {
  setInteger(descriptor, constants.IPPROTO_TCP, constants.TCP_NODELAY, on ? 1 : 0);
}

/**
 * Probing of idle peers. Times are in ms and become whole seconds, at least 1; a delay of 0 leaves the kernel's.
 * @throws KernelError EINVAL named after the option that is out of range
 */
export function setKeepAlive(
  descriptor: number,
  on: boolean,
  delayMs: number,
  intervalMs?: number,
  count?: number,
): void {
  if (descriptor < 0) return;
  setInteger(descriptor, constants.SOL_SOCKET, constants.SO_KEEPALIVE, on ? 1 : 0);
  if (!on) return;
  if (delayMs !== 0) requireSeconds(descriptor, constants.TCP_KEEPIDLE, delayMs, 'TCP_KEEPIDLE (keep-alive delay)');
  if (intervalMs !== undefined)
    requireSeconds(descriptor, constants.TCP_KEEPINTVL, intervalMs, 'TCP_KEEPINTVL (keep-alive interval)');
  if (count !== undefined)
    requireInteger(descriptor, constants.IPPROTO_TCP, constants.TCP_KEEPCNT, count, 'TCP_KEEPCNT (keep-alive count)');
}

function requireSeconds(descriptor: number, option: number, timeMs: number, name: string): void {
  // Rounded up from a part of a second only: a program that says 0 or less has made a mistake.
  const seconds = timeMs > 0 ? Math.max(1, Math.floor(timeMs / 1000)) : timeMs;
  requireInteger(descriptor, constants.IPPROTO_TCP, option, requireRange(name, seconds, 1, 32767), name);
}

export interface BufferSizes {
  readonly receiveBufferBytes?: number;
  readonly sendBufferBytes?: number;
}

/** SO_RCVBUF and SO_SNDBUF. The kernel doubles them, raises tiny ones and caps large ones without an error (socket(7)). */
export function setBuffers(descriptor: number, given: BufferSizes): void {
  setBuffer(descriptor, constants.SO_RCVBUF, given.receiveBufferBytes, 'receiveBufferBytes');
  setBuffer(descriptor, constants.SO_SNDBUF, given.sendBufferBytes, 'sendBufferBytes');
}

function setBuffer(descriptor: number, option: number, size: number | undefined, name: string): void {
  if (size === undefined) return;
  requireInteger(descriptor, constants.SOL_SOCKET, option, requireRange(name, size, 1, 2147483647), name);
}

/** IPV6_V6ONLY; EINVAL for a socket of another family, or once it is bound. */
export function setIpv6Only(descriptor: number, family: SocketAddress['family'], on: boolean): void {
  if (family !== 'ipv6') {
    if (!on) return;
    throw new KernelError('setsockopt', ERRNO.EINVAL, {
      object: 'IPV6_V6ONLY',
      remedy: 'ipv6Only needs an IPv6 address to listen on',
    });
  }
  requireInteger(descriptor, constants.IPPROTO_IPV6, constants.IPV6_V6ONLY, on ? 1 : 0, 'IPV6_V6ONLY');
}

/** IP_TOS and IPV6_TCLASS, 0 to 255. The kernel would take 256 as 0 and -1 as "the default". TCP keeps the two ECN bits. */
export function setTypeOfService(descriptor: number, family: SocketAddress['family'], value: number): void {
  requireRange('tos', value, 0, 255);
  if (family === 'unix') return;
  if (family === 'ipv6') requireInteger(descriptor, constants.SOL_IPV6, constants.IPV6_TCLASS, value, 'tos');
  requireInteger(descriptor, constants.SOL_IP, constants.IP_TOS, value, 'tos');
}

/** The family of a socket (SO_DOMAIN). An IPv6 socket is one also when its peer is an IPv4 host. */
export function familyOf(descriptor: number): SocketAddress['family'] {
  const domain = getInteger(descriptor, constants.SOL_SOCKET, constants.SO_DOMAIN);
  return domain === constants.AF_UNIX ? 'unix' : domain === constants.AF_INET6 ? 'ipv6' : 'ipv4';
}

/** What an error carries of an address, as Node's own do. */
export function portDetails(address: SocketAddress | null): { readonly address?: string; readonly port?: number } {
  if (address === null) return {};
  return address.family === 'unix' ? { address: address.path } : { address: address.address, port: address.port };
}
