/**
 * Zero-copy sends of io_uring: a send ends once, when the kernel has let go of the memory, also when it fails.
 */
import assert from 'node:assert/strict';
import type { Engine } from '../../src/engine/engine.ts';
import { createUring } from '../../src/engine/uring.ts';
import { SOCK_CLOEXEC, SOCK_NONBLOCK } from '../../src/kernel/constants.ts';
import { check } from '../../src/kernel/error.ts';
import { addressOf, call, SYS } from '../../src/kernel/syscall.ts';
import { engineTest, expectSoon, finish, SinkRecorder, settle } from '../support/by-hand.ts';
import { pattern } from '../support/net.ts';
import { rawClose, rawConnect, rawListen, rawReset } from '../support/pair.ts';

const MSG_DONTWAIT = 0x40;
const zeroCopying = (): Engine => createUring({ zeroCopyBytes: 65_537 });
const buffer = new Uint8Array(new ArrayBuffer(4 << 20));

/** The engine's end of a TCP connection, and a peer that does not block. */
function ends(engine: Engine): { readonly sink: SinkRecorder; readonly peer: number } {
  const listening = rawListen(8);
  const peer = rawConnect(listening.port);
  const own = check(call(SYS.accept4, listening.descriptor, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK), 'accept4');
  rawClose(listening.descriptor);
  return { sink: new SinkRecorder(engine, own), peer };
}

/** Reads what is there; how many bytes, each compared with `expected` from `at` on. */
function read(peer: number, expected: Uint8Array, at: number): number {
  const result = call(SYS.recvfrom, peer, addressOf(buffer), buffer.length, MSG_DONTWAIT);
  if (result <= 0) return 0;
  assert.ok(
    Buffer.compare(buffer.subarray(0, result), expected.subarray(at, at + result)) === 0,
    `wrong byte after ${at}`,
  );
  return result;
}

engineTest(
  '[io_uring] 32 MB of zero-copy sends at odd offsets have one result each, in order, and arrive intact',
  zeroCopying,
  (engine) => {
    const { sink, peer } = ends(engine);
    const bytes = pattern(32 << 20);
    const base = addressOf(bytes);
    let asked = 0;
    let received = 0;
    let sends = 0;
    while (received < bytes.length) {
      if (sends === sink.sends && asked < bytes.length) {
        const length = Math.min(200_001, bytes.length - asked);
        engine.send(sink.handle, base + asked, length);
        engine.hurry();
        sends++;
      }
      const before = sink.sends;
      engine.turn(0);
      assert.ok(sink.sends - before <= 1, 'a send ended twice');
      if (sink.sends > before) {
        const result = Number(sink.events.at(-1)!.slice('sent:'.length));
        assert.ok(result > 0, `${result}`);
        asked += result;
      }
      received += read(peer, bytes, received);
    }
    settle(engine);
    assert.equal(sink.sends, sends);
    finish(engine, sink);
    rawClose(peer);
  },
  20_000,
);

engineTest('[io_uring] a zero-copy send that fails ends once, and so does one to nobody', zeroCopying, (engine) => {
  const { sink, peer } = ends(engine);
  const bytes = pattern(1 << 20);
  rawReset(peer);
  for (let count = 1; count <= 2; count++) {
    engine.send(sink.handle, addressOf(bytes), bytes.length);
    engine.hurry();
    expectSoon(engine, () => sink.sends === count);
    settle(engine);
    assert.equal(sink.sends, count);
    assert.match(sink.events.at(-1)!, /^sent:-(104|32)$/);
  }
  finish(engine, sink);
});

engineTest(
  '[io_uring] over loopback, where the kernel copies, a send ends before the peer reads',
  zeroCopying,
  (engine) => {
    const { sink, peer } = ends(engine);
    const bytes = pattern(100_000);
    let received = 0;
    for (let count = 1; count <= 3; count++) {
      engine.send(sink.handle, addressOf(bytes), bytes.length);
      engine.hurry();
      expectSoon(engine, () => sink.sends === count);
      const length = Number(sink.events.at(-1)!.slice('sent:'.length));
      for (received = 0; received < length; ) received += read(peer, bytes, received);
      assert.equal(received, length);
    }
    finish(engine, sink);
    rawClose(peer);
  },
);

engineTest(
  '[io_uring] closed during a zero-copy send, the socket ends once and its peer has an intact beginning',
  zeroCopying,
  (engine) => {
    for (let round = 0; round < 20; round++) {
      const { sink, peer } = ends(engine);
      const bytes = pattern(8 << 20);
      engine.send(sink.handle, addressOf(bytes), bytes.length);
      engine.turn(0);
      engine.close(sink.handle);
      let received = 0;
      expectSoon(engine, () => {
        received += read(peer, bytes, received);
        return sink.handle < 0;
      });
      for (let more = 1; more > 0; received += more) more = read(peer, bytes, received);
      assert.equal(sink.events.filter((event) => event === 'closed').length, 1);
      assert.equal(sink.events.at(-1), 'closed');
      rawClose(peer);
    }
  },
);
