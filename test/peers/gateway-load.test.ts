/**
 * The gateway before a real nginx and a real directory, driven by wrk on each engine: no error, and afterwards no more
 * descriptors and no more memory than before. MILLRACE_LONG=1 drives for 30 seconds instead of 5.
 */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { engineNames } from '../../src/net/index.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { hasPeers, runWrk, startNginx } from '../support/peers.ts';

const SECONDS = process.env.MILLRACE_LONG === '1' ? 30 : 5;
/** V8's heap and the caches breathe; a leak of one small object a request would show as hundreds of megabytes. */
const GROWTH_BYTES_MAX = 48 * 1024 * 1024;

async function settledDescriptors(gateway: GatewayProcess, before: number): Promise<void> {
  const deadlineMs = performance.now() + 3000;
  while (gateway.descriptors > before && performance.now() < deadlineMs) await sleep(50);
  assert.ok(gateway.descriptors <= before, `${gateway.descriptors} descriptors, ${before} before`);
}

for (const engine of engineNames) {
  test(`[${engine}] files and proxied answers under load: no error, nothing left`, {
    timeout: 100_000,
  }, async (context) => {
    if (!hasPeers(context, 'nginx', 'wrk')) return;
    await using nginx = await startNginx(`location /api/ { return 200 "${'x'.repeat(1024)}"; }`);
    await using gateway = await GatewayProcess.start((folder) => {
      mkdirSync(join(folder, 'public'));
      writeFileSync(join(folder, 'public/small.txt'), 'x'.repeat(1000));
      writeFileSync(join(folder, 'public/large.bin'), Buffer.alloc(256 * 1024, 'x'));
      const proxy = `{ upstreams: ["127.0.0.1:${nginx.port}"] }`;
      return `engine: ${engine}
listeners: [{ address: "127.0.0.1:0", routes: [{ path: /, files: { root: public } }, { path: /api/, proxy: ${proxy} }] }]
`;
    });
    const url = `http://127.0.0.1:${gateway.port()}`;
    const drive = async (seconds: number): Promise<number> => {
      let requests = 0;
      for (const path of ['/small.txt', '/large.bin', '/api/x']) {
        const result = await runWrk(url + path, seconds);
        assert.deepEqual(result.errors, [], path);
        assert.ok(result.requests > 100, `${path}: ${result.requests} requests`);
        requests += result.requests;
      }
      return requests;
    };
    // The first round opens what stays open: caches, connections to the upstream, compiled code.
    await drive(1);
    const [descriptors, memory] = [gateway.descriptors, gateway.residentBytes];
    const answered = await gateway.metric('millrace_http_responses_total');
    const requests = await drive(Math.ceil(SECONDS / 3));
    assert.ok((await gateway.metric('millrace_http_responses_total')) - answered >= requests);
    assert.equal(await gateway.metric('millrace_upstream_failures_total'), 0);
    await settledDescriptors(gateway, descriptors);
    assert.equal(await gateway.metric('millrace_connections_open'), 0);
    const growth = gateway.residentBytes - memory;
    assert.ok(growth < GROWTH_BYTES_MAX, `${Math.round(growth / 1024)} KB grown over ${requests} requests`);
    assert.deepEqual(await gateway.terminate(), [0, null]);
    assert.equal(gateway.stderr, '');
  });
}
