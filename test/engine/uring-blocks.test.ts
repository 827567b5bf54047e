/**
 * io_uring's blocks and completions under want: few buffers, a short completion queue, endings with and without a buffer. The
 * same bodies run as kernels from 5.15 on would run them.
 */
import assert from 'node:assert/strict';
import { type Engine, RECEIVED_DONE, RECEIVED_KEEP } from '../../src/engine/engine.ts';
import { createUring } from '../../src/engine/uring.ts';
import type { UringOptions } from '../../src/engine/uring-operations.ts';
import { SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_SEQPACKET } from '../../src/kernel/constants.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import { check } from '../../src/kernel/error.ts';
import { shutdown } from '../../src/kernel/socket.ts';
import { call, SYS } from '../../src/kernel/syscall.ts';
import { drive, engineTest, expectSoon, finish, SinkRecorder, settle, socketPair } from '../support/by-hand.ts';
import { blocksOf } from '../support/net.ts';
import { olderKernels } from '../support/older-kernels.ts';
import { rawClose, rawConnect, rawListen, rawReceive, rawReset, rawSend } from '../support/pair.ts';

const MSG_DONTWAIT = 0x40;

/** Declares the body for this kernel and for each older one. */
function eachKernel(name: string, options: UringOptions, body: (engine: Engine) => void, timeoutMs?: number): void {
  for (const [kernel, without] of olderKernels) {
    engineTest(`[io_uring, ${kernel}] ${name}`, () => createUring({ ...options, without }), body, timeoutMs);
  }
}

/** Keeps every block that it gets until told otherwise. */
class Keeper extends SinkRecorder {
  readonly kept: number[] = [];
  keeps = true;

  override received(start: number, end: number): number {
    super.received(start, end);
    if (!this.keeps) return RECEIVED_DONE;
    this.kept.push(start);
    return RECEIVED_KEEP;
  }

  giveBack(): void {
    for (const start of this.kept.splice(0)) this.engine.releaseBlock(start);
  }
}

function receiving<Kind extends SinkRecorder>(
  engine: Engine,
  kind: new (engine: Engine, descriptor: number) => Kind,
): { readonly sink: Kind; readonly peer: number } {
  const [own, peer] = socketPair();
  const sink = new kind(engine, own);
  engine.receiveStart(sink.handle);
  return { sink, peer };
}

const few: UringOptions = { blocks: 8, blockSize: 1024, receiveBlocks: 4 };

eachKernel('4,096 sends through four blocks arrive whole and in order', few, (engine) => {
  const { sink, peer } = receiving(engine, SinkRecorder);
  const line = (index: number): string => String(index).padStart(64, '.');
  let sent = 0;
  for (let turn = 0; sink.bytes < 4096 * 64 && turn < 20_000; turn++) {
    // A line goes whole or not at all: the socket has room for many.
    for (let count = 0; count < 16 && sent < 4096; count++) {
      if (rawSend(peer, line(sent), MSG_DONTWAIT) < 0) break;
      sent++;
    }
    engine.turn(0);
  }
  assert.equal(sink.text, Array.from({ length: 4096 }, (_, index) => line(index)).join(''));
  finish(engine, sink);
  rawClose(peer);
});

eachKernel(
  'without a free block nothing is armed and nothing spins; what waits comes when one is back',
  few,
  (engine) => {
    const { sink, peer } = receiving(engine, Keeper);
    settle(engine);
    const text = 'abcdefgh';
    let sent = 0;
    while (engine.statistics.blocksExhausted === 0 && sent < 20) {
      rawSend(peer, text[sent % 8].repeat(1024));
      sent++;
      settle(engine, 3);
    }
    assert.ok(engine.statistics.blocksExhausted > 0, 'the blocks never ran out');
    assert.equal(sink.kept.length, blocksOf(engine) === 0 ? 8 : sink.kept.length);
    rawSend(peer, 'z'.repeat(1024));
    const before = engine.statistics.systemCalls;
    const heard = sink.bytes;
    engine.turn(30);
    engine.turn(30);
    assert.ok(
      engine.statistics.systemCalls - before <= 8,
      `${engine.statistics.systemCalls - before} calls in two idle waits`,
    );
    assert.equal(sink.bytes, heard);
    sink.keeps = false;
    sink.giveBack();
    expectSoon(engine, () => sink.bytes === (sent + 1) * 1024);
    assert.ok(sink.text.endsWith('z'.repeat(1024)));
    finish(engine, sink);
    rawClose(peer);
  },
);

eachKernel('the last block in use is no error while nothing more comes', few, (engine) => {
  const { sink, peer } = receiving(engine, Keeper);
  settle(engine);
  for (let count = 0; count < 8; count++) {
    rawSend(peer, 'x'.repeat(1024));
    settle(engine, 2);
  }
  const used = sink.kept.length;
  sink.giveBack();
  rawSend(peer, 'y');
  expectSoon(engine, () => sink.text.endsWith('y'));
  assert.deepEqual(sink.events, ['received']);
  assert.ok(used >= 4);
  sink.giveBack();
  finish(engine, sink);
  rawClose(peer);
});

eachKernel('four streams that share eight blocks get their own bytes, a heavy one starves none', few, (engine) => {
  const streams = Array.from({ length: 4 }, () => receiving(engine, SinkRecorder));
  settle(engine);
  const left = streams.map((_, index) => (index === 0 ? 16 : 1) * 16_384);
  const total = left.map((length) => length);
  expectSoon(engine, () => {
    for (const [index, { peer }] of streams.entries()) {
      if (left[index] === 0) continue;
      const result = rawSend(peer, String(index).repeat(Math.min(left[index], 4096)), MSG_DONTWAIT);
      if (result > 0) left[index] -= result;
    }
    return streams.every(({ sink }, index) => sink.bytes === total[index]);
  });
  for (const [index, { sink }] of streams.entries()) assert.equal(sink.text, String(index).repeat(total[index]));
  finish(engine, ...streams.map(({ sink }) => sink));
  for (const { peer } of streams) rawClose(peer);
});

eachKernel('ends, errors and stops give no block back that they did not take', few, (engine) => {
  const free = blocksOf(engine);
  for (let round = 0; round < 200; round++) {
    const { sink, peer } = receiving(engine, SinkRecorder);
    settle(engine, 1);
    if (round % 3 === 0) shutdown(peer, 1);
    else if (round % 3 === 1) rawClose(peer);
    else engine.receiveStop(sink.handle);
    settle(engine, 2);
    finish(engine, sink);
    if (round % 3 !== 1) rawClose(peer);
    assert.equal(blocksOf(engine), free, `round ${round}`);
  }
});

eachKernel(
  'closing sockets whose bytes have arrived keeps the count of blocks, 10,000 times',
  { blocks: 64, blockSize: 1024, receiveBlocks: 32 },
  (engine) => {
    const free = blocksOf(engine);
    for (let round = 0; round < 1250; round++) {
      const eight = Array.from({ length: 8 }, () => receiving(engine, SinkRecorder));
      engine.turn(0);
      for (const { peer } of eight) rawSend(peer, 'filled');
      for (const { sink } of eight) engine.close(sink.handle);
      finish(engine, ...eight.map(({ sink }) => sink));
      for (const { peer } of eight) rawClose(peer);
      if (blocksOf(engine) !== free) assert.equal(blocksOf(engine), free, `round ${round}`);
    }
  },
  20_000,
);

const short: UringOptions = { entries: 2, completionEntries: 4, blocks: 64, blockSize: 1024, receiveBlocks: 32 };

eachKernel('a completion queue of four loses none of twenty chunks of each socket', short, (engine) => {
  const sockets = Array.from({ length: 12 }, () => receiving(engine, SinkRecorder));
  settle(engine);
  for (let chunk = 0; chunk < 20; chunk++) {
    for (const { peer } of sockets) rawSend(peer, String.fromCharCode(97 + chunk));
    if (chunk % 7 === 6) engine.turn(0);
  }
  expectSoon(engine, () => sockets.every(({ sink }) => sink.bytes === 20));
  for (const { sink } of sockets) assert.equal(sink.text, 'abcdefghijklmnopqrst');
  finish(engine, ...sockets.map(({ sink }) => sink));
  for (const { peer } of sockets) rawClose(peer);
});

eachKernel('a completion queue of four loses none of twelve clients', short, (engine) => {
  const listening = rawListen(64);
  check(call(SYS.fcntl, listening.descriptor, 4, SOCK_NONBLOCK), 'fcntl');
  const sink = new SinkRecorder(engine, listening.descriptor);
  engine.acceptStart(sink.handle);
  settle(engine);
  const clients: number[] = [];
  for (let round = 1; round <= 3; round++) {
    for (let count = 0; count < 12; count++) clients.push(rawConnect(listening.port));
    expectSoon(engine, () => sink.descriptors.length === round * 12);
  }
  finish(engine, sink);
  for (const descriptor of [...clients, ...sink.descriptors]) rawClose(descriptor);
});

engineTest(
  '[io_uring] completions that overflowed are fetched by entering the kernel, and counted',
  () => createUring({ ...short, without: { multishotReceive: true, deferTaskrun: true } }),
  (engine) => {
    const sockets = Array.from({ length: 40 }, () => receiving(engine, SinkRecorder));
    settle(engine);
    // One-shot receives complete at once in this mode; forty of them do not fit into four places.
    for (const { peer } of sockets) rawSend(peer, 'x');
    expectSoon(engine, () => sockets.every(({ sink }) => sink.bytes === 1));
    assert.ok(engine.statistics.overflows > 0, 'nothing overflowed');
    finish(engine, ...sockets.map(({ sink }) => sink));
    for (const { peer } of sockets) rawClose(peer);
  },
);

eachKernel('forty closes on a completion queue of four each end', short, (engine) => {
  const sockets = Array.from({ length: 40 }, () => receiving(engine, SinkRecorder));
  for (const { sink } of sockets) engine.close(sink.handle);
  expectSoon(engine, () => sockets.every(({ sink }) => sink.events.length === 1));
  assert.ok(sockets.every(({ sink }) => sink.events[0] === 'closed'));
  for (const { peer } of sockets) rawClose(peer);
});

eachKernel(
  'bytes and at once a shutdown, 2,000 times: the bytes, then one end',
  { blocks: 64, blockSize: 1024, receiveBlocks: 32 },
  (engine) => {
    for (let round = 0; round < 2000; round++) {
      const { sink, peer } = receiving(engine, SinkRecorder);
      if (round % 2 === 0) engine.turn(0);
      rawSend(peer, 'x'.repeat(round % 3 === 0 ? 246 : 123));
      shutdown(peer, 1);
      expectSoon(engine, () => sink.events.length >= 2);
      assert.deepEqual(sink.events, ['received', 'receiveEnded:0']);
      finish(engine, sink);
      rawClose(peer);
    }
  },
  20_000,
);

eachKernel('bytes twice, then a reset: both, then ECONNRESET', {}, (engine) => {
  const listening = rawListen(8);
  const peer = rawConnect(listening.port);
  const own = check(call(SYS.accept4, listening.descriptor, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK), 'accept4');
  const sink = new SinkRecorder(engine, own);
  engine.receiveStart(sink.handle);
  rawSend(peer, 'one');
  expectSoon(engine, () => sink.bytes === 3);
  rawSend(peer, 'two');
  expectSoon(engine, () => sink.bytes === 6);
  rawReset(peer);
  expectSoon(engine, () => sink.events.length === 2);
  assert.deepEqual(sink.events, ['received', `receiveEnded:${-ERRNO.ECONNRESET}`]);
  finish(engine, sink);
  rawClose(listening.descriptor);
});

eachKernel('three messages and a close reach the peer as three messages and an end', {}, (engine) => {
  const [own, peer] = socketPair(SOCK_SEQPACKET);
  const sink = new SinkRecorder(engine, own);
  const block = engine.takeBlock();
  for (const [index, text] of ['one', 'two', 'three'].entries()) {
    engine.memory.set(Buffer.from(text), block);
    engine.send(sink.handle, engine.memoryAddress + block, text.length);
    engine.hurry();
    // The last one is only queued when the close follows it.
    if (index < 2) expectSoon(engine, () => sink.sends === index + 1);
  }
  engine.close(sink.handle);
  expectSoon(engine, () => sink.handle < 0);
  const heard = Array.from({ length: 4 }, () => rawReceive(peer, 100));
  assert.deepEqual(heard, ['one', 'two', 'three', '']);
  engine.releaseBlock(block);
  rawClose(peer);
});

eachKernel('one refused entry among six spoils no other', {}, (engine) => {
  const six = Array.from({ length: 6 }, () => socketPair());
  const sinks = six.map(([own]) => new SinkRecorder(engine, own));
  const block = engine.takeBlock();
  rawClose(six[2][1]);
  for (const sink of sinks) engine.send(sink.handle, engine.memoryAddress + block, 3);
  engine.hurry();
  expectSoon(engine, () => sinks.every((sink) => sink.sends === 1));
  assert.deepEqual(
    sinks.map((sink) => sink.events[0]),
    ['sent:3', 'sent:3', `sent:${-ERRNO.EPIPE}`, 'sent:3', 'sent:3', 'sent:3'],
  );
  finish(engine, ...sinks);
  engine.releaseBlock(block);
  for (const [index, [, peer]] of six.entries()) if (index !== 2) rawClose(peer);
});

eachKernel('a turn that does not wait enters the kernel before it looks', {}, (engine) => {
  const { sink, peer } = receiving(engine, SinkRecorder);
  engine.turn(0);
  rawSend(peer, 'there');
  // Nothing stands in the mapped ring yet where task work is deferred; a peek alone would see nothing.
  assert.ok(drive(engine, () => sink.text === 'there', 20));
  finish(engine, sink);
  rawClose(peer);
});
