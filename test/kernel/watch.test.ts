/**
 * Descriptors watched from within Node's event loop.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { O_CLOEXEC, O_NONBLOCK } from '../../src/kernel/constants.ts';
import { closeDescriptor, pipe2 } from '../../src/kernel/socket.ts';
import { addressOf, call, SYS } from '../../src/kernel/syscall.ts';
import { watch } from '../../src/kernel/watch.ts';

const byte = new Uint8Array(new ArrayBuffer(64));

function pipe(): readonly [number, number] {
  const ends = new Int32Array(2);
  assert.equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  return [ends[0], ends[1]];
}

const write = (descriptor: number): number => call(SYS.write, descriptor, addressOf(byte), 1);
const read = (descriptor: number): number => call(SYS.read, descriptor, addressOf(byte), 1);

test('a callback runs for each turn in which the descriptor is readable, until the watch ends', async () => {
  const [reader, writer] = pipe();
  const order: string[] = [];
  await new Promise<void>((resolve) => {
    const watched = watch(reader, () => {
      order.push('readable');
      process.nextTick(() => order.push('tick'));
      if (order.length < 4) return;
      read(reader);
      watched[Symbol.dispose]();
      watched[Symbol.dispose]();
      setImmediate(resolve);
    });
    write(writer);
  });
  assert.deepEqual(order, ['readable', 'tick', 'readable', 'tick', 'readable', 'tick']);
  write(writer);
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(order.length, 6);
  closeDescriptor(reader);
  closeDescriptor(writer);
});

test('a file cannot be watched, and the error says which descriptor', () => {
  const file = openSync(import.meta.filename, 'r');
  assert.throws(() => watch(file, () => undefined), { code: 'EPERM', name: 'KernelError' });
  closeSync(file);
  assert.throws(() => watch(1 << 20, () => undefined), { code: 'EBADF' });
});

const module = JSON.stringify(new URL('../../src/kernel/watch.ts', import.meta.url).href);
const socketModule = JSON.stringify(new URL('../../src/kernel/socket.ts', import.meta.url).href);

test('an exception of a callback is an uncaught one', () => {
  const script = `
    import { watch } from ${module};
    import { pipe2, shutdown } from ${socketModule};
    const ends = new Int32Array(2);
    pipe2(ends, 0o2004000);
    const { writeSync } = await import('node:fs');
    const watched = watch(ends[0], () => { watched[Symbol.dispose](); throw new Error('from the callback'); });
    process.on('uncaughtException', (error) => { console.log('caught', error.message); });
    writeSync(ends[1], 'x');
  `;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  assert.equal(stdout, 'caught from the callback\n', stderr);
  assert.equal(status, 0);
});

test('a watch keeps the process running unless told', () => {
  const script = `
    import { watch } from ${module};
    import { pipe2 } from ${socketModule};
    const ends = new Int32Array(2);
    pipe2(ends, 0o2004000);
    watch(ends[0], () => undefined).keepAlive(false);
  `;
  const { status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 5000 });
  assert.equal(status, 0);
});

test('a worker that ends takes its watches with it', async () => {
  const script = `
    const { parentPort } = await import('node:worker_threads');
    const { watch } = await import(${module});
    const { pipe2 } = await import(${socketModule});
    const ends = new Int32Array(2);
    pipe2(ends, 0o2004000);
    watch(ends[0], () => undefined);
    parentPort.postMessage('watching');
  `;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`));
  await new Promise((resolve) => worker.once('message', resolve));
  assert.equal(await worker.terminate(), 1);
});
