/**
 * BTF tables: the kernel's own, split ones, and bytes that somebody broke on purpose.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import test from 'node:test';
import { BtfBuilder } from '../../../src/bpf/object/btf/builder.ts';
import { KERNEL_BTF_PATH, kernelBtf } from '../../../src/bpf/object/btf/kernel.ts';
import { BtfError, type BtfType } from '../../../src/bpf/object/btf/records.ts';
import { RecordWriter } from '../../../src/bpf/object/btf/records-writer.ts';
import { StringSearch } from '../../../src/bpf/object/btf/string-search.ts';
import { Btf } from '../../../src/bpf/object/btf/table.ts';
import { layOut, U8, U32, U64 } from '../../../src/bpf/types.ts';
import { randomSource } from '../../support/random.ts';

const noKernelBtf = existsSync(KERNEL_BTF_PATH) ? false : `no ${KERNEL_BTF_PATH}`;

function hasCommand(name: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => existsSync(`${folder}/${name}`));
}

/** One of each kind, each naming what stands before it. */
const oneOfEach: readonly BtfType[] = [
  { kind: 'int', name: 'int', bytes: 4, bits: 32, offsetBits: 0, signed: true, character: false, boolean: false },
  { kind: 'ptr', name: '', type: 0 },
  { kind: 'array', name: '', element: 1, index: 1, length: 7 },
  {
    kind: 'struct',
    name: 'pair',
    bytes: 8,
    members: [
      { name: 'left', type: 1, offsetBits: 0, bits: 3 },
      { name: 'right', type: 1, offsetBits: 32, bits: 0 },
    ],
  },
  { kind: 'union', name: '', bytes: 4, members: [{ name: 'self', type: 2, offsetBits: 0, bits: 0 }] },
  { kind: 'enum', name: 'level', bytes: 4, signed: true, values: [{ name: 'LOW', value: -1n }] },
  { kind: 'fwd', name: 'hidden', union: true },
  { kind: 'typedef', name: 'number', type: 1 },
  { kind: 'volatile', name: '', type: 8 },
  { kind: 'const', name: '', type: 9 },
  { kind: 'restrict', name: '', type: 2 },
  { kind: 'funcProto', name: '', result: 1, parameters: [{ name: 'of', type: 2 }] },
  { kind: 'func', name: 'measure', type: 12, linkage: 1 },
  { kind: 'var', name: 'counter', type: 1, linkage: 1 },
  { kind: 'datasec', name: '.bss', bytes: 4, places: [{ type: 14, offset: 0, bytes: 4 }] },
  { kind: 'float', name: 'double', bytes: 8 },
  { kind: 'declTag', name: 'marked', type: 4, component: -1 },
  { kind: 'typeTag', name: 'user', type: 1 },
  { kind: 'enum64', name: 'wide', bytes: 8, signed: false, values: [{ name: 'TOP', value: 1n << 63n }] },
];

function writeAll(types: readonly BtfType[]): Btf {
  const writer = new RecordWriter();
  for (const type of types) writer.add(type);
  return writer.finish();
}

test('every kind of record reads back as it was written', () => {
  const table = Btf.decode(writeAll(oneOfEach).encode());
  assert.equal(table.endId, oneOfEach.length + 1);
  for (const [index, type] of oneOfEach.entries()) assert.deepEqual(table.type(index + 1), type);
  assert.deepEqual(table.byName('pair'), [4]);
  assert.deepEqual(table.byName('pair', 'union'), []);
  assert.equal(table.resolve(10), 1);
  assert.equal(table.sizeOf(3), 28);
  assert.equal(table.sizeOf(14), 4);
});

test('a table that is not aligned in its buffer is read all the same', () => {
  const bytes = writeAll(oneOfEach).encode();
  const shifted = new Uint8Array(bytes.length + 1);
  shifted.set(bytes, 1);
  assert.deepEqual(Btf.decode(shifted.subarray(1)).type(4), oneOfEach[3]);
});

test('a split table counts on from its base, in ids and in strings', () => {
  const base = writeAll(oneOfEach);
  // A split table of one typedef: its name is its own first string, its type the base's.
  const own = new Uint8Array(Buffer.from('own\0'));
  const bytes = new Uint8Array(24 + 12 + own.length);
  const view = new DataView(bytes.buffer);
  for (const [at, value] of [
    [0, 0x0001eb9f],
    [4, 24],
    [12, 12],
    [16, 12],
    [20, own.length],
    [24, base.stringsEnd],
    [28, 8 << 24],
    [32, 4],
  ]) {
    view.setUint32(at, value, true);
  }
  bytes.set(own, 36);
  const split = Btf.decode(bytes, base);
  assert.equal(split.firstId, base.endId);
  assert.deepEqual(split.type(split.firstId), { kind: 'typedef', name: 'own', type: 4 });
  assert.deepEqual(split.byName('own'), [split.firstId]);
  assert.deepEqual(split.byName('pair'), [4]);
  assert.deepEqual(split.resolved(split.firstId), base.type(4));
});

test('names with a flavour are found beside those without', () => {
  const fields = { bytes: 0, members: [] };
  const table = writeAll([
    { kind: 'struct', name: 'task', ...fields },
    { kind: 'struct', name: 'task___old', ...fields },
    { kind: 'struct', name: 'taskless', ...fields },
    { kind: 'struct', name: 'task__', ...fields },
  ]);
  assert.deepEqual(table.byEssentialName('task'), [1, 2]);
});

test('the kernel’s table gives the same as bpftool', {
  skip: noKernelBtf || (hasCommand('bpftool') ? false : 'bpftool is not installed'),
}, () => {
  const dump = execFileSync('bpftool', ['-j', 'btf', 'dump', 'file', KERNEL_BTF_PATH], { maxBuffer: 1 << 28 });
  const { types } = JSON.parse(dump.toString()) as {
    types: {
      id: number;
      kind: string;
      name: string;
      size?: number;
      members?: { name: string; bits_offset: number }[];
    }[];
  };
  const table = kernelBtf();
  assert.equal(table.endId, types.length + 1);
  for (const expected of types) {
    const type = table.type(expected.id);
    assert.equal(type.name, expected.name === '(anon)' ? '' : expected.name, `type ${expected.id}`);
    assert.equal(type.kind.toUpperCase(), expected.kind.replaceAll('_', ''), `type ${expected.id}`);
    if ('bytes' in type) assert.equal(type.bytes, expected.size, `type ${expected.id}`);
    if (type.kind !== 'struct') continue;
    assert.deepEqual(
      type.members.map((member) => [member.name, member.offsetBits]),
      expected.members?.map((member) => [member.name === '(anon)' ? '' : member.name, member.bits_offset]),
    );
  }
});

test('a module’s table stands on the kernel’s', { skip: noKernelBtf }, (context) => {
  const module = readdirSync('/sys/kernel/btf').find((name) => name !== 'vmlinux');
  if (module === undefined) return context.skip('no module with types is loaded');
  const table = Btf.decode(readFileSync(`/sys/kernel/btf/${module}`), kernelBtf());
  for (let id = table.firstId; id < table.endId; id++) table.type(id);
});

test('the kernel’s table opens without decoding it', { skip: noKernelBtf }, () => {
  const bytes = readFileSync(KERNEL_BTF_PATH);
  const before = process.cpuUsage();
  const table = Btf.decode(bytes);
  const [id] = table.byName('task_struct', 'struct');
  const { user, system } = process.cpuUsage(before);
  assert.equal(table.type(id).kind, 'struct');
  // A few milliseconds where it was measured; decoding everything takes 350.
  assert.ok(user + system < 100_000, `${user + system} µs`);
});

test('a record that is cut off, of an unknown kind or out of range is a clear error', () => {
  const whole = writeAll(oneOfEach).encode();
  assert.throws(() => Btf.decode(whole.subarray(0, 10)), /too short for its header/);
  assert.throws(() => Btf.decode(whole.subarray(0, 100)), /reach beyond its 100 bytes/);
  assert.throws(() => Btf.decode(new Uint8Array(64)), /not BTF/);
  const patched = (at: number, value: number): Uint8Array => {
    const copy = whole.slice();
    new DataView(copy.buffer).setUint32(at, value, true);
    return copy;
  };
  assert.throws(() => Btf.decode(patched(0, 0x01009feb)), /big-endian/);
  assert.throws(() => Btf.decode(patched(28, 25 << 24)), /type 1 has the unknown kind 25/);
  assert.throws(() => Btf.decode(patched(24 + 16 + 4, (4 << 24) | 0xffff)), /is cut off/);
  assert.throws(() => Btf.decode(patched(24, 0xffffff)).type(1), /no string at 16777215/);
  assert.throws(() => Btf.decode(whole).type(20), /no type 20/);
  assert.throws(() => Btf.decode(whole).type(-1), /no type -1/);
});

test('modifiers and arrays in a circle end in an error', () => {
  const circle = writeAll([
    { kind: 'const', name: '', type: 2 },
    { kind: 'volatile', name: '', type: 1 },
    { kind: 'array', name: '', element: 3, index: 3, length: 2 },
  ]);
  assert.throws(() => circle.resolve(1), /circle/);
  assert.throws(() => circle.sizeOf(3), /circle/);
});

test('no damage makes anything but a BtfError', () => {
  const builder = new BtfBuilder();
  builder.addType(
    layOut('flow', [
      { name: 'port', type: U32 },
      { name: 'bytes', type: U64 },
      { name: 'flags', type: U8, bits: 3 },
    ]),
  );
  builder.addFunction('filter', [{ name: 'context', type: U64 }], U32, 'global');
  const whole = builder.finish().encode();
  const random = randomSource(20240817);
  for (let round = 0; round < 3000; round++) {
    const copy = whole.slice(0, random.integer(8) === 0 ? random.integer(whole.length) : whole.length);
    for (let flips = 0; flips < 3 && copy.length > 0; flips++) copy[random.integer(copy.length)] = random.integer(256);
    try {
      const table = Btf.decode(copy);
      for (let id = 0; id < table.endId; id++) {
        table.type(id);
        table.resolve(id);
        table.sizeOf(id);
      }
    } catch (error) {
      assert.ok(error instanceof BtfError, `round ${round}: ${error}`);
    }
  }
});

test('many names are found as few are, each wherever it stands', () => {
  const strings = Buffer.from('first\0second\0\0third\0second\0sec\0ond\0');
  const search = new StringSearch(strings);
  const wanted: readonly [string, number[]][] = [
    ['first', [0]],
    ['second', [6, 20]],
    ['third', [14]],
    ['ond', [31]],
    ['irst', []],
    ['none', []],
  ];
  // The first rounds search, those that follow look up.
  for (let round = 0; round < 4; round++) {
    for (const [text, places] of wanted) assert.deepEqual(search.find(text), places, `${text}, round ${round}`);
  }
  assert.deepEqual(search.containing('ec'), ['second', 'sec']);
  assert.deepEqual(new StringSearch(new Uint8Array(0)).find('any'), []);
});
