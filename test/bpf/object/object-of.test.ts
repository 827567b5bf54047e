/**
 * A compiled module put together as an object: types, maps of every form, globals, externs, lines and CO-RE records; loaded by bpftool.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { CompiledFunction } from '../../../src/bpf/compiler/back/index.ts';
import type { FrontResult } from '../../../src/bpf/compiler/front/index.ts';
import type { CoreRelocation, IrFunction } from '../../../src/bpf/compiler/ir.ts';
import { objectOf } from '../../../src/bpf/compiler/object-of.ts';
import { exit, type Instruction, instruction, loadWide, moveImmediate } from '../../../src/bpf/instructions.ts';
import { BtfBuilder } from '../../../src/bpf/object/btf/builder.ts';
import { forKernel } from '../../../src/bpf/object/btf/for-kernel.ts';
import { typeOf } from '../../../src/bpf/object/btf/to-type.ts';
import { readElf } from '../../../src/bpf/object/elf/read.ts';
import { writeElf } from '../../../src/bpf/object/elf/write.ts';
import { link } from '../../../src/bpf/object/link.ts';
import type { MapSpec, Relocation } from '../../../src/bpf/object/spec.ts';
import {
  BE16,
  BE32,
  BOOLEAN,
  I32,
  layOut,
  type StructType,
  type Type,
  U8,
  U16,
  U32,
  U64,
  VOID,
} from '../../../src/bpf/types.ts';
import { BPF_CALL, BPF_JMP, BPF_LDX, BPF_MEM, BPF_W } from '../../../src/kernel/bpf-abi.ts';
import { askAbout, bpftoolSkip, libbpfSkip, loadWithBpftool, needs, runWithLibbpf } from '../../support/bpf-objects.ts';

const flow = layOut('Flow', [
  { name: 'source', type: BE32 },
  { name: 'port', type: BE16 },
  { name: 'kind', type: U8, bits: 4 },
  { name: 'urgent', type: BOOLEAN },
  { name: 'bytes', type: { kind: 'array', element: U8, length: 6 } },
]);
const task: StructType = layOut(
  'task_struct',
  [
    { name: 'pid', type: I32 },
    { name: 'comm', type: { kind: 'array', element: U8, length: 16 } },
    { name: 'parent', type: { kind: 'pointer', target: () => task } },
  ],
  { relocatable: true },
);
const congestion = layOut('tcp_congestion_ops', [
  { name: 'ssthresh', type: { kind: 'pointer', target: () => VOID } },
  { name: 'name', type: { kind: 'array', element: U8, length: 16 } },
]);

function mapSpec(
  name: string,
  type: string,
  key: Type | null,
  value: Type | null,
  more: Partial<MapSpec> = {},
): MapSpec {
  const size = (of: Type | null): number => (of?.kind === 'integer' || of?.kind === 'struct' ? of.bytes : 0);
  const sizes = { keyBytes: size(key), valueBytes: size(value) };
  const ids = { keyTypeId: 0, valueTypeId: 0 };
  return { name, type, key, value, ...sizes, ...ids, maxEntries: 8, flags: 0, pinByName: false, extra: 0n, ...more };
}

const inner = mapSpec('outer.inner', 'array', U32, U64, { maxEntries: 2 });
const maps: readonly MapSpec[] = [
  mapSpec('flows', 'hash', flow, U64, { flags: 1 }),
  mapSpec('sketch', 'bloom_filter', null, U32, { extra: 3n }),
  mapSpec('inner_a', 'array', U32, U64, { maxEntries: 2 }),
  mapSpec('outer', 'array_of_maps', U32, null, { valueBytes: 4, inner, values: [null, 'inner_a'] }),
  mapSpec('jumps', 'prog_array', U32, null, { valueBytes: 4, values: ['filterBody', null] }),
  // What its records are is for user space; the kernel's ring buffers have no value.
  mapSpec('events$', 'ringbuf', null, flow, { maxEntries: 4096, valueBytes: 0 }),
];

const pid: CoreRelocation = { struct: task, path: ['pid'], kind: 'fieldExists' };
const letter: CoreRelocation = { struct: task, path: ['comm', 3], kind: 'fieldByteOffset' };
const level: CoreRelocation = { struct: layOut('pid_type', []), path: ['PIDTYPE_PGID'], kind: 'enumValueExists' };

function irFunction(name: string, parameters: readonly { name: string; type: Type }[], result: Type): IrFunction {
  const location = { file: 0, line: 1, column: 1 };
  const signature = { parameters, result };
  return { name, parameters: [], blocks: [], slots: [], signature, linkage: 'static', nextId: 1, location };
}

function compiled(
  name: string,
  instructions: Instruction[],
  relocations: Relocation[],
  core: CompiledFunction['core'] = [],
): CompiledFunction {
  const lines = [{ index: 1, location: { file: 0, line: 2, column: 5 } }];
  return { name, linkage: 'static', instructions, relocations, lines, core, registerNames: [], stackBytes: 0 };
}

const wide = (index: number, kind: Relocation['kind'], symbol: string, addend = 0): Relocation => ({
  index,
  kind,
  symbol,
  addend,
});

const context: Type = { kind: 'pointer', target: () => layOut('xdp_md', [{ name: 'data', type: U32 }]) };
const front: FrontResult = {
  module: {
    files: [{ path: 'drop.bpf.ts', text: 'export const filter = xdp(\n    (context) => 2);\n' }],
    functions: [
      irFunction('filterBody', [{ name: 'context', type: context }], I32),
      irFunction('half', [{ name: '', type: U32 }], U32),
    ],
  },
  programs: [
    {
      name: 'filter',
      kind: { type: 'xdp', attachType: 'xdp', section: 'xdp', target: null, flags: 0 },
      function: 'filterBody',
    },
  ],
  maps,
  data: [
    {
      name: '.rodata',
      bytes: Uint8Array.of(100, 0, 0, 0, 37, 100, 0),
      readOnly: true,
      variables: [
        { name: 'limit', offset: 0, bytes: 4, type: U32 },
        { name: 'text$1', offset: 4, bytes: 3, type: null },
      ],
      typeId: 0,
    },
    {
      name: '.bss',
      bytes: new Uint8Array(16),
      readOnly: false,
      variables: [{ name: 'seen', offset: 8, bytes: 8, type: U64 }],
      typeId: 0,
    },
  ],
  kconfig: [
    { name: 'LINUX_KERNEL_VERSION', offset: 0, bytes: 4, weak: false, typeKind: 'integer' },
    { name: 'CONFIG_BPF_JIT', offset: 4, bytes: 1, weak: true, typeKind: 'boolean' },
  ],
  kernelSymbols: [],
  license: 'GPL',
};

const functions: readonly CompiledFunction[] = [
  compiled(
    'filterBody',
    [
      loadWide(1, 0n),
      instruction(BPF_LDX | BPF_MEM | BPF_W, { destination: 1, source: 1 }),
      loadWide(2, 0n),
      instruction(BPF_LDX | BPF_MEM | BPF_W, { destination: 2, source: 2 }),
      loadWide(3, 0n),
      loadWide(4, 0n),
      moveImmediate(6, 1),
      moveImmediate(7, 7),
      moveImmediate(8, 1),
      instruction(BPF_JMP | BPF_CALL, { source: 1, immediate: -1 }),
      exit(),
    ],
    [
      wide(0, 'data', '.rodata'),
      wide(2, 'data', '.kconfig'),
      wide(4, 'data', '.bss', 8),
      wide(5, 'map', 'flows'),
      wide(9, 'call', 'half'),
    ],
    [
      { index: 6, relocation: pid },
      { index: 7, relocation: letter },
      { index: 8, relocation: level },
    ],
  ),
  compiled('half', [instruction(0x77, { destination: 1, immediate: 1 }), instruction(0xbf, { source: 1 }), exit()], []),
];

test('types read back as what the compiler gave them', () => {
  const builder = new BtfBuilder();
  const types: readonly Type[] = [flow, task, U8, I32, BE16, BOOLEAN, { kind: 'array', element: U16, length: 3 }];
  const ids = types.map((type) => builder.addType(type));
  const btf = builder.finish();
  const plain = (type: Type): string =>
    JSON.stringify(type, (key, value) => (key === 'relocatable' ? undefined : value));
  for (const [index, type] of types.entries()) assert.equal(plain(typeOf(btf, ids[index])), plain(type));
  assert.equal(btf.nameOf(builder.addType(U32)), 'unsigned int');
});

test('types that say the same get one id, also where they point to themselves', () => {
  const again: StructType = layOut(
    'task_struct',
    [
      { name: 'pid', type: I32 },
      { name: 'comm', type: { kind: 'array', element: U8, length: 16 } },
      { name: 'parent', type: { kind: 'pointer', target: () => again } },
    ],
    { relocatable: true },
  );
  const other = layOut('task_struct', [{ name: 'pid', type: I32 }]);
  const builder = new BtfBuilder();
  const id = builder.addType(task);
  assert.equal(builder.addType(again), id);
  assert.notEqual(builder.addType(other), id);
  assert.equal(
    builder.addType({ kind: 'pointer', target: () => again }),
    builder.addType({ kind: 'pointer', target: () => task }),
  );
});

test('a program bears its exported name wherever it is referred to', () => {
  const spec = objectOf(front, functions);
  assert.deepEqual(
    spec.functions.map((one) => [one.name, one.kind?.section ?? null, one.linkage, spec.btf?.nameOf(one.typeId)]),
    [
      ['filter', 'xdp', 'global', 'filter'],
      ['half', null, 'static', 'half'],
    ],
  );
  assert.deepEqual(spec.maps.find((map) => map.name === 'jumps')?.values, ['filter', null]);
});

test('records of the compiler become paths of indices', () => {
  const spec = objectOf(front, functions);
  const found = spec.functions[0].core.map(({ typeId, access, kind }) => [spec.btf?.nameOf(typeId), access, kind]);
  assert.deepEqual(found, [
    ['task_struct', '0:0', 2],
    ['task_struct', '0:1:3', 0],
    ['pid_type', '0', 10],
  ]);
});

test('every function’s first instruction has a line', () => {
  const [filter] = objectOf(front, functions).functions;
  assert.deepEqual(
    filter.lines.map(({ index, line, column, text }) => [index, line, column, text]),
    [
      [0, 1, 1, 'export const filter = xdp('],
      [1, 2, 5, '    (context) => 2);'],
    ],
  );
});

test('what was put together reads back from ELF', () => {
  const spec = objectOf(front, functions);
  const read = readElf(writeElf(spec));
  const told = (maps: readonly MapSpec[]) =>
    maps.map(({ name, type, keyBytes, valueBytes, maxEntries, flags, values, extra }) => {
      // What is no name in C becomes one.
      return [name.replace('$', '_'), type, keyBytes, valueBytes, maxEntries, flags, values, extra];
    });
  assert.deepEqual(told(read.maps), told(spec.maps));
  assert.deepEqual(read.kconfig, spec.kconfig);
  assert.deepEqual(
    read.data.map(({ name, bytes }) => [name, bytes]),
    spec.data.map(({ name, bytes }) => [name, bytes]),
  );
  assert.deepEqual(
    read.data[0].variables.map((one) => one.name),
    ['limit', 'text_1'],
  );
  assert.deepEqual(
    link(read, 'filter').functions.map((one) => one.name),
    ['filter', 'half'],
  );
  assert.deepEqual(writeElf(objectOf(front, functions)), writeElf(spec));
});

test('bpftool loads it, makes a skeleton of it and shows its types', { skip: bpftoolSkip }, () => {
  const object = writeElf(objectOf(front, functions));
  assert.deepEqual([...loadWithBpftool(object).keys()], ['filter']);
  const skeleton = askAbout(object, 'bpftool', 'gen', 'skeleton', 'OBJECT', 'name', 'drop');
  for (const name of ['flows', 'outer', 'limit', 'seen']) assert.ok(skeleton.includes(name), name);
  assert.match(askAbout(object, 'bpftool', 'btf', 'dump', 'file', 'OBJECT', 'format', 'c'), /__be32 source;/);
});

test('libbpf loads and runs it', { skip: libbpfSkip }, () => {
  const [filter, half] = functions;
  const answers = {
    ...filter,
    instructions: [...filter.instructions.slice(0, 9), moveImmediate(1, 84), ...filter.instructions.slice(9)],
  };
  const relocations = filter.relocations.map((one) => (one.kind === 'call' ? { ...one, index: 10 } : one));
  assert.equal(runWithLibbpf(writeElf(objectOf(front, [{ ...answers, relocations }, half])), 'filter'), 42);
});

test('struct_ops are written as libbpf takes them', { skip: needs('bpftool') }, () => {
  const data = new Uint8Array(congestion.bytes);
  data.set(Buffer.from('halving'), 8);
  const functionsAt = [{ offset: 0, name: 'halve' }];
  const map = mapSpec('halving', 'struct_ops', null, congestion, {
    keyBytes: 4,
    maxEntries: 1,
    structOps: { type: 'tcp_congestion_ops', data, functions: functionsAt },
  });
  const kind = { type: 'struct_ops', attachType: null, section: 'struct_ops/ssthresh', target: 'ssthresh', flags: 0 };
  const spec = objectOf(
    {
      ...front,
      module: { ...front.module, functions: [irFunction('halve', [], U32)] },
      programs: [{ name: 'halve', kind, function: 'halve' }],
      maps: [map],
      data: [],
      kconfig: [],
    },
    [compiled('halve', [moveImmediate(0, 2), exit()], [])],
  );
  const object = writeElf(spec);
  const [read] = readElf(object).maps;
  assert.deepEqual(read.structOps, { type: 'tcp_congestion_ops', data, functions: functionsAt });
  assert.match(askAbout(object, 'bpftool', 'gen', 'skeleton', 'OBJECT', 'name', 'cc'), /struct bpf_map \*halving;/);
});

test('externs are taken out of what the kernel is given', () => {
  const spec = objectOf({ ...front, kernelSymbols: [{ name: 'schedule', kind: 'variable', weak: false, typeId: 0 }] }, [
    compiled('half', [instruction(0x85, { source: 2 }), exit()], [wide(0, 'kernelFunction', 'bpf_rcu_read_lock')]),
  ]);
  assert.deepEqual(
    spec.kernelSymbols.map(({ name, kind }) => [name, kind]),
    [
      ['schedule', 'variable'],
      ['bpf_rcu_read_lock', 'function'],
    ],
  );
  const given = spec.btf!;
  const taken = forKernel(given);
  for (let id = 1; id < taken.endId; id++) {
    const type = taken.type(id);
    if (type.kind === 'func' || type.kind === 'var') assert.notEqual(type.linkage, 2, `${type.kind} ${type.name}`);
    if (type.kind !== 'datasec') continue;
    assert.ok(type.bytes > 0, type.name);
    const ends = type.places.map(({ offset, bytes }) => offset + bytes);
    for (const [index, { offset }] of type.places.entries()) assert.ok(index === 0 || offset >= ends[index - 1]);
  }
  for (const { typeId } of spec.functions) assert.deepEqual(taken.type(typeId), given.type(typeId));
});
