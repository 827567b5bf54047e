/**
 * Many connections: whole bodies, random activity, mass closes, and everything back at the baseline afterwards.
 */
import assert from 'node:assert/strict';
import { setImmediate as immediate } from 'node:timers/promises';
import { type ClientConnection, type Connection, connect, listen } from '../../src/net/index.ts';
import { eachEngine, until } from '../support/net.ts';
import { HOST } from '../support/pair.ts';
import { randomSource } from '../support/random.ts';
import { Recorder } from '../support/recorder.ts';

class Echo extends Recorder {
  override open(connection: Connection): void {
    this.connections.push(connection);
  }
  override data(connection: Connection, chunk: Uint8Array): void {
    connection.write(chunk.slice());
  }
  override close(): void {
    this.bytes++;
  }
}

eachEngine('50 clients with three connections each get 150 whole bodies of 40 KB', async () => {
  const body = Buffer.alloc(40_960, 'body');
  const listener = await listen({ host: HOST }, { open: (connection) => connection.end(body) });
  const received: number[] = [];
  const failures: Error[] = [];
  const get = (): Promise<void> =>
    new Promise((resolve) => {
      let length = 0;
      connect(
        { host: HOST, port: listener.port },
        {
          data(_connection, chunk) {
            if (Buffer.compare(chunk, body.subarray(length, length + chunk.length)) === 0) length += chunk.length;
          },
          error: (_connection, error) => void failures.push(error),
          close() {
            received.push(length);
            resolve();
          },
        },
      );
    });
  await Promise.all(
    Array.from({ length: 50 }, async () => {
      for (let count = 0; count < 3; count++) await get();
    }),
  );
  assert.deepEqual(failures, []);
  assert.deepEqual(received, new Array(150).fill(40_960));
  await listener.close();
});

eachEngine(
  'of 1,000 connections 100 random ones are active in each of 50 rounds, and every byte arrives',
  async () => {
    const listener = await listen({ host: HOST }, new Echo());
    const random = randomSource(7);
    const got = new Int32Array(1000);
    const clients: ClientConnection[] = [];
    for (let index = 0; index < 1000; index++) {
      clients.push(
        connect(
          { host: HOST, port: listener.port },
          {
            data(_connection, chunk) {
              got[index] += chunk.length;
            },
          },
        ),
      );
      if (index % 100 === 99) await until(() => listener.connections.size === index + 1);
    }
    const sent = new Int32Array(1000);
    for (let round = 0; round < 50; round++) {
      for (let active = 0; active < 100; active++) {
        const index = random.integer(1000);
        const length = 1 + random.integer(200);
        clients[index].write(new Uint8Array(length));
        sent[index] += length;
      }
      await immediate();
    }
    await until(() => got.every((bytes, index) => bytes === sent[index]));
    for (const client of clients) client.destroy();
    await until(() => listener.connections.size === 0 && clients.every((client) => client.destroyed));
    await listener.close();
  },
  { timeoutMs: 20_000 },
);

eachEngine(
  '1,000 connections with bytes under way, destroyed in one turn, close once each and say nothing more',
  async () => {
    const heard = new Map<Connection, string[]>();
    const note = (connection: Connection, what: string): void => {
      const events = heard.get(connection);
      if (events === undefined) heard.set(connection, [what]);
      else events.push(what);
    };
    const listener = await listen({ host: HOST }, new Echo());
    const clients: ClientConnection[] = [];
    for (let index = 0; index < 1000; index++) {
      const client = connect(
        { host: HOST, port: listener.port },
        { data: (own) => note(own, 'data'), end: (own) => note(own, 'end'), close: (own) => note(own, 'close') },
      );
      clients.push(client);
      if (index % 100 === 99) await until(() => listener.connections.size === index + 1);
    }
    for (const client of clients) client.write('under way');
    await immediate();
    for (const client of clients) client.destroy();
    await until(() => listener.connections.size === 0 && heard.size === 1000);
    await immediate();
    for (const events of heard.values()) {
      assert.equal(events.filter((event) => event === 'close').length, 1);
      assert.equal(events.at(-1), 'close');
    }
    await listener.close();
  },
  { timeoutMs: 20_000 },
);

eachEngine('thousands of short connections leave no memory behind', async () => {
  const server = new Echo();
  const listener = await listen({ host: HOST }, { close: () => void server.bytes++ });
  const round = async (count: number): Promise<void> => {
    const before = server.bytes;
    for (let index = 0; index < count; index++) {
      const client = connect({ host: HOST, port: listener.port }, { open: (own) => own.reset() });
      if (index % 50 === 49) await until(() => client.destroyed);
    }
    await until(() => server.bytes === before + count && listener.connections.size === 0);
  };
  const settled = async (): Promise<number> => {
    for (let count = 0; count < 3; count++) {
      globalThis.gc!();
      await immediate();
    }
    return process.memoryUsage().heapUsed;
  };
  await round(1000);
  const before = await settled();
  await round(2000);
  const grown = (await settled()) - before;
  // 2,000 connections that were kept would be more than 400 bytes each.
  assert.ok(grown < 400_000, `${grown} bytes more`);
  await listener.close();
});
