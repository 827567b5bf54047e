/**
 * Test support: engines without an event loop. A test makes sockets of its own, asks the engine for operations and turns it by
 * hand, so that it decides what happens between two waits.
 *
 * A newcomer would get wrong: `turn` blocks the thread. Nothing of Node runs meanwhile, so peers are raw descriptors whose
 * system calls do not block either.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ArenaOptions } from '../../src/engine/arena.ts';
import { engineNames } from '../../src/engine/choose.ts';
import { type Engine, type EngineName, type Handle, RECEIVED_DONE, type Sink } from '../../src/engine/engine.ts';
import { createEpoll, createEpollLevel } from '../../src/engine/epoll.ts';
import { createPoll } from '../../src/engine/poll.ts';
import { createSelect } from '../../src/engine/select.ts';
import { createUring } from '../../src/engine/uring.ts';
import type { UringOptions } from '../../src/engine/uring-operations.ts';
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from '../../src/kernel/constants.ts';
import { check, KernelError } from '../../src/kernel/error.ts';
import * as sockets from '../../src/kernel/socket.ts';
import { releaseEngine, useEngine } from '../../src/net/index.ts';
import { blocksOf, openDescriptors } from './net.ts';

const makers: Readonly<Record<EngineName, (options: UringOptions) => Engine>> = {
  io_uring: createUring,
  epoll: createEpoll,
  'epoll-level': createEpollLevel,
  poll: createPoll,
  select: createSelect,
};

/** Makes an engine by name, as `chooseEngine` would, with options of its own. */
export function makeEngine(name: EngineName, options: UringOptions = {}): Engine {
  return makers[name](options);
}

export interface ByHandOptions {
  readonly only?: readonly EngineName[];
  /** Of the arena, and for io_uring of the ring. */
  readonly engine?: UringOptions & ArenaOptions;
  readonly timeoutMs?: number;
}

/** Declares `[engine] name` for every engine, which the body turns itself; afterwards nothing may be left. */
export function byHand(
  name: string,
  body: (engine: Engine) => void | Promise<void>,
  options: ByHandOptions = {},
): void {
  for (const engineName of options.only ?? engineNames) {
    engineTest(`[${engineName}] ${name}`, () => makeEngine(engineName, options.engine), body, options.timeoutMs);
  }
}

/** The same for one engine that `make` makes. Skipped with the kernel's reason where it refuses. */
export function engineTest(
  name: string,
  make: () => Engine,
  body: (engine: Engine) => void | Promise<void>,
  timeoutMs = 10_000,
): void {
  test(name, { timeout: timeoutMs }, async (context) => {
    const before = openDescriptors();
    const engine = madeOrReason(make);
    if (typeof engine === 'string') {
      context.skip(engine);
      return;
    }
    const blocks = blocksOf(engine);
    try {
      await body(engine);
      drive(engine, () => engine.handles === 0 && blocksOf(engine) === blocks, 1000);
      assert.equal(engine.handles, 0, 'handles are left');
      assert.equal(blocksOf(engine), blocks, 'blocks are left');
    } finally {
      engine.dispose();
    }
    assert.ok(openDescriptors().size <= before.size, 'descriptors are left');
  });
}

/** Declares a test of `net` over an engine made for it (a small ring, an older kernel's features). */
export function netTest(
  name: string,
  make: () => Engine,
  body: (engine: Engine) => void | Promise<void>,
  timeoutMs = 10_000,
): void {
  test(name, { timeout: timeoutMs }, async (context) => {
    const engine = madeOrReason(make);
    if (typeof engine === 'string') {
      context.skip(engine);
      return;
    }
    useEngine(engine);
    try {
      await body(engine);
      for (let turn = 0; engine.handles > 0 && turn < 1000; turn++) await new Promise(setImmediate);
      assert.equal(engine.handles, 0, 'handles are left');
    } finally {
      releaseEngine();
    }
  });
}

function madeOrReason(make: () => Engine): Engine | string {
  try {
    return make();
  } catch (error) {
    if (error instanceof KernelError) return error.message;
    throw error;
  }
}

/** Turns until `condition` holds; whether it did in time. */
export function drive(engine: Engine, condition: () => boolean, timeoutMs = 2000): boolean {
  const deadlineMs = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadlineMs) return false;
    engine.turn(5);
  }
  return true;
}

/** Turns until `condition` holds, and fails otherwise. */
export function expectSoon(engine: Engine, condition: () => boolean, timeoutMs = 2000): void {
  assert.ok(drive(engine, condition, timeoutMs), `not within ${timeoutMs} ms: ${condition}`);
}

/** Turns a few times without waiting: whatever is ready is delivered. For proving that something does not come. */
export function settle(engine: Engine, turns = 5): void {
  for (let turn = 0; turn < turns; turn++) engine.turn(0);
}

/** Two connected stream sockets of this host (socketpair(2)): one for the engine, one for the test. */
export function socketPair(type = SOCK_STREAM): readonly [number, number] {
  const pair = new Int32Array(new ArrayBuffer(64));
  check(sockets.socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair.subarray(0, 2)), 'socketpair');
  return [pair[0], pair[1]];
}

/** Writes down what an engine tells about one handle. Replace a method to act in it. */
export class SinkRecorder implements Sink {
  handle: Handle = -1;
  readonly events: string[] = [];
  readonly descriptors: number[] = [];
  readonly chunks: Uint8Array[] = [];
  bytes = 0;
  sends = 0;
  protected readonly engine: Engine;

  /** Attaches `descriptor` at once. */
  constructor(engine: Engine, descriptor: number) {
    this.engine = engine;
    this.handle = engine.attach(descriptor, this);
  }

  get text(): string {
    return new TextDecoder().decode(Buffer.concat(this.chunks));
  }

  accepted(descriptor: number): void {
    this.events.push('accepted');
    this.descriptors.push(descriptor);
  }

  acceptFailed(result: number): void {
    this.events.push(`acceptFailed:${result}`);
  }

  received(start: number, end: number): number {
    if (this.events.at(-1) !== 'received') this.events.push('received');
    this.bytes += end - start;
    this.chunks.push(this.engine.memory.slice(start, end));
    return RECEIVED_DONE;
  }

  receiveEnded(result: number): void {
    this.events.push(`receiveEnded:${result}`);
  }

  sent(result: number): number {
    this.sends++;
    this.events.push(`sent:${result}`);
    return RECEIVED_DONE;
  }

  connected(result: number): void {
    this.events.push(`connected:${result}`);
  }

  polled(result: number): void {
    this.events.push(`polled:${result}`);
  }

  message(_nameStart: number, _nameEnd: number, start: number, end: number): void {
    this.events.push('message');
    this.chunks.push(this.engine.memory.slice(start, end));
  }

  closed(): void {
    this.handle = -1;
    this.events.push('closed');
  }
}

/** Closes what is still open and waits until the engine said so. */
export function finish(engine: Engine, ...sinks: readonly SinkRecorder[]): void {
  for (const sink of sinks) if (sink.handle >= 0) engine.close(sink.handle);
  expectSoon(engine, () => sinks.every((sink) => sink.handle < 0));
}
