/**
 * The optimiser on memory: what is loaded once, what becomes a value, which accesses are joined, and what a call or another pointer
 * keeps apart.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { Builder } from '../../../src/bpf/compiler/builder.ts';
import type { Value } from '../../../src/bpf/compiler/ir.ts';
import { helper, lookup, optimisedLines, random } from '../../support/bpf-passes.ts';

const adjustHead = helper(44, 'bpf_xdp_adjust_head');

/** Of the lines, those that say `load`. */
const loads = (lines: readonly string[]): string[] => lines.filter((line) => /\bload\b/.test(line));
const stores = (lines: readonly string[]): string[] => lines.filter((line) => /\bstore\b/.test(line));

test('what a load gave is not loaded again, nor what a store left', () => {
  const lines = optimisedLines(['mapValue', 'scalar'], (b, pointer, x) => {
    const first = b.load(4, false, pointer);
    b.store(8, pointer, x, { offset: 8 });
    const again = b.load(4, false, pointer);
    b.return(
      b.binary('add', 64, b.binary('add', 64, first, again), b.load(8, false, pointer, 'scalar', { offset: 8 })),
    );
  });
  assert.deepEqual(loads(lines), ['load 4 [v]']);
});

test('a store through another pointer, and a call, end what is known of memory', () => {
  const write = (between: (b: Builder, other: Value) => void) =>
    loads(
      optimisedLines(['mapValue', 'mapValue'], (b, pointer, other) => {
        const first = b.load(4, false, pointer);
        between(b, other);
        b.return(b.binary('sub', 64, first, b.load(4, false, pointer)));
      }),
    ).length;
  assert.equal(
    write((b, other) => b.store(4, other, b.constant(1))),
    2,
  );
  assert.equal(
    write((b) => {
      b.call({ kind: 'function', name: 'other' }, []);
    }),
    2,
  );
  assert.equal(
    write((b) => {
      b.call(random, []);
    }),
    0,
  );
});

test('packets and values of maps do not overlap', () => {
  const lines = optimisedLines(['mapValue', 'packet'], (b, value, packet) => {
    const first = b.load(4, false, value);
    b.store(4, packet, b.constant(1));
    b.return(b.binary('xor', 64, first, b.load(4, false, value)));
  });
  assert.deepEqual(lines, ['store 4 [v] = 1', 'return 0']);
});

test('the packet is found again after a helper that may move it, and only then', () => {
  const write = (call: Parameters<Builder['call']>[0]) =>
    loads(
      optimisedLines(['context'], (b, context) => {
        const first = b.load(4, false, context, 'packet');
        b.call(call, [context, b.constant(0)]);
        const second = b.load(4, false, context, 'packet');
        b.return(b.binary('sub', 64, first, second));
      }),
    );
  assert.equal(write(adjustHead).length, 2);
  assert.equal(write(random).length, 1);
});

test('volatile loads are neither joined nor left out', () => {
  const lines = optimisedLines(['mapValue'], (b, value) => {
    b.load(4, false, value, 'scalar', { volatile: true });
    b.load(4, false, value, 'scalar', { volatile: true });
    b.return(b.constant(0));
  });
  assert.deepEqual(lines, ['volatile load 4 [v]', 'volatile load 4 [v]', 'return 0']);
});

test('a struct on the stack that is cleared and used by fields becomes values', () => {
  const lines = optimisedLines(['scalar', 'scalar'], (b, x, y) => {
    const slot = b.slot(16, 8, 'flow');
    b.store(8, b.stackAddress(slot), b.constant(0));
    b.store(8, b.stackAddress(slot), b.constant(0), { offset: 8 });
    b.store(4, b.stackAddress(slot), x, { offset: 4 });
    b.store(2, b.binary('add', 64, b.stackAddress(slot), b.constant(8), 'stack'), y);
    const first = b.load(4, false, b.stackAddress(slot), 'scalar', { offset: 4 });
    const second = b.load(2, true, b.stackAddress(slot), 'scalar', { offset: 8 });
    const third = b.load(1, false, b.stackAddress(slot), 'scalar', { offset: 10 });
    b.return(b.binary('add', 64, b.binary('add', 64, first, second), third));
  });
  assert.deepEqual(lines, ['zext32 v', 'sext16 v', 'add64 v, v', 'return v']);
});

test('a variable in memory that both sides of a branch write becomes a phi', () => {
  const lines = optimisedLines(['scalar'], (b, x) => {
    const slot = b.slot(8, 8, 'n');
    const [yes, no, end] = [b.block(), b.block(), b.block()];
    b.branch('eq', 64, x, b.constant(5), yes, no);
    for (const [block, value] of [
      [yes, 1],
      [no, 2],
    ] as const) {
      b.seal(block);
      b.enter(block);
      b.store(8, b.stackAddress(slot), b.constant(value));
      b.jump(end);
    }
    b.seal(end);
    b.enter(end);
    b.return(b.load(8, false, b.stackAddress(slot)));
  });
  assert.deepEqual(lines.sort(), ['branch eq64 v, 5: b, b', 'return 1', 'return 2']);
});

test('memory that a helper reads stays, with its padding, and in as few stores as can be', () => {
  const lines = optimisedLines(['scalar'], (b, x) => {
    const slot = b.slot(8, 4, 'key');
    b.store(4, b.stackAddress(slot), b.constant(0));
    b.store(4, b.stackAddress(slot), b.constant(0), { offset: 4 });
    b.store(4, b.stackAddress(slot), x);
    b.store(2, b.stackAddress(slot), b.constant(7), { offset: 4 });
    b.call(lookup, [b.mapAddress('m'), b.stackAddress(slot)], 'mapValue');
    b.return(b.constant(0));
  });
  assert.deepEqual(stores(lines), ['store 4 [v] = v', 'store 4 [v + 4] = 7']);
});

test('adjacent numbers are stored at once, on the stack where its alignment can be raised', () => {
  const lines = optimisedLines([], (b) => {
    const slot = b.slot(12, 4, 'key');
    for (const [offset, value] of [1, 2, 3].entries()) {
      b.store(4, b.stackAddress(slot), b.constant(value), { offset: offset * 4 });
    }
    for (let offset = 0; offset < 4; offset++) b.store(1, b.stackAddress(slot), b.constant(0), { offset });
    b.call(lookup, [b.mapAddress('m'), b.stackAddress(slot)], 'mapValue');
    b.return(b.constant(0));
  });
  // 0x2_0000_0000 is no number that an instruction holds, so the first 8 bytes are two stores.
  assert.deepEqual(stores(lines), ['store 4 [v] = 0', 'store 4 [v + 4] = 2', 'store 4 [v + 8] = 3']);
  const zeros = optimisedLines([], (b) => {
    const slot = b.slot(16, 4, 'key');
    for (let offset = 0; offset < 16; offset += 2) b.store(2, b.stackAddress(slot), b.constant(0), { offset });
    b.call(lookup, [b.mapAddress('m'), b.stackAddress(slot)], 'mapValue');
    b.return(b.constant(0));
  });
  assert.deepEqual(stores(zeros), ['store 8 [v] = 0', 'store 8 [v + 8] = 0']);
});

test('addresses are swapped in wide steps, each loaded before it is overwritten', () => {
  const lines = optimisedLines(['packet'], (b, packet) => {
    const source = Array.from({ length: 6 }, (_, offset) => b.load(1, false, packet, 'scalar', { offset }));
    for (let offset = 0; offset < 6; offset++) {
      b.store(1, packet, b.load(1, false, packet, 'scalar', { offset: offset + 6 }), { offset });
    }
    for (const [offset, value] of source.entries()) b.store(1, packet, value, { offset: offset + 6 });
    b.return(b.constant(0));
  });
  assert.deepEqual(lines, [
    ...['load 4 [v]', 'load 2 [v + 4]', 'load 4 [v + 6]', 'store 4 [v] = v', 'load 2 [v + 10]', 'store 2 [v + 4] = v'],
    ...['store 4 [v + 6] = v', 'store 2 [v + 10] = v', 'return 0'],
  ]);
});

test('copies that overlap are not widened', () => {
  const lines = optimisedLines(['packet'], (b, packet) => {
    for (let offset = 0; offset < 4; offset++) {
      b.store(1, packet, b.load(1, false, packet, 'scalar', { offset }), { offset: offset + 1 });
    }
    b.return(b.constant(0));
  });
  assert.deepEqual(stores(lines), [
    'store 1 [v + 1] = v',
    'store 1 [v + 2] = v',
    'store 1 [v + 3] = v',
    'store 1 [v + 4] = v',
  ]);
});

test('bytes put together by shifts are loaded at once and swapped', () => {
  const read = (isBig: boolean) =>
    optimisedLines(['packet'], (b, packet) => {
      let value: Value = b.load(1, false, packet, 'scalar', { offset: isBig ? 3 : 0 });
      for (let byte = 1; byte < 4; byte++) {
        const next = b.load(1, false, packet, 'scalar', { offset: isBig ? 3 - byte : byte });
        value = b.binary('or', 64, value, b.binary('shl', 64, next, b.constant(byte * 8)));
      }
      b.return(value);
    });
  assert.deepEqual(read(false), ['load 4 [v]', 'return v']);
  assert.deepEqual(read(true), ['load 4 [v]', 'swap32 v', 'return v']);
});

test('bytes with a store between them are loaded one by one', () => {
  const lines = optimisedLines(['packet'], (b, packet) => {
    const low = b.load(1, false, packet);
    b.store(1, packet, b.constant(9), { offset: 1 });
    const high = b.load(1, true, packet, 'scalar', { offset: 2 });
    b.store(1, packet, high, { offset: 0 });
    b.return(
      b.binary('or', 64, b.binary('shl', 64, b.load(1, false, packet, 'scalar', { offset: 2 }), b.constant(8)), low),
    );
  });
  assert.equal(loads(lines).filter((line) => line.startsWith('load 2')).length, 0, lines.join('\n'));
});

test('a store that is overwritten before anybody looks is left out, also in a packet', () => {
  const write = (isCallBetween: boolean) =>
    stores(
      optimisedLines(['packet', 'scalar'], (b, packet, x) => {
        b.store(2, packet, b.constant(0), { offset: 10 });
        if (isCallBetween) b.call(random, []);
        b.store(2, packet, x, { offset: 10 });
        b.return(b.constant(0));
      }),
    );
  assert.deepEqual(write(false), ['store 2 [v + 10] = v']);
  assert.deepEqual(write(true), ['store 2 [v + 10] = 0', 'store 2 [v + 10] = v']);
});

test('a load that only one way needs is done on that way, but not past a write', () => {
  const write = (isWritten: boolean) =>
    optimisedLines(['packet', 'scalar'], (b, packet, x) => {
      const [yes, no] = [b.block(), b.block()];
      const value = b.load(4, false, packet);
      if (isWritten) b.store(1, packet, x);
      b.branch('eq', 64, x, b.constant(0), yes, no);
      b.seal(yes);
      b.seal(no);
      b.enter(yes);
      b.return(value);
      b.enter(no);
      b.return(b.constant(0));
    });
  assert.deepEqual(write(false), ['branch eq64 v, 0: b, b', 'load 4 [v]', 'return v', 'return 0']);
  assert.deepEqual(write(true), ['load 4 [v]', 'store 1 [v] = v', 'branch eq64 v, 0: b, b', 'return v', 'return 0']);
});
