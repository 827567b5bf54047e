/**
 * The time that the shim leaves behind after system calls.
 */
import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { ranMs } from '../../src/kernel/native.ts';
import { call, SYS } from '../../src/kernel/syscall.ts';

/** The scale was found by a look at two clocks, one after the other. */
const TOLERANCE_MS = 0.05;

test('ranMs is when the last system call had run, on the scale of performance.now()', async () => {
  for (let round = 0; round < 20; round++) {
    const beforeMs = performance.now();
    call(SYS.getpid);
    const afterMs = performance.now();
    assert.ok(ranMs() >= beforeMs - TOLERANCE_MS, `${ranMs()} before ${beforeMs}`);
    assert.ok(ranMs() <= afterMs + TOLERANCE_MS, `${ranMs()} after ${afterMs}`);
    const heldMs = ranMs();
    await new Promise((resolve) => setTimeout(resolve, 2));
    assert.equal(ranMs(), heldMs);
  }
});

test('a worker has a scale and a time of its own', async () => {
  const source = new URL('../../src/kernel/native.ts', import.meta.url);
  const program = `
    import { performance } from 'node:perf_hooks';
    import { parentPort } from 'node:worker_threads';
    import { ranMs, shim } from ${JSON.stringify(source.href)};
    shim.run(0);
    parentPort.postMessage(performance.now() - ranMs());`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`));
  const lateMs = await new Promise<number>((resolve, reject) => worker.once('message', resolve).once('error', reject));
  assert.ok(lateMs > -TOLERANCE_MS && lateMs < 50, `${lateMs} ms`);
});
