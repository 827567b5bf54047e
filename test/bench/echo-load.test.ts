/**
 * The load of the echo benchmark, against a server whose latency is known because the test makes it.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { findProgram } from '../../bench/support/machine.ts';

const skip = findProgram('cc') === null ? 'cc is not installed' : false;
const source = join(import.meta.dirname, '../../bench/c/echo-load.c');
const run = promisify(execFile);
let folder = '';
let program = '';

before(async () => {
  if (skip !== false) return;
  folder = mkdtempSync(join(tmpdir(), 'millrace-echo-load-'));
  program = join(folder, 'echo-load');
  await run('cc', ['-O2', '-o', program, source]);
});

after(() => {
  if (folder !== '') rmSync(folder, { recursive: true });
});

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

test('a stall is charged to every message that waited behind it', { skip }, async () => {
  const STALL_MS = 400;
  let received = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('data', (chunk) => {
      // One stall in the midst of a second of load: what is due meanwhile waits up to 400 ms.
      const stalls = received < 200 * 64 && received + chunk.length >= 200 * 64;
      received += chunk.length;
      if (stalls) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STALL_MS);
      socket.write(chunk);
    });
  });
  const port = await listen(server);

  const { stdout } = await run(program, [String(port), '4', '1000', '1']);

  server.close();
  const latencies = JSON.parse(stdout);
  assert.equal(latencies.messages, 1000);
  assert.equal(latencies.lost, 0);
  // 400 of 1,000 messages waited, evenly from 400 ms down to none: a tenth of all waited over 300 ms. A client that counts
  // from when it got round to sending would have seen one slow message a connection.
  assert.ok(latencies.p90 > 250e6, `p90 is ${latencies.p90} ns`);
  assert.ok(latencies.max >= STALL_MS * 1e6 * 0.95 && latencies.p50 < STALL_MS * 1e6, JSON.stringify(latencies));
});

test('an echo that differs is refused', { skip }, async () => {
  const server = createServer((socket) => {
    socket.on('data', (chunk) => {
      chunk[0] ^= 1;
      socket.write(chunk);
    });
    socket.on('error', () => socket.destroy());
  });
  const port = await listen(server);

  await assert.rejects(run(program, [String(port), '1', '100', '1']), /the echo of message 0 differs/);

  server.close();
});
