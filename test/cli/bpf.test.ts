/**
 * `millrace bpf …` as a user meets it: processes, their output and their status.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { after } from 'node:test';
import { writePcap } from '../../src/bpf/capture/pcap.ts';
import { targetOf } from '../../src/cli/bpf/hooks.ts';
import { kernelSkip } from '../support/bpf.ts';
import { projectRoot } from '../support/sources.ts';

const folder = mkdtempSync(join(tmpdir(), 'millrace-bpf-'));
after(() => rmSync(folder, { recursive: true }));
const entry = join(projectRoot, 'bin/millrace.js');

function millrace(...options: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [entry, 'bpf', ...options], { encoding: 'utf8', timeout: 30_000 });
}

function write(name: string, content: string | Uint8Array): string {
  const file = join(folder, name);
  writeFileSync(file, content);
  return file;
}

const source = write(
  'drop.bpf.ts',
  `import { Ethernet, hash, packet, readOnly, u16, u64, XDP_DROP, XDP_PASS, xdp } from 'millrace/bpf';

export const dropped = readOnly(u16, 0x0806);
export const seen = hash({ key: u16, value: u64, maxEntries: 16 });

export const filter = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  if (ethernet === null) return XDP_PASS;
  const counter = seen.lookup(ethernet.protocol);
  if (counter === null) seen.update(ethernet.protocol, 1n);
  else counter.value += 1n;
  return ethernet.protocol === dropped.value ? XDP_DROP : XDP_PASS;
});
`,
);

function frame(protocol: number): { readonly data: Uint8Array } {
  const data = new Uint8Array(64);
  data.set([protocol >> 8, protocol & 255], 12);
  return { data };
}
const capture = write('three.pcap', writePcap([frame(0x0806), frame(0x0800), frame(0x0800)]));

test('builds an object, and says what is in it', () => {
  const output = join(folder, 'drop.o');
  const { status, stdout, stderr } = millrace('build', source, '-o', output, '--json');
  assert.equal(stderr, '');
  assert.equal(status, 0);
  const built = JSON.parse(stdout);
  assert.deepEqual(built.programs, [{ name: 'filter', section: 'xdp' }]);
  assert.deepEqual(built.maps, [{ name: 'seen', type: 'hash' }]);
  assert.ok(existsSync(output));
  assert.ok(!readdirSync(folder).some((name) => name.endsWith('.tmp')));
});

test('the same source gives the same bytes', () => {
  const [one, other] = ['one.o', 'other.o'].map((name) => join(folder, name));
  millrace('build', source, '-o', one);
  millrace('build', source, '-o', other);
  assert.equal(spawnSync('cmp', [one, other]).status, 0);
});

test('what does not compile is refused at its line, with the line and a caret', () => {
  const wrong = write(
    'wrong.bpf.ts',
    "import { xdp } from 'millrace/bpf';\nexport const a = xdp(() => {\n  class B {}\n  return 2;\n});\n",
  );
  const { status, stderr } = millrace('build', wrong);
  assert.equal(status, 1);
  const [first, line, caret] = stderr.split('\n');
  assert.ok(first.startsWith(`${wrong}:3:3: `), first);
  assert.equal(line, '    class B {}');
  assert.equal(caret, '    ^');
  assert.ok(!existsSync(join(folder, 'wrong.bpf.o')));
});

test('inspect shows instructions below the lines that they come from', () => {
  const { status, stdout } = millrace('inspect', source);
  assert.equal(status, 0);
  assert.match(stdout, /^filter: program, section xdp, \d+ instructions$/m);
  assert.match(stdout, /^ {2}drop\.bpf\.ts:8: if \(ethernet === null\) return XDP_PASS;$/m);
  assert.match(stdout, /; map seen$/m);
  assert.match(stdout, /^ {2}seen {2}hash {2}key 2 B {2}value 8 B {2}16 entries/m);
  assert.match(stdout, /^ {2}dropped {2}\.rodata {2}2 B at 0$/m);
});

test('runs over a capture in this process, without privileges', () => {
  const output = join(folder, 'after.pcap');
  const { status, stdout, stderr } = millrace('run', source, '--packet', capture, '--output', output);
  assert.equal(stderr, '');
  assert.equal(status, 0);
  assert.match(
    stdout,
    /^filter over 3 packets, 0 changed, [\d.]+ instructions for each\n {2}XDP_PASS {2}2\n {2}XDP_DROP {2}1\n {2}map seen {2}2 entries\n$/,
  );
  assert.ok(existsSync(output));
});

test('a variable set on the command line is what the program sees', () => {
  const { stdout } = millrace('run', source, '--packet', capture, '--set', 'dropped=0x0800', '--json');
  assert.deepEqual(JSON.parse(stdout.trim().split('\n').at(-1)!).verdicts, { XDP_DROP: 2, XDP_PASS: 1 });
  assert.match(
    millrace('run', source, '--packet', capture, '--set', 'drop=1').stderr,
    /--set drop=1: the object has dropped/,
  );
});

test('the kernel and this process agree', { skip: kernelSkip }, () => {
  const verdicts = [[], ['--kernel']].map((options) => {
    const { stdout } = millrace('run', source, '--packet', capture, '--json', ...options);
    return JSON.parse(stdout.trim().split('\n').at(-1)!).verdicts;
  });
  assert.deepEqual(verdicts[0], verdicts[1]);
});

test('load says what the verifier went through, and leaves nothing', { skip: kernelSkip }, () => {
  const { status, stdout } = millrace('load', source);
  assert.equal(status, 0);
  assert.match(stdout, /^filter: accepted; the verifier went through \d+ instructions, \d+ are loaded/);
});

test('load --attach acts until it is told to end, and then no more', { skip: kernelSkip }, async () => {
  const name = `mr${process.pid}`;
  const ip = (...words: string[]) => spawnSync('ip', words, { encoding: 'utf8' });
  assert.equal(ip('link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}p`).status, 0);
  try {
    const child = spawn(process.execPath, [entry, 'bpf', 'load', source, '--attach', `filter=${name}`, '--json']);
    const events: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      events.push(JSON.parse(line).event);
      if (events.at(-1) !== 'ready') continue;
      assert.match(ip('link', 'show', name).stdout, /prog\/xdp/);
      child.kill('SIGTERM');
    }
    assert.deepEqual(events, ['loaded', 'attached', 'ready', 'detached']);
    if (child.exitCode === null) await once(child, 'exit');
    assert.equal(child.exitCode, 0);
    assert.doesNotMatch(ip('link', 'show', name).stdout, /prog\/xdp/);
  } finally {
    ip('link', 'del', name);
  }
});

test('a probe is named behind the =, as a function of a file or as a USDT probe', () => {
  const kind = { type: 'kprobe', attachType: null, target: null, flags: 0 };
  assert.deepEqual(targetOf({ ...kind, section: 'usdt' }, '/bin/odd:name:python:gc__start', 'p=…'), {
    usdt: { executable: '/bin/odd:name', provider: 'python', name: 'gc__start' },
  });
  assert.deepEqual(targetOf({ ...kind, section: 'uprobe' }, '/bin/true:main', 'p=…'), {
    uprobe: { executable: '/bin/true', function: 'main' },
  });
  assert.throws(() => targetOf({ ...kind, section: 'usdt.s' }, 'python:gc__start', 'p=…'), /file:provider:name/);
});

test('features tells what loads from what can be attached', { skip: kernelSkip }, () => {
  const { stdout, status } = millrace('features', '--json');
  assert.equal(status, 0);
  const { programs, attach } = JSON.parse(stdout);
  assert.equal(programs.kprobe.available, true);
  const hasKprobes = existsSync('/sys/bus/event_source/devices/kprobe');
  assert.equal(attach.kprobe.available, hasKprobes);
  const said = millrace('features').stdout;
  assert.match(said, /tracing programs that can be attached: \d+ of 13/);
  if (!hasKprobes) assert.match(said, /not kprobe\n {4}this kernel has no kprobes .*CONFIG_KPROBE_EVENTS is needed/);
});

test('types writes declarations that a program can use', {
  skip: existsSync('/sys/kernel/btf/vmlinux') ? false : 'no kernel BTF',
}, () => {
  const { status, stdout } = millrace('types', 'task_struct');
  assert.equal(status, 0);
  assert.match(stdout, /export const task_struct.* = kernelStruct\('task_struct', \{/);
  assert.match(millrace('types', 'no_such_type').stderr, /no_such_type/);
});

for (const [what, options, message] of [
  ['a file that is not there', ['inspect', 'nowhere.bpf.o'], /cannot read nowhere\.bpf\.o: there is no such file/],
  ['a source that is not there', ['build', 'nowhere.bpf.ts'], /cannot read nowhere\.bpf\.ts: there is no such file/],
  ['a file that is no object', ['inspect', capture], /ELF/],
  ['an object where a source is wanted', ['build', 'x.o'], /x\.o is no TypeScript/],
  ['-o for several files', ['build', source, source, '-o', 'x'], /-o names one file/],
  [
    'a program that is not there',
    ['run', source, '--packet', capture, '--program', 'x'],
    /has no program x; it has filter/,
  ],
  ['a capture that is none', ['run', source, '--packet', source], /neither pcap nor pcapng/],
] as const) {
  test(`${what} is refused in words`, () => {
    const { status, stderr } = millrace(...options);
    assert.equal(status, 1);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /\n {4}at /);
  });
}

const NOBODY = { uid: 65534, gid: 65534 };
/** Another user can be taken by root alone, and may not be able to read where the project lies. */
const nobodySkip =
  process.getuid?.() !== 0
    ? 'only root can run a command as another user'
    : spawnSync(process.execPath, [entry, '--version'], NOBODY).status === 0
      ? false
      : 'another user may not read the project';

test('without privileges the commands do what they can, and say what the rest needs', { skip: nobodySkip }, () => {
  const own = mkdtempSync(join(tmpdir(), 'millrace-bpf-nobody-'));
  try {
    chownSync(own, NOBODY.uid, NOBODY.gid);
    const file = join(own, 'drop.bpf.ts');
    copyFileSync(source, file);
    const packets = join(own, 'three.pcap');
    copyFileSync(capture, packets);
    const asNobody = (...options: string[]) =>
      spawnSync(process.execPath, [entry, ...options], { ...NOBODY, encoding: 'utf8', timeout: 30_000 });

    assert.equal(asNobody('bpf', 'build', file).status, 0);
    assert.equal(asNobody('bpf', 'inspect', join(own, 'drop.bpf.o')).status, 0);
    assert.match(asNobody('bpf', 'run', file, '--packet', packets).stdout, /XDP_DROP {2}1/);
    assert.match(asNobody('bpf', 'features').stdout, /CAP_BPF is needed/);
    for (const options of [
      ['bpf', 'load', file],
      ['bpf', 'run', file, '--packet', packets, '--kernel'],
    ]) {
      const { status, stderr } = asNobody(...options);
      assert.equal(status, 1);
      assert.match(stderr, /EPERM; CAP_BPF is needed, with CAP_NET_ADMIN/);
    }
    const { status, stderr } = asNobody('trace', 'sched:sched_switch');
    assert.equal(status, 1);
    assert.match(stderr, /tracefs|CAP_BPF/);
  } finally {
    rmSync(own, { recursive: true });
  }
});
