/**
 * No free descriptor: accepting rests instead of spinning, others are served, and the clients that wait are served as soon as
 * there is one. The limit is this process's own, lowered for a moment.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { AF_INET, SOCK_CLOEXEC, SOCK_STREAM } from '../../src/kernel/constants.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import { check } from '../../src/kernel/error.ts';
import { getDescriptorLimit, type Limit, setDescriptorLimit } from '../../src/kernel/limits.ts';
import * as sockets from '../../src/kernel/socket.ts';
import { call, SYS } from '../../src/kernel/syscall.ts';
import { type Connection, connect, listen } from '../../src/net/index.ts';
import { eachEngine, openDescriptors, until } from '../support/net.ts';
import { HOST, pair, rawClose, rawReceive, rawSend, runChild } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

const MSG_DONTWAIT = 0x40;

/**
 * Lowers the limit to what is open and `room` more. `fill` takes what is left of that, `release` gives some back, `restore` all.
 *
 * Before anything listens: io_uring's accept goes by the limit of the moment when it was armed (io_accept_prep).
 */
function limited(room: number): { fill(): void; release(count: number): void; restore(): void } {
  const limit = getDescriptorLimit() as Limit;
  const highest = Math.max(...readdirSync('/proc/self/fd').map(Number));
  check(setDescriptorLimit({ soft: highest + 1 + room, hard: limit.hard }), 'prlimit64');
  const taken: number[] = [];
  const release = (count: number): void => {
    for (const descriptor of taken.splice(0, count)) rawClose(descriptor);
  };
  return {
    fill() {
      for (;;) {
        const descriptor = call(SYS.dup, 0);
        if (descriptor < 0) break;
        taken.push(descriptor);
      }
    },
    release,
    restore() {
      release(taken.length);
      check(setDescriptorLimit(limit), 'prlimit64');
    },
  };
}

class Echo extends Recorder {
  override data(connection: Connection, chunk: Uint8Array): void {
    connection.write(chunk.slice());
  }
}

eachEngine(
  'without a free descriptor a client waits, nothing spins, others echo; with one it is served',
  async (engine) => {
    const failures: number[] = [];
    const server = new Echo();
    const { fill, release, restore } = limited(16);
    const { listener, connection, client, finish } = await pair({
      server,
      listen: { events: { exhausted: (result) => void failures.push(result) } },
    });
    const waiting = check(sockets.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC), 'socket');
    fill();
    try {
      check(sockets.connect(waiting, { family: 'ipv4', address: HOST, port: listener.port }), 'connect');
      rawSend(waiting, 'hello');
      await until(() => failures.length > 0);
      const before = process.cpuUsage();
      const calls = engine.statistics.systemCalls;
      await sleep(500);
      // A loop that spins takes all of it, and makes a hundred thousand calls; what is allowed is V8's own work.
      const used = process.cpuUsage(before);
      assert.ok(used.user + used.system < 100_000, `${used.user + used.system} µs of 500 ms`);
      assert.ok(engine.statistics.systemCalls - calls < 2000, `${engine.statistics.systemCalls - calls} calls`);
      assert.deepEqual(failures, [-ERRNO.EMFILE]);
      connection.write('ping');
      await until(() => client.text === 'ping');
      assert.equal(rawReceive(waiting, 10, MSG_DONTWAIT), -ERRNO.EAGAIN);
      // No further client comes: an engine that waited for the next edge would leave this one for ever.
      release(2);
      await server.heard('open', 2);
      await until(() => rawReceive(waiting, 10, MSG_DONTWAIT) === 'hello', 1000);
    } finally {
      restore();
      rawClose(waiting);
    }
    await server.heard('close');
    await finish();
  },
);

eachEngine('a connect without a free descriptor fails with EMFILE, the next one succeeds', async () => {
  const { listener, finish, server } = await pair();
  const failed = new Recorder();
  const { fill, restore } = limited(1);
  fill();
  try {
    connect({ host: HOST, port: listener.port }, failed);
    await failed.heard('close');
  } finally {
    restore();
  }
  assert.deepEqual(failed.events, ['error:EMFILE', 'close']);
  const next = new Recorder();
  const connection = connect({ host: HOST, port: listener.port }, next);
  await next.heard('open');
  connection.end();
  await server.heard('close');
  await finish();
});

eachEngine('500 connections one after another need no more descriptors than one', async () => {
  const { restore } = limited(16);
  const server = new Recorder();
  const listener = await listen({ host: HOST }, server);
  try {
    for (let count = 1; count <= 500; count++) {
      const client = new Recorder();
      const connection = connect({ host: HOST, port: listener.port }, client);
      await connection.opening();
      connection.reset();
      await client.heard('close');
      await server.heard('close', count);
      assert.ok(client.errors.length === 0);
    }
  } finally {
    restore();
  }
  await listener.close();
  assert.ok(openDescriptors().size < 60);
});

eachEngine(
  'where io_uring is refused, epoll serves and says why in one line, and nothing leaks',
  async () => {
    const url = (path: string): string => JSON.stringify(new URL(`../../${path}`, import.meta.url).href);
    const reasons = new Set<string>();
    for (const errno of ['EPERM', 'ENOSYS', 'ENOMEM'] as const) {
      const result = await runChild(
        `const { refuseSystemCall } = await import(${url('test/support/seccomp.ts')});
         const { openDescriptors } = await import(${url('test/support/net.ts')});
         const { SYS } = await import(${url('src/kernel/syscall.ts')});
         refuseSystemCall(SYS.io_uring_setup, ${ERRNO[errno]});
         console.log('begin');
         const before = openDescriptors().size;
         const engine = net.useEngine('auto');
         console.log(engine.name, openDescriptors().size - before, engine.reason.split('\\n').length);
         console.log(engine.reason);
         const listener = await net.listen({ host: '127.0.0.1' }, { open: (connection) => connection.end('served') });
         for await (const chunk of net.connect({ host: '127.0.0.1', port: listener.port })) console.log(String.fromCharCode(...chunk));
         await listener.close();
         net.releaseEngine();
         // Within a turn of its own the engine goes at the turn's end.
         await new Promise(setImmediate);
         console.log(openDescriptors().size - before);`,
      );
      const [, first, reason, served, left] = result.output.trim().split('\n');
      assert.equal(first, 'epoll 1 1', `${errno}: ${result.errors}`);
      assert.match(reason, /^io_uring is not available: .{20}/);
      reasons.add(reason);
      assert.equal(served, 'served');
      assert.equal(left, '0');
    }
    assert.equal(reasons.size, 3, 'each refusal has its own reason');
  },
  { only: ['io_uring'] },
);
