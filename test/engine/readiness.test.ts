/**
 * select, poll and epoll, turned by hand: sets that callbacks change, descriptors that go bad, edges that must not be missed.
 * Most bodies run on io_uring too, because what a user sees is the same.
 */
import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Engine, RECEIVED_DONE } from '../../src/engine/engine.ts';
import { createEpoll, createEpollLevel } from '../../src/engine/epoll.ts';
import { POLLIN, POLLOUT, SOCK_CLOEXEC, SOCK_NONBLOCK } from '../../src/kernel/constants.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import { check, KernelError } from '../../src/kernel/error.ts';
import { getDescriptorLimit, type Limit, setDescriptorLimit } from '../../src/kernel/limits.ts';
import { call, SYS } from '../../src/kernel/syscall.ts';
import { byHand, drive, engineTest, expectSoon, finish, SinkRecorder, settle, socketPair } from '../support/by-hand.ts';
import { readinessEngines } from '../support/net.ts';
import { rawClose, rawConnect, rawListen, rawReceive, rawSend, runChild } from '../support/pair.ts';

const F_DUPFD_CLOEXEC = 1030;
const EPOLLET = 0x80000000;
const MSG_DONTWAIT = 0x40;

/** A stream pair whose engine side has a number of at least `least`. */
function highPair(least: number): readonly [number, number] {
  const [low, peer] = socketPair();
  const high = check(call(SYS.fcntl, low, F_DUPFD_CLOEXEC, least), 'fcntl');
  rawClose(low);
  return [high, peer];
}

/** A sink that receives, and its peer. */
function receiver(engine: Engine): { readonly sink: SinkRecorder; readonly own: number; readonly peer: number } {
  const [own, peer] = socketPair();
  const sink = new SinkRecorder(engine, own);
  engine.receiveStart(sink.handle);
  return { sink, own, peer };
}

byHand('a low and a high descriptor are served alike', (engine) => {
  const [low, lowPeer] = socketPair();
  const [high, highPeer] = highPair(3000);
  const sinks = [new SinkRecorder(engine, low), new SinkRecorder(engine, high)];
  for (const sink of sinks) engine.receiveStart(sink.handle);
  settle(engine);
  rawSend(highPeer, 'high');
  rawSend(lowPeer, 'low');
  expectSoon(engine, () => sinks.every((sink) => sink.bytes > 0));
  assert.deepEqual(
    sinks.map((sink) => sink.text),
    ['low', 'high'],
  );
  finish(engine, sinks[1]);
  rawSend(lowPeer, '!');
  expectSoon(engine, () => sinks[0].text === 'low!');
  finish(engine, sinks[0]);
  rawClose(lowPeer);
  rawClose(highPeer);
});

byHand(
  'the sets of select shrink when their highest descriptor closes',
  async () => {
    const support = new URL('../support/by-hand.ts', import.meta.url).href;
    const select = new URL('../../src/engine/select.ts', import.meta.url).href;
    const trace = join(tmpdir(), `millrace-select-${process.pid}.trace`);
    const { errors } = await runChild(
      `const { SinkRecorder, socketPair, finish } = await import(${JSON.stringify(support)});
       const { createSelect } = await import(${JSON.stringify(select)});
       const { call, SYS } = await import(${JSON.stringify(new URL('../../src/kernel/syscall.ts', import.meta.url).href)});
       const engine = createSelect();
       const [low] = socketPair();
       const high = call(SYS.fcntl, low, ${F_DUPFD_CLOEXEC}, 3000);
       const sinks = [new SinkRecorder(engine, low), new SinkRecorder(engine, high)];
       for (const sink of sinks) engine.receiveStart(sink.handle);
       engine.turn(3);
       finish(engine, sinks[1]);
       engine.turn(4);
       engine.dispose();`,
      { command: ['strace', '-f', '-qq', '-o', trace, '-e', 'trace=pselect6'] },
    );
    const output = readFileSync(trace, 'utf8');
    rmSync(trace);
    const calls = [...output.matchAll(/pselect6\((\d+), .*\{tv_sec=\d+, tv_nsec=(\d+)\}/g)];
    const highest = (nanoseconds: number): number =>
      Math.max(...calls.filter((found) => Number(found[2]) === nanoseconds).map((found) => Number(found[1])));
    assert.equal(highest(3_000_000), 3001, output + errors);
    assert.ok(highest(4_000_000) < 1024, output);
  },
  { only: ['select'] },
);

byHand(
  'a descriptor that was closed behind our back fails alone',
  (engine) => {
    const lost = receiver(engine);
    const kept = receiver(engine);
    settle(engine);
    closeSync(lost.own);
    rawSend(kept.peer, 'kept');
    expectSoon(engine, () => kept.sink.text === 'kept' && lost.sink.events.length > 0);
    assert.deepEqual(lost.sink.events, [`receiveEnded:${-ERRNO.EBADF}`]);
    rawSend(kept.peer, ' on');
    expectSoon(engine, () => kept.sink.text === 'kept on');
    const before = engine.statistics.systemCalls;
    engine.turn(40);
    assert.ok(engine.statistics.systemCalls - before < 10, 'it spins');
    engine.close(lost.sink.handle, true);
    finish(engine, kept.sink, lost.sink);
    rawClose(lost.peer);
    rawClose(kept.peer);
  },
  // epoll forgets a closed file by itself, and io_uring holds it.
  { only: ['select', 'poll'] },
);

byHand('waits follow one another with their whole timeout and whole sets', (engine) => {
  const { sink, peer } = receiver(engine);
  settle(engine);
  for (let round = 1; round <= 3; round++) {
    const sinceMs = performance.now();
    assert.equal(engine.turn(20), false);
    assert.ok(performance.now() - sinceMs >= 19.9, `wait ${round} was cut short`);
    rawSend(peer, 'x');
    expectSoon(engine, () => sink.bytes === round);
  }
  finish(engine, sink);
  rawClose(peer);
});

byHand(
  'of 64 that are ready, those closed meanwhile are not served, the others once, new ones in a later turn',
  (engine) => {
    const closed = new Set<number>();
    const served: number[] = [];
    const added: Sub[] = [];
    let turn = 0;
    let changedTurn = 0;
    const firstAddedTurn = Number.POSITIVE_INFINITY;
    class Sub extends SinkRecorder {
      index = -1;
      override received(start: number, end: number): number {
        super.received(start, end);
        served.push(this.index);
        if (this.index !== served[0] || served.length > 1) return RECEIVED_DONE;
        changedTurn = turn;
        // The first to be served removes a third of the others, those beside it among them, and adds as many.
        for (const [index, other] of subs.entries()) {
          if (index === this.index || index % 3 !== 0) continue;
          closed.add(index);
          engine.close(other.handle);
          const [own, peer] = socketPair();
          peers.push(peer);
          const one = new Sub(engine, own);
          one.index = 1000 + index;
          rawSend(peer, 'new');
          engine.receiveStart(one.handle);
          added.push(one);
        }
        return RECEIVED_DONE;
      }
    }
    const peers: number[] = [];
    const subs = Array.from({ length: 64 }, (_, index) => {
      const [own, peer] = socketPair();
      peers.push(peer);
      const sub = new Sub(engine, own);
      sub.index = index;
      engine.receiveStart(sub.handle);
      return sub;
    });
    settle(engine);
    for (const peer of peers.slice(0, 64)) rawSend(peer, 'x');
    const expected = (): number[] => subs.map((_, index) => index).filter((index) => !closed.has(index));
    const isDone = (): boolean => added.length > 0 && served.length >= expected().length + added.length;
    for (const deadlineMs = performance.now() + 2000; !isDone() && performance.now() < deadlineMs; turn++)
      engine.turn(5);
    settle(engine);
    assert.deepEqual(
      served.filter((index) => index < 1000).toSorted((a, b) => a - b),
      expected(),
    );
    assert.equal(new Set(served).size, expected().length + added.length);
    assert.equal(served.length, expected().length + added.length, 'one was served twice');
    assert.ok(firstAddedTurn > changedTurn, 'a new one was served before the next wait');
    finish(engine, ...subs, ...added);
    for (const peer of peers) rawClose(peer);
  },
);

byHand('input and output in one event: when the input closes the socket, nothing is heard of its send', (engine) => {
  const [own, peer] = socketPair();
  const sink = new (class extends SinkRecorder {
    override received(start: number, end: number): number {
      super.received(start, end);
      engine.close(this.handle);
      return RECEIVED_DONE;
    }
  })(engine, own);
  const block = engine.takeBlock();
  // Fills the socket, so that the engine's send has to wait.
  while (rawSend(own, 'x'.repeat(4096), MSG_DONTWAIT) > 0);
  engine.send(sink.handle, engine.memoryAddress + block, engine.blockSize);
  engine.receiveStart(sink.handle);
  settle(engine);
  assert.equal(sink.sends, 0);
  rawSend(peer, 'now');
  while (typeof rawReceive(peer, 65536, MSG_DONTWAIT) === 'string');
  expectSoon(engine, () => sink.handle < 0);
  assert.equal(sink.text, 'now');
  // Which of the two was heard first is the mechanism's business; behind the close there is nothing.
  assert.deepEqual(sink.events.slice(sink.events.indexOf('received')), ['received', 'closed']);
  engine.releaseBlock(block);
  rawClose(peer);
});

byHand(
  'what cannot be waited for is refused with EPERM, what is waited for already with EEXIST',
  (engine) => {
    const file = openSync(new URL(import.meta.url), 'r');
    const { sink, own, peer } = receiver(engine);
    assert.equal(new SinkRecorder(engine, file).handle, -ERRNO.EPERM);
    assert.equal(new SinkRecorder(engine, own).handle, -ERRNO.EEXIST);
    rawSend(peer, 'unharmed');
    expectSoon(engine, () => sink.text === 'unharmed');
    finish(engine, sink);
    rawClose(peer);
    closeSync(file);
  },
  // io_uring reads any file; `adopt` refuses for all engines what is no socket or taken.
  { only: readinessEngines },
);

byHand('both kinds of readiness in one event are both told', (engine) => {
  const [own, peer] = socketPair();
  const sink = new SinkRecorder(engine, own);
  rawSend(peer, 'x');
  engine.poll(sink.handle, POLLIN | POLLOUT);
  expectSoon(engine, () => sink.events.length > 0);
  assert.deepEqual(sink.events, [`polled:${POLLIN | POLLOUT}`]);
  engine.turn(10);
  assert.equal(sink.events.length, 1, 'a poll is told once');
  finish(engine, sink);
  rawClose(peer);
});

byHand(
  'more bytes than one read takes arrive without a further event',
  (engine) => {
    const { sink, peer } = receiver(engine);
    settle(engine);
    rawSend(peer, 'a'.repeat(3500));
    expectSoon(engine, () => sink.bytes === 3500);
    assert.equal(sink.chunks.length, 4);
    finish(engine, sink);
    rawClose(peer);
  },
  { engine: { blockSize: 1024 } },
);

byHand('bytes and an end in one event are both delivered', (engine) => {
  for (const transport of ['tcp', 'unix']) {
    const { own, peer } = transport === 'unix' ? unixEnds() : tcpEnds();
    const sink = new SinkRecorder(engine, own);
    engine.receiveStart(sink.handle);
    settle(engine);
    rawSend(peer, 'bye');
    rawClose(peer);
    expectSoon(engine, () => sink.events.length === 2);
    assert.deepEqual(sink.events, ['received', 'receiveEnded:0'], transport);
    finish(engine, sink);
  }
});

function unixEnds(): { own: number; peer: number } {
  const [own, peer] = socketPair();
  return { own, peer };
}

function tcpEnds(): { own: number; peer: number } {
  const listening = rawListen(8);
  const peer = rawConnect(listening.port);
  const own = check(call(SYS.accept4, listening.descriptor, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK), 'accept4');
  rawClose(listening.descriptor);
  return { own, peer };
}

byHand('what came while receiving was stopped is delivered when it starts again', (engine) => {
  const { sink, peer } = receiver(engine);
  settle(engine);
  engine.receiveStop(sink.handle);
  settle(engine);
  rawSend(peer, 'meanwhile');
  settle(engine);
  assert.equal(sink.bytes, 0);
  engine.receiveStart(sink.handle);
  expectSoon(engine, () => sink.text === 'meanwhile');
  finish(engine, sink);
  rawClose(peer);
});

byHand('a send that the socket takes ends at once, one that it does not when there is room', (engine) => {
  const [own, peer] = socketPair();
  const sink = new SinkRecorder(engine, own);
  const block = engine.takeBlock();
  engine.send(sink.handle, engine.memoryAddress + block, 100);
  engine.hurry();
  settle(engine, 2);
  assert.deepEqual(sink.events, ['sent:100']);
  while (rawSend(own, 'x'.repeat(4096), MSG_DONTWAIT) > 0);
  engine.send(sink.handle, engine.memoryAddress + block, 100);
  engine.hurry();
  settle(engine);
  assert.equal(sink.sends, 1);
  while (typeof rawReceive(peer, 65536, MSG_DONTWAIT) === 'string');
  expectSoon(engine, () => sink.sends === 2);
  assert.equal(sink.events[1], 'sent:100');
  finish(engine, sink);
  engine.releaseBlock(block);
  rawClose(peer);
});

/** The events that an epoll of this process watches a descriptor for (proc(5), fdinfo), or -1. */
function watchedEvents(descriptor: number): number {
  for (const set of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${set}`) !== 'anon_inode:[eventpoll]') continue;
      const info = readFileSync(`/proc/self/fdinfo/${set}`, 'utf8');
      const found = new RegExp(`tfd:\\s+${descriptor} events:\\s+([0-9a-f]+)`).exec(info);
      if (found !== null) return Number.parseInt(found[1], 16);
    } catch {
      // The directory's own descriptor is gone by now.
    }
  }
  return -1;
}

byHand(
  'an edge-triggered socket stays so when a waiting send is over',
  (engine) => {
    const { sink, own, peer } = receiver(engine);
    settle(engine);
    assert.ok((watchedEvents(own) & EPOLLET) !== 0);
    const block = engine.takeBlock();
    while (rawSend(own, 'x'.repeat(4096), MSG_DONTWAIT) > 0);
    engine.send(sink.handle, engine.memoryAddress + block, 100);
    settle(engine);
    assert.ok((watchedEvents(own) & EPOLLET) !== 0);
    while (typeof rawReceive(peer, 65536, MSG_DONTWAIT) === 'string');
    expectSoon(engine, () => sink.sends === 1);
    settle(engine);
    assert.ok((watchedEvents(own) & EPOLLET) !== 0);
    assert.ok((watchedEvents(own) & POLLIN) !== 0);
    rawSend(peer, 'in');
    expectSoon(engine, () => sink.text === 'in');
    finish(engine, sink);
    assert.equal(watchedEvents(own), -1);
    engine.releaseBlock(block);
    rawClose(peer);
  },
  { only: ['epoll'] },
);

byHand('three clients before one wait are three connections', (engine) => {
  const listening = rawListen(16);
  call(SYS.fcntl, listening.descriptor, 4, SOCK_NONBLOCK);
  const sink = new SinkRecorder(engine, listening.descriptor);
  engine.acceptStart(sink.handle);
  settle(engine);
  const clients = [1, 2, 3].map(() => rawConnect(listening.port));
  engine.turn(100);
  engine.turn(0);
  assert.deepEqual(sink.events, ['accepted', 'accepted', 'accepted']);
  finish(engine, sink);
  for (const descriptor of [...clients, ...sink.descriptors]) rawClose(descriptor);
});

byHand('a socket that was closed while a duplicate lives sends no more events', (engine) => {
  const { sink, own, peer } = receiver(engine);
  const other = receiver(engine);
  settle(engine);
  const duplicate = check(call(SYS.fcntl, own, F_DUPFD_CLOEXEC, 0), 'fcntl');
  finish(engine, sink);
  rawSend(peer, 'to nobody');
  const sinceMs = performance.now();
  const before = engine.statistics.systemCalls;
  assert.equal(engine.turn(40), false);
  assert.ok(performance.now() - sinceMs >= 39, 'something woke it');
  assert.ok(engine.statistics.systemCalls - before <= 2);
  assert.deepEqual(sink.events, ['closed']);
  finish(engine, other.sink);
  for (const descriptor of [duplicate, peer, other.peer]) rawClose(descriptor);
});

for (const [name, make] of [
  ['epoll', createEpoll],
  ['epoll-level', createEpollLevel],
] as const) {
  engineTest(
    `[${name}] six that are ready and room for two: three waits serve each once`,
    () => make({ eventsMax: 2 }),
    (engine) => {
      const six = Array.from({ length: 6 }, () => receiver(engine));
      settle(engine, 10);
      for (const { peer } of six) rawSend(peer, 'x');
      for (let turn = 0; turn < 3; turn++) engine.turn(0);
      assert.ok(six.every(({ sink }) => sink.bytes === 1));
      finish(engine, ...six.map(({ sink }) => sink));
      for (const { peer } of six) rawClose(peer);
    },
  );
}

byHand('a handed-back socket is silent, and attached again reports what waits', (engine) => {
  const { sink, own, peer } = receiver(engine);
  settle(engine);
  engine.close(sink.handle, true);
  expectSoon(engine, () => sink.handle < 0);
  rawSend(peer, 'pending');
  engine.turn(10);
  assert.deepEqual(sink.events, ['closed']);
  const again = new SinkRecorder(engine, own);
  engine.receiveStart(again.handle);
  expectSoon(engine, () => again.text === 'pending');
  finish(engine, again);
  rawClose(peer);
});

byHand(
  'a limit of descriptors below the number watched is a clear error of poll, and lifting it mends it',
  (engine) => {
    const all = Array.from({ length: 64 }, () => receiver(engine));
    settle(engine);
    const limit = getDescriptorLimit() as Limit;
    check(setDescriptorLimit({ soft: 32, hard: limit.hard }), 'prlimit64');
    try {
      assert.throws(
        () => engine.turn(0),
        (error: unknown) =>
          error instanceof KernelError && error.errno === -ERRNO.EINVAL && /RLIMIT_NOFILE/.test(error.message),
      );
    } finally {
      check(setDescriptorLimit(limit), 'prlimit64');
    }
    rawSend(all[5].peer, 'again');
    expectSoon(engine, () => all[5].sink.text === 'again');
    finish(engine, ...all.map(({ sink }) => sink));
    for (const { peer } of all) rawClose(peer);
  },
  { only: ['poll'] },
);

byHand('one listener that two engines watch: each client is accepted once, and missing one is no error', (engine) => {
  const listening = rawListen(64);
  call(SYS.fcntl, listening.descriptor, 4, SOCK_NONBLOCK);
  const duplicate = check(call(SYS.fcntl, listening.descriptor, F_DUPFD_CLOEXEC, 0), 'fcntl');
  const second = createEpoll();
  const sinks = [new SinkRecorder(engine, listening.descriptor), new SinkRecorder(second, duplicate)];
  engine.acceptStart(sinks[0].handle);
  second.acceptStart(sinks[1].handle);
  const clients: number[] = [];
  for (let round = 0; round < 10; round++) {
    settle(engine);
    settle(second);
    for (let count = 0; count < 4; count++) clients.push(rawConnect(listening.port));
    (round % 2 === 0 ? second : engine).turn(0);
  }
  const descriptors = (): number[] => sinks.flatMap((sink) => sink.descriptors);
  assert.ok(
    drive(engine, () => {
      second.turn(0);
      return descriptors().length >= 40;
    }),
  );
  settle(engine);
  settle(second);
  assert.equal(descriptors().length, 40);
  assert.ok(sinks.every((sink) => sink.events.every((event) => event === 'accepted')));
  finish(second, sinks[1]);
  finish(engine, sinks[0]);
  second.dispose();
  for (const descriptor of [...clients, ...descriptors()]) rawClose(descriptor);
});

byHand(
  'writers that take every block they can leave some for reading',
  (engine) => {
    const { sink, peer } = receiver(engine);
    const taken: number[] = [];
    for (let block = engine.takeBlock(); block >= 0; block = engine.takeBlock()) taken.push(block);
    settle(engine);
    rawSend(peer, 'still read');
    expectSoon(engine, () => sink.text === 'still read');
    assert.equal(engine.statistics.blocksExhausted, 0);
    for (const block of taken) engine.releaseBlock(block);
    finish(engine, sink);
    rawClose(peer);
  },
  { engine: { blocks: 8, receiveBlocks: 4 } },
);
