/**
 * The chunked coding: runs of data, trailers, and every broken form, however the octets are cut.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CHUNK_DATA,
  CHUNK_END,
  CHUNK_HEAD_BYTES_MAX,
  CHUNK_MORE,
  CHUNK_TAIL,
  ChunkedDecoder,
  LAST_CHUNK,
  writeChunkHead,
} from '../../src/http/chunked.ts';

const limits = { headSize: 256, headerCount: 3 };

interface Decoded {
  event: number;
  data: string;
  /** Octets read, those behind the body not among them. */
  used: number;
  decoder: ChunkedDecoder;
}

function decode(source: string, cuts: readonly number[] = []): Decoded {
  const decoder = new ChunkedDecoder(limits);
  const bytes = Buffer.from(source, 'latin1');
  let data = '';
  let event: number = CHUNK_MORE;
  let position = 0;
  for (const end of [...cuts, bytes.length]) {
    do {
      event = decoder.next(bytes, position, end);
      if (event < 0 || event === CHUNK_END) return { event, data, used: decoder.position, decoder };
      if (event === CHUNK_DATA) data += bytes.toString('latin1', decoder.dataStart, decoder.dataEnd);
      position = decoder.position;
    } while (event !== CHUNK_MORE);
  }
  return { event, data, used: position, decoder };
}

test('data is given where it lies, and what follows the body is left alone', () => {
  const source = '5\r\nhello\r\n6;a=b;c="d\\"e" ; f\r\n world\r\n0;x\r\nX-Sum: 1\r\n\r\nGET';
  const whole = decode(source);
  assert.deepEqual([whole.event, whole.data, whole.used], [CHUNK_END, 'hello world', source.length - 3]);
  assert.equal(whole.decoder.received, 11);
  assert.equal(whole.decoder.trailers.get('x-sum'), '1');
  for (let cut = 1; cut < source.length; cut++) {
    const { event, data, used, decoder } = decode(source, [cut]);
    assert.deepEqual(
      [event, data, used, decoder.trailers.get('x-sum')],
      [CHUNK_END, 'hello world', source.length - 3, '1'],
    );
  }
});

test('a decoder is used again after reset', () => {
  const { decoder } = decode('1\r\na\r\n0\r\nX: 1\r\n\r\n');
  decoder.reset();
  const bytes = Buffer.from('0\r\n\r\n');
  assert.equal(decoder.next(bytes, 0, bytes.length), CHUNK_END);
  assert.deepEqual([decoder.received, decoder.trailers.count], [0, 0]);
});

test('data that goes another way is skipped', () => {
  const decoder = new ChunkedDecoder(limits);
  const head = Buffer.from('64\r\n');
  assert.equal(decoder.next(head, 0, head.length), CHUNK_MORE);
  assert.equal(decoder.dataRemaining, 100);
  decoder.skip(60);
  assert.equal(decoder.dataRemaining, 40);
  decoder.skip(40);
  assert.equal(decoder.dataRemaining, 0);
  const tail = Buffer.from('\r\n0\r\n\r\n');
  assert.equal(decoder.next(tail, 0, tail.length), CHUNK_END);
  assert.equal(decoder.received, 100);
});

test('sizes are hexadecimal digits and nothing else', () => {
  for (const line of [
    '',
    ' 5',
    '5 ',
    '+5',
    '-5',
    '0x5',
    '5_0',
    '5g',
    '5\n',
    '5\r\r\n',
    '5;',
    '5;a=',
    '5;a="b',
    '5;=b',
    '5; ;a',
    '5;a\x01',
  ]) {
    assert.equal(decode(`${line}\r\nhello\r\n0\r\n\r\n`).event, -400, JSON.stringify(line));
  }
  assert.equal(decode('00000000000000000\r\n').event, -400);
  assert.equal(decode('ffffffffffffffff\r\n').event, -413);
  assert.equal(decode('1fffffffffffff\r\n').event, CHUNK_MORE);
});

test('data that is longer or shorter than its size is refused', () => {
  assert.equal(decode('5\r\nhello!\r\n').event, -400);
  assert.equal(decode('5\r\nhell\r\n0\r\n\r\n').event, -400);
  assert.equal(decode('5\r\nhello\n').event, -400);
});

test('extensions of a whole body are bounded', () => {
  assert.equal(decode(`${`1;${'a'.repeat(60)}\r\nx\r\n`.repeat(4)}0\r\n\r\n`).event, CHUNK_END);
  assert.equal(decode(`${`1;${'a'.repeat(60)}\r\nx\r\n`.repeat(5)}0\r\n\r\n`).event, -413);
});

test('trailers are bounded, validated, and may not frame or route', () => {
  const trailers = (...lines: string[]) => decode(`0\r\n${lines.join('\r\n')}\r\n\r\n`).event;
  assert.equal(trailers('A: 1', 'B: 2', 'C: 3'), CHUNK_END);
  assert.equal(trailers('A: 1', 'B: 2', 'C: 3', 'D: 4'), -431);
  assert.equal(trailers(`A: ${'x'.repeat(260)}`), -431);
  for (const line of [
    'A : 1',
    'A',
    ' A: 1',
    'A: 1\n',
    'A: \0',
    'Content-Length: 1',
    'transfer-encoding: chunked',
    'Host: a',
  ]) {
    assert.equal(trailers(line), -400, line);
  }
});

test('what an encoder writes, a decoder reads', () => {
  const bytes = Buffer.alloc(64);
  for (const [size, hexadecimal] of [
    [1, '1'],
    [15, 'f'],
    [16, '10'],
    [0xabcdef, 'abcdef'],
    [Number.MAX_SAFE_INTEGER, '1fffffffffffff'],
  ] as const) {
    const end = writeChunkHead(bytes, 3, size);
    assert.equal(bytes.toString('latin1', 3, end), `${hexadecimal}\r\n`);
    assert.ok(end - 3 <= CHUNK_HEAD_BYTES_MAX);
  }
  assert.throws(() => writeChunkHead(bytes, 0, 0), RangeError);
  const end = writeChunkHead(bytes, 0, 5);
  const body = `${bytes.toString('latin1', 0, end)}hello${CHUNK_TAIL}${LAST_CHUNK}`;
  assert.deepEqual([decode(body).event, decode(body).data], [CHUNK_END, 'hello']);
});
