/**
 * Programs and maps in the kernel: loading, running, and what the errors say.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import test from 'node:test';
import { assemble } from '../../src/bpf/assembly.ts';
import { createMap, loadProgram, reasonOf, VerifierError } from '../../src/bpf/index.ts';
import { kernelSkip } from '../support/bpf.ts';

const pass = assemble('mov %r0, 2\nexit');

test('a program runs over a packet and says what it took', { skip: kernelSkip }, () => {
  using program = loadProgram({ type: 'xdp', instructions: pass, name: 'always_pass' });
  const data = new Uint8Array(64).fill(7);
  const run = program.testRun({ data, repeat: 1000 });
  assert.equal(run.result, 2);
  assert.deepEqual(run.data, data);
  assert.ok(run.durationNs < 1_000_000);
});

test('a refusal carries the verifier’s log and its reason', { skip: kernelSkip }, () => {
  const instructions = assemble('ldxw %r2, [%r1]\nldxb %r0, [%r2]\nexit');
  assert.throws(
    () => loadProgram({ type: 'xdp', instructions, name: 'unchecked' }),
    (error) =>
      error instanceof VerifierError &&
      error.code === 'EACCES' &&
      /^bpf program unchecked of type xdp: EACCES; the verifier says: .*outside of the packet/.test(error.message) &&
      error.log.includes('0: R1=ctx'),
  );
});

test('a log larger than the first buffer is fetched whole', { skip: kernelSkip }, () => {
  const long = assemble(`mov %r0, 0\n${'add %r0, 1\n'.repeat(3000)}mov %r0, %r7\nexit`);
  assert.throws(
    () => loadProgram({ type: 'socket_filter', instructions: long }),
    (error) => error instanceof VerifierError && error.log.length > 65536 && /R7 !read_ok/.test(reasonOf(error.log)),
  );
});

test('an accepted program’s log is kept where it was asked for', { skip: kernelSkip }, () => {
  using quiet = loadProgram({ type: 'xdp', instructions: pass });
  using loud = loadProgram({ type: 'xdp', instructions: pass, logLevel: 2 });
  assert.equal(quiet.log, '');
  assert.match(loud.log, /exit/);
});

test('a handle closes its descriptor once', { skip: kernelSkip }, () => {
  let descriptor = -1;
  {
    using program = loadProgram({ type: 'xdp', instructions: pass });
    descriptor = program.descriptor;
    assert.ok(existsSync(`/proc/self/fd/${descriptor}`));
    program[Symbol.dispose]();
  }
  assert.ok(!existsSync(`/proc/self/fd/${descriptor}`));
});

test('data that a program does not take is an error with the call’s object', { skip: kernelSkip }, () => {
  using program = loadProgram({ type: 'xdp', instructions: pass });
  assert.throws(() => program.testRun({ data: new Uint8Array(4) }), {
    name: 'KernelError',
    message: 'bpf test run of a program of type xdp over 4 bytes: EINVAL',
  });
});

test('maps keep bytes, and say when they are full', { skip: kernelSkip }, () => {
  using map = createMap({ type: 'hash', keySize: 2, valueSize: 3, maxEntries: 1 });
  map.set(Uint8Array.of(1, 2), Uint8Array.of(3, 4, 5));
  assert.deepEqual(map.get(Uint8Array.of(1, 2)), Uint8Array.of(3, 4, 5));
  assert.throws(() => map.set(Uint8Array.of(1, 3), new Uint8Array(3)), { code: 'E2BIG', name: 'KernelError' });
  assert.equal(map.delete(Uint8Array.of(1, 2)), true);
  assert.equal(map.delete(Uint8Array.of(1, 2)), false);
  assert.equal(map.get(Uint8Array.of(1, 2)), null);
  assert.throws(() => map.get(Uint8Array.of(1)), RangeError);
});

test('a name that the kernel would refuse is refused before', () => {
  assert.throws(() => loadProgram({ type: 'xdp', instructions: pass, name: 'no spaces' }), RangeError);
});

const withoutPrivilege = `
  import { assemble } from ${JSON.stringify(new URL('../../src/bpf/assembly.ts', import.meta.url).href)};
  import { loadProgram } from ${JSON.stringify(new URL('../../src/bpf/index.ts', import.meta.url).href)};
  process.setgroups([]);
  process.setgid(65534);
  process.setuid(65534);
  try {
    loadProgram({ type: 'xdp', instructions: assemble('mov %r0, 2\\nexit') });
  } catch (error) {
    console.log(error.name, error.code, error.message);
  }
`;

test('without the privilege the error names it', {
  skip: process.getuid?.() === 0 ? false : 'only root can give privileges up',
}, () => {
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', withoutPrivilege], {
    encoding: 'utf8',
  });
  assert.match(
    stdout,
    /^KernelError EPERM bpf program of type xdp: EPERM; CAP_BPF is needed, with CAP_NET_ADMIN/,
    stderr,
  );
});

test('signals that arrive while the verifier works do not make a load fail', { skip: kernelSkip }, () => {
  // 30,000 turns, which the verifier follows one by one: long enough to be met by a signal, and shorter than from one to the next.
  const slow = assemble(
    'mov %r6, 0\nloop:\nadd %r6, 1\nmov %r1, %r6\nmul %r1, 3\njlt %r6, 30000, loop\nmov %r0, 2\nexit',
  );
  const count = (): void => {};
  process.on('SIGWINCH', count);
  const sender = spawn('sh', ['-c', `for i in $(seq 8); do kill -WINCH ${process.pid}; sleep 0.25; done`]);
  try {
    // Again and again, so that some are met by a signal.
    for (const until = performance.now() + 1500; performance.now() < until; ) {
      using program = loadProgram({ type: 'xdp', instructions: slow });
      assert.equal(program.testRun({ data: new Uint8Array(64) }).result, 2);
    }
  } finally {
    sender.kill();
    process.off('SIGWINCH', count);
  }
});
