/**
 * Strings from octets and back, and the cache of frequent ones.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { equalsIgnoringCase, TextCache, text, writeText } from '../../src/http/text.ts';

/** All octets, at an offset. */
const octets = Uint8Array.from({ length: 300 }, (_, index) => (index + 250) & 0xff);

test('octets become characters of the same number and back, short or long', () => {
  for (const length of [0, 1, 8, 9, 256]) {
    const value = text(octets, 6, 6 + length);
    assert.deepEqual(
      [...value].map((character) => character.charCodeAt(0)),
      [...octets.subarray(6, 6 + length)],
    );
    const bytes = new Uint8Array(300).fill(1);
    assert.equal(writeText(bytes, 7, value), 7 + length);
    assert.deepEqual(bytes.subarray(7, 7 + length), octets.subarray(6, 6 + length));
    assert.deepEqual([bytes[6], bytes[7 + length]], [1, 1]);
  }
});

test('case is ignored for letters only', () => {
  const equals = (one: string, lower: string) =>
    equalsIgnoringCase(Buffer.from(`.${one}.`, 'latin1'), 1, 1 + one.length, lower);
  assert.equal(equals('Keep-Alive', 'keep-alive'), true);
  assert.equal(equals('100-Continue', '100-continue'), true);
  assert.equal(equals('keep\ralive', 'keep-alive'), false);
  assert.equal(equals('\x11\x10\x10-continue', '100-continue'), false);
  assert.equal(equals('close', 'closed'), false);
  assert.equal(equals('closed', 'close'), false);
});

test('a cached string is that of its octets, whatever fell into the same place before', () => {
  const cache = new TextCache(2);
  const random = Buffer.from(Array.from({ length: 4000 }, (_, index) => 97 + ((index * index * 7) % 5)));
  for (let start = 0; start < 3900; start++) {
    const end = start + (start % 80);
    assert.equal(cache.get(random, start, end), random.toString('latin1', start, end));
  }
  const path = Buffer.from('/index.html/index.html');
  assert.equal(cache.get(path, 0, 11), cache.get(path, 11, 22));
  assert.throws(() => new TextCache(3), RangeError);
});
