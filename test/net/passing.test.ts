/**
 * Descriptors that come and go over Unix sockets (SCM_RIGHTS).
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AF_UNIX, F_GETFD, FD_CLOEXEC, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_STREAM } from '../../src/kernel/constants.ts';
import { sendDescriptors } from '../../src/kernel/descriptor-passing.ts';
import { check } from '../../src/kernel/error.ts';
import * as sockets from '../../src/kernel/socket.ts';
import { call, SYS } from '../../src/kernel/syscall.ts';
import { adopt, type Connection, type ConnectionOptions, connect, type Listener, listen } from '../../src/net/index.ts';
import { datagrams } from '../support/datagrams.ts';
import { eachEngine, openDescriptors, turns, until } from '../support/net.ts';
import { HOST, rawBind, rawClose, rawConnect, rawSend } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

const encoder = new TextEncoder();

class PassingRecorder extends Recorder {
  readonly descriptors: number[] = [];

  passed(_connection: Connection, descriptors: readonly number[]): void {
    this.events.push(`passed:${descriptors.length}`);
    this.descriptors.push(...descriptors);
  }
}

interface Place {
  readonly listener: Listener;
  readonly server: PassingRecorder;
  readonly path: string;
}

/** A listener on a Unix path; afterwards the folder goes. */
async function withListener(given: ConnectionOptions, body: (place: Place) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-'));
  const path = join(folder, 'socket');
  const server = new PassingRecorder();
  const listener = await listen({ path, ...given }, server);
  try {
    await body({ listener, server, path });
  } finally {
    await listener.close();
    rmSync(folder, { recursive: true });
  }
}

function rawUnix(path: string, type = SOCK_STREAM): number {
  const descriptor = check(sockets.socket(AF_UNIX, type | SOCK_CLOEXEC), 'socket');
  check(sockets.connect(descriptor, { family: 'unix', path }), 'connect');
  return descriptor;
}

eachEngine(
  'four descriptors that come with one byte are adopted, and the next message is not merged with them',
  async () => {
    await withListener({ descriptors: true }, async ({ server, path }) => {
      const client = rawUnix(path);
      const given = Array.from({ length: 4 }, () => rawBind());
      const numbers = given.map(({ descriptor }) => descriptor);
      assert.equal(sendDescriptors(client, numbers, encoder.encode('A')), 1);
      rawSend(client, 'B');
      for (const number of numbers) rawClose(number);
      await server.read(2);
      assert.deepEqual(server.events, ['open', 'passed:4', 'data:A', 'data:B']);
      for (const [index, descriptor] of server.descriptors.entries()) {
        assert.equal(call(SYS.fcntl, descriptor, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        const adopted = adopt(descriptor, {});
        assert.ok(adopted.kind === 'listener');
        assert.equal(adopted.listener.port, given[index].port);
        await adopted.listener.close();
      }
      rawClose(client);
      await server.heard('close');
      assert.deepEqual(server.events.slice(-2), ['end', 'close']);
    });
  },
);

eachEngine('a connection that did not ask for descriptors gets the bytes, and the kernel closes the rest', async () => {
  await withListener({}, async ({ server, path }) => {
    const client = rawUnix(path);
    await server.heard('open');
    const before = openDescriptors().size;
    sendDescriptors(client, [client, client], encoder.encode('A'));
    await server.read(1);
    assert.deepEqual(server.events, ['open', 'data:A']);
    assert.equal(openDescriptors().size, before);
    rawClose(client);
    await server.heard('close');
  });
});

eachEngine('more descriptors than there is room for are marked by the kernel, and none leaks', async () => {
  await withListener({ descriptors: true }, async ({ server, path }) => {
    const client = rawUnix(path);
    await server.heard('open');
    const before = openDescriptors().size;
    sendDescriptors(client, Array(100).fill(client), encoder.encode('A'));
    await server.read(1);
    assert.ok(server.descriptors.length > 0 && server.descriptors.length < 100);
    assert.equal(openDescriptors().size, before + server.descriptors.length);
    for (const descriptor of server.descriptors) rawClose(descriptor);
    rawClose(client);
    await server.heard('close');
  });
});

eachEngine('a connection passes descriptors behind what it wrote before', async () => {
  await withListener({ descriptors: true }, async ({ server, path }) => {
    const heard = new Recorder();
    const connection = connect({ path }, heard);
    await connection.opening();
    const tcp = rawBind();
    connection.write('before ');
    await connection.sendDescriptors([tcp.descriptor], encoder.encode('with'));
    connection.write(' after');
    await server.read(17);
    assert.equal(server.text, 'before with after');
    assert.ok(server.events.indexOf('passed:1') > server.events.indexOf('data:before '));
    assert.deepEqual(sockets.getsockname(server.descriptors[0]), sockets.getsockname(tcp.descriptor));
    rawClose(server.descriptors[0]);
    await assert.rejects(connection.sendDescriptors([tcp.descriptor], new Uint8Array(0)), RangeError);
    rawClose(tcp.descriptor);
    connection.end();
    await heard.heard('close');
    await assert.rejects(connection.sendDescriptors([0], encoder.encode('late')), { code: 'EPIPE' });
  });
});

eachEngine('an accepted connection passes descriptors to the client that asked for them', async () => {
  await withListener({}, async ({ server, path }) => {
    const heard = new PassingRecorder();
    const connection = connect({ path, descriptors: true }, heard);
    await connection.opening();
    await server.heard('open');
    await server.connection.sendDescriptors([server.connection.descriptor], encoder.encode('take'));
    await heard.read(4);
    assert.deepEqual(heard.events, ['open', 'passed:1', 'data:take']);
    assert.deepEqual(sockets.getsockname(heard.descriptors[0]), { family: 'unix', path });
    rawClose(heard.descriptors[0]);
    connection.end();
    await heard.heard('close');
    await server.heard('close');
  });
});

eachEngine('paused, descriptors and bytes wait and come in order; those never taken are closed', async () => {
  await withListener({ descriptors: true }, async ({ server, path }) => {
    const client = rawUnix(path);
    await server.heard('open');
    server.connection.pause();
    sendDescriptors(client, [client], encoder.encode('A'));
    rawSend(client, 'B');
    await turns(20);
    assert.deepEqual(server.events, ['open']);
    server.connection.resume();
    await server.read(2);
    assert.deepEqual(server.events, ['open', 'passed:1', 'data:A', 'data:B']);
    rawClose(server.descriptors[0]);
    sendDescriptors(client, [client], encoder.encode('C'));
    server.connection.pause();
    await turns(20);
    server.connection.destroy();
    await server.heard('close');
    rawClose(client);
  });
});

eachEngine('descriptors that a datagram brings are closed, unless the handler takes them', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-'));
  const receiver = await datagrams({ path: join(folder, 'receiver') });
  const sender = rawUnix(join(folder, 'receiver'), SOCK_DGRAM);
  const before = openDescriptors().size;
  for (let count = 0; count < 50; count++) {
    sendDescriptors(sender, [sender, sender], encoder.encode('x'));
    if (count % 5 === 4) await receiver.heard.got(count + 1);
  }
  assert.equal(openDescriptors().size, before);
  const taken: number[] = [];
  receiver.socket.handler = { passed: (_socket, descriptor) => void taken.push(descriptor) };
  sendDescriptors(sender, [sender, sender], encoder.encode('x'));
  await until(() => taken.length === 2);
  assert.deepEqual(sockets.getpeername(taken[0]), receiver.address);
  for (const descriptor of [...taken, sender]) rawClose(descriptor);
  await receiver.socket.close();
  rmSync(folder, { recursive: true });
});

eachEngine('a listener handed over by another connection serves its clients', async () => {
  await withListener({ descriptors: true }, async ({ server, path }) => {
    const client = rawUnix(path);
    const bound = rawBind();
    sendDescriptors(client, [bound.descriptor], encoder.encode('L'));
    rawClose(bound.descriptor);
    await until(() => server.descriptors.length === 1);
    const served = new Recorder();
    const adopted = adopt(server.descriptors[0], served);
    assert.ok(adopted.kind === 'listener');
    const visitor = rawConnect(bound.port);
    rawSend(visitor, `hello ${HOST}`);
    await served.read(6 + HOST.length);
    rawClose(visitor);
    rawClose(client);
    await served.heard('close');
    await adopted.listener.close();
  });
});
