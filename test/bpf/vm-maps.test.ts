/**
 * The VM's maps against the kernel's, operation by operation, and the helpers of programs.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  assemble,
  helpersIn,
  type Instruction,
  Machine,
  VmMap,
  type VmMapSpec,
  type World,
} from '../../src/bpf/assembly.ts';
import { createMap, loadProgram } from '../../src/bpf/index.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import { KernelError } from '../../src/kernel/error.ts';
import { kernelSkip } from '../support/bpf.ts';
import { type RandomSource, randomSource } from '../support/random.ts';

const specs: readonly VmMapSpec[] = [
  { type: 'hash', keySize: 4, valueSize: 8, maxEntries: 8 },
  { type: 'array', keySize: 4, valueSize: 8, maxEntries: 8 },
  { type: 'lpm_trie', keySize: 8, valueSize: 8, maxEntries: 12 },
];

function randomKey(random: RandomSource, { type }: VmMapSpec): Uint8Array {
  if (type !== 'lpm_trie') return Uint8Array.of(random.integer(12), 0, 0, 0);
  const prefix = [0, 1, 7, 8, 9, 24, 31, 32, 33][random.integer(9)];
  return Uint8Array.of(prefix, 0, 0, 0, 10, random.integer(2) * 128, 0, random.integer(2));
}

/** What an operation returns, or its -errno. */
function outcome(action: () => number): number {
  try {
    return action();
  } catch (error) {
    if (error instanceof KernelError) return error.errno;
    throw error;
  }
}

for (const spec of specs) {
  test(`a ${spec.type} map of the VM answers as the kernel's`, { skip: kernelSkip }, () => {
    using real = createMap(spec);
    const model = new VmMap(spec);
    const random = randomSource(6);
    for (let step = 0; step < 2_000; step++) {
      const key = randomKey(random, spec);
      const where = `step ${step}, key ${Buffer.from(key).toString('hex')}`;
      const kind = random.integer(4);
      if (kind === 0) {
        const expected = outcome(() => (real.delete(key) ? 0 : -ERRNO.ENOENT));
        assert.equal(model.delete(key), expected, where);
      } else if (kind === 1) {
        const value = Uint8Array.from({ length: 8 }, () => random.integer(256));
        const flags = random.integer(4);
        const expected = outcome(() => {
          real.set(key, value, flags);
          return 0;
        });
        assert.equal(model.set(key, value, flags), expected, `${where}, flags ${flags}`);
      }
      assert.deepEqual(model.get(key), real.get(key), where);
    }
  });
}

function inWorld(text: string, world: World, maps = new Map<number, VmMap>()): bigint {
  return new Machine(assemble(text), { helpers: helpersIn(world), maps }).run();
}

test('time, chance and the CPU are what the test says', () => {
  assert.equal(inWorld('call 5\nexit', { now: () => 0x123456789abcdef0n }), 0x123456789abcdef0n);
  assert.equal(inWorld('call 7\nexit', { random: () => 0xfffffffe }), 0xfffffffen);
  assert.equal(inWorld('call 8\nexit', { cpu: () => 3 }), 3n);
});

test('each CPU has its own value', () => {
  const map = new VmMap({ type: 'percpu_array', keySize: 4, valueSize: 8, maxEntries: 1, cpus: 4 });
  const text = `stw [%r10-4], 0\nlddw %r1, map_by_fd(1)\nmov %r2, %r10\nadd %r2, -4\ncall 1
    jeq %r0, 0, exit\nmov %r1, 1\nlock add [%r0], %r1\nmov %r0, 0\nexit`;
  const key = new Uint8Array(4);
  for (const cpu of [0, 2, 2]) inWorld(text, { cpu: () => cpu }, new Map([[1, map]]));
  assert.deepEqual(
    [0, 1, 2, 3].map((cpu) => map.get(key, cpu)?.[0]),
    [1, 0, 2, 0],
  );
});

test('what a program traces is collected', () => {
  const lines: string[] = [];
  const format = 'n=%d %u %lx %%\0';
  const bytes = Buffer.alloc(24);
  bytes.write(format, 'latin1');
  const stores = [0, 8, 16].map((at) => `lddw %r1, ${bytes.readBigUInt64LE(at)}\nstxdw [%r10${at - 24}], %r1`);
  const text = `${stores.join('\n')}\nmov %r1, %r10\nadd %r1, -24\nmov %r2, ${format.length}
    mov %r3, -5\nmov %r4, -1\nlddw %r5, 0xabcdef0123\ncall 6\nexit`;
  inWorld(text, { trace: (line) => lines.push(line) });
  assert.deepEqual(lines, ['n=-5 4294967295 abcdef0123 %']);
});

/** csum_diff over 16 bytes of the stack before and 8 after, with a seed. */
function checksumProgram(bytes: Buffer, from: number, to: number, seed: number): Instruction[] {
  const stores = [0, 8, 16].map((at) => `lddw %r1, ${bytes.readBigUInt64LE(at)}\nstxdw [%r10${at - 24}], %r1`);
  return assemble(`${stores.join('\n')}\nmov %r1, %r10\nadd %r1, -24\nmov %r2, ${from}\nmov %r3, %r10\nadd %r3, -8
    mov %r4, ${to}\nmov32 %r5, ${seed}\ncall 28\nexit`);
}

test('checksum differences are the kernel’s, folded', { skip: kernelSkip }, () => {
  const random = randomSource(8);
  for (let round = 0; round < 100; round++) {
    const bytes = Buffer.from(Uint8Array.from({ length: 24 }, () => random.integer(256)));
    const [from, to] = [
      [16, 8],
      [0, 8],
      [16, 0],
      [4, 4],
      [3, 4],
    ][round % 5];
    const instructions = checksumProgram(bytes, from, to, random.integer(4294967296));
    using program = loadProgram({ type: 'sched_cls', instructions });
    const { result } = program.testRun({ data: new Uint8Array(64) });
    const model = Number(BigInt.asUintN(32, new Machine(instructions).run()));
    // Before Linux 6.13 lengths had to be multiples of 4.
    if (from % 4 !== 0 && result === EINVAL) continue;
    assert.equal(fold(model), fold(result), `round ${round}`);
  }
});

/** -EINVAL as the 32 bits that a test run gives. */
const EINVAL = -22 >>> 0;

/** To 16 bits, as a program does with the result. */
function fold(sum: number): number {
  const folded = (sum & 0xffff) + (sum >>> 16);
  return (folded & 0xffff) + (folded >>> 16);
}
