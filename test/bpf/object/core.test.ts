/**
 * CO-RE: our relocation of clang's objects against libbpf's, and each rule on tables made for it.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import test from 'node:test';
import {
  exit,
  type Instruction,
  instruction,
  loadWide,
  moveImmediate,
  WIDE_LOAD,
} from '../../../src/bpf/instructions.ts';
import { KERNEL_BTF_PATH, kernelBtf } from '../../../src/bpf/object/btf/kernel.ts';
import { type BtfType, essentialName } from '../../../src/bpf/object/btf/records.ts';
import { RecordWriter } from '../../../src/bpf/object/btf/records-writer.ts';
import type { Btf } from '../../../src/bpf/object/btf/table.ts';
import { relocateCore } from '../../../src/bpf/object/core.ts';
import { readElf } from '../../../src/bpf/object/elf/read.ts';
import { type LinkedProgram, link } from '../../../src/bpf/object/link.ts';
import { BPF_ALU64, BPF_DW, BPF_LDX, BPF_MEM, BPF_MEMSX, BPF_STX, BPF_W, BPF_X } from '../../../src/kernel/bpf-abi.ts';
import {
  BPF_CORE_ENUMVAL_EXISTS,
  BPF_CORE_ENUMVAL_VALUE,
  BPF_CORE_FIELD_BYTE_OFFSET,
  BPF_CORE_FIELD_BYTE_SIZE,
  BPF_CORE_FIELD_EXISTS,
  BPF_CORE_FIELD_LSHIFT_U64,
  BPF_CORE_FIELD_RSHIFT_U64,
  BPF_CORE_FIELD_SIGNED,
  BPF_CORE_TYPE_EXISTS,
  BPF_CORE_TYPE_ID_TARGET,
  BPF_CORE_TYPE_MATCHES,
  BPF_CORE_TYPE_SIZE,
} from '../../../src/kernel/btf-abi.ts';
import { bpftoolSkip, clangSkip, compileFixture, loadWithBpftool } from '../../support/bpf-objects.ts';

const noKernelBtf = existsSync(KERNEL_BTF_PATH) ? false : `no ${KERNEL_BTF_PATH}`;

function table(...types: readonly BtfType[]): Btf {
  const writer = new RecordWriter();
  for (const type of types) writer.add(type);
  return writer.finish();
}

function int(bytes: number, signed = false): BtfType {
  const flags = { offsetBits: 0, signed, character: false, boolean: false };
  return { kind: 'int', name: `${signed ? 'i' : 'u'}${bytes * 8}`, bytes, bits: bytes * 8, ...flags };
}

/** A struct of members `[name, type, offsetBits, bits?]`. */
function struct(name: string, bytes: number, ...members: [string, number, number, number?][]): BtfType {
  const list = members.map(([member, type, offsetBits, bits = 0]) => ({ name: member, type, offsetBits, bits }));
  return { kind: 'struct', name, bytes, members: list };
}

/** A program of these instructions, the first of which has one record. */
function programOf(first: Instruction, typeId: number, access: string, kind: number): LinkedProgram {
  return {
    name: 'probe',
    kind: null,
    instructions: [first, exit()],
    relocations: [{ index: 1, kind: 'map', symbol: 'behind', addend: 0 }],
    core: [{ index: 0, typeId, access, kind }],
    functions: [],
    lines: [],
    registerNames: [],
  };
}

/** The answer to one question about type `typeId`, as `mov r0, ANSWER` gets it; a string where there is none. */
function ask(local: Btf, target: Btf, typeId: number, access: string, kind: number, before: number): number | string {
  const { program, unresolved } = relocateCore(programOf(moveImmediate(0, before), typeId, access, kind), local, [
    target,
  ]);
  return unresolved[0]?.reason ?? program.instructions[0].immediate;
}

/** Wide loads of maps apart, whose numbers differ from load to load. */
function arithmetic(list: readonly Instruction[]): string[] {
  return list
    .filter((one) => one.opcode !== WIDE_LOAD || one.source === 0)
    .map(({ opcode, offset, immediate, nextImmediate }) => `${opcode} ${offset} ${immediate} ${nextImmediate}`);
}

test('every question of clang’s gets libbpf’s answer', { skip: bpftoolSkip || noKernelBtf }, () => {
  const object = compileFixture('relocations');
  const spec = readElf(object);
  const { program, unresolved } = relocateCore(link(spec, 'questions'), spec.btf as Btf, [kernelBtf()]);
  assert.deepEqual(unresolved, []);
  assert.equal(program.core.length, 31);
  assert.deepEqual(arithmetic(program.instructions), arithmetic(loadWithBpftool(object).get('questions') ?? []));
});

test('loads get libbpf’s offsets and widths', { skip: bpftoolSkip || noKernelBtf }, () => {
  const object = compileFixture('relocations');
  const spec = readElf(object);
  const { program } = relocateCore(link(spec, 'loads'), spec.btf as Btf, [kernelBtf()]);
  const sizeMask = 0x18;
  // The verifier removes what is never reached, and marks loads that may fault in their mode.
  const loads = (list: readonly Instruction[]): string[] =>
    list
      .filter(({ opcode, offset }) => (opcode & 7) === BPF_LDX && offset !== 0)
      .map(({ opcode, offset }) => `${offset} ${opcode & sizeMask}`);
  const theirs = loads(loadWithBpftool(object).get('loads') ?? []);
  assert.equal(theirs.length, 6);
  assert.deepEqual(loads(program.instructions), theirs);
});

test('what the kernel does not have is poisoned, and named', { skip: clangSkip || noKernelBtf }, () => {
  const spec = readElf(compileFixture('relocations', '-DUNGUARDED'));
  const { program, unresolved } = relocateCore(link(spec, 'unguarded'), spec.btf as Btf, [kernelBtf()]);
  assert.deepEqual(unresolved, [
    {
      index: 1,
      helper: 0xbad2310,
      what: 'task_struct.no_such_field',
      reason: 'the kernel’s struct task_struct has no such field',
    },
  ]);
  assert.deepEqual(program.instructions[1], instruction(0x85, { immediate: 0xbad2310 }));
});

test('a wide load that is poisoned keeps its two slots', () => {
  const local = table({ kind: 'enum', name: 'gone', bytes: 4, signed: false, values: [{ name: 'ONE', value: 1n }] });
  const program = programOf(loadWide(2, 1n), 1, '0', BPF_CORE_ENUMVAL_VALUE);
  const { program: after, unresolved } = relocateCore(program, local, [table()]);
  assert.deepEqual(
    after.instructions.map((one) => one.opcode),
    [0x85, 0x85, 0x95],
  );
  assert.deepEqual(after.relocations, [{ index: 2, kind: 'map', symbol: 'behind', addend: 0 }]);
  assert.equal(unresolved[0].what, 'gone.ONE');
  assert.equal(unresolved[0].reason, 'the kernel has no type of that name');
});

test('fields are found by name, also in anonymous members and behind flavours', () => {
  const local = table(int(4), struct('flow___v2', 8, ['port', 1, 0], ['mark', 1, 32]));
  const target = table(
    int(4),
    struct('', 8, ['pad', 1, 0], ['mark', 1, 32]),
    struct('flow', 24, ['first', 1, 0], ['', 2, 64], ['port', 1, 128]),
  );
  assert.equal(ask(local, target, 2, '0:0', BPF_CORE_FIELD_BYTE_OFFSET, 0), 16);
  assert.equal(ask(local, target, 2, '0:1', BPF_CORE_FIELD_BYTE_OFFSET, 4), 12);
  assert.equal(ask(local, target, 2, '0', BPF_CORE_TYPE_SIZE, 8), 24);
  assert.equal(ask(local, target, 2, '0', BPF_CORE_TYPE_EXISTS, 1), 1);
});

test('an existing field of another kind does not count', () => {
  const local = table(int(4), struct('flow', 4, ['port', 1, 0]));
  const target = table({ kind: 'ptr', name: '', type: 0 }, struct('flow', 8, ['port', 1, 0]));
  assert.equal(ask(local, target, 2, '0:0', BPF_CORE_FIELD_EXISTS, 1), 0);
  assert.equal(
    ask(local, target, 2, '0:0', BPF_CORE_FIELD_BYTE_OFFSET, 0),
    'in the kernel’s struct flow it is of another kind (ptr)',
  );
});

test('an integer of the language stands for an enum of the kernel’s', () => {
  const local = table(int(4), struct('flow', 4, ['state', 1, 0]));
  const target = table(
    { kind: 'enum', name: 'state', bytes: 4, signed: false, values: [] },
    struct('flow', 8, ['state', 1, 32]),
  );
  assert.equal(ask(local, target, 2, '0:0', BPF_CORE_FIELD_BYTE_OFFSET, 0), 4);
});

test('elements of arrays are bounded, but for one at the end of a struct', () => {
  const array = (length: number): BtfType => ({ kind: 'array', name: '', element: 1, index: 1, length });
  const local = table(int(4), array(8), struct('ring', 36, ['head', 1, 0], ['slots', 2, 32]));
  const shorter = table(int(4), array(4), struct('ring', 24, ['head', 1, 0], ['slots', 2, 32], ['tail', 1, 160]));
  const open = table(int(4), array(0), struct('ring', 8, ['head', 1, 0], ['slots', 2, 64]));
  assert.equal(ask(local, shorter, 3, '0:1:3', BPF_CORE_FIELD_BYTE_OFFSET, 16), 16);
  assert.equal(ask(local, shorter, 3, '0:1:5', BPF_CORE_FIELD_EXISTS, 1), 0);
  assert.equal(ask(local, open, 3, '0:1:5', BPF_CORE_FIELD_BYTE_OFFSET, 24), 28);
});

test('bit fields answer with their unit and the shifts that take them out of it', () => {
  const local = table(int(4), struct('flags', 4, ['kind', 1, 0, 3]));
  const target = table(int(1, true), struct('flags', 16, ['pad', 1, 0], ['kind', 1, 77, 5]));
  const at = (kind: number, before: number) => ask(local, target, 2, '0:0', kind, before);
  // Bits 77 to 81 cross the byte at 9, so that the unit is two bytes at 8.
  assert.equal(at(BPF_CORE_FIELD_BYTE_OFFSET, 0), 8);
  assert.equal(at(BPF_CORE_FIELD_BYTE_SIZE, 4), 4);
  assert.equal(at(BPF_CORE_FIELD_LSHIFT_U64, 61), 64 - (77 + 5 - 64));
  assert.equal(at(BPF_CORE_FIELD_RSHIFT_U64, 61), 59);
  assert.equal(at(BPF_CORE_FIELD_SIGNED, 0), 1);
});

test('enum values are found by name', () => {
  const values = (...list: [string, bigint][]) => list.map(([name, value]) => ({ name, value }));
  const local = table({
    kind: 'enum',
    name: 'state',
    bytes: 4,
    signed: false,
    values: values(['UP', 1n], ['GONE', 2n]),
  });
  const target = table({
    kind: 'enum64',
    name: 'state',
    bytes: 8,
    signed: false,
    values: values(['DOWN', 0n], ['UP', 7n]),
  });
  assert.equal(ask(local, target, 1, '0', BPF_CORE_ENUMVAL_VALUE, 1), 7);
  assert.equal(ask(local, target, 1, '1', BPF_CORE_ENUMVAL_EXISTS, 1), 0);
  assert.equal(ask(local, target, 1, '1', BPF_CORE_ENUMVAL_VALUE, 2), 'the kernel’s enum64 state has no such value');
});

test('an enum of 32 bits is signed, whether it says so or not', () => {
  const values = [{ name: 'LESS', value: -1n }];
  const local = table({ kind: 'enum', name: 'way', bytes: 4, signed: false, values });
  const target = table({ kind: 'enum', name: 'way', bytes: 4, signed: true, values: [{ name: 'LESS', value: -3n }] });
  for (const held of [-1n, 0xffffffffn]) {
    const program = programOf(loadWide(1, held), 1, '0', BPF_CORE_ENUMVAL_VALUE);
    assert.deepEqual(relocateCore(program, local, [target]).program.instructions[0], loadWide(1, -3n));
  }
});

test('types of one name must agree', () => {
  const local = table(int(4), struct('flow', 4, ['port', 1, 0]));
  const two = (second: number) =>
    table(int(4), struct('flow', 8, ['port', 1, 32]), struct('flow', 8, ['port', 1, second]));
  assert.equal(ask(local, two(32), 2, '0:0', BPF_CORE_FIELD_BYTE_OFFSET, 0), 4);
  assert.equal(
    ask(local, two(0), 2, '0:0', BPF_CORE_FIELD_BYTE_OFFSET, 0),
    'the kernel has 2 types of that name, which differ',
  );
});

test('the first table that has the name is taken', () => {
  const local = table(int(4), struct('flow', 4, ['port', 1, 0]));
  const vmlinux = table(int(4), struct('other', 4, ['port', 1, 0]));
  const module = table(int(4), struct('flow', 8, ['port', 1, 32]));
  const program = programOf(moveImmediate(0, 0), 2, '0:0', BPF_CORE_FIELD_BYTE_OFFSET);
  assert.equal(relocateCore(program, local, [vmlinux, module]).program.instructions[0].immediate, 4);
  assert.equal(ask(local, module, 2, '0', BPF_CORE_TYPE_ID_TARGET, 2), 2);
});

test('a load follows its field’s size only where no sign is lost', () => {
  const load = (mode: number, size: number) => instruction(BPF_LDX | mode | size, { destination: 1, source: 2 });
  const widened = (signed: boolean, first: Instruction) => {
    const local = table(int(4, signed), struct('flow', 4, ['bytes', 1, 0]));
    const target = table(int(8, signed), struct('flow', 16, ['bytes', 1, 64]));
    return relocateCore(programOf(first, 2, '0:0', BPF_CORE_FIELD_BYTE_OFFSET), local, [target]);
  };
  const [grown] = widened(false, load(BPF_MEM, BPF_W)).program.instructions;
  assert.deepEqual([grown.opcode, grown.offset], [BPF_LDX | BPF_MEM | BPF_DW, 8]);
  const store = instruction(BPF_STX | BPF_MEM | BPF_W, { destination: 1, source: 2 });
  assert.equal(widened(false, store).program.instructions[0].opcode, BPF_STX | BPF_MEM | BPF_DW);
  assert.match(widened(true, load(BPF_MEMSX, BPF_W)).unresolved[0].reason, /8 bytes instead of 4 and is no unsigned/);
  assert.match(widened(false, load(BPF_MEM, 0x10)).unresolved[0].reason, /only a part of it is accessed/);
});

test('an instruction that does not hold what its record says is not changed', () => {
  const local = table(int(4), struct('flow', 8, ['port', 1, 32]));
  assert.match(String(ask(local, local, 2, '0:0', BPF_CORE_FIELD_BYTE_OFFSET, 0)), /holds 0 where .* say 4/);
  const register = instruction(BPF_ALU64 | BPF_X, { destination: 1, source: 2 });
  const { unresolved } = relocateCore(programOf(register, 2, '0:0', BPF_CORE_FIELD_BYTE_OFFSET), local, [local]);
  assert.match(unresolved[0].reason, /between registers/);
});

test('a type matches where all that the program says of it is the same', () => {
  const local = table(int(4), struct('flow', 8, ['port', 1, 0], ['next', 4, 64]), int(8), {
    kind: 'ptr',
    name: '',
    type: 2,
  });
  const same = table(int(4), struct('flow', 24, ['pad', 1, 0], ['port', 1, 32], ['next', 4, 64]), int(8), {
    kind: 'ptr',
    name: '',
    type: 2,
  });
  const wider = table(int(8), struct('flow', 24, ['port', 1, 0], ['next', 4, 64]), int(8), {
    kind: 'ptr',
    name: '',
    type: 2,
  });
  assert.equal(ask(local, same, 2, '0', BPF_CORE_TYPE_MATCHES, 1), 1);
  assert.equal(ask(local, wider, 2, '0', BPF_CORE_TYPE_MATCHES, 1), 0);
});

test('a struct of the language stands for a union, and for a struct that only a typedef names', () => {
  const local = table(int(4), struct('atomic_t', 4, ['counter', 1, 0]), struct('address', 4, ['v4', 1, 0]));
  const target = table(
    int(4),
    struct('', 8, ['counter', 1, 32]),
    { kind: 'typedef', name: 'atomic_t', type: 2 },
    {
      kind: 'union',
      name: 'address',
      bytes: 16,
      members: [{ name: 'v4', type: 1, offsetBits: 0, bits: 0 }],
    },
  );
  assert.equal(ask(local, target, 2, '0:0', BPF_CORE_FIELD_BYTE_OFFSET, 0), 4);
  assert.equal(ask(local, target, 3, '0', BPF_CORE_TYPE_SIZE, 4), 16);
});

test('records that make no sense are errors of the object', () => {
  const local = table(int(4), struct('flow', 4, ['port', 1, 0]), struct('loop', 4, ['self', 3, 0]));
  const failing = (typeId: number, access: string, kind: number) => () => ask(local, local, typeId, access, kind, 0);
  assert.throws(failing(2, '0:7', BPF_CORE_FIELD_EXISTS), /struct flow has no member 7/);
  assert.throws(failing(2, 'port', BPF_CORE_FIELD_EXISTS), /path “port”/);
  assert.throws(failing(2, '0:0:0', BPF_CORE_FIELD_EXISTS), /leads into a int/);
  assert.throws(failing(9, '0', BPF_CORE_TYPE_EXISTS), /no type 9/);
  assert.throws(failing(2, '0', BPF_CORE_ENUMVAL_VALUE), /value of type 2/);
  assert.throws(failing(2, '0:0', 99), /path “0:0”/);
});

test('a flavour stands behind exactly three underscores', () => {
  const names = ['task', 'task___old', 'task___a___b', 'task____x', '___task', 'task___'];
  assert.deepEqual(names.map(essentialName), ['task', 'task', 'task___a', 'task____x', '___task', 'task___']);
});
