/**
 * Room `kernel`: waiting for a descriptor inside Node's event loop.
 *
 * A newcomer would get wrong: the descriptor is level-triggered: the callback runs again in the next turn of the loop while there is
 * something to read, so it must take what is there. And a watch ends before its descriptor is closed, never after.
 */
import { KernelError } from './error.ts';
import { shim, type WatchHandle } from './native.ts';

/** A watched descriptor. Disposing of it ends the watch; the descriptor stays open. */
export class Watch implements Disposable {
  #handle: WatchHandle | null;

  constructor(handle: WatchHandle) {
    this.#handle = handle;
  }

  /** Whether it keeps the process running; it does unless told. */
  keepAlive(on: boolean): void {
    if (this.#handle !== null) shim.keepWatching(this.#handle, on);
  }

  [Symbol.dispose](): void {
    if (this.#handle === null) return;
    shim.unwatch(this.#handle);
    this.#handle = null;
  }
}

/**
 * Calls `callback` from the event loop whenever the descriptor is readable.
 * @throws KernelError: EPERM for a file, EBADF, EEXIST for one that is watched already
 */
export function watch(descriptor: number, callback: () => void): Watch {
  const handle = shim.watch(descriptor, callback);
  if (typeof handle === 'number')
    throw new KernelError('epoll_ctl', handle, { object: `watch of descriptor ${descriptor}` });
  return new Watch(handle);
}
