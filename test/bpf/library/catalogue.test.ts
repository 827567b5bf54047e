/**
 * The catalogue and the exports are one list, what definitions name exists, and a module of programs can be imported in Node.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import test from 'node:test';
import { catalogue, programsOf } from '../../../src/bpf/library/catalogue.ts';
import type { Definition } from '../../../src/bpf/library/definitions.ts';
import * as library from '../../../src/bpf/library/index.ts';

function definitions<K extends Definition['kind']>(kind: K): Extract<Definition, { kind: K }>[] {
  return [...catalogue.values()].filter(
    (definition): definition is Extract<Definition, { kind: K }> => definition.kind === kind,
  );
}

const helperFiles = new URL('../../../src/bpf/library/helpers/', import.meta.url);

test('every export is in the catalogue under its own name', () => {
  assert.deepEqual([...catalogue.keys()].sort(), Object.keys(library).sort());
  const misnamed = [...catalogue].filter(([name, definition]) => name !== definition.name);
  assert.deepEqual(misnamed, []);
});

test('all programs that were defined are exported', () => {
  assert.deepEqual(programsOf(catalogue), definitions('program'));
  assert.deepEqual(programsOf(new Map(catalogue)), definitions('program'));
});

test('what is no export is not in the catalogue', () => {
  for (const name of ['default', 'constructor', '__proto__', 'toString']) {
    assert.equal(catalogue.has(name), false);
    assert.equal(catalogue.get(name), undefined);
  }
});

test('every helper is there once, from the first to the last that the kernel has', () => {
  const ids = definitions('helper').map(({ id }) => id);
  // The kernel adds functions as kfuncs since 6.2; enum bpf_func_id ends with cgrp_storage_delete.
  assert.deepEqual(
    ids.toSorted((a, b) => a - b),
    Array.from({ length: 211 }, (_, index) => index + 1),
  );
});

test('every helper says in a line what it does', () => {
  const sources = readdirSync(helperFiles).map((file) => readFileSync(new URL(file, helperFiles), 'utf8'));
  const documented = new Set(
    sources.flatMap((text) =>
      [...text.matchAll(/^\/\*\* [A-Z0-9].+ \*\/\nexport const (\w+)/gm)].map(([, name]) => name),
    ),
  );
  const silent = definitions('helper').filter(({ name }) => !documented.has(name));
  assert.deepEqual(silent, []);
});

test('a map’s methods are helpers that take such a map', () => {
  const maps = [...definitions('map'), ...definitions('intrinsic').flatMap(({ map }) => map ?? [])];
  assert.ok(maps.length > 30, `only ${maps.length} kinds of maps`);
  for (const { name, type, methods } of maps) {
    for (const [method, helper] of Object.entries(methods)) {
      const definition = catalogue.get(helper);
      assert.equal(definition?.kind, 'helper', `${name}.${method} is ${helper}`);
      const taken = definition.parameters.find((parameter) => parameter.kind === 'map');
      const isRecord = helper === 'bpf_ringbuf_submit' || helper === 'bpf_ringbuf_discard';
      assert.ok(isRecord || taken !== undefined, `${helper} takes no map`);
      assert.ok(
        taken === undefined || taken.types.length === 0 || taken.types.includes(type),
        `${helper} does not take ${type}`,
      );
    }
  }
});

test('what a helper or a context points to is a struct of the library, or one of the kernel’s', () => {
  const known = new Set(definitions('type').flatMap(({ type }) => (type.kind === 'struct' ? [type.name] : [])));
  const contexts = definitions('program').flatMap(({ context }) => (context.kind === 'struct' ? [context.struct] : []));
  const pointed = contexts.flatMap(({ pointers }) => Object.values(pointers)).map(({ struct }) => struct);
  const sockets = pointed.filter((struct) => struct?.startsWith('bpf_'));
  assert.ok(sockets.length > 5);
  assert.deepEqual(
    sockets.filter((struct) => !known.has(struct ?? '')),
    [],
  );
});

test('a context’s pointers and writable fields are fields of it', () => {
  for (const { name, context } of definitions('program')) {
    if (context.kind !== 'struct') continue;
    const fields = new Set(context.struct.struct.fields.map((field) => field.name));
    for (const field of [...Object.keys(context.struct.pointers), ...context.struct.writable]) {
      assert.ok(fields.has(field), `${name}: no field ${field}`);
    }
  }
});

test('a section says where its target goes, and only then is there a target', () => {
  for (const { name, section, target } of definitions('program')) {
    assert.equal(section.includes('{target}'), target !== null, name);
  }
});

test('what runs in the kernel alone says so when Node calls it', () => {
  assert.throws(() => library.bpf_ktime_get_ns(), /^Error: bpf_ktime_get_ns runs in the kernel; compile this module/);
  const numbers = library.hash({ key: library.u32, value: library.u64, maxEntries: 1 });
  assert.throws(() => numbers.lookup(1), /hash\(\)\.lookup runs in the kernel/);
  assert.throws(() => library.kconfig('CONFIG_HZ', library.u32).value, /CONFIG_HZ runs in the kernel/);
});

test('conversions cut and extend as in C', () => {
  const { u8, i8, u16, i32, u32, u64, i64, be16 } = library;
  assert.deepEqual([u8(257), i8(200), u16(-1), i32(0xffffffff), u32(-1)], [1, -56, 65535, -1, 4294967295]);
  assert.deepEqual([u64(-1), i64(2n ** 63n), u64(true)], [2n ** 64n - 1n, -(2n ** 63n), 1n]);
  assert.equal(be16(0x12345), 0x2345);
});

test('structs, unions and arrays have C’s sizes', () => {
  const { array, bits, packed, pointer, struct, u8, u16, u32, u64, union } = library;
  assert.equal(struct({ a: u8, b: u32 }).size, 8);
  assert.equal(packed({ a: u8, b: u32 }).size, 5);
  assert.equal(union({ a: u8, b: u64 }).size, 8);
  assert.equal(array(u16, 3).size, 6);
  assert.equal(struct({ version: bits(u8, 4), length: bits(u8, 4), rest: u8 }).size, 2);
  assert.equal(struct({ next: pointer(() => u32), tag: u8 }).size, 16);
  assert.equal(library.Tcp.size, 20);
});

test('a map describes itself with the flags that its kind needs', () => {
  const { array, lpmTrie, ringBuffer, struct, u32 } = library;
  const Prefix = struct({ prefixLength: u32, address: u32 });
  const trie = lpmTrie({ key: Prefix, value: u32, maxEntries: 10, flags: library.BPF_F_RDONLY_PROG });
  assert.deepEqual([trie.kind, trie.type, trie.maxEntries, trie.flags], ['map', 'lpm_trie', 10, 0x81]);
  assert.equal(trie.key.size, 8);
  const counters = array({ value: u32, maxEntries: 4 });
  assert.equal(counters.key.size, 4);
  assert.equal(ringBuffer({ maxEntries: 4096 }).key, null);
});

test('globals hold their initial value in Node', () => {
  const { array, global, readOnly, struct, u8, u64 } = library;
  assert.equal(readOnly(u64, 5n).value, 5n);
  assert.deepEqual(global(struct({ bytes: array(u8, 2), count: u64 })).value, { bytes: [0, 0], count: 0n });
});
