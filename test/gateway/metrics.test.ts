/**
 * The metrics of a running gateway, compared with the table of the guide: each is described, and each description is of one.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { fetchText, GatewayProcess } from '../support/gateway.ts';
import { projectRoot } from '../support/sources.ts';

test('the guide names every metric and no other', async () => {
  const guide = readFileSync(join(projectRoot, 'docs/guides/up.md'), 'utf8');
  const described = new Set([...guide.matchAll(/`((?:millrace|process)_[a-z_]+)`/g)].map(([, name]) => name));
  await using gateway = await GatewayProcess.start(null, { arguments: ['--demonstration-ports', '0,0'] });
  const { body, headers } = await fetchText(gateway.adminPort, '/metrics');
  assert.match(String(headers['content-type']), /^text\/plain; version=0\.0\.4/);
  const given = new Set([...body.matchAll(/^# TYPE (\w+) /gm)].map(([, name]) => name));
  assert.deepEqual([...given].sort(), [...described].sort());
});

test('the admin listener is for reading alone', async () => {
  await using gateway = await GatewayProcess.start(null, { arguments: ['--demonstration-ports', '0,0'] });
  for (const path of ['/healthz', '/metrics']) {
    const { status, headers } = await fetchText(gateway.adminPort, path, { method: 'POST', body: 'x' });
    assert.deepEqual([status, headers.allow], [405, 'GET, HEAD']);
  }
  assert.equal((await fetchText(gateway.adminPort, '/')).status, 404);
});
