/**
 * Captures: what is written is read again, by us and by tcpdump; files of other byte orders, units and forms are
 * understood; and broken ones are refused with the place.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { CaptureError, type Frame, readCapture, writePcap, writePcapng } from '../../src/bpf/capture/pcap.ts';
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, udp } from '../support/packets.ts';
import { randomSource } from '../support/random.ts';

const sample = new URL('fixtures/traffic.pcap', import.meta.url);
const formats = { pcap: writePcap, pcapng: writePcapng };

const frames: Frame[] = [7, 60, 1514].map((size, index) => ({
  data: Uint8Array.from({ length: size }, (_, at) => (at * 7 + index) & 255),
  length: size + index,
  timeNs: 1_700_000_000_123_456_789n + BigInt(index),
  linkType: 1,
}));

for (const [name, write] of Object.entries(formats)) {
  test(`frames survive being written as ${name}`, () => {
    assert.deepEqual(readCapture(write(frames)), frames);
    assert.deepEqual(readCapture(write([])), []);
  });

  test(`a ${name} file that ends within a frame is refused with the place`, () => {
    const whole = write(frames);
    assert.throws(() => readCapture(whole.subarray(0, whole.length - 5)), CaptureError);
  });
}

test('frames of several link types do not go into one file', () => {
  const mixed = [frames[0], { ...frames[1], linkType: 101 }];
  assert.throws(() => writePcap(mixed), /frames of link types 1 and 101/);
});

const tcpdumpSkip = spawnSync('tcpdump', ['--version']).status === 0 ? false : 'tcpdump is not installed';

for (const [name, write] of Object.entries(formats)) {
  test(`tcpdump reads what is written as ${name}`, { skip: tcpdumpSkip }, () => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-capture-'));
    try {
      const data = ethernet(
        { type: ETHERTYPE.ipv4 },
        ipv4({ protocol: PROTOCOL.udp }, udp({ source: 5, destination: 6 })),
      );
      const file = join(folder, 'one');
      writeFileSync(file, write([{ data, timeNs: 1_000_000_002n }]));
      const { stdout } = spawnSync('tcpdump', ['-nn', '-tt', '--nano', '-r', file], { encoding: 'utf8' });
      assert.match(stdout, /^1\.000000002 IP 192\.0\.2\.1\.5 > 192\.0\.2\.2\.6: UDP, length 0/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}

test('a capture of tcpdump’s is read', () => {
  const found = readCapture(readFileSync(sample));
  assert.ok(found.length > 100, `${found.length} frames`);
  assert.ok(found.every(({ data, length, linkType }) => data.length <= (length ?? 0) && linkType === 1));
  assert.ok(found.every(({ timeNs = 0n }) => timeNs > 1_500_000_000_000_000_000n));
});

/** A pcap file in the other byte order, with microseconds. */
function bigEndian(): Uint8Array {
  const view = new DataView(new ArrayBuffer(24 + 16 + 2));
  view.setUint32(0, 0xa1b2c3d4);
  view.setUint32(20, 1);
  view.setUint32(24, 3);
  view.setUint32(28, 4);
  view.setUint32(32, 2);
  view.setUint32(36, 9);
  view.setUint16(40, 0xabcd);
  return new Uint8Array(view.buffer);
}

test('the other byte order and microseconds are understood', () => {
  const expected = { data: Uint8Array.of(0xab, 0xcd), length: 9, timeNs: 3_000_004_000n, linkType: 1 };
  assert.deepEqual(readCapture(bigEndian()), [expected]);
});

/** A pcapng file with an unknown block, times in 2^-10 seconds, and a simple packet that the snapshot length cuts. */
function unusual(): Uint8Array {
  const blocks = [
    [0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff, 28],
    [1, 32, 101, 3, 9 | (1 << 16), 0x8a, 0, 32],
    [0x0bad, 16, 5, 16],
    [6, 36, 0, 0, 1536, 1, 1, 0xee, 36],
    [3, 20, 8, 0x44332211, 20],
  ];
  return new Uint8Array(Uint32Array.from(blocks.flat()).buffer);
}

test('blocks, units and packets of the rarer kinds are understood', () => {
  assert.deepEqual(readCapture(unusual()), [
    { data: Uint8Array.of(0xee), length: 1, timeNs: 1_500_000_000n, linkType: 101 },
    { data: Uint8Array.of(0x11, 0x22, 0x33), length: 8, timeNs: 0n, linkType: 101 },
  ]);
});

test('bytes that are no capture never do anything but be refused', () => {
  const random = randomSource(11);
  const valid = [writePcap(frames), writePcapng(frames), unusual()];
  for (let round = 0; round < 2_000; round++) {
    const bytes = valid[round % valid.length].slice(0, 200);
    for (let change = 0; change < 3; change++) bytes[random.integer(bytes.length)] = random.integer(256);
    try {
      readCapture(bytes);
    } catch (error) {
      assert.ok(error instanceof CaptureError, String(error));
    }
  }
});
