/**
 * The optimiser on branches, loops and checks: what becomes direct, what is written out, and what stays where a check put it.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { Builder } from '../../../src/bpf/compiler/builder.ts';
import type { Space, Value } from '../../../src/bpf/compiler/ir.ts';
import { lookup, optimisedLines, random } from '../../support/bpf-passes.ts';

const variable = (name: string, space: Space = 'scalar') => ({ name, space });

/** Enters a new block that only what is built so far leads to. */
function enter(b: Builder, block: ReturnType<Builder['block']>): void {
  b.seal(block);
  b.enter(block);
}

test('&& as a value that is tested next is two branches', () => {
  const lines = optimisedLines(['scalar', 'scalar'], (b, x, y) => {
    const both = variable('both');
    const [second, neither, join, yes, no] = [b.block(), b.block(), b.block(), b.block(), b.block()];
    b.branch('ugt', 64, x, b.constant(1), second, neither);
    enter(b, second);
    b.write(both, b.compare('ugt', 64, y, b.constant(2)));
    b.jump(join);
    enter(b, neither);
    b.write(both, b.constant(0));
    b.jump(join);
    enter(b, join);
    b.branch('ne', 64, b.read(both), b.constant(0), yes, no);
    enter(b, yes);
    b.return(b.constant(1));
    enter(b, no);
    b.return(b.constant(2));
  });
  assert.deepEqual(lines, ['branch ugt64 v, 1: b, b', 'branch ugt64 v, 2: b, b', 'return 1', 'return 2']);
});

/** The bytes of the packet behind `offset`, or null, as the language's `packet()` gives them. */
function packet(b: Builder, context: Value, offset: number, bytes: number): Value {
  const pointer = variable(`at${offset}`, 'packet');
  const data = b.load(4, false, context, 'packet');
  const end = b.load(4, false, context, 'packetEnd', { offset: 4 });
  const start = b.binary('add', 64, data, b.constant(offset), 'packet');
  const [outside, inside, join] = [b.block(), b.block(), b.block()];
  b.branch('ugt', 64, b.binary('add', 64, start, b.constant(bytes), 'packet'), end, outside, inside);
  enter(b, outside);
  b.write(pointer, b.constant(0));
  b.jump(join);
  enter(b, inside);
  b.write(pointer, start);
  b.jump(join);
  enter(b, join);
  return b.read(pointer);
}

/** Returns `result` where the pointer is null. */
function orReturn(b: Builder, pointer: Value, result: number): void {
  const [none, some] = [b.block(), b.block()];
  b.branch('eq', 64, pointer, b.constant(0), none, some);
  enter(b, none);
  b.return(b.constant(result));
  enter(b, some);
}

test('a pointer that is null or in the packet needs one comparison, with the packet’s end', () => {
  const lines = optimisedLines(['context'], (b, context) => {
    const ip = packet(b, context, 14, 20);
    orReturn(b, ip, 2);
    b.return(b.load(1, false, ip, 'scalar', { offset: 9 }));
  });
  assert.deepEqual(lines, [
    ...['load 4 [v]: packet', 'load 4 [v + 4]: packetEnd', 'add64 v, 34: packet', 'branch ugt64 v, v: b, b'],
    ...['load 1 [v + 23]', 'return v', 'return 2'],
  ]);
});

test('headers asked for in a row need the farthest check only', () => {
  const lines = optimisedLines(['context'], (b, context) => {
    const ethernet = packet(b, context, 0, 14);
    orReturn(b, ethernet, 2);
    const ip = packet(b, context, 14, 20);
    orReturn(b, ip, 2);
    b.return(b.binary('add', 64, b.load(1, false, ethernet), b.load(1, false, ip)));
  });
  assert.equal(lines.filter((line) => line.startsWith('branch')).length, 1, lines.join('\n'));
  assert.ok(lines.includes('add64 v, 34: packet'), lines.join('\n'));
});

test('a header that is looked at before the next is asked for keeps its own check', () => {
  const lines = optimisedLines(['context'], (b, context) => {
    const ethernet = packet(b, context, 0, 14);
    orReturn(b, ethernet, 2);
    const [other, same] = [b.block(), b.block()];
    b.branch('ne', 32, b.load(1, false, ethernet), b.constant(1), other, same);
    enter(b, other);
    b.return(b.constant(1));
    enter(b, same);
    const ip = packet(b, context, 14, 20);
    orReturn(b, ip, 2);
    b.return(b.load(1, false, ip));
  });
  assert.deepEqual(
    lines.filter((line) => line.startsWith('branch') || line.startsWith('add')),
    [
      ...['add64 v, 14: packet', 'branch ugt64 v, v: b, b', 'branch ne32 v, 1: b, b'],
      ...['add64 v, 34: packet', 'branch ugt64 v, v: b, b'],
    ],
  );
});

/** `for (let i = 0; i < end; i++) body(i)`, with a signed counter of 32 bits, which is extended in each turn. */
function loop(b: Builder, end: Value, body: (i: Value) => void): void {
  const i = variable('i');
  b.write(i, b.constant(0));
  const [head, inside, after] = [b.block(), b.block(), b.block()];
  b.jump(head);
  b.enter(head);
  b.branch('slt', 32, b.read(i), end, inside, after);
  enter(b, inside);
  body(b.read(i));
  b.write(i, b.unary('sext', 4, b.binary('add', 32, b.read(i), b.constant(1))));
  b.jump(head);
  b.seal(head);
  b.seal(after);
  b.enter(after);
}

test('a counter that stays below a bound is not extended in each turn', () => {
  const lines = optimisedLines(['scalar', 'memory'], (b, n, pointer) => {
    loop(b, n, (i) => b.store(8, pointer, i));
    b.return(b.constant(0));
  });
  assert.ok(!lines.some((line) => line.startsWith('sext')), lines.join('\n'));
});

test('a short loop is written out, each turn with its number', () => {
  const lines = optimisedLines(['packet'], (b, pointer) => {
    const sum = variable('sum');
    b.write(sum, b.constant(0));
    loop(b, b.constant(3), (i) => {
      const address = b.binary('add', 64, pointer, b.binary('mul', 64, i, b.constant(2)), 'packet');
      b.write(sum, b.binary('add', 64, b.read(sum), b.load(2, false, address)));
    });
    b.return(b.read(sum));
  });
  assert.deepEqual(lines, ['load 2 [v]', 'load 2 [v + 2]', 'add64 v, v', 'load 2 [v + 4]', 'add64 v, v', 'return v']);
});

test('a long loop stays a loop', () => {
  const lines = optimisedLines(['memory'], (b, pointer) => {
    loop(b, b.constant(1000), (i) => b.store(8, pointer, i));
    b.return(b.constant(0));
  });
  assert.equal(lines.filter((line) => line.startsWith('branch')).length, 1, lines.join('\n'));
});

test('what is the same in each turn is computed before the loop, but no load that a check in it allows', () => {
  const lines = optimisedLines(['context', 'scalar', 'scalar', 'packet'], (b, context, n, x, pointer) => {
    const out = variable('out');
    b.write(out, b.constant(0));
    loop(b, n, () => {
      const length = b.load(4, false, context, 'scalar', { offset: 8 });
      const scaled = b.binary('mul', 64, length, x);
      b.write(out, b.binary('xor', 64, b.read(out), b.binary('add', 64, scaled, b.load(4, false, pointer))));
    });
    b.return(b.read(out));
  });
  const head = lines.findIndex((line) => line.startsWith('phi'));
  assert.ok(lines.indexOf('load 4 [v + 8]') < head && lines.indexOf('load 4 [v + 8]') !== -1, lines.join('\n'));
  assert.ok(lines.indexOf('mul64 v, v') < head, lines.join('\n'));
  assert.ok(lines.indexOf('load 4 [v]') > head, lines.join('\n'));
});

test('a branch whose ways end alike is none, and blocks in a row are one', () => {
  const lines = optimisedLines(['scalar', 'memory'], (b, x, pointer) => {
    const [yes, no, end] = [b.block(), b.block(), b.block()];
    b.branch('eq', 64, x, b.constant(0), yes, no);
    enter(b, yes);
    b.jump(end);
    enter(b, no);
    b.jump(end);
    enter(b, end);
    b.store(8, pointer, x);
    b.return(b.constant(7));
  });
  assert.deepEqual(lines, ['store 8 [v] = v', 'return 7']);
});

test('what is never reached is gone, loops included', () => {
  const lines = optimisedLines(['scalar', 'memory'], (b, x, pointer) => {
    const [yes, no] = [b.block(), b.block()];
    b.branch('ult', 64, x, b.constant(0), yes, no);
    enter(b, yes);
    loop(b, x, (i) => b.store(8, pointer, i));
    b.return(b.constant(1));
    enter(b, no);
    b.return(b.constant(2));
  });
  assert.deepEqual(lines, ['return 2']);
});

test('a null test of a look-up stays on what the helper gave', () => {
  const lines = optimisedLines(['memory'], (b, key) => {
    const value = b.call(lookup, [b.mapAddress('m'), key], 'mapValue');
    orReturn(b, value, 1);
    b.call(random, []);
    orReturn(b, value, 3);
    b.return(b.load(8, false, value));
  });
  assert.equal(lines.filter((line) => line.startsWith('branch eq64 v, 0')).length, 1, lines.join('\n'));
});
