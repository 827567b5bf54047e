/**
 * Datagram sockets: binding, messages and their sizes, connecting, closing, batches, and what is told of errors.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bindDatagrams, type KernelError } from '../../src/net/index.ts';
import { DatagramRecorder, datagrams, deadAddress, rawDatagrams, sending } from '../support/datagrams.ts';
import { eachEngine, idleCalls, openDescriptors, pattern, turns, until } from '../support/net.ts';
import { HOST, rawClose, rawSend } from '../support/pair.ts';

eachEngine('two sends leave from the one port that binding chose', async () => {
  const receiver = await datagrams();
  const sender = await datagrams();
  assert.notEqual(sender.socket.port, 0);
  sender.socket.send('one', receiver.address);
  sender.socket.send('two', receiver.address);
  await receiver.heard.got(2);
  assert.deepEqual(receiver.heard.texts, ['one', 'two']);
  assert.deepEqual(receiver.heard.senders, [sender.address, sender.address]);
  await sender.socket.close();
  await receiver.socket.close();
  assert.equal(sender.socket.address, null);
  assert.deepEqual(sender.heard.events, ['close']);
});

eachEngine('a bound port is refused by name, shared where both reuse it, and refusals leak nothing', async () => {
  const first = await datagrams();
  const port = first.socket.port;
  const before = openDescriptors().size;
  for (let attempt = 0; attempt < 20; attempt++) {
    await assert.rejects(bindDatagrams({ host: HOST, port }), {
      code: 'EADDRINUSE',
      syscall: 'bind',
      address: HOST,
      port,
    });
  }
  assert.equal(openDescriptors().size, before);
  await first.socket.close();
  const one = await datagrams({ reuseAddress: true });
  await assert.rejects(bindDatagrams({ host: HOST, port: one.socket.port }), { code: 'EADDRINUSE' });
  const two = await datagrams({ port: one.socket.port, reuseAddress: true });
  await one.socket.close();
  await two.socket.close();
});

eachEngine('an empty datagram is a message of length 0, and the next one arrives', async () => {
  const receiver = await datagrams();
  const sender = await datagrams();
  assert.equal(await sending(sender.socket, '', receiver.address), 'sent');
  await receiver.heard.got(1);
  assert.equal(await sending(sender.socket, 'next', receiver.address), 'sent');
  await receiver.heard.got(2);
  assert.deepEqual(receiver.heard.lengths, [0, 4]);
  assert.deepEqual(receiver.heard.senders[0], sender.address);
  assert.deepEqual(receiver.heard.errors, []);
  await sender.socket.close();
  await receiver.socket.close();
});

eachEngine(
  '65,507 bytes are sent; one byte more is EMSGSIZE with address and port, and the socket goes on',
  async () => {
    const receiver = await datagrams();
    const sender = await datagrams();
    assert.equal(await sending(sender.socket, pattern(65507), receiver.address), 'sent');
    await receiver.heard.got(1);
    const error = await new Promise<KernelError>((resolve) => {
      sender.socket.send(new Uint8Array(65508), receiver.address, (failure) => resolve(failure as KernelError));
    });
    const { code, address, port } = error;
    assert.deepEqual({ code, address, port }, { code: 'EMSGSIZE', address: HOST, port: receiver.socket.port });
    assert.equal(await sending(sender.socket, 'after', receiver.address), 'sent');
    await receiver.heard.got(2);
    assert.deepEqual(receiver.heard.lengths, [65507, 5]);
    await sender.socket.close();
    await receiver.socket.close();
  },
);

eachEngine('a datagram longer than any buffer is cut and marked, its length told, and the rest is gone', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-'));
  const receiver = await datagrams({ path: join(folder, 'receiver') });
  const sender = await datagrams({ path: join(folder, 'sender') });
  assert.equal(await sending(sender.socket, pattern(100_000), receiver.address), 'sent');
  assert.equal(await sending(sender.socket, 'whole', receiver.address), 'sent');
  await receiver.heard.got(2);
  assert.deepEqual(receiver.heard.lengths, [65536, 5]);
  assert.deepEqual(receiver.heard.truncated, [true, false]);
  assert.deepEqual(receiver.heard.wholes, [100_000, 5]);
  assert.deepEqual(receiver.heard.senders, [sender.address, sender.address]);
  await sender.socket.close();
  await receiver.socket.close();
  rmSync(folder, { recursive: true });
});

eachEngine('a dead port is reported once to a connected socket, which goes on, and never to another', async () => {
  const sender = await datagrams();
  const dead = deadAddress();
  sender.socket.connect(dead);
  assert.equal(await sending(sender.socket, 'lost'), 'sent');
  await until(() => sender.heard.errors.length > 0);
  await turns(20);
  assert.deepEqual(
    sender.heard.errors.map(({ code }) => code),
    ['ECONNREFUSED'],
  );
  assert.equal(sender.heard.errors[0].port, dead.family === 'ipv4' ? dead.port : 0);
  sender.socket.disconnect();
  const receiver = await datagrams();
  assert.equal(await sending(sender.socket, 'lost again', dead), 'sent');
  await turns(20);
  assert.equal(await sending(sender.socket, 'arrives', receiver.address), 'sent');
  await receiver.heard.got(1);
  receiver.socket.send('back', sender.address);
  await sender.heard.got(1);
  assert.equal(sender.heard.errors.length, 1);
  await sender.socket.close();
  await receiver.socket.close();
});

eachEngine('a burst to a dead port over a connected socket is reported', async () => {
  const sender = await datagrams({ segmentation: false });
  sender.socket.connect(deadAddress());
  const results = await Promise.all(['one', 'two', 'three'].map((payload) => sending(sender.socket, payload)));
  assert.deepEqual(results, ['sent', 'sent', 'sent']);
  await until(() => sender.heard.errors.length > 0);
  assert.ok(sender.heard.errors.every(({ code }) => code === 'ECONNREFUSED'));
  await sender.socket.close();
});

eachEngine('with an error queue each lost datagram is told with its destination and payload', async () => {
  const sender = await datagrams({ errorQueue: true });
  const [one, two] = [deadAddress(), deadAddress()];
  sender.socket.send('first', one);
  await until(() => sender.heard.reports.length === 1);
  sender.socket.send('second', two);
  await until(() => sender.heard.reports.length === 2);
  const told = sender.heard.reports.map(({ error, destination, payload }) => [
    error.code,
    destination,
    new TextDecoder().decode(payload),
  ]);
  assert.deepEqual(told, [
    ['ECONNREFUSED', one, 'first'],
    ['ECONNREFUSED', two, 'second'],
  ]);
  assert.equal(sender.heard.reports[0].offender?.family, 'ipv4');
  const receiver = await datagrams();
  sender.socket.send('third', receiver.address);
  await receiver.heard.got(1);
  assert.deepEqual(sender.heard.errors, []);
  await sender.socket.close();
  await receiver.socket.close();
});

eachEngine('every datagram of a burst to a dead port is told of, and the loop is not kept busy', async (engine) => {
  const sender = await datagrams({ errorQueue: true });
  const dead = deadAddress();
  for (let count = 0; count < 50; count++) sender.socket.send(`lost ${count}`, dead);
  await until(() => sender.heard.reports.length > 0);
  await turns(20);
  assert.ok((await idleCalls(engine)) <= 10);
  await sender.socket.close();
});

eachEngine('an ICMP error without any handler, or with one that closes, neither crashes nor spins', async (engine) => {
  const deaf = await bindDatagrams({ host: HOST, errorQueue: true }, {});
  const closing = await bindDatagrams(
    { host: HOST, errorQueue: true },
    { undelivered: (socket) => void socket.close() },
  );
  const dead = deadAddress();
  deaf.send('lost', dead);
  for (let count = 0; count < 3; count++) closing.send('lost', dead);
  await until(() => closing.address === null);
  await turns(20);
  assert.ok((await idleCalls(engine)) <= 10);
  await deaf.close();
  await closing.close();
});

eachEngine('a connected socket takes no address, a second connect or disconnect is refused by name', async () => {
  const receiver = await datagrams();
  const sender = await datagrams();
  assert.throws(() => sender.socket.disconnect(), { code: 'ENOTCONN' });
  assert.equal(await sending(sender.socket, 'nowhere'), 'EDESTADDRREQ');
  sender.socket.connect(receiver.address);
  assert.deepEqual(sender.socket.remoteAddress, receiver.address);
  assert.equal(await sending(sender.socket, 'with address', receiver.address), 'EISCONN');
  assert.throws(() => sender.socket.connect(receiver.address), { code: 'EISCONN' });
  assert.equal(await sending(sender.socket, 'without'), 'sent');
  await receiver.heard.got(1);
  assert.deepEqual(receiver.heard.texts, ['without']);
  sender.socket.disconnect();
  assert.equal(sender.socket.remoteAddress, null);
  assert.equal(await sending(sender.socket, 'nowhere'), 'EDESTADDRREQ');
  assert.throws(() => sender.socket.disconnect(), { code: 'ENOTCONN' });
  await sender.socket.close();
  await receiver.socket.close();
});

eachEngine('what had arrived before connect is delivered, later only what the peer sends', async () => {
  const receiver = await datagrams();
  const stranger = rawDatagrams(receiver.address);
  const peer = rawDatagrams(receiver.address);
  rawSend(stranger.descriptor, 'before');
  receiver.socket.connect(peer.address);
  rawSend(stranger.descriptor, 'filtered');
  rawSend(peer.descriptor, 'from the peer');
  await receiver.heard.got(2);
  await turns();
  assert.deepEqual(receiver.heard.texts, ['before', 'from the peer']);
  assert.deepEqual(receiver.heard.senders, [stranger.address, peer.address]);
  rawClose(stranger.descriptor);
  rawClose(peer.descriptor);
  await receiver.socket.close();
});

eachEngine('40 datagrams that are ready together have their own senders and few ends of a batch', async () => {
  const receiver = await datagrams();
  const senders = Array.from({ length: 40 }, () => rawDatagrams(receiver.address));
  for (const [index, { descriptor }] of senders.entries()) rawSend(descriptor, String(1000 + index));
  await receiver.heard.got(40);
  await until(() => receiver.heard.events.at(-1) === 'drained');
  assert.deepEqual(
    receiver.heard.senders,
    senders.map(({ address }) => address),
  );
  assert.deepEqual(
    receiver.heard.texts,
    senders.map((_, index) => String(1000 + index)),
  );
  assert.equal(
    receiver.heard.batches.reduce((sum, count) => sum + count, 0),
    40,
  );
  assert.ok(receiver.heard.batches.length <= 4, `${receiver.heard.batches.length} batches`);
  for (const { descriptor } of senders) rawClose(descriptor);
  await receiver.socket.close();
});

eachEngine('of a batch only the datagram that is too large fails', async () => {
  const receiver = await datagrams();
  const sender = await datagrams();
  const results = await Promise.all(
    ['one', 'two', new Uint8Array(66_000), 'four'].map((payload) => sending(sender.socket, payload, receiver.address)),
  );
  assert.deepEqual(results, ['sent', 'sent', 'EMSGSIZE', 'sent']);
  await receiver.heard.got(3);
  assert.deepEqual(receiver.heard.texts, ['one', 'two', 'four']);
  assert.deepEqual(sender.heard.errors, []);
  await sender.socket.close();
  await receiver.socket.close();
});

eachEngine('binding that is aborted binds nothing; closing tells each send once and nothing else', async () => {
  const controller = new AbortController();
  const binding = bindDatagrams({ host: 'localhost', signal: controller.signal }, new DatagramRecorder());
  controller.abort();
  await assert.rejects(binding, { name: 'AbortError' });

  const receiver = await datagrams();
  const sender = await datagrams();
  const told: (string | null)[] = [];
  const note = (error: Error | null): void => void told.push(error === null ? null : (error as KernelError).code);
  for (let count = 0; count < 3; count++) sender.socket.send('accepted', receiver.address, note);
  const raw = rawDatagrams(sender.address);
  rawSend(raw.descriptor, 'too late');
  const closing = sender.socket.close();
  assert.equal(sender.socket.send('after', receiver.address, note), false);
  await closing;
  await until(() => told.length === 4);
  await turns();
  assert.deepEqual(told.toSorted(), ['EBADF', null, null, null]);
  assert.deepEqual(sender.heard.events, ['close']);
  await receiver.heard.got(3);
  rawClose(raw.descriptor);
  await receiver.socket.close();
});

eachEngine('what a small buffer cannot hold is dropped by the kernel and counted', async () => {
  const receiver = await datagrams({ receiveBufferBytes: 4096 });
  const raw = rawDatagrams(receiver.address);
  for (let count = 0; count < 100; count++) rawSend(raw.descriptor, 'x'.repeat(500));
  await receiver.heard.got(1);
  await turns();
  const received = receiver.heard.lengths.length;
  assert.ok(received >= 4 && received <= 12, `${received} arrived`);
  assert.equal(received + receiver.socket.drops, 100);
  assert.deepEqual(receiver.heard.errors, []);
  rawClose(raw.descriptor);
  await receiver.socket.close();
});

eachEngine('hops outside their range are refused, and broadcast needs leave', async () => {
  const { socket } = await datagrams();
  for (const hops of [1, 255]) socket.setTtl(hops);
  for (const hops of [0, 255]) socket.setMulticastTtl(hops);
  for (const hops of [-1, 0, 256, 1.5]) assert.throws(() => socket.setTtl(hops), { code: 'EINVAL' }, `ttl ${hops}`);
  for (const hops of [-1, 256]) assert.throws(() => socket.setMulticastTtl(hops), { code: 'EINVAL' });
  await assert.rejects(bindDatagrams({ host: HOST, ttl: -1 }), { code: 'EINVAL', message: /ttl = -1.*1 to 255/ });
  const broadcast = { family: 'ipv4', address: '127.255.255.255', port: socket.port } as const;
  assert.equal(await sending(socket, 'refused', broadcast), 'EACCES');
  socket.setBroadcast(true);
  assert.equal(await sending(socket, 'allowed', broadcast), 'sent');
  await socket.close();
});

eachEngine('a member of a multicast group hears what is sent to it until it leaves', async () => {
  const member = await datagrams({ host: '0.0.0.0', multicast: { join: ['239.77.0.1'], interface: 'lo', ttl: 0 } });
  const to = { family: 'ipv4', address: '239.77.0.1', port: member.socket.port } as const;
  assert.equal(await sending(member.socket, 'to all', to), 'sent');
  await member.heard.got(1);
  member.socket.leave('239.77.0.1', 'lo');
  assert.equal(await sending(member.socket, 'to others', to), 'sent');
  await turns(20);
  assert.deepEqual(member.heard.texts, ['to all']);
  assert.throws(() => member.socket.leave('239.77.0.1', 'lo'), { code: 'EADDRNOTAVAIL' });
  await member.socket.close();
});

eachEngine('the form without objects echoes to whoever sent', async () => {
  const server = await bindDatagrams(
    { host: HOST },
    {
      receive(socket, memory, start, end, nameStart, nameEnd) {
        socket.sendFrom(memory, start, end, nameStart, nameEnd);
      },
    },
  );
  const clients = [await datagrams(), await datagrams()];
  for (const [index, { socket }] of clients.entries()) socket.send(`client ${index}`, server.address);
  clients[0].socket.send(pattern(1000), server.address);
  await clients[0].heard.got(2);
  await clients[1].heard.got(1);
  assert.deepEqual(clients[0].heard.lengths, [8, 1000]);
  assert.deepEqual(clients[1].heard.texts, ['client 1']);
  for (const { socket } of clients) await socket.close();
  await server.close();
});

eachEngine('a payload in parts is one datagram, and what was given may be reused at once', async () => {
  const receiver = await datagrams();
  const sender = await datagrams();
  const bytes = new TextEncoder().encode('part');
  const parts: (Uint8Array | string)[] = ['one ', bytes];
  sender.socket.send(parts, receiver.address);
  bytes.fill(0);
  parts.length = 0;
  await receiver.heard.got(1);
  assert.deepEqual(receiver.heard.texts, ['one part']);
  assert.throws(() => sender.socket.send(7 as unknown as string, receiver.address), TypeError);
  assert.throws(() => sender.socket.send('x', { family: 'ipv4', address: HOST, port: 65536 }), RangeError);
  await sender.socket.close();
  await receiver.socket.close();
});

eachEngine('a queue above its bound refuses by name, and room is told once', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-'));
  const receiver = await datagrams({ path: join(folder, 'receiver') });
  const sender = await datagrams({ path: join(folder, 'sender'), highWaterBytes: 4096, queueBytesMax: 8192 });
  // Nobody reads within this turn: a Unix receiver's queue (net.unix.max_dgram_qlen) fills up, and then ours.
  const results: Promise<string>[] = [];
  let refusals = 0;
  for (let count = 0; count < 2000; count++) {
    results.push(sending(sender.socket, `message ${count}`, receiver.address));
    if (sender.socket.bytesQueued > 4096) refusals++;
  }
  assert.ok(refusals > 0);
  const settled = await Promise.all(results);
  const sent = settled.filter((result) => result === 'sent').length;
  assert.ok(sent > 0 && sent < 2000, `${sent} sent`);
  assert.equal(settled.filter((result) => result === 'ENOBUFS').length, 2000 - sent);
  await receiver.heard.got(sent);
  await until(() => sender.heard.events.includes('drain'));
  assert.deepEqual(sender.heard.events, ['drain']);
  assert.equal(receiver.heard.texts[0], 'message 0');
  await sender.socket.close();
  await receiver.socket.close();
  rmSync(folder, { recursive: true });
});

for (const connected of [true, false]) {
  const what = connected ? 'connected' : 'unconnected';
  eachEngine(`a full Unix receiver is waited for by ${what} senders, and nothing is lost or out of order`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-'));
    const receiver = await datagrams({ path: join(folder, 'receiver') });
    const sender = await datagrams({ path: join(folder, 'sender') });
    if (connected) sender.socket.connect(receiver.address);
    const to = connected ? undefined : receiver.address;
    const results = Array.from({ length: 200 }, (_, index) => sending(sender.socket, `message ${index}`, to));
    assert.deepEqual(new Set(await Promise.all(results)), new Set(['sent']));
    await receiver.heard.got(200);
    assert.deepEqual(
      receiver.heard.texts,
      Array.from({ length: 200 }, (_, index) => `message ${index}`),
    );
    await sender.socket.close();
    await receiver.socket.close();
    rmSync(folder, { recursive: true });
  });
}

eachEngine('a burst above every batch leaves in one turn, each datagram told of in order', async () => {
  const receiver = await datagrams({ receiveBufferBytes: 4 << 20 });
  const sender = await datagrams({ segmentation: false });
  const told: number[] = [];
  for (let index = 0; index < 2500; index++) {
    sender.socket.send(`datagram ${index}`, receiver.address, (error) => void told.push(error === null ? index : -1));
  }
  assert.deepEqual(told, [], 'nothing is told within the call');
  await until(() => told.length === 2500);
  assert.deepEqual(
    told,
    Array.from({ length: 2500 }, (_, index) => index),
  );
  await receiver.heard.got(2500);
  assert.equal(receiver.socket.drops, 0);
  assert.equal(receiver.heard.texts[2499], 'datagram 2499');
  assert.equal(sender.socket.messagesSent, 2500);
  await sender.socket.close();
  await receiver.socket.close();
});
