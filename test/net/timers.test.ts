/**
 * Timeouts of connections on every engine: never early, in order, without cost while nothing happens.
 */
import assert from 'node:assert/strict';
import { type Connection, connect, listen } from '../../src/net/index.ts';
import { eachEngine, idleCalls, turns, until } from '../support/net.ts';
import { HOST, pair, runChild } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

/** Counts its timeouts and, unlike a handler without the method, stays open. */
class Timed extends Recorder {
  readonly atMs: number[] = [];

  timeout(_connection: Connection): void {
    this.atMs.push(performance.now());
    this.events.push('timeout');
  }
}

function block(forMs: number): void {
  const untilMs = performance.now() + forMs;
  while (performance.now() < untilMs);
}

eachEngine('a deadline never comes early', async () => {
  const client = new Timed();
  const { connection, finish } = await pair({ client });
  for (const timeoutMs of [0.4, 1, 1.5, 2.3, 5, 10, 10.7, 64, 65, 130]) {
    const startMs = performance.now();
    const heard = client.atMs.length;
    connection.setDeadline(timeoutMs);
    await until(() => client.atMs.length > heard);
    const tookMs = client.atMs[heard] - startMs;
    assert.ok(tookMs >= timeoutMs, `${tookMs} ms instead of ${timeoutMs}`);
    assert.ok(tookMs < timeoutMs + 100, `${tookMs} ms instead of ${timeoutMs}`);
  }
  await finish();
});

eachEngine(
  'equal deadlines come in the order of setting; setting again goes to the end; one cleared does not come',
  async () => {
    const order: number[] = [];
    const listener = await listen({ host: HOST }, {});
    const connections: Connection<number>[] = [];
    for (let index = 0; index < 6; index++) {
      const connection = connect<number>(
        { host: HOST, port: listener.port },
        {
          timeout(timed) {
            order.push(timed.data!);
            if (timed.data === 1) connections[3].setDeadline(0);
          },
        },
      );
      connection.data = index;
      connections.push(await connection.opening());
    }
    for (const connection of connections) connection.setDeadline(20);
    connections[0].setDeadline(20);
    block(40);
    await until(() => order.length >= 5);
    await turns();
    assert.deepEqual(order, [1, 2, 4, 5, 0]);
    for (const connection of connections) connection.destroy();
    await until(() => listener.connections.size === 0);
    await listener.close();
  },
);

eachEngine('a deadline moved from a day to 10 ms comes once, after 10 ms', async () => {
  const client = new Timed();
  const { connection, finish } = await pair({ client });
  connection.setDeadline(86_400_000);
  await turns();
  const startMs = performance.now();
  connection.setDeadline(10);
  await client.heard('timeout');
  assert.ok(client.atMs[0] - startMs >= 10 && client.atMs[0] - startMs < 100);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(client.count('timeout'), 1);
  await finish();
});

eachEngine('a tiny deadline that sets itself again leaves room for sockets', async () => {
  const client = new (class extends Timed {
    override timeout(connection: Connection): void {
      super.timeout(connection);
      connection.setDeadline(0.001);
    }
  })();
  const { connection, accepted, server, finish } = await pair({ client });
  connection.setDeadline(0.001);
  await client.heard('timeout', 10);
  connection.write('through');
  await server.read(7);
  accepted.write('and back');
  await client.read(8);
  connection.setDeadline(0);
  await finish();
});

eachEngine('enormous deadlines do not come and cost nothing', async (engine) => {
  const client = new Timed();
  const { connection, accepted, finish } = await pair({ client });
  for (const timeoutMs of [2 ** 31, 2 ** 48, 2 ** 64 - 1, Number.MAX_VALUE]) {
    connection.setDeadline(timeoutMs);
    accepted.setTimeout(timeoutMs);
    await turns();
    assert.ok((await idleCalls(engine)) <= 10, `${timeoutMs}`);
  }
  assert.equal(client.count('timeout'), 0);
  await finish();
});

eachEngine('a loop that was blocked past several periods makes one call, not one for each', async () => {
  const client = new (class extends Timed {
    override timeout(connection: Connection): void {
      super.timeout(connection);
      if (this.atMs.length < 10) connection.setDeadline(10);
    }
  })();
  const { connection, finish } = await pair({ client });
  connection.setDeadline(10);
  await client.heard('timeout');
  block(35);
  const heard = client.atMs.length;
  await turns(1);
  assert.ok(client.atMs.length - heard <= 1, `${client.atMs.length - heard} calls`);
  connection.setDeadline(0);
  await finish();
});

eachEngine('bytes that arrived before the deadline count although the loop was blocked past it', async () => {
  const server = new Timed();
  const { connection, accepted, finish } = await pair({ server });
  accepted.setTimeout(30);
  connection.write('in time');
  // The bytes leave at the end of this turn and arrive while the next one is blocked.
  setImmediate(() => block(60));
  await server.read(7);
  assert.equal(server.count('timeout'), 0);
  await server.heard('timeout');
  assert.deepEqual(server.events, ['open', 'data:in time', 'timeout']);
  await finish();
});

eachEngine('reading and writing start an idle timeout afresh, 0 ends it, and after destroy it is gone', async () => {
  const server = new Timed();
  const { connection, accepted, client, finish } = await pair({ server });
  const startMs = performance.now();
  accepted.setTimeout(100);
  while (performance.now() - startMs < 250) {
    connection.write('x');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  while (performance.now() - startMs < 500) {
    accepted.write('y');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal(server.count('timeout'), 0);
  const lastMs = performance.now();
  await server.heard('timeout');
  assert.ok(server.atMs[0] - lastMs > 50, `${server.atMs[0] - lastMs} ms`);
  accepted.setTimeout(20);
  accepted.setTimeout(0);
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(server.count('timeout'), 1);
  accepted.setTimeout(20);
  accepted.destroy();
  await client.heard('close');
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(server.count('timeout'), 1);
  await finish();
});

eachEngine(
  'the progress of one long write counts as activity',
  async () => {
    const client = new Timed();
    const { connection, accepted, server, finish } = await pair({ client, listen: { paused: true } });
    const length = 50_000_000;
    connection.setTimeout(300);
    let done = false;
    connection.write(new Uint8Array(length), () => {
      done = true;
    });
    const startMs = performance.now();
    while (!done) {
      accepted.resume();
      await turns(2);
      accepted.pause();
      // Slow enough that the whole takes longer than the timeout.
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.equal(client.count('timeout'), 0, `after ${performance.now() - startMs} ms`);
    connection.setTimeout(0);
    accepted.resume();
    await server.read(length);
    await finish();
  },
  { timeoutMs: 30_000 },
);

eachEngine('without a timeout handler the connection is destroyed', async () => {
  const { connection, client, finish } = await pair();
  connection.setTimeout(10);
  await client.heard('close');
  assert.deepEqual(client.events, ['open', 'close']);
  await finish();
});

eachEngine('a timeout that is set before there is a connection holds when there is one', async () => {
  const listener = await listen({ host: HOST }, {});
  const client = new Timed();
  const connection = connect({ host: HOST, port: listener.port }, client);
  connection.setTimeout(20);
  const startMs = performance.now();
  await client.heard('timeout');
  assert.deepEqual(client.events, ['open', 'timeout']);
  assert.ok(client.atMs[0] - startMs >= 20);
  connection.destroy();
  await client.heard('close');
  await listener.close();
});

eachEngine('unreferenced connections with timeouts do not keep the process', async (engine) => {
  const startMs = performance.now();
  const result = await runChild(
    `net.useEngine('${engine.name}');
     const listener = await net.listen({ host: '127.0.0.1' }, { open(connection) { connection.unref(); } });
     listener.unref();
     for (let timeoutMs = 2000; timeoutMs <= 8000; timeoutMs += 2000) {
       const connection = net.connect({ host: '127.0.0.1', port: listener.port });
       await connection.opening();
       connection.setTimeout(timeoutMs);
       connection.unref();
     }
     const pending = net.connect({ host: '127.0.0.1', port: listener.port });
     pending.unref();
     console.log('done');`,
  );
  assert.equal(result.output.trim(), 'done', result.errors);
  assert.equal(result.code, 0);
  assert.ok(performance.now() - startMs < 1900);
});

eachEngine('what is no number of milliseconds is refused', async () => {
  const { connection, finish } = await pair();
  for (const wrong of [Number.NaN, -1, Number.POSITIVE_INFINITY]) {
    assert.throws(() => connection.setTimeout(wrong), RangeError);
    assert.throws(() => connection.setDeadline(wrong), RangeError);
  }
  assert.throws(() => connection.setTimeout('10' as unknown as number), TypeError);
  connection.setTimeout(0.001);
  connection.setTimeout(0);
  await finish();
});

eachEngine('a wait for the nearest deadline neither spins nor oversleeps', async (engine) => {
  const client = new Timed();
  const { connection, finish } = await pair({ client });
  const lateMs: number[] = [];
  let calls = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 20; round++) {
    const before = engine.statistics.systemCalls;
    const startMs = performance.now();
    const heard = client.atMs.length;
    connection.setDeadline(0.4);
    // Nothing else wakes the loop.
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (client.atMs.length > heard) resolve();
        else setTimeout(look, 20);
      };
      setTimeout(look, 20);
    });
    lateMs.push(client.atMs[heard] - startMs - 0.4);
    calls = Math.min(calls, engine.statistics.systemCalls - before);
  }
  lateMs.sort((a, b) => a - b);
  assert.ok(lateMs[0] >= 0);
  // poll and epoll_wait count whole milliseconds; the machine adds its own.
  assert.ok(lateMs[0] <= 1.2, `at best ${lateMs[0]} ms late`);
  assert.ok(calls <= 10, `${calls} system calls`);
  await finish();
});

eachEngine('a throwing timeout handler does not keep others from coming', async () => {
  const original = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  const thrown: Error[] = [];
  process.on('uncaughtException', (error) => void thrown.push(error));
  try {
    const client = new (class extends Timed {
      override timeout(connection: Connection): void {
        super.timeout(connection);
        throw new Error('timeout');
      }
    })();
    const server = new Timed();
    const { connection, accepted, finish } = await pair({ client, server });
    connection.setDeadline(10);
    accepted.setDeadline(10);
    await Promise.all([client.heard('timeout'), server.heard('timeout')]);
    assert.equal(thrown.length, 1);
    await finish();
  } finally {
    process.removeAllListeners('uncaughtException');
    for (const listener of original) process.on('uncaughtException', listener);
  }
});
