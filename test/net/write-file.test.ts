/**
 * Sending files without passing through user memory, among other writes.
 */
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Connection } from '../../src/net/index.ts';
import { eachEngine, pattern, turns, until } from '../support/net.ts';
import { pair } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

class Collector extends Recorder {
  readonly parts: Uint8Array[] = [];

  override data(connection: Connection, chunk: Uint8Array): void {
    super.data(connection, chunk);
    this.parts.push(chunk.slice());
  }

  get all(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.parts));
  }
}

/** A file with these bytes, open for reading, gone after `use`. */
async function withFile(bytes: Uint8Array, use: (descriptor: number, path: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-'));
  const path = join(directory, 'file');
  writeFileSync(path, bytes);
  const descriptor = openSync(path, 'r');
  try {
    await use(descriptor, path);
  } finally {
    closeSync(descriptor);
    rmSync(directory, { recursive: true });
  }
}

eachEngine('parts of files and writes arrive in the order of asking', async () => {
  const content = pattern(3_000_000);
  await withFile(content, async (file) => {
    const server = new Collector();
    const { connection, finish } = await pair({ server });
    const sent: number[] = [];
    const done = (count: number) => void sent.push(count);
    connection.write('head|');
    connection.writeFile(file, 0, content.length, done);
    connection.write('|middle|');
    connection.writeFile(file, 1000, 10, done);
    connection.writeFile(file, 0, 0, done);
    connection.write('|tail');
    const expected = Buffer.concat([
      Buffer.from('head|'),
      content,
      Buffer.from('|middle|'),
      content.subarray(1000, 1010),
      Buffer.from('|tail'),
    ]);
    await server.read(expected.length);
    assert.deepEqual(server.all, new Uint8Array(expected));
    assert.deepEqual(sent, [3_000_000, 10, 0]);
    assert.equal(connection.bytesQueued, 0);
    await finish();
  });
});

eachEngine('a file that shrank gives what it has, and the writes behind it complete', async () => {
  await withFile(pattern(100_000), async (file, path) => {
    const { connection, server, finish } = await pair();
    truncateSync(path, 40_000);
    const events: string[] = [];
    connection.writeFile(file, 0, 100_000, (sent) => events.push(`file:${sent}`));
    connection.write('behind', () => events.push('behind'));
    await server.read(40_006);
    await until(() => events.length === 2);
    assert.deepEqual(events, ['file:40000', 'behind']);
    assert.equal(connection.bytesWritten, 40_006);
    assert.equal(connection.bytesQueued, 0);
    await finish();
  });
});

eachEngine('a file counts for backpressure and a slow reader gets all of it', async () => {
  const content = pattern(4_000_000);
  await withFile(content, async (file) => {
    const server = new Collector();
    const { connection, accepted, client, finish } = await pair({ server, listen: { paused: true } });
    let sent = -1;
    assert.equal(
      connection.writeFile(file, 0, content.length, (count) => {
        sent = count;
      }),
      false,
    );
    await turns(10);
    assert.equal(sent, -1);
    accepted.resume();
    await server.read(content.length);
    await client.heard('drain');
    assert.equal(sent, content.length);
    assert.deepEqual(server.all, content);
    await finish();
  });
});

eachEngine('destroying during a file says how much was sent', async () => {
  await withFile(new Uint8Array(20_000_000), async (file) => {
    const { connection, client, finish } = await pair({ listen: { paused: true } });
    const sent: number[] = [];
    connection.writeFile(file, 0, 20_000_000, (count) => void sent.push(count));
    await until(() => connection.bytesSent > 0);
    connection.writeFile(file, 0, 5, (count) => void sent.push(count));
    connection.destroy();
    connection.writeFile(file, 0, 5, (count) => void sent.push(count + 1000));
    await client.heard('close');
    assert.equal(sent.length, 3);
    assert.equal(sent[0], 1000);
    assert.ok(sent[1] > 0 && sent[1] < 20_000_000);
    assert.equal(sent[2], 0);
    await finish();
  });
});
