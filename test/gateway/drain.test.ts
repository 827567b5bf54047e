/**
 * SIGTERM: what is under way completes, what is idle closes, new clients are refused, and the admin listener tells of it.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { engineNames } from '../../src/net/index.ts';
import { fetchText, GatewayProcess } from '../support/gateway.ts';
import { HttpClient } from '../support/http-client.ts';
import { until } from '../support/net.ts';

const SIZE = 16 * 1024 * 1024;
const REQUEST = ' HTTP/1.1\r\nHost: x\r\n\r\n';

/** Waits until new clients are refused: the kernel takes a moment, and each worker its own. */
async function closing(port: number): Promise<void> {
  const deadlineMs = performance.now() + 2000;
  const refused = (): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => resolve(true));
      socket.on('connect', () => {
        socket.destroy();
        resolve(false);
      });
    });
  while (!(await refused())) assert.ok(performance.now() < deadlineMs, 'clients are still accepted');
}

/** A client that closes its side when the server does, as browsers and libraries do. */
function client(port: number, request: string, keep = true): HttpClient {
  const opened = new HttpClient({ port }, { keep }).send(request);
  opened.socket.on('end', () => opened.end());
  return opened;
}

/** An upstream that begins each answer and ends it when it is told to. */
async function startHeld(): Promise<AsyncDisposable & { readonly port: number; release(): void }> {
  const held: ServerResponse[] = [];
  const server = createServer((_request, response) => {
    response.write('begun, ');
    held.push(response);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    release() {
      for (const response of held.splice(0)) response.end('done');
    },
    async [Symbol.asyncDispose]() {
      server.close().closeAllConnections();
    },
  };
}

for (const engine of engineNames) {
  for (const workers of engine === 'io_uring' || engine === 'epoll' ? [1, 2] : [1]) {
    test(`[${engine}] ${workers} worker(s): answers under way complete, idle connections close`, async () => {
      await using upstream = await startHeld();
      await using gateway = await GatewayProcess.start((folder) => {
        mkdirSync(join(folder, 'public'));
        writeFileSync(join(folder, 'public/large'), Buffer.alloc(SIZE, 'x'));
        return `engine: ${engine}\nworkers: ${workers}
listeners:
  - address: 127.0.0.1:0
    routes:
      - { path: /hello, respond: { body: hello } }
      - { path: /files/, files: { root: ./public } }
      - { path: /api/, proxy: { upstreams: ["127.0.0.1:${upstream.port}"] } }
`;
      });
      const port = gateway.port();
      const idle = client(port, `GET /hello${REQUEST}`);
      await idle.answers(1);
      const proxied = client(port, `GET /api/x${REQUEST}`);
      await until(() => proxied.text.includes('begun'));
      const file = client(port, `GET /files/large${REQUEST}`, false);
      await until(() => file.bytes > 0);
      file.socket.pause();
      gateway.child.kill('SIGTERM');
      await gateway.event('draining');
      await idle.closing();
      assert.ok(idle.ended && !idle.reset, 'an idle connection was reset');
      await until(() => proxied.text.includes('begun'));
      await closing(port);
      const health = await fetchText(gateway.adminPort, '/healthz');
      assert.deepEqual([health.status, health.body], [503, 'draining\n']);
      upstream.release();
      file.socket.resume();
      const [answer] = await proxied.answers(1);
      assert.equal(answer.body, 'begun, done');
      await file.closing();
      assert.ok(file.ended && !file.reset && file.bytes > SIZE, `${file.bytes} of ${SIZE}`);
      assert.deepEqual(await gateway.ended, [0, null]);
      assert.equal(gateway.stderr, '');
      for (const opened of [idle, proxied, file]) opened.destroy();
    });
  }
}

test('a head that never ends, and a client that reads nothing, are cut after drainTimeout', async () => {
  await using gateway = await GatewayProcess.start((folder) => {
    mkdirSync(join(folder, 'public'));
    writeFileSync(join(folder, 'public/large'), Buffer.alloc(SIZE, 'x'));
    return 'drainTimeout: 300ms\nlisteners: [{ address: "127.0.0.1:0", routes: [{ path: /, files: { root: public } }] }]\n';
  });
  const half = client(gateway.port(), 'GET / HT');
  const stuck = client(gateway.port(), `GET /large${REQUEST}`, false);
  await until(() => stuck.bytes > 0);
  stuck.socket.pause();
  const begin = performance.now();
  assert.deepEqual(await gateway.terminate(), [0, null]);
  const elapsedMs = performance.now() - begin;
  assert.ok(elapsedMs >= 250 && elapsedMs < 3000, `${elapsedMs} ms`);
  assert.match(gateway.stderr, /[12] connections? .*cut after 300 ms of draining/);
  half.destroy();
  stuck.destroy();
});
