/**
 * Room `net`: from an address to a listening socket.
 *
 * A newcomer would get wrong: with no host, `::` is bound and takes IPv4 too; where the host has no IPv6, 0.0.0.0 is.
 */
import type { SocketAddress } from '../kernel/address.ts';
import * as constants from '../kernel/constants.ts';
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import { call, SYS } from '../kernel/syscall.ts';
import type { ConnectionHandler } from './connection.ts';
import { Listener, type ListenerOptions } from './listener.ts';
import { openFor } from './open.ts';
import * as options from './options.ts';
import { runtime } from './runtime.ts';
import { applyStreamOptions, type StreamSocketOptions } from './stream-options.ts';
import type { Target } from './target.ts';
import { type OwnedPath, ownPath, type UnixPathOptions } from './unix-path.ts';

/** The options of stream sockets are inherited by every accepted connection. */
export interface ListenOptions extends ListenerOptions, StreamSocketOptions, UnixPathOptions {
  /** Clients that may wait to be accepted; the kernel caps it at net.core.somaxconn. Default 4,096. */
  readonly backlog?: number;
  /** SO_REUSEPORT: several threads or processes share the port, the kernel spreads the clients. */
  readonly reusePort?: boolean;
  /** IPv6 only, also for `::`. Default false. */
  readonly ipv6Only?: boolean;
  /** TCP_DEFER_ACCEPT in seconds: accept a client only with its first bytes. Default off. */
  readonly deferAcceptSeconds?: number;
}

const BACKLOG = 4096;

/**
 * Listens on a TCP or Unix address. Resolves when it does.
 *
 * ```ts
 * await using server = await listen({ port: 7000 }, { data(connection, chunk) { connection.write(chunk); } });
 * ```
 * @throws KernelError EADDRINUSE, EADDRNOTAVAIL, EACCES… naming the address
 * @throws RangeError for a port or path that cannot be
 */
export async function listen<Data = unknown>(
  target: Target & ListenOptions,
  handler: ConnectionHandler<Data>,
): Promise<Listener<Data>> {
  target.signal?.throwIfAborted();
  const backlog = target.backlog ?? BACKLOG;
  if (!Number.isInteger(backlog) || backlog < 0)
    throw new TypeError(`backlog is ${backlog}: an integer of 0 or more is allowed`);
  const { descriptor, address } = await openFor(target, constants.SOCK_STREAM);
  let path: OwnedPath | null = null;
  try {
    target.signal?.throwIfAborted();
    prepare(descriptor, address, target);
    bind(descriptor, address);
    path = ownPath(address, target);
    startListening(descriptor, address, backlog);
    return new Listener<Data>(runtime(), descriptor, handler, target, path);
  } catch (error) {
    path?.remove();
    call(SYS.close, descriptor);
    throw error;
  }
}

function prepare(descriptor: number, address: SocketAddress, target: ListenOptions): void {
  applyStreamOptions(descriptor, address.family, target);
  if (address.family === 'unix') return;
  options.requireInteger(descriptor, constants.SOL_SOCKET, constants.SO_REUSEADDR, 1, 'SO_REUSEADDR');
  if (target.reusePort === true)
    options.requireInteger(descriptor, constants.SOL_SOCKET, constants.SO_REUSEPORT, 1, 'SO_REUSEPORT');
  options.setIpv6Only(descriptor, address.family, target.ipv6Only === true);
  if (target.deferAcceptSeconds !== undefined) {
    const seconds = target.deferAcceptSeconds;
    options.requireInteger(descriptor, constants.IPPROTO_TCP, constants.TCP_DEFER_ACCEPT, seconds, 'TCP_DEFER_ACCEPT');
  }
}

function bind(descriptor: number, address: SocketAddress): void {
  const placed = options.placeAddress(address);
  const bound = call(SYS.bind, descriptor, placed.address, placed.length);
  if (bound < 0) throw refusal('bind', bound, address);
}

function startListening(descriptor: number, address: SocketAddress, backlog: number): void {
  const listening = call(SYS.listen, descriptor, Math.min(backlog, 2147483647));
  // Two sockets may bind one port with SO_REUSEADDR; the second learns of it only here.
  if (listening < 0) throw refusal(listening === -ERRNO.EADDRINUSE ? 'bind' : 'listen', listening, address);
}

function refusal(syscall: string, result: number, address: SocketAddress): KernelError {
  return new KernelError(syscall, result, { object: options.describe(address), ...options.portDetails(address) });
}
