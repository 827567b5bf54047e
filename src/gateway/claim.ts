/**
 * Room `gateway`: makes sure that addresses which several workers will share are nobody else's.
 *
 * A newcomer would get wrong: with SO_REUSEPORT (socket(7)) a second gateway on the same port would start without an error and
 * quietly take half of the clients. A socket without that option cannot be bound beside a listening one; so one is bound, and
 * closed again, before the workers bind theirs.
 */
import { formatAddress } from '../kernel/address.ts';
import * as constants from '../kernel/constants.ts';
import { KernelError } from '../kernel/error.ts';
import { bind, closeDescriptor, setsockoptInt, socket } from '../kernel/socket.ts';
import type { ListenerConfiguration } from './configuration.ts';

/** @throws KernelError EADDRINUSE and what else bind(2) refuses, naming the address */
export function claimAddresses(listeners: readonly ListenerConfiguration[]): void {
  for (const listener of listeners) if (!listener.reusePort) claim(listener);
}

function claim(listener: ListenerConfiguration): void {
  const address = listener.address.socket;
  if (address.family === 'unix' || address.port === 0) return;
  const family = address.family === 'ipv4' ? constants.AF_INET : constants.AF_INET6;
  const descriptor = socket(family, constants.SOCK_STREAM | constants.SOCK_CLOEXEC);
  if (descriptor < 0) throw new KernelError('socket', descriptor, { object: formatAddress(address) });
  try {
    // Connections of an earlier gateway that linger in TIME_WAIT are no hindrance.
    setsockoptInt(descriptor, constants.SOL_SOCKET, constants.SO_REUSEADDR, 1);
    if (address.family === 'ipv6') {
      setsockoptInt(descriptor, constants.IPPROTO_IPV6, constants.IPV6_V6ONLY, listener.ipv6Only ? 1 : 0);
    }
    const bound = bind(descriptor, address);
    if (bound < 0) throw new KernelError('bind', bound, { object: formatAddress(address) });
  } finally {
    closeDescriptor(descriptor);
  }
}
