/**
 * Connecting: success, refusal, cancelling, deadlines, and what was written before there was a connection.
 */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import * as node from 'node:net';
import { RECEIVED_DONE, type Sink } from '../../src/engine/engine.ts';
import * as loop from '../../src/engine/loop.ts';
import { encodeAddress } from '../../src/kernel/address.ts';
import {
  AF_INET,
  IPPROTO_TCP,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  TCP_SYNCNT,
} from '../../src/kernel/constants.ts';
import * as sockets from '../../src/kernel/socket.ts';
import { addressOf } from '../../src/kernel/syscall.ts';
import { type Connection, connect, listen } from '../../src/net/index.ts';
import { eachEngine, openDescriptors, turns, until } from '../support/net.ts';
import { deadPort, HOST, pair, rawBind, rawClose, rawConnect, rawListen, runChild } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

/** A listener whose queue is full, so that a further SYN goes unanswered. */
function fullListener(): { port: number; close(): void } {
  const { descriptor, port } = rawListen(0);
  // A backlog of 0 holds one connection; sockets that were never accepted keep it full.
  const held = [rawConnect(port)];
  return {
    port,
    close() {
      for (const socket of [...held, descriptor]) rawClose(socket);
    },
  };
}

eachEngine('the connection opens once, and never before connect has returned', async () => {
  const { listener, client, finish } = await pair();
  let returned = false;
  const early: boolean[] = [];
  const connection = connect({ host: HOST, port: listener.port }, { open: () => void early.push(returned) });
  returned = true;
  await connection.opening();
  await turns();
  assert.deepEqual(early, [true]);
  assert.equal(client.count('open'), 1);
  connection.destroy();
  await finish();
});

eachEngine('a refused connect reports once, with both addresses, and closes', async () => {
  const port = deadPort();
  const client = new Recorder();
  const connection = connect({ host: HOST, port, local: { address: '127.0.0.2' } }, client);
  await assert.rejects(connection.opening(), { code: 'ECONNREFUSED' });
  await client.heard('close');
  await turns();
  assert.deepEqual(client.events, ['error:ECONNREFUSED', 'close']);
  const {
    syscall,
    address,
    port: remotePort,
    localAddress,
    localPort,
  } = client.errors[0] as unknown as Record<string, unknown>;
  assert.deepEqual(
    { syscall, address, remotePort, localAddress },
    { syscall: 'connect', address: HOST, remotePort: port, localAddress: '127.0.0.2' },
  );
  assert.ok(Number(localPort) > 0);
});

eachEngine('writes queued behind a refused connect are told so, in order, before the close', async () => {
  const client = new Recorder();
  const connection = connect({ host: HOST, port: deadPort() }, client);
  for (const name of ['first', 'second']) {
    connection.write(name, (error) => client.events.push(`${name}:${(error as { code?: string } | null)?.code}`));
  }
  await client.heard('close');
  assert.deepEqual(client.events, ['error:ECONNREFUSED', 'first:ECANCELED', 'second:ECANCELED', 'close']);
});

eachEngine('what is written before, on and after opening arrives in order, counted in bytes once', async () => {
  const server = new Recorder();
  const listener = await listen({ host: HOST }, server);
  const client = new (class extends Recorder {
    override open(connection: Connection): void {
      super.open(connection);
      connection.write(' äfter');
      connection.end();
    }
  })();
  const connection = connect({ host: HOST, port: listener.port }, client);
  connection.write('before');
  await client.heard('close');
  await server.heard('close');
  assert.equal(server.text, 'before äfter');
  assert.equal(server.count('end'), 1);
  assert.equal(connection.bytesWritten, 13);
  assert.equal(connection.bytesSent, 13);
  assert.equal(server.connection.bytesRead, 13);
  await listener.close();
});

eachEngine('ending before the connection is there sends what was written first', async () => {
  const server = new Recorder();
  const listener = await listen({ host: HOST }, server);
  const client = new Recorder();
  connect({ host: HOST, port: listener.port }, client).end('all');
  await client.heard('close');
  assert.equal(server.text, 'all');
  await listener.close();
});

eachEngine('destroying in the turn of connect is silent but for the close and the write', async () => {
  const server = new Recorder();
  const listener = await listen({ host: HOST }, server);
  const client = new Recorder();
  const connection = connect({ host: HOST, port: listener.port }, client);
  connection.write('x', (error) => client.events.push(`write:${error?.message}`));
  connection.destroy();
  await client.heard('close');
  await turns();
  assert.equal(client.events.length, 2);
  assert.match(client.events[0], /^write:.*ECANCELED; the connection was closed before it had sent this/);
  assert.equal(client.events[1], 'close');
  await listener.close();
});

eachEngine('destroying during an unanswered connect cancels it at once', async () => {
  const full = fullListener();
  const client = new Recorder();
  const connection = connect({ host: HOST, port: full.port }, client);
  const opening = connection.opening();
  await turns();
  const startMs = performance.now();
  connection.destroy();
  await assert.rejects(opening, { code: 'ECANCELED' });
  await client.heard('close');
  assert.ok(performance.now() - startMs < 500);
  assert.deepEqual(client.events, ['close']);
  full.close();
});

eachEngine('a process whose only connect was destroyed exits at once', async (engine) => {
  const full = fullListener();
  const startMs = performance.now();
  const result = await runChild(
    `net.useEngine('${engine.name}');
     const connection = net.connect({ host: '127.0.0.1', port: ${full.port} }, { close() { console.log('closed'); } });
     setTimeout(() => connection.destroy(), 10);`,
  );
  assert.equal(result.output.trim(), 'closed', result.errors);
  assert.ok(performance.now() - startMs < 3000);
  full.close();
});

eachEngine('an unanswered connect ends at its deadline and nothing follows', async () => {
  const full = fullListener();
  const before = openDescriptors().size;
  const client = new Recorder();
  const startMs = performance.now();
  connect({ host: HOST, port: full.port, timeoutMs: 100 }, client);
  await client.heard('close');
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs >= 100 && tookMs < 250, `${tookMs} ms`);
  assert.deepEqual(client.events, ['error:ETIMEDOUT', 'close']);
  await until(() => openDescriptors().size === before);
  full.close();
  await turns(20);
  assert.equal(client.events.length, 2);
});

eachEngine("without a deadline the kernel's patience ends an unanswered connect", async () => {
  const full = fullListener();
  const client = new Recorder();
  const connection = connect({ host: HOST, port: full.port }, client);
  await turns();
  // One further SYN: the kernel gives up about 3 s after the first.
  const attempt = [...(connection as unknown as { attempts: Set<{ descriptor: number }> }).attempts][0];
  assert.equal(sockets.setsockoptInt(attempt.descriptor, IPPROTO_TCP, TCP_SYNCNT, 1), 0);
  const startMs = performance.now();
  await until(() => client.count('close') === 1, 8000);
  assert.deepEqual(client.events, ['error:ETIMEDOUT', 'close']);
  assert.ok(performance.now() - startMs > 2000);
  full.close();
});

eachEngine('a deadline may be shortened while the connect is pending; afterwards it does nothing', async () => {
  const full = fullListener();
  const client = new Recorder();
  const connection = connect({ host: HOST, port: full.port, timeoutMs: 5000 }, client);
  await turns();
  const startMs = performance.now();
  connection.setConnectTimeout(100);
  await client.heard('close');
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs >= 100 && tookMs < 250, `${tookMs} ms`);
  connection.setConnectTimeout(50);
  await turns();
  assert.deepEqual(client.events, ['error:ETIMEDOUT', 'close']);
  full.close();
  const open = await pair({ connect: { timeoutMs: 30 } });
  open.connection.setConnectTimeout(1);
  const idleMs = performance.now();
  await until(() => performance.now() - idleMs > 60);
  assert.deepEqual(open.client.events, ['open']);
  await open.finish();
});

eachEngine('a local address and port are what the peer sees; a taken one is an error of the connect', async () => {
  const server = new Recorder();
  const listener = await listen({ host: HOST }, server);
  const free = deadPort();
  const client = new Recorder();
  connect({ host: HOST, port: listener.port, local: { address: '127.0.0.3', port: free } }, client);
  await server.heard('open');
  assert.deepEqual(server.connection.remoteAddress, { family: 'ipv4', address: '127.0.0.3', port: free });
  const taken = rawBind();
  const refused = new Recorder();
  connect({ host: HOST, port: listener.port, local: { address: HOST, port: taken.port } }, refused);
  await refused.heard('close');
  assert.deepEqual(refused.events, ['error:EADDRINUSE', 'close']);
  rawClose(taken.descriptor);
  client.connection.reset();
  await server.heard('close');
  await listener.close();
});

for (const [unspecified, loopback] of [
  ['0.0.0.0', '127.0.0.1'],
  ['::', '::1'],
]) {
  eachEngine(`connecting to ${unspecified} reaches loopback`, async () => {
    const listener = await listen({ host: unspecified }, {});
    const client = new Recorder();
    const connection = connect({ host: unspecified, port: listener.port }, client);
    await connection.opening();
    assert.equal((connection.remoteAddress as { address: string }).address, loopback);
    connection.destroy();
    await client.heard('close');
    await listener.close();
  });
}

eachEngine(
  'impossible targets are refused: by exception what no system call could mean, by error the rest',
  async () => {
    for (const port of [78960, -1, 1.5, Number.NaN]) assert.throws(() => connect({ host: HOST, port }), RangeError);
    assert.throws(() => connect({ path: 'x'.repeat(200) }), RangeError);
    assert.throws(() => connect({ path: '' }), RangeError);
    for (const [target, code] of [
      [{ host: HOST, port: 0 }, 'ECONNREFUSED'],
      [{ host: '224.0.0.1', port: 80 }, 'ENETUNREACH'],
      [{ host: HOST, port: 80, local: { address: '::1' } }, 'TypeError'],
      [{ host: 'name.invalid', port: 80 }, /ENOTFOUND|EAI_AGAIN/],
    ] as const) {
      const client = new Recorder();
      connect(target, client);
      await client.heard('close');
      assert.equal(client.events.length, 2, String(client.events));
      assert.match(client.events[0], typeof code === 'string' ? new RegExp(`^error:${code}$`) : code);
    }
  },
);

eachEngine('a connection that would meet itself is refused', async () => {
  // The kernel picks the same ephemeral port as source sooner or later; binding it first makes that happen at once.
  const port = deadPort();
  const client = new Recorder();
  connect({ host: HOST, port, local: { address: HOST, port } }, client);
  await client.heard('close');
  assert.deepEqual(client.events, ['error:ECONNREFUSED', 'close']);
});

eachEngine('32 connects in a row to a port that does not listen are each refused', async () => {
  const bound = rawBind();
  const clients = Array.from({ length: 32 }, () => {
    const client = new Recorder();
    connect({ host: HOST, port: bound.port }, client);
    return client;
  });
  for (const client of clients) await client.heard('close');
  for (const client of clients) assert.deepEqual(client.events, ['error:ECONNREFUSED', 'close']);
  rawClose(bound.descriptor);
});

for (const moment of ['before', 'during', 'one turn after'] as const) {
  eachEngine(`a signal that aborts ${moment} connect is an AbortError and one close`, async () => {
    const listener = await listen({ host: HOST }, {});
    const controller = new AbortController();
    if (moment === 'before') controller.abort();
    const client = new Recorder();
    const connection = connect({ host: HOST, port: listener.port, signal: controller.signal }, client);
    const opening = connection.opening().catch((error: Error) => error);
    if (moment === 'one turn after') await turns(1);
    controller.abort();
    await client.heard('close');
    await turns();
    assert.deepEqual(
      client.events.filter((event) => event !== 'open'),
      ['error:AbortError', 'close'],
    );
    if (moment !== 'one turn after') assert.equal(((await opening) as Error).name, 'AbortError');
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
    await listener.close();
  });
}

eachEngine('a signal that never aborts keeps no handler once the connection is gone', async () => {
  const controller = new AbortController();
  const { finish } = await pair({ connect: { signal: controller.signal } });
  assert.equal(getEventListeners(controller.signal, 'abort').length, 1);
  await finish();
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
});

eachEngine('the number of a cancelled connect may be taken by a new connection, which lives', async () => {
  const full = fullListener();
  const { listener, finish } = await pair();
  const cancelled = new Recorder();
  const pending = connect({ host: HOST, port: full.port }, cancelled);
  await turns();
  const number = [...(pending as unknown as { attempts: Set<{ descriptor: number }> }).attempts][0].descriptor;
  pending.destroy();
  await cancelled.heard('close');
  const client = new Recorder();
  const next = connect({ host: HOST, port: listener.port }, client);
  await next.opening();
  assert.equal(next.descriptor, number);
  pending.destroy();
  pending.reset();
  next.write('alive');
  await until(() => next.bytesSent === 5);
  assert.deepEqual(client.events, ['open']);
  next.destroy();
  await client.heard('close');
  await finish();
  full.close();
});

eachEngine('a server that writes and ends on accept is heard as open, data, end, close', async () => {
  const listener = await listen({ host: HOST }, { open: (connection) => connection.end('bye') });
  const client = new Recorder();
  connect({ host: HOST, port: listener.port }, client);
  await client.heard('close');
  assert.deepEqual(client.events, ['open', 'data:bye', 'end', 'close']);
  await listener.close();
});

eachEngine("a connection to one of Node's own servers works like any other", async () => {
  const server = node.createServer((socket) => socket.pipe(socket));
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  const client = new Recorder();
  const connection = connect({ host: HOST, port: (server.address() as node.AddressInfo).port }, client);
  connection.end('there and back');
  await client.heard('close');
  assert.equal(client.text, 'there and back');
  await new Promise((resolve) => server.close(resolve));
});

eachEngine('a socket under care before it connects is not taken for connected', async (engine) => {
  // An unconnected TCP socket polls as writable and hung up.
  const { listener, finish } = await pair();
  const heard: string[] = [];
  const note =
    (name: string) =>
    (result?: number): number => {
      heard.push(`${name}:${result}`);
      return RECEIVED_DONE;
    };
  const sink: Sink = {
    accepted: note('accepted'),
    acceptFailed: note('acceptFailed'),
    received: note('received'),
    receiveEnded: note('receiveEnded'),
    sent: note('sent'),
    connected: note('connected'),
    polled: note('polled'),
    message: note('message'),
    closed: note('closed'),
  };
  const descriptor = sockets.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK);
  const handle = engine.attach(descriptor, sink);
  loop.reference();
  await turns(10);
  assert.deepEqual(heard, []);
  const address = new Uint8Array(new ArrayBuffer(128));
  const length = encodeAddress({ family: 'ipv4', address: HOST, port: listener.port }, address, 0);
  engine.connect(handle, addressOf(address), length);
  await until(() => heard.length > 0);
  await turns();
  assert.deepEqual(heard, ['connected:0']);
  engine.close(handle);
  await until(() => heard.length > 1);
  loop.unreference();
  await finish();
});
