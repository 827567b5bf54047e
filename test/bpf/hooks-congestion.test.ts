/**
 * TCP congestion controls in TypeScript, chosen by connections in a namespace, with losses that another program makes.
 *
 * A newcomer would get wrong: a congestion control is registered for the whole machine, under its name, as long as its map holds it. No
 * connection of others uses it unless it asks for the name.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test, { after, before } from 'node:test';
import { Link } from '../../src/bpf/loader/links/link.ts';
import * as constants from '../../src/kernel/constants.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import { check } from '../../src/kernel/error.ts';
import { getsockopt, setNonBlocking, setsockopt } from '../../src/kernel/socket.ts';
import { hooksOf } from '../support/bpf-hooks.ts';
import {
  isReadable,
  type Namespace,
  namespace,
  receiveBytes,
  sendBytes,
  kernelSkip as skip,
} from '../support/bpf-kernel.ts';
import { needs } from '../support/bpf-objects.ts';
import { type Connection, connection } from '../support/bpf-sockets.ts';

const load = hooksOf<typeof import('./hooks/congestion.bpf.ts')>('congestion');
const { IPPROTO_TCP, TCP_CONGESTION } = constants;
/** Where struct tcp_info has tcpi_snd_cwnd (include/uapi/linux/tcp.h). */
const CWND_AT = 80;
const TCP_INFO = 11;
const CHUNK_BYTES = 16_384;

let net: Namespace;

before(() => {
  if (skip !== false) return;
  net = namespace();
  // Segments as on a real network: with the loopback's 64 KB a few of them would be all.
  net.run('ip', 'link', 'set', 'lo', 'mtu', '1500');
  net.run('ethtool', '-K', 'lo', 'tso', 'off', 'gso', 'off', 'gro', 'off');
});
after(() => net?.[Symbol.dispose]());

function choose(descriptor: number, name: string): number {
  return setsockopt(descriptor, IPPROTO_TCP, TCP_CONGESTION, Buffer.from(name));
}

/** A connection that has chosen its congestion control before it was made. */
function connectionWith(name: string): Connection {
  const made = connection((client) => check(choose(client, name), 'setsockopt', name));
  for (const end of [made.client, made.server]) setNonBlocking(end, true);
  return made;
}

function chosen(descriptor: number): string {
  const name = new Uint8Array(16);
  getsockopt(descriptor, IPPROTO_TCP, TCP_CONGESTION, name);
  return Buffer.from(name).toString().replace(/\0.*$/s, '');
}

function window(descriptor: number): number {
  const info = new Uint8Array(240);
  check(getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, info), 'getsockopt', 'TCP_INFO');
  return new DataView(info.buffer).getUint32(CWND_AT, true);
}

/** Sends bytes whose values count up, and takes them at the other end; the windows that were seen meanwhile. */
function transfer({ client, server }: Connection, bytes: number): Set<number> {
  const windows = new Set<number>();
  let [sent, received] = [0, 0];
  while (received < bytes) {
    const chunk = Uint8Array.from({ length: Math.min(CHUNK_BYTES, bytes - sent) }, (_, index) => (sent + index) % 251);
    const result = chunk.length === 0 ? 0 : sendBytes(client, chunk);
    if (result > 0) sent += result;
    if (result === 0 || result === -ERRNO.EAGAIN) assert.ok(isReadable(server, 5000), `${received} of ${bytes} bytes`);
    for (let got = receiveBytes(server, CHUNK_BYTES); got !== null; got = receiveBytes(server, CHUNK_BYTES)) {
      assert.ok(got.every((byte, index) => byte === (received + index) % 251));
      received += got.length;
    }
    windows.add(window(client));
  }
  return windows;
}

const toolSkip = skip || needs('ethtool');

test('a connection keeps the window that user space says', { skip: toolSkip }, () => {
  using hooks = load();
  using registered = hooks.attachStruct('fixed');
  assert.equal(registered.kind, 'struct_ops');
  const { fixedCalls, fixedWindow } = hooks.globals;
  net.inside(() => {
    using made = connectionWith('millrace_fixed');
    assert.equal(chosen(made.client), 'millrace_fixed');
    assert.equal(fixedCalls.value.init, 1);
    transfer(made, 300_000);
    assert.equal(window(made.client), 4);
    fixedWindow.value = 9;
    transfer(made, 300_000);
    assert.equal(window(made.client), 9);
    if (needs('ss') === false) assert.match(net.run('ss', '-tin'), /\bmillrace_fixed\b.*\bcwnd:9\b/);
  });
  const { avoid, acked, events, release } = fixedCalls.value;
  assert.ok(avoid > 20 && events > 20, `${avoid} and ${events} calls`);
  assert.ok(acked >= 600_000n / 1500n, `${acked} segments acknowledged`);
  assert.equal(release, 1);
});

test('a control takes the place of another of the same name, in one step', { skip: toolSkip }, () => {
  using first = load();
  using second = load();
  second.globals.fixedWindow.value = 7;
  using link = first.attachStruct('fixed');
  assert.ok(link instanceof Link);
  net.inside(() => {
    using before = connectionWith('millrace_fixed');
    link.update(second.maps.fixed);
    using after = connectionWith('millrace_fixed');
    for (const made of [before, after]) transfer(made, 100_000);
    assert.deepEqual([window(before.client), window(after.client)], [4, 7]);
  });
});

test('a Reno doubles its window, halves it after a loss, and loses no byte', { skip: toolSkip }, () => {
  using hooks = load();
  using _registered = hooks.attachStruct('reno');
  using _loss = net.inside(() => hooks.programs.lose.attach({ interface: 'lo' }));
  const { renoCalls, lossEvery, dropped } = hooks.globals;
  net.inside(() => {
    using made = connectionWith('millrace_reno');
    transfer(made, 200_000);
    const grown = window(made.client);
    assert.ok(grown > 20, `a window of ${grown} segments`);
    assert.equal(renoCalls.value.ssthresh, 0);
    // TCP hands down many segments in one buffer, which are lost together.
    lossEvery.value = 5;
    transfer(made, 600_000);
    assert.ok(dropped.value > 0);
    assert.ok(renoCalls.value.ssthresh > 0);
    assert.ok(window(made.client) < grown, `${window(made.client)} after ${grown}`);
  });
});

test('a control that is gone can no longer be chosen, and is listed no longer', { skip }, () => {
  const available = (): string => readFileSync('/proc/sys/net/ipv4/tcp_available_congestion_control', 'utf8');
  {
    using hooks = load();
    using _registered = hooks.attachStruct('reno');
    assert.match(available(), /\bmillrace_reno\b/);
  }
  assert.doesNotMatch(available(), /\bmillrace_reno\b/);
  net.inside(() => {
    using made = connection();
    assert.equal(choose(made.client, 'millrace_reno'), -ERRNO.ENOENT);
    assert.notEqual(chosen(made.client), 'millrace_reno');
  });
});
