/**
 * Programs at sockets: filters, the choice in a SO_REUSEPORT group, socket maps, and a congestion control.
 */
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { codecOf, holderCodec } from '../../src/bpf/loader/codec.ts';
import { loadObject } from '../../src/bpf/loader/collection.ts';
import { createMap, type KernelMap } from '../../src/bpf/loader/map.ts';
import { BtfBuilder } from '../../src/bpf/object/btf/builder.ts';
import { layOut, type Type, U8, U32, U64 } from '../../src/bpf/types.ts';
import { BPF_F_LINK } from '../../src/kernel/bpf-attributes.ts';
import * as constants from '../../src/kernel/constants.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import { check } from '../../src/kernel/error.ts';
import {
  accept4,
  bind,
  connect,
  getsockname,
  getsockopt,
  listen,
  setsockopt,
  setsockoptInt,
} from '../../src/kernel/socket.ts';
import {
  arrives,
  boundUdp,
  isReadable,
  type Namespace,
  namespace,
  openSocket,
  receive,
  send,
  kernelSkip as skip,
} from '../support/bpf-kernel.ts';
import { functionOf, kind, loadCounter, mapOf, objectOf, sectionOf } from '../support/bpf-object.ts';

let net: Namespace;

before(() => {
  if (skip === false) net = namespace();
});
after(() => net?.[Symbol.dispose]());

test('a filter keeps nothing of a socket’s packets until it is taken away', { skip }, () => {
  using dropping = loadCounter(kind('socket_filter'), 0);
  net.inside(() => {
    using receiver = boundUdp('127.0.0.1');
    {
      using filter = dropping.program.attach({ socket: receiver.descriptor });
      assert.equal(filter.kind, 'socket');
      assert.equal(arrives('127.0.0.1', receiver.port, receiver.descriptor, 50), false);
    }
    assert.equal(arrives('127.0.0.1', receiver.port, receiver.descriptor), true);
  });
  assert.equal(dropping.hits(), 1);
});

test('sk_reuseport decides over a group of sockets', { skip }, () => {
  using dropping = loadCounter(kind('sk_reuseport', { attachType: 'sk_reuseport_select' }), 0);
  net.inside(() => {
    using receiver = openSocket(constants.AF_INET, constants.SOCK_DGRAM);
    setsockoptInt(receiver.descriptor, constants.SOL_SOCKET, constants.SO_REUSEPORT, 1);
    bind(receiver.descriptor, { family: 'ipv4', address: '127.0.0.1', port: 4242 });
    {
      using attached = dropping.program.attach({ socket: receiver.descriptor });
      assert.equal(attached.kind, 'reuseport');
      assert.equal(arrives('127.0.0.1', 4242, receiver.descriptor, 50), false);
    }
    assert.equal(arrives('127.0.0.1', 4242, receiver.descriptor), true);
  });
  assert.ok(dropping.hits() > 0);
});

/** Two ends of a TCP connection in the namespace. */
function connection(): Disposable & { readonly client: number; readonly server: number } {
  using stack = new DisposableStack();
  const listener = stack.use(openSocket(constants.AF_INET, constants.SOCK_STREAM));
  bind(listener.descriptor, { family: 'ipv4', address: '127.0.0.1', port: 0 });
  listen(listener.descriptor, 1);
  const address = getsockname(listener.descriptor);
  assert.ok(address !== null && typeof address !== 'number');
  const client = stack.use(openSocket(constants.AF_INET, constants.SOCK_STREAM));
  check(connect(client.descriptor, address), 'connect');
  const server = check(accept4(listener.descriptor, constants.SOCK_CLOEXEC), 'accept4');
  const owned = stack.move();
  return { client: client.descriptor, server, [Symbol.dispose]: () => owned.dispose() };
}

/** A map of one socket, by its descriptor. */
function socketMap(): KernelMap<unknown, unknown> {
  const spec = { type: 'sockmap', keySize: 4, valueSize: 4, maxEntries: 1 } as const;
  return createMap(spec, { key: codecOf(U32), value: holderCodec(4) });
}

test('sk_msg decides over what a socket in a map sends', { skip }, () => {
  using dropping = loadCounter(kind('sk_msg', { attachType: 'sk_msg_verdict' }), 0);
  using sockets = socketMap();
  net.inside(() => {
    using pair = connection();
    {
      using attached = dropping.program.attach({ map: sockets });
      assert.equal(attached.kind, 'sockmap');
      sockets.set(0, pair.client);
      assert.equal(send(pair.client), -ERRNO.EACCES);
    }
    // A socket keeps its programs as long as it is in the map.
    sockets.delete(0);
    assert.equal(send(pair.client), 64);
  });
  assert.equal(dropping.hits(), 1);
});

test('sk_skb decides over what a socket in a map receives', { skip }, () => {
  using dropping = loadCounter(kind('sk_skb', { attachType: 'sk_skb_stream_verdict' }), 0);
  using sockets = socketMap();
  net.inside(() => {
    using pair = connection();
    using _attached = dropping.program.attach({ map: sockets });
    sockets.set(0, pair.server);
    send(pair.client);
    assert.equal(isReadable(pair.server, 50), false);
    assert.ok(receive(pair.server) < 0);
  });
  assert.ok(dropping.hits() > 0);
});

test('a stream parser and a verdict work together, and each kind of verdict takes programs', { skip }, () => {
  using parsing = loadCounter(kind('sk_skb', { attachType: 'sk_skb_stream_parser' }), 64);
  using dropping = loadCounter(kind('sk_skb', { attachType: 'sk_skb_stream_verdict' }), 0);
  using sockets = socketMap();
  net.inside(() => {
    using pair = connection();
    using _parser = parsing.program.attach({ map: sockets });
    using _verdict = dropping.program.attach({ map: sockets });
    sockets.set(0, pair.server);
    send(pair.client);
    assert.equal(isReadable(pair.server, 50), false);
  });
  assert.ok(parsing.hits() > 0);
  assert.ok(dropping.hits() > 0);
  using other = socketMap();
  using plain = loadCounter(kind('sk_skb', { attachType: 'sk_skb_verdict' }), 1);
  using attached = plain.program.attach({ map: other });
  assert.equal(attached.kind, 'sockmap');
});

const pointer: Type = { kind: 'pointer', target: () => U8 };
const operations = layOut('tcp_congestion_ops', [
  { name: 'name', type: { kind: 'array', element: U8, length: 16 } },
  { name: 'ssthresh', type: pointer },
  { name: 'cong_avoid', type: pointer },
  { name: 'undo_cwnd', type: pointer },
]);

function congestionControl(name: string, flags: number): ReturnType<typeof objectOf> {
  const member = (of: string): { readonly kind: ReturnType<typeof kind> } => ({
    kind: kind('struct_ops', { target: of, section: `struct_ops/${of}` }),
  });
  const data = new Uint8Array(operations.bytes);
  data.set(new TextEncoder().encode(name));
  // The kernel wants an object's own types beside its own, whatever they say.
  const types = new BtfBuilder();
  types.addType(U32);
  const functions = operations.fields.slice(1).map(({ name: of, offset }) => ({ offset, name: of }));
  return objectOf({
    btf: types.finish(),
    maps: [
      mapOf('control', 'struct_ops', {
        flags,
        value: operations,
        structOps: { type: 'tcp_congestion_ops', data, functions },
      }),
    ],
    data: [sectionOf('.bss', new Uint8Array(8), { variables: [{ name: 'calls', offset: 0, bytes: 8, type: U64 }] })],
    functions: [
      functionOf('ssthresh', 'mov %r0, 2\nexit', member('ssthresh')),
      functionOf('cong_avoid', 'lddw %r1, 0\nldxdw %r2, [%r1]\nadd %r2, 1\nstxdw [%r1], %r2\nmov %r0, 0\nexit', {
        ...member('cong_avoid'),
        relocations: [[0, 'data', '.bss']],
      }),
      functionOf('undo_cwnd', 'mov %r0, 10\nexit', member('undo_cwnd')),
    ],
  });
}

const TCP_CONGESTION = constants.TCP_CONGESTION;
const utf8 = new TextEncoder();

for (const [what, flags] of [
  ['a link', BPF_F_LINK],
  ['its map alone', 0],
] as const) {
  test(`a congestion control made of programs serves connections, registered by ${what}`, { skip }, () => {
    const name = flags === 0 ? 'millrace_map' : 'millrace_link';
    using collection = loadObject(congestionControl(name, flags));
    const { calls } = collection.globals;
    {
      using attached = collection.attachStruct('control');
      assert.equal(attached.kind, 'struct_ops');
      net.inside(() => {
        using pair = connection();
        check(setsockopt(pair.client, constants.IPPROTO_TCP, TCP_CONGESTION, utf8.encode(name)), 'setsockopt', name);
        const chosen = new Uint8Array(16);
        getsockopt(pair.client, constants.IPPROTO_TCP, TCP_CONGESTION, chosen);
        assert.equal(Buffer.from(chosen).toString().split('\0')[0], name);
        for (let round = 0; round < 20; round++) {
          assert.equal(send(pair.client), 64);
          assert.equal(isReadable(pair.server, 1000), true);
          receive(pair.server);
        }
      });
      assert.ok((calls.value as bigint) > 0n);
    }
    net.inside(() => {
      using pair = connection();
      const result = setsockopt(pair.client, constants.IPPROTO_TCP, TCP_CONGESTION, utf8.encode(name));
      assert.equal(result, -ERRNO.ENOENT);
    });
  });
}
