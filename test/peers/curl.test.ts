/**
 * The gateway as curl sees it: HTTP/1.0, ranges, HEAD, paths as they are, expectations, uploads with and without a length.
 */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { engineNames } from '../../src/net/index.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { curl, hasPeers, startHaproxy, startNginx } from '../support/peers.ts';

const UPLOAD_BYTES = 5 * 1024 * 1024;

/** nginx that takes uploads of any kind and says how long they were. */
const UPLOADS = `    location /upload/ { dav_methods PUT; create_full_put_path on; }
    location /host/ { return 200 "$http_host|$http_x_forwarded_for|$http_via|$server_protocol"; }`;

async function startBoth(
  engine: string,
): Promise<AsyncDisposable & { readonly gateway: GatewayProcess; readonly url: string }> {
  const nginx = await startNginx(UPLOADS);
  const gateway = await GatewayProcess.start((folder) => {
    mkdirSync(join(folder, 'public'));
    writeFileSync(join(folder, 'public/digits.txt'), '0123456789');
    writeFileSync(join(folder, 'secret'), 'secret');
    writeFileSync(join(folder, 'upload.bin'), Buffer.alloc(UPLOAD_BYTES, 'u'));
    const proxy = `proxy: { upstreams: ["127.0.0.1:${nginx.port}"] }`;
    return `engine: ${engine}
listeners:
  - address: 127.0.0.1:0
    routes:
      - { path: /, files: { root: public } }
      - { path: /upload/, ${proxy} }
      - { path: /host/, ${proxy} }
`;
  });
  return {
    gateway,
    url: `http://127.0.0.1:${gateway.port()}`,
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await nginx[Symbol.asyncDispose]();
    },
  };
}

const ready = (context: TestContext): boolean => hasPeers(context, 'nginx', 'curl');

for (const engine of engineNames) {
  test(`[${engine}] files by curl: HTTP/1.0, ranges, HEAD, paths as they are`, async (context) => {
    if (!ready(context)) return;
    await using both = await startBoth(engine);
    const { url } = both;
    const old = await curl('--http1.0', '--include', `${url}/digits.txt`);
    assert.match(old, /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n0123456789$/);
    assert.equal(await curl('--range', '2-4', `${url}/digits.txt`), '234');
    assert.equal(await curl('--range', '-3', `${url}/digits.txt`), '789');
    const several = await curl('--include', '--range', '0-1,8-9', `${url}/digits.txt`);
    assert.match(several, /206[\s\S]*multipart\/byteranges[\s\S]*\r\n\r\n01\r\n[\s\S]*\r\n\r\n89\r\n/);
    assert.match(
      await curl('--head', `${url}/digits.txt`),
      /^HTTP\/1\.1 200 OK[\s\S]*Content-Length: 10\r\n(?:.+\r\n)*\r\n$/i,
    );
    for (const attempt of ['/../secret', '/..%2fsecret', '/%2e%2e/secret', '/x/..%5c..%5csecret', '/..%252fsecret']) {
      const answer = await curl('--path-as-is', '--include', url + attempt);
      assert.match(answer, /^HTTP\/1\.1 4\d\d /, attempt);
      assert.ok(!answer.endsWith('secret'), attempt);
    }
    const two = await curl(`${url}/digits.txt`, `${url}/digits.txt`, '--write-out', '|%{num_connects}');
    assert.equal(two, '0123456789|10123456789|0');
  });

  test(`[${engine}] uploads by curl through the proxy: Expect, chunked, HTTP/1.0`, async (context) => {
    if (!ready(context)) return;
    await using both = await startBoth(engine);
    const { gateway, url } = both;
    const file = join(gateway.folder, 'upload.bin');
    const status = ['--output', '/dev/null', '--write-out', '%{http_code}'];
    assert.equal(
      await curl(...status, '--header', 'Expect: 100-continue', '--upload-file', file, `${url}/upload/a`),
      '201',
    );
    assert.equal((await curl(`${url}/upload/a`)).length, UPLOAD_BYTES);
    const chunked = ['--header', 'Transfer-Encoding: chunked', '--upload-file', file];
    assert.equal(await curl(...status, ...chunked, `${url}/upload/b`), '201');
    assert.equal((await curl(`${url}/upload/b`)).length, UPLOAD_BYTES);
    assert.equal(await curl(...status, '--http1.0', '--upload-file', file, `${url}/upload/c`), '201');
    const [host, client, via, protocol] = (await curl(`${url}/host/`, '--header', 'Host: site.test')).split('|');
    assert.deepEqual([host, client, protocol], ['site.test', '127.0.0.1', 'HTTP/1.1']);
    assert.match(via, /^1\.1 millrace$/);
    writeFileSync(file, Buffer.alloc(11 * 1024 * 1024));
    assert.equal(
      await curl(...status, '--header', 'Expect: 100-continue', '--upload-file', file, `${url}/upload/d`),
      '413',
    );
  });
}

test('HAProxy before Millrace, and Millrace before HAProxy', async (context) => {
  if (!hasPeers(context, 'nginx', 'curl', 'haproxy')) return;
  await using both = await startBoth('auto');
  await using front = await startHaproxy(both.gateway.port());
  assert.equal(await curl(`http://127.0.0.1:${front.port}/digits.txt`), '0123456789');
  const [, clients] = (await curl(`http://127.0.0.1:${front.port}/host/`)).split('|');
  // What a client says about itself is not believed unless trustForwarded says so.
  assert.equal(clients, '127.0.0.1');
  const upload = ['--upload-file', join(both.gateway.folder, 'upload.bin'), '--header', 'Transfer-Encoding: chunked'];
  await curl(...upload, `http://127.0.0.1:${front.port}/upload/x`);
  await using behind = await GatewayProcess.start(
    `listeners: [{ address: "127.0.0.1:0", routes: [{ path: /, proxy: { upstreams: ["127.0.0.1:${front.port}"] } }] }]\n`,
  );
  assert.equal((await curl(`http://127.0.0.1:${behind.port()}/upload/x`)).length, UPLOAD_BYTES);
  const answer = await curl('--head', `http://127.0.0.1:${behind.port()}/digits.txt`);
  assert.match(answer, /^HTTP\/1\.1 200 OK/);
  assert.equal(await behind.metric('millrace_upstream_failures_total'), 0);
});
