/**
 * Room `engine`: what the engines' turns have in common: how many passes make a turn, and how long one may wait.
 *
 * A newcomer would get wrong: passes that ran no foreign code cannot have given Node anything to do, so they follow each other
 * without a way back through the event loop; what Node itself waits for ends them (the host's descriptor, its timeout).
 */
import { performance } from 'node:perf_hooks';
import type { Clock } from './engine.ts';

/** Bound of the passes of one turn. */
const PASSES_MAX = 64;

export interface Passing {
  /** Whether foreign code ran in this pass. */
  foreign: boolean;
  /** Waits at most `timeoutMs` (-1: without end) and delivers; answers whether another pass may follow at once. */
  pass(timeoutMs: number): boolean;
}

/** One turn of an engine; see {@link Engine.turn}. */
export function turnInPasses(engine: Passing, timeoutMs: number): boolean {
  const untilMs = timeoutMs < 0 ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs;
  let waitMs = timeoutMs;
  for (let pass = 1; ; pass++) {
    engine.foreign = false;
    const again = engine.pass(waitMs);
    if (!again || engine.foreign || timeoutMs === 0 || pass === PASSES_MAX) return again;
    if (timeoutMs > 0) waitMs = Math.max(0, untilMs - performance.now());
  }
}

/** `timeoutMs`, or less where a timer is due before; `deadlineMs` is the clock's (Infinity for none). */
export function waitUntil(deadlineMs: number, timeoutMs: number): number {
  if (timeoutMs === 0 || deadlineMs === Number.POSITIVE_INFINITY) return timeoutMs;
  const remainingMs = Math.max(0, deadlineMs - performance.now());
  return timeoutMs < 0 || remainingMs < timeoutMs ? remainingMs : timeoutMs;
}

export function deadlineOf(clock: Clock | null): number {
  return clock === null ? Number.POSITIVE_INFINITY : clock.nextDeadlineMs();
}
