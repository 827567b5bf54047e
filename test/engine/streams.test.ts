/**
 * Streams and datagrams on the engines themselves, turned by hand: what is in hand when a callback pauses or closes, sends of
 * every kind, connects, accepts and running out of blocks. Sets of descriptors are `readiness.test.ts`.
 */
import assert from 'node:assert/strict';
import { closeSync, openSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Engine, RECEIVED_DONE, RECEIVED_KEEP, type Sink } from '../../src/engine/engine.ts';
import { encodeAddress } from '../../src/kernel/address.ts';
import {
  AF_INET,
  MSG_TRUNC,
  POLLIN,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_UDP,
  UDP_GRO,
  UDP_SEGMENT,
} from '../../src/kernel/constants.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import { check } from '../../src/kernel/error.ts';
import * as sockets from '../../src/kernel/socket.ts';
import { addressOf, call } from '../../src/kernel/syscall.ts';
import { byHand, drive, expectSoon, finish, SinkRecorder, settle, socketPair } from '../support/by-hand.ts';
import { readinessEngines } from '../support/net.ts';
import { rawClose, rawConnect, rawListen, rawReceive, rawReset, rawSend } from '../support/pair.ts';

const MSG_DONTWAIT = 0x40;
const DUP2 = 33;

/** Two connected TCP sockets; the second one is the peer's. */
function tcpPair(): readonly [number, number] {
  const { descriptor, port } = rawListen(1);
  const peer = rawConnect(port);
  const own = check(sockets.accept4(descriptor, SOCK_CLOEXEC | SOCK_NONBLOCK), 'accept4');
  rawClose(descriptor);
  return [own, peer];
}

/** A sink that receives from a TCP socket, and its peer. */
function receiver(engine: Engine): { readonly sink: SinkRecorder; readonly own: number; readonly peer: number } {
  const [own, peer] = tcpPair();
  const sink = new SinkRecorder(engine, own);
  engine.receiveStart(sink.handle);
  return { sink, own, peer };
}

/** An address where the engine can read it. */
function placed(port: number): { readonly address: number; readonly length: number; readonly bytes: Uint8Array } {
  const bytes = new Uint8Array(new ArrayBuffer(128));
  const length = encodeAddress({ family: 'ipv4', address: '127.0.0.1', port }, bytes, 0);
  return { address: addressOf(bytes), length, bytes };
}

function unconnected(engine: Engine): SinkRecorder {
  return new SinkRecorder(engine, check(sockets.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK), 'socket'));
}

byHand('bytes of a socket that another callback stops are kept, and come first when it starts again', (engine) => {
  const both = [receiver(engine), receiver(engine)];
  for (const [index, { sink }] of both.entries()) {
    sink.received = (start, end) => {
      engine.receiveStop(both[1 - index].sink.handle);
      return SinkRecorder.prototype.received.call(sink, start, end);
    };
  }
  settle(engine);
  for (const { peer } of both) rawSend(peer, 'x');
  expectSoon(engine, () => both.some(({ sink }) => sink.bytes > 0));
  settle(engine);
  const stopped = both.find(({ sink }) => sink.bytes === 0);
  assert.ok(stopped !== undefined, 'the stopped one must hear nothing');
  rawSend(stopped.peer, 'y');
  engine.receiveStart(stopped.sink.handle);
  expectSoon(engine, () => stopped.sink.text === 'xy');
  finish(engine, ...both.map(({ sink }) => sink));
  for (const { peer } of both) rawClose(peer);
});

byHand('what is in hand of a closed socket does not reach the new owner of its number and handle', (engine) => {
  const both = [receiver(engine), receiver(engine)];
  const [spare, freshPeer] = socketPair();
  let fresh: SinkRecorder | null = null;
  for (const [index, { sink }] of both.entries()) {
    const other = both[1 - index];
    sink.received = (start, end) => {
      engine.close(other.sink.handle);
      return SinkRecorder.prototype.received.call(sink, start, end);
    };
    other.sink.closed = () => {
      SinkRecorder.prototype.closed.call(other.sink);
      if (fresh !== null) return;
      fresh = new SinkRecorder(engine, check(call(DUP2, spare, other.own), 'dup2'));
      engine.receiveStart(fresh.handle);
    };
  }
  settle(engine);
  for (const { peer } of both) rawSend(peer, 'stale');
  expectSoon(engine, () => fresh !== null);
  settle(engine);
  assert.deepEqual(fresh!.events, []);
  rawSend(freshPeer, 'new');
  expectSoon(engine, () => fresh!.text === 'new');
  finish(engine, fresh!, ...both.map(({ sink }) => sink));
  for (const peer of [spare, freshPeer, ...both.map((one) => one.peer)]) rawClose(peer);
});

byHand('ends are told in the order of closing, once each, after the data of that turn', (engine) => {
  const order: string[] = [];
  const all = [receiver(engine), receiver(engine), receiver(engine)];
  for (const [index, { sink }] of all.entries()) {
    sink.closed = () => {
      order.push(`closed ${index}`);
      SinkRecorder.prototype.closed.call(sink);
    };
  }
  all[2].sink.received = () => {
    for (const index of [1, 2, 0, 1]) engine.close(all[index].sink.handle);
    order.push('data');
    return RECEIVED_DONE;
  };
  settle(engine);
  rawSend(all[2].peer, 'go');
  expectSoon(engine, () => order.length === 4);
  assert.deepEqual(order, ['data', 'closed 1', 'closed 2', 'closed 0']);
  for (const { peer } of all) rawClose(peer);
});

byHand('a throwing callback loses no event of the others', async (engine) => {
  const all = Array.from({ length: 8 }, () => receiver(engine));
  all[3].sink.received = () => {
    throw new Error('thrown on purpose');
  };
  settle(engine);
  for (const { peer } of all) rawSend(peer, 'x');
  const errors: unknown[] = [];
  const listeners = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.once('uncaughtException', (error) => errors.push(error));
  try {
    expectSoon(engine, () => errors.length > 0 && all.every(({ sink }, index) => index === 3 || sink.text === 'x'));
  } finally {
    for (const listener of listeners) process.on('uncaughtException', listener);
  }
  assert.equal((errors[0] as Error).message, 'thrown on purpose');
  finish(engine, ...all.map(({ sink }) => sink));
  for (const { peer } of all) rawClose(peer);
});

byHand('a reset while receiving is stopped is told and keeps nobody busy; an end waits', (engine) => {
  const ended = receiver(engine);
  const wasReset = receiver(engine);
  settle(engine);
  for (const { sink } of [ended, wasReset]) engine.receiveStop(sink.handle);
  settle(engine);
  sockets.shutdown(ended.peer, 1);
  rawReset(wasReset.peer);
  drive(engine, () => wasReset.sink.events.length > 0, 100);
  // io_uring holds no operation on a stopped socket that could hear of it, select has no set for errors alone.
  const mechanisms = ['epoll', 'epoll-level', 'poll'];
  const expected = mechanisms.includes(engine.name) ? [`receiveEnded:${-ERRNO.ECONNRESET}`] : [];
  assert.deepEqual(wasReset.sink.events, expected);
  const before = engine.statistics.systemCalls;
  drive(engine, () => false, 100);
  assert.ok(engine.statistics.systemCalls - before < 60, `${engine.statistics.systemCalls - before} calls in 100 ms`);
  assert.deepEqual(ended.sink.events, []);
  engine.receiveStart(ended.sink.handle);
  expectSoon(engine, () => ended.sink.events.includes('receiveEnded:0'));
  finish(engine, ended.sink, wasReset.sink);
  rawClose(ended.peer);
});

byHand('buffers of a vector and parts of a file are sent in order', (engine) => {
  const [own, peer] = tcpPair();
  const sink = new SinkRecorder(engine, own);
  const block = engine.takeBlock();
  new TextEncoder().encodeInto('head:body', engine.memory.subarray(block));
  const vector = new BigUint64Array(new ArrayBuffer(64));
  vector.set([BigInt(engine.memoryAddress + block), 5n, BigInt(engine.memoryAddress + block + 5), 4n]);
  const path = join(tmpdir(), `millrace-streams-${process.pid}`);
  writeFileSync(path, '0123456789');
  const file = openSync(path, 'r');
  const steps = [
    () => engine.sendVector(sink.handle, addressOf(vector), 2),
    () => engine.sendFile(sink.handle, file, 3, 4),
    () => engine.sendFile(sink.handle, file, 10, 4),
  ];
  for (const [index, step] of steps.entries()) {
    step();
    engine.hurry();
    expectSoon(engine, () => sink.sends > index);
  }
  assert.deepEqual(sink.events, ['sent:9', 'sent:4', 'sent:0']);
  assert.equal(rawReceive(peer, 100, MSG_DONTWAIT), 'head:body3456');
  closeSync(file);
  unlinkSync(path);
  engine.releaseBlock(block);
  finish(engine, sink);
  rawClose(peer);
});

byHand('sending to a peer that is gone is an errno and no signal', (engine) => {
  const [own, peer] = tcpPair();
  const sink = new SinkRecorder(engine, own);
  rawReset(peer);
  const block = engine.takeBlock();
  engine.send(sink.handle, engine.memoryAddress + block, 1);
  engine.hurry();
  expectSoon(engine, () => sink.sends > 0);
  assert.match(sink.events[0], new RegExp(`^sent:-(?:${ERRNO.EPIPE}|${ERRNO.ECONNRESET})$`));
  engine.releaseBlock(block);
  finish(engine, sink);
});

byHand('a connect is told once, never from within the call', (engine) => {
  const { descriptor, port } = rawListen(8);
  const { address, length, bytes } = placed(port);
  const client = unconnected(engine);
  // It polls as writable and hung up before it connects, which is no answer.
  drive(engine, () => false, 20);
  assert.deepEqual(client.events, []);
  engine.connect(client.handle, address, length);
  assert.deepEqual(client.events, []);
  expectSoon(engine, () => client.events.length > 0);
  rawClose(descriptor);
  const refused = unconnected(engine);
  engine.connect(refused.handle, address, length);
  assert.deepEqual(refused.events, []);
  expectSoon(engine, () => refused.events.length > 0);
  settle(engine);
  assert.equal(client.events[0], 'connected:0');
  assert.deepEqual(refused.events, [`connected:${-ERRNO.ECONNREFUSED}`]);
  assert.equal(bytes.length, 128);
  finish(engine, client, refused);
});

byHand('a hundred clients that wait are accepted without a further one', (engine) => {
  const { descriptor, port } = rawListen(128);
  const clients = Array.from({ length: 100 }, () => rawConnect(port));
  const listener = new SinkRecorder(engine, descriptor);
  engine.acceptStart(listener.handle);
  expectSoon(engine, () => listener.descriptors.length === 100);
  for (const one of [...clients, ...listener.descriptors]) rawClose(one);
  finish(engine, listener);
});

byHand('a poll tells once of what is ready, or becomes so', (engine) => {
  const [own, peer] = socketPair();
  const sink = new SinkRecorder(engine, own);
  engine.poll(sink.handle, POLLIN);
  settle(engine);
  assert.deepEqual(sink.events, []);
  rawSend(peer, 'x');
  expectSoon(engine, () => sink.events.length > 0);
  settle(engine);
  assert.deepEqual(sink.events, [`polled:${POLLIN}`]);
  engine.poll(sink.handle, POLLIN);
  expectSoon(engine, () => sink.events.length === 2);
  finish(engine, sink);
  rawClose(peer);
});

byHand(
  'without a free block receiving rests, is counted, and goes on where it stopped',
  (engine) => {
    const taken: number[] = [];
    for (let block = engine.takeBlock(); block >= 0; block = engine.takeBlock()) taken.push(block);
    const { sink, peer } = receiver(engine);
    sink.received = (start, end) => {
      taken.push(start);
      SinkRecorder.prototype.received.call(sink, start, end);
      return RECEIVED_KEEP;
    };
    const text = 'abcdefgh'.repeat(4096);
    assert.equal(rawSend(peer, text), text.length);
    expectSoon(engine, () => engine.statistics.blocksExhausted > 0);
    settle(engine);
    const before = engine.statistics.systemCalls;
    drive(engine, () => false, 100);
    assert.ok(engine.statistics.systemCalls - before < 60, `${engine.statistics.systemCalls - before} calls in 100 ms`);
    while (sink.bytes < text.length) {
      const bytes = sink.bytes;
      engine.releaseBlock(taken.shift()!);
      expectSoon(engine, () => sink.bytes > bytes);
    }
    assert.equal(sink.text, text);
    for (const block of taken) engine.releaseBlock(block);
    finish(engine, sink);
    rawClose(peer);
  },
  { engine: { blockSize: 1024, blocks: 16 } },
);

byHand('a message comes whole with its flags, a train with the size of its segments', (engine) => {
  const type = SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
  const own = check(sockets.socket(AF_INET, type), 'socket');
  check(sockets.bind(own, { family: 'ipv4', address: '127.0.0.1', port: 0 }), 'bind');
  check(sockets.setsockoptInt(own, SOL_UDP, UDP_GRO, 1), 'setsockopt');
  const { port } = sockets.getsockname(own) as { readonly port: number };
  const peer = check(sockets.socket(AF_INET, type), 'socket');
  check(sockets.connect(peer, { family: 'ipv4', address: '127.0.0.1', port }), 'connect');
  const sink: Sink & { readonly handle: number } = new SinkRecorder(engine, own);
  const heard: [length: number, isCut: boolean, segmentSize: number][] = [];
  sink.message = (_name, _nameEnd, start, end, flags, segmentSize) => {
    heard.push([end - start, (flags & MSG_TRUNC) !== 0, segmentSize]);
  };
  engine.messagesStart(sink.handle);
  settle(engine);
  rawSend(peer, '');
  expectSoon(engine, () => heard.length === 1);
  check(sockets.setsockoptInt(peer, SOL_UDP, UDP_SEGMENT, 1000), 'setsockopt');
  rawSend(peer, 'x'.repeat(3500));
  expectSoon(engine, () => heard.length === 2);
  assert.deepEqual(heard, [
    [0, false, 0],
    [3500, false, 1000],
  ]);
  engine.messagesStop(sink.handle);
  finish(engine, sink as SinkRecorder);
  rawClose(peer);
});

byHand(
  'a fast sender does not keep a quiet one waiting, and is bounded in each turn',
  (engine) => {
    const fast = receiver(engine);
    const quiet = receiver(engine);
    settle(engine);
    const text = 'x'.repeat(200_000);
    assert.ok(rawSend(fast.peer, text, MSG_DONTWAIT) > 64 * 1024);
    engine.turn(100);
    assert.ok(fast.sink.bytes <= 64 * 1024, `${fast.sink.bytes} bytes in one turn`);
    rawSend(quiet.peer, 'ping');
    engine.turn(100);
    assert.equal(quiet.sink.text, 'ping');
    finish(engine, fast.sink, quiet.sink);
    for (const { peer } of [fast, quiet]) rawClose(peer);
  },
  // What a multishot takes before it ends is bounded by the kernel, not by the turn.
  { only: readinessEngines },
);
