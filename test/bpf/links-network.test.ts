/**
 * Programs at interfaces and in network namespaces, each shown to act on real packets.
 *
 * A newcomer would get wrong: everything happens in namespaces that a test makes; what it attaches goes with them in any case.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { kernelConfig } from '../../src/bpf/loader/kernel-config.ts';
import { attach } from '../../src/bpf/loader/links/attach.ts';
import { Link, openLink } from '../../src/bpf/loader/links/link.ts';
import { arrives, boundUdp, type Hosts, hosts, mounted, run, kernelSkip as skip } from '../support/bpf-kernel.ts';
import { kind, loadCounter } from '../support/bpf-object.ts';

const DROP = 1;
const PASS = 2;
const TC_ACT_SHOT = 2;
const TCX_NEXT = -1;

let pair: Hosts;

before(() => {
  if (skip === false) pair = hosts();
});
after(() => pair?.[Symbol.dispose]());

/** Whether a datagram from the first host reaches the second. */
function datagramArrives(timeoutMs = 150): boolean {
  using receiver = pair.other.inside(() => boundUdp('10.77.0.2'));
  return pair.one.inside(() => arrives('10.77.0.2', receiver.port, receiver.descriptor, timeoutMs));
}

function asLink(value: unknown): Link {
  assert.ok(value instanceof Link);
  return value;
}

test('an XDP program drops packets; another takes its place without a gap', { skip }, () => {
  assert.equal(datagramArrives(2000), true);
  using dropping = loadCounter(kind('xdp', { attachType: 'xdp' }), DROP);
  using passing = loadCounter(kind('xdp', { attachType: 'xdp' }), PASS);
  using link = asLink(pair.other.inside(() => dropping.program.attach({ interface: 'veth', mode: 'native' })));

  assert.equal(datagramArrives(), false);
  assert.ok(dropping.hits() > 0);
  link.update(passing.program, dropping.program);
  assert.equal(datagramArrives(2000), true);
  assert.ok(passing.hits() > 0);
  assert.equal(link.info().programId, passing.program.info().id);
  assert.throws(() => link.update(dropping.program, dropping.program), { code: 'EPERM' });

  link.detach();
  assert.equal(link.info().interfaceIndex, 0);
});

test('a second XDP program is refused with what to do', { skip }, () => {
  using one = loadCounter(kind('xdp', { attachType: 'xdp' }), PASS);
  using _first = pair.other.inside(() => one.program.attach({ interface: 'veth' }));
  assert.throws(
    () => pair.other.inside(() => one.program.attach({ interface: 'veth' })),
    /bpf xdp link \(xdp\) to veth: EBUSY; another XDP program is attached: replace it through its link/,
  );
});

test('a pinned link goes on without its handle and is opened again', { skip }, () => {
  using place = mounted('bpf');
  using dropping = loadCounter(kind('xdp', { attachType: 'xdp' }), DROP);
  const path = join(place.path, 'link');
  {
    using link = asLink(pair.other.inside(() => dropping.program.attach({ interface: 'veth' })));
    link.pin(path);
  }
  assert.equal(datagramArrives(), false);
  {
    // As a new version of the program does it, when it takes over.
    using passing = loadCounter(kind('xdp', { attachType: 'xdp' }), PASS);
    using again = openLink(path);
    assert.equal(again?.kind, 'xdp');
    again.update(passing.program);
    assert.equal(datagramArrives(2000), true);
    assert.ok(passing.hits() > 0);
    again.detach();
  }
  assert.equal(datagramArrives(2000), true);
  assert.equal(openLink(join(place.path, 'nothing')), null);
});

test('tcx programs run in their order, in both directions', { skip }, () => {
  using counting = loadCounter(kind('sched_cls', { attachType: 'tcx_egress' }), TCX_NEXT);
  using dropping = loadCounter(kind('sched_cls', { attachType: 'tcx_egress' }), TC_ACT_SHOT);
  pair.one.inside(() => {
    using last = asLink(dropping.program.attach({ interface: 'veth' }));
    {
      using _first = counting.program.attach({ interface: 'veth', before: dropping.program });
      assert.equal(datagramArrives(), false);
      assert.ok(counting.hits() > 0, 'the one before it saw the packet');
    }
    const seen = counting.hits();
    using _behind = counting.program.attach({ interface: 'veth', after: last, relativeToLink: true });
    assert.equal(datagramArrives(), false);
    assert.equal(counting.hits(), seen, 'the one behind a drop sees nothing');
    assert.equal(last.info().attachType, 'tcx_egress');
  });
  using ingress = loadCounter(kind('sched_cls'), TC_ACT_SHOT);
  assert.throws(
    () => ingress.program.attach({ interface: 'veth' }),
    /is attached with direction: 'ingress' or 'egress'/,
  );
  using _link = pair.other.inside(() => ingress.program.attach({ interface: 'veth', direction: 'ingress' }));
  assert.equal(datagramArrives(), false);
  assert.ok(ingress.hits() > 0);
});

test('a netfilter program drops what comes in', { skip }, () => {
  using dropping = loadCounter(kind('netfilter', { attachType: 'netfilter' }), 0);
  {
    using link = pair.other.inside(() =>
      dropping.program.attach({ netfilter: { family: 'ipv4', hook: 'localIn', priority: -128 } }),
    );
    assert.equal(link.kind, 'netfilter');
    assert.equal(datagramArrives(), false);
    assert.ok(dropping.hits() > 0);
  }
  assert.equal(datagramArrives(2000), true);
});

test('sk_lookup decides over sockets of a namespace', { skip }, () => {
  using dropping = loadCounter(kind('sk_lookup', { attachType: 'sk_lookup' }), 0);
  {
    using link = asLink(dropping.program.attach({ namespace: pair.other.path }));
    assert.equal(datagramArrives(), false);
    assert.ok(dropping.hits() > 0);
    assert.notEqual(link.info().namespaceInode, 0);
    assert.throws(() => dropping.program.attach({ namespace: '/proc/self/ns/nothing' }), { code: 'ENOENT' });
  }
  assert.equal(datagramArrives(2000), true);
});

test('a flow dissector takes flows apart for a namespace', { skip }, () => {
  const BPF_OK = 0;
  using dissector = loadCounter(kind('flow_dissector', { attachType: 'flow_dissector' }), BPF_OK);
  using link = asLink(dissector.program.attach({ namespace: pair.one.path }));
  // A device of two queues chooses between them by the hash of the flow, which for ICMP nobody has made before.
  pair.one.run('ping', '-c', '1', '-W', '2', '10.77.0.2');
  assert.ok(dissector.hits() > 0);
  assert.throws(
    () => dissector.program.attach({ namespace: pair.one.path }),
    /E2BIG; the namespace has such a program/,
  );
  link.detach();
});

test('a tc filter drops packets, in either direction', { skip }, () => {
  for (const [host, direction] of [
    [pair.one, 'egress'],
    [pair.other, 'ingress'],
  ] as const) {
    using dropping = loadCounter(kind('sched_cls'), TC_ACT_SHOT);
    const filter = { interface: 'veth', direction };
    {
      using attached = host.inside(() => dropping.program.attach({ filter }));
      assert.equal(attached.kind, 'tc');
      assert.equal(datagramArrives(), false);
      assert.ok(dropping.hits() > 0);
      assert.throws(() => host.inside(() => dropping.program.attach({ filter })), /EEXIST; take another priority/);
      host.inside(() => attached[Symbol.dispose]());
    }
    assert.equal(datagramArrives(2000), true);
  }
});

test('a tc action drops packets, held by a filter of tc’s', { skip }, (context) => {
  if (kernelConfig()?.has('CONFIG_NET_ACT_BPF') === false) {
    context.skip('this kernel has no actions made of programs: CONFIG_NET_ACT_BPF is not set');
    return;
  }
  using place = mounted('bpf');
  using dropping = loadCounter(kind('sched_act'), TC_ACT_SHOT);
  const path = join(place.path, 'action');
  dropping.program.pin(path);
  pair.one.run('tc', 'qdisc', 'replace', 'dev', 'veth', 'clsact');
  try {
    const filter = ['filter', 'add', 'dev', 'veth', 'egress', 'protocol', 'ip', 'u32', 'match', 'u32', '0', '0'];
    pair.one.run('tc', ...filter, 'action', 'bpf', 'object-pinned', path);
    assert.equal(datagramArrives(), false);
    assert.ok(dropping.hits() > 0);
  } finally {
    pair.one.run('tc', 'qdisc', 'del', 'dev', 'veth', 'clsact');
  }
});

test('programs at routes see packets going out, being sent and coming in', { skip }, () => {
  const BPF_DROP = 2;
  for (const type of ['lwt_out', 'lwt_xmit']) {
    using dropping = loadCounter(kind(type), BPF_DROP);
    pair.one.inside(() => {
      const route = { destination: '10.77.0.2/32', interface: 'veth' };
      using attached = dropping.program.attach({ route });
      assert.equal(attached.kind, 'route');
      assert.equal(datagramArrives(), false);
      assert.throws(() => dropping.program.attach({ route }), /netlink route to 10\.77\.0\.2\/32: EEXIST/);
    });
    assert.ok(dropping.hits() > 0, type);
  }
  // What comes in passes the program of the route by which it goes on: here to another address of the receiver's network.
  using incoming = loadCounter(kind('lwt_in'), BPF_DROP);
  pair.other.run('sysctl', '-q', '-w', 'net.ipv4.ip_forward=1');
  run('ip', '-n', pair.one.name, 'route', 'add', '10.78.0.0/24', 'via', '10.77.0.2');
  pair.other.inside(() => {
    using _attached = incoming.program.attach({ route: { destination: '10.78.0.0/24', interface: 'lo' } });
    pair.one.inside(() => {
      using sender = boundUdp('10.77.0.1');
      arrives('10.78.0.1', 9, sender.descriptor, 50);
    });
  });
  assert.ok(incoming.hits() > 0);
});

test('a segment’s program acts on IPv6 packets with a segment routing header', { skip }, () => {
  using segment = loadCounter(kind('lwt_seg6local'), 0);
  pair.other.inside(() => {
    using attached = segment.program.attach({ route: { destination: 'fd00:5e6::/64', interface: 'veth' } });
    assert.equal(attached.kind, 'route');
    assert.match(
      pair.other.run('ip', '-6', 'route', 'show', 'fd00:5e6::/64'),
      /seg6local action End\.BPF endpoint millrace/,
    );
  });
});

test('a target that does not fit is refused by name', { skip }, () => {
  using xdp = loadCounter(kind('xdp', { attachType: 'xdp' }), PASS);
  assert.throws(() => xdp.program.attach({}), /program count of type xdp is attached with \{ interface: 'eth0' \}/);
  assert.throws(() => xdp.program.attach({ interface: 'nosuchinterface' }), /SIOCGIFINDEX|1 to 15 bytes/);
  using syscall = loadCounter(kind('syscall', { flags: 16 }), 0);
  assert.throws(() => attach(syscall.program), /not attached by themselves: run them with testRun/);
});
