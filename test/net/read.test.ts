/**
 * Reading: chunks that are valid during the call, pausing and resuming, running out of blocks, urgent data.
 */
import assert from 'node:assert/strict';
import { MSG_OOB } from '../../src/kernel/constants.ts';
import { type Connection, connect, listen, RECEIVED_KEEP } from '../../src/net/index.ts';
import { blocksOf, eachEngine, idleCalls, pattern, readinessEngines, turns, until } from '../support/net.ts';
import { HOST, pair, rawSend, runChild } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

eachEngine('bytes arrive as views, then the end; copies of them stay intact', async () => {
  const copies: Uint8Array[] = [];
  const server = new (class extends Recorder {
    override data(connection: Connection, chunk: Uint8Array): void {
      super.data(connection, chunk);
      copies.push(chunk.slice());
    }
  })();
  const { connection, finish } = await pair({ server });
  const sent = pattern(300_000);
  connection.write(sent);
  connection.end();
  await server.heard('end');
  assert.deepEqual(new Uint8Array(Buffer.concat(copies)), sent);
  assert.equal(server.events.at(-1) === 'end' || server.events.at(-1) === 'close', true);
  await finish();
});

eachEngine('in debug mode a chunk that was kept is poisoned after the call', async (engine) => {
  const result = await runChild(
    `net.useEngine('${engine.name}');
     let kept;
     const listener = await net.listen({ host: '127.0.0.1' }, {
       data(connection, chunk) { console.log(chunk.every((byte) => byte === 97)); kept = chunk; },
     });
     const client = net.connect({ host: '127.0.0.1', port: listener.port });
     client.end('aaaaaaaa');
     for await (const chunk of client) void chunk;
     console.log(kept.length, kept.every((byte) => byte === 0xdb));
     await listener.close();`,
    { env: { MILLRACE_DEBUG: '1' } },
  );
  assert.equal(result.output.trim(), 'true\n8 true', result.errors);
});

eachEngine(
  'pausing in a data callback holds everything back until the resume, which brings it first and in order',
  async () => {
    let pauses = 0;
    const parts: Uint8Array[] = [];
    const server = new (class extends Recorder {
      override data(connection: Connection, chunk: Uint8Array): void {
        super.data(connection, chunk);
        assert.equal(connection.paused, false, 'nothing is delivered while paused');
        parts.push(chunk.slice());
        connection.pause();
        pauses++;
      }
    })();
    const { connection, accepted, finish } = await pair({ server });
    const sent = pattern(2_000_000);
    connection.write(sent, () => connection.end());
    let idle = 0;
    while (server.count('end') === 0) {
      const before = pauses;
      await turns(2);
      assert.ok(pauses === before || !accepted.paused || pauses === before + 1);
      if (accepted.paused && ++idle % 2 === 0) accepted.resume();
    }
    assert.deepEqual(new Uint8Array(Buffer.concat(parts)), sent);
    assert.ok(pauses > 1);
    await finish();
  },
);

eachEngine('a paused connection stays silent whatever arrives, the end included', async () => {
  const { connection, accepted, server, finish } = await pair();
  accepted.pause();
  connection.end('abc');
  await until(() => connection.bytesSent === 3);
  await turns(10);
  assert.deepEqual(server.events, ['open']);
  accepted.resume();
  await server.heard('close');
  assert.deepEqual(server.events, ['open', 'data:abc', 'end', 'close']);
  await finish();
});

eachEngine('the last of pause and resume before the connection is there decides', async () => {
  const listener = await listen({ host: HOST }, { open: (connection) => void connection.write('hello') });
  const flowing = new Recorder();
  const one = connect({ host: HOST, port: listener.port }, flowing);
  one.pause();
  one.resume();
  await flowing.read(5);
  const held = new Recorder();
  const two = connect({ host: HOST, port: listener.port }, held);
  two.resume();
  two.pause();
  await held.heard('open');
  await turns(10);
  assert.equal(held.bytes, 0);
  two.resume();
  await held.read(5);
  for (const connection of [one, two]) connection.reset();
  await Promise.all([flowing.heard('close'), held.heard('close')]);
  await listener.close();
});

eachEngine('stopping and starting inside a data callback repeats and loses nothing', async () => {
  const parts: Uint8Array[] = [];
  const server = new (class extends Recorder {
    override data(connection: Connection, chunk: Uint8Array): void {
      super.data(connection, chunk);
      parts.push(chunk.slice());
      connection.pause();
      connection.resume();
      connection.pause();
      connection.resume();
    }
  })();
  const { connection, finish } = await pair({ server });
  const sent = pattern(1_000_000);
  connection.end(sent);
  await server.heard('end');
  assert.deepEqual(new Uint8Array(Buffer.concat(parts)), sent);
  await finish();
});

eachEngine('a paused connection with unread bytes does not keep the loop busy', async (engine) => {
  const { connection, accepted, finish } = await pair();
  accepted.pause();
  connection.write(new Uint8Array(100_000));
  await turns(10);
  await turns(20);
  assert.ok((await idleCalls(engine)) <= 10);
  await finish();
});

eachEngine('closing in a data callback ends the callbacks', async () => {
  const server = new (class extends Recorder {
    override data(connection: Connection, chunk: Uint8Array): void {
      super.data(connection, chunk);
      if (this.bytes >= 1) connection.destroy();
    }
  })();
  const { connection, finish } = await pair({ server });
  connection.write(new Uint8Array(1_000_000));
  connection.end();
  await server.heard('close');
  await turns();
  assert.deepEqual(
    server.events.filter((event) => !event.startsWith('data')),
    ['open', 'close'],
  );
  assert.ok(server.bytes < 1_000_000);
  await finish();
});

eachEngine(
  'without a free block reading stops, is counted, loses nothing and goes on when blocks return',
  async (engine) => {
    const kept: number[] = [];
    const received = { bytes: 0, sum: 0 };
    const hold = { on: true };
    const server = new Recorder();
    const starving = Object.assign(server, {
      receive(_connection: Connection, memory: Uint8Array, start: number, end: number): number {
        received.bytes += end - start;
        for (let index = start; index < end; index++) received.sum = (received.sum + memory[index]) % 1_000_003;
        if (!hold.on) return 0;
        kept.push(start);
        return RECEIVED_KEEP;
      },
    });
    const { connection, finish } = await pair({ server: starving });
    const sent = pattern(400_000);
    const total = 400_000 * 400;
    let sum = 0;
    for (const byte of sent) sum += byte;
    let copies = 0;
    const more = (): void => {
      if (copies++ < 400) connection.write(sent, more);
    };
    more();
    const exhausted = engine.statistics.blocksExhausted;
    await until(() => blocksOf(engine) === 0 && engine.statistics.blocksExhausted > exhausted, 8000);
    await turns(20);
    const stopped = received.bytes;
    assert.ok((await idleCalls(engine)) <= 10);
    assert.equal(received.bytes, stopped);
    assert.ok(stopped < total);
    hold.on = false;
    for (const start of kept.splice(0)) engine.releaseBlock(start);
    await until(() => received.bytes === total, 8000);
    assert.equal(received.sum, (sum * 400) % 1_000_003);
    await finish();
  },
  { timeoutMs: 30_000 },
);

eachEngine('a starved connection does not keep others from being served once blocks return', async (engine) => {
  const taken: number[] = [];
  const { connection, server, finish } = await pair();
  const other = await pair();
  for (let block = engine.takeBlock(); block >= 0; block = engine.takeBlock()) taken.push(block);
  connection.write('one');
  other.connection.write('two');
  // The kernel's share of io_uring is apart from the pool, so bytes may arrive even now.
  await turns(20);
  for (const block of taken) engine.releaseBlock(block);
  await server.read(3);
  await other.server.read(3);
  assert.equal(server.text + other.server.text, 'onetwo');
  await finish();
  await other.finish();
});

eachEngine('urgent data stays out of the stream and does not make the loop spin', async (engine) => {
  const { connection, server, finish } = await pair();
  assert.equal(rawSend(connection.descriptor, 'hello', MSG_OOB), 5);
  await server.read(4);
  await turns(20);
  assert.ok((await idleCalls(engine)) <= 10);
  assert.equal(server.text, 'hell');
  connection.write('more');
  await server.read(8);
  assert.equal(server.text, 'hellmore');
  await finish();
});

eachEngine('bytes behind an urgent mark follow those before it', async () => {
  const { connection, accepted, server, finish } = await pair();
  accepted.pause();
  await turns();
  rawSend(connection.descriptor, 'ab');
  rawSend(connection.descriptor, 'X', MSG_OOB);
  rawSend(connection.descriptor, 'cd');
  await turns();
  accepted.resume();
  await server.read(4);
  assert.deepEqual(server.events, ['open', 'data:ab', 'data:cd']);
  await finish();
});

eachEngine('two peers that both write a megabyte before reading do not wait for each other for ever', async () => {
  const echo = new (class extends Recorder {
    readonly parts: Uint8Array[] = [];
    override data(connection: Connection, chunk: Uint8Array): void {
      super.data(connection, chunk);
      this.parts.push(chunk.slice());
    }
  })();
  const back = new (class extends Recorder {
    readonly parts: Uint8Array[] = [];
    override data(connection: Connection, chunk: Uint8Array): void {
      super.data(connection, chunk);
      this.parts.push(chunk.slice());
    }
  })();
  const { connection, accepted, finish } = await pair({ server: echo, client: back });
  const one = pattern(1_000_000);
  const other = pattern(1_000_000).reverse();
  connection.write(one);
  accepted.write(other);
  await Promise.all([echo.read(1_000_000), back.read(1_000_000)]);
  assert.deepEqual(new Uint8Array(Buffer.concat(echo.parts)), one);
  assert.deepEqual(new Uint8Array(Buffer.concat(back.parts)), other);
  await finish();
});

eachEngine('iterating gives copies in order, slows the peer to its pace, and ends with the stream', async () => {
  const { connection, accepted, client, finish } = await pair();
  const sent = pattern(3_000_000);
  accepted.end(sent);
  const parts: Uint8Array[] = [];
  for await (const chunk of connection) {
    parts.push(chunk);
    if (parts.length % 16 === 0) await turns(1);
  }
  assert.deepEqual(new Uint8Array(Buffer.concat(parts)), sent);
  await client.heard('close');
  await finish();
});

eachEngine('leaving an iteration early destroys the connection; a failure is thrown into it', async () => {
  const one = await pair();
  one.accepted.write('chunk');
  for await (const chunk of one.connection) {
    assert.equal(chunk.length, 5);
    break;
  }
  await one.client.heard('close');
  await one.finish();
  const other = await pair();
  const reading = (async () => {
    for await (const chunk of other.connection) void chunk;
  })();
  other.accepted.reset();
  await assert.rejects(reading, { code: 'ECONNRESET' });
  await other.finish();
});

eachEngine('an iteration that begins after the peer ended is over at once', async () => {
  const { connection, accepted, client, finish } = await pair({ connect: { halfOpen: true } });
  accepted.end();
  await client.heard('end');
  for await (const _ of connection) assert.fail('there was nothing');
  await finish();
});

eachEngine(
  'a receive that is interrupted or finds nothing is no event',
  async (engine) => {
    // With edges an EAGAIN that is not true would rightly end the reading until the next one.
    for (const errno of engine.name === 'epoll' ? ['EINTR'] : ['EAGAIN', 'EINTR']) {
      const result = await runChild(
        `net.useEngine('${engine.name}');
         const events = [];
         const handler = {
           data(connection, chunk) { events.push(new TextDecoder().decode(chunk)); },
           end() { events.push('end'); },
           error(connection, error) { events.push(error.code); },
         };
         const listener = await net.listen({ host: '127.0.0.1' }, handler);
         const client = net.connect({ host: '127.0.0.1', port: listener.port });
         client.write('one');
         while (events.length < 1) await new Promise((resolve) => setTimeout(resolve, 5));
         client.end('two');
         for await (const chunk of client) void chunk;
         await listener.close();
         console.log(events.join());`,
        { command: ['strace', '-f', '-qq', '-o', '/dev/null', '-e', `inject=recvfrom:error=${errno}:when=1+2`] },
      );
      assert.equal(result.output.trim(), 'one,two,end', `${errno}: ${result.errors}`);
    }
  },
  // io_uring receives without a system call that could be made to fail.
  { only: readinessEngines, timeoutMs: 30_000 },
);
