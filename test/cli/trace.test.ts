/**
 * `millrace trace` as a user meets it: real events of this kernel, and what is said of those that do not exist.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test from 'node:test';
import { mountsOf } from '../../src/kernel/mounts.ts';
import { kernelSkip } from '../support/bpf.ts';
import { projectRoot } from '../support/sources.ts';

const entry = join(projectRoot, 'bin/millrace.js');

function millrace(...options: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [entry, ...options], { encoding: 'utf8', timeout: 30_000 });
}

interface Counts {
  readonly rows: readonly { readonly key: readonly string[]; readonly count: number }[];
}

test('counts an event by a field and by what made it', { skip: kernelSkip }, async () => {
  const before = mountsOf('tracefs').length;
  const child = spawn(process.execPath, [entry, 'trace', 'syscalls:sys_enter_getpgid', '--by', 'pid,comm()', '--json']);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => JSON.parse(String((await lines.next()).value));
  assert.deepEqual(await next(), { event: 'started', events: ['syscalls:sys_enter_getpgid'] });
  // So many calls, from a process of another name.
  spawnSync('python3', ['-c', 'import os\nfor _ in range(37):\n  try: os.getpgid(4194000)\n  except OSError: pass']);

  child.kill('SIGINT');

  const { lost, tables } = (await next()) as { lost: number; tables: Counts[] };
  const [status] = await once(child, 'exit');
  assert.equal(status, 0);
  assert.equal(lost, 0);
  const row = tables[0].rows.find(({ key }) => key[0] === '4194000')!;
  assert.deepEqual(row, { key: ['4194000', 'python3'], count: 37 });
  assert.equal(mountsOf('tracefs').length, before);
});

test('ends by itself and shows a histogram of what a script measured', { skip: kernelSkip }, () => {
  const script =
    "on('raw_syscalls:sys_enter', () => start(tid())); on('raw_syscalls:sys_exit', () => histogram(elapsed(tid())))";
  const { status, stdout, stderr } = millrace('trace', '-e', script, '--duration', '300ms');
  assert.equal(status, 0);
  assert.equal(stderr, 'watching raw_syscalls:sys_enter, raw_syscalls:sys_exit\n');
  assert.match(stdout, /^elapsed\(tid\(\)\)\n(?: *\d+(?: – \d+)? +\d+(?: +█+)?\n)+$/);
});

for (const [event, fields] of [
  ['tcp:tcp_probe', 'saddr,daddr,dport'],
  // Its addresses lie at offsets that are no multiples of their lengths.
  ['tcp:tcp_retransmit_skb', 'saddr,daddr,saddr_v6,dport'],
] as const) {
  test(`arrays in the key are read as the verifier allows: ${event}`, { skip: kernelSkip }, () => {
    const { status, stderr } = millrace('trace', event, '--by', fields, '--duration', '10ms');
    assert.equal(stderr, `watching ${event}\n`);
    assert.equal(status, 0);
  });
}

test('an event that does not exist is refused with those that do', { skip: kernelSkip }, () => {
  const { status, stderr } = millrace('trace', 'tcp:tcp_retransmit');
  assert.equal(status, 1);
  assert.match(stderr, /^millrace: this kernel has no event tcp:tcp_retransmit; tcp has .*tcp_retransmit_skb/);
});

test('a field that an event lacks is refused with those that it has', { skip: kernelSkip }, () => {
  const { status, stderr } = millrace('trace', 'sched:sched_switch', '--by', 'nothing');
  assert.equal(status, 1);
  assert.match(stderr, /sched:sched_switch has no field nothing: .*next_comm/);
});

test('lists events, and the fields of one alone', { skip: kernelSkip }, () => {
  assert.match(millrace('trace', '--list', 'tcp:*').stdout, /^tcp:tcp_probe$/m);
  assert.match(millrace('trace', '--list', 'sched:sched_switch').stdout, /^ {2}next_comm: char \[16\]$/m);
});

test('without an event or a script it says what is wanted', () => {
  const { status, stderr } = millrace('trace');
  assert.equal(status, 1);
  assert.match(stderr, /name an event .* or give a script with -e/);
});
