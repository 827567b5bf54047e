/**
 * Programs in TypeScript at sockets: TCP's events and header options, messages and streams that the kernel hands from one socket to
 * another, and the choice of the socket that takes a packet.
 *
 * A newcomer would get wrong: a socket that is in a map keeps the map's programs until it leaves; a program that is detached from the map
 * still acts on those that were in it before.
 */
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import * as constants from '../../src/kernel/constants.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import { check } from '../../src/kernel/error.ts';
import { bind, connect, getsockoptInt, listen, setsockoptInt } from '../../src/kernel/socket.ts';
import { hooksOf } from '../support/bpf-hooks.ts';
import {
  cgroup,
  inCgroup,
  isReadable,
  type Namespace,
  namespace,
  type Place,
  receiveBytes,
  sendBytes,
  kernelSkip as skip,
  type TestSocket,
} from '../support/bpf-kernel.ts';
import { accepted, bound, connection, listening, loopback, ownAddress, tcp, udp } from '../support/bpf-sockets.ts';

const load = hooksOf<typeof import('./hooks/sockets.bpf.ts')>('sockets');

const PORT = 4100;
const SHARED_PORT = 4200;
let group: Place;
let net: Namespace;

before(() => {
  if (skip !== false) return;
  group = cgroup();
  net = namespace();
});
after(() => {
  net?.[Symbol.dispose]();
  group?.[Symbol.dispose]();
});

/** Runs `work` in the cgroup and the namespace. */
function inside<T>(work: () => T): T {
  return net.inside(() => inCgroup(group.path, work));
}

/** Both ends of a connection to the port. */
function connectionTo(port: number): { readonly client: TestSocket; readonly server: TestSocket } & Disposable {
  using stack = new DisposableStack();
  const listener = stack.use(listening('ipv4', port));
  const client = stack.use(tcp());
  check(connect(client.descriptor, loopback('ipv4', port)), 'connect');
  const server = stack.use(accepted(listener));
  const owned = stack.move();
  return { client, server, [Symbol.dispose]: () => owned.dispose() };
}

const text = (bytes: Uint8Array | null): string | null => (bytes === null ? null : Buffer.from(bytes).toString());

/** What arrives within the time; null where nothing does. */
function heard(descriptor: number, timeoutMs = 2000): string | null {
  return isReadable(descriptor, timeoutMs) ? text(receiveBytes(descriptor, 64)) : null;
}

test('a sockops program follows connections from the first call to the last byte', { skip }, () => {
  using hooks = load({ programs: ['follow'], constants: { port: PORT } });
  using _link = hooks.programs.follow.attach({ cgroup: group.path });
  inside(() => {
    using pair = connectionTo(PORT);
    assert.equal(sendBytes(pair.client.descriptor, Buffer.from('12345')), 5);
    assert.equal(heard(pair.server.descriptor), '12345');
    const TCP_USER_TIMEOUT = 18;
    const { events } = hooks.globals;
    const { connect, active, passive, listen: listened, closed } = events.value;
    assert.deepEqual([connect, active, passive, listened, closed], [1, 1, 1, 1, 0]);
    assert.equal(getsockoptInt(pair.client.descriptor, constants.IPPROTO_TCP, TCP_USER_TIMEOUT), 4321);
  });
  const { closed, bytesAcked } = hooks.globals.events.value;
  assert.equal(closed, 1);
  // The SYN counts for one.
  assert.ok(bytesAcked >= 5n && bytesAcked <= 7n, `${bytesAcked} bytes`);
});

test('an option of their own travels in the headers of TCP segments', { skip }, () => {
  using hooks = load({ programs: ['tagHeaders'], constants: { tag: 0xcafe_f00d } });
  using _link = hooks.programs.tagHeaders.attach({ cgroup: group.path });
  const source = inside(() => {
    using pair = connectionTo(PORT);
    sendBytes(pair.client.descriptor, Buffer.from('x'));
    assert.equal(heard(pair.server.descriptor), 'x');
    return ownAddress(pair.client).port;
  });
  assert.equal(hooks.globals.heard.value, 0xcafe_f00d);
  assert.equal(hooks.globals.heardPort.value, source);
});

test('messages take a short cut from one end of a connection to the other', { skip }, () => {
  using hooks = load({ programs: ['collect', 'shortCut'], constants: { port: PORT } });
  using _events = hooks.programs.collect.attach({ cgroup: group.path });
  using _messages = hooks.programs.shortCut.attach({ map: hooks.maps.peers });
  inside(() => {
    using pair = connectionTo(PORT);
    for (const word of ['to the server', 'again']) {
      sendBytes(pair.client.descriptor, Buffer.from(word));
      assert.equal(heard(pair.server.descriptor), word);
    }
    sendBytes(pair.server.descriptor, Buffer.from('and back'));
    assert.equal(heard(pair.client.descriptor), 'and back');
  });
  assert.equal(hooks.globals.shortCuts.value, 3);
});

test('a program puts a header in front of messages and refuses some', { skip }, () => {
  using hooks = load({ programs: ['frame'] });
  using _link = hooks.programs.frame.attach({ map: hooks.maps.sockets });
  inside(() => {
    using pair = connection();
    hooks.maps.sockets.set(0, pair.client);
    assert.equal(sendBytes(pair.client, Buffer.from('hello')), 5);
    assert.equal(heard(pair.server), '\0\x05hello');
    assert.equal(sendBytes(pair.client, Buffer.from('!no')), -ERRNO.EACCES);
    assert.equal(heard(pair.server, 20), null);
  });
});

test('a stream is cut into messages, each of which goes where its first byte says', { skip }, () => {
  using hooks = load({ programs: ['parseMessages', 'route'] });
  inside(() => {
    using from = connection();
    using one = connection();
    using other = connection();
    using _parser = hooks.programs.parseMessages.attach({ map: hooks.maps.sockets });
    using _verdict = hooks.programs.route.attach({ map: hooks.maps.sockets });
    // What the first server's socket hears goes out by the sockets at 1 and 2, to their clients.
    hooks.maps.sockets.set(1, one.server);
    hooks.maps.sockets.set(2, other.server);
    hooks.maps.sockets.set(0, from.server);
    sendBytes(from.client, Buffer.from('\0\x03\x01ab'));
    assert.equal(heard(one.client), '\0\x03\x01ab');
    sendBytes(from.client, Buffer.from('\0\x02\x02z'));
    assert.equal(heard(other.client), '\0\x02\x02z');
    // A message in two pieces waits for the second. (Of two messages in one piece the kernel shows programs the first one twice: what
    // they read begins where the piece begins; __strp_recv, net/strparser/strparser.c.)
    sendBytes(from.client, Buffer.from('\0\x04\x01'));
    assert.equal(heard(one.client, 20), null);
    sendBytes(from.client, Buffer.from('xyz'));
    assert.equal(heard(one.client), '\0\x04\x01xyz');
    assert.deepEqual([...hooks.globals.messages.value], [0, 2, 1, 0]);
    for (const index of [0, 1, 2]) hooks.maps.sockets.delete(index);
  });
});

test('a program without a parser decides over what a socket hears', { skip }, () => {
  using hooks = load({ programs: ['judge'] });
  inside(() => {
    using pair = connection();
    using _link = hooks.programs.judge.attach({ map: hooks.maps.sockets });
    hooks.maps.sockets.set(0, pair.server);
    sendBytes(pair.client, Buffer.from('far too long'));
    assert.equal(heard(pair.server, 20), null);
    sendBytes(pair.client, Buffer.from('short'));
    assert.equal(heard(pair.server), 'short');
    hooks.maps.sockets.delete(0);
  });
  assert.equal(hooks.globals.judged.value, 17n);
});

test('one socket takes what comes for a range of ports', { skip }, () => {
  using hooks = load({ programs: ['takeRange'], constants: { firstPort: 5000, lastPort: 5999 } });
  inside(() => {
    using listener = listening();
    using receiver = bound('ipv4');
    hooks.maps.sockets.set(0, listener.descriptor);
    hooks.maps.sockets.set(1, receiver.descriptor);
    const refused = (port: number): number => {
      using client = tcp();
      return connect(client.descriptor, loopback('ipv4', port));
    };
    assert.equal(refused(5001), -ERRNO.ECONNREFUSED);
    using _link = hooks.programs.takeRange.attach({ namespace: net.path });
    for (const port of [5000, 5999]) {
      using client = tcp();
      assert.equal(connect(client.descriptor, loopback('ipv4', port)), 0);
      using server = accepted(listener);
      assert.equal(ownAddress(server).port, port);
      using sender = udp('ipv4');
      check(connect(sender.descriptor, loopback('ipv4', port)), 'connect');
      sendBytes(sender.descriptor, Buffer.from('datagram'));
      assert.equal(heard(receiver.descriptor), 'datagram');
    }
    assert.equal(refused(6000), -ERRNO.ECONNREFUSED);
  });
});

/** A socket that shares the port with others. */
function sharing(socket: TestSocket, port: number): TestSocket {
  check(setsockoptInt(socket.descriptor, constants.SOL_SOCKET, constants.SO_REUSEPORT, 1), 'setsockopt');
  check(bind(socket.descriptor, loopback('ipv4', port)), 'bind');
  return socket;
}

test('the first byte of a datagram says which socket of a port takes it', { skip }, () => {
  using hooks = load({ programs: ['chooseWorker'] });
  inside(() => {
    using stack = new DisposableStack();
    const group = [0, 1, 2].map(() => stack.use(sharing(udp('ipv4'), SHARED_PORT)));
    for (const [index, { descriptor }] of group.entries()) hooks.maps.workers.set(index, descriptor);
    using _program = hooks.programs.chooseWorker.attach({ socket: group[0].descriptor });
    using sender = udp('ipv4');
    check(connect(sender.descriptor, loopback('ipv4', SHARED_PORT)), 'connect');
    for (const worker of [2, 0, 1, 2, 3]) sendBytes(sender.descriptor, Uint8Array.of(worker));
    const taken = group.map(({ descriptor }) => {
      const all: number[] = [];
      while (isReadable(descriptor, 20)) all.push(receiveBytes(descriptor, 1)![0]);
      return all;
    });
    assert.deepEqual(taken, [[0], [1], [2, 2]]);
  });
});

test('connections that a listener leaves behind go to another', { skip }, () => {
  using hooks = load({ programs: ['inherit'] });
  inside(() => {
    using first = sharing(tcp(), SHARED_PORT);
    using second = sharing(tcp(), SHARED_PORT);
    for (const [index, { descriptor }] of [first, second].entries()) {
      check(listen(descriptor, 8), 'listen');
      hooks.maps.workers.set(index, descriptor);
    }
    using _program = hooks.programs.inherit.attach({ socket: first.descriptor });
    using client = tcp();
    check(connect(client.descriptor, loopback('ipv4', SHARED_PORT)), 'connect');
    assert.equal(isReadable(second.descriptor, 20), false);
    first[Symbol.dispose]();
    assert.equal(isReadable(second.descriptor, 2000), true);
    using server = accepted(second);
    sendBytes(client.descriptor, Buffer.from('still here'));
    assert.equal(heard(server.descriptor), 'still here');
  });
  assert.equal(hooks.globals.migrated.value, 1);
});
