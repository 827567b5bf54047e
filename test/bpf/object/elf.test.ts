/**
 * ELF objects, clang's and our own: read, written, loaded by bpftool, and broken on purpose.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { instruction, WIDE_LOAD } from '../../../src/bpf/instructions.ts';
import { BtfError } from '../../../src/bpf/object/btf/records.ts';
import { ElfError } from '../../../src/bpf/object/elf/file.ts';
import { kindOfSection } from '../../../src/bpf/object/elf/program-sections.ts';
import { readElf } from '../../../src/bpf/object/elf/read.ts';
import { writeElf } from '../../../src/bpf/object/elf/write.ts';
import type { FunctionSpec, MapSpec, ObjectSpec } from '../../../src/bpf/object/spec.ts';
import {
  askAbout,
  bpftoolSkip,
  clangSkip,
  compileFixture,
  inFolder,
  libbpfSkip,
  loadWithBpftool,
  needs,
  runWithLibbpf,
} from '../../support/bpf-objects.ts';
import { randomSource } from '../../support/random.ts';

function functionOf(spec: ObjectSpec, name: string): FunctionSpec {
  const found = spec.functions.find((one) => one.name === name);
  assert.ok(found !== undefined, `no function ${name}`);
  return found;
}

function mapOf(spec: ObjectSpec, name: string): MapSpec {
  const found = spec.maps.find((one) => one.name === name);
  assert.ok(found !== undefined, `no map ${name}`);
  return found;
}

/** A spec as text that can be compared: functions by name, types by what they print. */
function comparable(spec: ObjectSpec): string {
  const functions = [...spec.functions].sort((a, b) => (a.name < b.name ? -1 : 1));
  const plain = (_: string, value: unknown): unknown => {
    if (typeof value === 'bigint') return `${value}n`;
    return typeof value === 'function' ? 'function' : value;
  };
  return JSON.stringify({ ...spec, functions, btf: null }, plain, 1);
}

test('clang’s programs and functions are read with what they refer to', { skip: clangSkip }, () => {
  const spec = readElf(compileFixture('everything'));
  assert.equal(spec.license, 'GPL');
  assert.deepEqual(
    spec.functions.map((one) => [one.name, one.kind?.section ?? null, one.linkage]),
    [
      ['add', null, 'global'],
      ['twice', null, 'static'],
      ['step', null, 'static'],
      ['first', 'xdp', 'global'],
      ['second', 'xdp', 'global'],
      ['third', 'raw_tp/sched_switch', 'global'],
      ['fourth', 'tp_btf/task_newtask', 'global'],
    ],
  );
  const related = (name: string): string[] =>
    functionOf(spec, name).relocations.map(({ kind, symbol, addend }) => `${kind} ${symbol} ${addend}`);
  assert.deepEqual(related('first'), [
    'data .rodata 0',
    'map flows 0',
    'data .rodata 8',
    'data .bss 0',
    'callback step 0',
    'data .data 4',
    'data .data 0',
    'call add 0',
  ]);
  assert.deepEqual(related('add'), ['call twice 0']);
  assert.deepEqual(related('second').slice(-3), ['data .kconfig 0', 'data .kconfig 4', 'data .kconfig 8']);
  assert.deepEqual(related('third'), [
    'map events 0',
    'data .rodata 16',
    'kernelSymbol schedule 0',
    'data .bss 0',
    'call twice 0',
  ]);
  assert.deepEqual(related('fourth'), ['kernelFunction bpf_rcu_read_lock 0', 'kernelFunction bpf_rcu_read_unlock 0']);
  assert.deepEqual(
    functionOf(spec, 'third').core.map(({ access, kind }) => [
      spec.btf?.nameOf(functionOf(spec, 'third').core[0].typeId),
      access,
      kind,
    ]),
    [
      ['task_struct', '0:2', 0],
      ['task_struct', '0:0', 0],
      ['task_struct', '0:1', 2],
    ],
  );
  const [line] = functionOf(spec, 'twice').lines;
  assert.match(line.file, /everything\.bpf\.c$/);
  assert.match(line.text, /int twice\(int x\)/);
});

test('clang’s maps are read with keys, values and what they hold at first', { skip: clangSkip }, () => {
  const spec = readElf(compileFixture('everything'));
  const flows = mapOf(spec, 'flows');
  assert.deepEqual(
    [flows.type, flows.keyBytes, flows.valueBytes, flows.maxEntries, flows.flags],
    ['hash', 12, 8, 16, 1],
  );
  assert.equal(flows.key?.kind, 'struct');
  assert.equal(spec.btf?.nameOf(flows.keyTypeId), 'flow');
  const outer = mapOf(spec, 'outer');
  assert.deepEqual(outer.values, ['inner_a', null, 'inner_b']);
  assert.equal(outer.inner?.type, 'array');
  assert.deepEqual(mapOf(spec, 'jumps').values, [null, 'first']);
  assert.equal(mapOf(spec, 'events').type, 'ringbuf');
});

test('clang’s globals, kconfig options and kernel symbols are read', { skip: clangSkip }, () => {
  const spec = readElf(compileFixture('everything'));
  const variables = Object.fromEntries(
    spec.data.map(({ name, variables }) => [name, variables.map((one) => `${one.name} ${one.offset} ${one.bytes}`)]),
  );
  assert.deepEqual(variables['.rodata'].slice(0, 2), ['limit 0 4', 'hidden_limit 8 8']);
  assert.deepEqual(variables['.data'], ['start 0 4', 'numbers 4 16']);
  assert.deepEqual(variables['.bss'], ['counter 0 8', 'hidden_counter 8 8']);
  assert.deepEqual(spec.kconfig, [
    { name: 'LINUX_KERNEL_VERSION', offset: 0, bytes: 4, weak: false, typeKind: 'integer' },
    { name: 'CONFIG_BPF_JIT', offset: 4, bytes: 1, weak: true, typeKind: 'boolean' },
    { name: 'CONFIG_NO_SUCH_OPTION', offset: 8, bytes: 4, weak: true, typeKind: 'tristate' },
  ]);
  assert.deepEqual(spec.kernelSymbols.map(({ name, kind }) => `${kind} ${name}`).sort(), [
    'function bpf_rcu_read_lock',
    'function bpf_rcu_read_unlock',
    'variable schedule',
  ]);
});

test('clang’s struct_ops are read as a map of functions', { skip: clangSkip }, () => {
  const spec = readElf(compileFixture('struct-ops'));
  const map = mapOf(spec, 'halving');
  assert.equal(map.structOps?.type, 'tcp_congestion_ops');
  assert.deepEqual(map.structOps?.functions, [
    { offset: 0, name: 'halve' },
    { offset: 8, name: 'avoid' },
    { offset: 16, name: 'undo' },
  ]);
  assert.equal(Buffer.from(map.structOps?.data.subarray(24, 31) ?? []).toString(), 'halving');
});

test('an object that was read and written reads as before', { skip: clangSkip }, () => {
  for (const name of ['everything', 'struct-ops', 'relocations']) {
    const spec = readElf(compileFixture(name));
    const written = writeElf(spec);
    assert.equal(comparable(readElf(written)), comparable(spec), name);
    assert.deepEqual(writeElf(spec), written, `${name} is not the same twice`);
  }
});

test('bpftool loads what we write as it loads clang’s own', { skip: bpftoolSkip }, () => {
  for (const name of ['everything', 'struct-ops']) {
    const object = compileFixture(name);
    const theirs = loadWithBpftool(object);
    const ours = loadWithBpftool(writeElf(readElf(object)));
    assert.deepEqual([...ours.keys()].sort(), [...theirs.keys()].sort());
    for (const [program, instructions] of theirs) {
      // Maps have numbers of their own in each load.
      const withoutMaps = (list: readonly (typeof instructions)[number][]) =>
        list.map((one) => (one.opcode === WIDE_LOAD && one.source !== 0 ? { ...one, immediate: 0 } : one));
      assert.deepEqual(withoutMaps(ours.get(program) ?? []), withoutMaps(instructions), `${name}: ${program}`);
    }
  }
});

test('what bpftool’s linker makes of an object reads as the object', { skip: clangSkip || needs('bpftool') }, () => {
  const object = compileFixture('everything');
  inFolder((folder) => {
    const path = join(folder, 'linked.o');
    askAbout(object, 'bpftool', 'gen', 'object', path, 'OBJECT');
    const [linked, plain] = [readElf(readFileSync(path)), readElf(object)];
    for (const one of plain.functions) {
      const { relocations, lines, instructions } = functionOf(linked, one.name);
      assert.deepEqual(relocations, one.relocations, one.name);
      assert.deepEqual(instructions, one.instructions, one.name);
      assert.deepEqual(lines, one.lines, one.name);
    }
    assert.deepEqual(
      linked.maps.map((map) => [map.name, map.values]),
      plain.maps.map((map) => [map.name, map.values]),
    );
  });
});

test('bpftool writes a skeleton and C declarations for what we write', {
  skip: clangSkip || needs('bpftool'),
}, () => {
  const written = writeElf(readElf(compileFixture('everything')));
  const skeleton = askAbout(written, 'bpftool', 'gen', 'skeleton', 'OBJECT', 'name', 'everything');
  for (const name of ['first', 'flows', 'limit', 'counter']) assert.ok(skeleton.includes(name), name);
  assert.match(askAbout(written, 'bpftool', 'btf', 'dump', 'file', 'OBJECT', 'format', 'c'), /struct flow \{/);
});

test('llvm’s and binutils’ readers find no fault in what we write', {
  skip: clangSkip || needs('llvm-readelf', 'llvm-objdump', 'readelf'),
}, () => {
  const written = writeElf(readElf(compileFixture('everything')));
  assert.match(askAbout(written, 'llvm-readelf', '-S', '-s', '-r', 'OBJECT'), /R_BPF_64_32 .*add/);
  assert.match(askAbout(written, 'llvm-objdump', '-d', '-r', 'OBJECT'), /<first>:/);
  assert.match(askAbout(written, 'readelf', '-W', '-a', 'OBJECT'), /Linux BPF/);
});

test('what is not supported is refused by name', { skip: clangSkip }, () => {
  assert.throws(() => readElf(compileFixture('legacy')), /defines old_map in the section maps.*SEC\("\.maps"\)/);
  assert.throws(
    () => readElf(compileFixture('everything', '-target', 'bpfeb')),
    /big-endian machines; compile it with -target bpfel/,
  );
  assert.throws(() => readElf(compileFixture('legacy', '-target', 'x86_64-linux-gnu')), /for machine 62, not for eBPF/);
  assert.throws(() => readElf(compileFixture('struct-ops', '-g0')), /has \.struct_ops and no \.BTF.*compile with -g/);
  assert.throws(() => readElf(new Uint8Array(64)), /not an ELF file/);
  assert.throws(() => readElf(new Uint8Array(3)), /too few for an ELF file/);
});

test('no damage makes anything but an ElfError or a BtfError', { skip: clangSkip }, () => {
  const random = randomSource(41);
  for (const name of ['everything', 'struct-ops']) {
    const whole = writeElf(readElf(compileFixture(name)));
    let refused = 0;
    for (let round = 0; round < 1500; round++) {
      const length = random.integer(10) === 0 ? random.integer(whole.length) : whole.length;
      const copy = whole.slice(0, length);
      // Half of the damage goes to the tables at both ends, which everything else hangs on.
      for (let flips = 1 + random.integer(4); flips > 0 && length > 0; flips--) {
        const end = random.integer(2) === 0 ? Math.min(length, 1200) : 0;
        const at = end === 0 ? random.integer(length) : length - 1 - random.integer(end);
        copy[at] = random.integer(4) === 0 ? 0xff : random.integer(256);
      }
      try {
        readElf(copy);
      } catch (error) {
        refused++;
        assert.ok(error instanceof ElfError || error instanceof BtfError, `round ${round}: ${(error as Error).stack}`);
      }
    }
    assert.ok(refused > 500, `only ${refused} of 1500 were refused`);
  }
});

test('sections name types and hooks as libbpf says', () => {
  const cases: readonly (readonly [string, string, string | null, string | null, number])[] = [
    ['xdp', 'xdp', 'xdp', null, 0],
    ['xdp.frags', 'xdp', 'xdp', null, 32],
    ['xdp/devmap', 'xdp', 'xdp_devmap', null, 0],
    ['tcx/egress', 'sched_cls', 'tcx_egress', null, 0],
    ['cgroup/connect6', 'cgroup_sock_addr', 'cgroup_inet6_connect', null, 0],
    ['cgroup/sendmsg4', 'cgroup_sock_addr', 'cgroup_udp4_sendmsg', null, 0],
    ['cgroup/getsockname_unix', 'cgroup_sock_addr', 'cgroup_unix_getsockname', null, 0],
    ['cgroup_skb/ingress', 'cgroup_skb', 'cgroup_inet_ingress', null, 0],
    ['sk_skb/stream_parser', 'sk_skb', 'sk_skb_stream_parser', null, 0],
    ['tracepoint/sched/sched_switch', 'tracepoint', null, 'sched/sched_switch', 0],
    ['tp_btf/tcp_probe', 'tracing', 'trace_raw_tp', 'tcp_probe', 0],
    ['fexit.s/do_unlinkat', 'tracing', 'trace_fexit', 'do_unlinkat', 16],
    ['?lsm.s/file_open', 'lsm', 'lsm_mac', 'file_open', 16],
    ['iter/task', 'tracing', 'trace_iter', 'task', 0],
    ['struct_ops/init', 'struct_ops', null, 'init', 0],
    ['syscall', 'syscall', null, null, 16],
    ['xdp/of_my_own', 'unspec', null, null, 0],
    ['anything', 'unspec', null, null, 0],
  ];
  for (const [section, type, attachType, target, flags] of cases) {
    assert.deepEqual(kindOfSection(section), { type, attachType, section, target, flags });
  }
});

test('a reference to what the object does not have is refused when written', () => {
  const spec: ObjectSpec = {
    license: 'GPL',
    functions: [
      {
        name: 'lonely',
        kind: null,
        linkage: 'static',
        instructions: [instruction(WIDE_LOAD)],
        relocations: [{ index: 0, kind: 'map', symbol: 'nowhere', addend: 0 }],
        lines: [],
        core: [],
        typeId: 0,
      },
    ],
    maps: [],
    data: [],
    kconfig: [],
    kernelSymbols: [],
    btf: null,
  };
  assert.throws(() => writeElf(spec), /\.text refers to nowhere/);
});

test('a C program with libbpf loads and runs what we write', { skip: libbpfSkip }, () => {
  const object = compileFixture('everything');
  // limit is 7, so that the second of numbers' last three is taken: twice(3) + 10 steps of the callback + start.
  assert.equal(runWithLibbpf(object, 'first'), 21);
  assert.equal(runWithLibbpf(writeElf(readElf(object)), 'first'), 21);
});
