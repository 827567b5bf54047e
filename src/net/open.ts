/**
 * Room `net`: a new socket for an address of this host, not bound yet.
 *
 * A newcomer would get wrong: with no host, `::` is meant and takes IPv4 too; where the host has no IPv6, 0.0.0.0 is.
 */
import type { SocketAddress } from '../kernel/address.ts';
import * as constants from '../kernel/constants.ts';
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import { call, SYS } from '../kernel/syscall.ts';
import * as options from './options.ts';
import { type Target, targetAddress } from './target.ts';

export interface Opened {
  readonly descriptor: number;
  /** Where it is to be bound. */
  readonly address: SocketAddress;
}

/**
 * Opens a socket of this type (SOCK_STREAM, SOCK_DGRAM), close-on-exec and non-blocking.
 * @throws KernelError: EMFILE, EAFNOSUPPORT for a family that was asked for by its address
 */
export async function openFor(target: Target, type: number): Promise<Opened> {
  const anyHost = target.path === undefined && target.host === undefined;
  const address = await targetAddress(target, '::');
  const descriptor = open(address, type);
  if (descriptor === -ERRNO.EAFNOSUPPORT && anyHost) {
    const ipv4: SocketAddress = { family: 'ipv4', address: '0.0.0.0', port: target.port ?? 0 };
    return opened(open(ipv4, type), ipv4);
  }
  return opened(descriptor, address);
}

function open(address: SocketAddress, type: number): number {
  const family = { ipv4: constants.AF_INET, ipv6: constants.AF_INET6, unix: constants.AF_UNIX }[address.family];
  return call(SYS.socket, family, type | constants.SOCK_CLOEXEC | constants.SOCK_NONBLOCK, 0);
}

function opened(descriptor: number, address: SocketAddress): Opened {
  if (descriptor < 0) throw new KernelError('socket', descriptor, { object: options.describe(address) });
  return { descriptor, address };
}
