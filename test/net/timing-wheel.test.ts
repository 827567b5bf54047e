/**
 * The timing wheel by itself, against a list of deadlines as oracle, with time as the test says it is.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Timers } from '../../src/net/timers.ts';

test('random timers come when their time has passed, never before, never late by more than the step', (context) => {
  let nowMs = 1000.25;
  context.mock.method(performance, 'now', () => nowMs);
  const timers = new Timers();
  const expected = new Map<number, number>();
  let seed = 12345;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed % below;
  };
  let fired = 0;
  const owner = (handle: number) => ({
    timeUp(): void {
      fired++;
      const deadlineMs = expected.get(handle);
      assert.ok(deadlineMs !== undefined, `timer ${handle} was not set`);
      assert.ok(deadlineMs <= nowMs, `timer ${handle} came ${deadlineMs - nowMs} ms early`);
      expected.delete(handle);
    },
  });
  for (let step = 0; step < 20_000; step++) {
    const handle = random(3000);
    const span = [1, 60, 64, 4000, 4096, 300_000, 20_000_000][random(7)];
    const timeoutMs = (random(1000) / 1000) * span + 0.001;
    if (random(4) === 0) {
      timers.clear(handle);
      expected.delete(handle);
    } else {
      timers.set(handle, owner(handle), timeoutMs, false);
      expected.set(handle, nowMs + timeoutMs);
    }
    const nextMs = timers.nextDeadlineMs();
    if (step % 97 === 0) {
      const nearestMs = Math.min(...expected.values());
      assert.ok(nextMs <= nearestMs, `would sleep until ${nextMs}, but ${nearestMs} is due`);
    }
    nowMs += random(10) === 0 ? random(100_000) : random(100) / 10;
    timers.expire(nowMs);
    assert.equal(timers.active, expected.size);
    if (step % 97 === 0)
      for (const deadlineMs of expected.values()) assert.ok(deadlineMs > nowMs, 'a timer was missed');
  }
  assert.ok(fired > 1000);
});

test('activity moves an idle timeout; it comes a whole timeout after the last', (context) => {
  let nowMs = 500;
  context.mock.method(performance, 'now', () => nowMs);
  const timers = new Timers();
  const heard: number[] = [];
  timers.set(7, { timeUp: () => void heard.push(nowMs) }, 100, true);
  for (let step = 0; step < 30; step++) {
    nowMs += 50;
    timers.nextDeadlineMs();
    timers.touch(7);
    timers.expire(nowMs);
  }
  assert.deepEqual(heard, []);
  const lastMs = nowMs;
  while (heard.length === 0) {
    nowMs = Math.max(nowMs + 0.5, Math.min(timers.nextDeadlineMs(), nowMs + 50));
    timers.expire(nowMs);
  }
  assert.ok(heard[0] >= lastMs + 100 && heard[0] < lastMs + 101.5, `${heard[0] - lastMs}`);
  timers.touch(7);
  assert.equal(timers.nextDeadlineMs(), Number.POSITIVE_INFINITY);
});

test('a timer set while the last one fires comes at its own time', (context) => {
  let nowMs = 100.9;
  context.mock.method(performance, 'now', () => nowMs);
  const timers = new Timers();
  const heard: number[] = [];
  const second = { timeUp: () => void heard.push(nowMs) };
  timers.set(
    1,
    {
      timeUp() {
        // Time goes on while the handler runs, across a whole millisecond.
        nowMs += 0.4;
        timers.set(2, second, 0.2, false);
      },
    },
    1,
    false,
  );
  nowMs = 105.8;
  timers.expire(nowMs);
  assert.equal(timers.active, 1);
  nowMs = 106.5;
  timers.expire(nowMs);
  assert.deepEqual(heard, [106.5]);
});

test('clearing what was never set, twice, or a handle that is no more changes nothing', () => {
  const timers = new Timers();
  timers.set(3, { timeUp: () => assert.fail() }, 1000, false);
  for (const handle of [-1, 0, 5000, 3, 3]) timers.clear(handle);
  assert.equal(timers.active, 0);
  timers.expire(performance.now() + 5000);
});
