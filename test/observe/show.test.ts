/**
 * What was collected as text: tables, histograms, addresses, names of functions.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { KeyPart } from '../../src/observe/event-types.ts';
import {
  histogramRows,
  KernelSymbols,
  showCounts,
  showHistogram,
  showPart,
  slotBounds,
} from '../../src/observe/show.ts';
import { parseFormat } from '../../src/observe/tracepoints.ts';

function part(line: string): KeyPart {
  const [field] = parseFormat('a:b', `\tfield:${line};\toffset:8;\tsize:16;\tsigned:0;`).fields;
  return { kind: 'field', label: field.name, field, type: '' };
}

test('addresses are shown as addresses, characters as text, other bytes in hexadecimal', () => {
  const [v4] = parseFormat('a:b', '\tfield:__u8 daddr[4];\toffset:8;\tsize:4;\tsigned:0;').fields;
  assert.equal(showPart({ kind: 'field', label: '', field: v4, type: '' }, [192, 0, 2, 1]), '192.0.2.1');
  const six = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
  assert.equal(showPart(part('__u8 saddr_v6[16]'), six), '2001:db8::1');
  assert.equal(showPart(part('char comm[16]'), [...Buffer.from('curl'), 0, 7, 7]), 'curl');
  assert.equal(showPart(part('__u8 raw[16]'), six), '20010db8000000000000000000000001');
  assert.equal(showPart({ kind: 'number', label: 'x' }, 5n), '5');
});

test('a histogram’s slots hold powers of two and leave nothing out', () => {
  assert.deepEqual(slotBounds(0), [0n, 0n]);
  assert.deepEqual(slotBounds(1), [1n, 1n]);
  assert.deepEqual(slotBounds(4), [8n, 15n]);
  assert.deepEqual(slotBounds(64), [1n << 63n, (1n << 64n) - 1n]);
  assert.deepEqual(
    histogramRows([0n, 0n, 5n, 0n, 1n, 0n]).map(({ low, count }) => [low, count]),
    [
      [2n, 5n],
      [4n, 0n],
      [8n, 1n],
    ],
  );
  assert.match(showHistogram('x', histogramRows([0n, 1n, 40n])), /^x\n {4}1 {3}1 {2}█\n2 – 3 {2}40 {2}█{40}$/);
  assert.equal(showHistogram('x', []), 'x: nothing yet');
});

test('a table shows the largest counts and says how many more there are', () => {
  const rows = [3n, 2n, 1n].map((count) => ({ key: [`key${count}`], count }));
  assert.equal(showCounts(['name'], rows, 2), 'name  count\nkey3      3\nkey2      2\n… 1 more');
});

test('an address is named by the function that it lies in', () => {
  const symbols = new KernelSymbols('ffffffff81000000 T first\nffffffff81000100 t second\nffffffff81000050 d data\n');
  assert.equal(symbols.name(0xffffffff81000000n), 'first');
  assert.equal(symbols.name(0xffffffff810000ffn), 'first+0xff');
  assert.equal(symbols.name(0xffffffff81000104n), 'second+0x4');
  assert.equal(symbols.name(0x10n), '0x10');
  // Without privileges every address reads 0.
  assert.equal(new KernelSymbols('0000000000000000 T hidden\n').name(0x10n), '0x10');
});
