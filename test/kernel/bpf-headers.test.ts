/**
 * The tables of bpf(2)'s kinds say what the headers say, and what the running kernel's own types say where it tells them.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import test from 'node:test';
import { ATTACH_TYPES, LINK_TYPES, MAP_TYPES, nameIn, PROGRAM_TYPES } from '../../src/kernel/bpf-names.ts';
import { askCompiler, kernelHeaders } from '../support/headers.ts';

const tables = [
  { prefix: 'BPF_MAP_TYPE_', table: MAP_TYPES },
  { prefix: 'BPF_PROG_TYPE_', table: PROGRAM_TYPES },
  { prefix: 'BPF_', table: ATTACH_TYPES },
  { prefix: 'BPF_LINK_TYPE_', table: LINK_TYPES },
] as const;

const expected = tables.flatMap(({ prefix, table }) =>
  Object.entries(table).map(([name, value]) => ({ name: `${prefix}${name.toUpperCase()}`, value })),
);

test('kinds of maps, programs, hooks and links have the numbers of the headers', () => {
  const answers = askCompiler(
    kernelHeaders,
    expected.map(({ name }) => ({ name, expression: name })),
  );
  assert.ok(answers.size > 110, `the headers know only ${answers.size} of ${expected.length}`);
  for (const { name, value } of expected) assert.equal(answers.get(name) ?? value, value, name);
});

function kernelTypes(): string | null {
  if (!existsSync('/sys/kernel/btf/vmlinux')) return null;
  const { stdout, status } = spawnSync('bpftool', ['btf', 'dump', 'file', '/sys/kernel/btf/vmlinux', 'format', 'c'], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  return status === 0 ? stdout : null;
}

test('the running kernel gives the kinds the same numbers', (context) => {
  const types = kernelTypes();
  if (types === null) {
    context.skip('bpftool and a kernel with BTF are needed');
    return;
  }
  const numbers = new Map(
    [...types.matchAll(/^\t(BPF_\w+) = (\d+),$/gm)].map(([, name, value]) => [name, Number(value)]),
  );
  const known = expected.filter(({ name }) => numbers.has(name));
  assert.ok(known.length > 110);
  for (const { name, value } of known) assert.equal(numbers.get(name), value, name);
});

test('a number without a name has none', () => {
  assert.equal(nameIn(MAP_TYPES, 27), 'ringbuf');
  assert.equal(nameIn(MAP_TYPES, 9999), null);
});
