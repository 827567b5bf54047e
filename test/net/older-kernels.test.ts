/**
 * What every program relies on, over io_uring as older kernels have it: each fallback alone and all together.
 */
import assert from 'node:assert/strict';
import { createUring } from '../../src/engine/uring.ts';
import { type Connection, connect, listen } from '../../src/net/index.ts';
import { netTest } from '../support/by-hand.ts';
import { DatagramRecorder, datagrams } from '../support/datagrams.ts';
import { pattern, turns, until } from '../support/net.ts';
import { olderKernels } from '../support/older-kernels.ts';
import { HOST, pair, rawClose, rawConnect, rawReset, rawSend } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

function eachKernel(name: string, body: () => Promise<void>): void {
  for (const [kernel, without] of olderKernels) {
    netTest(`[io_uring, ${kernel}] ${name}`, () => createUring({ without }), body);
  }
}

eachKernel('4 MB are echoed whole under backpressure', async () => {
  const bytes = pattern(4 << 20);
  const server = new (class extends Recorder {
    override data(connection: Connection, chunk: Uint8Array): void {
      if (!connection.write(chunk.slice())) connection.pause();
    }
    override drain(connection: Connection): void {
      connection.resume();
    }
  })();
  const back: Uint8Array[] = [];
  let length = 0;
  const client = new (class extends Recorder {
    override data(_connection: Connection, chunk: Uint8Array): void {
      back.push(chunk.slice());
      length += chunk.length;
    }
  })();
  const { connection, finish } = await pair({ server, client });
  connection.write(bytes);
  await until(() => length === bytes.length);
  assert.ok(Buffer.concat(back).equals(bytes));
  await finish();
});

eachKernel('paused, nothing is delivered; resumed, all of it and the end', async () => {
  const { accepted, connection, server, finish } = await pair();
  accepted.pause();
  await turns();
  connection.write('held');
  connection.end(' back');
  await until(() => connection.bytesSent === 9);
  await turns(10);
  assert.deepEqual(server.events, ['open']);
  accepted.resume();
  await server.heard('end');
  assert.equal(server.text, 'held back');
  await finish();
});

eachKernel('a reset behind bytes: the bytes, ECONNRESET, the close', async () => {
  const server = new Recorder();
  const listener = await listen({ host: HOST }, server);
  const client = rawConnect(listener.port);
  await server.heard('open');
  rawSend(client, 'abc');
  rawReset(client);
  await server.heard('close');
  assert.deepEqual(server.events, ['open', 'data:abc', 'error:ECONNRESET', 'close']);
  await listener.close();
});

eachKernel('100 clients at once are accepted, served and closed', async () => {
  const server = new Recorder();
  const listener = await listen({ host: HOST }, server);
  const clients = Array.from({ length: 100 }, () => rawConnect(listener.port));
  for (const client of clients) rawSend(client, 'x');
  for (const client of clients) rawClose(client);
  await server.heard('close', 100);
  assert.equal(server.count('open'), 100);
  assert.equal(server.bytes, 100);
  assert.equal(server.errors.length, 0);
  await listener.close();
});

eachKernel('a refused connect, a connect that is taken back, one that succeeds', async () => {
  const { listener, finish } = await pair();
  const port = listener.port;
  await finish();
  const refused = new Recorder();
  connect({ host: HOST, port }, refused);
  await refused.heard('close');
  assert.deepEqual(refused.events, ['error:ECONNREFUSED', 'close']);
  const again = await pair();
  const taken = new Recorder();
  connect({ host: HOST, port: again.listener.port }, taken).destroy();
  await taken.heard('close');
  assert.deepEqual(taken.events, ['close']);
  await again.finish();
});

eachKernel('50 datagrams arrive with their senders, and an empty one too', async () => {
  const one = await datagrams();
  const other = await datagrams();
  for (let count = 0; count < 50; count++) one.socket.send(`datagram ${count}`, other.address);
  one.socket.send('', other.address);
  await other.heard.got(51);
  assert.equal(other.heard.lengths.at(-1), 0);
  other.socket.send('back', one.address);
  await one.heard.got(1);
  assert.ok(one.heard instanceof DatagramRecorder);
  await one.socket.close();
  await other.socket.close();
});
