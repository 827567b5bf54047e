/**
 * How requests are spread over upstreams, and what active and passive health checks change.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BalanceName, createBalance } from '../../src/http/balance.ts';
import { type ProxyOptions, proxy } from '../../src/http/index.ts';
import { Upstream } from '../../src/http/upstream.ts';
import { eachEngine, until } from '../support/net.ts';
import { bodyOf, proxied, response, statusOf, upstreamThat } from '../support/proxied.ts';

function upstreams(weights: readonly number[]): Upstream[] {
  return weights.map((weight, index) => {
    const address = { family: 'ipv4', address: '127.0.0.1', port: 9000 + index } as const;
    return new Upstream(`127.0.0.1:${9000 + index}`, address, { weight });
  });
}

/** How often each is picked. */
function picks(name: BalanceName, among: readonly Upstream[], keys: Iterable<string>, nowMs = 0): number[] {
  const balance = createBalance(name);
  const counts = among.map(() => 0);
  for (const key of keys) counts[among.indexOf(balance.pick(among, [], nowMs, key)!)]++;
  return counts;
}

const keys = (count: number): string[] => Array.from({ length: count }, (_, index) => `198.51.100.${index}`);

test('round robin gives each its weight exactly, and spreads the turns', () => {
  assert.deepEqual(picks('roundRobin', upstreams([5, 1, 2]), keys(80)), [50, 10, 20]);
  const balance = createBalance('roundRobin');
  const among = upstreams([5, 1, 1]);
  const order = keys(7).map((key) => among.indexOf(balance.pick(among, [], 0, key)!));
  // The sequence of nginx, whose algorithm it is.
  assert.deepEqual(order, [0, 0, 1, 0, 2, 0, 0]);
});

test('one that is not available is passed over, and gets no more than its share afterwards', () => {
  const among = upstreams([1, 1, 1]);
  among[1].healthy = false;
  assert.deepEqual(picks('roundRobin', among, keys(40)), [20, 0, 20]);
  among[1].healthy = true;
  assert.deepEqual(picks('roundRobin', among, keys(30)), [10, 10, 10]);
});

test('least connections picks the one with the fewest for its weight, equal ones by turns', () => {
  const balance = createBalance('leastConnections');
  const among = upstreams([1, 2]);
  const pick = (): number => among.indexOf(balance.pick(among, [], 0, '')!);
  for (let count = 0; count < 30; count++) among[pick()].active++;
  assert.deepEqual(
    among.map(({ active }) => active),
    [10, 20],
  );
  among[0].active = 3;
  assert.equal(pick(), 0);
  for (const upstream of among) upstream.active = 0;
  assert.deepEqual([pick(), pick()].sort(), [0, 1]);
});

test('consistent hashing spreads by weight, and removing one moves only its keys', () => {
  const among = upstreams([1, 1, 2, 1]);
  const balance = createBalance('consistentHash');
  const all = keys(4000);
  const before = all.map((key) => balance.pick(among, [], 0, key));
  const counts = among.map((upstream) => before.filter((picked) => picked === upstream).length);
  for (const [index, share] of [800, 800, 1600, 800].entries()) {
    assert.ok(Math.abs(counts[index] - share) < share * 0.15, `${counts}`);
  }
  among[3].healthy = false;
  let moved = 0;
  all.forEach((key, index) => {
    const picked = balance.pick(among, [], 0, key);
    if (before[index] === among[3]) moved++;
    else assert.equal(picked, before[index]);
    assert.notEqual(picked, among[3]);
  });
  assert.equal(moved, counts[3]);
});

test('addresses, weights and times that cannot be are refused', () => {
  assert.throws(() => proxy([]), RangeError);
  assert.throws(() => proxy([{ address: '127.0.0.1:1', weight: 0 }]), RangeError);
  assert.throws(() => proxy(['127.0.0.1:1'], { connectTimeoutMs: -1 }), RangeError);
  assert.throws(() => proxy(['127.0.0.1:99999']));
});

eachEngine('a hash by path, by a field and by client sends equal requests to one upstream', async () => {
  const made = await Promise.all(['a', 'b', 'c', 'd'].map((name) => upstreamThat(() => response(name)).listen()));
  const addresses = made.map(({ address }) => address);
  const distinct = async (hashKey: string, ask: (get: Ask, index: number) => Promise<string>): Promise<number> => {
    let count = 0;
    await proxied(addresses, { balance: 'consistentHash', hashKey } satisfies ProxyOptions, async ({ get }) => {
      const first: string[] = [];
      for (let index = 0; index < 12; index++) first.push(bodyOf(await ask(get, index)));
      for (let index = 0; index < 12; index++) assert.equal(bodyOf(await ask(get, index)), first[index]);
      count = new Set(first).size;
    });
    return count;
  };
  assert.ok((await distinct('path', (get, index) => get(`/${index}?${Math.random()}`))) > 1);
  assert.ok((await distinct('X-User', (get, index) => get('/', `x-user: ${index}\r\n`))) > 1);
  assert.equal(await distinct('client', (get, index) => get(`/${index}`)), 1);
  for (const upstream of made) await upstream.close();
});

type Ask = (path?: string, fields?: string) => Promise<string>;

eachEngine('active checks take an upstream out after some failures and back after some successes', async () => {
  let answer = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n';
  const checks: string[] = [];
  const sick = await upstreamThat(({ start, fields }) => {
    if (start !== 'GET /healthz HTTP/1.1') return response('sick');
    checks.push(fields.map(([name, value]) => `${name}: ${value}`).join('\n'));
    return answer;
  }).listen();
  const well = await upstreamThat(() => response('well')).listen();
  const healthCheck = { path: '/healthz', intervalMs: 15, timeoutMs: 200, unhealthyAfter: 3, healthyAfter: 2 };
  await proxied([sick.address, well.address], { healthCheck }, async ({ get, handler, lines }) => {
    const [upstream] = handler.state.upstreams;
    await until(() => checks.length >= 2);
    assert.equal(upstream.healthy, true);
    answer = 'HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n';
    const from = checks.length;
    await until(() => !upstream.healthy);
    assert.ok(checks.length - from >= 3, `${checks.length - from} checks`);
    assert.deepEqual(lines, [`${sick.address} is unhealthy: status 503`]);
    for (let count = 0; count < 4; count++) assert.equal(bodyOf(await get()), 'well');
    answer = 'HTTP/1.1 204 No Content\r\n\r\n';
    await until(() => upstream.healthy);
    assert.match(lines[1], /is healthy/);
    const bodies = new Set([bodyOf(await get()), bodyOf(await get())]);
    assert.deepEqual(bodies, new Set(['sick', 'well']));
    assert.ok(checks[0].includes(`host: ${sick.address}`));
  });
  await sick.close();
  await well.close();
});

eachEngine('with every upstream found unhealthy the client gets 503 at once', async () => {
  const upstream = await upstreamThat(() => 'HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n').listen();
  const healthCheck = { path: '/', intervalMs: 10, unhealthyAfter: 1 };
  await proxied([upstream.address], { healthCheck }, async ({ get, handler, lines }) => {
    await until(() => !handler.state.upstreams[0].healthy);
    assert.equal(statusOf(await get('/x')), 503);
    assert.ok(lines.includes('503 for GET /x: no upstream is available'));
  });
  await upstream.close();
});

eachEngine('an upstream that fails some times in a row rests, and comes back', async () => {
  let broken = true;
  const flaky = await upstreamThat(() => (broken ? 'nonsense\r\n' : response('flaky'))).listen();
  const steady = await upstreamThat(() => response('steady')).listen();
  await proxied([flaky.address, steady.address], {}, async ({ get, handler, lines }) => {
    const [upstream] = handler.state.upstreams;
    // What is no HTTP is not repeated elsewhere: the request has been acted on, perhaps.
    for (let count = 0; count < 6; count++) await get();
    assert.equal(upstream.failures, 3);
    assert.ok(
      lines.some((line) => line.startsWith(`${flaky.address} rests for 1000 ms`)),
      lines.join('\n'),
    );
    for (let count = 0; count < 4; count++) assert.equal(bodyOf(await get()), 'steady');
    broken = false;
    upstream.restingUntilMs = performance.now();
    const bodies = new Set([bodyOf(await get()), bodyOf(await get())]);
    assert.deepEqual(bodies, new Set(['flaky', 'steady']));
  });
  await flaky.close();
  await steady.close();
});

test('many failures together are one reason to rest, not many', () => {
  const [upstream] = upstreams([1]);
  const rests = Array.from({ length: 64 }, () => upstream.failed(1000));
  assert.deepEqual(
    rests.filter((restMs) => restMs > 0),
    [1000],
  );
  assert.equal(upstream.failed(2001), 2000);
  upstream.succeeded();
  assert.equal(upstream.available(2002), true);
});
