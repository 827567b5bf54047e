/**
 * Ending: half-close, close in good order, destroy.
 */
import assert from 'node:assert/strict';
import { SHUT_WR } from '../../src/kernel/constants.ts';
import { closeDescriptor, getsockname, shutdown } from '../../src/kernel/socket.ts';
import { type Connection, connect, listen } from '../../src/net/index.ts';
import { eachEngine, turns, until } from '../support/net.ts';
import { HOST, pair, rawBind, rawClose, rawConnect, rawReceive, rawSend } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

const MEGABYTE = 1 << 20;

eachEngine('ending sends what was written and a FIN; the peer may go on until it ends too', async () => {
  const { connection, accepted, server, client, finish } = await pair({ listen: { halfOpen: true } });
  connection.end('TEST');
  await server.heard('end');
  assert.equal(server.text, 'TEST');
  accepted.write('answer');
  await client.read(6);
  assert.equal(client.count('close'), 0);
  accepted.end();
  await Promise.all([client.heard('close'), server.heard('close')]);
  assert.deepEqual(client.events, ['open', 'data:answer', 'end', 'close']);
  assert.deepEqual(server.events, ['open', 'data:TEST', 'end', 'close']);
  await finish();
});

eachEngine('the FIN follows the last of 8 MB that a slow reader takes', async () => {
  const { connection, accepted, server, finish } = await pair({ listen: { paused: true } });
  connection.write(new Uint8Array(8 * MEGABYTE));
  connection.end();
  while (server.count('end') === 0) {
    accepted.resume();
    await turns(1);
    accepted.pause();
    await turns(1);
  }
  assert.equal(server.bytes, 8 * MEGABYTE);
  await finish();
});

eachEngine('half-open, our side stays open after the end of the peer until we end it', async () => {
  const { connection, accepted, server, client, finish } = await pair({ listen: { halfOpen: true } });
  connection.end();
  await server.heard('end');
  await turns();
  for (const part of ['still ', 'open']) {
    accepted.write(part);
    await turns(1);
  }
  await client.read(10);
  assert.equal(server.count('close'), 0);
  accepted.end();
  await server.heard('close');
  assert.deepEqual(server.events, ['open', 'end', 'close']);
  await client.heard('close');
  await finish();
});

eachEngine('otherwise our side ends by itself, after the end was told and what was written has left', async () => {
  const server = new (class extends Recorder {
    override end(connection: Connection): void {
      super.end(connection);
      assert.equal(connection.destroyed, false);
      connection.write(new Uint8Array(MEGABYTE), (error) => this.events.push(`finish:${error}`));
    }
  })();
  const { connection, client, finish } = await pair({ server });
  connection.write('x'.repeat(60));
  connection.end();
  await server.heard('close');
  const events = server.events.filter((event) => event !== 'drain');
  assert.deepEqual(events, ['open', `data:${'x'.repeat(60)}`, 'end', 'finish:null', 'close']);
  await client.heard('close');
  assert.equal(client.bytes, MEGABYTE);
  await finish();
});

eachEngine('an end handler that throws does not keep the connection open', async () => {
  const original = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  const thrown: Error[] = [];
  process.on('uncaughtException', (error) => void thrown.push(error));
  try {
    const server = new (class extends Recorder {
      override end(connection: Connection): void {
        super.end(connection);
        throw new Error('end');
      }
    })();
    const { connection, client, finish } = await pair({ server });
    connection.end();
    await Promise.all([server.heard('close'), client.heard('close')]);
    assert.deepEqual(
      thrown.map((error) => error.message),
      ['end'],
    );
    await finish();
  } finally {
    process.removeAllListeners('uncaughtException');
    for (const listener of original) process.on('uncaughtException', listener);
  }
});

eachEngine('paused, the end waits until the bytes before it were taken, and the close for the end', async () => {
  const { connection, accepted, server, finish } = await pair({ listen: { paused: true } });
  connection.end('unread');
  await turns(10);
  assert.deepEqual(server.events, ['open']);
  accepted.resume();
  await server.heard('close');
  assert.deepEqual(server.events, ['open', 'data:unread', 'end', 'close']);
  await finish();
});

eachEngine('ending three times is ending once', async () => {
  const { connection, server, client, finish } = await pair();
  const outcomes: (string | undefined)[] = [];
  const note = (error: Error | null): void => {
    outcomes.push((error as { code?: string } | null)?.code);
  };
  connection.end('bye', note);
  connection.end();
  connection.end();
  await Promise.all([server.heard('close'), client.heard('close')]);
  connection.end();
  assert.deepEqual(outcomes, [undefined]);
  assert.equal(server.count('end'), 1);
  assert.deepEqual(client.events, ['open', 'end', 'close']);
  await finish();
});

eachEngine('ending and destroying at once tells the end before the close', async () => {
  const { connection, client, finish } = await pair();
  connection.end('x', (error) => client.events.push(`ended:${(error as { code?: string } | null)?.code ?? 'ok'}`));
  connection.destroy();
  await client.heard('close');
  assert.equal(client.events.length, 3);
  assert.match(client.events[1], /^ended:(ok|ECANCELED)$/);
  assert.equal(client.events[2], 'close');
  await finish();
});

eachEngine('two peers that end in the same moment both finish', async () => {
  const { connection, accepted, server, client, finish } = await pair();
  const ended: string[] = [];
  connection.end('one', (error) => ended.push(`client:${error}`));
  accepted.end('two', (error) => ended.push(`server:${error}`));
  await Promise.all([server.heard('close'), client.heard('close')]);
  assert.deepEqual(ended.toSorted(), ['client:null', 'server:null']);
  assert.deepEqual(server.events, ['open', 'data:one', 'end', 'close']);
  assert.deepEqual(client.events, ['open', 'data:two', 'end', 'close']);
  await finish();
});

eachEngine('an answer arrives although request bytes were left unread when the server closed', async () => {
  const server = new (class extends Recorder {
    override data(connection: Connection, chunk: Uint8Array): void {
      super.data(connection, chunk);
      connection.pause();
      if (connection.writable) {
        connection.write('answer');
        connection.close();
      }
    }
  })();
  const listener = await listen({ host: HOST }, server);
  const client = rawConnect(listener.port);
  for (let part = 0; part < 10; part++) rawSend(client, 'x'.repeat(50_000));
  await server.heard('open');
  await until(() => server.connection.bytesSent === 6);
  for (let part = 0; part < 4; part++) rawSend(client, 'x'.repeat(50_000));
  await turns(10);
  assert.equal(rawReceive(client, 100), 'answer');
  assert.equal(rawReceive(client, 100), '');
  rawClose(client);
  await server.heard('close');
  assert.equal(server.errors.length, 0);
  await listener.close();
});

eachEngine('a peer that sends for ever after our close is cut off', async () => {
  const server = new (class extends Recorder {
    override open(connection: Connection): void {
      super.open(connection);
      connection.write('enough');
      connection.close();
    }
  })();
  const client = new Recorder();
  const listener = await listen({ host: HOST }, server);
  const connection = connect({ host: HOST, port: listener.port, halfOpen: true }, client);
  connection.write(new Uint8Array(16 * MEGABYTE));
  await server.heard('close');
  assert.ok(server.connection.bytesRead > MEGABYTE);
  assert.ok(server.connection.bytesRead < 16 * MEGABYTE);
  await client.heard('close');
  assert.match(String(client.errors[0].code), /ECONNRESET|EPIPE/);
  await listener.close();
});

eachEngine('a peer that neither sends nor ends after our close is cut off after two seconds', async () => {
  const { accepted, server, client, finish } = await pair({ connect: { halfOpen: true } });
  const startMs = performance.now();
  accepted.close();
  await server.heard('close');
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs >= 2000 && tookMs < 2500, `${tookMs} ms`);
  assert.deepEqual(client.events, ['open', 'end']);
  await finish();
});

eachEngine('closing is idempotent, and nothing about a closed connection throws', async () => {
  let connection: Connection | null = null;
  const client = new (class extends Recorder {
    override error(opened: Connection, error: Error): void {
      super.error(opened, error);
      opened.destroy();
      opened.close();
    }

    override close(opened: Connection): void {
      super.close(opened);
      opened.destroy(new Error('again'));
      opened.reset();
    }
  })();
  const opened = await pair({ client });
  connection = opened.connection;
  connection.destroy(new Error('first'));
  connection.destroy(new Error('second'));
  await client.heard('close');
  await turns();
  assert.deepEqual(client.events, ['open', 'error:Error', 'close']);
  assert.equal(client.errors[0].message, 'first');
  connection.pause();
  connection.resume();
  connection.setNoDelay();
  connection.setKeepAlive(true, 1000);
  connection.setTimeout(1000);
  connection.setDeadline(0);
  connection.ref();
  connection.unref();
  connection.end();
  connection.close();
  assert.equal(connection.destroyed, true);
  assert.equal(connection.writable, false);
  assert.equal(connection.descriptor, -1);
  assert.equal(connection.localAddress, null);
  assert.equal(connection.bytesQueued, 0);
  await connection[Symbol.asyncDispose]();
  await opened.finish();
});

eachEngine('several connections closed in one turn are told in that order, after what arrived in it', async () => {
  const order: string[] = [];
  const listener = await listen({ host: HOST }, {});
  const connections: Connection[] = [];
  for (let index = 0; index < 6; index++) {
    const connection = connect(
      { host: HOST, port: listener.port, paused: index % 2 === 1 },
      { close: () => void order.push(`close ${index}`) },
    );
    await connection.opening();
    connections.push(connection);
  }
  for (const index of [3, 0, 5, 1, 4, 2]) connections[index].destroy();
  assert.deepEqual(order, [], 'on a fresh stack');
  await until(() => order.length === 6);
  assert.deepEqual(
    order,
    [3, 0, 5, 1, 4, 2].map((index) => `close ${index}`),
  );
  await listener.close();
});

eachEngine('a descriptor closed behind our back is EBADF and one close, and its next owner keeps it', async () => {
  const { connection, client, finish } = await pair({ connect: { paused: true } });
  const number = connection.descriptor;
  closeDescriptor(number);
  const outcomes: (string | undefined)[] = [];
  connection.write('x', (error) => void outcomes.push((error as { code?: string } | null)?.code));
  while (!connection.destroyed) await turns(1);
  // The lowest free number is the next one that the kernel gives.
  const owner = rawBind().descriptor;
  assert.equal(owner, number);
  await client.heard('close');
  await turns();
  assert.deepEqual(client.events, ['open', 'error:EBADF', 'close']);
  assert.deepEqual(outcomes, ['EBADF']);
  assert.notEqual(getsockname(owner), null);
  assert.equal(typeof getsockname(owner), 'object');
  rawClose(owner);
  await finish();
});

eachEngine('an event under way does not reach the new owner of a descriptor', async () => {
  const listener = await listen({ host: HOST }, {});
  const heard: string[] = [];
  let second: Connection | null = null;
  let third: Connection | null = null;
  let number = -1;
  const one = connect(
    { host: HOST, port: listener.port },
    {
      data() {
        heard.push('one');
        if (third !== null) return;
        number = second!.descriptor;
        second!.destroy();
        third = connect(
          { host: HOST, port: listener.port },
          { data: () => void heard.push('three'), end: () => void heard.push('three ended') },
        );
      },
    },
  );
  await one.opening();
  const two = connect({ host: HOST, port: listener.port }, { data: () => void heard.push('two') });
  await two.opening();
  second = two;
  const peers = [...listener.connections];
  assert.equal(peers.length, 2);
  for (const peer of peers) peer.write('ready');
  await until(() => third !== null && listener.connections.size >= 2);
  await turns(10);
  // Either order of the two events is right; after the close of the second it says nothing.
  assert.ok(heard.join() === 'one' || heard.join() === 'two,one', heard.join());
  assert.ok(number >= 0);
  for (const connection of [one, third as unknown as Connection]) connection.destroy();
  await until(() => listener.connections.size === 0);
  await listener.close();
});

eachEngine('a FIN from the peer alone is no hang-up: it may still be written to', async () => {
  const server = new Recorder();
  const listener = await listen({ host: HOST, halfOpen: true }, server);
  const client = rawConnect(listener.port);
  shutdown(client, SHUT_WR);
  await server.heard('end');
  server.connection.write('go on');
  await until(() => server.connection.bytesSent === 5);
  assert.equal(rawReceive(client, 100), 'go on');
  server.connection.end();
  await server.heard('close');
  assert.deepEqual(server.events, ['open', 'end', 'close']);
  rawClose(client);
  await listener.close();
});

eachEngine('disposal closes in good order: what was written arrives', async () => {
  const { connection, server, client, finish } = await pair();
  {
    await using scope = connection;
    scope.write(new Uint8Array(3 * MEGABYTE));
  }
  assert.equal(client.count('close'), 1);
  assert.equal(server.bytes, 3 * MEGABYTE);
  await connection[Symbol.asyncDispose]();
  await finish();
});
