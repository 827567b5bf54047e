/**
 * Programs in TypeScript that watch, each shown to see what happened: tracepoints of every kind, samples, functions and probes of a
 * program that the test compiles, iterators, values beside tasks and cgroups.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { assemble } from '../../src/bpf/assembler.ts';
import type { Attachment, KernelMap } from '../../src/bpf/index.ts';
import { Link } from '../../src/bpf/loader/links/link.ts';
import { readIterator, readIteratorText } from '../../src/bpf/loader/links/tracing.ts';
import { loadProgram } from '../../src/bpf/loader/program.ts';
import * as constants from '../../src/kernel/constants.ts';
import { check, KernelError } from '../../src/kernel/error.ts';
import { mountsOf } from '../../src/kernel/mounts.ts';
import { closeDescriptor, connect, setsockoptInt } from '../../src/kernel/socket.ts';
import { call } from '../../src/kernel/syscall.ts';
import { eventsOf, hooksOf } from '../support/bpf-hooks.ts';
import {
  cgroup,
  inCgroup,
  mounted,
  type Namespace,
  namespace,
  type Place,
  run,
  kernelSkip as skip,
} from '../support/bpf-kernel.ts';
import { needs } from '../support/bpf-objects.ts';
import { accepted, listening, ownAddress, tcp } from '../support/bpf-sockets.ts';

type Module = typeof import('./hooks/tracing.bpf.ts');
const load = hooksOf<Module>('tracing');
const own = { ownProcess: process.pid };
const GETPRIORITY = 140;
const AF_INET = 2;
const ESTABLISHED = 1;
const SYN_SENT = 2;
const CLOSE = 7;
const compilerSkip = skip || needs('cc');

let net: Namespace;
let tracefs: Place | null = null;
let folder: string;
let traced: string;

before(() => {
  if (skip !== false) return;
  net = namespace();
  if (mountsOf('tracefs').length === 0) tracefs = mounted('tracefs');
  folder = mkdtempSync(join(tmpdir(), 'millrace-traced-'));
  traced = join(folder, 'traced');
  if (compilerSkip === false) run('cc', '-O1', '-o', traced, join(import.meta.dirname, 'hooks/traced.c'));
});
after(() => {
  tracefs?.[Symbol.dispose]();
  net?.[Symbol.dispose]();
  if (folder !== undefined) rmSync(folder, { recursive: true });
});

const text = (bytes: ArrayLike<number>): string => Buffer.from(Array.from(bytes)).toString().replace(/\0.*$/s, '');

const PORT = 4300;

/** Connects over the loopback of the namespace and closes again; the client's port. */
function connectOnce(mark = 0): number {
  return net.inside(() => {
    using listener = listening('ipv4', PORT);
    using client = tcp();
    if (mark !== 0) setsockoptInt(client.descriptor, constants.SOL_SOCKET, constants.SO_MARK, mark);
    check(connect(client.descriptor, ownAddress(listener)), 'connect');
    using _server = accepted(listener);
    return ownAddress(client).port;
  });
}

test('a tracepoint’s fields go through a ring buffer to this process', { skip }, () => {
  using hooks = load({ programs: ['onState'], constants: { port: PORT } });
  {
    using link = hooks.programs.onState.attach();
    assert.equal(link.kind, 'perf_event');
    connectOnce();
  }
  const events = eventsOf(hooks.maps.changes);
  const steps = events.map(({ from, to }) => [from, to]);
  assert.deepEqual(steps.slice(0, 2), [
    [CLOSE, SYN_SENT],
    [SYN_SENT, ESTABLISHED],
  ]);
  const [{ source, target, family, port }] = events.slice(1);
  assert.deepEqual([...source, ...target], [127, 0, 0, 1, 127, 0, 0, 1]);
  assert.deepEqual([port, family], [PORT, AF_INET]);
});

test('a BTF tracepoint follows the kernel’s socket field by field', { skip }, () => {
  using hooks = load({ programs: ['onSocket'], constants: { port: PORT } });
  using link = hooks.programs.onSocket.attach();
  assert.equal(link.kind, 'raw_tracepoint');
  const ownPort = connectOnce(77);
  const { states, ...rest } = hooks.globals.lastSocket.value;
  assert.deepEqual(rest, { address: 0x7f00_0001, port: PORT, ownPort, mark: 77 });
  assert.equal(states & 0b1000_0110, 0b1000_0110, 'established, SYN sent, closed');
});

test('a raw tracepoint reads the registers of a system call', { skip }, () => {
  using hooks = load({ programs: ['onCall'], constants: { ...own, watchedCall: GETPRIORITY } });
  using link = hooks.programs.onCall.attach();
  assert.equal(link.kind, 'raw_tracepoint');
  for (const which of [0, 2, 1]) call(GETPRIORITY, which, 0);
  assert.equal(hooks.globals.seen.value, 3n);
  assert.equal(hooks.globals.firstArgument.value, 1n);
});

test('system calls are counted beside the task and the cgroup that make them', { skip }, () => {
  using group = cgroup();
  using hooks = load({ programs: ['countCalls'], constants: { ...own, watchedCall: GETPRIORITY } });
  using _link = hooks.programs.countCalls.attach();
  const calls = (count: number): void => {
    for (let round = 0; round < count; round++) call(GETPRIORITY, 0, 0);
  };
  calls(3);
  inCgroup(group.path, () => calls(4));
  const PIDFD_OPEN = 434;
  const task = check(call(PIDFD_OPEN, process.pid, 0), 'pidfd_open');
  try {
    assert.equal(hooks.maps.perTask.get(task)?.count, 7n);
  } finally {
    closeDescriptor(task);
  }
  assert.equal(ofCgroup(hooks.maps.perCgroup, group.path)?.count, 4n);
});

function ofCgroup(map: Pick<KernelMap<number, { count: bigint }>, 'get'>, path: string): { count: bigint } | null {
  const descriptor = openSync(path, 'r');
  try {
    return map.get(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

test('samples of this process’s stack are counted by stack', { skip }, () => {
  using hooks = load({ programs: ['sample'], constants: own });
  using _link = hooks.programs.sample.attach({ samples: { frequency: 1000, process: process.pid } });
  const end = Date.now() + 100;
  while (Date.now() < end);
  const seen = Number(hooks.globals.seen.value);
  assert.ok(seen > 5, `${seen} samples`);
  const counts = [...hooks.maps.perStack.entries()];
  assert.ok(counts.length > 0);
  const [stack] = counts[0];
  const frames = hooks.maps.stacks.get(stack);
  assert.ok(frames !== null && frames[0] !== 0n, 'a stack begins with an address');
});

test('a function of a process is seen with its arguments and its result', { skip: compilerSkip }, () => {
  using hooks = load({ programs: ['onAdd', 'afterAdd'] });
  const uprobe = { executable: traced, function: 'add' };
  using _entry = hooks.programs.onAdd.attach({ uprobe, cookie: 0x1234n });
  using _return = hooks.programs.afterAdd.attach({ uprobe: { ...uprobe, atReturn: true } });
  assert.equal(spawnSync(traced).status, 0);
  const calls = eventsOf(hooks.maps.calls);
  assert.deepEqual(
    calls.map(({ left, right, cookie, name, text: said }) => [left, right, cookie, text(name), text(said)]),
    [1, 2, 3].map((left) => [left, left * 10, 0x1234n, 'traced', 'from the process']),
  );
  assert.deepEqual([...hooks.globals.results.value], [11n, 22n, 33n, 0n]);
});

test('two functions are seen by one link, and their results by another', { skip: compilerSkip }, () => {
  using hooks = load({ programs: ['onBoth', 'afterBoth'] });
  const uprobes = { executable: traced, functions: ['add', 'multiply'], cookies: [1n, 2n] };
  using entries = hooks.programs.onBoth.attach({ uprobes });
  assert.equal(entries.kind, 'uprobe_multi');
  using _returns = hooks.programs.afterBoth.attach({ uprobes });
  assert.equal(spawnSync(traced).status, 0);
  const calls = eventsOf(hooks.maps.calls);
  assert.deepEqual(
    calls.map(({ left, right, cookie }) => [cookie, left, right]),
    [1, 2, 3].flatMap((step) => [
      [1n, step, 0],
      [1n, 0, step * 11],
      [2n, step, 0],
      [2n, 0, step * 100],
    ]),
  );
});

test('a probe that may sleep copies the process’s memory', { skip: compilerSkip }, () => {
  using hooks = load({ programs: ['onAddSleepable'] });
  using _link = hooks.programs.onAddSleepable.attach({ uprobe: { executable: traced, function: 'add' } });
  assert.equal(spawnSync(traced, ['untouched']).status, 0);
  const calls = eventsOf(hooks.maps.calls);
  assert.deepEqual(
    calls.map(({ text: said }) => text(said)),
    ['from the', 'from the', 'from the'],
  );
});

test('a USDT probe is seen with its argument', { skip: compilerSkip }, () => {
  using hooks = load({ programs: ['onProbe'] });
  using _link = hooks.programs.onProbe.attach({
    usdt: { executable: traced, provider: 'traced', name: 'step' },
    cookie: 5n,
  });
  assert.equal(spawnSync(traced).status, 0);
  const calls = eventsOf(hooks.maps.calls);
  assert.deepEqual(
    calls.map(({ left, right, cookie }) => [left, right, cookie]),
    [1, 2, 3].map((step) => [step, -1, 5n]),
  );
});

function asLink(attachment: Attachment): Link {
  assert.ok(attachment instanceof Link);
  return attachment;
}

test('an iterator lists the TCP sockets of a namespace', { skip }, () => {
  using hooks = load({ programs: ['listTcp'] });
  using link = asLink(hooks.programs.listTcp.attach());
  const LISTEN = 10;
  const [port, lines] = net.inside(() => {
    using listener = listening();
    return [ownAddress(listener).port, readIteratorText(link)];
  });
  assert.ok(lines.split('\n').includes(`7f000001 ${port} ${LISTEN}`), lines);
  assert.doesNotMatch(
    net.inside(() => readIteratorText(link)),
    new RegExp(` ${port} ${LISTEN}\\b`),
  );
});

test('an iterator that may sleep reads the memory of a process', { skip }, () => {
  using hooks = load({ programs: ['listArguments'] });
  using link = asLink(hooks.programs.listArguments.attach({ iterate: { thread: process.pid } }));
  const started = readFileSync('/proc/self/cmdline').subarray(0, 16);
  assert.deepEqual(Buffer.concat([...readIterator(link)]).subarray(0, 16), started);
});

test('a raw tracepoint program writes what its event gives', { skip }, () => {
  using hooks = load({ programs: ['failTestRuns'] });
  using passing = loadProgram({ type: 'xdp', instructions: assemble('mov %r0, 2\nexit') });
  {
    using link = hooks.programs.failTestRuns.attach();
    assert.equal(link.kind, 'raw_tracepoint');
    assert.throws(() => passing.testRun({ data: new Uint8Array(64) }), { code: 'EIO' });
  }
  assert.equal(passing.testRun({ data: new Uint8Array(64) }).result, 2);
});

test('an iterator gives records of the open files of a process', { skip }, () => {
  using hooks = load({ programs: ['listFiles'] });
  using link = asLink(hooks.programs.listFiles.attach({ iterate: { process: process.pid } }));
  const path = openSync('/dev/null', 'w');
  try {
    const words = new Uint32Array(Uint8Array.from(Buffer.concat([...readIterator(link)])).buffer);
    const records = Array.from({ length: words.length / 3 }, (_, index) => words.subarray(index * 3, index * 3 + 3));
    assert.ok(records.every(([process_]) => process_ === process.pid));
    const found = records.find(([, descriptor]) => descriptor === path);
    assert.equal((found?.[2] ?? 0) & 3, 1, 'O_WRONLY');
  } finally {
    closeSync(path);
  }
});

test('an iterator goes through the cgroups below one', { skip }, () => {
  using group = cgroup();
  const child = join(group.path, 'child');
  mkdirSync(child);
  try {
    using hooks = load({ programs: ['listCgroups'] });
    using link = asLink(hooks.programs.listCgroups.attach({ iterate: { cgroup: group.path, order: 'down' } }));
    const lines = readIteratorText(link)
      .trim()
      .split('\n')
      .map((line) => line.split(' ').map(Number));
    assert.deepEqual(
      lines.map(([id]) => id),
      [statSync(group.path).ino, statSync(child).ino],
    );
    assert.equal(lines[1][1], lines[0][1] + 1, 'one level below');
  } finally {
    rmdirSync(child);
  }
});

test('an iterator adds up a map’s values, or the refusal says why', { skip }, (context) => {
  try {
    using hooks = load({ programs: ['addUp'] });
    for (const stack of [1, 2, 3]) hooks.maps.perStack.set(stack, BigInt(stack));
    using link = asLink(hooks.programs.addUp.attach({ iterate: { map: hooks.maps.perStack } }));
    readIteratorText(link);
    assert.equal(hooks.globals.seen.value, 6n);
  } catch (error) {
    // Some kernels keep iterators over the elements of maps to themselves, for clang's programs as for ours.
    if (!(error instanceof KernelError) || error.code !== 'EPERM') throw error;
    assert.match(error.message, /EPERM; .*the kernel itself forbids it/);
    context.diagnostic(`iter/bpf_map_elem is refused here: ${error.message}`);
  }
});
