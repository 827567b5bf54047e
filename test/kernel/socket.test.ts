/**
 * The typed socket calls against real sockets.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { SocketAddress } from '../../src/kernel/address.ts';
import * as constants from '../../src/kernel/constants.ts';
import {
  PASSED_BYTES_MAX,
  PASSED_DESCRIPTORS_MAX,
  receiveDescriptors,
  sendDescriptors,
} from '../../src/kernel/descriptor-passing.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import { check } from '../../src/kernel/error.ts';
import { TCP_INFO_LAYOUT } from '../../src/kernel/layouts.ts';
import { getDescriptorLimit, getLimit, setDescriptorLimit } from '../../src/kernel/limits.ts';
import { descriptorCount } from '../../src/kernel/procfs.ts';
import * as sockets from '../../src/kernel/socket.ts';
import { addressOf, call, SYS } from '../../src/kernel/syscall.ts';

const { AF_INET, AF_INET6, AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET } = constants;
const STREAM = SOCK_STREAM | SOCK_CLOEXEC;
const NO_DESCRIPTOR = 1 << 19;

/** Closes the descriptor when the test ends. */
function kept(context: TestContext, descriptor: number): number {
  check(descriptor, 'socket');
  context.after(() => sockets.closeDescriptor(descriptor));
  return descriptor;
}

function pairOf(context: TestContext, type = STREAM): [number, number] {
  const pair = new Int32Array(2);
  check(sockets.socketpair(AF_UNIX, type, 0, pair), 'socketpair');
  return [kept(context, pair[0]), kept(context, pair[1])];
}

function listening(context: TestContext, family: number, address: SocketAddress): [number, SocketAddress] {
  const listener = kept(context, sockets.socket(family, STREAM));
  check(sockets.bind(listener, address), 'bind');
  check(sockets.listen(listener, 8), 'listen');
  const own = sockets.getsockname(listener);
  assert.ok(own !== null && typeof own !== 'number');
  return [listener, own];
}

function write(descriptor: number, text: string): number {
  const bytes = new Uint8Array(new ArrayBuffer(128));
  const { written } = new TextEncoder().encodeInto(text, bytes);
  return call(SYS.write, descriptor, addressOf(bytes), written);
}

function read(descriptor: number): string | number {
  const bytes = new Uint8Array(new ArrayBuffer(128));
  const result = call(SYS.read, descriptor, addressOf(bytes), bytes.length);
  return result < 0 ? result : new TextDecoder().decode(bytes.subarray(0, result));
}

/** Waits until reading would not block, at most five seconds. */
function awaitReadable(descriptor: number): void {
  const entry = new Int32Array(new ArrayBuffer(64));
  entry[0] = descriptor;
  entry[1] = constants.POLLIN;
  assert.equal(call(SYS.poll, addressOf(entry), 1, 5000), 1);
}

test('a connection over each family knows both of its addresses', async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-socket-'));
  context.after(() => rmSync(directory, { recursive: true }));
  const families: readonly [number, SocketAddress][] = [
    [AF_INET, { family: 'ipv4', address: '127.0.0.1', port: 0 }],
    [AF_INET6, { family: 'ipv6', address: '::1', port: 0 }],
    [AF_UNIX, { family: 'unix', path: join(directory, 'socket') }],
    [AF_UNIX, { family: 'unix', path: `\0millrace-test-${process.pid}\0end\0` }],
  ];
  for (const [family, address] of families) {
    await context.test(`${address.family} ${JSON.stringify(address)}`, (inner) => {
      const [listener, own] = listening(inner, family, address);
      const client = kept(inner, sockets.socket(family, STREAM));

      assert.equal(sockets.connect(client, own), 0);
      const server = kept(inner, sockets.accept4(listener, SOCK_CLOEXEC | SOCK_NONBLOCK));

      assert.deepEqual({ ...own, port: 0 }, { ...address, port: 0 });
      assert.deepEqual(sockets.getpeername(client), own);
      assert.deepEqual(sockets.getsockname(server), own);
      assert.deepEqual(sockets.getpeername(server), sockets.getsockname(client));
      assert.equal(write(client, 'hello'), 5);
      awaitReadable(server);
      assert.equal(read(server), 'hello');
      assert.equal(read(server), -ERRNO.EAGAIN);
    });
  }
});

test('what the kernel refuses is a negative errno, for every call', () => {
  const pair = new Int32Array(2);
  const address: SocketAddress = { family: 'ipv4', address: '127.0.0.1', port: 1 };
  const value = new Uint8Array(4);
  const results = {
    bind: sockets.bind(NO_DESCRIPTOR, address),
    listen: sockets.listen(NO_DESCRIPTOR, 1),
    connect: sockets.connect(NO_DESCRIPTOR, address),
    disconnect: sockets.disconnect(NO_DESCRIPTOR),
    accept4: sockets.accept4(NO_DESCRIPTOR, 0),
    getsockname: sockets.getsockname(NO_DESCRIPTOR),
    getpeername: sockets.getpeername(NO_DESCRIPTOR),
    getsockopt: sockets.getsockopt(NO_DESCRIPTOR, SOL_SOCKET, constants.SO_TYPE, value),
    setsockopt: sockets.setsockopt(NO_DESCRIPTOR, SOL_SOCKET, constants.SO_KEEPALIVE, value),
    getsockoptInt: sockets.getsockoptInt(NO_DESCRIPTOR, SOL_SOCKET, constants.SO_TYPE),
    setsockoptInt: sockets.setsockoptInt(NO_DESCRIPTOR, SOL_SOCKET, constants.SO_KEEPALIVE, 1),
    setLinger: sockets.setLinger(NO_DESCRIPTOR, 0),
    socketError: sockets.socketError(NO_DESCRIPTOR),
    shutdown: sockets.shutdown(NO_DESCRIPTOR, constants.SHUT_WR),
    closeDescriptor: sockets.closeDescriptor(NO_DESCRIPTOR),
    setNonBlocking: sockets.setNonBlocking(NO_DESCRIPTOR, true),
    peerCredentials: sockets.peerCredentials(NO_DESCRIPTOR),
    sendDescriptors: sendDescriptors(NO_DESCRIPTOR, [], new Uint8Array(1)),
    receiveDescriptors: receiveDescriptors(NO_DESCRIPTOR),
  };
  for (const [name, result] of Object.entries(results)) assert.equal(result, -ERRNO.EBADF, name);
  assert.equal(sockets.socket(255, STREAM), -ERRNO.EAFNOSUPPORT);
  assert.equal(sockets.socketpair(AF_INET, STREAM, 0, pair), -ERRNO.EOPNOTSUPP);
  assert.equal(sockets.pipe2(pair, 1), -ERRNO.EINVAL);
  assert.deepEqual([...pair], [0, 0]);
});

test('a taken address and a port where nobody listens are told by their errno', (context) => {
  const [, own] = listening(context, AF_INET, { family: 'ipv4', address: '127.0.0.1', port: 0 });
  const second = kept(context, sockets.socket(AF_INET, STREAM));
  const client = kept(context, sockets.socket(AF_INET, STREAM));
  const held = kept(context, sockets.socket(AF_INET, STREAM));
  check(sockets.bind(held, { family: 'ipv4', address: '127.0.0.1', port: 0 }), 'bind');

  assert.equal(sockets.bind(second, own), -ERRNO.EADDRINUSE);
  assert.equal(sockets.connect(client, sockets.getsockname(held) as SocketAddress), -ERRNO.ECONNREFUSED);
});

test('the pending error of a connect in progress is taken once', (context) => {
  const held = kept(context, sockets.socket(AF_INET, STREAM));
  check(sockets.bind(held, { family: 'ipv4', address: '127.0.0.1', port: 0 }), 'bind');
  const client = kept(context, sockets.socket(AF_INET, STREAM | SOCK_NONBLOCK));

  assert.equal(sockets.connect(client, sockets.getsockname(held) as SocketAddress), -ERRNO.EINPROGRESS);
  awaitReadable(client);

  assert.equal(sockets.socketError(client), -ERRNO.ECONNREFUSED);
  assert.equal(sockets.socketError(client), 0);
});

test('integer options are read as they were set', (context) => {
  const descriptor = kept(context, sockets.socket(AF_INET, STREAM));

  assert.equal(sockets.getsockoptInt(descriptor, SOL_SOCKET, constants.SO_TYPE), SOCK_STREAM);
  assert.equal(sockets.getsockoptInt(descriptor, constants.IPPROTO_TCP, constants.TCP_NODELAY), 0);
  assert.equal(sockets.setsockoptInt(descriptor, constants.IPPROTO_TCP, constants.TCP_NODELAY, 1), 0);
  assert.equal(sockets.getsockoptInt(descriptor, constants.IPPROTO_TCP, constants.TCP_NODELAY), 1);
  assert.equal(sockets.setsockoptInt(descriptor, constants.IPPROTO_TCP, constants.TCP_KEEPIDLE, 77), 0);
  assert.equal(sockets.getsockoptInt(descriptor, constants.IPPROTO_TCP, constants.TCP_KEEPIDLE), 77);
  assert.equal(sockets.getsockoptInt(descriptor, SOL_SOCKET, 9999), -ERRNO.ENOPROTOOPT);
});

test('options of other shapes go through as bytes', (context) => {
  const descriptor = kept(context, sockets.socket(AF_INET, STREAM));
  const name = new Uint8Array(16);
  const information = new Uint8Array(256);

  const set = sockets.setsockopt(descriptor, constants.IPPROTO_TCP, constants.TCP_CONGESTION, Buffer.from('reno'));
  const length = sockets.getsockopt(descriptor, constants.IPPROTO_TCP, constants.TCP_CONGESTION, name);
  const informed = sockets.getsockopt(descriptor, constants.IPPROTO_TCP, constants.TCP_INFO, information);

  assert.equal(set, 0);
  assert.equal(Buffer.from(name.subarray(0, length)).toString().replace(/\0+$/, ''), 'reno');
  assert.ok(informed >= 104);
  assert.equal(information[TCP_INFO_LAYOUT.tcpi_state], constants.TCP_CLOSE);
  const long = new Uint8Array(sockets.OPTION_BYTES_MAX + 1);
  assert.throws(() => sockets.setsockopt(descriptor, SOL_SOCKET, constants.SO_TYPE, long), RangeError);
  assert.throws(() => sockets.getsockopt(descriptor, SOL_SOCKET, constants.SO_TYPE, long), RangeError);
});

test('lingering for no time makes a close reset the connection', (context) => {
  const [listener, own] = listening(context, AF_INET, { family: 'ipv4', address: '127.0.0.1', port: 0 });
  const client = sockets.socket(AF_INET, STREAM);
  check(sockets.connect(client, own), 'connect');
  const server = kept(context, sockets.accept4(listener, SOCK_CLOEXEC));
  const value = new Uint8Array(8);

  assert.equal(sockets.setLinger(client, 0), 0);
  sockets.getsockopt(client, SOL_SOCKET, constants.SO_LINGER, value);
  assert.deepEqual([...value], [1, 0, 0, 0, 0, 0, 0, 0]);
  assert.equal(sockets.closeDescriptor(client), 0);

  awaitReadable(server);
  assert.equal(read(server), -ERRNO.ECONNRESET);
});

test('lingering is turned off again', (context) => {
  const descriptor = kept(context, sockets.socket(AF_INET, STREAM));
  const value = new Uint8Array(8);
  check(sockets.setLinger(descriptor, 5), 'setsockopt');

  assert.equal(sockets.setLinger(descriptor, null), 0);

  sockets.getsockopt(descriptor, SOL_SOCKET, constants.SO_LINGER, value);
  assert.equal(value[0], 0);
});

test('after a shutdown for writing the peer reads the end and can still write', (context) => {
  const [left, right] = pairOf(context);

  assert.equal(sockets.shutdown(left, constants.SHUT_WR), 0);

  assert.equal(read(right), '');
  assert.equal(write(right, 'still'), 5);
  assert.equal(read(left), 'still');
});

test('non-blocking is switched on and off', (context) => {
  const [left, right] = pairOf(context);
  const isNonBlocking = () => (call(SYS.fcntl, left, constants.F_GETFL) & constants.O_NONBLOCK) !== 0;

  assert.equal(isNonBlocking(), false);
  assert.equal(sockets.setNonBlocking(left, true), 0);
  assert.equal(isNonBlocking(), true);
  assert.equal(read(left), -ERRNO.EAGAIN);
  assert.equal(sockets.setNonBlocking(left, true), 0);
  assert.equal(sockets.setNonBlocking(left, false), 0);
  assert.equal(isNonBlocking(), false);
  assert.equal(write(right, 'x'), 1);
});

test('a datagram socket that was connected is disconnected', (context) => {
  const receiver = kept(context, sockets.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC));
  check(sockets.bind(receiver, { family: 'ipv4', address: '127.0.0.1', port: 0 }), 'bind');
  const sender = kept(context, sockets.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC));
  check(sockets.connect(sender, sockets.getsockname(receiver) as SocketAddress), 'connect');
  assert.deepEqual(sockets.getpeername(sender), sockets.getsockname(receiver));

  assert.equal(sockets.disconnect(sender), 0);

  assert.equal(sockets.getpeername(sender), -ERRNO.ENOTCONN);
});

test('a pipe carries from its second descriptor to its first', (context) => {
  const ends = new Int32Array(2);

  assert.equal(sockets.pipe2(ends, constants.O_CLOEXEC | constants.O_NONBLOCK), 0);
  const [readEnd, writeEnd] = [kept(context, ends[0]), kept(context, ends[1])];

  assert.equal(read(readEnd), -ERRNO.EAGAIN);
  assert.equal(write(writeEnd, 'through'), 7);
  assert.equal(read(readEnd), 'through');
  assert.equal(call(SYS.fcntl, readEnd, constants.F_GETFD), constants.FD_CLOEXEC);
});

test('both ends of a pair are unnamed and know who made them', (context) => {
  const [left] = pairOf(context);

  assert.equal(sockets.getsockname(left), null);
  assert.equal(sockets.getpeername(left), null);
  const expected = { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() };
  assert.deepEqual(sockets.peerCredentials(left), expected);
});

test('descriptors travel with their data and lead to the same open file', (context) => {
  const [left, right] = pairOf(context);
  const ends = new Int32Array(2);
  check(sockets.pipe2(ends, constants.O_CLOEXEC), 'pipe2');

  const sent = sendDescriptors(left, [...ends], Buffer.from('two'));
  for (const end of ends) sockets.closeDescriptor(end);
  const received = receiveDescriptors(right);

  assert.equal(sent, 3);
  assert.ok(typeof received !== 'number');
  assert.equal(Buffer.from(received.data).toString(), 'two');
  assert.equal(received.truncated, false);
  assert.equal(received.descriptors.length, 2);
  const [readEnd, writeEnd] = received.descriptors.map((descriptor) => kept(context, descriptor));
  assert.equal(call(SYS.fcntl, readEnd, constants.F_GETFD), constants.FD_CLOEXEC);
  assert.equal(write(writeEnd, 'arrived'), 7);
  assert.equal(read(readEnd), 'arrived');
});

test('the most descriptors that one message takes arrive, and none is left open', (context) => {
  const [left, right] = pairOf(context);
  const before = descriptorCount();

  const sent = sendDescriptors(left, new Array<number>(PASSED_DESCRIPTORS_MAX).fill(right), new Uint8Array(1));
  const received = receiveDescriptors(right);

  assert.equal(sent, 1);
  assert.ok(typeof received !== 'number');
  assert.equal(new Set(received.descriptors).size, PASSED_DESCRIPTORS_MAX);
  for (const descriptor of received.descriptors) assert.equal(sockets.closeDescriptor(descriptor), 0);
  assert.equal(descriptorCount(), before);
});

test('descriptors are found behind the credentials that a receiver asked for', (context) => {
  const [left, right] = pairOf(context);
  check(sockets.setsockoptInt(right, SOL_SOCKET, constants.SO_PASSCRED, 1), 'setsockopt');

  sendDescriptors(left, new Array<number>(PASSED_DESCRIPTORS_MAX).fill(left), new Uint8Array(1));
  const received = receiveDescriptors(right);

  assert.ok(typeof received !== 'number');
  for (const descriptor of received.descriptors) assert.equal(sockets.closeDescriptor(descriptor), 0);
  assert.equal(received.descriptors.length, PASSED_DESCRIPTORS_MAX);
  assert.equal(received.truncated, false);
});

test('data without descriptors, the end of the stream and a cut datagram are received as such', (context) => {
  const [left, right] = pairOf(context);
  const [leftDatagrams, rightDatagrams] = pairOf(context, SOCK_DGRAM | SOCK_CLOEXEC);
  sendDescriptors(left, [], Buffer.from('plain'));
  sendDescriptors(leftDatagrams, [], Buffer.from('longer'));
  sockets.shutdown(left, constants.SHUT_WR);

  const plain = { data: new Uint8Array(Buffer.from('plain')), descriptors: [], truncated: false };
  assert.deepEqual(receiveDescriptors(right), plain);
  assert.deepEqual(receiveDescriptors(right), { data: new Uint8Array(0), descriptors: [], truncated: false });
  const cut = { data: new Uint8Array(Buffer.from('long')), descriptors: [], truncated: true };
  assert.deepEqual(receiveDescriptors(rightDatagrams, 4), cut);
});

test('what one message cannot carry is refused with what it can', (context) => {
  const [left] = pairOf(context);
  assert.throws(() => sendDescriptors(left, [left], new Uint8Array(0)), /1 to 4096 are allowed/);
  assert.throws(() => sendDescriptors(left, [left], new Uint8Array(PASSED_BYTES_MAX + 1)), RangeError);
  const many = new Array<number>(PASSED_DESCRIPTORS_MAX + 1).fill(left);
  assert.throws(() => sendDescriptors(left, many, new Uint8Array(1)), /at most 253 are allowed/);
});

test('the limit of descriptors is lowered, holds, and is put back', (context) => {
  const limit = getDescriptorLimit();
  assert.ok(typeof limit !== 'number' && limit.soft <= limit.hard);
  // A descriptor above the lowered limit: those below it may all be taken already.
  const soft = descriptorCount() + 64;
  context.after(() => setDescriptorLimit(limit));

  assert.equal(setDescriptorLimit({ soft, hard: limit.hard }), 0);
  assert.deepEqual(getDescriptorLimit(), { soft, hard: limit.hard });
  const duplicate = call(SYS.fcntl, 0, constants.F_DUPFD_CLOEXEC, soft);
  assert.equal(setDescriptorLimit(limit), 0);

  assert.equal(duplicate, -ERRNO.EINVAL);
  assert.deepEqual(getDescriptorLimit(), limit);
});

test('limits are those of /proc/self/limits, unlimited ones too', () => {
  const text = readFileSync('/proc/self/limits', 'utf8');
  const parse = (word: string) => (word === 'unlimited' ? Number.POSITIVE_INFINITY : Number(word));
  // The numbers of asm-generic/resource.h; the address space is unlimited on any ordinary machine.
  for (const [resource, title] of [
    [constants.RLIMIT_NOFILE, 'Max open files'],
    [constants.RLIMIT_MEMLOCK, 'Max locked memory'],
    [9, 'Max address space'],
  ] as const) {
    const [, soft, hard] = new RegExp(`^${title} +(\\w+) +(\\w+)`, 'm').exec(text)!;
    assert.deepEqual(getLimit(resource), { soft: parse(soft), hard: parse(hard) }, title);
  }
});

test('limits that cannot be are refused', () => {
  const limit = getDescriptorLimit();
  assert.ok(typeof limit !== 'number');
  assert.equal(getLimit(9999), -ERRNO.EINVAL);
  assert.equal(setDescriptorLimit({ soft: limit.hard + 1, hard: limit.hard }), -ERRNO.EINVAL);
  assert.throws(() => setDescriptorLimit({ soft: -1, hard: 1 }), /soft is -1/);
  assert.throws(() => setDescriptorLimit({ soft: 1, hard: 1.5 }), /hard is 1.5/);
});
