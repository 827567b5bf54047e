/**
 * Programs in TypeScript on packets in the stack, each shown to act between two hosts: tcx, tc, netfilter, socket filters, the flow
 * dissector, routes and segments.
 */
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { ipv4 } from '../../src/bpf/addresses.ts';
import { bpf_flow_keys } from '../../src/bpf/library/index.ts';
import { codecOf } from '../../src/bpf/loader/codec.ts';
import * as constants from '../../src/kernel/constants.ts';
import { check } from '../../src/kernel/error.ts';
import { connect, setsockoptInt } from '../../src/kernel/socket.ts';
import { hooksOf } from '../support/bpf-hooks.ts';
import {
  arrives,
  boundUdp,
  type Hosts,
  hosts,
  isReadable,
  kernelSkip,
  openSocket,
  receiveBytes,
  run,
  sendBytes,
} from '../support/bpf-kernel.ts';
import { needs } from '../support/bpf-objects.ts';

/** Why nothing of this can be shown here, or false. */
const skip = kernelSkip || needs('ip', 'ping');
const load = hooksOf<typeof import('./hooks/packets.bpf.ts')>('packets');

const DATAGRAM_BYTES = 64 + 20 + 8;
let pair: Hosts;

before(() => {
  if (skip === false) pair = hosts();
});
after(() => pair?.[Symbol.dispose]());

/** Whether a datagram that the first host sends to `address` arrives at a port of the second. */
function reaches(timeoutMs: number, port = 0, address = '10.77.0.2', sentTo?: number): boolean {
  using receiver = pair.other.inside(() => boundUdp('0.0.0.0', port));
  return pair.one.inside(() => arrives(address, sentTo ?? receiver.port, receiver.descriptor, timeoutMs));
}

test('tcx programs run in the order in which they were placed', { skip }, () => {
  using first = load({ programs: ['note'], constants: { mark: 1 } });
  using second = load({ programs: ['note'], constants: { mark: 2 } });
  using third = load({ programs: ['note'], constants: { mark: 3 } });
  using stopping = load({ programs: ['stop'] });
  pair.one.inside(() => {
    using _one = first.programs.note.attach({ interface: 'veth' });
    using _two = second.programs.note.attach({ interface: 'veth' });
    assert.equal(reaches(2000), true);
    assert.equal(second.globals.order.value, 12);
    using _three = third.programs.note.attach({ interface: 'veth', position: 'first' });
    assert.equal(reaches(2000), true);
    assert.equal(second.globals.order.value, 312);
    using _stop = stopping.programs.stop.attach({ interface: 'veth', before: second.programs.note });
    second.globals.order.value = 0;
    assert.equal(reaches(100), false);
    assert.equal(first.globals.order.value, 31);
    assert.equal(second.globals.order.value, 0, 'nothing runs behind a verdict');
  });
});

test('the longest prefix that fits decides', { skip }, () => {
  using hooks = load({ programs: ['firewall'] });
  const { networks } = hooks.maps;
  using _link = pair.one.inside(() => hooks.programs.firewall.attach({ interface: 'veth' }));
  assert.equal(reaches(2000), true);
  networks.set({ prefixLength: 8, address: ipv4('10.0.0.0') }, 1);
  assert.equal(reaches(50), false);
  networks.set({ prefixLength: 30, address: ipv4('10.77.0.0') }, 0);
  assert.equal(reaches(2000), true);
  networks.set({ prefixLength: 32, address: ipv4('10.77.0.2') }, 1);
  assert.equal(reaches(50), false);
});

test('a tc filter gives datagrams for one port to another, with a right checksum', { skip }, () => {
  using hooks = load({ programs: ['redirectPort'], constants: { servedPort: 4001, realPort: 4002 } });
  assert.equal(reaches(50, 4002, '10.77.0.2', 4001), false);
  pair.other.inside(() => {
    using attached = hooks.programs.redirectPort.attach({ filter: { interface: 'veth', direction: 'ingress' } });
    assert.equal(attached.kind, 'tc');
    assert.equal(reaches(2000, 4002, '10.77.0.2', 4001), true);
  });
});

test('an egress program gives datagrams for one address to another', { skip }, () => {
  const constants = { oldAddress: ipv4('10.77.0.9'), newAddress: ipv4('10.77.0.2') };
  using hooks = load({ programs: ['redirectAddress'], constants });
  const [{ address }] = JSON.parse(run('ip', '-n', pair.other.name, '-j', 'link', 'show', 'veth'));
  run('ip', '-n', pair.one.name, 'neigh', 'replace', '10.77.0.9', 'lladdr', address, 'dev', 'veth');
  assert.equal(reaches(50, 0, '10.77.0.9'), false);
  using _link = pair.one.inside(() => hooks.programs.redirectAddress.attach({ interface: 'veth' }));
  assert.equal(reaches(2000, 0, '10.77.0.9'), true);
});

test('a netfilter program follows its context into the kernel and drops by length', { skip }, () => {
  const netfilter = { family: 'ipv4', hook: 'localIn', priority: -128 } as const;
  for (const [blockedSize, arrived] of [
    [DATAGRAM_BYTES, false],
    [DATAGRAM_BYTES + 1, true],
  ] as const) {
    using hooks = load({ programs: ['filterPackets'], constants: { blockedSize } });
    using _link = pair.other.inside(() => hooks.programs.filterPackets.attach({ netfilter }));
    assert.equal(reaches(arrived ? 2000 : 100), arrived);
    const [{ ifindex }] = JSON.parse(run('ip', '-n', pair.other.name, '-j', 'link', 'show', 'veth'));
    assert.equal(hooks.globals.fromDevice.value, ifindex);
    assert.equal(hooks.globals.hookNumber.value, 1, 'NF_INET_LOCAL_IN');
    assert.ok(hooks.globals.seen.value > 0n);
  }
});

test('a socket filter keeps some datagrams, and of those some bytes', { skip }, () => {
  const UDP_HEADER_BYTES = 8;
  using hooks = load({ programs: ['keepSome'], constants: { firstByte: 65, keptBytes: UDP_HEADER_BYTES + 4 } });
  using receiver = pair.other.inside(() => boundUdp('10.77.0.2'));
  using _filter = hooks.programs.keepSome.attach({ socket: receiver.descriptor });
  using sender = pair.one.inside(() => openSocket(constants.AF_INET, constants.SOCK_DGRAM));
  check(connect(sender.descriptor, { family: 'ipv4', address: '10.77.0.2', port: receiver.port }), 'connect');
  for (const text of ['BCDEFGH', 'ABCDEFGH']) sendBytes(sender.descriptor, Buffer.from(text));
  assert.equal(isReadable(receiver.descriptor, 2000), true);
  assert.equal(Buffer.from(receiveBytes(receiver.descriptor, 64)!).toString(), 'ABCD');
  assert.equal(receiveBytes(receiver.descriptor, 64), null);
});

test('a flow dissector fills in the keys of a flow', { skip }, () => {
  using hooks = load({ programs: ['dissectUdp'] });
  const { dissectUdp } = hooks.programs;
  {
    using _link = dissectUdp.attach({ namespace: pair.one.path });
    // A device of two queues chooses between them by the hash of the flow, which for ICMP nobody has made before.
    pair.one.run('ping', '-c', '1', '-W', '2', '10.77.0.2');
    assert.equal(hooks.globals.dissected.value, 1, 'IPPROTO_ICMP');
  }
  const packet = new Uint8Array(64);
  packet.set([0x08, 0x00, 0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2], 12);
  const { data } = dissectUdp.testRun({ data: packet });
  const keys = codecOf(bpf_flow_keys.type).read(new DataView(data.buffer, data.byteOffset, bpf_flow_keys.size), 0);
  const { ipv4_src, ipv4_dst, ip_proto, addr_proto, thoff, nhoff } = keys as bpf_flow_keys;
  assert.deepEqual(
    { ipv4_src, ipv4_dst, ip_proto, addr_proto, header: thoff - nhoff },
    { ipv4_src: ipv4('192.0.2.1'), ipv4_dst: ipv4('192.0.2.2'), ip_proto: 17, addr_proto: 0x0800, header: 20 },
  );
});

test('a program on a route lets only marked sockets send by it', { skip }, () => {
  using hooks = load({ programs: ['onlyMarked'], constants: { allowedMark: 9 } });
  using receiver = pair.other.inside(() => boundUdp('10.77.0.2'));
  pair.one.inside(() => {
    using _route = hooks.programs.onlyMarked.attach({ route: { destination: '10.77.0.2/32', interface: 'veth' } });
    using sender = openSocket(constants.AF_INET, constants.SOCK_DGRAM);
    check(connect(sender.descriptor, { family: 'ipv4', address: '10.77.0.2', port: receiver.port }), 'connect');
    sendBytes(sender.descriptor, new Uint8Array(8));
    assert.equal(isReadable(receiver.descriptor, 100), false);
    check(setsockoptInt(sender.descriptor, constants.SOL_SOCKET, constants.SO_MARK, 9), 'setsockopt');
    sendBytes(sender.descriptor, new Uint8Array(8));
    assert.equal(isReadable(receiver.descriptor, 2000), true);
  });
  assert.ok(hooks.globals.passed.value > 0);
});

test('a program on a route drops echo requests as they are sent, and nothing else', { skip }, () => {
  using hooks = load({ programs: ['noEcho'] });
  pair.one.inside(() => {
    using _route = hooks.programs.noEcho.attach({ route: { destination: '10.77.0.2/32', interface: 'veth' } });
    assert.throws(() => pair.one.run('ping', '-c', '1', '-W', '0.2', '10.77.0.2'));
    assert.equal(reaches(2000), true);
  });
  pair.one.run('ping', '-c', '1', '-W', '2', '10.77.0.2');
});

test('a program on a route sees what comes in and shall go on by it', { skip }, () => {
  using hooks = load({ programs: ['rememberIncoming'] });
  pair.other.run('sysctl', '-q', '-w', 'net.ipv4.ip_forward=1');
  run('ip', '-n', pair.one.name, 'route', 'replace', '10.78.0.0/24', 'via', '10.77.0.2');
  pair.other.inside(() => {
    using _route = hooks.programs.rememberIncoming.attach({
      route: { destination: '10.78.0.0/24', interface: 'lo' },
    });
    assert.throws(() => pair.one.run('ping', '-c', '1', '-W', '0.2', '10.78.0.7'));
  });
  assert.equal(hooks.globals.wanted.value, ipv4('10.78.0.7'));
});

test('a program at a segment sees packets that are routed by segments', { skip }, () => {
  const { one, other } = pair;
  run('ip', '-n', one.name, 'address', 'add', 'fd00:77::1/64', 'dev', 'veth', 'nodad');
  run('ip', '-n', other.name, 'address', 'add', 'fd00:77::2/64', 'dev', 'veth', 'nodad');
  for (const option of ['forwarding=1', 'seg6_enabled=1']) {
    other.run('sysctl', '-q', '-w', `net.ipv6.conf.all.${option}`, `net.ipv6.conf.veth.${option}`);
  }
  run('ip', '-n', one.name, 'route', 'add', 'fd00:5e6::/64', 'via', 'fd00:77::2');
  const segments = ['encap', 'seg6', 'mode', 'encap', 'segs', 'fd00:5e6::1,fd00:5e6::2'];
  run('ip', '-n', one.name, 'route', 'add', 'fd00:b::/64', ...segments, 'dev', 'veth');
  using hooks = load({ programs: ['passSegment'] });
  other.inside(() => {
    using _route = hooks.programs.passSegment.attach({ route: { destination: 'fd00:5e6::1/128', interface: 'veth' } });
    assert.throws(() => one.run('ping', '-c', '1', '-W', '0.3', 'fd00:b::1'), 'nobody answers');
  });
  assert.equal(hooks.globals.segments.value, 1);
});
