/**
 * SIGHUP while traffic flows: routes, listeners and upstreams change, no request fails, no connection is dropped; a wrong file
 * changes nothing.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { engineNames } from '../../src/net/index.ts';
import { fetchText, GatewayProcess, Load } from '../support/gateway.ts';
import { HttpClient } from '../support/http-client.ts';
import { until } from '../support/net.ts';

const upstreams: Server[] = [];
const portOf = (index: number): number => (upstreams[index].address() as AddressInfo).port;

before(async () => {
  for (const name of ['one', 'two']) {
    const server = createServer((_request, response) => void setTimeout(() => response.end(name), 1));
    upstreams.push(server);
    await once(server.listen(0, '127.0.0.1'), 'listening');
  }
});
after(() => {
  for (const server of upstreams) server.close().closeAllConnections();
});

const proxied = (index: number): string => `{ path: /api/, proxy: { upstreams: ["127.0.0.1:${portOf(index)}"] } }`;
const listener = (address: string, ...routes: string[]): string =>
  `  - { address: "${address}", routes: [${routes.join(', ')}] }\n`;
const listeners = (...some: string[]): string => `listeners:\n${some.join('')}`;

for (const engine of engineNames) {
  test(`[${engine}] routes, upstreams and listeners change under load without a failed request`, async () => {
    const first = listener('127.0.0.1:0', '{ path: /fixed, respond: { body: one } }', proxied(0));
    await using gateway = await GatewayProcess.start(`engine: ${engine}\n${listeners(first)}`);
    const loads = [new Load(gateway.port(), '/fixed', 4), new Load(gateway.port(), '/api/x', 4)];
    const accepted = (): Promise<number> => gateway.metric('millrace_connections_accepted_total');
    await Promise.all(loads.map((load) => load.progress(50)));
    const connections = await accepted();
    for (let round = 0; round < 6; round++) {
      const odd = round % 2 === 0;
      const changed = listener(
        '127.0.0.1:0',
        `{ path: /fixed, respond: { body: ${odd ? 'two' : 'one'} } }`,
        proxied(odd ? 1 : 0),
      );
      const second = odd ? listener('127.0.0.1:0', '{ path: /, respond: { body: second } }') : '';
      const skip = gateway.events.length;
      assert.equal((await gateway.reload(`engine: ${engine}\n${listeners(changed, second)}`)).event, 'reloaded');
      assert.equal((await fetchText(gateway.port(), '/fixed')).body, odd ? 'two' : 'one');
      assert.equal((await fetchText(gateway.port(), '/api/x')).body, odd ? 'two' : 'one');
      if (odd) {
        const { address } = await gateway.event('listening', skip);
        assert.equal((await fetchText(Number(String(address).split(':')[1]), '/')).body, 'second');
      } else {
        await gateway.event('gone', skip);
      }
      await Promise.all(loads.map((load) => load.progress(20)));
    }
    for (const load of loads) await load.finish();
    // The clients kept their connections; 3 further ones a round are this test's own, at most.
    assert.ok((await accepted()) - connections <= 6 * 3, 'clients had to connect again');
    assert.deepEqual(await gateway.terminate(), [0, null]);
    assert.equal(gateway.stderr, '');
  });
}

test('files under way are sent to their end with the routes that began them', async () => {
  const size = 8 * 1024 * 1024;
  const configuration = (folder: string): string =>
    listeners(listener('127.0.0.1:0', `{ path: /, files: { root: "${folder}/public" } }`));
  await using gateway = await GatewayProcess.start((folder) => {
    mkdirSync(join(folder, 'public'));
    writeFileSync(join(folder, 'public/large'), Buffer.alloc(size, 'x'));
    return configuration(folder);
  });
  const slow = new HttpClient({ port: gateway.port() }, { keep: false });
  slow.send('GET /large HTTP/1.1\r\nHost: x\r\n\r\n');
  await until(() => slow.bytes > 0);
  slow.socket.pause();
  for (let round = 0; round < 3; round++) {
    assert.equal((await gateway.reload(configuration(gateway.folder))).event, 'reloaded');
  }
  slow.socket.resume();
  await until(() => slow.bytes >= size);
  slow.send('GET /none HTTP/1.1\r\nHost: x\r\n\r\n');
  const bytes = slow.bytes;
  await until(() => slow.bytes > bytes);
  slow.destroy();
  // What the old routes had opened is closed: after as many reloads again there are no more descriptors than before.
  const descriptors = gateway.descriptors;
  for (let round = 0; round < 5; round++) await gateway.reload(configuration(gateway.folder));
  assert.ok(gateway.descriptors <= descriptors, `${gateway.descriptors} descriptors after ${descriptors}`);
});

test('a wrong file, and a new address that is taken, leave everything as it was', async () => {
  const right = listener('127.0.0.1:0', '{ path: /, respond: { body: right } }');
  await using gateway = await GatewayProcess.start(listeners(right));
  const load = new Load(gateway.port(), '/', 4);
  await load.progress(20);
  const wrong = await gateway.reload(`workers: 0\n${listeners(right)}`);
  assert.equal(wrong.event, 'refused');
  assert.deepEqual(
    (wrong.problems as { field: string }[]).map(({ field }) => field),
    ['workers'],
  );
  const changed = listener('127.0.0.1:0', '{ path: /, respond: { body: changed } }');
  const taken = await gateway.reload(
    listeners(changed, listener(`127.0.0.1:${portOf(0)}`, '{ path: /, respond: {} }')),
  );
  assert.equal(taken.event, 'refused');
  assert.match(String(taken.message), new RegExp(`bind 127\\.0\\.0\\.1:${portOf(0)}: EADDRINUSE`));
  assert.equal((await fetchText(gateway.port(), '/')).body, 'right');
  await load.progress(20);
  await load.finish();
  assert.equal((await gateway.reload(listeners(changed))).event, 'reloaded');
  assert.equal((await fetchText(gateway.port(), '/')).body, 'changed');
});

test('an answer of a listener that a reload removes is completed, also when the gateway ends meanwhile', async () => {
  let answer = (): void => {};
  await using held = createServer((_request, response) => {
    response.write('begun, ');
    answer = () => response.end('done');
  });
  await once(held.listen(0, '127.0.0.1'), 'listening');
  const slow = `{ path: /, proxy: { upstreams: ["127.0.0.1:${(held.address() as AddressInfo).port}"] } }`;
  const stays = listener('127.0.0.1:0', '{ path: /, respond: { body: x } }');
  await using gateway = await GatewayProcess.start((folder) => listeners(stays, listener(`unix:${folder}/s`, slow)));
  const client = new HttpClient({ path: join(gateway.folder, 's') });
  client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await until(() => client.text.includes('begun'));
  assert.equal((await gateway.reload(listeners(stays))).event, 'reloaded');
  gateway.child.kill('SIGTERM');
  await gateway.event('draining');
  // Long after what the gateway still had of listeners is closed.
  await new Promise((resolve) => setTimeout(resolve, 300));
  answer();
  const [response] = await client.answers(1);
  assert.equal(response.body, 'begun, done');
  assert.deepEqual(await gateway.ended, [0, null]);
  client.destroy();
  held.closeAllConnections();
});

test('an upstream that was found down stays down over a reload', async () => {
  const closed = createServer();
  await once(closed.listen(0, '127.0.0.1'), 'listening');
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  const check = 'healthCheck: { path: /, interval: 100ms, unhealthyAfter: 2 }';
  const route = `{ path: /, proxy: { upstreams: ["127.0.0.1:${port}", "127.0.0.1:${portOf(0)}"], ${check} } }`;
  await using gateway = await GatewayProcess.start(listeners(listener('127.0.0.1:0', route)));
  const healthy = (): Promise<number> => gateway.metric('millrace_upstream_healthy', { upstream: `127.0.0.1:${port}` });
  while ((await healthy()) !== 0) await fetchText(gateway.port(), '/');
  const requests = await gateway.metric('millrace_upstream_requests_total');
  const slow = route.replace('interval: 100ms', 'interval: 60m');
  assert.equal((await gateway.reload(listeners(listener('127.0.0.1:0', slow)))).event, 'reloaded');
  assert.equal(await healthy(), 0);
  assert.ok((await gateway.metric('millrace_upstream_requests_total')) >= requests, 'a counter went back');
});

test('what only a restart changes is named with its place', async () => {
  const text = (more: string): string =>
    `listeners: [{ address: "127.0.0.1:0", ${more} routes: [{ path: /, respond: {} }] }]\n`;
  await using gateway = await GatewayProcess.start(text(''));
  const { kept } = await gateway.reload(`serverName: other\nengine: poll\n${text('backlog: 16,')}`);
  assert.deepEqual(kept, ['engine', 'serverName', 'listeners[0].backlog']);
});
