/**
 * Unix stream sockets: paths and abstract names, stale files, full queues, endings, who is at the other end.
 */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM } from '../../src/kernel/constants.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import { check } from '../../src/kernel/error.ts';
import * as sockets from '../../src/kernel/socket.ts';
import { connect, listen } from '../../src/net/index.ts';
import { datagrams } from '../support/datagrams.ts';
import { eachEngine, pattern, turns, until } from '../support/net.ts';
import { pair, rawClose, rawReceive, rawSend, runChild } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

/** Runs with a folder of its own. */
function withFolder(body: (folder: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-'));
    try {
      await body(folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  };
}

/** A Unix socket made with plain system calls; `backlog` makes it listen, null leaves it bound. */
function rawUnix(path: string, backlog: number | null): number {
  const descriptor = check(sockets.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC), 'socket');
  check(sockets.bind(descriptor, { family: 'unix', path }), 'bind');
  if (backlog !== null) check(sockets.listen(descriptor, backlog), 'listen');
  return descriptor;
}

function rawUnixConnect(path: string): number {
  const descriptor = check(sockets.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC), 'socket');
  check(sockets.connect(descriptor, { family: 'unix', path }), 'connect');
  return descriptor;
}

/** How connecting ends: 'open', or the error's code. */
async function outcome(path: string, timeoutMs?: number): Promise<string> {
  const heard = new Recorder();
  const connection = connect({ path, ...(timeoutMs === undefined ? {} : { timeoutMs }) }, heard);
  const result = await connection.opening().then(
    () => 'open',
    (error: { readonly code: string }) => error.code,
  );
  connection.destroy();
  await heard.heard('close');
  return result;
}

eachEngine(
  'an existing path is refused even with nobody there, and connecting to what is no listener is refused by name',
  withFolder(async (folder) => {
    const stale = join(folder, 'stale');
    rawClose(rawUnix(stale, 1));
    await assert.rejects(listen({ path: stale }, {}), { code: 'EADDRINUSE', syscall: 'bind', address: stale });
    assert.ok(existsSync(stale), 'a refused bind does not remove the file');
    assert.equal(await outcome(stale), 'ECONNREFUSED');
    const plain = join(folder, 'plain');
    writeFileSync(plain, '');
    await assert.rejects(listen({ path: plain }, {}), { code: 'EADDRINUSE' });
    assert.equal(await outcome(plain), 'ECONNREFUSED');
    assert.equal(await outcome(join(folder, 'none')), 'ENOENT');
    const notListening = rawUnix(join(folder, 'bound'), null);
    assert.equal(await outcome(join(folder, 'bound')), 'ECONNREFUSED');
    rawClose(notListening);
  }),
);

eachEngine('without permission connecting is EACCES, and writableAll gives it', async (engine) => {
  await withFolder(async (folder) => {
    chmodSync(folder, 0o755);
    const closed = await listen({ path: join(folder, 'closed') }, {});
    const open = await listen({ path: join(folder, 'open'), readableAll: true, writableAll: true }, {});
    assert.equal(statSync(join(folder, 'closed')).mode & 0o022, 0);
    assert.equal(statSync(join(folder, 'open')).mode & 0o666, 0o666);
    const result = await runChild(
      `net.useEngine('${engine.name}');
       for (const name of ['closed', 'open']) {
         const connection = net.connect({ path: ${JSON.stringify(folder)} + '/' + name });
         console.log(await connection.opening().then(() => 'open', (error) => error.code));
         connection.destroy();
       }`,
      { uid: 65534 },
    );
    assert.equal(result.output.trim(), 'EACCES\nopen', result.errors);
    await closed.close();
    await open.close();
  })();
});

eachEngine(
  "closing removes a listener's own file, not its successor's, and misses none that is gone",
  withFolder(async (folder) => {
    const path = join(folder, 'socket');
    const first = await listen({ path }, {});
    unlinkSync(path);
    const second = await listen({ path }, {});
    await first.close();
    assert.ok(existsSync(path), "the successor's path survives");
    assert.equal(await outcome(path), 'open');
    await until(() => second.connections.size === 0);
    await second.close();
    assert.ok(!existsSync(path));
    const third = await listen({ path }, {});
    unlinkSync(path);
    await third.close();
  }),
);

eachEngine(
  'a path above 107 bytes is refused before any system call, never cut',
  withFolder(async (folder) => {
    const path = join(folder, 'é'.repeat(60));
    assert.throws(() => connect({ path }), { name: 'RangeError', message: /107/ });
    await assert.rejects(listen({ path }, {}), { name: 'RangeError', message: /107/ });
    const longest = join(folder, 'x'.repeat(107 - folder.length - 1));
    const listener = await listen({ path: longest }, {});
    assert.deepEqual(listener.address, { family: 'unix', path: longest });
    assert.equal(await outcome(longest), 'open');
    await until(() => listener.connections.size === 0);
    await listener.close();
  }),
);

eachEngine('of an abstract name every byte counts, and an empty one is made up by the kernel', async () => {
  const name = `\0millrace-${process.pid}\0inner\0`;
  const listener = await listen({ path: name }, {});
  assert.deepEqual(listener.address, { family: 'unix', path: name });
  assert.equal(await outcome(name), 'open');
  assert.equal(await outcome(name.slice(0, -1)), 'ECONNREFUSED');
  assert.equal(await outcome(`${name}\0`), 'ECONNREFUSED');
  await assert.rejects(listen({ path: name }, {}), { code: 'EADDRINUSE' });
  await until(() => listener.connections.size === 0);
  await listener.close();
  const made = await listen({ path: '' }, {});
  assert.ok(made.address?.family === 'unix');
  assert.match(made.address.path, /^\0[0-9a-f]{5}$/);
  assert.equal(await outcome(made.address.path), 'open');
  await until(() => made.connections.size === 0);
  await made.close();
});

eachEngine(
  'a full queue is tried again until there is room, or until the deadline',
  withFolder(async (folder) => {
    const path = join(folder, 'socket');
    const listener = rawUnix(path, 0);
    const first = rawUnixConnect(path);
    assert.equal(await outcome(path, 100), 'ETIMEDOUT');
    const heard = new Recorder();
    const waiting = connect({ path }, heard);
    await turns(20);
    assert.equal(heard.events.length, 0);
    const accepted = sockets.accept4(listener, SOCK_CLOEXEC);
    await waiting.opening();
    waiting.destroy();
    await heard.heard('close');
    for (const descriptor of [first, accepted, listener]) rawClose(descriptor);
  }),
);

eachEngine(
  'a client that was not accepted reads ECONNRESET when the listener closes',
  withFolder(async (folder) => {
    const path = join(folder, 'socket');
    const listener = await listen({ path }, {});
    await turns();
    const client = rawUnixConnect(path);
    rawSend(client, 'x');
    await listener.close();
    assert.equal(rawReceive(client, 16), -ERRNO.ECONNRESET);
    rawClose(client);
  }),
);

eachEngine(
  'a peer that closes with unread data is a reset, one that closes clean an end, and writing to either EPIPE',
  withFolder(async (folder) => {
    const path = join(folder, 'socket');
    const raw = rawUnix(path, 8);
    for (const unread of [true, false]) {
      const heard = new Recorder();
      const connection = connect({ path, halfOpen: true }, heard);
      await connection.opening();
      const accepted = sockets.accept4(raw, SOCK_CLOEXEC);
      if (unread) connection.write('never read');
      await until(() => connection.bytesQueued === 0);
      rawClose(accepted);
      if (unread) {
        await heard.heard('close');
        assert.deepEqual(heard.events, ['open', 'error:ECONNRESET', 'close']);
      } else {
        await heard.heard('end');
        const code = await new Promise((resolve) => {
          connection.write('too late', (error) => resolve((error as { readonly code?: string } | null)?.code));
        });
        await heard.heard('close');
        assert.deepEqual(heard.events, ['open', 'end', 'error:EPIPE', 'close']);
        assert.equal(code, 'EPIPE');
      }
    }
    rawClose(raw);
  }),
);

eachEngine('more than a block and a close at once: every byte, then the end, no error', async (engine) => {
  await withFolder(async (folder) => {
    const path = join(folder, 'socket');
    const server = new Recorder();
    const listener = await listen({ path }, server);
    const client = rawUnixConnect(path);
    const sent = engine.blockSize + 1;
    assert.equal(rawSend(client, 'x'.repeat(sent)), sent);
    rawClose(client);
    await server.heard('close');
    assert.equal(server.bytes, sent);
    assert.deepEqual(
      server.events.filter((event) => !event.startsWith('data')),
      ['open', 'end', 'close'],
    );
    await listener.close();
  })();
});

eachEngine(
  'each end knows the other: its process, user and group; an unnamed peer is no error',
  withFolder(async (folder) => {
    const path = join(folder, 'socket');
    const server = new Recorder();
    const listener = await listen({ path }, server);
    const heard = new Recorder();
    const connection = connect({ path }, heard);
    await connection.opening();
    await server.heard('open');
    const own = { pid: process.pid, uid: process.getuid!(), gid: process.getgid!() };
    assert.deepEqual(connection.peerCredentials, own);
    assert.deepEqual(server.connection.peerCredentials, own);
    assert.equal(server.connection.remoteAddress, null);
    assert.deepEqual(connection.remoteAddress, { family: 'unix', path });
    connection.end();
    await heard.heard('close');
    assert.equal(connection.peerCredentials, null);
    await listener.close();
    const tcp = await pair();
    assert.equal(tcp.connection.peerCredentials, null);
    await tcp.finish();
  }),
);

eachEngine(
  'permissions hold before listening is announced',
  withFolder(async (folder) => {
    const path = join(folder, 'socket');
    const [listener] = await Promise.all([listen({ path, writableAll: true }, {})]);
    assert.equal(statSync(path).mode & 0o222, 0o222);
    await listener.close();
    const { socket } = await datagrams({ path, readableAll: true });
    assert.equal(statSync(path).mode & 0o444, 0o444);
    await socket.close();
    assert.ok(!existsSync(path));
  }),
);

eachEngine(
  'a datagram socket does not connect to a stream path, and a message keeps its bounds',
  withFolder(async (folder) => {
    const path = join(folder, 'stream');
    const listener = await listen({ path }, {});
    const receiver = await datagrams({ path: join(folder, 'receiver') });
    const sender = await datagrams({ path: join(folder, 'sender') });
    assert.throws(() => sender.socket.connect({ family: 'unix', path }), { code: 'EPROTOTYPE' });
    assert.throws(() => sender.socket.connect({ family: 'unix', path: join(folder, 'none') }), { code: 'ENOENT' });
    sender.socket.connect(receiver.address);
    sender.socket.send('abc');
    sender.socket.send(pattern(1000));
    await receiver.heard.got(2);
    assert.deepEqual(receiver.heard.lengths, [3, 1000]);
    for (const closing of [listener, receiver.socket, sender.socket]) await closing.close();
  }),
);
