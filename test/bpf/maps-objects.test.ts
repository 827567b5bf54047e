/**
 * Maps whose keys or values are the kernel's own objects: interfaces, CPUs, sockets, tasks, files, cgroups, other maps; and arenas.
 */
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import test, { after, before } from 'node:test';
import { codecOf } from '../../src/bpf/loader/codec.ts';
import { loadObject } from '../../src/bpf/loader/collection.ts';
import { codecsOf, createMap, type KernelMap, type MapSpec } from '../../src/bpf/loader/map.ts';
import { BtfBuilder } from '../../src/bpf/object/btf/builder.ts';
import { I32, layOut, type StructType, type Type, U32, U64 } from '../../src/bpf/types.ts';
import { BPF_F_MMAPABLE } from '../../src/kernel/bpf-attributes.ts';
import * as constants from '../../src/kernel/constants.ts';
import { check } from '../../src/kernel/error.ts';
import { bind, setsockoptInt } from '../../src/kernel/socket.ts';
import {
  arrives,
  cgroup,
  type Hosts,
  hosts,
  isReadable,
  openSocket,
  receive,
  kernelSkip as skip,
  type TestSocket,
} from '../support/bpf-kernel.ts';
import { functionOf, kind, loadCounter, mapOf, objectOf } from '../support/bpf-object.ts';

type AnyMap = KernelMap<unknown, unknown>;

function typed(spec: Omit<MapSpec, 'keySize' | 'valueSize'>, key: Type, value: Type): AnyMap {
  const [keyCodec, valueCodec] = [codecOf(key), codecOf(value)];
  const whole = { ...spec, keySize: keyCodec.bytes, valueSize: valueCodec.bytes };
  return createMap(whole, codecsOf(whole, keyCodec, valueCodec));
}

let pair: Hosts;

before(() => {
  if (skip === false) pair = hosts();
});
after(() => pair?.[Symbol.dispose]());

/** struct bpf_devmap_val and bpf_cpumap_val: a number and a program, given by descriptor, read as its id. */
const target: StructType = layOut('target', [
  { name: 'value', type: U32 },
  { name: 'program', type: U32 },
]);

test('an XDP program redirects by a device map, and a program of the map sees what it sends', { skip }, () => {
  const bpf_redirect_map = 51;
  using passing = loadCounter(kind('xdp', { attachType: 'xdp_devmap', section: 'xdp/devmap' }), 1);
  const spec = objectOf({
    maps: [mapOf('devices', 'devmap', { keyBytes: 4, valueBytes: 8, maxEntries: 1, key: U32, value: target })],
    functions: [
      functionOf('redirect', `lddw %r1, 0\nmov %r2, 0\nmov %r3, 0\ncall ${bpf_redirect_map}\nexit`, {
        kind: kind('xdp', { attachType: 'xdp' }),
        relocations: [[0, 'map', 'devices']],
      }),
    ],
  });
  // A veth device takes redirected frames only while its peer runs XDP (veth_set_xdp_features, drivers/net/veth.c).
  using peer = loadCounter(kind('xdp', { attachType: 'xdp' }), 2);
  using _peerLink = pair.one.inside(() => peer.program.attach({ interface: 'veth', mode: 'native' }));
  pair.other.inside(() => {
    using collection = loadObject(spec);
    const { devices } = collection.maps;
    const veth = Number(pair.other.run('cat', '/sys/class/net/veth/ifindex'));
    devices.set(0, { value: veth, program: passing.program.descriptor });
    assert.deepEqual(devices.get(0), { value: veth, program: passing.program.info().id });
    using _link = collection.programs.redirect.attach({ interface: 'veth', mode: 'native' });
    pair.one.inside(() => {
      using receiver = openSocket(constants.AF_INET, constants.SOCK_DGRAM);
      bind(receiver.descriptor, { family: 'ipv4', address: '10.77.0.1', port: 0 });
      arrives('10.77.0.2', 9, receiver.descriptor, 50);
    });
  });
  assert.ok(passing.hits() > 0);
  // The map's program dropped what it saw (XDP_DROP), so nothing came back.
  assert.equal(peer.hits(), 0);
});

test('a CPU map takes a queue’s length and a program', { skip }, () => {
  using cpus = typed({ type: 'cpumap', maxEntries: 1 }, U32, target);
  using program = loadCounter(kind('xdp', { attachType: 'xdp_cpumap', section: 'xdp/cpumap' }), 2);
  cpus.set(0, { value: 192, program: program.program.descriptor });
  assert.deepEqual(cpus.get(0), { value: 192, program: program.program.info().id });
  assert.equal(cpus.delete(0), true);
});

/** A storage map: made with types, which the kernel wants for these. */
function storage(type: string): ReturnType<typeof loadObject> {
  const types = new BtfBuilder();
  const keyTypeId = types.addType(I32);
  const valueTypeId = types.addType(U64);
  const map = mapOf('store', type, { maxEntries: 0, flags: 1, key: I32, value: U64, keyTypeId, valueTypeId });
  return loadObject(objectOf({ maps: [map], btf: types.finish() }));
}

function withDescriptor(path: string, work: (descriptor: number) => void): void {
  const descriptor = openSync(path, 'r');
  try {
    work(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

test('storages keep a value with a socket, a file, a task and a cgroup, by descriptor', { skip }, () => {
  const roundTrip = (type: string, descriptor: number): void => {
    using collection = storage(type);
    const { store } = collection.maps;
    assert.equal(store.get(descriptor), null, type);
    store.set(descriptor, 5n);
    assert.equal(store.get(descriptor), 5n, type);
    assert.equal(store.delete(descriptor), true, type);
    assert.throws(() => store.set(-1, 1n), { code: 'EBADF' }, type);
  };
  using socket = openSocket(constants.AF_INET, constants.SOCK_DGRAM);
  roundTrip('sk_storage', socket.descriptor);
  using group = cgroup();
  withDescriptor(group.path, (descriptor) => roundTrip('cgrp_storage', descriptor));
  withDescriptor(import.meta.filename, (descriptor) => roundTrip('inode_storage', descriptor));
});

test('a reuseport program chooses its socket from an array of sockets', { skip }, () => {
  const bpf_sk_select_reuseport = 82;
  const spec = objectOf({
    maps: [mapOf('sockets', 'reuseport_sockarray', { valueBytes: 8, maxEntries: 2, key: U32 })],
    functions: [
      functionOf(
        'choose',
        `mov %r2, 1
         stxw [%r10-4], %r2
         lddw %r2, 0
         mov %r3, %r10
         add %r3, -4
         mov %r4, 0
         call ${bpf_sk_select_reuseport}
         mov %r0, 1
         exit`,
        { kind: kind('sk_reuseport', { attachType: 'sk_reuseport_select' }), relocations: [[2, 'map', 'sockets']] },
      ),
    ],
  });
  pair.one.inside(() => {
    const listening = (): TestSocket => {
      const socket = openSocket(constants.AF_INET, constants.SOCK_DGRAM);
      setsockoptInt(socket.descriptor, constants.SOL_SOCKET, constants.SO_REUSEPORT, 1);
      check(bind(socket.descriptor, { family: 'ipv4', address: '127.0.0.1', port: 4343 }), 'bind');
      return socket;
    };
    using first = listening();
    using second = listening();
    using collection = loadObject(spec);
    const { sockets } = collection.maps;
    sockets.set(0, first.descriptor);
    sockets.set(1, second.descriptor);
    assert.ok((sockets.get(1) as number) > 0, 'a cookie');
    using _attached = collection.programs.choose.attach({ socket: first.descriptor });
    for (let round = 0; round < 10; round++) {
      assert.equal(arrives('127.0.0.1', 4343, second.descriptor), true);
      assert.equal(isReadable(first.descriptor, 0), false);
    }
    assert.ok(receive(first.descriptor) < 0);
  });
});

test('a hash of maps takes maps like its pattern, and no others', { skip }, () => {
  const like = { type: 'array', maxEntries: 4 } as const;
  using pattern = typed(like, U32, U64);
  using outer = typed({ type: 'hash_of_maps', maxEntries: 4, inner: pattern }, U32, U32);
  using good = typed(like, U32, U64);
  using bad = typed({ type: 'hash', maxEntries: 4 }, U32, U64);
  outer.set(7, good);
  assert.equal(outer.get(7), good.info().id);
  assert.throws(() => outer.set(8, bad), { code: 'EINVAL' });
  assert.deepEqual([...outer], [[7, good.info().id]]);
});

test('an arena is memory of both sides', { skip }, () => {
  const spec = objectOf({
    maps: [mapOf('memory', 'arena', { keyBytes: 0, valueBytes: 0, maxEntries: 2, flags: BPF_F_MMAPABLE })],
  });
  using collection = loadObject(spec);
  const { view } = collection.arenas.memory;
  assert.equal(view.byteLength, 2 * 4096);
  view.setUint32(4096, 5, true);
  assert.equal(view.getUint32(4096, true), 5);
});
