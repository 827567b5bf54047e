/**
 * The compiler from end to end, on the program that the design shows: from its text to packets dropped in the kernel.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { CompileErrors, compile, compileText } from '../../../src/bpf/compiler/compile.ts';
import { loadObject } from '../../../src/bpf/loader/collection.ts';
import { writeElf } from '../../../src/bpf/object/elf/write.ts';
import { kernelSkip } from '../../support/bpf.ts';

const drop = `import { hash, xdp, packet, Ethernet, Ipv4, XDP_DROP, XDP_PASS, u32, u64 } from 'millrace/bpf';

export const blocked = hash({ key: u32, value: u64, maxEntries: 100_000 });

export const filter = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  if (ethernet === null || ethernet.protocol !== 0x0800) return XDP_PASS;
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ip === null) return XDP_PASS;
  const hits = blocked.lookup(ip.source);
  if (hits === null) return XDP_PASS;
  hits.value += 1n;
  return XDP_DROP;
});
`;

const XDP_DROP = 1;
const XDP_PASS = 2;

/** An IPv4 packet from an address, given as a number. */
function packetFrom(source: number, protocol = 0x0800): Uint8Array {
  const bytes = new Uint8Array(64);
  const view = new DataView(bytes.buffer);
  view.setUint16(12, protocol);
  view.setUint8(14, 0x45);
  view.setUint32(26, source);
  return bytes;
}

test('a file is compiled, loaded, and drops what it is told to', { skip: kernelSkip }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-compile-'));
  try {
    const path = join(directory, 'drop.bpf.ts');
    writeFileSync(path, drop);
    for (const optimise of [false, true]) {
      using object = loadObject(compile(path, { optimise, check: true }));
      const { blocked } = object.maps;
      blocked.set(0xcb007109, 0n);
      const { filter } = object.programs;
      const verdict = (data: Uint8Array): number => filter.testRun({ data }).result;
      assert.equal(verdict(packetFrom(0xcb007109)), XDP_DROP);
      assert.equal(verdict(packetFrom(0xcb007109)), XDP_DROP);
      assert.equal(verdict(packetFrom(0xcb00710a)), XDP_PASS);
      assert.equal(verdict(packetFrom(0xcb007109, 0x86dd)), XDP_PASS);
      assert.equal(verdict(packetFrom(0xcb007109).subarray(0, 33)), XDP_PASS);
      assert.equal(blocked.get(0xcb007109), 2n);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('one source gives one object, byte for byte', () => {
  const [one, other] = [compileText(drop), compileText(drop)].map((object) => writeElf(object));
  assert.deepEqual(one, other);
});

test('instructions know their line and column', () => {
  const { functions } = compileText(drop, 'drop.bpf.ts');
  const places = functions[0].lines.map(({ file, line, text }) => `${file}:${line}: ${text.trim()}`);
  assert.ok(places.includes('drop.bpf.ts:12: hits.value += 1n;'), places.join('\n'));
});

test('a file that is not there is an error of the file system', () => {
  assert.throws(
    () => compile('/nowhere/at-all.bpf.ts'),
    (error) =>
      error instanceof Error && 'code' in error && error.code === 'ENOENT' && !(error instanceof CompileErrors),
  );
});
