/**
 * Events from programs and to programs: ring buffers, perf event arrays, user ring buffers.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { codecOf } from '../../src/bpf/loader/codec.ts';
import { type Collection, loadObject } from '../../src/bpf/loader/collection.ts';
import type { KernelMap } from '../../src/bpf/loader/map.ts';
import { PerfBufferReader } from '../../src/bpf/loader/perf-buffer.ts';
import { decoded, RingBufferReader } from '../../src/bpf/loader/ring-buffer.ts';
import { UserRingBuffer } from '../../src/bpf/loader/user-ring-buffer.ts';
import { BtfBuilder } from '../../src/bpf/object/btf/builder.ts';
import { I32, U32, U64 } from '../../src/bpf/types.ts';
import { kernelSkip as skip } from '../support/bpf-kernel.ts';
import { functionOf, kind, mapOf, objectOf, sectionOf } from '../support/bpf-object.ts';

const packet = new Uint8Array(64);
const RING_BYTES = 4096;

/** Each run writes its number as an event of 8 bytes, or counts it as lost. */
const numbering = objectOf({
  maps: [mapOf('events', 'ringbuf', { keyBytes: 0, valueBytes: 0, maxEntries: RING_BYTES })],
  data: [
    sectionOf('.bss', new Uint8Array(16), {
      variables: [
        { name: 'runs', offset: 0, bytes: 8, type: U64 },
        { name: 'lost', offset: 8, bytes: 8, type: U64 },
      ],
    }),
  ],
  functions: [
    functionOf(
      'number',
      `lddw %r6, 0
       ldxdw %r2, [%r6]
       stxdw [%r10-8], %r2
       add %r2, 1
       stxdw [%r6], %r2
       lddw %r1, 0
       mov %r2, %r10
       add %r2, -8
       mov %r3, 8
       mov %r4, 0
       call 130
       jeq %r0, 0, +3
       ldxdw %r2, [%r6+8]
       add %r2, 1
       stxdw [%r6+8], %r2
       mov %r0, 0
       exit`,
      {
        kind: kind('socket_filter'),
        relocations: [
          [0, 'data', '.bss'],
          [5, 'map', 'events'],
        ],
      },
    ),
  ],
});

function run(collection: Collection, count: number): void {
  collection.programs.number.testRun({ data: packet, repeat: count });
}

function ringOf(collection: Collection): KernelMap {
  return collection.maps.events as unknown as KernelMap;
}

/** Room of an event of 8 bytes with its header. */
const EVENT_BYTES = 16;

test('events arrive from within the event loop, in order, each once', { skip }, async () => {
  using collection = loadObject(numbering);
  const seen: bigint[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  using reader = new RingBufferReader(
    ringOf(collection),
    decoded(codecOf(U64), (event) => {
      seen.push(event as bigint);
      if (seen.length === 10) resolve();
    }),
  );
  run(collection, 10);
  assert.equal(reader.pendingBytes, 10 * EVENT_BYTES);
  await promise;
  assert.deepEqual(
    seen,
    Array.from({ length: 10 }, (_, index) => BigInt(index)),
  );
  assert.equal(reader.received, 10);
  assert.equal(reader.pendingBytes, 0);
});

test('the ring goes round many times, and what found no room is counted', { skip }, async () => {
  using collection = loadObject(numbering);
  const { lost } = collection.globals;
  const seen: number[] = [];
  const losses: number[] = [];
  using reader = new RingBufferReader(
    ringOf(collection),
    (view, offset, length) => {
      assert.equal(length, 8);
      seen.push(Number(view.getBigUint64(offset, true)));
    },
    { lost: () => lost.value as bigint, onLost: (count) => losses.push(count) },
  );
  // The kernel never fills the last byte: full and empty would look the same.
  const fitting = RING_BYTES / EVENT_BYTES - 1;
  for (let round = 0; round < 40; round++) {
    run(collection, fitting + 5);
    assert.equal(reader.read(), fitting);
  }
  assert.equal(reader.received, 40 * fitting);
  assert.equal(reader.lost, 40 * 5);
  assert.deepEqual(losses, Array(40).fill(5));
  assert.equal(seen.length + reader.lost, 40 * (fitting + 5));
  assert.deepEqual(seen.slice(fitting, fitting + 2), [fitting + 5, fitting + 6]);
});

test('a callback that throws does not lose or repeat events', { skip }, () => {
  using collection = loadObject(numbering);
  const seen: bigint[] = [];
  using reader = new RingBufferReader(ringOf(collection), (view, offset) => {
    const event = view.getBigUint64(offset, true);
    if (event === 1n && !seen.includes(1n)) {
      seen.push(event);
      throw new Error('once');
    }
    seen.push(event);
  });
  run(collection, 3);
  assert.throws(() => reader.read(), /once/);
  assert.equal(reader.read(), 1);
  assert.deepEqual(seen, [0n, 1n, 2n]);
});

test('a reader that is disposed of within its callback stops', { skip }, () => {
  using collection = loadObject(numbering);
  let count = 0;
  const reader = new RingBufferReader(ringOf(collection), () => {
    count++;
    reader[Symbol.dispose]();
  });
  run(collection, 3);
  reader.read();
  assert.equal(count, 1);
  assert.equal(reader.read(), 0);
});

test('a map of another type has no reader', { skip }, () => {
  using collection = loadObject(objectOf({ maps: [mapOf('events', 'hash')] }));
  assert.throws(() => new RingBufferReader(ringOf(collection), () => undefined), /type hash: a ring buffer is needed/);
});

/** Writes 12 bytes for each run to the current CPU's ring. */
const perfObject = objectOf({
  maps: [mapOf('events', 'perf_event_array', { keyBytes: 4, valueBytes: 4, maxEntries: 0 })],
  functions: [
    functionOf(
      'number',
      `mov %r2, 0
       stxdw [%r10-16], %r2
       mov %r2, 7
       stxw [%r10-8], %r2
       lddw %r2, 0
       lddw %r3, 0xffffffff
       mov %r4, %r10
       add %r4, -16
       mov %r5, 12
       call 25
       mov %r0, 0
       exit`,
      { kind: kind('xdp'), relocations: [[4, 'map', 'events']] },
    ),
  ],
});

test('events of a perf event array arrive, and lost ones are counted by the kernel', { skip }, async () => {
  using collection = loadObject(perfObject);
  const { promise, resolve } = Promise.withResolvers<void>();
  let count = 0;
  using reader = new PerfBufferReader(
    collection.maps.events,
    (view, offset, length) => {
      assert.ok(length >= 12);
      assert.equal(view.getUint32(offset + 8, true), 7);
      count++;
      if (count === 5) resolve();
    },
    { bytesPerCpu: 4096 },
  );
  run(collection, 5);
  await promise;
  assert.equal(reader.lost, 0);
  // More than the ring holds; the kernel writes how many it lost when there is room again.
  run(collection, 1000);
  reader.read();
  run(collection, 1);
  reader.read();
  assert.equal(count + reader.lost, 1006);
  assert.ok(reader.lost > 0);
  for (let round = 0; round < 50; round++) {
    run(collection, 7);
    assert.equal(reader.read(), 7);
  }
});

const types = new BtfBuilder();
const parameter = (name: string) => ({ name, type: U64 });
const typeIds = {
  main: types.addFunction('drain', [parameter('context')], I32, 'global'),
  take: types.addFunction('take', [parameter('sample'), parameter('state')], I32, 'static'),
};

/** Takes all samples and adds the 32-bit number in each to `sum`. */
const draining = objectOf({
  maps: [mapOf('samples', 'user_ringbuf', { keyBytes: 0, valueBytes: 0, maxEntries: RING_BYTES })],
  data: [sectionOf('.bss', new Uint8Array(8), { variables: [{ name: 'sum', offset: 0, bytes: 8, type: U64 }] })],
  functions: [
    functionOf('drain', 'lddw %r1, 0\nlddw %r2, 0\nmov %r3, 0\nmov %r4, 0\ncall 209\nexit', {
      kind: kind('syscall', { flags: 16 }),
      typeId: typeIds.main,
      relocations: [
        [0, 'map', 'samples'],
        [1, 'callback', 'take'],
      ],
    }),
    functionOf(
      'take',
      `mov %r4, %r1
       mov %r1, %r10
       add %r1, -8
       mov %r2, 4
       mov %r3, %r4
       mov %r4, 0
       mov %r5, 0
       call 201
       lddw %r1, 0
       ldxdw %r2, [%r1]
       ldxw %r3, [%r10-8]
       add %r2, %r3
       stxdw [%r1], %r2
       mov %r0, 0
       exit`,
      { typeId: typeIds.take, relocations: [[8, 'data', '.bss']] },
    ),
  ],
  btf: types.finish(),
});

test('samples from user space reach a program that drains them', { skip }, () => {
  using collection = loadObject(draining);
  using buffer = new UserRingBuffer(collection.maps.samples as unknown as KernelMap);
  const codec = codecOf(U32);
  let sum = 0n;
  for (let round = 0; round < 30; round++) {
    for (let value = 1; value <= 20; value++) {
      assert.equal(buffer.push(codec, value), true);
      sum += BigInt(value);
    }
    buffer.discard(buffer.reserve(100));
    const offset = buffer.reserve(4);
    buffer.view.setUint32(offset, 1000, true);
    buffer.submit(offset);
    sum += 1000n;
    assert.equal(collection.programs.drain.testRun({ context: new Uint8Array(8) }).result, 21);
    assert.equal(buffer.pendingBytes, 0);
  }
  assert.equal(collection.globals.sum.value, sum);
  while (buffer.push(codec, 1));
  assert.equal(buffer.pendingBytes, RING_BYTES);
});
