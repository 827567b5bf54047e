/**
 * `.BTF.ext`: what is written is read back, and broken tables are named.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { decodeExt, type ExtSection, encodeExt } from '../../../src/bpf/object/btf/ext.ts';
import { BtfError } from '../../../src/bpf/object/btf/records.ts';
import { joinSections } from '../../../src/bpf/object/btf/records-writer.ts';
import { StringTable } from '../../../src/bpf/object/btf/strings.ts';
import { Btf } from '../../../src/bpf/object/btf/table.ts';

const sections: readonly ExtSection[] = [
  {
    name: 'xdp',
    functions: [{ offset: 0, typeId: 7 }],
    lines: [
      { offset: 0, file: 'a.bpf.ts', text: 'const a = 1;', line: 3, column: 7 },
      { offset: 24, file: 'a.bpf.ts', text: '', line: 4_000_000, column: 1000 },
    ],
    core: [{ offset: 8, typeId: 2, access: '0:1', kind: 0 }],
  },
  { name: '.text', functions: [{ offset: 16, typeId: 9 }], lines: [], core: [] },
];

function encoded(): { readonly bytes: Uint8Array; readonly btf: Btf } {
  const strings = new StringTable();
  const bytes = encodeExt(sections, strings);
  return { bytes, btf: Btf.decode(joinSections(new Uint32Array(0), strings.bytes())) };
}

test('functions, lines and records are read back by section', () => {
  const { bytes, btf } = encoded();
  assert.deepEqual([...decodeExt(bytes, btf).values()], sections);
});

test('a line or column that is too large for its bits is cut, and the other one stays', () => {
  const strings = new StringTable();
  const far = { offset: 0, file: 'a', text: 'b', line: 1 << 23, column: 5000 };
  const bytes = encodeExt([{ name: 'xdp', functions: [], lines: [far], core: [] }], strings);
  const btf = Btf.decode(joinSections(new Uint32Array(0), strings.bytes()));
  const [line] = decodeExt(bytes, btf).get('xdp')?.lines ?? [];
  assert.deepEqual([line.line, line.column], [(1 << 22) - 1, 1023]);
});

test('a table that is cut off, or whose records are too short, is named', () => {
  const { bytes, btf } = encoded();
  const patched = (at: number, value: number): Uint8Array => {
    const copy = bytes.slice();
    new DataView(copy.buffer).setUint32(at, value, true);
    return copy;
  };
  assert.throws(() => decodeExt(bytes.subarray(0, 12), btf), /too short/);
  assert.throws(() => decodeExt(bytes.subarray(0, bytes.length - 4), btf), /relocations reaches? beyond/);
  assert.throws(() => decodeExt(patched(0, 7), btf), /magic or version/);
  assert.throws(() => decodeExt(patched(32, 4), btf), /function information: records of 4 bytes/);
  assert.throws(() => decodeExt(patched(40, 0xffffffff), btf), /function information of xdp is cut off/);
  assert.throws(() => decodeExt(patched(36, 0xffff), btf), BtfError);
});
