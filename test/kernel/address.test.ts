/**
 * Socket addresses as text and as the kernel’s structures, both ways.
 */
import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import {
  ADDRESS_BYTES_MAX,
  decodeAddress,
  encodeAddress,
  formatAddress,
  parseAddress,
  type SocketAddress,
} from '../../src/kernel/address.ts';
import { KernelError } from '../../src/kernel/error.ts';
import { interfaceIndex, interfaceName } from '../../src/kernel/interface.ts';
import { descriptorCount } from '../../src/kernel/procfs.ts';
import { randomSource } from '../support/random.ts';

/** Where the address is put within the buffer, so that an offset that is forgotten shows. */
const OFFSET = 24;

function encoded(address: SocketAddress): Uint8Array {
  const bytes = new Uint8Array(OFFSET + ADDRESS_BYTES_MAX).fill(0xaa);
  const length = encodeAddress(address, bytes, OFFSET);
  assert.ok(
    bytes.every((byte, index) => byte === 0xaa || (index >= OFFSET && index < OFFSET + length)),
    'bytes outside the address were written',
  );
  return bytes.slice(OFFSET, OFFSET + length);
}

function roundTrip(address: SocketAddress): SocketAddress | null {
  const bytes = new Uint8Array(OFFSET + ADDRESS_BYTES_MAX).fill(0xaa);
  return decodeAddress(bytes, OFFSET, encodeAddress(address, bytes, OFFSET));
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

test('an IPv4 address is encoded as the kernel has it', () => {
  const bytes = encoded({ family: 'ipv4', address: '192.0.2.255', port: 8080 });
  assert.equal(hex(bytes), '0200' + '1f90' + 'c00002ff' + '0000000000000000');
});

test('an IPv6 address is encoded as the kernel has it', () => {
  const bytes = encoded({ family: 'ipv6', address: '2001:db8::1:2', port: 443, scope: 0x01020304 });
  assert.equal(hex(bytes), '0a00' + '01bb' + '00000000' + '20010db8000000000000000000010002' + '04030201');
});

test('a path is encoded with its closing NUL, an abstract name without', () => {
  assert.equal(hex(encoded({ family: 'unix', path: '/a' })), '0100' + '2f6100');
  assert.equal(hex(encoded({ family: 'unix', path: '\0a' })), '0100' + '0061');
});

for (const [text, canonical] of [
  ['::', '::'],
  ['::1', '::1'],
  ['1::', '1::'],
  ['0:0:0:0:0:0:0:1', '::1'],
  ['2001:DB8:0:0:0:0:2:1', '2001:db8::2:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['0:0:1::', '0:0:1::'],
  ['2001:0db8:0001:0002:0003:0004:0005:0006', '2001:db8:1:2:3:4:5:6'],
  ['::ffff:192.0.2.1', '::ffff:192.0.2.1'],
  ['::ffff:c000:201', '::ffff:192.0.2.1'],
  ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
  ['fe80::ffff:ffff:ffff:ffff', 'fe80::ffff:ffff:ffff:ffff'],
]) {
  test(`IPv6 ${text} is written as RFC 5952 wants it`, () => {
    const address = roundTrip({ family: 'ipv6', address: text, port: 1 });
    assert.deepEqual(address, { family: 'ipv6', address: canonical, port: 1 });
  });
}

test('random IPv6 addresses come back, and mean the same to another parser', () => {
  const random = randomSource(1);
  for (let round = 0; round < 2000; round++) {
    // Half of the groups are zero, so that runs of every place and length occur.
    const groups = Array.from({ length: 8 }, () => (random.integer(2) === 0 ? 0 : random.integer(65536)));
    const text = groups.map((group) => group.toString(16)).join(':');
    const result = roundTrip({ family: 'ipv6', address: text, port: random.integer(65536) });

    assert.ok(result?.family === 'ipv6');
    const oracle = new URL(`http://[${text}]`).hostname;
    assert.equal(new URL(`http://[${result.address}]`).hostname, oracle);
    const dotted = result.address.startsWith('::ffff:') && result.address.includes('.');
    if (!dotted) assert.equal(`[${result.address}]`, oracle);
    assert.deepEqual(roundTrip(result), result);
  }
});

test('random IPv4 addresses and ports come back', () => {
  const random = randomSource(2);
  for (let round = 0; round < 2000; round++) {
    const address = Array.from({ length: 4 }, () => random.integer(256)).join('.');
    const value: SocketAddress = { family: 'ipv4', address, port: random.integer(65536) };
    assert.deepEqual(roundTrip(value), value);
    assert.deepEqual(parseAddress(formatAddress(value)), value);
  }
});

test('random paths and abstract names come back with their length', () => {
  const random = randomSource(3);
  for (let round = 0; round < 2000; round++) {
    const letters = Array.from({ length: 1 + random.integer(107) }, () => String.fromCharCode(1 + random.integer(126)));
    const path: SocketAddress = { family: 'unix', path: letters.join('') };
    assert.deepEqual(roundTrip(path), path);
    assert.deepEqual(parseAddress(formatAddress(path)).family, 'unix');

    const bytes = letters.map((letter) => (random.integer(4) === 0 ? '\0' : letter));
    const abstract: SocketAddress = { family: 'unix', path: `\0${bytes.join('')}` };
    assert.deepEqual(roundTrip(abstract), abstract);
    assert.deepEqual(parseAddress(formatAddress(abstract)), abstract);
  }
});

test('abstract names that differ only in their NULs are different names', () => {
  for (const path of ['\0', '\0a', '\0a\0', '\0\0a', '\0a\0b']) {
    assert.equal(encoded({ family: 'unix', path }).length, 2 + path.length);
    assert.deepEqual(roundTrip({ family: 'unix', path }), { family: 'unix', path });
  }
});

test('the length of a path counts in bytes, not in characters', () => {
  const path = 'ü'.repeat(53);
  assert.deepEqual(roundTrip({ family: 'unix', path }), { family: 'unix', path });
  assert.throws(() => encoded({ family: 'unix', path: 'ü'.repeat(54) }), /path has 108 bytes: at most 107 are allowed/);
});

test('107 bytes are the longest path and the longest abstract name', () => {
  assert.equal(encoded({ family: 'unix', path: 'x'.repeat(107) }).length, 110);
  assert.equal(encoded({ family: 'unix', path: `\0${'x'.repeat(107)}` }).length, 110);
  assert.throws(() => encoded({ family: 'unix', path: 'x'.repeat(108) }), RangeError);
  assert.throws(() => encoded({ family: 'unix', path: `\0${'x'.repeat(108)}` }), RangeError);
});

test('a path of the full 108 bytes, which other programs can bind, is read', () => {
  const bytes = new Uint8Array(ADDRESS_BYTES_MAX).fill(0x78);
  bytes.set([1, 0]);
  assert.deepEqual(decodeAddress(bytes, 0, 110), { family: 'unix', path: 'x'.repeat(108) });
});

test('an unnamed Unix socket, no address and a cut address are null', () => {
  const bytes = new Uint8Array(ADDRESS_BYTES_MAX);
  encodeAddress({ family: 'unix', path: '/left/over' }, bytes, 0);
  assert.equal(decodeAddress(bytes, 0, 2), null);
  assert.equal(decodeAddress(bytes, 0, 0), null);
  encodeAddress({ family: 'ipv4', address: '127.0.0.1', port: 1 }, bytes, 0);
  assert.equal(decodeAddress(bytes, 0, 15), null);
  encodeAddress({ family: 'ipv6', address: '::1', port: 1 }, bytes, 0);
  assert.equal(decodeAddress(bytes, 0, 24), null);
  bytes[0] = 16;
  assert.equal(decodeAddress(bytes, 0, 12), null);
});

test('an interface is given by index, by number in the text or by name', () => {
  const name = Object.keys(networkInterfaces())[0] ?? 'lo';
  const index = interfaceIndex(name);
  const expected = { family: 'ipv6', address: 'fe80::1', port: 9, scope: index };

  for (const address of [`fe80::1%${name}`, `fe80::1%${index}`]) {
    assert.deepEqual(roundTrip({ family: 'ipv6', address, port: 9 }), expected);
  }
  assert.deepEqual(roundTrip({ family: 'ipv6', address: 'fe80::1', port: 9, scope: index }), expected);
  assert.equal(interfaceName(index), name);
  assert.equal(interfaceName(0x7ffffff0), null);
});

test('asking for interfaces leaves no descriptor open', () => {
  const before = descriptorCount();
  for (let index = 1; index < 50; index++) interfaceName(index);
  assert.throws(() => interfaceIndex('nowhere0'), KernelError);
  assert.equal(descriptorCount(), before);
});

test('an interface that does not exist is named in the error', () => {
  assert.throws(
    () => encoded({ family: 'ipv6', address: 'fe80::1%nowhere0', port: 1 }),
    (error) => error instanceof KernelError && error.code === 'ENODEV' && /nowhere0/.test(error.message),
  );
  assert.throws(() => encoded({ family: 'ipv6', address: 'fe80::1%averyverylongname', port: 1 }), RangeError);
});

for (const port of [-1, 65536, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '80', undefined, null]) {
  test(`port ${JSON.stringify(port) ?? port} of type ${typeof port} is refused`, () => {
    for (const address of ['127.0.0.1', '::1']) {
      const family = address === '::1' ? 'ipv6' : 'ipv4';
      assert.throws(() => encoded({ family, address, port: port as number }), {
        name: 'RangeError',
        message: /^port is .*: an integer from 0 to 65535 is allowed$/,
      });
    }
  });
}

for (const [address, message] of [
  [{ family: 'ipv4', address: '256.0.0.1', port: 1 }, /address is "256\.0\.0\.1": four numbers/],
  [{ family: 'ipv4', address: '127.1', port: 1 }, /four numbers/],
  [{ family: 'ipv4', address: '010.0.0.1', port: 1 }, /four numbers/],
  [{ family: 'ipv4', address: '::1', port: 1 }, /four numbers/],
  [{ family: 'ipv4', address: undefined, port: 1 }, /address is undefined/],
  [{ family: 'ipv6', address: '127.0.0.1', port: 1 }, /an IPv6 address is allowed/],
  [{ family: 'ipv6', address: '1::2::3', port: 1 }, /an IPv6 address is allowed/],
  [{ family: 'ipv6', address: 7, port: 1 }, /address is 7/],
  [{ family: 'ipv6', address: '::1', port: 1, scope: -1 }, /scope is -1: an integer from 0 to 4294967295/],
  [{ family: 'ipv6', address: '::1%4294967296', port: 1 }, /an index from 0 to 4294967295/],
  [{ family: 'unix', path: '' }, /path is empty/],
  [{ family: 'unix', path: '/a\0b' }, /NUL is allowed only in abstract names/],
  [{ family: 'unix', path: 7 }, /path is 7: a string is allowed/],
  [{ family: 'inet', address: '::1', port: 1 }, /family is "inet": ipv4, ipv6 or unix is allowed/],
] as const) {
  test(`${JSON.stringify(address)} is refused with what is allowed`, () => {
    assert.throws(() => encoded(address as unknown as SocketAddress), { message });
  });
}

test('a buffer without room is refused before anything is written', () => {
  const address: SocketAddress = { family: 'ipv4', address: '127.0.0.1', port: 1 };
  assert.throws(() => encodeAddress(address, new Uint8Array(127), 0), RangeError);
  assert.throws(() => encodeAddress(address, new Uint8Array(128), 1), RangeError);
  assert.throws(() => encodeAddress(address, new Uint8Array(128), -1), RangeError);
});

for (const [text, address] of [
  ['127.0.0.1:8080', { family: 'ipv4', address: '127.0.0.1', port: 8080 }],
  ['0.0.0.0:0', { family: 'ipv4', address: '0.0.0.0', port: 0 }],
  ['[::]:8080', { family: 'ipv6', address: '::', port: 8080 }],
  ['[fe80::1%eth0]:65535', { family: 'ipv6', address: 'fe80::1%eth0', port: 65535 }],
  ['unix:/run/x.sock', { family: 'unix', path: '/run/x.sock' }],
  ['unix:x.sock', { family: 'unix', path: 'x.sock' }],
  ['unix:@abstract', { family: 'unix', path: '\0abstract' }],
  ['unix:./@file', { family: 'unix', path: './@file' }],
] as const) {
  test(`${text} is read, and written the same`, () => {
    assert.deepEqual(parseAddress(text), address);
    assert.equal(formatAddress(address), text);
  });
}

test('a scope and a file whose name begins with @ are written so that they are read back', () => {
  assert.equal(formatAddress({ family: 'ipv6', address: 'fe80::1', port: 1, scope: 3 }), '[fe80::1%3]:1');
  assert.deepEqual(parseAddress(formatAddress({ family: 'unix', path: '@file' })), { family: 'unix', path: './@file' });
});

for (const text of [
  '',
  '8080',
  ':8080',
  '127.0.0.1',
  '127.0.0.1:',
  '127.0.0.1:-1',
  '127.0.0.1:8080 ',
  '127.0.0.1:0x50',
  '127.0.0.1:65536',
  '127.0.0.1:100000',
  'localhost:80',
  '::1:80',
  '[::1]',
  '[::1]80',
  '[127.0.0.1]:80',
  '[::1%]:80',
  'unix:',
  'unix:/a\0b',
  `unix:/${'x'.repeat(107)}`,
  `unix:@${'x'.repeat(108)}`,
]) {
  test(`${JSON.stringify(text)} is not an address, and the error says what is`, () => {
    assert.throws(() => parseAddress(text), /allowed/);
  });
}
