/**
 * Room `net`: the callbacks of writes, told once when everything written before them has left, or why it will not.
 *
 * A newcomer would get wrong: positions count bytes from the connection's start, so a file that shrank moves those behind it.
 */
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import { shim } from '../kernel/native.ts';

/** Told when everything written before it has left, or why it will not. */
export interface WriteWaiter {
  /** Position in the stream of bytes, counted from the connection's start. */
  position: number;
  readonly callback: (error: Error | null) => void;
}

/** One callback that throws does not keep the others from being told. */
export function tell(callback: WriteWaiter['callback'], error: Error | null): void {
  try {
    callback(error);
  } catch (thrown) {
    shim.raise(thrown);
  }
}

/** Tells each write that still waits what became of it, in the order of writing. `failure` is what ended the connection. */
export function tellAll(
  waiters: readonly WriteWaiter[],
  bytesSent: number,
  failure: Error | null,
  object: string,
): void {
  const canceled = new KernelError('write', ERRNO.ECANCELED, {
    object,
    remedy: 'the connection was closed before it had sent this',
  });
  // The write that met the failure gets it; those behind it were not tried.
  let error = failure instanceof KernelError && failure.syscall === 'write' ? failure : canceled;
  for (const waiter of waiters) {
    const sent = waiter.position <= bytesSent;
    tell(waiter.callback, sent ? null : error);
    if (!sent) error = canceled;
  }
}
