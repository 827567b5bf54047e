/**
 * What `npm start` shows: the embedded demonstration serves its site, proxies to both upstreams, counts, and ends clean; each
 * listener is told with its engine and the reason.
 */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import test from 'node:test';
import { engineNames } from '../../src/net/index.ts';
import { fetchText, GatewayProcess } from '../support/gateway.ts';

const ANY_PORTS = ['--demonstration-ports', '0,0'];

async function refuses(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => resolve(false)).on('error', () => resolve(true));
    socket.on('close', () => socket.destroy());
  });
}

for (const engine of engineNames) {
  test(`[${engine}] the demonstration serves, proxies, counts and ends`, async () => {
    await using gateway = await GatewayProcess.start(null, { arguments: [...ANY_PORTS, '--engine', engine] });
    const { url } = await gateway.event('demonstration');
    const port = gateway.port();
    assert.equal(url, `http://127.0.0.1:${port}/`);
    const site = await fetchText(port, '/');
    assert.match(site.body, /Millrace is running/);
    assert.equal(site.headers['content-type'], 'text/html; charset=utf-8');
    for (const [, asset] of site.body.matchAll(/(?:href|src)="([\w.]+)"/g)) {
      assert.equal((await fetchText(port, `/${asset}`)).status, 200, asset);
    }
    const upstreams = new Set<unknown>();
    for (let count = 0; count < 4; count++) {
      upstreams.add((JSON.parse((await fetchText(port, '/api/who')).body) as { upstream: string }).upstream);
    }
    assert.deepEqual(upstreams, new Set(['left', 'right']));
    assert.equal(await gateway.metric('millrace_upstream_requests_total', { route: '/api/' }), 4);
    assert.equal(await gateway.metric('millrace_http_responses_total', { status: '200' }), 4 + 3);
    assert.equal((await fetchText(gateway.adminPort, '/healthz')).body, 'ok\n');
    gateway.child.kill('SIGINT');
    assert.deepEqual(await gateway.ended, [0, null]);
    assert.equal(gateway.stderr, '');
    assert.ok(await refuses(port));
  });
}

test('each listener is one line with its engine and the reason', async () => {
  const routes = 'routes: [{ path: /, respond: { body: x } }]';
  await using gateway = await GatewayProcess.start(
    (folder) => `engine: poll
listeners:
  - { address: 127.0.0.1:0, ${routes} }
  - { address: 127.0.0.1:0, ${routes} }
  - { address: "unix:${folder}/socket", ${routes} }
`,
  );
  assert.deepEqual(
    gateway.listening.map(({ protocol, engine, reason, workers }) => [protocol, engine, reason, workers]),
    Array.from({ length: 3 }, () => ['http', 'poll', 'asked for by name', 1]),
  );
  assert.equal(gateway.listening[2].address, `unix:${gateway.folder}/socket`);
  assert.notEqual(gateway.port(0), gateway.port(1));
});

test('two gateways with several workers do not share a port by accident', async () => {
  const configuration = (port: number): string =>
    `workers: 2\nlisteners: [{ address: "127.0.0.1:${port}", routes: [{ path: /, respond: { body: x } }] }]\n`;
  await using first = await GatewayProcess.start(configuration(0));
  await assert.rejects(
    GatewayProcess.start(configuration(first.port())),
    new RegExp(`bind 127\\.0\\.0\\.1:${first.port()}: EADDRINUSE`),
  );
});
