/**
 * io_uring's moderated waits: a busy ring gathers completions before it wakes the thread, a ring that is not busy does not.
 */
import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { createUring } from '../../src/engine/uring.ts';
import { engineTest, finish, SinkRecorder, socketPair } from '../support/by-hand.ts';
import { rawClose, rawSend } from '../support/pair.ts';

const WINDOW_US = 1900;
const PAUSE_MS = 8;
const ROUNDS = 20;
const BURST = 4;

/** Sends from another socket as soon as its own bytes have come, and knows how long that took to come back. */
class Echoing extends SinkRecorder {
  afterwards: () => void = () => {};

  override received(start: number, end: number): number {
    this.afterwards();
    return super.received(start, end);
  }
}

engineTest(
  '[io_uring] at a rate at which waiting does not pay, what follows a burst is delivered at once',
  () => createUring({ moderationUs: WINDOW_US }),
  (engine) => {
    const burst = Array.from({ length: BURST }, () => {
      const [own, peer] = socketPair();
      const sink = new Echoing(engine, own);
      engine.receiveStart(sink.handle);
      return { sink, peer };
    });
    const [own, peer] = socketPair();
    const follower = new Echoing(engine, own);
    engine.receiveStart(follower.handle);
    let sentMs = 0;
    const delaysMs: number[] = [];
    burst[BURST - 1].sink.afterwards = () => {
      sentMs = performance.now();
      rawSend(peer, 'follows');
    };
    follower.afterwards = () => void delaysMs.push(performance.now() - sentMs);

    for (let round = 0; round < ROUNDS; round++) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
      for (const one of burst) rawSend(one.peer, 'burst');
      while (delaysMs.length === round) engine.turn(100);
    }

    // The least of them: the machine may be busy, but not always. A moderated wait takes its whole window each time.
    assert.ok(Math.min(...delaysMs) * 1000 < WINDOW_US / 2, `${delaysMs.map((delay) => delay.toFixed(2))} ms`);
    finish(engine, follower, ...burst.map(({ sink }) => sink));
    for (const { peer: other } of [...burst, { peer }]) rawClose(other);
  },
);
