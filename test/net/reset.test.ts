/**
 * Resets, ours and the peer's: one error, one close, no end, no spinning.
 */
import assert from 'node:assert/strict';
import { connect, listen } from '../../src/net/index.ts';
import { eachEngine, idleCalls, turns } from '../support/net.ts';
import { HOST, pair, rawClose, rawConnect, rawListen, rawReset, rawSend } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

const MEGABYTE = 1 << 20;

eachEngine('a reset completes what is pending, then closes, and the peer reads ECONNRESET', async () => {
  const { connection, client, server, finish } = await pair({ listen: { paused: true } });
  const outcomes: string[] = [];
  for (let write = 0; write < 4; write++) {
    connection.write(new Uint8Array(4 * MEGABYTE), (error) => {
      outcomes.push(error === null ? 'sent' : String((error as { code?: string }).code));
    });
  }
  await turns();
  connection.reset();
  await client.heard('close');
  assert.equal(outcomes.length, 4);
  assert.equal(outcomes.at(-1), 'ECANCELED');
  assert.deepEqual(client.events, ['open', 'close']);
  server.connection.resume();
  await server.heard('close');
  assert.equal(server.errors[0].code, 'ECONNRESET');
  await finish();
});

eachEngine('a reset while connecting is one close and no error', async () => {
  const full = rawListen(0);
  const held = rawConnect(full.port);
  const client = new Recorder();
  const connection = connect({ host: HOST, port: full.port }, client);
  await turns();
  connection.reset();
  await client.heard('close');
  await turns();
  assert.deepEqual(client.events, ['close']);
  rawClose(held);
  rawClose(full.descriptor);
});

eachEngine('a reset behind an end tells the end once', async () => {
  const { connection, client, finish } = await pair({ listen: { paused: true } });
  connection.write(new Uint8Array(16 * MEGABYTE));
  connection.end('last', (error) => client.events.push(`end:${(error as { code?: string } | null)?.code}`));
  await turns();
  connection.reset();
  await client.heard('close');
  assert.deepEqual(client.events, ['open', 'end:ECANCELED', 'close']);
  await finish();
});

eachEngine('bytes, then a reset: the bytes, one ECONNRESET, the close, and no end', async () => {
  const server = new Recorder();
  const listener = await listen({ host: HOST }, server);
  const client = rawConnect(listener.port);
  await server.heard('open');
  rawSend(client, 'abc');
  rawReset(client);
  await server.heard('close');
  await turns();
  assert.deepEqual(server.events, ['open', 'data:abc', 'error:ECONNRESET', 'close']);
  // The peer's name went with the reset; which socket of ours it was is what remains to be said.
  assert.match(
    server.errors[0].message,
    new RegExp(`^read (${HOST}:\\d+|the peer of ${HOST}:${listener.port}): ECONNRESET`),
  );
  await listener.close();
});

eachEngine('a connection that was reset takes no more, and the loop rests', async (engine) => {
  const server = new Recorder();
  const listener = await listen({ host: HOST }, server);
  const client = rawConnect(listener.port);
  await server.heard('open');
  rawReset(client);
  await server.heard('close');
  assert.equal(server.connection.writable, false);
  assert.equal(server.connection.write('x'), false);
  assert.ok((await idleCalls(engine)) <= 10);
  await listener.close();
});

eachEngine(
  'a paused connection whose peer resets learns of it at the latest on resuming, and never spins',
  async (engine) => {
    const server = new Recorder();
    const listener = await listen({ host: HOST, paused: true }, server);
    const client = rawConnect(listener.port);
    await server.heard('open');
    rawReset(client);
    await turns(10);
    // poll and level-triggered epoll cannot mask the report of an error, so there the connection has to end at once.
    if (engine.name === 'poll' || engine.name === 'epoll-level') assert.equal(server.count('close'), 1);
    else if (server.count('close') === 0) server.connection.resume();
    await server.heard('close');
    assert.deepEqual(server.events, ['open', 'error:ECONNRESET', 'close']);
    await listener.close();
  },
);

eachEngine('a paused connection whose peer ends does not spin, and ends after resuming', async (engine) => {
  const server = new Recorder();
  const listener = await listen({ host: HOST, paused: true }, server);
  const client = rawConnect(listener.port);
  await server.heard('open');
  rawClose(client);
  await turns(10);
  assert.ok((await idleCalls(engine)) <= 10);
  assert.deepEqual(server.events, ['open']);
  server.connection.resume();
  await server.heard('close');
  assert.deepEqual(server.events, ['open', 'end', 'close']);
  await listener.close();
});

eachEngine('when reading and writing fail together there is one error', async () => {
  const server = new Recorder();
  const listener = await listen({ host: HOST }, server);
  const client = rawConnect(listener.port);
  await server.heard('open');
  server.connection.write(new Uint8Array(10 * MEGABYTE));
  await turns(10);
  rawReset(client);
  await server.heard('close');
  await turns(10);
  assert.equal(server.errors.length, 1);
  assert.match(String(server.errors[0].code), /ECONNRESET|EPIPE/);
  assert.equal(server.count('close'), 1);
  await listener.close();
});

eachEngine('a peer that resets does not disturb the other connections of its batch', async () => {
  const server = new Recorder();
  const listener = await listen({ host: HOST }, server);
  const clients = Array.from({ length: 10 }, () => rawConnect(listener.port));
  await server.heard('open', 10);
  clients.forEach((client, index) => {
    rawSend(client, `${index}`);
    if (index % 2 === 0) rawReset(client);
  });
  await server.heard('close', 5);
  assert.equal(listener.connections.size, 5);
  assert.deepEqual([...server.text].sort().join(''), '0123456789');
  for (const connection of listener.connections) connection.write('fine');
  await turns();
  clients.forEach((client, index) => {
    if (index % 2 === 1) rawClose(client);
  });
  await server.heard('close', 10);
  await listener.close();
});
