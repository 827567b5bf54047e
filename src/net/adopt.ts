/**
 * Room `net`: taking over a stream socket that somebody else made: one handed down by a service manager, received over a Unix
 * socket, or left to us by another process.
 *
 * A newcomer would get wrong: O_NONBLOCK belongs to the open file, not to the number, so a process that shares the socket sees
 * it change too. An adopted descriptor is ours: it is closed with the listener or connection.
 */
import * as constants from '../kernel/constants.ts';
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import { isOwned } from '../kernel/native.ts';
import * as sockets from '../kernel/socket.ts';
import { call, SYS } from '../kernel/syscall.ts';
import { Connection, type ConnectionHandler } from './connection.ts';
import { contextOf } from './context.ts';
import { Listener, type ListenerOptions } from './listener.ts';
import { runtime } from './runtime.ts';

/** What an adopted descriptor turned out to be. */
export type Adopted<Data = unknown> =
  | { readonly kind: 'listener'; readonly listener: Listener<Data> }
  | { readonly kind: 'connection'; readonly connection: Connection<Data> };

const BACKLOG = 4096;

/**
 * Takes a stream socket under this thread's engine: a connected one becomes a connection (`handler.open` is called before
 * this returns), a listening one a listener, a bound one is made to listen first.
 * @throws KernelError EBADF for a number that is not open, ENOTSOCK for another kind of file, EEXIST for one that this thread
 *   has adopted or made already, EPROTOTYPE for a datagram socket. The descriptor then stays the caller's.
 */
export function adopt<Data = unknown>(
  descriptor: number,
  handler: ConnectionHandler<Data>,
  given: ListenerOptions & { readonly backlog?: number } = {},
): Adopted<Data> {
  if (!Number.isInteger(descriptor) || descriptor < 0 || descriptor > 2147483647)
    throw refusal(-ERRNO.EBADF, descriptor);
  const type = sockets.getsockoptInt(descriptor, constants.SOL_SOCKET, constants.SO_TYPE);
  if (type < 0) throw refusal(type, descriptor);
  if (type !== constants.SOCK_STREAM) throw refusal(-ERRNO.EPROTOTYPE, descriptor);
  if (isOwned(descriptor)) throw refusal(-ERRNO.EEXIST, descriptor);
  const flags = call(SYS.fcntl, descriptor, constants.F_SETFD, constants.FD_CLOEXEC);
  if (flags < 0) throw refusal(flags, descriptor);
  const changed = sockets.setNonBlocking(descriptor, true);
  if (changed < 0) throw refusal(changed, descriptor);
  const peer = sockets.getpeername(descriptor);
  // A connection that was reset has no peer (ENOTCONN) and cannot listen either; only SO_ACCEPTCONN and listen(2) tell.
  return typeof peer === 'number'
    ? adoptListener(descriptor, handler, given)
    : adoptConnection(descriptor, handler, given);
}

function refusal(result: number, descriptor: number): KernelError {
  return new KernelError('adopt', result, { object: `descriptor ${descriptor}` });
}

function adoptListener<Data>(
  descriptor: number,
  handler: ConnectionHandler<Data>,
  given: ListenerOptions & { readonly backlog?: number },
): Adopted<Data> {
  const listening = sockets.getsockoptInt(descriptor, constants.SOL_SOCKET, constants.SO_ACCEPTCONN);
  if (listening === 0) {
    const result = sockets.listen(descriptor, given.backlog ?? BACKLOG);
    if (result < 0) throw new KernelError('listen', result, { object: `descriptor ${descriptor}` });
  }
  return { kind: 'listener', listener: new Listener<Data>(runtime(), descriptor, handler, given, null) };
}

function adoptConnection<Data>(
  descriptor: number,
  handler: ConnectionHandler<Data>,
  given: ListenerOptions,
): Adopted<Data> {
  const connection = new Connection<Data>(
    contextOf(runtime(), given, () => {}),
    handler,
  );
  const handle = connection.begin(descriptor);
  if (handle < 0) throw refusal(handle, descriptor);
  return { kind: 'connection', connection };
}
