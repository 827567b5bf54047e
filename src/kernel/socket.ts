/**
 * Room `kernel`: sockets and pipes, one function for each system call, in the kernel's words. Results below 0 are -errno:
 * nothing here throws for what the kernel refuses (`check` of `error.ts` makes an exception of it); only an address or a buffer
 * that cannot be right does.
 *
 * A newcomer would get wrong: descriptors come without any flag that was not asked for: pass SOCK_CLOEXEC, and SOCK_NONBLOCK
 * where an engine drives it. Every function runs record 0 of `syscall.ts` at once, so none may be called while a batch is
 * being written there.
 */
import { decodeAddress, encodeAddress, type SocketAddress } from './address.ts';
import * as constants from './constants.ts';
import { LINGER, UCRED } from './layouts.ts';
import { disown } from './native.ts';
import { addressOf, call, SYS } from './syscall.ts';

/** The longest option value that fits the scratch; struct tcp_info, the longest in use, has about 250 bytes. */
export const OPTION_BYTES_MAX = 1024;

const ADDRESS_AT = 0;
const LENGTH_AT = 128;
const PAIR_AT = 136;
const OPTION_AT = 256;
const scratch = new ArrayBuffer(OPTION_AT + OPTION_BYTES_MAX);
const bytes = new Uint8Array(scratch);
const words = new Int32Array(scratch);
const base = addressOf(scratch);

/** socket(2): a descriptor. */
export function socket(family: number, type: number, protocol = 0): number {
  return call(SYS.socket, family, type, protocol);
}

/** bind(2). Throws only for what {@link encodeAddress} refuses. */
export function bind(descriptor: number, address: SocketAddress): number {
  return call(SYS.bind, descriptor, base + ADDRESS_AT, encodeAddress(address, bytes, ADDRESS_AT));
}

/** listen(2); the kernel cuts `backlog` to net.core.somaxconn. */
export function listen(descriptor: number, backlog: number): number {
  return call(SYS.listen, descriptor, backlog);
}

/** connect(2): 0, or -EINPROGRESS on a non-blocking socket. Throws only for what {@link encodeAddress} refuses. */
export function connect(descriptor: number, address: SocketAddress): number {
  return call(SYS.connect, descriptor, base + ADDRESS_AT, encodeAddress(address, bytes, ADDRESS_AT));
}

/** Ends the association of a datagram socket: connect(2) with AF_UNSPEC. */
export function disconnect(descriptor: number): number {
  bytes.fill(0, ADDRESS_AT, ADDRESS_AT + 16);
  return call(SYS.connect, descriptor, base + ADDRESS_AT, 16);
}

/** accept4(2): the connection's descriptor. `flags` are SOCK_NONBLOCK and SOCK_CLOEXEC. */
export function accept4(descriptor: number, flags: number): number {
  return call(SYS.accept4, descriptor, 0, 0, flags);
}

function name(number: number, descriptor: number): SocketAddress | null | number {
  words[LENGTH_AT / 4] = LENGTH_AT - ADDRESS_AT;
  const result = call(number, descriptor, base + ADDRESS_AT, base + LENGTH_AT);
  return result < 0 ? result : decodeAddress(bytes, ADDRESS_AT, words[LENGTH_AT / 4]);
}

/** getsockname(2): the own address, null for an unnamed Unix socket, -errno. */
export function getsockname(descriptor: number): SocketAddress | null | number {
  return name(SYS.getsockname, descriptor);
}

/** getpeername(2): the peer's address, null for an unnamed Unix socket, -errno. */
export function getpeername(descriptor: number): SocketAddress | null | number {
  return name(SYS.getpeername, descriptor);
}

/**
 * getsockopt(2) into `value`: how many bytes the kernel gave.
 * @throws RangeError where `value` is longer than {@link OPTION_BYTES_MAX}
 */
export function getsockopt(descriptor: number, level: number, option: number, value: Uint8Array): number {
  checkOption(value);
  words[LENGTH_AT / 4] = value.length;
  const result = call(SYS.getsockopt, descriptor, level, option, base + OPTION_AT, base + LENGTH_AT);
  if (result < 0) return result;
  const length = words[LENGTH_AT / 4];
  value.set(bytes.subarray(OPTION_AT, OPTION_AT + length));
  return length;
}

/**
 * setsockopt(2) with any bytes: structures, names of interfaces or congestion controls.
 * @throws RangeError where `value` is longer than {@link OPTION_BYTES_MAX}
 */
export function setsockopt(descriptor: number, level: number, option: number, value: Uint8Array): number {
  checkOption(value);
  bytes.set(value, OPTION_AT);
  return call(SYS.setsockopt, descriptor, level, option, base + OPTION_AT, value.length);
}

function checkOption(value: Uint8Array): void {
  if (value.length > OPTION_BYTES_MAX) {
    throw new RangeError(`the option's value has ${value.length} bytes: at most ${OPTION_BYTES_MAX} are allowed`);
  }
}

/** An integer option, or -errno. For one that may itself be negative (SO_PEEK_OFF, SO_INCOMING_CPU) take {@link getsockopt}. */
export function getsockoptInt(descriptor: number, level: number, option: number): number {
  words[LENGTH_AT / 4] = 4;
  words[OPTION_AT / 4] = 0;
  const result = call(SYS.getsockopt, descriptor, level, option, base + OPTION_AT, base + LENGTH_AT);
  return result < 0 ? result : words[OPTION_AT / 4];
}

/** Sets an integer option: 0 or -errno. */
export function setsockoptInt(descriptor: number, level: number, option: number, value: number): number {
  words[OPTION_AT / 4] = value;
  return call(SYS.setsockopt, descriptor, level, option, base + OPTION_AT, 4);
}

/** SO_LINGER. With 0 seconds, close(2) resets the connection; null turns lingering off. */
export function setLinger(descriptor: number, seconds: number | null): number {
  words[(OPTION_AT + LINGER.l_onoff) / 4] = seconds === null ? 0 : 1;
  words[(OPTION_AT + LINGER.l_linger) / 4] = seconds ?? 0;
  return call(SYS.setsockopt, descriptor, constants.SOL_SOCKET, constants.SO_LINGER, base + OPTION_AT, LINGER.size);
}

/** Takes the socket's pending error (SO_ERROR), which clears it: 0, or -errno of the pending error or of the call. */
export function socketError(descriptor: number): number {
  const result = getsockoptInt(descriptor, constants.SOL_SOCKET, constants.SO_ERROR);
  return result > 0 ? -result : result;
}

/** shutdown(2): SHUT_RD, SHUT_WR or SHUT_RDWR. */
export function shutdown(descriptor: number, how: number): number {
  return call(SYS.shutdown, descriptor, how);
}

/** close(2). The descriptor is gone whatever the result is, -EINTR included: never close it again. */
export function closeDescriptor(descriptor: number): number {
  disown(descriptor);
  return call(SYS.close, descriptor);
}

/** O_NONBLOCK on or off, by fcntl(2): 0 or -errno. */
export function setNonBlocking(descriptor: number, on: boolean): number {
  const flags = call(SYS.fcntl, descriptor, constants.F_GETFL);
  if (flags < 0) return flags;
  const wanted = on ? flags | constants.O_NONBLOCK : flags & ~constants.O_NONBLOCK;
  return wanted === flags ? 0 : call(SYS.fcntl, descriptor, constants.F_SETFL, wanted);
}

function pair(result: number, descriptors: Int32Array): number {
  if (result < 0) return result;
  descriptors[0] = words[PAIR_AT / 4];
  descriptors[1] = words[PAIR_AT / 4 + 1];
  return 0;
}

/** socketpair(2) into `descriptors[0]` and `[1]`. */
export function socketpair(family: number, type: number, protocol: number, descriptors: Int32Array): number {
  return pair(call(SYS.socketpair, family, type, protocol, base + PAIR_AT), descriptors);
}

/** pipe2(2): `descriptors[0]` reads what was written to `[1]`. `flags` are O_CLOEXEC and O_NONBLOCK. */
export function pipe2(descriptors: Int32Array, flags: number): number {
  return pair(call(SYS.pipe2, base + PAIR_AT, flags), descriptors);
}

/** Who is at the other end of a Unix connection, as of its connect(2) or socketpair(2); unix(7). */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** SO_PEERCRED, or -errno. A socket without a peer gives pid 0 and uid and gid 0xffffffff. */
export function peerCredentials(descriptor: number): PeerCredentials | number {
  words[LENGTH_AT / 4] = UCRED.size;
  const { SOL_SOCKET, SO_PEERCRED } = constants;
  const result = call(SYS.getsockopt, descriptor, SOL_SOCKET, SO_PEERCRED, base + OPTION_AT, base + LENGTH_AT);
  if (result < 0) return result;
  return {
    pid: words[(OPTION_AT + UCRED.pid) / 4],
    uid: words[(OPTION_AT + UCRED.uid) / 4] >>> 0,
    gid: words[(OPTION_AT + UCRED.gid) / 4] >>> 0,
  };
}
