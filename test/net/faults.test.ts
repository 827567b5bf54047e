/**
 * Real faults: storms of signals, tiny buffers, few blocks, peers that trickle, stall, vanish or are killed, and a kernel that
 * refuses to watch. Each harms its own connection at most.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import node from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineName } from '../../src/engine/engine.ts';
import { SO_RCVBUF, SO_SNDBUF, SO_TIMESTAMPING, SOL_SOCKET } from '../../src/kernel/constants.ts';
import { check } from '../../src/kernel/error.ts';
import * as sockets from '../../src/kernel/socket.ts';
import { type Connection, connect, engineNames, listen } from '../../src/net/index.ts';
import { makeEngine, netTest } from '../support/by-hand.ts';
import { eachEngine, idleCalls, pattern, until } from '../support/net.ts';
import { HOST, pair, rawClose, rawConnect, rawReset, rawSend, runChild } from '../support/pair.ts';
import { randomSource } from '../support/random.ts';
import { Recorder } from '../support/recorder.ts';

class Echo extends Recorder {
  override data(connection: Connection, chunk: Uint8Array): void {
    if (!connection.write(chunk.slice())) connection.pause();
  }
  override drain(connection: Connection): void {
    connection.resume();
  }
}

/** Sends `bytes` in random pieces, with pauses of reading now and then, and resolves with what came back. */
function echoed(port: number, bytes: Uint8Array, seed: number, bufferBytes = 0): Promise<Buffer> {
  const random = randomSource(seed);
  return new Promise((resolve, reject) => {
    const back: Uint8Array[] = [];
    let length = 0;
    let sent = 0;
    const more = (connection: Connection): void => {
      while (sent < bytes.length) {
        const piece = bytes.subarray(sent, sent + 1 + random.integer(random.integer(4) === 0 ? 40_000 : 200));
        sent += piece.length;
        if (!connection.write(piece)) return;
      }
    };
    connect(
      { host: HOST, port },
      {
        open(connection) {
          if (bufferBytes > 0) {
            check(sockets.setsockoptInt(connection.descriptor, SOL_SOCKET, SO_SNDBUF, bufferBytes), 'setsockopt');
            check(sockets.setsockoptInt(connection.descriptor, SOL_SOCKET, SO_RCVBUF, bufferBytes), 'setsockopt');
          }
          more(connection);
        },
        drain: more,
        data(connection, chunk) {
          back.push(chunk.slice());
          length += chunk.length;
          if (length === bytes.length) {
            connection.end();
            resolve(Buffer.concat(back));
          } else if (random.integer(8) === 0) {
            connection.pause();
            setImmediate(() => connection.resume());
          }
        },
        error: (_connection, error) => reject(error),
      },
    );
  });
}

eachEngine('five clients with pauses and random pieces get 65,536 bytes each back, and one end each', async () => {
  const server = new Echo();
  const listener = await listen({ host: HOST }, server);
  const bytes = pattern(65_536);
  const all = await Promise.all([1, 2, 3, 4, 5].map((seed) => echoed(listener.port, bytes, seed)));
  for (const back of all) assert.ok(back.equals(bytes));
  await server.heard('close', 5);
  assert.equal(server.count('end'), 5);
  assert.equal(server.errors.length, 0);
  await listener.close();
});

for (const name of engineNames) {
  netTest(
    `[${name}] a storm of signals, tiny socket buffers and eight blocks change no stream`,
    () => makeEngine(name as EngineName, { blocks: 8, blockSize: 1024, receiveBlocks: 4 }),
    async () => {
      let signals = 0;
      const count = (): number => signals++;
      process.on('SIGWINCH', count);
      const storm = spawn(
        '/bin/sh',
        ['-c', `for i in $(seq 100000); do kill -WINCH ${process.pid} 2>/dev/null || exit; done`],
        {
          stdio: 'ignore',
        },
      );
      const server = new Echo();
      const listener = await listen({ host: HOST, sendBufferBytes: 16_384, receiveBufferBytes: 16_384 }, server);
      try {
        const bytes = pattern(40_000);
        await until(() => signals > 10);
        const all = await Promise.all([11, 12, 13].map((seed) => echoed(listener.port, bytes, seed, 16_384)));
        for (const back of all) assert.ok(back.equals(bytes));
      } finally {
        storm.kill('SIGKILL');
        await once(storm, 'exit');
        process.off('SIGWINCH', count);
      }
      await server.heard('close', 3);
      assert.equal(server.errors.length, 0);
      await listener.close();
    },
  );
}

eachEngine(
  'peers that trickle, stall, half-close, reset or are killed end each in its way, and harm no other',
  async () => {
    const server = new (class extends Recorder {
      readonly ends = new Map<string, string>();
      override data(connection: Connection, chunk: Uint8Array): void {
        const name = String(connection.data ?? '') + new TextDecoder().decode(chunk);
        connection.data = name;
        if (name === 'ping') {
          connection.data = '';
          connection.write('pong');
        } else if (name === 'stall') {
          connection.write(new Uint8Array(8 << 20));
        }
      }
      override error(connection: Connection, error: Error & { code?: string }): void {
        this.ends.set(String(connection.data), String(error.code));
      }
      override end(connection: Connection): void {
        this.ends.set(String(connection.data), 'end');
      }
    })();
    const listener = await listen({ host: HOST }, server);
    const client = new Recorder();
    const steady = connect({ host: HOST, port: listener.port }, client);
    await client.heard('open');
    let pings = 0;
    const ping = async (): Promise<void> => {
      steady.write('ping');
      pings++;
      await client.read(4 * pings);
    };

    const trickling = rawConnect(listener.port);
    for (const character of 'trickle') {
      rawSend(trickling, character);
      await ping();
    }
    const stalling = rawConnect(listener.port);
    rawSend(stalling, 'stall');
    await sleep(100);
    await ping();
    const half = node.connect({ host: HOST, port: listener.port, allowHalfOpen: true });
    half.end('half');
    const resetting = rawConnect(listener.port);
    rawSend(resetting, 'reset');
    await ping();
    await until(() => [...listener.connections].some((connection) => connection.data === 'reset'));
    rawReset(resetting);
    const script = `const s = require('net').connect(${listener.port}, '${HOST}'); s.write('killed'); s.on('data', () => {})`;
    const killed = spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
    await until(() => [...listener.connections].some((connection) => connection.data === 'killed'));
    killed.kill('SIGKILL');
    await until(() => server.ends.size === 3);
    await ping();
    rawClose(trickling);
    // It has not read its 8 MB, so its close is a reset.
    rawClose(stalling);
    await until(() => server.ends.size === 5);
    await ping();
    assert.deepEqual(Object.fromEntries([...server.ends].toSorted()), {
      half: 'end',
      killed: 'end',
      reset: 'ECONNRESET',
      stall: 'ECONNRESET',
      trickle: 'end',
    });
    half.destroy();
    steady.destroy();
    await until(() => listener.connections.size === 0);
    await listener.close();
  },
);

eachEngine(
  'an entry in the error queue that is no error does not end the connection, and nothing spins on it',
  async (engine) => {
    const { connection, client, finish } = await pair({ server: new Echo() });
    // SOF_TIMESTAMPING_TX_SOFTWARE and SOF_TIMESTAMPING_SOFTWARE: each send is reported as sent (networking/timestamping).
    check(sockets.setsockoptInt(connection.descriptor, SOL_SOCKET, SO_TIMESTAMPING, 2 | 16), 'setsockopt');
    connection.write('one');
    await until(() => client.text === 'one');
    assert.ok((await idleCalls(engine)) <= 10, 'it spins');
    connection.write('two');
    await until(() => client.text === 'onetwo');
    assert.deepEqual(client.errors, []);
    await finish();
  },
);

eachEngine(
  'where the kernel refuses to watch a further socket, that connect fails with its errno and the rest goes on',
  async (engine) => {
    const url = (path: string): string => JSON.stringify(new URL(`../../${path}`, import.meta.url).href);
    for (const errno of ['ENOSPC', 'ENOMEM']) {
      const result = await runChild(
        `const { refuseSystemCall } = await import(${url('test/support/seccomp.ts')});
         const { SYS } = await import(${url('src/kernel/syscall.ts')});
         const { ERRNO } = await import(${url('src/kernel/errno.ts')});
         const fs = await import('node:fs');
         net.useEngine('${engine.name}');
         const listener = await net.listen({ host: '127.0.0.1' }, { data: (connection, chunk) => connection.write(chunk.slice()) });
         const heard = [];
         const target = { host: '127.0.0.1', port: listener.port };
         const steady = net.connect(target, { data: (_c, chunk) => heard.push(String.fromCharCode(...chunk)) });
         await steady.opening();
         steady.write('before');
         while (heard.join('') !== 'before') await new Promise(setImmediate);
         refuseSystemCall(SYS.epoll_ctl, ERRNO.${errno});
         const failed = [];
         net.connect({ host: '127.0.0.1', port: listener.port }, {
           error: (_c, error) => failed.push(error.code), close: () => failed.push('close'),
         });
         while (failed.length < 2) await new Promise(setImmediate);
         steady.write(' after');
         while (heard.join('') !== 'before after') await new Promise(setImmediate);
         fs.writeSync(1, failed.join());
         process.exit(0);`,
      );
      assert.equal(result.output, `${errno},close`, result.errors);
    }
  },
  // The others register nothing with the kernel.
  { only: ['epoll', 'epoll-level'], timeoutMs: 20_000 },
);
