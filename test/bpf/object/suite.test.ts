/**
 * Every program of the suite as an object file: bpftool loads it as it would clang's, and our loader takes clang's objects.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { compile } from '../../../src/bpf/compiler/compile.ts';
import { loadObject } from '../../../src/bpf/loader/collection.ts';
import { readElf } from '../../../src/bpf/object/elf/read.ts';
import { writeElf } from '../../../src/bpf/object/elf/write.ts';
import { bpftoolSkip, compileFixture, loadWithBpftool } from '../../support/bpf-objects.ts';

const folder = fileURLToPath(new URL('../programs/', import.meta.url));
/** Samples of the language use hooks that bpftool of Debian 12 does not know (tcx, netfilter). */
const files = readdirSync(folder).filter((name) => name.endsWith('.bpf.ts') && !name.startsWith('sample-'));

test('bpftool loads every program of the suite', { skip: bpftoolSkip }, () => {
  let programs = 0;
  for (const file of files) {
    const spec = compile(`${folder}${file}`);
    const names = spec.functions.filter((one) => one.kind !== null).map((one) => one.name);
    if (names.length === 0) continue;
    assert.deepEqual([...loadWithBpftool(writeElf(spec)).keys()].sort(), names.sort(), file);
    programs += names.length;
  }
  assert.ok(programs >= 25, `only ${programs} programs`);
});

test('our loader loads clang’s objects and runs them', { skip: bpftoolSkip }, () => {
  const object = compileFixture('everything');
  for (const bytes of [object, writeElf(readElf(object))]) {
    using collection = loadObject(readElf(bytes));
    // limit is 7, so that the second of numbers' last three is taken: twice(3) + 10 steps of the callback + start.
    assert.equal(collection.programs.first.testRun({ data: new Uint8Array(64) }).result, 21);
  }
});

test('our loader relocates what is guarded, and names the field that is not', { skip: bpftoolSkip }, () => {
  using collection = loadObject(readElf(compileFixture('relocations')));
  assert.deepEqual(Object.keys(collection.programs), ['questions', 'loads', 'guarded']);
  assert.throws(
    () => loadObject(readElf(compileFixture('relocations', '-DUNGUARDED'))),
    /task_struct\.no_such_field is used, but the kernel’s struct task_struct has no such field/,
  );
});
