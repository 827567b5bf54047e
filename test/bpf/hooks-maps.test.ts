/**
 * The rarer kinds of maps, and what their values may hold, used by programs in TypeScript on real packets and by programs that this
 * process calls.
 */
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import test, { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BPF_F_LOCK } from '../../src/bpf/library/index.ts';
import { codecOf } from '../../src/bpf/loader/codec.ts';
import { createMap } from '../../src/bpf/loader/map.ts';
import { PerfBufferReader } from '../../src/bpf/loader/perf-buffer.ts';
import { RingBufferReader } from '../../src/bpf/loader/ring-buffer.ts';
import { UserRingBuffer } from '../../src/bpf/loader/user-ring-buffer.ts';
import { hooksOf } from '../support/bpf-hooks.ts';
import {
  cgroup,
  inCgroup,
  type Namespace,
  namespace,
  receiveBytes,
  kernelSkip as skip,
} from '../support/bpf-kernel.ts';
import { bound, loopback, ownAddress, sendTo, udp } from '../support/bpf-sockets.ts';
import { Order } from './hooks/maps.bpf.ts';

const load = hooksOf<typeof import('./hooks/maps.bpf.ts')>('maps');

let net: Namespace;

before(() => {
  if (skip === false) net = namespace();
});
after(() => net?.[Symbol.dispose]());

/** Sends a datagram of 10 bytes to each port of the loopback; whoever listens. */
function sendAll(...ports: readonly number[]): number[] {
  return net.inside(() => {
    // What nobody takes comes back as an error of the next send, unless that is of another socket.
    return ports.map((port) => {
      using sender = udp('ipv4');
      return sendTo(sender, loopback('ipv4', port), 10);
    });
  });
}

/** A context for a syscall program: 32-bit numbers. */
function words(...values: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

test('a queue gives first what was put in first, a stack last, a filter keeps the known out', { skip }, () => {
  using hooks = load({ programs: ['remember', 'accept'] });
  const { first, last, known } = hooks.maps;
  known.push(5002);
  using _link = net.inside(() => hooks.programs.remember.attach({ interface: 'lo' }));
  sendAll(5001, 5002, 5003, 5004, 5005, 5006);
  assert.equal(known.mayContain(5002), true);
  assert.equal(hooks.globals.popped.value, 5001, 'the oldest of a full queue made room');
  assert.deepEqual(
    Array.from({ length: 4 }, () => first.pop()),
    [5003, 5004, 5005, 5006],
  );
  assert.equal(first.pop(), null);
  assert.equal(last.peek(), 5005, 'a full stack takes nothing more');
  assert.deepEqual(
    Array.from({ length: 4 }, () => last.pop()),
    [5005, 5004, 5003, 5001],
  );
});

test('the map that a map holds is exchanged while a program uses it', { skip }, () => {
  using hooks = load({ programs: ['count', 'accept'] });
  const { portCounters, current, tenants, tenantBytes } = hooks.maps;
  using second = createMap(portCounters.spec, portCounters.codecs);
  using tenant = createMap(tenantBytes.spec, tenantBytes.codecs);
  using _link = net.inside(() => hooks.programs.count.attach({ interface: 'lo' }));
  sendAll(5001);
  assert.equal(portCounters.get(5001), null, 'nothing is current yet');
  current.set(0, portCounters);
  tenants.set(5001, tenant);
  sendAll(5001, 5001, 5002);
  current.set(0, second);
  sendAll(5001);
  assert.deepEqual([portCounters.get(5001), portCounters.get(5002)], [2n, 1n]);
  assert.deepEqual([second.get(5001), second.get(5002)], [1n, null]);
  assert.equal(tenant.get(1), BigInt(3 * (10 + 8 + 20 + 14)));
  assert.equal(tenantBytes.get(1), 0n, 'the pattern is no tenant');
});

test('the programs of a table are exchanged while packets flow', { skip }, () => {
  using hooks = load({ programs: ['decide', 'drop', 'accept'] });
  const { verdicts } = hooks.maps;
  net.inside(() => {
    using receiver = bound('ipv4');
    const { port } = ownAddress(receiver);
    using _link = hooks.programs.decide.attach({ direction: 'egress', interface: 'lo' });
    verdicts.delete(1);
    sendAll(port);
    assert.deepEqual([...hooks.globals.steps.value], [1, 0, 0, 1], 'without a program the next statement runs');
    verdicts.set(port & 3, hooks.programs.accept);
    sendAll(port);
    assert.deepEqual([...hooks.globals.steps.value], [2, 1, 0, 1]);
    verdicts.set(port & 3, hooks.programs.drop);
    sendAll(port, port);
    assert.deepEqual([...hooks.globals.steps.value], [4, 1, 2, 1]);
  });
});

test('two numbers under a lock are always the same', { skip }, () => {
  using hooks = load({ programs: ['countBoth', 'accept'] });
  for (let round = 1; round <= 5; round++) {
    assert.equal(hooks.programs.countBoth.testRun({}).result, 0);
    const both = hooks.maps.guarded.get(0, BPF_F_LOCK);
    assert.deepEqual([both?.low, both?.high], [round * 100, round * 100]);
  }
});

test('a timer rings, and sets itself again', { skip }, async () => {
  using hooks = load({ programs: ['setAlarm', 'accept'] });
  assert.equal(hooks.programs.setAlarm.testRun({ context: words(7, 5) }).result, 0);
  assert.equal(hooks.maps.alarms.get(7)?.rings, 0);
  for (let tries = 0; tries < 200 && hooks.maps.alarms.get(7)?.rings !== 3; tries++) await sleep(5);
  assert.deepEqual([hooks.maps.alarms.get(7)?.rings, hooks.maps.alarms.get(7)?.key], [3, 7]);
});

test('a program takes what user space wrote into a ring', { skip }, () => {
  using hooks = load({ programs: ['takeOrders', 'accept'] });
  using ring = new UserRingBuffer(hooks.maps.orders);
  const codec = codecOf(Order.type);
  for (const [kind, amount] of [
    [1, 5n],
    [1, 2n ** 40n],
    [9, 1n],
    [1, 3n],
  ] as const) {
    assert.equal(ring.push(codec, { kind, amount }), true);
  }
  assert.equal(hooks.programs.takeOrders.testRun({}).result, 0);
  const { sum, orders, refused } = hooks.globals.totals.value;
  assert.deepEqual({ sum, orders, refused }, { sum: 2n ** 40n + 8n, orders: 3, refused: 1 });
  assert.equal(ring.pendingBytes, 0);
});

test('records have the length that user space asks for', { skip }, () => {
  using hooks = load({ programs: ['writeLetter', 'accept'] });
  const lengths: number[] = [];
  using reader = new RingBufferReader(hooks.maps.letters, (view, offset, length) => {
    lengths.push(length);
    assert.equal(view.getBigUint64(offset, true), 99n);
  });
  for (const bytes of [0, 5, 64, 65]) {
    const context = new Uint8Array(16);
    new DataView(context.buffer).setUint32(0, bytes, true);
    new DataView(context.buffer).setBigUint64(8, 99n, true);
    assert.equal(hooks.programs.writeLetter.testRun({ context }).result, bytes > 64 ? 1 : 0);
  }
  reader.read();
  assert.deepEqual(lengths, [8, 13, 72]);
});

test('the least recently used entries make room, and each CPU has a value of its own', { skip }, () => {
  using hooks = load({ programs: ['crowd', 'accept'] });
  for (let round = 0; round < 3; round++) hooks.programs.crowd.testRun({});
  const entries = [...hooks.maps.recent.entries()];
  assert.ok(entries.length > 0 && entries.length <= 64, `${entries.length} entries`);
  assert.ok(entries.every(([key, value]) => key === value));
  assert.ok(entries.some(([key]) => key > 990));
  const perCpuEntries = [...hooks.maps.recentOnCpu.entries()];
  assert.ok(perCpuEntries.length > 0 && perCpuEntries.length <= 64, `${perCpuEntries.length} entries`);
  assert.ok(perCpuEntries.every(([key, values]) => values.includes(key)));
  const sums = [...hooks.maps.sumsOnCpu.values()].flat();
  assert.equal(
    sums.reduce((sum, value) => sum + value, 0n),
    3000n,
  );
  const perCpu = hooks.maps.onCpu.get(0)!;
  assert.equal(
    perCpu.reduce((sum, value) => sum + value, 0n),
    3n,
  );
});

test('a task is asked for, read and given back', { skip }, () => {
  using hooks = load({ programs: ['nameTask', 'accept'] });
  const question = new Uint8Array(24);
  new DataView(question.buffer).setInt32(0, process.pid, true);
  const { result, context } = hooks.programs.nameTask.testRun({ context: question });
  assert.equal(result, 0);
  assert.equal(new DataView(context.buffer, context.byteOffset).getUint32(4, true), process.pid);
  assert.match(Buffer.from(context.subarray(8)).toString(), /^\w/);
  new DataView(question.buffer).setInt32(0, 2 ** 30, true);
  assert.equal(hooks.programs.nameTask.testRun({ context: question }).result, 1, 'there is no such task');
});

test('samples of datagrams come through the buffers of the CPUs', { skip }, () => {
  using hooks = load({ programs: ['takeSample', 'accept'] });
  const seen: number[] = [];
  using reader = new PerfBufferReader(hooks.maps.samples, (view, offset) => seen.push(view.getUint32(offset, true)), {
    bytesPerCpu: 4096,
  });
  using _link = net.inside(() => hooks.programs.takeSample.attach({ interface: 'lo' }));
  sendAll(5001, 5002);
  reader.read();
  assert.deepEqual(seen, [10 + 8 + 20 + 14, 10 + 8 + 20 + 14]);
});

test('only the sockets of one cgroup may send', { skip }, () => {
  using group = cgroup();
  using hooks = load({ programs: ['onlyGroup', 'accept'] });
  const descriptor = openSync(group.path, 'r');
  try {
    hooks.maps.groups.set(0, descriptor);
  } finally {
    closeSync(descriptor);
  }
  net.inside(() => {
    using receiver = bound('ipv4');
    using _link = hooks.programs.onlyGroup.attach({ interface: 'lo' });
    using stranger = udp('ipv4');
    using member = inCgroup(group.path, () => udp('ipv4'));
    sendTo(stranger, ownAddress(receiver), 1);
    sendTo(member, ownAddress(receiver), 2);
    assert.equal(receiveBytes(receiver.descriptor, 8)?.length, 2);
    assert.equal(receiveBytes(receiver.descriptor, 8), null);
  });
});

test('an arena is memory that user space maps', { skip }, () => {
  using hooks = load({ programs: ['accept'] });
  const { shared } = hooks.arenas;
  shared.view.setUint32(4096, 7, true);
  assert.equal(shared.view.byteLength, 2 * 4096);
  assert.equal(shared.view.getUint32(4096, true), 7);
});
