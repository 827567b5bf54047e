/**
 * The engine inside Node's event loop: neither may keep the other waiting, callbacks keep Node's order, and the process ends
 * when nothing holds it.
 */
import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import node from 'node:net';
import { setImmediate as immediate, setTimeout as sleep } from 'node:timers/promises';
import { type Connection, connect, listen } from '../../src/net/index.ts';
import { eachEngine, turns, until } from '../support/net.ts';
import { HOST, pair, rawClose, rawConnect, rawReset, rawSend, runChild } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

const ways: readonly (readonly [string, (write: () => void) => void])[] = [
  ['a timer', (write) => void setTimeout(write, 20)],
  ['an immediate', (write) => void setTimeout(() => setImmediate(write), 20)],
  ['a promise', (write) => void sleep(20).then(write)],
  ['a tick', (write) => void setTimeout(() => process.nextTick(write), 20)],
];

for (const [way, start] of ways) {
  eachEngine(`what is written from ${way} while every socket idles leaves at once`, async () => {
    let arrivedMs = 0;
    const server = new (class extends Recorder {
      override data(connection: Connection, chunk: Uint8Array): void {
        arrivedMs = performance.now();
        super.data(connection, chunk);
      }
    })();
    const { connection, finish } = await pair({ server });
    // The least of a few, because other programs may hold the processor.
    let leastMs = Number.POSITIVE_INFINITY;
    for (let attempt = 1; attempt <= 5; attempt++) {
      let writtenMs = 0;
      start(() => {
        writtenMs = performance.now();
        connection.write('x');
      });
      await server.read(attempt);
      leastMs = Math.min(leastMs, arrivedMs - writtenMs);
    }
    assert.ok(leastMs < 5, `${leastMs} ms`);
    await finish();
  });
}

eachEngine("ticks and promises of a data callback run before the next connection's callback", async () => {
  const log: string[] = [];
  const listener = await listen(
    { host: HOST },
    {
      open: () => {},
      data(_connection, chunk) {
        const name = String.fromCharCode(chunk[0]);
        log.push(`data ${name}`);
        process.nextTick(() => log.push(`tick ${name}`));
        Promise.resolve().then(() => log.push(`promise ${name}`));
      },
    },
  );
  const clients = Array.from({ length: 4 }, () => rawConnect(listener.port));
  await until(() => listener.connections.size === 4);
  await turns();
  for (const [index, client] of clients.entries()) rawSend(client, 'abcd'[index]);
  await until(() => log.length === 12);
  for (let index = 0; index < 12; index += 3) {
    const name = log[index].at(-1);
    assert.deepEqual(log.slice(index, index + 3), [`data ${name}`, `tick ${name}`, `promise ${name}`]);
  }
  for (const client of clients) rawClose(client);
  await until(() => listener.connections.size === 0);
  await listener.close();
});

eachEngine(
  'of eight callbacks of a batch one throws: one uncaughtException, and seven are served once',
  async (engine) => {
    const pairSupport = new URL('../support/pair.ts', import.meta.url).href;
    const result = await runChild(
      `const { rawConnect, rawSend, rawClose } = await import(${JSON.stringify(pairSupport)});
     net.useEngine('${engine.name}');
     const seen = [];
     let thrown = 0;
     process.on('uncaughtException', (error) => { if (error.message === 'third') thrown++; });
     const listener = await net.listen({ host: '127.0.0.1' }, {
       data(connection, chunk) {
         seen.push(chunk[0]);
         if (seen.length === 3) throw new Error('third');
       },
     });
     const clients = Array.from({ length: 8 }, () => rawConnect(listener.port));
     while (listener.connections.size < 8) await new Promise(setImmediate);
     for (const [index, client] of clients.entries()) rawSend(client, String(index));
     while (seen.length < 8) await new Promise(setImmediate);
     for (const client of clients) rawClose(client);
     await listener.close();
     console.log(thrown, seen.length, new Set(seen).size);`,
    );
    assert.equal(result.output.trim(), '1 8 8', result.errors);
  },
);

eachEngine(
  'a thousand idle connections do not wake the loop',
  async (engine) => {
    const result = await runChild(
      `const engine = net.useEngine('${engine.name}');
       const listener = await net.listen({ host: '127.0.0.1' }, {});
       const clients = [];
       for (let count = 0; count < 500; count++) {
         const client = net.connect({ host: '127.0.0.1', port: listener.port });
         await client.opening();
         clients.push(client);
       }
       while (listener.connections.size < 500) await new Promise(setImmediate);
       // The least of a few: V8's own threads wake the loop for a while after a burst of work.
       let least = Infinity;
       for (let window = 0; window < 4 && least > 1; window++) {
         const before = engine.statistics.waits;
         await new Promise((resolve) => setTimeout(resolve, 1000));
         least = Math.min(least, engine.statistics.waits - before);
       }
       console.log(listener.connections.size, least);
       process.exit(0);`,
    );
    const [open, waits] = result.output.trim().split(' ').map(Number);
    assert.equal(open, 500, result.errors);
    // One is the wait that the timer of this measurement ends; libuv may round it up once.
    assert.ok(waits <= 2, `${waits} waits in a second`);
  },
  { timeoutMs: 20_000 },
);

eachEngine('a process whose listeners and connections are unreferenced ends', async (engine) => {
  const result = await runChild(
    `net.useEngine('${engine.name}');
     const listener = await net.listen({ host: '127.0.0.1' }, { open: (connection) => connection.unref() });
     const client = net.connect({ host: '127.0.0.1', port: listener.port });
     await client.opening();
     while (listener.connections.size === 0) await new Promise(setImmediate);
     listener.unref();
     client.unref();
     const sinceMs = performance.now();
     process.on('exit', () => console.log(performance.now() - sinceMs < 100 ? 'at once' : 'late'));`,
  );
  assert.equal(result.output.trim(), 'at once', result.errors);
  assert.equal(result.code, 0);
});

eachEngine('a process ends with its last socket, whether that was paused or not', async (engine) => {
  const result = await runChild(
    `net.useEngine('${engine.name}');
     const listener = await net.listen({ host: '127.0.0.1', paused: true }, {});
     const client = net.connect({ host: '127.0.0.1', port: listener.port });
     await client.opening();
     while (listener.connections.size === 0) await new Promise(setImmediate);
     client.destroy();
     for (const connection of listener.connections) connection.destroy();
     await listener.close();
     const sinceMs = performance.now();
     process.on('exit', () => console.log(performance.now() - sinceMs < 100 ? 'at once' : 'late'));`,
  );
  assert.equal(result.output.trim(), 'at once', result.errors);
  assert.equal(result.code, 0);
});

eachEngine('whatever a callback calls, no callback runs inside another', async () => {
  let depth = 0;
  let calls = 0;
  const alone = (body: () => void): void => {
    assert.equal(++depth, 1, 'a callback ran inside another');
    calls++;
    body();
    depth--;
  };
  const others: Promise<unknown>[] = [];
  const act = (connection: Connection): void => {
    connection.write('w', () => alone(() => {}));
    connection.pause();
    connection.resume();
    others.push(listen({ host: HOST }, {}).then((other) => other.close()));
    const further = connect(
      { host: HOST, port: listener.port },
      { open: () => alone(() => further.destroy()), close: () => alone(() => {}) },
    );
    others.push(until(() => further.destroyed));
  };
  const handler = {
    open: (connection: Connection) => alone(() => void connection.write('first', () => alone(() => {}))),
    data: (connection: Connection) =>
      alone(() => {
        act(connection);
        connection.end();
      }),
    end: (connection: Connection) => alone(() => void connection.write('late', () => alone(() => {}))),
    error: () => alone(() => {}),
    close: () => alone(() => {}),
  };
  const listener = await listen({ host: HOST }, handler);
  const client = connect({ host: HOST, port: listener.port }, { ...handler, open: (one) => alone(() => act(one)) });
  await until(() => client.destroyed && listener.connections.size === 0);
  await Promise.all(others);
  await listener.close();
  assert.ok(calls >= 10, `${calls} callbacks`);
});

eachEngine("Node's sockets, timers and immediates go on beside the engine, and it beside them", async () => {
  const counts = { stream: 0, datagram: 0, immediate: 0, own: 0 };
  const nodeServer = node.createServer((socket) => socket.pipe(socket).on('error', () => {})).listen(0, HOST);
  await once(nodeServer, 'listening');
  const nodeClient = node.connect((nodeServer.address() as node.AddressInfo).port, HOST);
  nodeClient.on('data', () => {
    counts.stream++;
    nodeClient.write('n');
  });
  nodeClient.write('n');
  const datagrams = dgram.createSocket('udp4');
  datagrams.bind(0, HOST);
  await once(datagrams, 'listening');
  const sendDatagram = (): void => datagrams.send('d', datagrams.address().port, HOST);
  datagrams.on('message', () => {
    counts.datagram++;
    sendDatagram();
  });
  sendDatagram();
  const { connection, finish } = await pair({
    server: new (class extends Recorder {
      override data(other: Connection): void {
        counts.own++;
        other.write('m');
      }
    })(),
    client: new (class extends Recorder {
      override data(other: Connection): void {
        other.write('m');
      }
    })(),
  });
  connection.write('m');
  let going = true;
  const again = (): void => {
    counts.immediate++;
    if (going) setImmediate(again);
  };
  again();
  const lateMs: number[] = [];
  let dueMs = performance.now() + 10;
  const interval = setInterval(() => {
    const nowMs = performance.now();
    lateMs.push(Math.abs(nowMs - dueMs));
    dueMs = nowMs + 10;
  }, 10);
  await sleep(400);
  going = false;
  clearInterval(interval);
  await finish();
  nodeClient.destroy();
  datagrams.close();
  nodeServer.close();
  await Promise.all([once(nodeServer, 'close'), immediate()]);
  for (const [name, count] of Object.entries(counts)) assert.ok(count > 50, `${name}: ${count}`);
  lateMs.sort((a, b) => a - b);
  // Other programs may hold the processors for a while, so not every tick can be on time.
  assert.ok(lateMs.length >= 10, `${lateMs.length} ticks of 40`);
  assert.ok(
    lateMs[lateMs.length >> 2] < 5,
    `three quarters of the ticks are ${lateMs[lateMs.length >> 2]} ms off or more`,
  );
});

eachEngine('a blocked loop loses no event and no order: data before a FIN comes before the end', async () => {
  const server = new Recorder();
  const listener = await listen({ host: HOST }, server);
  const [ending, resetting, waiting] = [0, 1, 2].map(() => rawConnect(listener.port));
  await server.heard('open', 3);
  const untilMs = performance.now() + 300;
  rawSend(waiting, '1');
  rawSend(ending, 'one');
  const late = rawConnect(listener.port);
  rawSend(ending, 'two');
  rawSend(late, '2');
  rawClose(ending);
  rawSend(waiting, '3');
  rawReset(resetting);
  while (performance.now() < untilMs);
  await server.heard('close', 2);
  await server.read(9);
  const text = server.events.filter((event) => event.startsWith('data:')).map((event) => event.slice(5));
  assert.deepEqual(text.sort().join(' '), '13 2 onetwo');
  const own = server.events;
  assert.ok(own.indexOf('data:onetwo') < own.indexOf('end'), own.join());
  assert.equal(server.count('end'), 1);
  assert.equal(server.count('error'), 1);
  rawClose(waiting);
  rawClose(late);
  await server.heard('close', 4);
  await listener.close();
});

eachEngine('a connection that nobody refers to lives while it is open, and is collected after its close', async () => {
  const collected: string[] = [];
  const registry = new FinalizationRegistry<string>((name) => collected.push(name));
  const replies: string[] = [];
  const listener = await listen(
    { host: HOST },
    {
      open: (connection) => registry.register(connection, 'accepted'),
      data: (connection, chunk) => void connection.write(chunk.slice()),
    },
  );
  const peer = await (async () => {
    const socket = node.connect(listener.port, HOST);
    socket.on('data', (chunk) => replies.push(String(chunk)));
    await once(socket, 'connect');
    return socket;
  })();
  await until(() => listener.connections.size === 1);
  for (let round = 0; round < 3; round++) {
    globalThis.gc!();
    await immediate();
  }
  assert.deepEqual(collected, []);
  peer.write('still there?');
  await until(() => replies.join('') === 'still there?');
  peer.destroy();
  await until(() => listener.connections.size === 0);
  // The slot's next owner takes the last reference of the tables away.
  rawClose(rawConnect(listener.port));
  await until(() => listener.accepts === 2 && listener.connections.size === 0);
  for (let round = 0; round < 20 && collected.length === 0; round++) {
    globalThis.gc!();
    await sleep(5);
  }
  assert.equal(collected[0], 'accepted');
  await listener.close();
});

eachEngine('process.exit inside a callback ends the process with its code', async (engine) => {
  for (const moment of ['data', 'close']) {
    const result = await runChild(
      `net.useEngine('${engine.name}');
       const listener = await net.listen({ host: '127.0.0.1' }, { ${moment}: () => process.exit(7) });
       const client = net.connect({ host: '127.0.0.1', port: listener.port });
       client.write('x');
       client.end();`,
    );
    assert.equal(result.code, 7, `${moment}: ${result.errors}`);
  }
});
