/** Static files over sockets: what is served, how it is described, and which part of it. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type FilesOptions, files } from '../../src/http/index.ts';
import { type Address, ask, get, HttpClient, type Received } from '../support/http-client.ts';
import { withServer } from '../support/http-server.ts';
import { eachEngine, pattern } from '../support/net.ts';

const root = mkdtempSync(join(tmpdir(), 'millrace-files-'));
after(() => rmSync(root, { recursive: true, force: true }));

const large = pattern(1_000_000);
const put = (name: string, content: string | Uint8Array): void => writeFileSync(join(root, name), content);
mkdirSync(join(root, 'docs', 'deep'), { recursive: true });
mkdirSync(join(root, '.well-known'));
mkdirSync(join(root, 'empty-directory'));
put('index.html', '<p>root');
put('docs/index.html', '<p>docs');
put('hello.txt', 'hello, world');
put('ümlaut & more.txt', 'odd name');
put('%41.txt', 'a name that looks encoded');
put('zero.bin', '');
put('large.bin', large);
put('.secret', 'secret');
put('docs/.hidden.txt', 'hidden');
put('.well-known/acme', 'acme');
put('app.js', 'plain();'.repeat(10));
put('app.js.br', 'br');
put('app.js.gz', 'gz');
put('page.html', '<p>new');
put('page.html.gz', 'old');
utimesSync(join(root, 'page.html.gz'), 1e9, 1e9);
put('sparse.bin', '');
const SPARSE_BYTES = 5 * 2 ** 30;
truncateSync(join(root, 'sparse.bin'), SPARSE_BYTES);
// Files that changed a moment ago have weak tags.
await sleep(100);

async function serving(
  body: (
    address: Address,
    fetch: (path: string, fields?: Record<string, string>) => Promise<Received>,
  ) => Promise<void>,
  options: FilesOptions = {},
): Promise<void> {
  using handler = files(root, options);
  await withServer({ '/': handler, '/static/': handler }, async (address) => {
    await body(address, (path, fields = {}) => ask(address, get(path, fields)));
  });
}

eachEngine('a file has its type, length and validators', async () => {
  await serving(async (_address, fetch) => {
    for (const path of ['/hello.txt', '/static/hello.txt']) {
      const { status, fields, body } = await fetch(path);
      assert.deepEqual([status, body, fields.get('content-length')], [200, 'hello, world', '12']);
      assert.equal(fields.get('content-type'), 'text/plain; charset=utf-8');
      assert.match(fields.get('etag')!, /^"[^"]+"$/);
      assert.ok(!Number.isNaN(Date.parse(fields.get('last-modified')!)));
      assert.equal(fields.get('accept-ranges'), 'bytes');
    }
    const { body } = await fetch('/large.bin');
    assert.ok(Buffer.from(body, 'latin1').equals(large));
    const zero = await fetch('/zero.bin');
    assert.deepEqual([zero.status, zero.body, zero.fields.get('content-length')], [200, '', '0']);
  });
});

eachEngine('names are decoded once', async () => {
  await serving(async (_address, fetch) => {
    assert.equal((await fetch('/%C3%BCmlaut%20%26%20more.txt')).body, 'odd name');
    assert.equal((await fetch('/static/%c3%bcmlaut%20&%20more.txt')).body, 'odd name');
    assert.equal((await fetch('/%2541.txt')).body, 'a name that looks encoded');
    assert.equal((await fetch('/static/%2541.txt')).body, 'a name that looks encoded');
    assert.equal((await fetch('/%41.txt')).status, 404);
    assert.equal((await fetch('/%68ello.txt')).body, 'hello, world');
  });
});

eachEngine('HEAD describes what GET would send', async () => {
  await serving(async (address) => {
    const client = new HttpClient(address, { heads: true });
    const names = ['/hello.txt', '/large.bin', '/zero.bin', '/nothing'];
    client.send(names.map((name) => get(name, { Range: 'bytes=0-1' }, 'HEAD')).join(''));
    const responses = await client.answers(4);
    assert.deepEqual(
      responses.map(({ status, fields }) => [status, fields.get('content-length')]),
      // Range is for GET alone.
      [
        [200, '12'],
        [200, '1000000'],
        [200, '0'],
        [404, '14'],
      ],
    );
    assert.equal(client.text.split('\r\n\r\n').length, 5);
    client.destroy();
  });
});

eachEngine('other methods are refused with what is allowed', async () => {
  await serving(async (address) => {
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const { status, fields } = await ask(address, get('/hello.txt', {}, method));
      assert.deepEqual([status, fields.get('allow')], [405, 'GET, HEAD'], method);
    }
  });
});

eachEngine('a directory is its index, asked for with a slash at the end', async () => {
  await serving(async (_address, fetch) => {
    assert.equal((await fetch('/')).body, '<p>root');
    assert.equal((await fetch('/docs/')).body, '<p>docs');
    for (const [path, location] of [
      ['/docs', '/docs/'],
      ['/docs?a=b&c', '/docs/?a=b&c'],
      ['/static/docs', '/static/docs/'],
      ['//docs', '/docs/'],
      ['///docs', '/docs/'],
      ['/./docs', '/docs/'],
      ['//example.com/../docs', '/docs/'],
      ['/%2e/docs', '/docs/'],
      ['//example.com/%2e%2e/docs', '/docs/'],
    ]) {
      const { status, fields } = await fetch(path);
      assert.deepEqual([status, fields.get('location')], [301, location], path);
    }
    for (const path of ['/docs/deep/', '/empty-directory/', '/hello.txt/', '/%5cexample.com/..%5cdocs', '/\\docs']) {
      assert.equal((await fetch(path)).status, 404, path);
    }
  });
  await serving(async (_address, fetch) => assert.equal((await fetch('/docs/')).status, 404), { index: '' });
});

eachEngine('hidden files stay hidden, but for .well-known', async () => {
  await serving(async (_address, fetch) => {
    for (const path of ['/.secret', '/%2esecret', '/docs/.hidden.txt', '/docs/../.secret', '/.well-known-not/x']) {
      assert.equal((await fetch(path)).status, 404, path);
    }
    assert.equal((await fetch('/.well-known/acme')).body, 'acme');
  });
  await serving(async (_address, fetch) => assert.equal((await fetch('/.secret')).body, 'secret'), { hidden: true });
});

eachEngine('conditions are answered by what the file is now', async () => {
  await serving(async (_address, fetch) => {
    const { fields } = await fetch('/hello.txt');
    const tag = fields.get('etag')!;
    const modified = fields.get('last-modified')!;
    for (const [conditions, status] of [
      [{ 'If-None-Match': tag }, 304],
      [{ 'If-None-Match': `"x", W/${tag}` }, 304],
      [{ 'If-None-Match': '"x"', 'If-Modified-Since': modified }, 200],
      [{ 'If-Modified-Since': modified }, 304],
      [{ 'If-Modified-Since': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 200],
      [{ 'If-Match': '"x"' }, 412],
      [{ 'If-Match': tag }, 200],
      [{ 'If-Unmodified-Since': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 412],
    ] as const) {
      const response = await fetch('/hello.txt', conditions);
      assert.equal(response.status, status, JSON.stringify(conditions));
      if (status === 304) assert.deepEqual([response.fields.get('etag'), response.body], [tag, '']);
    }
  });
});

eachEngine('a range is sent alone, several in parts, one beyond the end not at all', async () => {
  await serving(async (_address, fetch) => {
    const { fields } = await fetch('/hello.txt');
    const range = async (value: string, ifRange?: string): Promise<(string | number | undefined)[]> => {
      const response = await fetch('/hello.txt', {
        Range: value,
        ...(ifRange === undefined ? {} : { 'If-Range': ifRange }),
      });
      return [response.status, response.body, response.fields.get('content-range')];
    };
    assert.deepEqual(await range('bytes=0-4'), [206, 'hello', 'bytes 0-4/12']);
    assert.deepEqual(await range('bytes=-5'), [206, 'world', 'bytes 7-11/12']);
    assert.deepEqual(await range('bytes=7-'), [206, 'world', 'bytes 7-11/12']);
    assert.deepEqual(await range('bytes=12-'), [416, '', 'bytes */12']);
    assert.deepEqual(await range('lines=0-4'), [200, 'hello, world', undefined]);
    assert.deepEqual(await range('bytes=0-4', fields.get('etag')), [206, 'hello', 'bytes 0-4/12']);
    assert.deepEqual(await range('bytes=0-4', '"other"'), [200, 'hello, world', undefined]);
    const parts = await fetch('/large.bin', { Range: 'bytes=0-9,500000-500019,-1' });
    assert.equal(parts.status, 206);
    const boundary = /^multipart\/byteranges; boundary=(.+)$/.exec(parts.fields.get('content-type')!)![1];
    const bodies = parts.body.split(`\r\n--${boundary}`);
    assert.equal(bodies.length, 5);
    assert.equal(bodies[4], '--\r\n');
    const expected = [large.subarray(0, 10), large.subarray(500_000, 500_020), large.subarray(-1)];
    for (const [index, bytes] of expected.entries()) {
      const [head, content] = bodies[index + 1].split('\r\n\r\n');
      assert.match(head, /Content-Type: application\/octet-stream\r\nContent-Range: bytes \d+-\d+\/1000000$/);
      assert.ok(Buffer.from(content, 'latin1').equals(bytes));
    }
    const many = await fetch('/hello.txt', { Range: `bytes=${'0-1,'.repeat(100)}` });
    assert.equal(many.status, 200, 'an attack gets the whole');
  });
});

eachEngine('a range far into a file of 5 GB is found', async () => {
  await serving(async (_address, fetch) => {
    const response = await fetch('/sparse.bin', { Range: `bytes=${SPARSE_BYTES - 3}-` });
    assert.deepEqual([response.status, response.body], [206, '\0\0\0']);
    assert.equal(response.fields.get('content-range'), `bytes ${SPARSE_BYTES - 3}-${SPARSE_BYTES - 1}/${SPARSE_BYTES}`);
    const middle = await fetch('/sparse.bin', { Range: 'bytes=4294967290-4294967310' });
    assert.equal(middle.body, '\0'.repeat(21));
  });
});

eachEngine('a precompressed variant goes to those who accept its coding', async () => {
  await serving(async (_address, fetch) => {
    for (const [accepted, coding, body] of [
      ['br, gzip', 'br', 'br'],
      ['gzip', 'gzip', 'gz'],
      ['gzip;q=0.5, br;q=0', 'gzip', 'gz'],
      ['br;q=0.000, gzip; q=0', undefined, 'plain();'.repeat(10)],
      ['identity', undefined, 'plain();'.repeat(10)],
      ['', undefined, 'plain();'.repeat(10)],
    ] as const) {
      const response = await fetch('/app.js', { 'Accept-Encoding': accepted });
      assert.deepEqual([response.fields.get('content-encoding'), response.body], [coding, body], accepted);
      assert.match(response.fields.get('content-type')!, /^text\/javascript/);
      assert.equal(response.fields.get('vary'), 'Accept-Encoding');
    }
    const tags = ['br', 'gzip', 'identity'].map(async (coding) =>
      (await fetch('/app.js', { 'Accept-Encoding': coding })).fields.get('etag'),
    );
    assert.equal(new Set(await Promise.all(tags)).size, 3, 'each representation has its tag');
    const stale = await fetch('/page.html', { 'Accept-Encoding': 'gzip' });
    assert.deepEqual([stale.fields.get('content-encoding'), stale.body], [undefined, '<p>new'], 'older than its file');
  });
  await serving(
    async (_address, fetch) => {
      const response = await fetch('/app.js', { 'Accept-Encoding': 'br' });
      assert.deepEqual([response.fields.has('content-encoding'), response.fields.has('vary')], [false, false]);
    },
    { precompressed: false },
  );
});

eachEngine('Cache-Control is what the program says', async () => {
  await serving(
    async (_address, fetch) => assert.equal((await fetch('/hello.txt')).fields.get('cache-control'), 'max-age=60'),
    { cacheControl: 'max-age=60' },
  );
});
