/**
 * Closing while something is under way: FINs that must not wait, clients that must be refused, slots that must not be reused too
 * early, and ending with everything open.
 */
import assert from 'node:assert/strict';
import { type Engine, RECEIVED_DONE } from '../../src/engine/engine.ts';
import { AF_INET, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from '../../src/kernel/constants.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import { check } from '../../src/kernel/error.ts';
import * as raw from '../../src/kernel/socket.ts';
import { call, SYS } from '../../src/kernel/syscall.ts';
import { byHand, drive, expectSoon, finish, SinkRecorder, settle, socketPair } from '../support/by-hand.ts';
import { openDescriptors } from '../support/net.ts';
import { HOST, rawClose, rawConnect, rawListen, rawReceive, rawSend, runChild } from '../support/pair.ts';

const POLLHUP = 16;
const F_SETFL = 4;
const MSG_DONTWAIT = 0x40;

function receiving(engine: Engine): { readonly sink: SinkRecorder; readonly own: number; readonly peer: number } {
  const [own, peer] = socketPair();
  const sink = new SinkRecorder(engine, own);
  engine.receiveStart(sink.handle);
  return { sink, own, peer };
}

byHand('closing a socket that receives sends the FIN at once', (engine) => {
  const listening = rawListen(8);
  const peer = rawConnect(listening.port);
  const own = check(call(SYS.accept4, listening.descriptor, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK), 'accept4');
  const sink = new SinkRecorder(engine, own);
  engine.receiveStart(sink.handle);
  settle(engine);
  engine.close(sink.handle);
  engine.turn(0);
  engine.turn(0);
  assert.equal(rawReceive(peer, 10, MSG_DONTWAIT), '');
  expectSoon(engine, () => sink.handle < 0);
  rawSend(peer, 'nobody');
  assert.equal(sink.bytes, 0);
  rawClose(peer);
  rawClose(listening.descriptor);
});

byHand('closing a listener that accepts refuses clients', (engine) => {
  const listening = rawListen(8);
  check(call(SYS.fcntl, listening.descriptor, F_SETFL, SOCK_NONBLOCK), 'fcntl');
  const sink = new SinkRecorder(engine, listening.descriptor);
  engine.acceptStart(sink.handle);
  settle(engine);
  finish(engine, sink);
  const client = check(raw.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC), 'socket');
  const result = raw.connect(client, { family: 'ipv4', address: HOST, port: listening.port });
  assert.equal(result, -ERRNO.ECONNREFUSED);
  rawClose(client);
});

byHand('a slot is not reused before its last word, and its memory is whole until then', (engine) => {
  const { sink, own, peer } = receiving(engine);
  const block = engine.takeBlock();
  while (rawSend(own, 'x'.repeat(4096), MSG_DONTWAIT) > 0);
  engine.send(sink.handle, engine.memoryAddress + block, 1000);
  settle(engine);
  const handle = sink.handle;
  engine.close(handle);
  rawSend(peer, 'late');
  const others = Array.from({ length: 3 }, () => receiving(engine));
  assert.ok(others.every((other) => other.sink.handle !== handle));
  expectSoon(engine, () => sink.handle < 0);
  const next = receiving(engine);
  assert.equal(next.sink.handle, handle);
  while (typeof rawReceive(peer, 65536, MSG_DONTWAIT) === 'string' && rawReceive(peer, 65536, MSG_DONTWAIT) !== '');
  settle(engine);
  assert.deepEqual(next.sink.events, []);
  rawSend(next.peer, 'mine');
  expectSoon(engine, () => next.sink.text === 'mine');
  assert.deepEqual(sink.events, ['closed']);
  finish(engine, next.sink, ...others.map((other) => other.sink));
  engine.releaseBlock(block);
  for (const descriptor of [peer, next.peer, ...others.map((other) => other.peer)]) rawClose(descriptor);
});

byHand('ten thousand starts and stops leave one receive, which gives each byte once', (engine) => {
  const { sink, peer } = receiving(engine);
  let sent = 0;
  for (let round = 0; round < 10_000; round++) {
    engine.receiveStop(sink.handle);
    engine.receiveStart(sink.handle);
    if (round % 10 === 0) engine.turn(0);
    if (round % 100 === 0) {
      rawSend(peer, String(sent % 10));
      sent++;
    }
  }
  expectSoon(engine, () => sink.bytes === sent);
  settle(engine);
  assert.equal(sink.text, '0123456789'.repeat(10));
  rawSend(peer, '!');
  expectSoon(engine, () => sink.bytes === sent + 1);
  assert.deepEqual(sink.events, ['received']);
  finish(engine, sink);
  rawClose(peer);
});

byHand('a client that is accepted while the listener closes is delivered or closed, 200 times', (engine) => {
  const before = openDescriptors().size;
  for (let round = 0; round < 200; round++) {
    const listening = rawListen(8);
    check(call(SYS.fcntl, listening.descriptor, F_SETFL, SOCK_NONBLOCK), 'fcntl');
    const sink = new SinkRecorder(engine, listening.descriptor);
    engine.acceptStart(sink.handle);
    if (round % 2 === 0) engine.turn(0);
    const client = rawConnect(listening.port);
    if (round % 3 === 0) engine.turn(0);
    finish(engine, sink);
    for (const descriptor of [client, ...sink.descriptors]) rawClose(descriptor);
  }
  assert.equal(openDescriptors().size, before);
});

byHand('all that is under way on a socket ends with it, in one word', (engine) => {
  const { sink, own, peer } = receiving(engine);
  const other = receiving(engine);
  const block = engine.takeBlock();
  while (rawSend(own, 'x'.repeat(4096), MSG_DONTWAIT) > 0);
  engine.send(sink.handle, engine.memoryAddress + block, 1000);
  engine.poll(sink.handle, POLLHUP);
  engine.messagesStart(other.sink.handle);
  settle(engine);
  engine.close(sink.handle);
  engine.close(sink.handle);
  expectSoon(engine, () => sink.handle < 0);
  settle(engine);
  assert.deepEqual(sink.events, ['closed']);
  assert.deepEqual(other.sink.events, []);
  finish(engine, other.sink);
  engine.releaseBlock(block);
  rawClose(peer);
  rawClose(other.peer);
});

byHand(
  '2,500 sockets with bytes waiting, closed in one callback, are each told closed once and nothing else',
  (engine) => {
    const all: Closer[] = [];
    class Closer extends SinkRecorder {
      override received(start: number, end: number): number {
        super.received(start, end);
        for (const sink of all) if (sink.handle >= 0) engine.close(sink.handle);
        return RECEIVED_DONE;
      }
    }
    const peers = Array.from({ length: 2500 }, () => {
      const [own, peer] = socketPair();
      all.push(new Closer(engine, own));
      return peer;
    });
    for (const sink of all) engine.receiveStart(sink.handle);
    settle(engine);
    for (const peer of peers) rawSend(peer, 'x');
    expectSoon(engine, () => all.every((sink) => sink.handle < 0));
    settle(engine);
    assert.equal(all.filter((sink) => sink.events.includes('received')).length, 1);
    assert.ok(all.every((sink) => sink.events.filter((event) => event === 'closed').length === 1));
    assert.ok(all.every((sink) => sink.events.at(-1) === 'closed'));
    for (const peer of peers) rawClose(peer);
  },
);

byHand('a disposal with a thousand receives pending takes less than a second', (engine) => {
  const support = new URL('../support/by-hand.ts', import.meta.url).href;
  assert.ok(engine.handles === 0);
  return runChild(
    `const { SinkRecorder, socketPair, makeEngine } = await import(${JSON.stringify(support)});
     for (const disposes of [true, false]) {
       const engine = makeEngine('${engine.name}');
       for (let count = 0; count < 1000; count++) engine.receiveStart(new SinkRecorder(engine, socketPair()[0]).handle);
       engine.turn(0);
       const sinceMs = performance.now();
       if (disposes) engine.dispose();
       else process.on('exit', () => console.log('exit'));
       if (performance.now() - sinceMs < 1000) console.log('in time');
     }`,
  ).then((result) => {
    assert.equal(result.output.trim().replaceAll('\n', ', '), 'in time, in time, exit', result.errors);
    assert.equal(result.code, 0);
  });
});

byHand('what is not read any more goes with the socket: the peer of a closed socket cannot fill it', (engine) => {
  const { sink, peer } = receiving(engine);
  settle(engine);
  finish(engine, sink);
  assert.equal(rawSend(peer, 'x', 0x4000), -ERRNO.EPIPE);
  assert.ok(drive(engine, () => engine.handles === 0, 10));
  rawClose(peer);
});
