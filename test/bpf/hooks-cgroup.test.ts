/**
 * Programs in TypeScript for the processes of a cgroup, each shown to change what a process in it can do or is told.
 *
 * A newcomer would get wrong: this process itself goes into the cgroup for a moment. Sockets that it makes there belong to the cgroup as
 * long as they live.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { after, before } from 'node:test';
import * as constants from '../../src/kernel/constants.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import { check } from '../../src/kernel/error.ts';
import {
  bind,
  connect,
  getpeername,
  getsockname,
  getsockoptInt,
  socket as openRaw,
  setsockoptInt,
} from '../../src/kernel/socket.ts';
import { hooksOf } from '../support/bpf-hooks.ts';
import {
  cgroup,
  inCgroup,
  isReadable,
  type Namespace,
  namespace,
  openSocket,
  type Place,
  receiveWithAddress,
  send,
  kernelSkip as skip,
} from '../support/bpf-kernel.ts';
import {
  accepted,
  bound,
  listening,
  loopback,
  ownAddress,
  sendTo,
  sourceOf,
  tcp,
  udp,
} from '../support/bpf-sockets.ts';
import { OPTION } from './hooks/cgroup.bpf.ts';

type Module = typeof import('./hooks/cgroup.bpf.ts');
const load = hooksOf<Module>('cgroup');

const SERVICE = 4001;
const REAL = 4002;
const ports = { servicePort: SERVICE, realPort: REAL };
const families = ['ipv4', 'ipv6'] as const;

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

test('a quota is kept beside the cgroup, and bytes beyond it are not sent', { skip }, () => {
  // 50 bytes with headers of 28: three of them fit.
  using hooks = load({ programs: ['quota'], constants: { quotaBytes: 250n } });
  using _link = hooks.programs.quota.attach({ cgroup: group.path });
  const results = inside(() => {
    using receiver = bound('ipv4');
    using sender = udp('ipv4');
    return Array.from({ length: 5 }, () => sendTo(sender, ownAddress(receiver), 50));
  });
  assert.deepEqual(results, [50, 50, 50, -ERRNO.EPERM, -ERRNO.EPERM]);
});

test('what a cgroup hears is counted by CPU', { skip }, () => {
  using hooks = load({ programs: ['countHeard'] });
  using _link = hooks.programs.countHeard.attach({ cgroup: group.path });
  inside(() => {
    using receiver = bound('ipv4');
    using sender = udp('ipv4');
    for (const bytes of [10, 20]) sendTo(sender, ownAddress(receiver), bytes);
  });
  const perCpu = hooks.maps.heard.get(BigInt(statSync(group.path).ino)) as bigint[] | null;
  assert.equal(
    perCpu?.reduce((sum, value) => sum + value, 0n),
    BigInt(10 + 20 + 2 * 28),
  );
});

test('an ingress program drops datagrams for one port', { skip }, () => {
  using hooks = load({ programs: ['refusePort'], constants: ports });
  using _link = hooks.programs.refusePort.attach({ cgroup: group.path });
  inside(() => {
    using refused = bound('ipv4', SERVICE);
    using taken = bound('ipv4', REAL);
    using sender = udp('ipv4');
    for (const port of [SERVICE, REAL]) sendTo(sender, loopback('ipv4', port), 8);
    assert.equal(isReadable(taken.descriptor, 2000), true);
    assert.equal(isReadable(refused.descriptor, 20), false);
  });
});

test('sockets are refused, marked and counted as they come and go', { skip }, () => {
  using hooks = load({ programs: ['onCreate', 'onRelease'] });
  using _create = hooks.programs.onCreate.attach({ cgroup: group.path });
  using _release = hooks.programs.onRelease.attach({ cgroup: group.path });
  inside(() => {
    const SOCK_RAW = 3;
    const IPPROTO_ICMP = 1;
    assert.equal(openRaw(constants.AF_INET, SOCK_RAW, IPPROTO_ICMP), -ERRNO.EPERM);
    using socket = udp('ipv4');
    assert.equal(getsockoptInt(socket.descriptor, constants.SOL_SOCKET, constants.SO_MARK), 42);
    assert.equal(hooks.globals.released.value, 0);
  });
  assert.equal(hooks.globals.created.value, 1);
  assert.equal(hooks.globals.released.value, 1);
});

for (const family of families) {
  const number = family === 'ipv4' ? '4' : '6';

  test(`binding is refused by address and port once they are known (${family})`, { skip }, () => {
    const name = `afterBind${number}` as const;
    using hooks = load({ programs: [name], constants: ports });
    using _link = hooks.programs[name].attach({ cgroup: group.path });
    inside(() => {
      using socket = udp(family);
      const any = { family, address: family === 'ipv4' ? '0.0.0.0' : '::', port: 0 } as const;
      assert.equal(bind(socket.descriptor, any), -ERRNO.EPERM);
      assert.equal(bind(socket.descriptor, loopback(family, SERVICE)), -ERRNO.EPERM);
      assert.equal(bind(socket.descriptor, loopback(family, REAL)), 0);
    });
  });

  test(`binding is led to another port (${family})`, { skip }, () => {
    const name = `bind${number}` as const;
    using hooks = load({ programs: [name], constants: ports });
    using _link = hooks.programs[name].attach({ cgroup: group.path });
    inside(() => {
      using socket = bound(family, SERVICE);
      assert.equal(ownAddress(socket).port, REAL);
    });
  });

  test(`connecting to a service leads to its backend (${family})`, { skip }, () => {
    const name = `connect${number}` as const;
    using hooks = load({ programs: [name], constants: ports });
    using _link = hooks.programs[name].attach({ cgroup: group.path });
    inside(() => {
      using backend = listening(family, REAL);
      using client = tcp(family);
      const address = family === 'ipv4' ? '192.0.2.1' : '2001:db8::1';
      assert.equal(connect(client.descriptor, { family, address, port: SERVICE }), 0);
      using _server = accepted(backend);
      assert.deepEqual(getpeername(client.descriptor), loopback(family, REAL));
      if (family === 'ipv4') assert.equal((ownAddress(client) as { address: string }).address, '127.0.0.9');
    });
  });

  test(`datagrams to a service go to its backend, and answers seem to come from the service (${family})`, {
    skip,
  }, () => {
    const names = [`sendmsg${number}`, `recvmsg${number}`] as const;
    using hooks = load({ programs: names, constants: ports });
    using _send = hooks.programs[names[0]].attach({ cgroup: group.path });
    using _receive = hooks.programs[names[1]].attach({ cgroup: group.path });
    inside(() => {
      using backend = bound(family, REAL);
      using client = bound(family);
      const service =
        family === 'ipv4' ? ({ family, address: '192.0.2.1', port: SERVICE } as const) : loopback(family, SERVICE);
      assert.equal(sendTo(client, service, 8), 8);
      assert.deepEqual(sourceOf(backend), ownAddress(client));
      sendTo(backend, ownAddress(client), 8);
      assert.deepEqual(sourceOf(client), service);
    });
  });

  test(`a process is told other addresses than a socket has (${family})`, { skip }, () => {
    const names = [`getpeername${number}`, `getsockname${number}`] as const;
    using hooks = load({ programs: names, constants: ports });
    inside(() => {
      using receiver = bound(family);
      using client = udp(family);
      check(connect(client.descriptor, ownAddress(receiver)), 'connect');
      using _peer = hooks.programs[names[0]].attach({ cgroup: group.path });
      using _own = hooks.programs[names[1]].attach({ cgroup: group.path });
      const peer = getpeername(client.descriptor) as { address: string; port: number };
      const own = getsockname(client.descriptor) as { address: string };
      assert.equal(peer.port, SERVICE);
      assert.equal(peer.address, family === 'ipv4' ? '192.0.2.1' : '::1');
      assert.equal(own.address, family === 'ipv4' ? '192.0.2.2' : '::7');
    });
  });
}

test('connecting to a Unix socket is refused with an error of the program’s', { skip }, () => {
  using hooks = load({ programs: ['connectUnix'] });
  using _link = hooks.programs.connectUnix.attach({ cgroup: group.path });
  inside(() => {
    using client = openSocket(constants.AF_UNIX, constants.SOCK_STREAM);
    const result = connect(client.descriptor, { family: 'unix', path: '/nonexistent/socket' });
    assert.equal(result, -ERRNO.EACCES);
  });
});

test('Unix sockets meet programs where they send, receive and are asked for names', { skip }, () => {
  const names = ['sendmsgUnix', 'recvmsgUnix', 'getpeernameUnix', 'getsocknameUnix'] as const;
  using hooks = load({ programs: names });
  using links = new DisposableStack();
  for (const name of names) links.use(hooks.programs[name].attach({ cgroup: group.path }));
  inside(() => {
    using place = new DisposableStack();
    const path = join(mkdtempSync(join(tmpdir(), 'millrace-unix-')), 'socket');
    place.defer(() => rmSync(dirname(path), { recursive: true }));
    const address = { family: 'unix', path } as const;
    using receiver = openSocket(constants.AF_UNIX, constants.SOCK_DGRAM);
    check(bind(receiver.descriptor, address), 'bind');
    using sender = openSocket(constants.AF_UNIX, constants.SOCK_DGRAM);
    check(connect(sender.descriptor, address), 'connect');
    getpeername(sender.descriptor);
    getsockname(receiver.descriptor);
    // Sent to its peer a datagram passes; the hook is for those who name an address.
    assert.equal(send(sender.descriptor), 64);
    assert.equal(receiveWithAddress(receiver.descriptor), 64);
    assert.equal(sendTo(sender, address, 8), -ERRNO.EPERM);
  });
  const { sendmsg, recvmsg, peer, own } = hooks.globals.unix.value;
  assert.deepEqual({ sendmsg, recvmsg, peer, own }, { sendmsg: 1, recvmsg: 1, peer: 1, own: 1 });
});

test('a socket option that the kernel does not have is kept beside the socket', { skip }, () => {
  using hooks = load({ programs: ['setOption', 'getOption'] });
  using _set = hooks.programs.setOption.attach({ cgroup: group.path });
  using _get = hooks.programs.getOption.attach({ cgroup: group.path });
  inside(() => {
    using one = udp('ipv4');
    using other = udp('ipv4');
    const set = (descriptor: number, value: number): number =>
      setsockoptInt(descriptor, constants.SOL_SOCKET, OPTION, value);
    const get = (descriptor: number): number => getsockoptInt(descriptor, constants.SOL_SOCKET, OPTION);
    assert.equal(set(one.descriptor, 21), 0);
    assert.equal(set(other.descriptor, 7), 0);
    assert.equal(set(one.descriptor, 1001), -ERRNO.EPERM);
    assert.equal(get(one.descriptor), 42);
    assert.equal(get(other.descriptor), 14);
    // User space finds the value by the socket.
    assert.equal(hooks.maps.options.get(one.descriptor)?.value, 21);
    assert.equal(setsockoptInt(one.descriptor, constants.SOL_SOCKET, constants.SO_REUSEADDR, 1), 0);
  });
});

test('a sysctl is hidden, and another value is written than was asked', { skip }, () => {
  const file = '/proc/sys/net/ipv4/ip_default_ttl';
  using hooks = load({ programs: ['sysctls'] });
  const text = new Uint8Array(32);
  text.set(Buffer.from('net/core/somaxconn'));
  hooks.maps.hidden.set({ text: [...text] }, 1);
  using _link = hooks.programs.sysctls.attach({ cgroup: group.path });
  inside(() => {
    assert.throws(() => readFileSync('/proc/sys/net/core/somaxconn'), { code: 'EPERM' });
    // Of the namespace, which goes with the test.
    writeFileSync(file, '7');
    assert.equal(readFileSync(file, 'utf8').trim(), '55');
    writeFileSync(file, '64');
    assert.equal(readFileSync(file, 'utf8').trim(), '64');
  });
});

test('one device cannot be read, others can', { skip }, () => {
  using hooks = load({ programs: ['devices'] });
  using _link = hooks.programs.devices.attach({ cgroup: group.path });
  inside(() => {
    assert.throws(() => readFileSync('/dev/zero', { flag: 'r' }), { code: 'EPERM' });
    assert.equal(readFileSync('/dev/null').length, 0);
  });
  assert.equal(hooks.globals.hungry.value, 1);
});

test('a value lies beside each socket and goes with it', { skip }, () => {
  using hooks = load({ programs: ['rememberBirth'] });
  using _link = hooks.programs.rememberBirth.attach({ cgroup: group.path });
  inside(() => {
    using receiver = bound('ipv4');
    using client = udp('ipv4');
    assert.equal(hooks.maps.births.get(client.descriptor), null);
    check(connect(client.descriptor, ownAddress(receiver)), 'connect');
    const birth = hooks.maps.births.get(client.descriptor);
    assert.equal(birth?.cgroup, BigInt(statSync(group.path, { bigint: true }).ino));
    assert.ok(birth !== undefined && birth.cookie !== 0n);
    const SO_PRIORITY = 12;
    assert.equal(getsockoptInt(client.descriptor, constants.SOL_SOCKET, SO_PRIORITY), 5);
    assert.equal(hooks.maps.births.get(receiver.descriptor), null);
  });
});
