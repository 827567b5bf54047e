/**
 * Several workers: they share each port, and one that dies takes neither the gateway nor the others with it.
 *
 * A newcomer would get wrong: the gateway runs in this process here, because only from inside can one of its threads be ended
 * the way a crash ends it.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import type { Worker as Thread } from 'node:worker_threads';
import { Gateway } from '../../src/gateway/gateway.ts';
import { parseConfiguration } from '../../src/gateway/read.ts';
import { fetchText, GatewayProcess } from '../support/gateway.ts';
import { until } from '../support/net.ts';

const folder = mkdtempSync(join(tmpdir(), 'millrace-workers-'));
after(() => rmSync(folder, { recursive: true }));

const routes = 'routes: [{ path: /, respond: { body: "hello" } }]';

/** Clients over connections of their own, so that the kernel spreads them. */
async function visit(port: number, clients: number): Promise<number> {
  const answers = Array.from({ length: clients }, () => fetchText(port, '/', { timeoutMs: 5000 }));
  const results = await Promise.allSettled(answers);
  return results.filter((result) => result.status === 'fulfilled' && result.value.body === 'hello').length;
}

test('workers share a port that the kernel chose, and each serves', async () => {
  await using gateway = await GatewayProcess.start(
    (place) => `workers: 2\nlisteners:
  - { address: 127.0.0.1:0, ${routes} }
  - { address: 127.0.0.1:0, ${routes} }
  - { address: "unix:${place}/socket", ${routes} }\n`,
  );
  assert.equal(gateway.listening.length, 3);
  assert.equal(gateway.listening[0].workers, 2);
  for (const index of [0, 1]) {
    assert.equal(await visit(gateway.port(index), 60), 60);
    const label = { listener: `127.0.0.1:${gateway.port(index)}` };
    assert.equal(await gateway.metric('millrace_http_responses_total', label), 60);
  }
  assert.equal(await gateway.metric('millrace_workers'), 2);
  assert.deepEqual(await gateway.terminate(), [0, null]);
  assert.equal(gateway.stderr, '');
});

/** The threads of a gateway with several workers, to be ended from outside. */
function threadsOf(gateway: Gateway): Thread[] {
  return (gateway as unknown as { readonly workers: readonly { readonly thread: Thread }[] }).workers.map(
    ({ thread }) => thread,
  );
}

test('a worker whose thread dies is replaced; the others go on', async () => {
  const text = `workers: 2\nadmin: 127.0.0.1:0\nlisteners: [{ address: "127.0.0.1:0", ${routes} }]\n`;
  const lines: string[] = [];
  const gateway = await Gateway.start(parseConfiguration(text, join(folder, 'millrace.yaml')), {
    write: (line) => void lines.push(line),
  });
  try {
    const port = Number(gateway.listeners[0].address.split(':')[1]);
    const adminPort = Number(gateway.adminAddress!.split(':')[1]);
    const health = async (): Promise<number> => (await fetchText(adminPort, '/healthz')).status;
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    await fetchText(port, '/', { agent });
    assert.equal(await health(), 200);
    const [first, second] = threadsOf(gateway);
    // Whichever worker has this client, the other one goes.
    const counts = (await gateway.reports()).map(({ listeners: [{ connections }] }) => connections);
    const victim = counts[0] === 1 ? second : first;
    const died = once(victim, 'exit');
    void victim.terminate();
    await died;
    assert.equal(await health(), 503);
    assert.equal((await fetchText(port, '/', { agent })).body, 'hello');
    // The kernel takes the dead thread's ring apart in the background; until then its listening socket takes connections.
    while ((await visit(port, 20)) < 20);
    assert.equal((await gateway.reports()).length, 1);
    const wanted = parseConfiguration(text.replace('"hello"', '"changed"'), join(folder, 'millrace.yaml'));
    assert.deepEqual(await gateway.reload(wanted), []);
    await until(() => lines.some((line) => /worker \d was replaced/.test(line)));
    assert.equal(await health(), 200);
    assert.equal((await gateway.reports()).length, 2);
    for (let count = 0; count < 20; count++) assert.equal((await fetchText(port, '/')).body, 'changed');
    assert.ok(lines.some((line) => /worker \d ended with code 1; its connections are lost/.test(line)));
    agent.destroy();
  } finally {
    await gateway.close();
  }
});

test('a gateway whose only workers are dead still drains', async () => {
  const text = `workers: 2\nlisteners: [{ address: "127.0.0.1:0", ${routes} }]\n`;
  const gateway = await Gateway.start(parseConfiguration(text, join(folder, 'millrace.yaml')), { write: () => {} });
  const threads = threadsOf(gateway);
  await Promise.all(threads.map((thread) => thread.terminate()));
  await gateway.drain();
  assert.equal((await gateway.reports()).length, 0);
});
