/**
 * XDP programs in TypeScript on veth: they drop by port, answer, redirect to a device, a CPU and a process, and see packets in fragments.
 *
 * A newcomer would get wrong: a veth only takes redirected frames when its other end runs XDP, too, or gathers packets (GRO);
 * `veth_xdp_xmit`, drivers/net/veth.c. The receiving ends here gather.
 */
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import * as constants from '../../src/kernel/constants.ts';
import { check } from '../../src/kernel/error.ts';
import { connect } from '../../src/kernel/socket.ts';
import { addressOf, call, SYS } from '../../src/kernel/syscall.ts';
import { hooksOf } from '../support/bpf-hooks.ts';
import {
  arrives,
  boundUdp,
  type Hosts,
  hosts,
  isReadable,
  kernelSkip,
  type Namespace,
  namespace,
  openSocket,
  run,
} from '../support/bpf-kernel.ts';
import { needs } from '../support/bpf-objects.ts';
import { XskSocket } from '../support/bpf-xsk.ts';

/** Why nothing of this can be shown here, or false. */
const skip = kernelSkip || needs('ip', 'ethtool');
const load = hooksOf<typeof import('./hooks/xdp.bpf.ts')>('xdp');

let pair: Hosts;

before(() => {
  if (skip !== false) return;
  pair = hosts();
  // A frame that XDP redirects loses the note that its checksum is still to be filled in, and would be dropped as damaged.
  for (const host of [pair.one, pair.other]) host.run('ethtool', '-K', 'veth', 'tx', 'off');
});
after(() => pair?.[Symbol.dispose]());

/** Whether a datagram from the first host reaches a port of the second. */
function reaches(port: number, timeoutMs: number): boolean {
  using receiver = pair.other.inside(() => boundUdp('10.77.0.2', port));
  return pair.one.inside(() => arrives('10.77.0.2', receiver.port, receiver.descriptor, timeoutMs));
}

test('an XDP program drops what goes to the ports that user space names', { skip }, () => {
  using hooks = load({ programs: ['dropPorts'] });
  hooks.maps.ports.set(4001, 0n);
  using _link = pair.other.inside(() => hooks.programs.dropPorts.attach({ interface: 'veth' }));
  assert.equal(reaches(4000, 2000), true);
  assert.equal(reaches(4001, 100), false);
  assert.equal(hooks.maps.ports.get(4001), 1n);
  hooks.maps.ports.delete(4001);
  assert.equal(reaches(4001, 2000), true);
});

test('XDP_TX sends a datagram back with addresses and ports exchanged', { skip }, () => {
  using hooks = load({ programs: ['reflect', 'dropPorts'], constants: { reflectedPort: 7 } });
  using _link = pair.other.inside(() => hooks.programs.reflect.attach({ interface: 'veth' }));
  // The end that receives what XDP sends must run XDP itself.
  using _receives = pair.one.inside(() => hooks.programs.dropPorts.attach({ interface: 'veth' }));
  using sender = pair.one.inside(() => boundUdp('10.77.0.1'));
  const back = pair.one.inside(() => {
    check(connect(sender.descriptor, { family: 'ipv4', address: '10.77.0.2', port: 7 }), 'connect');
    call(SYS.sendto, sender.descriptor, addressOf(new Uint8Array(32)), 32, 0);
    return isReadable(sender.descriptor, 2000);
  });
  assert.equal(back, true);
  assert.equal(hooks.globals.reflected.value, 1);
});

test('a program for fragments sees the whole of a jumbo packet', { skip }, () => {
  const bytes = 8000;
  for (const host of [pair.one, pair.other]) host.run('ip', 'link', 'set', 'veth', 'mtu', '9000');
  try {
    using hooks = load({ programs: ['jumbo', 'dropPorts'] });
    assert.throws(
      () => pair.other.inside(() => hooks.programs.dropPorts.attach({ interface: 'veth', mode: 'native' })),
      /bpf xdp link \(xdp\) to veth: (ERANGE|EINVAL|EOPNOTSUPP)/,
      'a program that knows no fragments is not for such an interface',
    );
    using _link = pair.other.inside(() => hooks.programs.jumbo.attach({ interface: 'veth', mode: 'native' }));
    using receiver = pair.other.inside(() => boundUdp('10.77.0.2'));
    pair.one.inside(() => {
      using sender = openSocket(constants.AF_INET, constants.SOCK_DGRAM);
      check(connect(sender.descriptor, { family: 'ipv4', address: '10.77.0.2', port: receiver.port }), 'connect');
      const message = new Uint8Array(bytes).fill(1);
      message[bytes - 1] = 77;
      assert.equal(call(SYS.sendto, sender.descriptor, addressOf(message), bytes, 0), bytes);
    });
    assert.equal(isReadable(receiver.descriptor, 2000), true);
    assert.equal(hooks.globals.longest.value, BigInt(bytes + 14 + 20 + 8));
    assert.ok(hooks.globals.inOnePiece.value < bytes, `${hooks.globals.inOnePiece.value} bytes in one piece`);
    assert.equal(hooks.globals.lastByte.value, 77);
  } finally {
    for (const host of [pair.one, pair.other]) host.run('ip', 'link', 'set', 'veth', 'mtu', '1500');
  }
});

const indexOf = (host: Namespace, name: string): number =>
  (JSON.parse(run('ip', '-n', host.name, '-j', 'link', 'show', name)) as { ifindex: number }[])[0].ifindex;
const hardwareAddress = (host: Namespace, name: string): string =>
  (JSON.parse(run('ip', '-n', host.name, '-j', 'link', 'show', name)) as { address: string }[])[0].address;

test('a device map sends packets on to a third host, through a program at the device', { skip }, () => {
  using third = namespace();
  const queues = ['numtxqueues', '2', 'numrxqueues', '2'];
  const peer = ['peer', 'name', 'veth', ...queues, 'netns', third.name];
  run('ip', '-n', pair.other.name, 'link', 'add', 'onward', ...queues, 'type', 'veth', ...peer);
  try {
    run('ip', '-n', third.name, 'address', 'add', '10.77.0.3/24', 'dev', 'veth');
    run('ip', '-n', third.name, 'link', 'set', 'veth', 'up');
    run('ip', '-n', pair.other.name, 'link', 'set', 'onward', 'up');
    third.run('ethtool', '-K', 'veth', 'gro', 'on');
    const address = hardwareAddress(third, 'veth');
    run('ip', '-n', pair.one.name, 'neigh', 'replace', '10.77.0.3', 'lladdr', address, 'dev', 'veth');

    using hooks = load({ programs: ['forward', 'atDevice'] });
    const onward = indexOf(pair.other, 'onward');
    pair.other.inside(() =>
      hooks.maps.devices.set(0, { ifindex: onward, bpf_prog: hooks.programs.atDevice.descriptor }),
    );
    using link = pair.other.inside(() => hooks.programs.forward.attach({ interface: 'veth', mode: 'native' }));
    using receiver = third.inside(() => boundUdp('10.77.0.3'));
    const sendToThird = (): boolean =>
      pair.one.inside(() => arrives('10.77.0.3', receiver.port, receiver.descriptor, 2000));
    assert.equal(sendToThird(), true);
    assert.equal(hooks.globals.leaving.value, onward);
    link[Symbol.dispose]();

    // The same by a table of any numbers, with another program in the first one's place.
    using byName = load({ programs: ['forwardByName'] });
    pair.other.inside(() => byName.maps.devicesByName.set(0x1234_5678, onward));
    using _second = pair.other.inside(() =>
      byName.programs.forwardByName.attach({ interface: 'veth', mode: 'native' }),
    );
    assert.equal(sendToThird(), true);
  } finally {
    run('ip', '-n', pair.other.name, 'link', 'del', 'onward');
  }
});

test('a CPU map hands packets to the stack of the CPU that it names', { skip }, () => {
  const cpu = Number(/(\d+)$/m.exec(run('cat', '/sys/devices/system/cpu/online').trim())?.[1]);
  using hooks = load({ programs: ['toCpu', 'atCpu'], constants: { chosenCpu: cpu } });
  hooks.maps.cpus.set(cpu, { qsize: 64, bpf_prog: hooks.programs.atCpu.descriptor });
  using _link = pair.other.inside(() => hooks.programs.toCpu.attach({ interface: 'veth', mode: 'native' }));
  assert.equal(reaches(4000, 2000), true);
  assert.equal(hooks.globals.ranOn.value, cpu);
});

test('datagrams go to an AF_XDP socket of a process, and past the stack', { skip }, () => {
  using hooks = load({ programs: ['toProcess'] });
  using socket = pair.other.inside(() => new XskSocket(indexOf(pair.other, 'veth')));
  using _link = pair.other.inside(() => hooks.programs.toProcess.attach({ interface: 'veth' }));
  assert.equal(reaches(4000, 2000), true, 'no socket is in the map');
  hooks.maps.xsks.set(0, socket.descriptor);
  assert.equal(socket.receive(), null);
  // A flow of which the hash chooses the first of the two queues will be among so many.
  for (let round = 0; round < 50 && hooks.globals.taken.value === 0; round++) reaches(4000, 1);
  assert.equal(hooks.globals.taken.value, 1);
  const frame = socket.receive();
  assert.ok(frame !== null);
  assert.equal(frame.length, 14 + 20 + 8 + 64);
  assert.deepEqual([...frame.subarray(26, 34)], [10, 77, 0, 1, 10, 77, 0, 2]);
  assert.equal(socket.receive(), null);
});
