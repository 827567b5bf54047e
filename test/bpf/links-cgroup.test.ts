/**
 * Programs of every kind that a cgroup takes, each shown to act on a process that is in it.
 *
 * A newcomer would get wrong: a socket belongs to the cgroup in which its process was when it was made, and stays there.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test, { after, before } from 'node:test';
import { Link } from '../../src/bpf/loader/links/link.ts';
import { ATTACH_TYPES } from '../../src/kernel/bpf-names.ts';
import * as constants from '../../src/kernel/constants.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import {
  bind,
  connect,
  disconnect,
  getpeername,
  getsockname,
  getsockoptInt,
  listen,
  setsockoptInt,
} from '../../src/kernel/socket.ts';
import {
  arrives,
  boundUdp,
  cgroup,
  inCgroup,
  isReadable,
  type Namespace,
  namespace,
  openSocket,
  type Place,
  receive,
  receiveWithAddress,
  send,
  kernelSkip as skip,
} from '../support/bpf-kernel.ts';
import { kind, loadCounter } from '../support/bpf-object.ts';

const ALLOW = 1;
const REFUSE = 0;

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

/** Runs `work` in the cgroup and the namespace with a counting program attached; how often it ran. */
function withProgram(type: string, attachType: string, verdict: number, work: () => void): number {
  using counter = loadCounter(kind(type, { attachType }), verdict);
  using link = counter.program.attach({ cgroup: group.path });
  assert.equal(link.kind, 'cgroup');
  net.inside(() => inCgroup(group.path, work));
  return counter.hits();
}

function udp(): ReturnType<typeof openSocket> {
  return openSocket(constants.AF_INET, constants.SOCK_DGRAM);
}

const loopback = { family: 'ipv4', address: '127.0.0.1', port: 9 } as const;

for (const attachType of ['cgroup_inet_ingress', 'cgroup_inet_egress']) {
  test(`${attachType} drops packets of the cgroup’s sockets`, { skip }, () => {
    const hits = withProgram('cgroup_skb', attachType, REFUSE, () => {
      using receiver = boundUdp('127.0.0.1');
      assert.equal(arrives('127.0.0.1', receiver.port, receiver.descriptor, 50), false);
    });
    assert.ok(hits > 0);
  });
}

test('cgroup_inet_sock_create refuses sockets, cgroup_inet_sock_release sees their end', { skip }, () => {
  withProgram('cgroup_sock', 'cgroup_inet_sock_create', REFUSE, () => {
    assert.throws(() => udp(), { code: 'EPERM' });
  });
  const hits = withProgram('cgroup_sock', 'cgroup_inet_sock_release', ALLOW, () => {
    udp()[Symbol.dispose]();
  });
  assert.equal(hits, 1);
});

test('bind is refused before and after it happened', { skip }, () => {
  for (const [type, hook] of [
    ['cgroup_sock_addr', 'cgroup_inet4_bind'],
    ['cgroup_sock', 'cgroup_inet4_post_bind'],
  ]) {
    withProgram(type, hook, REFUSE, () => {
      using socket = udp();
      assert.equal(bind(socket.descriptor, { ...loopback, port: 0 }), -ERRNO.EPERM, hook);
    });
  }
});

test('connect and sendmsg are refused, recvmsg and names are seen', { skip }, () => {
  withProgram('cgroup_sock_addr', 'cgroup_inet4_connect', REFUSE, () => {
    using socket = udp();
    assert.equal(connect(socket.descriptor, loopback), -ERRNO.EPERM);
  });
  const received = withProgram('cgroup_sock_addr', 'cgroup_udp4_recvmsg', ALLOW, () => {
    using receiver = boundUdp('127.0.0.1');
    using sender = udp();
    connect(sender.descriptor, { ...loopback, port: receiver.port });
    send(sender.descriptor);
    // The hook is for those who ask where a datagram comes from.
    assert.equal(receiveWithAddress(receiver.descriptor), 64);
  });
  assert.ok(received > 0);
  for (const [hook, ask] of [
    ['cgroup_inet4_getpeername', getpeername],
    ['cgroup_inet4_getsockname', getsockname],
  ] as const) {
    const hits = withProgram('cgroup_sock_addr', hook, ALLOW, () => {
      using socket = udp();
      connect(socket.descriptor, loopback);
      ask(socket.descriptor);
      disconnect(socket.descriptor);
    });
    assert.equal(hits, 1, hook);
  }
});

test('the same hooks of IPv6 take programs', { skip }, () => {
  for (const [type, hook] of [
    ['cgroup_sock_addr', 'cgroup_inet6_bind'],
    ['cgroup_sock', 'cgroup_inet6_post_bind'],
  ]) {
    withProgram(type, hook, REFUSE, () => {
      using socket = openSocket(constants.AF_INET6, constants.SOCK_DGRAM);
      assert.equal(bind(socket.descriptor, { family: 'ipv6', address: '::1', port: 0 }), -ERRNO.EPERM, hook);
    });
  }
  withProgram('cgroup_sock_addr', 'cgroup_inet6_connect', REFUSE, () => {
    using socket = openSocket(constants.AF_INET6, constants.SOCK_DGRAM);
    assert.equal(connect(socket.descriptor, { family: 'ipv6', address: '::1', port: 9 }), -ERRNO.EPERM);
  });
});

test('socket options are refused in both directions', { skip }, () => {
  withProgram('cgroup_sockopt', 'cgroup_setsockopt', REFUSE, () => {
    using socket = udp();
    const result = setsockoptInt(socket.descriptor, constants.SOL_SOCKET, constants.SO_REUSEADDR, 1);
    assert.equal(result, -ERRNO.EPERM);
  });
  withProgram('cgroup_sockopt', 'cgroup_getsockopt', REFUSE, () => {
    using socket = udp();
    assert.equal(getsockoptInt(socket.descriptor, constants.SOL_SOCKET, constants.SO_REUSEADDR), -ERRNO.EPERM);
  });
});

test('reading a sysctl and opening a device are refused', { skip }, () => {
  withProgram('cgroup_sysctl', 'cgroup_sysctl', REFUSE, () => {
    assert.throws(() => readFileSync('/proc/sys/net/core/somaxconn'), { code: 'EPERM' });
  });
  withProgram('cgroup_device', 'cgroup_device', REFUSE, () => {
    assert.throws(() => readFileSync('/dev/zero', { flag: 'r' }), { code: 'EPERM' });
  });
});

test('sock_ops sees connections being made', { skip }, () => {
  const hits = withProgram('sock_ops', 'cgroup_sock_ops', ALLOW, () => {
    using listener = openSocket(constants.AF_INET, constants.SOCK_STREAM);
    bind(listener.descriptor, { ...loopback, port: 0 });
    listen(listener.descriptor, 1);
    const address = getsockname(listener.descriptor);
    assert.ok(address !== null && typeof address !== 'number' && address.family === 'ipv4');
    using client = openSocket(constants.AF_INET, constants.SOCK_STREAM);
    assert.equal(connect(client.descriptor, address), 0);
    assert.equal(isReadable(listener.descriptor, 1000), true);
  });
  assert.ok(hits >= 3, `${hits} operations`);
});

test('every hook for addresses takes a program', { skip }, () => {
  const hooks = Object.keys(ATTACH_TYPES).filter((name) =>
    /^cgroup_(?:inet[46]_(?:bind|connect|getpeername|getsockname)|udp[46]_|unix_)/.test(name),
  );
  assert.equal(hooks.length, 17);
  for (const hook of hooks) withProgram('cgroup_sock_addr', hook, ALLOW, () => undefined);
});

test('a cgroup link is replaced, and ends with its handle', { skip }, () => {
  using refusing = loadCounter(kind('cgroup_sock_addr', { attachType: 'cgroup_udp4_sendmsg' }), REFUSE);
  using allowing = loadCounter(kind('cgroup_sock_addr', { attachType: 'cgroup_udp4_sendmsg' }), ALLOW);
  {
    using link = refusing.program.attach({ cgroup: group.path });
    assert.ok(link instanceof Link);
    link.update(allowing.program);
    const info = link.info();
    assert.equal(info.attachType, 'cgroup_udp4_sendmsg');
    assert.equal(info.programId, allowing.program.info().id);
    assert.ok(info.cgroupId !== null && info.cgroupId > 0n);
  }
  net.inside(() =>
    inCgroup(group.path, () => {
      using receiver = boundUdp('127.0.0.1');
      using sender = udp();
      connect(sender.descriptor, { ...loopback, port: receiver.port });
      assert.equal(send(sender.descriptor), 64);
      assert.equal(isReadable(receiver.descriptor, 1000), true);
      assert.equal(receive(receiver.descriptor), 64);
    }),
  );
  assert.equal(allowing.hits(), 0);
});

test('a cgroup that is not there is named', { skip }, () => {
  using counter = loadCounter(kind('cgroup_skb', { attachType: 'cgroup_inet_ingress' }), ALLOW);
  assert.throws(() => counter.program.attach({ cgroup: 'no-such-cgroup' }), /ENOENT.*no-such-cgroup/);
});
