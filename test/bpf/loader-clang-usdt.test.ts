/**
 * An object of clang's that reads the arguments of a USDT probe by libbpf's macros: its table is filled as libbpf would.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { type Collection, loadObject } from '../../src/bpf/loader/collection.ts';
import { readElf } from '../../src/bpf/object/elf/read.ts';
import type { ObjectSpec } from '../../src/bpf/object/spec.ts';
import { kernelSkip } from '../support/bpf-kernel.ts';

const folder = mkdtempSync(join(tmpdir(), 'millrace-clang-usdt-'));
after(() => rmSync(folder, { recursive: true }));
const probed = join(folder, 'probed');

/** The object and the program that it probes, or why they cannot be made here. */
function compileBoth(): ObjectSpec | string {
  if (process.arch !== 'x64') return 'the probed program is written for x86-64';
  const output = join(folder, 'usdt.bpf.o');
  const words = ['-g', '-O2', '-target', 'bpf', '-D__TARGET_ARCH_x86', '-I/usr/include/x86_64-linux-gnu'];
  const fixture = join(import.meta.dirname, 'fixtures/usdt.bpf.c');
  const clang = spawnSync('clang', [...words, '-c', fixture, '-o', output], { encoding: 'utf8' });
  if (clang.error !== undefined) return 'clang is not here';
  if (clang.status !== 0) return `clang cannot compile it (libbpf-dev is needed): ${clang.stderr.split('\n')[0]}`;
  const program = spawnSync('cc', ['-O0', '-o', probed, join(import.meta.dirname, 'hooks/probed.c')]);
  return program.status === 0 ? readElf(readFileSync(output)) : 'cc is not here';
}

const object = kernelSkip === false ? compileBoth() : kernelSkip;
const skip = typeof object === 'string' ? object : false;

function load(): Collection {
  assert.ok(typeof object !== 'string');
  return loadObject(object);
}

test('a program of clang’s finds the arguments of a probe, their number and the cookie', { skip }, () => {
  using collection = load();
  using _link = collection.programs.on_chosen.attach({
    usdt: { executable: probed, provider: 'probed', name: 'chosen' },
    cookie: 12n,
  });
  assert.equal(spawnSync(probed).status, 0);
  const { sum, cookie, count } = collection.globals;
  assert.equal(sum.value, 1_000_000n - 1_000_000_000_000n - 70_000n - 900n - 3n);
  assert.deepEqual([cookie.value, count.value], [12n, 5]);
});

test('an argument that those macros cannot read is refused by name', { skip }, () => {
  using collection = load();
  assert.throws(
    () => collection.programs.on_chosen.attach({ usdt: { executable: probed, provider: 'probed', name: 'place' } }),
    /argument 1 of the probe probed:place in .*probed lies where usdt\.bpf\.h of libbpf cannot read it/,
  );
});
