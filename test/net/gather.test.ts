/**
 * Sends that gather several pieces: blocks, large buffers and files in the order of writing, also when the peer is slow, and
 * with nothing left behind when the connection dies on the way.
 */
import assert from 'node:assert/strict';
import { slotsFree } from '../../src/net/vectors.ts';
import { eachEngine, pattern, until } from '../support/net.ts';
import { pair } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

/** Checks that what arrives is the pattern, from its start. */
class Checker extends Recorder {
  wrong = 0;
  readonly expected: Uint8Array;

  constructor(expected: Uint8Array) {
    super();
    this.expected = expected;
  }

  override data(connection: Parameters<Recorder['data']>[0], chunk: Uint8Array): void {
    for (let index = 0; index < chunk.length; index += 13) {
      if (chunk[index] !== this.expected[this.bytes + index]) this.wrong++;
    }
    super.data(connection, chunk);
  }
}

eachEngine('pieces of all sizes arrive in the order of writing, through a peer that pauses', async () => {
  const free = slotsFree();
  const bytes = pattern(3 << 20);
  const checker = new Checker(bytes);
  const { accepted, finish } = await pair({ client: checker });
  let position = 0;
  let size = 1;
  checker.connection.pause();
  while (position < bytes.length) {
    const length = Math.min(size, bytes.length - position);
    accepted.write(bytes.subarray(position, position + length));
    position += length;
    // 1 byte to 100 KB: copied into blocks, and sent from their own memory.
    size = (size * 7 + 5) % 100_003;
    if (size % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
    if (size % 11 === 0) checker.connection.resume();
    else if (size % 13 === 0) checker.connection.pause();
  }
  checker.connection.resume();
  await checker.read(bytes.length);
  assert.equal(checker.wrong, 0);
  await until(() => accepted.bytesQueued === 0);
  assert.equal(slotsFree(), free);
  await finish();
});

eachEngine('a connection that dies with a gathered send under way gives everything back', async () => {
  const free = slotsFree();
  const { accepted, connection, finish } = await pair();
  connection.pause();
  for (let count = 0; count < 600; count++) accepted.write(pattern(16_000));
  await until(() => accepted.bytesSent > 0);
  accepted.destroy();
  await finish();
  assert.equal(slotsFree(), free);
});
