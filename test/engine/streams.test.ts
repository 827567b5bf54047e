/**
 * Streams on the engines themselves: receiving, sending, pausing, closing, connecting and accepting, driven turn by turn.
 */
import assert from 'node:assert/strict';
import { closeSync, openSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { RECEIVED_KEEP } from '../../src/engine/engine.ts';
import { encodeAddress } from '../../src/kernel/address.ts';
import { AF_INET, POLLIN, SOCK_CLOEXEC, SOCK_STREAM } from '../../src/kernel/constants.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import { check } from '../../src/kernel/error.ts';
import { closeDescriptor, socket } from '../../src/kernel/socket.ts';
import { addressOf, call, SYS } from '../../src/kernel/syscall.ts';
import * as support from '../support/engines.ts';

const { blockOf, drive, eachEngine, Heard, idle, listening, read, reset, tcpPair, unixPair, write } = support;
const readiness = ['epoll', 'epoll-level', 'poll', 'select'] as const;

function connectTo(engine: Parameters<typeof drive>[0], port: number): InstanceType<typeof Heard> {
  const address = new Uint8Array(new ArrayBuffer(128));
  const length = encodeAddress({ family: 'ipv4', address: '127.0.0.1', port }, address, 0);
  const descriptor = check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC), 'socket');
  const client = new Heard(engine).attach(descriptor);
  engine.connect(client.handle, addressOf(address), length);
  assert.deepEqual(client.events, [], 'nothing may be told from within the call');
  drive(engine, () => client.events.length > 0);
  return client;
}

for (const [kind, pair] of [
  ['TCP', tcpPair],
  ['Unix', () => unixPair()],
] as const) {
  eachEngine(`data and the end that came in one event arrive in this order (${kind})`, (engine) => {
    const [ours, theirs] = pair();
    write(theirs, 'bye');
    closeDescriptor(theirs);
    const heard = new Heard(engine).attach(ours);
    engine.receiveStart(heard.handle);
    drive(engine, () => heard.has('end:0'));
    assert.deepEqual(heard.events, ['data:bye', 'end:0']);
  });

  eachEngine(
    `what is larger than a block arrives whole and in order (${kind})`,
    (engine) => {
      const [ours, theirs] = pair();
      const text = Array.from({ length: 20_000 }, (_, index) => String(index % 10)).join('');
      assert.equal(write(theirs, text), text.length);
      const heard = new Heard(engine).attach(ours);
      engine.receiveStart(heard.handle);
      drive(engine, () => heard.text.length === text.length);
      assert.equal(heard.text, text);
      closeDescriptor(theirs);
    },
    { blockSize: 1024, blocks: 64 },
  );

  eachEngine(`data that came while receiving was stopped is told at once after the start (${kind})`, (engine) => {
    const [ours, theirs] = pair();
    const heard = new Heard(engine).attach(ours);
    engine.receiveStart(heard.handle);
    write(theirs, 'one');
    drive(engine, () => heard.text === 'one');
    engine.receiveStop(heard.handle);
    engine.turn(0);
    write(theirs, 'two');
    idle(engine);
    assert.equal(heard.text, 'one');
    engine.receiveStart(heard.handle);
    drive(engine, () => heard.text === 'onetwo');
    closeDescriptor(theirs);
  });
}

eachEngine('a callback that stops another socket whose bytes are in hand loses none of them', (engine) => {
  const pairs = [tcpPair(), tcpPair()];
  const heard = pairs.map(([ours]) => new Heard(engine).attach(ours));
  heard[0].onReceived = () => engine.receiveStop(heard[1].handle);
  heard[1].onReceived = () => engine.receiveStop(heard[0].handle);
  for (const [, theirs] of pairs) write(theirs, 'x');
  for (const { handle } of heard) engine.receiveStart(handle);
  drive(engine, () => heard[0].text + heard[1].text !== '');
  idle(engine);
  assert.equal(heard[0].text + heard[1].text, 'x', 'the stopped one heard nothing');
  const stopped = heard[0].text === '' ? heard[0] : heard[1];
  write(pairs[heard.indexOf(stopped)][1], 'y');
  engine.receiveStart(stopped.handle);
  drive(engine, () => stopped.text === 'xy');
  for (const [, theirs] of pairs) closeDescriptor(theirs);
});

eachEngine('an event of a closed socket does not reach the new owner of its number and slot', (engine) => {
  const pairs = [tcpPair(), tcpPair()];
  const heard = pairs.map(([ours]) => new Heard(engine).attach(ours));
  const fresh = new Heard(engine);
  let peer = -1;
  const replace = (other: number) => () => {
    if (fresh.handle >= 0) return;
    const number = pairs[other][0];
    engine.close(heard[other].handle);
    heard[other].onClosed = () => {
      const [ours, theirs] = unixPair();
      peer = theirs;
      // The lowest free number is what a new descriptor gets, so it is moved to the one that was closed.
      assert.equal(call(33, ours, number), number);
      closeDescriptor(ours);
      engine.receiveStart(fresh.attach(number).handle);
    };
  };
  heard[0].onReceived = replace(1);
  heard[1].onReceived = replace(0);
  for (const [, theirs] of pairs) write(theirs, 'stale');
  for (const { handle } of heard) engine.receiveStart(handle);
  drive(engine, () => fresh.handle >= 0);
  idle(engine);
  assert.deepEqual(fresh.events, []);
  write(peer, 'new');
  drive(engine, () => fresh.text === 'new');
  assert.equal(heard.filter(({ text }) => text === 'stale').length, 1);
  closeDescriptor(peer);
  for (const [, theirs] of pairs) closeDescriptor(theirs);
});

eachEngine('ends of sockets closed in one turn are told in the order of closing, after its data', (engine) => {
  const order: string[] = [];
  const pairs = [tcpPair(), tcpPair(), tcpPair()];
  const heard = pairs.map(([ours], index) => {
    const one = new Heard(engine).attach(ours);
    one.onClosed = () => order.push(`closed ${index}`);
    return one;
  });
  heard[2].onReceived = () => {
    for (const index of [1, 2, 0]) engine.close(heard[index].handle);
    engine.close(heard[1].handle);
    order.push('data');
  };
  engine.receiveStart(heard[2].handle);
  write(pairs[2][1], 'go');
  drive(engine, () => order.length === 4);
  assert.deepEqual(order, ['data', 'closed 1', 'closed 2', 'closed 0']);
  assert.equal(engine.handles, 0);
  for (const [ours, theirs] of pairs) {
    assert.ok(!support.isOpen(ours));
    closeDescriptor(theirs);
  }
});

eachEngine('a full send buffer takes what fits, and the rest once the peer reads', (engine) => {
  const [ours, theirs] = tcpPair();
  support.shrinkBuffers(ours, 8192);
  support.shrinkBuffers(theirs, 8192);
  const heard = new Heard(engine).attach(ours);
  const bytes = new Uint8Array(new ArrayBuffer(4 << 20)).fill(97);
  const address = addressOf(bytes);
  let sent = 0;
  heard.onSent = (result) => {
    assert.ok(result > 0, `sent ${result}`);
    sent += result;
    if (sent < bytes.length) engine.send(heard.handle, address + sent, bytes.length - sent);
  };
  engine.send(heard.handle, address, bytes.length);
  assert.equal(heard.events.length, 0, 'nothing may be told from within the call');
  let received = 0;
  drive(engine, () => {
    for (let chunk = read(theirs, 1 << 20); typeof chunk === 'string'; chunk = read(theirs, 1 << 20))
      received += chunk.length;
    return received === bytes.length;
  });
  drive(engine, () => sent === bytes.length);
  closeDescriptor(theirs);
});

eachEngine('a vector of buffers and a part of a file are sent in order', (engine) => {
  const [ours, theirs] = tcpPair();
  const heard = new Heard(engine).attach(ours);
  const block = blockOf(engine, 'head:body');
  const vector = new BigUint64Array(new ArrayBuffer(64));
  vector.set([BigInt(engine.memoryAddress + block), 5n, BigInt(engine.memoryAddress + block + 5), 4n]);
  engine.sendVector(heard.handle, addressOf(vector), 2);
  drive(engine, () => heard.has('sent:9'));
  const path = join(tmpdir(), `millrace-${process.pid}-${engine.name}`);
  writeFileSync(path, '0123456789');
  const file = openSync(path, 'r');
  engine.sendFile(heard.handle, file, 3, 4, false);
  drive(engine, () => heard.has('sent:4'));
  engine.sendFile(heard.handle, file, 10, 4, false);
  drive(engine, () => heard.has('sent:0'));
  assert.equal(read(theirs, 100), 'head:body3456');
  closeSync(file);
  unlinkSync(path);
  engine.releaseBlock(block);
  closeDescriptor(theirs);
});

eachEngine('sending to a peer that is gone gives EPIPE or ECONNRESET and no signal', (engine) => {
  const [ours, theirs] = tcpPair();
  const heard = new Heard(engine).attach(ours);
  reset(theirs);
  const block = blockOf(engine, 'x');
  engine.send(heard.handle, engine.memoryAddress + block, 1);
  engine.hurry();
  drive(engine, () => heard.events.length > 0);
  assert.ok(heard.has(`sent:${-ERRNO.EPIPE}`) || heard.has(`sent:${-ERRNO.ECONNRESET}`), heard.events.join());
});

eachEngine('a connect is told once: 0 for a listener, ECONNREFUSED for none', (engine) => {
  const { descriptor, port } = listening();
  const listener = new Heard(engine).attach(descriptor);
  engine.acceptStart(listener.handle);
  const client = connectTo(engine, port);
  drive(engine, () => listener.descriptors.length === 1);
  assert.deepEqual(client.events, ['connected:0']);
  engine.close(listener.handle);
  drive(engine, () => listener.has('closed'));
  const refused = connectTo(engine, port);
  idle(engine);
  assert.deepEqual(refused.events, [`connected:${-ERRNO.ECONNREFUSED}`]);
  closeDescriptor(listener.descriptors[0]);
});

eachEngine('an unconnected socket that hangs up by nature says nothing and does not keep the engine busy', (engine) => {
  const descriptor = check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC), 'socket');
  const heard = new Heard(engine).attach(descriptor);
  idle(engine);
  const { waits } = engine.statistics;
  idle(engine);
  assert.ok(engine.statistics.waits - waits < 10, `${engine.statistics.waits - waits} waits`);
  assert.deepEqual(heard.events, []);
  const { descriptor: server, port } = listening();
  const address = new Uint8Array(new ArrayBuffer(128));
  const length = encodeAddress({ family: 'ipv4', address: '127.0.0.1', port }, address, 0);
  engine.connect(heard.handle, addressOf(address), length);
  drive(engine, () => heard.has('connected:0'));
  assert.deepEqual(heard.events, ['connected:0']);
  closeDescriptor(server);
});

eachEngine('a hundred clients that wait are all accepted without a further one', (engine) => {
  const { descriptor, port } = listening();
  const clients = Array.from({ length: 100 }, () => {
    const client = check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC), 'socket');
    const address = new Uint8Array(new ArrayBuffer(128));
    const length = encodeAddress({ family: 'ipv4', address: '127.0.0.1', port }, address, 0);
    check(call(SYS.connect, client, addressOf(address), length), 'connect');
    return client;
  });
  const listener = new Heard(engine).attach(descriptor);
  engine.acceptStart(listener.handle);
  drive(engine, () => listener.descriptors.length === 100);
  for (const one of [...clients, ...listener.descriptors]) closeDescriptor(one);
});

eachEngine('a poll tells once what is ready', (engine) => {
  const [ours, theirs] = unixPair();
  const heard = new Heard(engine).attach(ours);
  engine.poll(heard.handle, POLLIN);
  idle(engine, 20);
  assert.deepEqual(heard.events, []);
  write(theirs, 'x');
  drive(engine, () => heard.events.length > 0);
  idle(engine, 20);
  assert.deepEqual(heard.events, [`polled:${POLLIN}`]);
  // Readiness that is there already counts too.
  engine.poll(heard.handle, POLLIN);
  drive(engine, () => heard.events.length === 2);
  closeDescriptor(theirs);
});

eachEngine(
  'an empty block pool stops receiving, is counted, and ends when a block comes back',
  (engine) => {
    const taken: number[] = [];
    for (let block = engine.takeBlock(); block >= 0; block = engine.takeBlock()) taken.push(block);
    const [ours, theirs] = tcpPair();
    const heard = new Heard(engine).attach(ours);
    heard.answer = RECEIVED_KEEP;
    let kept = 0;
    heard.onReceived = () => kept++;
    engine.receiveStart(heard.handle);
    const text = 'abcdefgh'.repeat(4096);
    assert.equal(write(theirs, text), text.length);
    drive(engine, () => engine.statistics.blocksExhausted > 0);
    idle(engine);
    const { waits } = engine.statistics;
    idle(engine, 40);
    assert.ok(engine.statistics.waits - waits < 10, 'it does not spin');
    const before = heard.text.length;
    engine.releaseBlock(taken.pop()!);
    drive(engine, () => heard.text.length > before);
    heard.answer = 0;
    for (const block of taken.splice(0)) engine.releaseBlock(block);
    drive(engine, () => heard.text.length === text.length);
    assert.equal(heard.text, text);
    assert.ok(kept > 0);
    closeDescriptor(theirs);
  },
  { blockSize: 1024, blocks: 16 },
);

eachEngine('a closed handle gives its descriptor back open when asked to', (engine) => {
  const [ours, theirs] = unixPair();
  const heard = new Heard(engine).attach(ours);
  engine.receiveStart(heard.handle);
  engine.turn(0);
  engine.close(heard.handle, true);
  drive(engine, () => heard.has('closed'));
  assert.equal(write(ours, 'still'), 5);
  assert.equal(read(theirs, 10), 'still');
  closeDescriptor(ours);
  closeDescriptor(theirs);
});

// io_uring waits for anything, files included, and takes a descriptor as often as it is given.
eachEngine(
  'a file and a descriptor that it has already are refused by name',
  (engine) => {
    const file = openSync(import.meta.filename, 'r');
    assert.equal(engine.attach(file, new Heard(engine)), -ERRNO.EPERM);
    closeSync(file);
    assert.equal(engine.attach(file, new Heard(engine)), -ERRNO.EBADF);
    const [ours, theirs] = unixPair();
    new Heard(engine).attach(ours);
    assert.equal(engine.attach(ours, new Heard(engine)), -ERRNO.EEXIST);
    assert.equal(engine.handles, 1);
    closeDescriptor(theirs);
  },
  { only: readiness },
);

test('the table of engines names each mechanism once', () => {
  assert.equal(new Set(support.engines.map(({ name }) => name)).size, 5);
});
