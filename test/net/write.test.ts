/**
 * Writing: order, completion, backpressure, and memory that has to stay put until it is sent.
 */
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import * as node from 'node:net';
import { test } from 'node:test';
import { createUring } from '../../src/engine/uring.ts';
import { SO_SNDBUF, SOL_SOCKET } from '../../src/kernel/constants.ts';
import * as sockets from '../../src/kernel/socket.ts';
import { type Connection, connect, listen, releaseEngine, useEngine } from '../../src/net/index.ts';
import { awaited, eachEngine, pattern, turns, until } from '../support/net.ts';
import { HOST, pair } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

const MEGABYTE = 1 << 20;

/** Keeps all bytes that it hears. */
class Collector extends Recorder {
  readonly parts: Uint8Array[] = [];

  override data(connection: Connection, chunk: Uint8Array): void {
    super.data(connection, chunk);
    this.parts.push(chunk.slice());
  }

  get all(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.parts));
  }
}

eachEngine('a small write leaves in its turn, completes once after it returned, and owes no drain', async () => {
  const { connection, server, client, finish } = await pair();
  const order: string[] = [];
  assert.equal(
    connection.write('hello', () => order.push('written')),
    true,
  );
  order.push('returned');
  await server.read(5);
  await turns();
  assert.deepEqual(order, ['returned', 'written']);
  assert.equal(client.count('drain'), 0);
  await finish();
});

eachEngine('a byte behind a long queue adds exactly one, and both complete in order', async () => {
  const { connection, accepted, server, finish } = await pair({ listen: { paused: true } });
  const order: string[] = [];
  connection.write(new Uint8Array(10 * MEGABYTE), () => order.push('large'));
  await turns(10);
  const queued = connection.bytesQueued;
  connection.write('x', () => order.push('small'));
  assert.equal(connection.bytesQueued, queued + 1);
  accepted.resume();
  await server.read(10 * MEGABYTE + 1);
  await until(() => order.length === 2);
  assert.deepEqual(order, ['large', 'small']);
  assert.equal(connection.bytesQueued, 0);
  await finish();
});

eachEngine('a send that the kernel takes in part goes on where it stopped, and the buffer is not touched', async () => {
  const server = new Collector();
  const { connection, accepted, finish } = await pair({ server, listen: { paused: true } });
  sockets.setsockoptInt(connection.descriptor, SOL_SOCKET, SO_SNDBUF, 8192);
  const sent = pattern(MEGABYTE);
  const small = pattern(60_000);
  connection.write(sent);
  for (let copy = 0; copy < 10; copy++) connection.write(small);
  await turns(10);
  assert.ok(connection.bytesSent < MEGABYTE);
  accepted.resume();
  await server.read(MEGABYTE + 600_000);
  assert.deepEqual(server.all, new Uint8Array(Buffer.concat([sent, ...Array.from({ length: 10 }, () => small)])));
  assert.deepEqual(sent, pattern(MEGABYTE));
  await finish();
});

eachEngine('destroying with thousands of writes pending completes each once, in order, before the close', async () => {
  const { connection, client, finish } = await pair({ listen: { paused: true } });
  const outcomes: string[] = [];
  for (let write = 0; write < 10_000; write++) {
    connection.write(new Uint8Array(1024), (error) => {
      outcomes.push(`${write}:${error === null ? 'sent' : (error as { code?: string }).code}`);
      assert.equal(client.count('close'), 0);
    });
  }
  await until(() => outcomes.length > 0);
  const sent = outcomes.length;
  assert.ok(sent < 10_000);
  connection.destroy();
  await client.heard('close');
  assert.equal(outcomes.length, 10_000);
  const firstFailure = outcomes.findIndex((outcome) => outcome.endsWith('ECANCELED'));
  assert.deepEqual(
    outcomes,
    outcomes.map((_, index) => `${index}:${index < firstFailure ? 'sent' : 'ECANCELED'}`),
  );
  await finish();
});

eachEngine('more than 1,024 buffers in one turn arrive in order', async () => {
  const server = new Collector();
  const { connection, finish } = await pair({ server });
  const parts = Array.from({ length: 1025 }, (_, index) => pattern(20 + (index % 40)));
  for (const part of parts) connection.write(part);
  const large = Array.from({ length: 40 }, (_, index) => pattern(17_000 + index));
  for (const part of large) {
    connection.write(part);
    connection.write('|');
  }
  const expected = new Uint8Array(Buffer.concat([...parts, ...large.flatMap((part) => [part, Buffer.from('|')])]));
  await server.read(expected.length);
  assert.deepEqual(server.all, expected);
  await finish();
});

eachEngine('destroying during a large write to a peer that does not read is told at once', async () => {
  const { connection, client, finish } = await pair({ listen: { paused: true } });
  const outcomes: (string | undefined)[] = [];
  for (let write = 0; write < 3; write++) {
    connection.write(new Uint8Array(8 * MEGABYTE), (error) => {
      outcomes.push((error as { code?: string } | null)?.code);
    });
  }
  await turns(10);
  const startMs = performance.now();
  connection.destroy();
  await client.heard('close');
  assert.ok(performance.now() - startMs < 500);
  assert.equal(outcomes.length, 3);
  assert.equal(outcomes[2], 'ECANCELED');
  await finish();
});

eachEngine('an empty write completes in its place; what is no bytes is refused and harms nothing', async () => {
  const { connection, server, finish } = await pair();
  const order: string[] = [];
  connection.write('a', () => order.push('a'));
  connection.write('', () => order.push('empty'));
  connection.write('b', () => order.push('b'));
  for (const wrong of [null, undefined, 7, {}, [1]]) {
    assert.throws(() => connection.write(wrong as unknown as string), TypeError);
  }
  await server.read(2);
  await until(() => order.length === 3);
  assert.deepEqual(order, ['a', 'empty', 'b']);
  connection.write(new Uint8Array(0), () => order.push('alone'));
  await until(() => order.length === 4);
  assert.equal(server.text, 'ab');
  assert.equal(connection.bytesWritten, 2);
  await finish();
});

eachEngine('a write after the end or after destroy is refused in a later turn', async () => {
  const { connection, finish } = await pair();
  const refused: unknown[] = [];
  connection.end('last');
  assert.equal(
    connection.write('late', (error) => refused.push((error as { code?: string }).code)),
    false,
  );
  assert.equal(refused.length, 0);
  await until(() => refused.length === 1);
  connection.destroy();
  assert.equal(
    connection.write('later', (error) => refused.push((error as { code?: string }).code)),
    false,
  );
  assert.equal(connection.write('without a callback'), false);
  assert.equal(refused.length, 1);
  await until(() => refused.length === 2);
  assert.deepEqual(refused, ['EPIPE', 'EPIPE']);
  await finish();
});

eachEngine('drain comes once for each fall below the low mark and nothing is lost', async () => {
  const { connection, accepted, server, client, finish } = await pair({ listen: { paused: true } });
  let written = 0;
  for (let round = 1; round <= 3; round++) {
    accepted.pause();
    while (connection.write(new Uint8Array(30_000))) written += 30_000;
    for (let more = 0; more < 2; more++) assert.equal(connection.write(new Uint8Array(30_000)), false);
    written += 90_000;
    assert.equal(client.count('drain'), round - 1);
    accepted.resume();
    await client.heard('drain', round);
    await server.read(written);
    await turns();
    assert.equal(client.count('drain'), round);
  }
  assert.equal(server.bytes, written);
  await finish();
});

eachEngine('a drain handler may write to another connection, whose bytes leave at once', async () => {
  const other = await pair();
  const client = new (class extends Recorder {
    override drain(connection: Connection): void {
      super.drain(connection);
      other.connection.write('passed on');
    }
  })();
  const one = await pair({ client, listen: { paused: true } });
  while (one.connection.write(new Uint8Array(100_000)));
  one.accepted.resume();
  await other.server.read(9);
  assert.equal(other.server.text, 'passed on');
  await one.finish();
  await other.finish();
});

eachEngine('memory that only a pending write refers to is not collected before it is sent', async () => {
  assert.ok(globalThis.gc, 'run with --expose-gc');
  const server = new Collector();
  const { connection, accepted, finish } = await pair({ server, listen: { paused: true } });
  const expected: Uint8Array[] = [];
  const first = awaited();
  connection.write(new Uint8Array(8 * MEGABYTE), () => first.resolve());
  for (let copy = 0; copy < 50; copy++) {
    const bytes = pattern(100_000 + copy);
    expected.push(bytes.slice());
    connection.write(bytes);
  }
  for (let round = 0; round < 5; round++) {
    globalThis.gc();
    // Memory that was freed is handed out again and written over.
    for (let fill = 0; fill < 20; fill++) new Uint8Array(100_000).fill(255);
    await turns(1);
  }
  accepted.resume();
  await first.promise;
  await server.read(8 * MEGABYTE + 50 * 100_000 + 1225);
  assert.deepEqual(server.all.subarray(8 * MEGABYTE), new Uint8Array(Buffer.concat(expected)));
  await finish();
});

eachEngine('a small buffer may be changed as soon as write has returned', async () => {
  const { connection, server, finish } = await pair();
  const bytes = new TextEncoder().encode('original');
  connection.write(bytes);
  bytes.fill(0);
  await server.read(8);
  assert.equal(server.text, 'original');
  await finish();
});

eachEngine('writing to a peer that has closed succeeds once, then fails with EPIPE and a single error', async () => {
  const { connection, accepted, client, finish } = await pair({ connect: { halfOpen: true } });
  accepted.end();
  await client.heard('end');
  accepted.destroy();
  await turns();
  const outcomes: (string | undefined)[] = [];
  const note = (error: Error | null) => void outcomes.push((error as { code?: string } | null)?.code);
  connection.write('first', note);
  await until(() => outcomes.length === 1);
  await turns();
  connection.write('second', note);
  await client.heard('close');
  assert.deepEqual(outcomes, [undefined, 'EPIPE']);
  assert.deepEqual(client.events, ['open', 'end', 'error:EPIPE', 'close']);
  await finish();
});

eachEngine('the process survives writing to a peer that is gone, by every way of sending', async () => {
  const file = openSync('/etc/passwd', 'r');
  for (const send of [
    (connection: Connection) => void connection.write('small'),
    (connection: Connection) => void connection.write(new Uint8Array(MEGABYTE)),
    (connection: Connection) => void connection.writeFile(file, 0, 100, () => {}),
  ]) {
    const { connection, accepted, client, finish } = await pair({ connect: { halfOpen: true } });
    accepted.reset();
    connection.pause();
    await turns();
    for (let round = 0; round < 50 && !connection.destroyed; round++) {
      send(connection);
      await turns(1);
    }
    await client.heard('close');
    assert.equal(client.errors.length, 1);
    assert.match(String(client.errors[0].code), /EPIPE|ECONNRESET/);
    await finish();
  }
  closeSync(file);
});

eachEngine('bytes written count at once, bytes read grow to the same sum and stay readable', async () => {
  const { connection, accepted, server, finish } = await pair();
  const length = 10_000_000;
  let last = 0;
  const done = awaited();
  connection.write(new Uint8Array(length), () => done.resolve());
  assert.equal(connection.bytesWritten, length);
  while (server.bytes < length) {
    assert.ok(accepted.bytesRead >= last);
    last = accepted.bytesRead;
    await turns(1);
  }
  await done.promise;
  assert.equal(connection.bytesWritten, length);
  await finish();
  assert.equal(connection.bytesWritten, length);
  assert.equal(accepted.bytesRead, length);
});

eachEngine('the writes of a turn leave together, without waiting for the kernel to fill a segment', async () => {
  const server = new Recorder();
  const { connection, finish } = await pair({ server });
  const startMs = performance.now();
  for (const part of ['one ', 'two ', 'three']) connection.write(part);
  await server.read(13);
  assert.ok(performance.now() - startMs < 100, 'not held back for 200 ms');
  assert.deepEqual(server.events, ['open', 'data:one two three']);
  await finish();
});

eachEngine(
  'a relay from a fast source to a slow sink holds no more than its marks',
  async () => {
    // 64 MB against a sink that takes 1 MB every few milliseconds; the proportions are those of 1 GB at 1 MB/s.
    const total = 64 * MEGABYTE;
    let peak = 0;
    let pauses = 0;
    let taken = 0;
    const sink = await listen(
      { host: HOST, paused: true },
      {
        data(_, chunk) {
          taken += chunk.length;
        },
      },
    );
    const relay = await listen(
      { host: HOST },
      {
        open(connection) {
          connection.data = connect(
            { host: HOST, port: sink.port },
            { drain: () => connection.resume(), end: () => {}, close: () => connection.destroy() },
          );
        },
        data(connection: Connection<Connection>, chunk) {
          if (!connection.data!.write(chunk)) {
            pauses++;
            connection.pause();
          }
          peak = Math.max(peak, connection.data!.bytesQueued);
        },
        end: (connection: Connection<Connection>) => connection.data!.end(),
      },
    );
    const source = node.connect({ host: HOST, port: relay.port });
    source.on('error', () => {});
    const block = Buffer.alloc(MEGABYTE);
    for (let count = 0; count < total / MEGABYTE; count++) source.write(block);
    source.end();
    await until(() => sink.connections.size === 1);
    const [drain] = sink.connections;
    await turns(50);
    while (taken < total) {
      drain.resume();
      await turns(2);
      drain.pause();
      await turns(1);
    }
    assert.equal(taken, total);
    // Between two pauses lies what the sockets on the way take, some 6 MB each at most.
    assert.ok(pauses >= 5, `${pauses} pauses`);
    assert.ok(peak <= 65536 + 65536, `${peak} bytes queued`);
    drain.resume();
    await Promise.all([sink.close(), relay.close()]);
  },
  { timeoutMs: 30_000 },
);

eachEngine('two large writes to one stream do not mix', async () => {
  const server = new Collector();
  const { connection, finish } = await pair({ server });
  const one = new Uint8Array(2 * MEGABYTE).fill(1);
  const two = new Uint8Array(2 * MEGABYTE).fill(2);
  connection.write(one);
  connection.write(two);
  await server.read(4 * MEGABYTE);
  let switches = 0;
  const all = server.all;
  for (let index = 1; index < all.length; index++) if (all[index] !== all[index - 1]) switches++;
  assert.equal(switches, 1);
  await finish();
});

eachEngine('a write callback or drain handler that throws does not hold up the rest', async () => {
  const thrown: unknown[] = [];
  const original = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => void thrown.push(error));
  try {
    const client = new (class extends Recorder {
      override drain(connection: Connection): void {
        super.drain(connection);
        throw new Error('drain');
      }
    })();
    const { connection, server, finish } = await pair({ client });
    const order: string[] = [];
    connection.write('a', () => {
      throw new Error('write');
    });
    connection.write('b', () => order.push('b'));
    await until(() => order.length === 1);
    connection.write(new Uint8Array(200_000));
    connection.write(new Uint8Array(200_000));
    await server.read(400_002);
    await until(() => thrown.length === 2);
    assert.deepEqual(
      thrown.map((error) => (error as Error).message),
      ['write', 'drain'],
    );
    assert.equal(connection.destroyed, false);
    await finish();
  } finally {
    process.removeAllListeners('uncaughtException');
    for (const listener of original) process.on('uncaughtException', listener);
  }
});

test('[io_uring] destroying while the kernel sends our own memory to a peer that does not read is told at once', async () => {
  useEngine(createUring({ zeroCopyBytes: 131_072 }));
  try {
    const { connection, client, server, finish } = await pair({ listen: { paused: true } });
    const sent = pattern(8 * MEGABYTE);
    connection.write(sent);
    await turns(10);
    const startMs = performance.now();
    connection.destroy();
    await client.heard('close');
    assert.ok(performance.now() - startMs < 500);
    // The queue went with a reset, so the peer cannot take the stream for whole.
    server.connection.resume();
    await server.heard('close');
    assert.equal(server.errors[0].code, 'ECONNRESET');
    await finish();
  } finally {
    releaseEngine();
  }
});
