/**
 * Adopting descriptors that somebody else made.
 */
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { AF_INET, SOCK_CLOEXEC, SOCK_DGRAM } from '../../src/kernel/constants.ts';
import { check } from '../../src/kernel/error.ts';
import * as sockets from '../../src/kernel/socket.ts';
import { adopt, connect, listen } from '../../src/net/index.ts';
import { eachEngine } from '../support/net.ts';
import { HOST, rawBind, rawClose, rawConnect, rawListen } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

eachEngine('a connected descriptor becomes a connection', async () => {
  const server = new Recorder();
  const listener = await listen({ host: HOST }, server);
  const client = new Recorder();
  const adopted = adopt(rawConnect(listener.port), client);
  assert.equal(adopted.kind, 'connection');
  assert.equal(client.count('open'), 1);
  client.connection.write('adopted');
  await server.read(7);
  server.connection.end('answer');
  await client.heard('close');
  assert.deepEqual(client.events, ['open', 'data:answer', 'end', 'close']);
  await listener.close();
});

for (const [what, make] of [
  ['listening', () => rawListen(16)],
  ['bound', () => rawBind()],
] as const) {
  eachEngine(`a ${what} descriptor becomes a listener`, async () => {
    const server = new Recorder();
    const { descriptor, port } = make();
    const adopted = adopt(descriptor, server);
    assert.ok(adopted.kind === 'listener');
    assert.equal(adopted.listener.port, port);
    const client = new Recorder();
    const connection = connect({ host: HOST, port }, client);
    connection.end('hello');
    await server.read(5);
    await client.heard('close');
    await adopted.listener.close();
    assert.throws(() => rawConnect(port), { code: 'ECONNREFUSED' });
  });
}

eachEngine('a descriptor is adopted once', async () => {
  const { descriptor, port } = rawListen(16);
  const adopted = adopt(descriptor, {});
  assert.throws(() => adopt(descriptor, {}), { code: 'EEXIST' });
  const client = rawConnect(port);
  rawClose(client);
  assert.ok(adopted.kind === 'listener');
  await adopted.listener.close();
});

eachEngine('what is no stream socket is refused by name and stays open', () => {
  assert.throws(() => adopt(987_654, {}), { code: 'EBADF' });
  assert.throws(() => adopt(-1, {}), { code: 'EBADF' });
  const file = openSync('/etc/hostname', 'r');
  assert.throws(() => adopt(file, {}), { code: 'ENOTSOCK' });
  closeSync(file);
  const datagram = check(sockets.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC), 'socket');
  assert.throws(() => adopt(datagram, {}), { code: 'EPROTOTYPE' });
  rawClose(datagram);
});
