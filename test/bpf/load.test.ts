/**
 * The user's side: a program loaded by its source, with the types of its module; addresses as map keys have them.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { CompileErrors, compileText, ipv4, ipv4Text, ipv6, ipv6Text, load, writeElf } from '../../src/bpf/index.ts';
import { kernelSkip } from '../support/bpf.ts';

const drop = new URL('./programs/sample-drop.bpf.ts', import.meta.url);

/** An Ethernet frame with an IPv4 header from this address. */
function packetFrom(source: string): Uint8Array {
  const packet = new Uint8Array(64);
  packet.set([8, 0], 12);
  packet[14] = 0x45;
  new DataView(packet.buffer).setUint32(26, ipv4(source));
  return packet;
}

test('a program drops what its map names, and counts it', { skip: kernelSkip }, async () => {
  using object = await load<typeof import('./programs/sample-drop.bpf.ts')>(drop);
  object.maps.blocked.set(ipv4('203.0.113.9'), 0n);

  const verdicts = ['203.0.113.9', '203.0.113.8', '203.0.113.9'].map(
    (source) => object.programs.filter.testRun({ data: packetFrom(source) }).result,
  );

  assert.deepEqual(verdicts, [1, 2, 1]);
  assert.equal(object.maps.blocked.get(ipv4('203.0.113.9')), 2n);
  assert.deepEqual([...object.maps.blocked.entries()], [[ipv4('203.0.113.9'), 2n]]);
});

test('keys and values have the module’s types', { skip: kernelSkip }, async () => {
  using object = await load<typeof import('./programs/sample-drop.bpf.ts')>(drop);
  // @ts-expect-error: the value is a u64, a bigint
  assert.throws(() => object.maps.blocked.set(1, '0'));
  // @ts-expect-error: the key is a number
  assert.throws(() => object.maps.blocked.get('203.0.113.9'));
  // @ts-expect-error: there is no such program
  assert.equal(object.programs.nothing, undefined);
});

test('an object that was built before is loaded by the same call', { skip: kernelSkip }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-load-'));
  try {
    const { objectOf } = await import('../../src/bpf/load.ts');
    const file = join(folder, 'drop.o');
    writeFileSync(file, writeElf(await objectOf(drop)));
    using object = await load<typeof import('./programs/sample-drop.bpf.ts')>(file);
    object.maps.blocked.set(ipv4('192.0.2.1'), 7n);
    assert.equal(object.programs.filter.testRun({ data: packetFrom('192.0.2.1') }).result, 1);
    assert.equal(object.maps.blocked.get(ipv4('192.0.2.1')), 8n);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a source that does not compile is refused with its lines', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-load-'));
  try {
    const file = join(folder, 'wrong.bpf.ts');
    writeFileSync(file, "import { xdp } from 'millrace/bpf';\nexport const a = xdp(() => 2.5);\n");
    await assert.rejects(load(file), (error) => error instanceof CompileErrors && error.errors[0].line === 2);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('compiling is deterministic', () => {
  const text = [
    "import { hash, u32, u64, xdp } from 'millrace/bpf';",
    'export const seen = hash({ key: u32, value: u64, maxEntries: 8 });',
    'export const a = xdp(() => (seen.lookup(1) === null ? 1 : 2));',
  ].join('\n');
  assert.deepEqual(writeElf(compileText(text)), writeElf(compileText(text)));
});

test('IPv4 addresses are numbers in the host’s order', () => {
  assert.equal(ipv4('203.0.113.9'), 0xcb007109);
  assert.equal(ipv4Text(0xcb007109), '203.0.113.9');
  assert.equal(ipv4Text(ipv4('255.255.255.255')), '255.255.255.255');
  for (const wrong of ['203.0.113', '203.0.113.256', '', '::1']) assert.throws(() => ipv4(wrong), RangeError);
  for (const wrong of [-1, 2 ** 32, 1.5]) assert.throws(() => ipv4Text(wrong), RangeError);
});

const hexOf = (words: readonly number[]): string => words.map((word) => word.toString(16).padStart(8, '0')).join('');

test('IPv6 addresses are four numbers, the first the most significant', () => {
  const cases = [
    ['::', '00000000000000000000000000000000'],
    ['::1', '00000000000000000000000000000001'],
    ['2001:db8::1', '20010db8000000000000000000000001'],
    ['fe80::1:2:3', 'fe800000000000000000000100020003'],
    ['::ffff:192.0.2.1', '00000000000000000000ffffc0000201'],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
  ] as const;
  for (const [text, bytes] of cases) {
    assert.equal(hexOf(ipv6(text)), bytes, text);
    assert.deepEqual(ipv6(ipv6Text(Buffer.from(bytes, 'hex'))), ipv6(text));
    assert.deepEqual(ipv6(ipv6Text(ipv6(text))), ipv6(text));
  }
  assert.equal(ipv6Text(ipv6('2001:DB8:0:0::1')), '2001:db8::1');
  for (const wrong of ['fe80::1%eth0', '2001:db8', '192.0.2.1', '']) assert.throws(() => ipv6(wrong), RangeError);
  assert.throws(() => ipv6Text([1, 2]), RangeError);
});
