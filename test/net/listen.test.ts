/**
 * Listening: what can be bound, what is refused and how it is named, and how a listener ends.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { IPPROTO_TCP, SO_REUSEADDR, SOL_SOCKET, TCP_INFO } from '../../src/kernel/constants.ts';
import * as sockets from '../../src/kernel/socket.ts';
import { adopt, type Connection, connect, KernelError, listen } from '../../src/net/index.ts';
import { eachEngine, openDescriptors, turns } from '../support/net.ts';
import { HOST, pair, rawBind, rawClose, runChild } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

const none = {};

eachEngine('port 0 becomes a port, and a closed listener has no address', async () => {
  const listener = await listen({ host: HOST, port: 0 }, none);
  assert.equal(listener.address?.family, 'ipv4');
  assert.ok(listener.port > 0);
  assert.equal(listener.listening, true);
  await listener.close();
  assert.equal(listener.address, null);
  assert.equal(listener.listening, false);
});

eachEngine('a taken port is refused by name and the next listen succeeds', async () => {
  const opened: Connection[] = [];
  const first = await listen({ host: HOST }, none);
  await assert.rejects(
    listen({ host: HOST, port: first.port }, { open: (connection) => void opened.push(connection) }),
    {
      code: 'EADDRINUSE',
      syscall: 'bind',
      address: HOST,
      port: first.port,
    },
  );
  const second = await listen({ host: HOST, port: 0 }, none);
  assert.notEqual(second.port, first.port);
  assert.deepEqual(opened, []);
  await Promise.all([first.close(), second.close()]);
});

eachEngine('of two sockets bound to one port only one can listen', async () => {
  const reuse = (descriptor: number) => void sockets.setsockoptInt(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
  const one = rawBind(0, reuse);
  const other = rawBind(one.port, reuse);
  const adopted = adopt(one.descriptor, none);
  assert.throws(() => adopt(other.descriptor, none), { code: 'EADDRINUSE' });
  rawClose(other.descriptor);
  assert.equal(adopted.kind, 'listener');
  if (adopted.kind === 'listener') await adopted.listener.close();
});

eachEngine('a port bound by a socket that does not listen yet is found out', async () => {
  const reuse = (descriptor: number) => void sockets.setsockoptInt(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
  const bound = rawBind(0, reuse);
  const listener = await listen({ host: HOST, port: bound.port }, none);
  assert.equal(sockets.listen(bound.descriptor, 1), -98);
  rawClose(bound.descriptor);
  await listener.close();
});

eachEngine('addresses of other hosts are refused, all of 127/8 is ours', async () => {
  await assert.rejects(listen({ host: '4.4.4.4' }, none), { code: 'EADDRNOTAVAIL', address: '4.4.4.4' });
  const listener = await listen({ host: '127.255.255.255' }, none);
  await listener.close();
});

eachEngine('a privileged port without privilege is EACCES with its remedy', async (engine) => {
  const result = await runChild(
    `net.useEngine('${engine.name}');
     process.setgid(65534); process.setuid(65534);
     try { await net.listen({ host: '127.0.0.1', port: 1 }, {}); console.log('bound'); }
     catch (error) { console.log(error.code, error.syscall, error.port, /CAP_NET_BIND_SERVICE/.test(error.message)); }`,
  );
  assert.equal(result.output.trim(), 'EACCES bind 1 true', result.errors);
});

eachEngine('a restarted server gets its port back although closed connections linger', async () => {
  const server = new Recorder();
  const first = await listen({ host: HOST }, server);
  const client = new Recorder();
  connect({ host: HOST, port: first.port }, client);
  await server.heard('open');
  // The server ends first, so TIME_WAIT is on its port.
  server.connection.end();
  await client.heard('close');
  await server.heard('close');
  const port = first.port;
  await first.close();
  assert.match(
    readFileSync('/proc/net/tcp', 'utf8'),
    new RegExp(`:${port.toString(16).toUpperCase().padStart(4, '0')} \\S+ 06 `),
  );
  // Without SO_REUSEADDR the port is taken: the flag on both sides is what helps.
  assert.throws(() => rawBind(port), { code: 'EADDRINUSE' });
  const second = await listen({ host: HOST, port }, none);
  assert.equal(second.port, port);
  await second.close();
});

eachEngine('listening and closing at once leaves nothing', async () => {
  const before = openDescriptors().size;
  const opened: Connection[] = [];
  const listener = await listen({ host: HOST }, { open: (connection) => void opened.push(connection) });
  await listener.close();
  assert.equal(openDescriptors().size, before);
  assert.deepEqual(opened, []);
});

eachEngine('a closed listener refuses clients while its connections go on, and tells every waiter', async () => {
  const echo = new (class extends Recorder {
    override data(connection: Connection, chunk: Uint8Array): void {
      super.data(connection, chunk);
      connection.write(chunk);
    }
  })();
  const { listener, connection, client, accepted } = await pair({ server: echo });
  const port = listener.port;
  let ended = 0;
  const early = listener.close().then(() => ended++);
  const early2 = listener.close().then(() => ended++);
  // The kernel hears of it at the end of this turn.
  await turns(2);
  const refused = new Recorder();
  const late = connect({ host: HOST, port }, refused);
  await refused.heard('close');
  assert.equal(refused.errors[0].code, 'ECONNREFUSED');
  assert.equal(late.destroyed, true);
  connection.write('still here');
  await client.read(10);
  assert.equal(ended, 0);
  connection.end();
  await Promise.all([early, early2]);
  assert.equal(ended, 2);
  assert.equal(accepted.destroyed, true);
  await listener.close();
  await client.heard('close');
});

eachEngine('an aborted listener resets its connections without waiting for their peers', async () => {
  const { listener, accepted, client, server } = await pair({ connect: { paused: true } });
  accepted.write(new Uint8Array(16 << 20));
  await turns(10);
  await listener.abort();
  assert.deepEqual(server.events, ['open', 'close']);
  client.connection.resume();
  await client.heard('close');
  assert.equal(client.errors[0].code, 'ECONNRESET');
});

eachEngine('a backlog above somaxconn is capped by the kernel, one that is no integer is refused', async () => {
  const server = new Recorder();
  const { descriptor } = rawBind();
  const adopted = adopt(descriptor, server, { backlog: 1_000_000 });
  const info = new Uint8Array(64);
  sockets.getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, info);
  const somaxconn = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'));
  // tcpi_sacked of a listener is its backlog (tcp_get_info).
  assert.equal(new DataView(info.buffer).getUint32(28, true), somaxconn);
  if (adopted.kind === 'listener') await adopted.listener.close();
  const listener = await listen({ host: HOST, backlog: 1_000_000 }, none);
  await listener.close();
  await assert.rejects(listen({ host: HOST, backlog: 1.5 }, none), TypeError);
  await assert.rejects(listen({ host: HOST, backlog: -1 }, none), TypeError);
});

eachEngine('bad water marks are refused before anything is bound', async () => {
  const before = openDescriptors().size;
  await assert.rejects(listen({ host: HOST, highWaterBytes: 1, lowWaterBytes: 2 }, none), RangeError);
  assert.equal(openDescriptors().size, before);
});

eachEngine('a signal ends a listener before and after it listens, and leaves no handler behind', async () => {
  const aborted = AbortSignal.abort();
  await assert.rejects(listen({ host: HOST, signal: aborted }, none), { name: 'AbortError' });
  const controller = new AbortController();
  const pending = listen({ host: HOST, signal: controller.signal }, none);
  controller.abort();
  await assert.rejects(pending, { name: 'AbortError' });
  const later = new AbortController();
  const listener = await listen({ host: HOST, signal: later.signal }, none);
  later.abort();
  assert.equal(listener.listening, false);
  await listener.close();
  const unused = new AbortController();
  const other = await listen({ host: HOST, signal: unused.signal }, none);
  await other.close();
  unused.abort();
});

eachEngine('leaving a block closes a listener and its connections, and a second disposal resolves', async () => {
  const server = new Recorder();
  const client = new Recorder();
  let kept: { [Symbol.asyncDispose](): Promise<void> } | undefined;
  {
    await using listener = await listen({ host: HOST }, server);
    await using connection = connect({ host: HOST, port: listener.port }, client);
    await connection.opening();
    await server.heard('open');
    kept = listener;
  }
  assert.equal(server.count('close'), 1);
  assert.equal(client.count('close'), 1);
  assert.equal(client.errors.length, 0);
  await kept[Symbol.asyncDispose]();
});

eachEngine('errors say which call failed, on what, and what to do', async () => {
  const listener = await listen({ host: HOST }, none);
  const error = await listen({ host: HOST, port: listener.port }, none).catch((reason: unknown) => reason);
  assert.ok(error instanceof KernelError);
  assert.match(
    error.message,
    new RegExp(`bind ${HOST}:${listener.port}: EADDRINUSE; another socket holds the address`),
  );
  await listener.close();
});
