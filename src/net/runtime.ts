/**
 * Room `net`: the one engine of this thread and its timers. Everything in `net` uses them; the first use chooses.
 *
 * A newcomer would get wrong: sockets of one thread cannot be moved to another engine, so `useEngine` comes before the first
 * `listen` or `connect`.
 */
import { chooseEngine, type EngineChoice } from '../engine/choose.ts';
import type { Engine } from '../engine/engine.ts';
import * as loop from '../engine/loop.ts';
import type { Connection } from './connection.ts';
import { Timers } from './timers.ts';

export interface Runtime {
  readonly engine: Engine;
  readonly timers: Timers;
  /** Every attached connection of this thread, by its handle. */
  readonly connections: (Connection | null)[];
}

let current: Runtime | null = null;

/** This thread's runtime; `auto` is chosen when nothing was asked for before. */
export function runtime(): Runtime {
  return current ?? begin(chooseEngine('auto'));
}

function begin(engine: Engine): Runtime {
  const timers = new Timers();
  engine.setClock(timers);
  loop.start(engine);
  current = { engine, timers, connections: [] };
  return current;
}

/**
 * Takes an engine for this thread, by name or made by the program.
 * @throws Error when one is in use already under another name
 * @throws KernelError when the kernel refuses the mechanism named
 */
export function useEngine(choice: EngineChoice | Engine): Engine {
  const name = typeof choice === 'string' ? choice : choice.name;
  if (current !== null) {
    if (name === 'auto' || (current.engine.name === name && typeof choice === 'string')) return current.engine;
    throw new Error(`this thread runs on ${current.engine.name} already; choose the engine before the first socket`);
  }
  return begin(typeof choice === 'string' ? chooseEngine(choice) : choice).engine;
}

/**
 * Gives the engine back with all its memory; the next use chooses anew. Sockets still open are closed without their
 * handlers being told, so close them first.
 */
export function releaseEngine(): void {
  if (current === null) return;
  loop.end(current.engine);
  current = null;
}
