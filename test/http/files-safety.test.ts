/** Static files where somebody means harm, or changes them while they are sent. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { files } from '../../src/http/index.ts';
import { type Address, ask, get, HttpClient } from '../support/http-client.ts';
import { withServer } from '../support/http-server.ts';
import { eachEngine, openDescriptors, turns, until } from '../support/net.ts';

const base = mkdtempSync(join(tmpdir(), 'millrace-safety-'));
const root = join(base, 'root');
after(() => rmSync(base, { recursive: true, force: true }));
const put = (name: string, content: string | Uint8Array): void => writeFileSync(join(root, name), content);

mkdirSync(join(root, 'inside', 'deep'), { recursive: true });
writeFileSync(join(base, 'outside.txt'), 'OUTSIDE');
put('inside/file.txt', 'inside');
symlinkSync(join(base, 'outside.txt'), join(root, 'absolute'));
symlinkSync('../outside.txt', join(root, 'climbing'));
symlinkSync('../../../outside.txt', join(root, 'inside', 'deep', 'climbing'));
symlinkSync('..', join(root, 'up'));
symlinkSync('/proc/self/cwd', join(root, 'magic'));
symlinkSync('loop', join(root, 'loop'));
symlinkSync('nowhere', join(root, 'dangling'));
symlinkSync('../file.txt', join(root, 'inside', 'deep', 'good'));
symlinkSync('inside', join(root, 'alias'));
execFileSync('mkfifo', [join(root, 'fifo')]);

/** Beyond what counts as fresh, so that the file system is asked again. */
const STALE_MS = 130;

async function serving(
  body: (address: Address, status: (path: string) => Promise<number>) => Promise<void>,
): Promise<void> {
  using handler = files(root);
  await withServer({ '/': handler, '/s/': handler }, async (address) => {
    await body(address, async (path) => (await ask(address, get(path))).status);
  });
}

eachEngine('nothing outside the root is reached by any spelling', async () => {
  await serving(async (address) => {
    const up = ['..', '%2e%2e', '.%2e', '%2E.', '%252e%252e', '..%c0%af', '%c0%ae%c0%ae', '..;', '...', '.. '.trim()];
    const separators = ['/', '%2f', '%5c', '\\', '//', '/./', '%252f', '/%2e/'];
    for (const prefix of ['/', '/s/', '/inside/', '//', '/s//']) {
      for (const climb of up) {
        for (const separator of separators) {
          const path = `${prefix}${`${climb}${separator}`.repeat(3)}outside.txt`;
          const response = await ask(address, get(path));
          assert.notEqual(response.status, 200, path);
          assert.equal(response.body.includes('OUTSIDE'), false, path);
        }
      }
    }
    for (const path of [
      '/outside.txt%00',
      '/inside/file.txt%00.html',
      '/%00',
      '/inside%00/file.txt',
      `${base}/outside.txt`,
    ]) {
      assert.notEqual((await ask(address, get(path))).status, 200, path);
    }
  });
});

eachEngine('links that leave the root are not followed, those that stay are', async () => {
  await serving(async (address, status) => {
    for (const path of [
      'absolute',
      'climbing',
      'inside/deep/climbing',
      'up/outside.txt',
      'magic/package.json',
      'loop',
      'dangling',
    ]) {
      assert.equal(await status(`/${path}`), 404, path);
    }
    assert.equal((await ask(address, get('/inside/deep/good'))).body, 'inside');
    assert.equal((await ask(address, get('/alias/file.txt'))).body, 'inside');
  });
});

eachEngine('a race between a directory and a link never shows what is outside', async () => {
  mkdirSync(join(base, 'evil'), { recursive: true });
  writeFileSync(join(base, 'evil', 'file.txt'), 'OUTSIDE');
  await serving(async (address) => {
    const client = new HttpClient(address);
    for (let round = 0; round < 200; round++) {
      rmSync(join(root, 'swap'), { recursive: true, force: true });
      if (round % 2 === 0) symlinkSync('../evil', join(root, 'swap'));
      else {
        mkdirSync(join(root, 'swap'));
        put('swap/file.txt', 'inside');
      }
      client.send(get(`/swap/file.txt?${round}`));
      await client.answers(round + 1);
    }
    assert.equal(client.text.includes('OUTSIDE'), false);
    client.destroy();
  });
  rmSync(join(root, 'swap'), { recursive: true, force: true });
});

eachEngine('a FIFO, a socket and a device are no files', async () => {
  const server = createServer().listen(join(root, 'socket'));
  await serving(async (_address, status) => {
    assert.equal(await status('/fifo'), 404);
    assert.equal(await status('/socket'), 404);
  });
  await new Promise((resolve) => server.close(resolve));
  using devices = files('/dev');
  await withServer(devices, async (address) => {
    assert.equal((await ask(address, get('/zero'))).status, 404);
    assert.equal((await ask(address, get('/null'))).status, 404);
  });
});

eachEngine('a file that was replaced, changed or removed is served as it is now', async () => {
  put('changing.txt', 'one');
  await serving(async (address, status) => {
    const fetch = () => ask(address, get('/changing.txt'));
    const first = await fetch();
    assert.equal(first.body, 'one');
    put('new.txt', 'two');
    renameSync(join(root, 'new.txt'), join(root, 'changing.txt'));
    await sleep(STALE_MS);
    const second = await fetch();
    assert.equal(second.body, 'two');
    assert.notEqual(second.fields.get('etag'), first.fields.get('etag'));
    put('changing.txt', 'grown longer');
    await sleep(STALE_MS);
    assert.equal((await fetch()).body, 'grown longer');
    unlinkSync(join(root, 'changing.txt'));
    await sleep(STALE_MS);
    assert.equal(await status('/changing.txt'), 404);
  });
});

eachEngine('two writes within one tick of the clock are told apart', async () => {
  await serving(async (address) => {
    const fetch = (tag: string) => ask(address, get('/quick.txt', { 'If-None-Match': tag }));
    for (let round = 0; round < 5; round++) {
      put('quick.txt', 'one');
      await sleep(STALE_MS / 5);
      const first = await fetch('"none"');
      put('quick.txt', 'two');
      const early = await fetch('"none"');
      put('quick.txt', 'six');
      await sleep(STALE_MS);
      for (const { fields } of [first, early]) {
        const now = await fetch(fields.get('etag')!);
        assert.deepEqual([now.status, now.body], [200, 'six']);
      }
    }
  });
});

eachEngine('a file that shrinks while it is sent cuts its connection and no other', async () => {
  const size = 40_000_000;
  put('shrinking.bin', '');
  truncateSync(join(root, 'shrinking.bin'), size);
  await serving(async (address) => {
    const client = new HttpClient(address, { keep: false });
    client.socket.pause();
    client.send(get('/shrinking.bin'));
    await turns(20);
    const other = new HttpClient(address);
    other.send(get('/inside/file.txt'));
    assert.equal((await other.answers(1))[0].body, 'inside');
    truncateSync(join(root, 'shrinking.bin'), 1000);
    client.socket.resume();
    await client.closing();
    assert.ok(client.bytes < size, `${client.bytes} bytes`);
    other.send(get('/inside/file.txt'));
    assert.equal((await other.answers(2))[1].body, 'inside');
    client.destroy();
    other.destroy();
  });
});

eachEngine('a file that grows or is removed while it is sent arrives as it was promised', async () => {
  const size = 20_000_000;
  put('growing.bin', '');
  truncateSync(join(root, 'growing.bin'), size);
  await serving(async (address) => {
    const client = new HttpClient(address, { keep: false });
    client.socket.pause();
    client.send(get('/growing.bin', { Connection: 'close' }));
    await turns(20);
    truncateSync(join(root, 'growing.bin'), size * 2);
    unlinkSync(join(root, 'growing.bin'));
    client.socket.resume();
    await client.closing();
    assert.ok(client.bytes > size && client.bytes < size + 1000, `${client.bytes} bytes`);
    client.destroy();
  });
});

eachEngine('a directory that cannot be read is refused, one that vanished is not found', async () => {
  mkdirSync(join(root, 'gone'));
  put('gone/file.txt', 'there');
  await serving(async (_address, status) => {
    assert.equal(await status('/gone/file.txt'), 200);
    chmodSync(join(root, 'gone'), 0);
    await sleep(STALE_MS);
    // root may read everything.
    assert.equal(await status('/gone/file.txt'), process.getuid!() === 0 ? 200 : 403);
    rmSync(join(root, 'gone'), { recursive: true });
    await sleep(STALE_MS);
    assert.equal(await status('/gone/file.txt'), 404);
    assert.equal(await status(`/${'n'.repeat(300)}`), 414);
  });
});

eachEngine(
  'ten thousand requests, half of them broken off, leave no descriptor and no memory',
  async () => {
    for (let index = 0; index < 50; index++) put(`many-${index}.bin`, new Uint8Array(20_000 + index));
    await serving(async (address) => {
      const round = async (): Promise<void> => {
        const client = new HttpClient(address, { keep: false });
        client.send(Array.from({ length: 250 }, (_, index) => get(`/many-${index % 50}.bin`)).join(''));
        await until(() => client.bytes > 1_000_000);
        client.destroy();
        const whole = new HttpClient(address, { keep: false });
        whole.send(Array.from({ length: 250 }, (_, index) => get(`/nothing-${index}`)).join(''));
        whole.end();
        await whole.closing();
        whole.destroy();
      };
      await round();
      await turns(10);
      globalThis.gc!();
      const descriptors = openDescriptors().size;
      const before = process.memoryUsage();
      for (let count = 0; count < 20; count++) await round();
      await until(() => openDescriptors().size <= descriptors, 2000).catch(() => {});
      assert.ok(openDescriptors().size <= descriptors, `${openDescriptors().size} descriptors, ${descriptors} before`);
      globalThis.gc!();
      const now = process.memoryUsage();
      const grown = now.heapUsed + now.arrayBuffers - before.heapUsed - before.arrayBuffers;
      assert.ok(grown < 8 << 20, `${grown} bytes grown`);
    });
  },
  { timeoutMs: 30_000 },
);
