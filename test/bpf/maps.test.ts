/**
 * Maps from user space: typed values, iteration under change, batches, per-CPU values, queues, shared memory, pins.
 */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { type Codec, codecOf } from '../../src/bpf/loader/codec.ts';
import { loadObject } from '../../src/bpf/loader/collection.ts';
import { codecsOf, createMap, type KernelMap, type MapSpec } from '../../src/bpf/loader/map.ts';
import { openMap, openMapById } from '../../src/bpf/loader/map-open.ts';
import { bpffsPath, NoBpffsError, requireBpffs } from '../../src/bpf/loader/pin.ts';
import { BE16, BE32, BOOLEAN, I64, layOut, type Type, U8, U16, U32, U64 } from '../../src/bpf/types.ts';
import { BPF_NOEXIST } from '../../src/kernel/bpf-abi.ts';
import { BPF_F_MMAPABLE, BPF_F_RDONLY } from '../../src/kernel/bpf-attributes.ts';
import { possibleCpus } from '../../src/kernel/cpus.ts';
import { mounted, kernelSkip as skip } from '../support/bpf-kernel.ts';
import { mapOf, objectOf } from '../support/bpf-object.ts';

type AnyMap = KernelMap<unknown, unknown>;

function typed(spec: Omit<MapSpec, 'keySize' | 'valueSize'>, key: Type | null, value: Type): AnyMap {
  const none: Codec<unknown> = { bytes: 0, read: () => undefined, write: () => undefined };
  const [keyCodec, valueCodec] = [key === null ? none : codecOf(key), codecOf(value)];
  const whole = { ...spec, keySize: keyCodec.bytes, valueSize: valueCodec.bytes };
  return createMap(whole, codecsOf(whole, keyCodec, valueCodec));
}

const flow = layOut('flow', [
  { name: 'source', type: BE32 },
  { name: 'port', type: BE16 },
  { name: 'isOpen', type: BOOLEAN },
  { name: 'address', type: { kind: 'array', element: U8, length: 6 } },
  { name: 'low', type: U8, bits: 3 },
  { name: 'high', type: U8, bits: 5 },
  { name: 'bytes', type: I64 },
]);

test('structs keep their values, network order and bit fields included', { skip }, () => {
  using map = typed({ type: 'hash', maxEntries: 4 }, flow, flow);
  const value = {
    source: 0x0a000001,
    port: 443,
    isOpen: true,
    address: Uint8Array.of(1, 2, 3, 4, 5, 6),
    low: 5,
    high: 17,
    bytes: -(2n ** 40n),
  };
  map.set(value, value);
  assert.deepEqual(map.get(value), value);
  assert.equal(map.get({ ...value, port: 444 }), null);
  const bytes = new DataView(new ArrayBuffer(flow.bytes));
  map.codecs.key.write(bytes, 0, value);
  assert.equal(bytes.getUint32(0, false), 0x0a000001);
  assert.equal(bytes.getUint16(4, false), 443);
  assert.equal(bytes.getUint8(13), 5 | (17 << 3));
});

test('a value that a type cannot hold is refused with its path', { skip }, () => {
  using map = typed({ type: 'hash', maxEntries: 4 }, U16, flow);
  assert.throws(() => map.get(65536), /65536 does not fit u16: 0 to 65535 are allowed/);
  assert.throws(() => map.get(1.5), /1.5 is no u16/);
  assert.throws(() => map.get('1'), /"1" is no u16/);
  assert.throws(() => map.set(1, { source: 1 }), /flow.port: undefined is no be16/);
  const value = { source: 1, port: 1, isOpen: false, address: [1, 2], low: 0, high: 0, bytes: 0n };
  assert.throws(() => map.set(1, value), /flow.address: an array of 6 elements is needed, 2 given/);
  const address = [0, 0, 0, 0, 0, 0];
  assert.throws(() => map.set(1, { ...value, address, high: 32 }), /flow.high: 32 does not fit 5 bits/);
  assert.throws(() => map.set(1, 5), /5 is no flow/);
});

test('an update says whether the key may be there', { skip }, () => {
  using map = typed({ type: 'hash', maxEntries: 1 }, U32, U64);
  map.set(1, 1n, BPF_NOEXIST);
  assert.throws(() => map.set(1, 2n, BPF_NOEXIST), { code: 'EEXIST' });
  assert.throws(() => map.set(2, 2n), { code: 'E2BIG' });
  assert.equal(map.take(1), 1n);
  assert.equal(map.take(1), null);
  assert.equal(map.has(1), false);
});

for (const type of ['hash', 'lru_hash', 'lpm_trie'] as const) {
  test(`going through a ${type} meets each lasting entry once while others come and go`, { skip }, () => {
    const key =
      type === 'lpm_trie'
        ? layOut('prefix', [
            { name: 'length', type: U32 },
            { name: 'address', type: BE32 },
          ])
        : U32;
    const keyOf = (n: number): unknown => (type === 'lpm_trie' ? { length: 32, address: n } : n);
    const numberOf = (found: unknown): number =>
      typeof found === 'number' ? found : (found as { readonly address: number }).address;
    using map = typed({ type, maxEntries: 20_000 }, key, U64);
    map.setMany(Array.from({ length: 2000 }, (_, n) => [keyOf(n), BigInt(n)] as const));
    const met = new Map<number, number>();
    let steps = 0;
    for (const [found, value] of map) {
      const n = numberOf(found);
      assert.equal(value, BigInt(n));
      met.set(n, (met.get(n) ?? 0) + 1);
      // Even ones stay. Each odd one is deleted when it is met, and a newcomer takes its place.
      if (n % 2 === 1) map.delete(found);
      map.set(keyOf(100_000 + (steps % 3000) * 2 + 1), BigInt(100_000 + (steps % 3000) * 2 + 1));
      assert.ok(++steps < 20_000, 'the iteration ends');
    }
    for (let n = 0; n < 2000; n += 2) assert.equal(met.get(n), 1, `entry ${n}`);
  });
}

test('keys are walked without batches, too', { skip }, () => {
  using map = typed({ type: 'hash', maxEntries: 300 }, U32, U64);
  for (let n = 0; n < 200; n++) map.set(n, 0n);
  const met: unknown[] = [];
  for (const key of map.keys()) {
    met.push(key);
    map.delete(key);
  }
  assert.equal(new Set(met).size, met.length);
  assert.equal(map.clear() + met.length, 200);
});

test('draining empties a map and gives what was in it', { skip }, () => {
  for (const type of ['hash', 'lpm_trie'] as const) {
    using map = typed({ type, maxEntries: 1000 }, U64, U32);
    // As a prefix, the low word of the key is its length.
    const keys = Array.from({ length: 500 }, (_, n) => (BigInt(n) << 32n) | 32n);
    map.setMany(keys.map((key) => [key, Number(key >> 32n)] as const));
    const drained = new Map([...map.drain()]);
    assert.deepEqual([...drained.keys()].sort(), [...keys].sort(), type);
    assert.equal([...map].length, 0);
    map.setMany(keys.slice(0, 3).map((key) => [key, 1] as const));
    assert.equal(map.deleteMany([keys[0], keys[9], keys[1]]), 2);
    assert.equal([...map.values()].length, 1);
  }
});

test('arrays have all their entries; beyond their end is nothing', { skip }, () => {
  using map = typed({ type: 'array', maxEntries: 3 }, U32, U64);
  map.set(1, 7n);
  assert.deepEqual(
    [...map],
    [
      [0, 0n],
      [1, 7n],
      [2, 0n],
    ],
  );
  assert.equal(map.get(3), null);
  assert.throws(() => map.set(3, 1n), { code: 'E2BIG' });
  assert.throws(() => map.delete(1), { code: 'EINVAL' });
});

test('per-CPU maps have a value for each CPU', { skip }, () => {
  const cpus = possibleCpus();
  const values = Array.from({ length: cpus }, (_, cpu) => cpu * 10 + 1);
  for (const type of ['percpu_array', 'percpu_hash', 'lru_percpu_hash'] as const) {
    using map = typed({ type, maxEntries: 4 }, U32, U32);
    map.set(2, values);
    assert.deepEqual(map.get(2), values);
    assert.throws(() => map.set(2, [1, 2, 3, 4, 5, 6, 7]), /7 values are given for/);
    const [entry] = [...map].filter(([key]) => key === 2);
    assert.deepEqual(entry, [2, values]);
  }
});

test('queues and stacks give in their order, bloom filters never deny what they have', { skip }, () => {
  using queue = typed({ type: 'queue', maxEntries: 2 }, null, U32);
  using stack = typed({ type: 'stack', maxEntries: 2 }, null, U32);
  for (const map of [queue, stack]) {
    map.push(1);
    map.push(2);
    assert.throws(() => map.push(3), { code: 'E2BIG' });
  }
  assert.deepEqual([queue.peek(), queue.pop(), queue.pop(), queue.pop()], [1, 1, 2, null]);
  assert.deepEqual([stack.peek(), stack.pop(), stack.pop(), stack.pop()], [2, 2, 1, null]);
  using filter = typed({ type: 'bloom_filter', maxEntries: 100, extra: 5n }, null, U32);
  for (let n = 0; n < 50; n++) filter.push(n);
  for (let n = 0; n < 50; n++) assert.equal(filter.mayContain(n), true);
  const wrong = Array.from({ length: 1000 }, (_, n) => filter.mayContain(1000 + n)).filter(Boolean);
  assert.ok(wrong.length < 200);
});

test('a mapped array is the map’s own memory', { skip }, () => {
  using map = typed({ type: 'array', maxEntries: 700, flags: BPF_F_MMAPABLE }, U32, U64);
  using memory = map.mapped();
  memory.set(600, 5n);
  assert.equal(map.get(600), 5n);
  map.set(0, 9n);
  assert.equal(memory.get(0), 9n);
  assert.throws(() => memory.get(700), /index is 700: 0 to 699 are allowed/);
  assert.throws(() => map.freeze(), { code: 'EBUSY' });
  using plain = typed({ type: 'array', maxEntries: 1 }, U32, U64);
  assert.throws(() => plain.mapped(), /BPF_F_MMAPABLE/);
});

test('a frozen map is only read, one for reading only cannot be written', { skip }, () => {
  using map = typed({ type: 'array', maxEntries: 1 }, U32, U32);
  map.set(0, 3);
  map.freeze();
  assert.equal(map.get(0), 3);
  assert.throws(() => map.set(0, 4), { code: 'EPERM' });
  using reading = typed({ type: 'hash', maxEntries: 1, flags: BPF_F_RDONLY }, U32, U32);
  assert.throws(() => reading.set(0, 4), { code: 'EPERM' });
});

test('a map that is pinned is found again by its path and by its id', { skip }, () => {
  using place = mounted('bpf');
  const path = join(place.path, 'numbers');
  using map = typed({ type: 'hash', maxEntries: 5, name: 'numbers' }, U32, U64);
  map.set(1, 2n);
  map.pin(path);
  assert.throws(() => map.pin(path), /EEXIST; another object has the name/);
  assert.throws(() => map.pin(join(place.path, 'no', 'such')), /ENOENT; make the directory/);
  assert.throws(() => map.pin('/tmp/not-on-bpffs'), /EPERM; choose a path below|EINVAL; choose a path below/);
  using again = openMap(path, map.codecs);
  assert.equal(again?.get(1), 2n);
  assert.equal(again.info().name, 'numbers');
  using byId = openMapById(map.info().id);
  assert.deepEqual(byId?.get(Uint8Array.of(1, 0, 0, 0)), Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0));
  assert.equal(openMap(join(place.path, 'nothing')), null);
});

test('maps pinned by name survive a reload; one that has changed is refused', { skip }, () => {
  using place = mounted('bpf');
  mkdirSync(join(place.path, 'own'));
  const options = { pinDirectory: join(place.path, 'own') };
  const spec = mapOf('counts', 'hash', { pinByName: true, key: U32, value: U64 });
  {
    using first = loadObject(objectOf({ maps: [spec] }), options);
    first.maps.counts.set(1, 5n);
  }
  {
    using second = loadObject(objectOf({ maps: [spec] }), options);
    assert.equal(second.maps.counts.get(1), 5n);
  }
  const changed = mapOf('counts', 'hash', { pinByName: true, valueBytes: 16, maxEntries: 3 });
  assert.throws(
    () => loadObject(objectOf({ maps: [changed] }), options),
    /is not the counts of this object: its value size is 8, not 16, its number of entries is 16, not 3; remove the pin/,
  );
});

test('without a bpffs the error says how to mount one', {
  skip: bpffsPath() !== null && 'a bpffs is mounted here',
}, () => {
  assert.throws(
    () => requireBpffs(),
    (error) => error instanceof NoBpffsError && /mount -t bpf bpf \/sys\/fs\/bpf/.test(error.message),
  );
});

test('what only the kernel writes in a value may be left out of it, other fields may not', () => {
  const lock = layOut('bpf_spin_lock', [{ name: 'val', type: U32 }]);
  const bucket = layOut('Bucket', [
    { name: 'lock', type: lock },
    { name: 'tokens', type: U32 },
  ]);
  const view = new DataView(new ArrayBuffer(8));
  codecOf(bucket).write(view, 0, { lock: {}, tokens: 5 });
  assert.deepEqual(codecOf(bucket).read(view, 0), { lock: { val: 0 }, tokens: 5 });
  assert.throws(() => codecOf(bucket).write(view, 0, { lock: {} }), /Bucket\.tokens/);
});
