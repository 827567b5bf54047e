/**
 * Accepting: many clients at once, clients that vanish, limits, and what an accepted connection is like.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as node from 'node:net';
import { type Connection, connect, listen, type SocketAddress } from '../../src/net/index.ts';
import { eachEngine, readinessEngines, turns, until } from '../support/net.ts';
import { HOST, pair, rawClose, rawConnect, rawReset, runChild } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

eachEngine('200 clients that connect and close at once are each accepted and each end', async () => {
  const server = new Recorder();
  const listener = await listen({ host: HOST }, server);
  for (let client = 0; client < 200; client++) rawClose(rawConnect(listener.port));
  await server.heard('close', 200);
  assert.equal(server.count('open'), 200);
  assert.equal(server.count('end'), 200);
  assert.equal(server.errors.length, 0);
  assert.equal(listener.accepts, 200);
  await listener.close();
});

eachEngine('a thousand rounds of connecting, one byte and closing lose neither connection nor byte', async () => {
  const server = new Recorder();
  const listener = await listen({ host: HOST }, server);
  for (let round = 0; round < 1000; round++) {
    const client = node.connect({ host: HOST, port: listener.port });
    client.end('x');
    client.resume();
    client.on('error', (error) => server.errors.push(error));
    if (round % 50 === 49) await server.heard('close', round + 1);
  }
  await server.heard('close', 1000);
  assert.equal(server.count('open'), 1000);
  assert.equal(server.bytes, 1000);
  assert.equal(server.errors.length, 0);
  await listener.close();
});

eachEngine('a client that resets before it is accepted does not harm the listener', async () => {
  const peers: (SocketAddress | null)[] = [];
  const server = new (class extends Recorder {
    override open(connection: Connection): void {
      super.open(connection);
      peers.push(connection.remoteAddress);
    }
  })();
  const listener = await listen({ host: HOST }, server);
  await turns();
  rawReset(rawConnect(listener.port));
  await server.heard('close');
  assert.deepEqual(server.events, ['open', 'error:ECONNRESET', 'close']);
  assert.deepEqual(peers, [null]);
  const next = rawConnect(listener.port);
  await server.heard('open', 2);
  assert.equal(server.connection.remoteAddress?.family, 'ipv4');
  rawClose(next);
  await server.heard('close', 2);
  await listener.close();
});

eachEngine(
  'errors of one client met by accept(2) are no errors of the listener',
  async (engine) => {
    for (const errno of ['ECONNABORTED', 'EPROTO', 'ENETDOWN', 'EHOSTUNREACH', 'EPERM']) {
      const result = await runChild(
        `net.useEngine('${engine.name}');
         const events = [];
         const listener = await net.listen({ host: '127.0.0.1', events: { exhausted: (result) => events.push(result) } }, {
           open(connection) { connection.end('served'); },
         });
         const client = net.connect({ host: '127.0.0.1', port: listener.port });
         for await (const chunk of client) console.log(new TextDecoder().decode(chunk), events.length);
         await listener.close();`,
        { command: ['strace', '-f', '-qq', '-o', '/dev/null', '-e', `inject=accept4:error=${errno}:when=1`] },
      );
      assert.equal(result.output.trim(), 'served 0', `${errno}: ${result.errors}`);
    }
  },
  // io_uring accepts without a system call that could be made to fail.
  { only: readinessEngines, timeoutMs: 30_000 },
);

eachEngine('a listener that starts connections paused delivers nothing until they resume', async () => {
  const { listener, accepted, connection, server, finish } = await pair({ listen: { paused: true } });
  connection.write('early');
  await until(() => connection.bytesSent === 5);
  await turns();
  assert.equal(accepted.paused, true);
  assert.equal(accepted.bytesRead, 0);
  assert.equal(server.count('data'), 0);
  accepted.resume();
  await server.read(5);
  assert.equal(server.text, 'early');
  assert.equal(listener.connections.size, 1);
  await finish();
});

eachEngine(
  'a client above the limit is turned away with both addresses, the next one after a close is served',
  async () => {
    const dropped: { local: SocketAddress | null; remote: SocketAddress | null }[] = [];
    const server = new Recorder();
    const listener = await listen(
      { host: HOST, connectionsMax: 1, events: { dropped: (addresses) => void dropped.push(addresses) } },
      server,
    );
    const first = new Recorder();
    const one = connect({ host: HOST, port: listener.port }, first);
    await server.heard('open');
    const second = new Recorder();
    const two = connect({ host: HOST, port: listener.port }, second);
    await two.opening();
    const own = two.localAddress;
    await second.heard('close');
    assert.deepEqual(dropped, [{ local: listener.address, remote: own }]);
    one.end();
    await first.heard('close');
    await until(() => listener.connections.size === 0);
    const third = new Recorder();
    const three = connect({ host: HOST, port: listener.port }, third);
    await server.heard('open', 2);
    assert.equal(dropped.length, 1);
    three.end();
    await third.heard('close');
    await listener.close();
  },
);

eachEngine('a handler that throws on accept loses its own connection and no other of the batch', async () => {
  let opened = 0;
  const server = new (class extends Recorder {
    override open(connection: Connection): void {
      super.open(connection);
      if (++opened === 2) throw new Error('not this one');
      if (opened === 3) connection.reset();
    }
  })();
  const listener = await listen({ host: HOST }, server);
  const clients = Array.from({ length: 5 }, () => rawConnect(listener.port));
  await server.heard('open', 5);
  await server.heard('close', 2);
  assert.deepEqual(
    server.errors.map((error) => error.message),
    ['not this one'],
  );
  assert.equal(listener.connections.size, 3);
  for (const client of clients) rawClose(client);
  await server.heard('close', 5);
  assert.equal(server.count('close'), 5);
  await listener.close();
});

eachEngine('of clients that were ready together none is delivered after the listener was closed', async () => {
  let opened = 0;
  let closing: Promise<void> | null = null;
  const listener = await listen(
    { host: HOST },
    {
      open(connection) {
        opened++;
        connection.end();
        closing ??= listener.close();
      },
    },
  );
  await turns();
  const clients = Array.from({ length: 8 }, () => node.connect({ host: HOST, port: listener.port }));
  const raw = Array.from({ length: 8 }, () => rawConnect(listener.port));
  let gone = 0;
  for (const client of clients) {
    client.resume();
    client.on('error', () => {});
    client.on('close', () => gone++);
  }
  await until(() => gone === 8);
  for (const client of raw) rawClose(client);
  await closing!;
  assert.equal(opened, 1);
});

eachEngine('an accepted descriptor is closed on exec and does not block', async () => {
  const { accepted, finish } = await pair();
  const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${accepted.descriptor}`, 'utf8'))![1];
  assert.equal(Number.parseInt(flags, 8) & 0o2000000, 0o2000000, 'O_CLOEXEC');
  assert.equal(Number.parseInt(flags, 8) & 0o4000, 0o4000, 'O_NONBLOCK');
  await finish();
});

eachEngine("each side's own address is the other's remote address, which is known after the close too", async () => {
  const listener = await listen({ host: HOST }, {});
  const early = connect({ host: HOST, port: listener.port });
  assert.equal(early.remoteAddress, null);
  early.destroy();
  await listener.close();
  const { accepted, connection, finish } = await pair();
  const local = connection.localAddress;
  const remote = connection.remoteAddress;
  assert.ok(local !== null && remote !== null);
  assert.deepEqual(accepted.remoteAddress, local);
  assert.deepEqual(accepted.localAddress, remote);
  await finish();
  assert.deepEqual(accepted.remoteAddress, local);
  assert.deepEqual(connection.remoteAddress, remote);
  assert.equal(connection.localAddress, null);
});

eachEngine('a listener lists its own connections and no others', async () => {
  const one = await pair();
  const other = await pair();
  assert.deepEqual([...one.listener.connections], [one.accepted]);
  assert.deepEqual([...other.listener.connections], [other.accepted]);
  await one.finish();
  assert.equal(one.listener.connections.size, 0);
  assert.deepEqual([...one.listener.connections], []);
  assert.equal(other.listener.connections.size, 1);
  await other.finish();
});
