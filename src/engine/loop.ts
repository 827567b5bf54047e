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

/** The engine whose turn is under way, and those that were ended in the midst of their own. */
let turning: Engine | null = null;
const ended: Engine[] = [];

function turn(): boolean {
  turning = current!;
  try {
    return turning.turn(shared[0]);
  } finally {
    turning = null;
    for (const engine of ended.splice(0)) engine.dispose();
  }
}

/** Starts driving the engine. One engine drives a thread at a time; a second one throws. */
export function start(engine: Engine): void {
  if (current !== null) throw new Error(`the ${current.name} engine already runs on this thread`);
  current = engine;
  engine.watchHost(shim.backend());
  shim.hook(turn);
}

/**
 * Stops driving the engine and disposes of it: at once, or when it is called from a callback of that engine's (or a promise
 * that one has settled), at the end of the turn, because what is on the stack still needs its memory.
 */
export function end(engine: Engine): void {
  if (current === engine) {
    shim.hook(null);
    current = null;
    // Its sockets, open ones too, keep nothing running any more.
    references = 0;
    shim.keepAlive(false);
  }
  if (turning === engine) ended.push(engine);
  else engine.dispose();
}

export function running(): Engine | null {
  return current;
}

/** Counts one more thing that keeps the process running. */
export function reference(): void {
  if (references++ === 0) shim.keepAlive(true);
}

export function unreference(): void {
  // What the rest of an ended engine's last turn tells was counted by that engine, not by its successor.
  if (references > 0 && --references === 0) shim.keepAlive(false);
}
