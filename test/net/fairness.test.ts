/**
 * One busy peer, many busy peers, and a crowd at the door: none may keep the others waiting.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { type Engine, RECEIVED_DONE } from '../../src/engine/engine.ts';
import { SO_SNDBUF, SOCK_NONBLOCK, SOL_SOCKET } from '../../src/kernel/constants.ts';
import * as sockets from '../../src/kernel/socket.ts';
import { call, SYS } from '../../src/kernel/syscall.ts';
import { type Connection, connect, listen } from '../../src/net/index.ts';
import { byHand, expectSoon, finish, SinkRecorder, settle, socketPair } from '../support/by-hand.ts';
import type { EchoWorkerData } from '../support/echo-worker.ts';
import { eachEngine, readinessEngines, until } from '../support/net.ts';
import { HOST, rawClose, rawConnect, rawListen, rawSend } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

const F_SETFL = 4;
const MSG_DONTWAIT = 0x40;

/** Receives, and keeps the order of everybody's deliveries in one log. */
function logged(
  engine: Engine,
  name: string,
  log: { name: string; bytes: number }[],
): { sink: SinkRecorder; peer: number } {
  const [own, peer] = socketPair();
  sockets.setsockoptInt(peer, SOL_SOCKET, SO_SNDBUF, 4 << 20);
  const sink = new (class extends SinkRecorder {
    override received(start: number, end: number): number {
      log.push({ name, bytes: end - start });
      this.bytes += end - start;
      return RECEIVED_DONE;
    }
  })(engine, own);
  engine.receiveStart(sink.handle);
  return { sink, peer };
}

function fill(peer: number, bytesMax: number): number {
  let sent = 0;
  while (sent < bytesMax) {
    const result = rawSend(peer, 'x'.repeat(4096), MSG_DONTWAIT);
    if (result < 0) break;
    sent += result;
  }
  return sent;
}

byHand('a socket with much to read does not hold up twenty with a byte each', (engine) => {
  const log: { name: string; bytes: number }[] = [];
  const heavy = logged(engine, 'heavy', log);
  const light = Array.from({ length: 20 }, (_, index) => logged(engine, `light ${index}`, log));
  settle(engine);
  const total = fill(heavy.peer, 2 << 20);
  assert.ok(total > 32 * engine.blockSize, `${total} bytes are not much`);
  for (const { peer } of light) rawSend(peer, '.');
  expectSoon(engine, () => light.every(({ sink }) => sink.bytes === 1));
  const lastLight = log.findLastIndex(({ name }) => name !== 'heavy');
  const before = log.slice(0, lastLight).filter(({ name }) => name === 'heavy').length;
  // The readiness engines read four blocks a turn; the kernel ends a multishot's run after 32.
  assert.ok(before <= 64, `${before} reads of the busy one came before the last of the others`);
  expectSoon(engine, () => heavy.sink.bytes === total);
  finish(engine, heavy.sink, ...light.map(({ sink }) => sink));
  for (const { peer } of [heavy, ...light]) rawClose(peer);
});

byHand('a socket that met its bound goes on in the next turn without a further event', (engine) => {
  const log: { name: string; bytes: number }[] = [];
  const two = [logged(engine, 'a', log), logged(engine, 'b', log)];
  settle(engine);
  const totals = two.map(({ peer }) => fill(peer, 1 << 20));
  const sinceMs = performance.now();
  expectSoon(engine, () => two.every(({ sink }, index) => sink.bytes === totals[index]));
  assert.ok(performance.now() - sinceMs < 500);
  // Both advance together: neither is done before the other has begun.
  const firstB = log.findIndex(({ name }) => name === 'b');
  const lastA = log.findLastIndex(({ name }) => name === 'a');
  assert.ok(firstB < lastA, 'one after the other');
  finish(engine, ...two.map(({ sink }) => sink));
  for (const { peer } of two) rawClose(peer);
});

byHand(
  'four streams take turns of a few blocks',
  (engine) => {
    const log: { name: string; bytes: number }[] = [];
    const four = ['a', 'b', 'c', 'd'].map((name) => logged(engine, name, log));
    settle(engine);
    const totals = four.map(({ peer }) => fill(peer, 256 * 1024));
    expectSoon(engine, () => four.every(({ sink }, index) => sink.bytes === totals[index]));
    for (const name of ['a', 'b', 'c', 'd']) {
      const others = log.findIndex((entry) => entry.name === name);
      const alone = log.slice(0, others).reduce((sum, entry) => sum + entry.bytes, 0);
      assert.ok(alone <= 3 * 64 * engine.blockSize, `${name} began after ${alone} bytes of the others`);
    }
    finish(engine, ...four.map(({ sink }) => sink));
    for (const { peer } of four) rawClose(peer);
  },
  { engine: { blockSize: 1024, blocks: 256, receiveBlocks: 128 } },
);

// io_uring's multishot accept empties the queue in one go, however long (io_accept); the backlog is the bound there.
byHand(
  'a crowd of clients is accepted over several turns, in which others are served',
  (engine) => {
    const listening = rawListen(4096);
    call(SYS.fcntl, listening.descriptor, F_SETFL, SOCK_NONBLOCK);
    const listener = new SinkRecorder(engine, listening.descriptor);
    engine.acceptStart(listener.handle);
    const log: { name: string; bytes: number }[] = [];
    const other = logged(engine, 'other', log);
    settle(engine);
    const clients = Array.from({ length: 1000 }, () => rawConnect(listening.port));
    rawSend(other.peer, '.');
    let accepted = -1;
    expectSoon(engine, () => {
      if (accepted < 0 && other.sink.bytes === 1) accepted = listener.descriptors.length;
      return listener.descriptors.length === 1000;
    });
    assert.ok(accepted >= 0 && accepted < 1000, `the other was served after ${accepted} clients`);
    finish(engine, listener, other.sink);
    for (const descriptor of [...clients, ...listener.descriptors, other.peer]) rawClose(descriptor);
  },
  { only: readinessEngines },
);

eachEngine(
  'while one peer sends at full speed, pings of a hundred others and a timer keep their pace',
  async (engine) => {
    let flooded = 0;
    const listener = await listen(
      { host: HOST },
      {
        data(connection: Connection, chunk) {
          if (chunk.length > 100) flooded += chunk.length;
          else connection.write(chunk.slice());
        },
      },
    );
    const data: EchoWorkerData = { engine: engine.name, port: listener.port, floods: true };
    const worker = new Worker(new URL('../support/echo-worker.ts', import.meta.url), { workerData: data });
    await once(worker, 'message');
    await until(() => flooded > 1 << 20);
    const roundMs: number[] = [];
    const clients = Array.from({ length: 100 }, () => {
      let sentMs = 0;
      return connect(
        { host: HOST, port: listener.port },
        {
          open(connection) {
            sentMs = performance.now();
            connection.write('ping');
          },
          data(connection) {
            roundMs.push(performance.now() - sentMs);
            sentMs = performance.now();
            connection.write('ping');
          },
        },
      );
    });
    let ticks = 0;
    const timer = setInterval(() => ticks++, 10);
    await until(() => roundMs.length >= 5000 && ticks >= 10);
    clearInterval(timer);
    roundMs.sort((a, b) => a - b);
    // A hundred pings at once share one processor with the flood; a starved one would wait for it to end, which it never does.
    assert.ok(roundMs[Math.floor(roundMs.length * 0.5)] < 100, `half took ${roundMs[roundMs.length >> 1]} ms or more`);
    await worker.terminate();
    for (const client of clients) client.destroy();
    for (const connection of listener.connections) connection.destroy();
    await listener.close();
    await until(() => clients.every((client) => client.destroyed));
  },
);

eachEngine('2,000 clients at once do not stop an established echo', async () => {
  const server = new (class extends Recorder {
    override data(connection: Connection, chunk: Uint8Array): void {
      connection.write(chunk.slice());
    }
  })();
  const listener = await listen({ host: HOST, backlog: 4096 }, server);
  let rounds = 0;
  let heardMs = 0;
  let longestMs = 0;
  const echo = connect(
    { host: HOST, port: listener.port },
    {
      open: (connection) => void connection.write('x'),
      data(connection) {
        rounds++;
        const nowMs = performance.now();
        if (heardMs > 0) longestMs = Math.max(longestMs, nowMs - heardMs);
        heardMs = nowMs;
        connection.write('x');
      },
    },
  );
  await until(() => rounds > 10);
  const atFirst = rounds;
  const crowd = Array.from({ length: 2000 }, () => rawConnect(listener.port));
  heardMs = performance.now();
  longestMs = 0;
  await until(() => listener.accepts === 2001 && rounds > atFirst + 10);
  assert.ok(longestMs < 500, `no echo for ${longestMs} ms while the crowd was let in`);
  echo.destroy();
  for (const client of crowd) rawClose(client);
  await until(() => listener.connections.size === 0);
  await listener.close();
});
