/**
 * Room `engine`: runs an engine inside Node's event loop, on the main thread or in a worker.
 *
 * The engine does the sleeping: where libuv would wait in its epoll, the engine waits for its own events, for libuv's
 * descriptor and for the nearest timer of either. So a busy server pays one system call a turn, and timers, promises and
 * Node's own sockets go on working. `docs/decisions/0002-the-engine-sleeps.md` tells why.
 */
import { shim } from '../kernel/native.ts';
import type { Engine } from './engine.ts';

const shared = new Int32Array(shim.shared);
let current: Engine | null = null;
let references = 0;

function turn(): boolean {
  return current!.turn(shared[0]);
}

/** Starts driving the engine. One engine drives a thread at a time; a second one throws. */
export function start(engine: Engine): void {
  if (current !== null) throw new Error(`the ${current.name} engine already runs on this thread`);
  current = engine;
  engine.watchHost(shim.backend());
  shim.hook(turn);
}

export function stop(engine: Engine): void {
  if (current !== engine) return;
  shim.hook(null);
  current = null;
}

export function running(): Engine | null {
  return current;
}

/** Counts one more thing that keeps the process running. */
export function reference(): void {
  if (references++ === 0) shim.keepAlive(true);
}

export function unreference(): void {
  if (--references === 0) shim.keepAlive(false);
}
