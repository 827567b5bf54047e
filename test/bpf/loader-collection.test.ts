/**
 * Whole objects in the kernel: maps, data, subprograms, and what is left behind when a load fails.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import test from 'node:test';
import { loadObject } from '../../src/bpf/loader/collection.ts';
import { KconfigError, kconfigBytes, parseKernelConfig } from '../../src/bpf/loader/kernel-config.ts';
import { VerifierError } from '../../src/bpf/loader/verifier.ts';
import { BtfBuilder } from '../../src/bpf/object/btf/builder.ts';
import type { LineInfo } from '../../src/bpf/object/spec.ts';
import { I16, I32, type Type, U32, U64 } from '../../src/bpf/types.ts';
import { kernelSkip } from '../support/bpf-kernel.ts';
import { functionOf, kind, mapOf, objectOf, sectionOf } from '../support/bpf-object.ts';

const skip = kernelSkip;
const packet = new Uint8Array(64);

test('a program of a section with a question mark is only loaded when it is asked for', { skip }, () => {
  const optional = functionOf('optional', 'mov %r0, 2\nexit', { kind: kind('xdp', { section: '?xdp' }) });
  const spec = objectOf({ functions: [optional] });
  using without = loadObject(spec);
  assert.deepEqual(Object.keys(without.programs), []);
  using asked = loadObject(spec, { programs: ['optional'] });
  assert.equal(asked.programs.optional.testRun({ data: packet }).result, 2);
});

/** Counts its runs in `seen`, answers `limit`. */
const counting = objectOf({
  data: [
    sectionOf('.rodata', Uint8Array.of(7, 0, 0, 0), { variables: [{ name: 'limit', offset: 0, bytes: 4, type: U32 }] }),
    sectionOf('.bss', new Uint8Array(16), {
      variables: [
        { name: 'seen', offset: 0, bytes: 8, type: U64 },
        { name: 'signed', offset: 8, bytes: 2, type: I16 },
      ],
    }),
  ],
  functions: [
    functionOf(
      'count',
      `lddw %r1, 0
       ldxdw %r2, [%r1]
       add %r2, 1
       stxdw [%r1], %r2
       lddw %r1, 0
       ldxw %r0, [%r1]
       exit`,
      {
        kind: kind('xdp'),
        relocations: [
          [0, 'data', '.bss'],
          [4, 'data', '.rodata'],
        ],
      },
    ),
  ],
});

test('read-only values are set before the load, others read and written while programs run', { skip }, () => {
  using collection = loadObject(counting, { constants: { limit: 2, signed: -5 } });
  const { seen, signed, limit } = collection.globals;
  assert.equal(collection.programs.count.testRun({ data: packet, repeat: 3 }).result, 2);
  assert.equal(seen.value, 3n);
  assert.equal(signed.value, -5);
  assert.equal(limit.value, 2);
  seen.value = 100n;
  collection.programs.count.testRun({ data: packet });
  assert.equal(seen.value, 101n);
  assert.throws(() => {
    limit.value = 3;
  }, /limit is read-only once loaded: give its value to the load/);
});

test('a value that a variable cannot hold, and a name that the object lacks, are refused by name', { skip }, () => {
  assert.throws(() => loadObject(counting, { constants: { limit: 2 ** 32 } }), /limit: 4294967296 does not fit u32/);
  assert.throws(
    () => loadObject(counting, { constants: { limits: 2 } }),
    /variable limits is not in the object: limit, seen/,
  );
  assert.throws(() => loadObject(counting, { programs: ['counts'] }), /program counts is not in the object: count/);
});

const types = new BtfBuilder();
const argument = (name: string, type: Type): { readonly name: string; readonly type: Type } => ({ name, type });
const typeIds = {
  main: types.addFunction('main', [argument('context', U64)], I32, 'global'),
  step: types.addFunction('step', [argument('index', U32), argument('state', U64)], I32, 'static'),
  twice: types.addFunction('twice', [argument('n', U32)], I32, 'static'),
};
types.addString('calling.bpf.ts');
types.addString('return twice(21);');

function line(number: number): readonly LineInfo[] {
  return [{ index: 0, file: 'calling.bpf.ts', line: number, column: 3, text: 'return twice(21);' }];
}

/** `main` adds what `twice` makes of 21 to what a callback counted. */
const calling = objectOf({
  functions: [
    functionOf(
      'main',
      `mov %r1, 21
       call 1
       mov %r6, %r0
       mov %r1, 5
       lddw %r2, 0
       mov %r3, 0
       mov %r4, 0
       call 181
       add %r0, %r6
       exit`,
      {
        kind: kind('socket_filter'),
        typeId: typeIds.main,
        lines: line(1),
        relocations: [
          [1, 'call', 'twice'],
          [4, 'callback', 'step'],
        ],
      },
    ),
    functionOf('step', 'mov %r0, 0\nexit', { typeId: typeIds.step, lines: line(2) }),
    functionOf('twice', 'mov %r0, %r1\nadd %r0, %r1\nexit', { typeId: typeIds.twice, lines: line(3) }),
    functionOf('unused', 'mov %r0, 1\nexit'),
  ],
  btf: types.finish(),
});

test('functions that a program calls are placed behind it, callbacks too', { skip }, () => {
  using collection = loadObject(calling, { logLevel: 2 });
  assert.equal(collection.programs.main.testRun({ data: packet }).result, 47);
  assert.match(collection.programs.main.log, /^; return twice\(21\); @ calling\.bpf\.ts:3$/m);
});

test('maps of maps and prog arrays hold what the object says', { skip }, () => {
  const spec = objectOf({
    maps: [
      mapOf('inner', 'array', { maxEntries: 1, key: U32, value: U64 }),
      mapOf('outer', 'array_of_maps', {
        maxEntries: 2,
        valueBytes: 4,
        key: U32,
        inner: mapOf('', 'array', { maxEntries: 1 }),
        values: [null, 'inner'],
      }),
      mapOf('jumps', 'prog_array', { maxEntries: 2, valueBytes: 4, key: U32, values: [null, 'second'] }),
    ],
    functions: [
      functionOf('first', 'lddw %r2, 0\nmov %r3, 1\ncall 12\nmov %r0, 1\nexit', {
        kind: kind('socket_filter'),
        relocations: [[0, 'map', 'jumps']],
      }),
      functionOf('second', 'mov %r0, 2\nexit', { kind: kind('socket_filter') }),
    ],
  });
  using collection = loadObject(spec);
  const { outer, inner, jumps } = collection.maps;
  assert.equal(collection.programs.first.testRun({ data: packet }).result, 2);
  assert.equal(outer.get(1), inner.info().id);
  assert.equal(outer.get(0), null);
  assert.equal(jumps.get(1), collection.programs.second.info().id);
  jumps.delete(1);
  assert.equal(collection.programs.first.testRun({ data: packet }).result, 1);
});

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

test('a load that fails half-way leaves nothing behind', { skip }, () => {
  const broken = objectOf({
    ...counting,
    maps: [mapOf('one', 'hash')],
    functions: [...counting.functions, functionOf('bad', 'mov %r0, %r5\nexit', { kind: kind('xdp') })],
  });
  const before = openDescriptors();
  assert.throws(() => loadObject(broken), VerifierError);
  assert.equal(openDescriptors(), before);
});

test('disposing of a collection closes all that it holds', { skip }, () => {
  const before = openDescriptors();
  {
    using _collection = loadObject(calling);
    assert.ok(openDescriptors() > before);
  }
  assert.equal(openDescriptors(), before);
});

test('a map of the caller’s takes the place of the object’s and stays the caller’s', { skip }, () => {
  const spec = objectOf({ maps: [mapOf('shared', 'hash', { key: U32, value: U64 })] });
  using first = loadObject(spec);
  {
    using second = loadObject(spec, { maps: { shared: first.maps.shared } });
    second.maps.shared.set(1, 2n);
  }
  assert.equal(first.maps.shared.get(1), 2n);
});

test('a refusal names the source line, the variable and what was known of it', { skip }, () => {
  const lines = [
    { index: 0, file: 'drop.bpf.ts', line: 3, column: 9, text: 'const ip = packet(context, Ipv4, 0);' },
    { index: 1, file: 'drop.bpf.ts', line: 4, column: 10, text: 'return ip.ttl;' },
  ];
  const registerNames = [{ index: 1, names: [null, 'context', 'ip'] }];
  const unchecked = functionOf('unchecked', 'ldxw %r2, [%r1]\nldxb %r0, [%r2+8]\nexit', {
    kind: kind('xdp'),
    lines,
    registerNames,
  });
  assert.throws(
    () => loadObject(objectOf({ functions: [unchecked] })),
    (error) => {
      assert.ok(error instanceof VerifierError);
      assert.match(
        error.message,
        /drop\.bpf\.ts:4:10: 1 byte at offset 8 of “ip” are used without a check .*: a place in the packet of which 0 bytes/,
      );
      assert.equal(error.explanation.variable, 'ip');
      assert.match(error.log, /invalid access to packet/);
      return true;
    },
  );
});

test('kernel options become the bytes that a program reads', () => {
  const config = parseKernelConfig(
    'CONFIG_HZ=250\n# CONFIG_OFF is not set\nCONFIG_NET=y\nCONFIG_NAME="bbr"\nCONFIG_USB=m\n',
  );
  const spec = (
    name: string,
    offset: number,
    bytes: number,
    typeKind: 'boolean' | 'integer' | 'tristate' | 'string',
  ) => ({
    name,
    offset,
    bytes,
    typeKind,
    weak: name === 'CONFIG_OFF',
  });
  const specs = [
    spec('CONFIG_HZ', 0, 4, 'integer'),
    spec('CONFIG_NET', 4, 1, 'boolean'),
    spec('CONFIG_USB', 5, 1, 'tristate'),
    spec('CONFIG_OFF', 6, 1, 'boolean'),
    spec('CONFIG_NAME', 7, 3, 'string'),
  ];
  assert.deepEqual([...kconfigBytes(specs, {}, config)], [250, 0, 0, 0, 1, 2, 0, 98, 98, 0]);
  assert.equal(kconfigBytes(specs, { CONFIG_HZ: '0x3e8' }, config)[1], 3);
  assert.throws(() => kconfigBytes([spec('CONFIG_NONE', 0, 4, 'integer')], {}, config), KconfigError);
  assert.throws(() => kconfigBytes([spec('CONFIG_USB', 0, 1, 'boolean')], {}, config), /CONFIG_USB is m/);
});

test('an object reads the running kernel’s options', { skip }, () => {
  const spec = objectOf({
    kconfig: [{ name: 'LINUX_KERNEL_VERSION', offset: 0, bytes: 4, weak: false, typeKind: 'integer' }],
    functions: [
      functionOf('version', 'lddw %r1, 0\nldxw %r0, [%r1]\nexit', {
        kind: kind('socket_filter'),
        relocations: [[0, 'data', '.kconfig']],
      }),
    ],
  });
  using collection = loadObject(spec);
  assert.ok(collection.programs.version.testRun({ data: packet }).result >= 5 << 16);
});
