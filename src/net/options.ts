/**
 * Room `net`: socket options and addresses of a descriptor, and what `net` does around binding: unlinking its own Unix path.
 *
 * A newcomer would get wrong: on a closed connection (descriptor -1) setters do nothing and getters answer null; a program
 * that sets an option in its close handler has done nothing wrong.
 */
import { lstatSync, unlinkSync } from 'node:fs';
import { decodeAddress, encodeAddress, formatAddress, type SocketAddress } from '../kernel/address.ts';
import * as constants from '../kernel/constants.ts';
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

/** Writes an address where `connect` and `bind` can read it until the next call here; returns its length. */
export function placeAddress(address: SocketAddress): { readonly address: number; readonly length: number } {
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

/** Reads an integer option; a negative errno where that fails. */
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

export function setNoDelay(descriptor: number, on: boolean): void {
  setInteger(descriptor, constants.IPPROTO_TCP, constants.TCP_NODELAY, on ? 1 : 0);
}

/** Probing of idle peers; the delay counts whole seconds, at least 1, and 0 leaves the kernel's. */
export function setKeepAlive(descriptor: number, on: boolean, delayMs: number): void {
  if (descriptor < 0) return;
  setInteger(descriptor, constants.SOL_SOCKET, constants.SO_KEEPALIVE, on ? 1 : 0);
  if (!on || delayMs === 0) return;
  const seconds = Math.max(1, Math.floor(delayMs / 1000));
  requireInteger(descriptor, constants.IPPROTO_TCP, constants.TCP_KEEPIDLE, seconds, 'TCP_KEEPIDLE (keep-alive delay)');
}

/** A Unix socket's path that this process made. It is removed only while it is still the same file. */
export class OwnedPath {
  readonly path: string;
  private readonly device: number;
  private readonly inode: number;

  constructor(path: string) {
    this.path = path;
    const status = lstatSync(path);
    this.device = status.dev;
    this.inode = status.ino;
  }

  remove(): void {
    const status = lstatSync(this.path, { throwIfNoEntry: false });
    if (status === undefined || status.dev !== this.device || status.ino !== this.inode) return;
    try {
      unlinkSync(this.path);
    } catch {
      // Removed by somebody else in between, or the directory is not ours to change: the path is not ours any more.
    }
  }
}
