/**
 * Arenas: a program builds a list in memory that user space maps and follows, pages are allocated and freed, and what user space writes is
 * what programs read. In the kernel with and without the optimiser, and the same in the VM.
 *
 * A newcomer would get wrong: pointers in an arena are addresses of this process, so their numbers differ from load to load; what they lead
 * to does not.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { release } from 'node:os';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { compile } from '../../src/bpf/compiler/compile.ts';
import { array, pointer, struct, u32, u64 } from '../../src/bpf/index.ts';
import { load } from '../../src/bpf/load.ts';
import { MappedArena } from '../../src/bpf/loader/arena.ts';
import { ArenaMemory } from '../../src/bpf/loader/arena-memory.ts';
import { loadObject } from '../../src/bpf/loader/collection.ts';
import { readElf } from '../../src/bpf/object/elf/read.ts';
import { writeElf } from '../../src/bpf/object/elf/write.ts';
import type { ObjectSpec } from '../../src/bpf/object/spec.ts';
import { instantiate } from '../../src/bpf/vm/object.ts';
import { BPF_F_MMAPABLE, BPF_F_SLEEPABLE } from '../../src/kernel/bpf-attributes.ts';
import { everywhere, inBoth, ofText } from '../support/bpf-arena.ts';
import { shared } from '../support/bpf-arena-child.ts';
import { mounted, kernelSkip as skip } from '../support/bpf-kernel.ts';
import { functionOf, kind, mapOf, objectOf } from '../support/bpf-object.ts';
import { clangSkip, compileFixture } from '../support/bpf-objects.ts';
import { Node } from './programs/sample-arena.bpf.ts';

const list = new URL('./programs/sample-arena.bpf.ts', import.meta.url);
const PAGE_BYTES = 4096;

/** The values of a list, from the first to the last. */
function valuesOf(arena: ArenaMemory, first: bigint): bigint[] {
  const found: bigint[] = [];
  for (let node: Node | null = arena.read(Node, first); node !== null; node = node.next) found.push(node.value);
  return found;
}

everywhere(
  'a list that a program built is followed by user space and by other programs',
  (optimise) => compile(fileURLToPath(list), { optimise, check: true }),
  ({ arena, globals, run }) => {
    assert.equal(run('build'), 0);
    const head = globals.head.value as bigint;
    assert.deepEqual(valuesOf(arena, head), [50n, 40n, 30n, 20n, 10n]);
    assert.equal(run('add'), 2);
    assert.equal(globals.sum.value, 150n);
    assert.equal(globals.count.value, 5);
    // The program added 1 to each by an atomic step.
    assert.deepEqual(valuesOf(arena, head), [51n, 41n, 31n, 21n, 11n]);
    const second = arena.view.getBigUint64(arena.offsetOf(head) + 8, true);
    arena.write(Node, second, { value: 1000n, next: 0n });
    assert.deepEqual(valuesOf(arena, head), [51n, 1000n]);
    assert.equal(run('add'), 2);
    assert.equal(globals.sum.value, 1051n);
    globals.head.value = null;
    assert.equal(run('add'), 1);
  },
);

inBoth(
  'a list is built by a program that was an ELF file',
  () => readElf(writeElf(compile(fileURLToPath(list)))),
  ({ arena, globals, run }) => {
    assert.equal(run('build'), 0);
    assert.deepEqual(valuesOf(arena, globals.head.value as bigint), [50n, 40n, 30n, 20n, 10n]);
  },
);

everywhere(
  'a list of user space’s is read by a program that allocates nothing',
  (optimise) => compile(fileURLToPath(list), { optimise, check: true }),
  ({ arena, globals, run }) => {
    const [first, last] = [arena.addressOf(PAGE_BYTES), arena.addressOf(3 * PAGE_BYTES - 16)];
    arena.write(Node, first, { value: 7n, next: last });
    arena.write(Node, last, { value: 8n, next: null });
    globals.head.value = first;
    assert.equal(run('add'), 2);
    assert.equal(globals.sum.value, 15n);
  },
);

everywhere(
  'pages run out, and are there again when they were freed',
  (optimise) => compile(fileURLToPath(list), { optimise, check: true }),
  ({ globals, run }) => {
    for (let page = 0; page < 4; page++) assert.equal(run('build'), 0);
    const head = globals.head.value;
    assert.equal(run('build'), 1);
    assert.equal(globals.failures.value, 1);
    assert.equal(globals.head.value, head);
    assert.equal(run('release'), 0);
    assert.equal(run('build'), 0);
    assert.equal(run('build'), 1);
    assert.equal(globals.failures.value, 2);
  },
);

everywhere(
  'several pages are one piece of zeroes',
  ofText(`
    export const memory = arena({ maxEntries: 8 });
    export const first = global(u64);
    export const seen = global(u64);
    export const main = syscall(() => {
      const numbers = memory.allocate(array(u32, 2048));
      if (numbers === null) return 1;
      first.value = memory.addressOf(numbers);
      for (const i of range(2048)) {
        if (numbers.value[i] !== 0) return 2;
        numbers.value[i] = i;
      }
      const more = memory.allocate(u8, 3);
      if (more === null) return 3;
      memory.free(more, 3);
      seen.value = u64(numbers.value[2047] + numbers.value[1024]);
      return memory.allocate(u8, 7) === null ? 0 : 4;
    });`),
  ({ arena, globals, run }) => {
    assert.equal(run('main'), 0);
    assert.equal(globals.seen.value, 2047n + 1024n);
    const offset = arena.offsetOf(globals.first.value as bigint);
    assert.equal(arena.view.getUint32(offset + 2047 * 4, true), 2047);
  },
);

test('the types of a module are those that user space sees', { skip }, async () => {
  using object = await load<typeof import('./programs/sample-arena.bpf.ts')>(list);
  object.programs.build.testRun({});
  const head: bigint = object.globals.head.value;
  const { pages } = object.arenas;
  const node: Node = pages.read(Node, head);
  assert.equal(node.next?.next?.value, 30n);
  assert.equal(pages.read(u64, head), 50n);
  const last = pages.addressOf(pages.view.byteLength - 8);
  assert.throws(() => pages.read(Node, last), /is no address of 16 bytes in the arena/);
  pages.write(Node, head, { value: 1n, next: pages.addressOf(-16) });
  assert.throws(() => pages.read(Node, head).next, RangeError);
});

test('pointers within structs and arrays are followed when they are asked for', () => {
  const memory = new ArenaMemory(new DataView(new ArrayBuffer(256)), 0x5000n);
  const Table = struct({
    size: u32,
    inner: struct({ node: pointer(Node) }),
    nodes: array(pointer(Node), 3),
    any: pointer(),
  });
  memory.write(Node, 0x5080n, { value: 6n, next: null });
  memory.write(Table, 0x5000n, { size: 2, inner: { node: 0x5080n }, nodes: [0n, 0x5080n, 0x50f8n], any: 0x77n });
  const table = memory.read(Table, 0x5000n);
  memory.write(u64, 0x5080n, 9n);
  assert.deepEqual([table.size, table.inner.node.value, table.nodes[0], table.nodes[1].value], [2, 9n, null, 9n]);
  assert.equal(table.any, 0x77n);
  // The node would reach beyond the end.
  assert.throws(() => table.nodes[2], /0x50f8 is no address of 16 bytes in the arena/);
  assert.throws(() => memory.read(u32, 0x4000n), RangeError);
});

test('objects that share an arena share its mapping', { skip }, () => {
  const spec = compile(fileURLToPath(list));
  using builder = loadObject(spec);
  builder.programs.build.testRun({});
  {
    using reader = loadObject(spec, { maps: { pages: builder.maps.pages } });
    reader.globals.head.value = builder.globals.head.value;
    reader.programs.add.testRun({ data: new Uint8Array(64) });
    assert.equal(reader.globals.sum.value, 150n);
    assert.equal(reader.arenas.pages.address, builder.arenas.pages.address);
  }
  assert.deepEqual(valuesOf(builder.arenas.pages, builder.globals.head.value as bigint), [51n, 41n, 31n, 21n, 11n]);
});

test('processes share an arena that is pinned and has an address', { skip }, () => {
  using place = mounted('bpf');
  using object = loadObject(shared, { pinDirectory: place.path });
  const arena = object.arenas.shared;
  assert.equal(arena.address, 0x1000_0000_2000n);
  assert.equal(object.programs.put.testRun({}).result, 0);
  const address = object.globals.place.value as bigint;
  const child = fileURLToPath(new URL('../support/bpf-arena-child.ts', import.meta.url));
  const seen = execFileSync(process.execPath, [child, place.path, `${address}`], { encoding: 'utf8' });
  assert.equal(seen, '21');
  assert.equal(arena.read(u64, address), 42n);
});

test('an arena cannot be mapped where something lies, nor at two places', { skip }, () => {
  using object = loadObject(compile(fileURLToPath(list)));
  const { pages } = object.maps;
  const other = { descriptor: pages.descriptor, spec: { type: 'arena', maxEntries: 4 } };
  assert.throws(() => MappedArena.of(other), /EINVAL; it is mapped at another address already/);
  const taken = { ...other, spec: { ...other.spec, extra: object.arenas.pages.address } };
  assert.throws(() => MappedArena.of(taken), /EEXIST; something lies at its address/);
});

/** Both casts: of a pointer in the context, which is followed and put back. */
const byHand = (): ObjectSpec =>
  objectOf({
    maps: [mapOf('memory', 'arena', { keyBytes: 0, valueBytes: 0, maxEntries: 2, flags: BPF_F_MMAPABLE })],
    functions: [
      functionOf(
        'main',
        `lddw %r2, 0
        ldxdw %r3, [%r1]
        cast_kern %r4, %r3
        ldxdw %r0, [%r4]
        cast_user %r5, %r4
        stxdw [%r1], %r5
        exit`,
        { kind: kind('syscall', { flags: BPF_F_SLEEPABLE }), relocations: [[0, 'map', 'memory']] },
      ),
    ],
  });

test('a cast there and back gives the same address', { skip }, () => {
  using object = loadObject(byHand());
  const { memory } = object.arenas;
  memory.view.setUint32(PAGE_BYTES + 8, 99, true);
  const context = new BigUint64Array([memory.addressOf(PAGE_BYTES + 8)]);
  const run = object.programs.main.testRun({ context: new Uint8Array(context.buffer) });
  assert.equal(run.result, 99);
  assert.deepEqual(new BigUint64Array(run.context.slice().buffer), context);
});

test('a cast there and back gives the same address in the VM', () => {
  const { programs, arenas } = instantiate(byHand());
  const { memory } = arenas;
  memory.view.setUint32(PAGE_BYTES + 8, 99, true);
  const context = new BigUint64Array([memory.addressOf(PAGE_BYTES + 8)]);
  assert.equal(programs.main.run({ memory: new Uint8Array(context.buffer) }).action, 99);
  assert.deepEqual(context, new BigUint64Array([memory.addressOf(PAGE_BYTES + 8)]));
});

inBoth(
  'an object that clang made builds a list',
  () => readElf(compileFixture('arena')),
  ({ arena, globals, run }) => {
    assert.equal(run('build'), 0);
    assert.deepEqual(valuesOf(arena, globals.head.value as bigint), [30n, 20n, 10n]);
  },
  clangSkip,
);

inBoth(
  'variables that clang put into the arena lie at its beginning',
  () => readElf(writeElf(readElf(compileFixture('arena')))),
  ({ arena, globals, run }) => {
    assert.equal(run('count'), 41);
    assert.equal(globals.runs.value, 41n);
    assert.deepEqual([arena.view.getBigUint64(0, true), arena.view.getBigUint64(8, true)], [1n, 41n]);
    globals.runs.value = 50n;
    assert.equal(run('count'), 51);
    // The first page is theirs.
    assert.equal(run('build'), 0);
    assert.equal(run('build'), 1);
    assert.equal(globals.first.value, 1n);
  },
  clangSkip,
);

test('the VM stops a program that follows an address of user space as it is', () => {
  const spec = objectOf({
    maps: [mapOf('memory', 'arena', { keyBytes: 0, valueBytes: 0, maxEntries: 2, flags: BPF_F_MMAPABLE })],
    functions: [
      functionOf('main', 'ldxdw %r3, [%r1]\nldxdw %r0, [%r3]\nexit', { kind: kind('syscall', { section: 'syscall' }) }),
    ],
  });
  const { programs, arenas } = instantiate(spec);
  const context = new BigUint64Array([arenas.memory.address]);
  assert.throws(() => programs.main.run({ memory: new Uint8Array(context.buffer) }), /which is no pointer/);
});

test('the VM stops a program that uses pages which it has given back', () => {
  const { programs } = instantiate(
    ofText(`
      export const memory = arena({ maxEntries: 1 });
      export const main = syscall(() => {
        const number = memory.allocate(u32);
        if (number === null) return 1;
        memory.free(number);
        number.value = 1;
        return 0;
      });`)(true),
  );
  assert.throws(() => programs.main.run(), /the arena memory: page 0 was freed/);
});

// Since Linux 7.0 every program may allocate.
const isOlder = Number.parseInt(release(), 10) < 7;

test('a program that may not sleep is refused its pages', {
  skip: skip || (isOlder ? false : 'this kernel allows it'),
}, () => {
  const spec = ofText(`
    export const memory = arena({ maxEntries: 1 });
    export const main = xdp(() => (memory.allocate(u32) === null ? XDP_DROP : XDP_PASS));`)(true);
  assert.throws(
    () => loadObject(spec),
    /:4:\d+: the kernel’s bpf_arena_alloc_pages may sleep here, and this program may not/,
  );
});
