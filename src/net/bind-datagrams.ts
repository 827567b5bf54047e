/**
 * Room `net`: from an address to a bound datagram socket.
 *
 * A newcomer would get wrong: with no host, `::` is bound and talks IPv4 too; where the host has no IPv6, 0.0.0.0 is. A socket
 * of one family cannot send to the other, so bind to a literal address only where that is meant.
 */
import type { SocketAddress } from '../kernel/address.ts';
import * as constants from '../kernel/constants.ts';
import { KernelError } from '../kernel/error.ts';
import { call, SYS } from '../kernel/syscall.ts';
import { DatagramSocket } from './datagram.ts';
import type { DatagramHandler } from './datagram-handler.ts';
import type { SendOptions } from './datagram-limits.ts';
import { applyAfterBind, applyBeforeBind, type DatagramSocketOptions } from './datagram-options.ts';
import { openFor } from './open.ts';
import * as options from './options.ts';
import { runtime } from './runtime.ts';
import type { Target } from './target.ts';
import { type OwnedPath, ownPath, type UnixPathOptions } from './unix-path.ts';

export interface DatagramOptions extends DatagramSocketOptions, SendOptions, UnixPathOptions {
  /** Whether the kernel may join datagrams of one sender before it hands them over (UDP_GRO). They arrive one by one all the same,
   * at less cost. Default false. */
  readonly gro?: boolean;
  /** Closes the socket; aborted before it is bound, `bindDatagrams` rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/**
 * Binds a UDP or Unix datagram socket. Resolves when it is bound and receives.
 *
 * ```ts
 * await using socket = await bindDatagrams({ port: 7000 }, {
 *   message(socket, chunk, from) { socket.send(chunk, from); },
 * });
 * ```
 * @throws KernelError EADDRINUSE, EADDRNOTAVAIL, EACCES… naming the address; EINVAL naming an option
 * @throws RangeError for a port or path that cannot be
 */
export async function bindDatagrams(
  target: Target & DatagramOptions,
  handler: DatagramHandler = {},
): Promise<DatagramSocket> {
  target.signal?.throwIfAborted();
  const { descriptor, address } = await openFor(target, constants.SOCK_DGRAM);
  let path: OwnedPath | null = null;
  try {
    target.signal?.throwIfAborted();
    applyBeforeBind(descriptor, address.family, target);
    bind(descriptor, address);
    path = ownPath(address, target);
    applyAfterBind(descriptor, address.family, target);
    if (address.family !== 'unix') applyReceiving(descriptor, address.family, target);
    return new DatagramSocket(runtime(), descriptor, handler, target, path, target.signal);
  } catch (error) {
    path?.remove();
    call(SYS.close, descriptor);
    throw error;
  }
}

function bind(descriptor: number, address: SocketAddress): void {
  const placed = options.placeAddress(address);
  const result = call(SYS.bind, descriptor, placed.address, placed.length);
  if (result === 0) return;
  throw new KernelError('bind', result, { object: options.describe(address), ...options.portDetails(address) });
}

function applyReceiving(descriptor: number, family: 'ipv4' | 'ipv6', target: DatagramOptions): void {
  if (target.gro === true) options.requireInteger(descriptor, constants.SOL_UDP, constants.UDP_GRO, 1, 'UDP_GRO');
  if (target.errorQueue !== true) return;
  options.requireInteger(descriptor, constants.SOL_IP, constants.IP_RECVERR, 1, 'IP_RECVERR');
  if (family === 'ipv6')
    options.requireInteger(descriptor, constants.SOL_IPV6, constants.IPV6_RECVERR, 1, 'IPV6_RECVERR');
}
