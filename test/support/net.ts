/**
 * Test support: one body, every engine. `eachEngine` declares a test for each mechanism, gives it the engine, and afterwards
 * checks that nothing was left behind: handles, blocks of memory, descriptors, references on the event loop.
 *
 * A newcomer would get wrong: the engine is the thread's, so the tests of a file run one after another and a body must end
 * everything that it began before it returns.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import type { Engine, EngineName } from '../../src/engine/engine.ts';
import { createUring } from '../../src/engine/uring.ts';
import { engineNames, releaseEngine, useEngine } from '../../src/net/index.ts';

export interface EachEngineOptions {
  /** Only these; the others do not meet the behaviour (say why beside it). */
  readonly only?: readonly EngineName[];
  /** How long one body may take. Default 10 s. */
  readonly timeoutMs?: number;
}

export type EngineBody = (engine: Engine) => Promise<void> | void;

export const readinessEngines: readonly EngineName[] = ['epoll', 'epoll-level', 'poll', 'select'];

/** Declares `[engine] name` for every engine. A mechanism that this host refuses is skipped with the kernel's reason. */
export function eachEngine(name: string, body: EngineBody, options: EachEngineOptions = {}): void {
  for (const engineName of options.only ?? engineNames) {
    test(`[${engineName}] ${name}`, { timeout: options.timeoutMs ?? 10_000 }, async (context) => {
      const refusal = refusalOf(engineName);
      if (refusal !== null) {
        context.skip(refusal);
        return;
      }
      // Node opens descriptors of its own the first time (thread pool, resolver); they are no leak of the body.
      const before = openDescriptors();
      const engine = take(engineName);
      const blocks = blocksOf(engine);
      try {
        await body(engine);
        await settled(engine, blocks);
      } finally {
        releaseEngine();
      }
      await assertDescriptors(before);
    });
  }
}

/** MILLRACE_WITHOUT=multishotReceive,bufferRing… runs io_uring as a kernel would that lacks these features. */
function take(name: EngineName): Engine {
  const without = process.env.MILLRACE_WITHOUT;
  if (name !== 'io_uring' || without === undefined) return useEngine(name);
  return useEngine(createUring({ without: Object.fromEntries(without.split(',').map((feature) => [feature, true])) }));
}

/** Why the engine cannot be had here, or null. */
export function refusalOf(name: EngineName): string | null {
  try {
    useEngine(name);
  } catch (error) {
    return (error as Error).message;
  }
  releaseEngine();
  return null;
}

/** Free blocks: the pool's and, for io_uring, those that wait in the kernel for bytes. */
export function blocksOf(engine: Engine): number {
  const group = (engine as unknown as { readonly group?: { readonly available: number } }).group;
  return engine.blocksFree + (group?.available ?? 0);
}

/** Waits for closes under way, then insists that all handles and blocks are back. */
async function settled(engine: Engine, blocks: number): Promise<void> {
  await until(() => engine.handles === 0 && blocksOf(engine) === blocks, 1000).catch(() => {});
  assert.equal(engine.handles, 0, 'handles are left');
  assert.equal(blocksOf(engine), blocks, 'blocks are left');
}

export function openDescriptors(): Set<string> {
  return new Set(readdirSync('/proc/self/fd'));
}

async function assertDescriptors(before: ReadonlySet<string>): Promise<void> {
  await until(() => openDescriptors().size <= before.size, 1000).catch(() => {});
  const left = [...openDescriptors()].filter((descriptor) => !before.has(descriptor));
  assert.ok(openDescriptors().size <= before.size, `descriptors are left: ${left.join(', ')}`);
}

/** Waits until `condition` holds, looking once a turn of the event loop. Rejects after `timeoutMs`. */
export async function until(condition: () => boolean, timeoutMs = 5000): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${timeoutMs} ms: ${condition}`);
    await sleep(1);
  }
}

/** Lets the event loop turn, so that what is on its way can arrive. For proving that something does not happen. */
export async function turns(count = 5): Promise<void> {
  for (let turn = 0; turn < count; turn++) await setImmediate();
}

/** A promise and what settles it. */
export interface Awaited<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: Error): void;
}

export function awaited<T = void>(): Awaited<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  return { promise, resolve: resolve as (value: T) => void, reject };
}

/** Bytes that differ at every position within 251, so that a lost or repeated one shows. */
export function pattern(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index++) bytes[index] = (index % 251) ^ ((index >>> 13) & 255);
  return bytes;
}

/**
 * How many system calls the engine makes in 60 ms in which nothing should happen: the least of several windows, because V8's
 * own threads wake the event loop for a while after a burst of work. A loop that spins makes thousands in each.
 */
export async function idleCalls(engine: Engine): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let window = 0; window < 10 && least > 10; window++) {
    const before = engine.statistics.systemCalls;
    await sleep(60);
    least = Math.min(least, engine.statistics.systemCalls - before);
  }
  return least;
}
