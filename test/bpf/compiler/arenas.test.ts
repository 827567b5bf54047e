/**
 * Arenas in the compiler: where addresses are cast, what the optimiser may and may not do with memory that others share, what is refused.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { assemble } from '../../../src/bpf/assembler.ts';
import type { Builder } from '../../../src/bpf/compiler/builder.ts';
import { compileText } from '../../../src/bpf/compiler/compile.ts';
import type { Value } from '../../../src/bpf/compiler/ir.ts';
import { disassemble } from '../../../src/bpf/disassembler.ts';
import { encode } from '../../../src/bpf/instructions.ts';
import { kernelSkip } from '../../support/bpf.ts';
import { moduleOf, refusals, runBoth } from '../../support/bpf-compiler.ts';
import { optimisedLines } from '../../support/bpf-passes.ts';

const loads = (lines: readonly string[]): string[] => lines.filter((line) => /\bload\b/.test(line));
const casts = (lines: readonly string[]): string[] => lines.filter((line) => /\bcast\b/.test(line));

/** The text of a module's functions. */
function codeOf(text: string, optimise = true): Record<string, string> {
  const { functions } = compileText(moduleOf(text), 'test.bpf.ts', { optimise, check: true });
  return Object.fromEntries(functions.map(({ name, instructions }) => [name, disassemble(instructions)]));
}

const countOf = (text: string, pattern: RegExp): number => [...text.matchAll(pattern)].length;

test('an address is cast once for all accesses, and what was loaded is kept', () => {
  const lines = optimisedLines(['arena', 'scalar'], (b, node, x) => {
    const first = b.load(8, false, node);
    b.store(8, node, x, { offset: 8 });
    const again = b.load(8, false, node);
    b.return(b.binary('add', 64, first, b.binary('add', 64, again, b.load(8, false, node, 'scalar', { offset: 8 }))));
  });
  assert.equal(casts(lines).length, 1);
  assert.equal(loads(lines).length, 1);
});

test('an address that was loaded is stored as it is, and cast where it is followed', () => {
  const lines = optimisedLines(['arena'], (b, node) => {
    const next = b.load(8, false, node, 'arena');
    b.store(8, node, next, { offset: 16 });
    b.return(b.load(8, false, next));
  });
  assert.equal(casts(lines).length, 2);
  assert.deepEqual(
    lines.filter((line) => /\bstore\b/.test(line)),
    ['store 8 [v + 16] = v'],
  );
});

/** How often a field of an arena is loaded when it is read before and after something. */
function loadsAround(
  between: (b: Builder, node: Value, other: Value) => void,
  other: 'arena' | 'mapValue' = 'arena',
): number {
  const lines = optimisedLines(['arena', other], (b, node, second) => {
    const first = b.load(8, false, node);
    between(b, node, second);
    b.return(b.binary('sub', 64, first, b.load(8, false, node)));
  });
  return loads(lines).length;
}

test('another pointer into the arena may lead to the same place, one into a map does not', () => {
  assert.equal(
    loadsAround((b, _, other) => b.store(8, other, b.constant(1))),
    2,
  );
  assert.equal(
    loadsAround((b, _, other) => b.store(8, other, b.constant(1)), 'mapValue'),
    0,
  );
  assert.equal(
    loadsAround((b, node) => b.store(8, node, b.constant(1), { offset: 8 })),
    0,
  );
});

test('nothing of an arena is known any more after an atomic step, wherever that was', () => {
  const step = (b: Builder, address: Value, offset: number): void => {
    b.atomic('add', 8, { address, offset, value: b.constant(1), fetch: true });
  };
  assert.equal(
    loadsAround((b, node) => step(b, node, 64)),
    2,
  );
  assert.equal(
    loadsAround((b, _, other) => step(b, other, 0), 'mapValue'),
    2,
  );
});

test('a store before an atomic step stays before it', () => {
  const lines = optimisedLines(['arena'], (b, node) => {
    b.store(8, node, b.constant(1));
    b.atomic('add', 8, { address: node, offset: 8, value: b.constant(1), fetch: false });
    b.store(8, node, b.constant(2));
    b.return(b.constant(0));
  });
  assert.deepEqual(
    lines
      .filter((line) => /\b(?:store|atomic)\b/.test(line))
      .map((line) => line.replace(/.*(store|atomic).*?(\[.*\]).*/, '$1 $2')),
    ['store [v]', 'atomic [v + 8]', 'store [v]'],
  );
});

const LIST = `
  interface Node { value: u64; next: Node | null }
  const Node: StructLayout<Node> = struct({ value: u64, next: pointer(() => Node) });
  export const pages = arena({ maxEntries: 4 });
  export const head = global(pointer(() => Node));`;

test('a program that only follows pointers names the arena, one that allocates does so once', () => {
  for (const optimise of [true, false]) {
    const { follow, take } = codeOf(
      `${LIST}
      export const follow = xdp(() => {
        const node = head.value;
        return node !== null && node.value > 0n ? XDP_PASS : XDP_DROP;
      });
      export const take = syscall(() => {
        const node = pages.allocate(Node);
        if (node !== null) node.value = 1n;
        return 0;
      });`,
      optimise,
    );
    assert.equal(countOf(follow, /, map_by_fd/g), 1, follow);
    assert.equal(countOf(follow, /cast_kern/g), 1, follow);
    assert.equal(countOf(take, /, map_by_fd/g), 1, take);
  }
});

test('a program that has nothing to do with the arena is spared its name', () => {
  const { other } = codeOf(`${LIST} export const other = xdp(() => (head.value === null ? XDP_PASS : XDP_DROP));`);
  assert.equal(countOf(other, /lddw/g), 1, other);
});

test('a loop casts an address that stays the same once, before it', () => {
  const { main } = codeOf(`${LIST}
    export const main = xdp(() => {
      const node = head.value;
      if (node === null) return XDP_DROP;
      for (const i of range(1000)) node.value += u64(i);
      return XDP_PASS;
    });`);
  const [before, body] = main.split(/^L\d+:$/m, 2);
  assert.match(before, /cast_kern/);
  assert.doesNotMatch(body ?? '', /cast_kern/);
});

test('casts are assembled and printed', () => {
  const bytes = (text: string): string => Buffer.from(encode(assemble(text))).toString('hex');
  assert.equal(bytes('cast_kern %r1, %r2'), 'bf21010001000000');
  assert.equal(bytes('cast_user %r3, %r4'), 'bf43010000000100');
  assert.equal(
    disassemble(assemble('cast_kern %r1, %r2\ncast_user %r3, %r4')).replaceAll(/\s+/g, ' ').trim(),
    'cast_kern %r1, %r2 cast_user %r3, %r4',
  );
});

test('what has no meaning in an arena is refused by name and place', () => {
  const found = refusals(`${LIST}
    const Other = struct({ n: u32 });
    export const entries = array({ value: Node, maxEntries: 1 });
    export const second = arena({ maxEntries: 1 });
    export const main = syscall(() => {
      const node = pages.allocate(Node);
      node.value = 1n;
      if (node === null) return 1;
      head.value = pages.allocate(Other);
      const entry = entries.lookup(0);
      if (entry === null) return 2;
      node.next = entry;
      pages.free(entry);
      bpf_get_current_comm(node);
      pages.allocate(array(Node, 1000), 3);
      pages.empty();
      return i32(atomicOr(node, 'value', 1n));
    });`);
  assert.deepEqual(
    found.map((line) => line.replace(/^\d+:\d+ /, '')),
    [
      'the arena pages is there already; an object has one; make it larger',
      'node may be null; test it before: if (node === null) return …',
      'head.value points to Node, and this is Other',
      'Node lies in no arena, and pointers to elsewhere are not kept; keep what it points to',
      'Node does not lie in the arena',
      'helpers do not write into an arena; pass local(Type), and copy it there',
      'array(Node, 1000) needs 4 pages; leave the number out: the compiler knows it',
      'arena maps have no empty; they have allocate, free, at, addressOf',
      'this step gives no former value in an arena; loop with atomicCompareExchange, or leave the value',
    ],
  );
});

test('without an arena a pointer in memory of one’s own leads nowhere', () => {
  const found = refusals(`
    const Node = struct({ n: u32 });
    export const head = global(pointer(Node));
    export const main = xdp(() => (head.value === null ? XDP_PASS : XDP_DROP));`);
  assert.equal(found.length, 1);
  assert.match(found[0], /leads into an arena, and there is none; export const pages = arena/);
});

test('a variable that was only null before a loop leads into one kind of memory', () => {
  const found = refusals(`${LIST}
    export const entries = array({ value: Node, maxEntries: 1 });
    export const main = syscall(() => {
      const node = pages.allocate(Node);
      if (node === null) return 1;
      let last: Node | null = null;
      for (const _ of range(3)) {
        node.next = last;
        last = entries.lookup(0);
      }
      return 0;
    });`);
  assert.deepEqual(
    found.map((line) => line.replace(/^\d+:\d+ /, '')),
    ['last leads into arena, and this into mapValue; use two variables'],
  );
});

test('what lies beyond 32 KB in a value is reached', { skip: kernelSkip }, () => {
  const { globals } = runBoth(`
    const Large = struct({ bytes: array(u8, 100000), after: u64 });
    export const values = array({ value: Large, maxEntries: 1 });
    export const numbers = global(array(u32, 20000));
    export const out = global(array(u64, 3));
    export const main = xdp(() => {
      const large = values.lookup(0);
      if (large === null) return XDP_DROP;
      large.bytes[40000] = 3;
      large.bytes[99999] = 7;
      large.after = 5n;
      numbers.value[15000] = 9;
      let sum: u64 = 0n;
      for (const i of range(40001)) sum += u64(large.bytes[i]);
      out.value[0] = sum;
      out.value[1] = large.after + u64(large.bytes[99999]);
      out.value[2] = u64(numbers.value[15000]);
      return XDP_PASS;
    });`);
  assert.deepEqual(globals.out, [3n, 12n, 9n]);
});
