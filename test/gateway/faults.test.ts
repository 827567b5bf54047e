/**
 * What goes wrong around a gateway, and that the rest of the traffic does not notice: upstreams that are killed, stall or reset,
 * clients that creep or vanish, descriptors that run out.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { engineNames } from '../../src/net/index.ts';
import { fetchText, GatewayProcess, Load } from '../support/gateway.ts';
import { HttpClient } from '../support/http-client.ts';
import { until } from '../support/net.ts';
import { projectRoot } from '../support/sources.ts';

async function startUpstream(context: TestContext): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const child = fork(join(projectRoot, 'test/support/upstream-child.ts'));
  context.after(() => child.kill('SIGKILL'));
  const [port] = (await once(child, 'message')) as [number];
  return { child, port };
}

/** A server of raw sockets. `answer` is called with each that has received something. */
async function startRaw(context: TestContext, answer: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).once('data', () => answer(socket));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  context.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

const upstreamsOf = (...ports: number[]): string =>
  `upstreams: [${ports.map((port) => `"127.0.0.1:${port}"`).join(', ')}]`;
const HELLO = '{ path: /hello, respond: { body: hello } }';
const configuration = (engine: string, ...routes: string[]): string =>
  `engine: ${engine}\nlisteners: [{ address: "127.0.0.1:0", routes: [${[HELLO, ...routes].join(', ')}] }]\n`;

for (const engine of engineNames) {
  test(`[${engine}] an upstream killed under load loses no request that may be repeated`, async (context) => {
    const [victim, other] = [await startUpstream(context), await startUpstream(context)];
    const route = `{ path: /api/, proxy: { ${upstreamsOf(victim.port, other.port)} } }`;
    await using gateway = await GatewayProcess.start(configuration(engine, route));
    const load = new Load(gateway.port(), '/api/x', 16);
    const bystander = new Load(gateway.port(), '/hello', 2);
    await load.progress(200);
    victim.child.kill('SIGKILL');
    await load.progress(400);
    await load.finish();
    await bystander.finish();
    const failures = await gateway.metric('millrace_upstream_failures_total', { upstream: `127.0.0.1:${victim.port}` });
    assert.ok(failures > 0, 'the upstream was not in use when it died');
    assert.deepEqual(await gateway.terminate(), [0, null]);
  });

  test(`[${engine}] descriptors run out and come back`, async () => {
    // From the start on: io_uring takes the limit that was in force when accepting began (io_accept_prep in Linux).
    const prefix = ['prlimit', '--nofile=100:100'];
    await using gateway = await GatewayProcess.start(configuration(engine), { prefix });
    const kept = new HttpClient({ port: gateway.port() }).send('GET /hello HTTP/1.1\r\nHost: x\r\n\r\n');
    await kept.answers(1);
    const crowd = Array.from({ length: 120 }, () => connect(gateway.port(), '127.0.0.1').on('error', () => {}));
    await until(() => /descriptors or memory ran out/.test(gateway.stderr));
    // Who is connected goes on being served.
    for (let count = 2; count < 50; count++) {
      kept.send('GET /hello HTTP/1.1\r\nHost: x\r\n\r\n');
      assert.equal((await kept.answers(count)).at(-1)?.body, 'hello');
    }
    for (const socket of crowd) socket.destroy();
    const load = new Load(gateway.port(), '/hello', 8);
    await load.progress(200);
    await load.finish();
    kept.destroy();
    assert.ok(gateway.stderr.split('\n').length < 30, gateway.stderr);
    assert.deepEqual(await gateway.terminate(), [0, null]);
  });

  test(`[${engine}] an upstream that stalls, or resets within a body, hurts only who asked for it`, async (context) => {
    const stalling = await startRaw(context, () => {});
    const resetting = await startRaw(context, (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf');
      setTimeout(() => socket.resetAndDestroy(), 20);
    });
    const good = await startUpstream(context);
    await using gateway = await GatewayProcess.start(
      configuration(
        engine,
        `{ path: /stall/, proxy: { ${upstreamsOf(stalling)}, responseTimeout: 400ms, retries: 0 } }`,
        `{ path: /reset/, proxy: { ${upstreamsOf(resetting)} } }`,
        `{ path: /good/, proxy: { ${upstreamsOf(good.port)} } }`,
      ),
    );
    const loads = [new Load(gateway.port(), '/hello', 2), new Load(gateway.port(), '/good/x', 4)];
    const stalled = Array.from({ length: 10 }, () => fetchText(gateway.port(), '/stall/x'));
    const cut = Promise.allSettled(Array.from({ length: 10 }, () => fetchText(gateway.port(), '/reset/x')));
    for (const { status } of await Promise.all(stalled)) assert.equal(status, 504);
    for (const result of await cut) {
      assert.equal(result.status, 'rejected', 'half a body was passed off as a whole one');
    }
    for (const load of loads) {
      await load.progress(50);
      await load.finish();
    }
    assert.match(gateway.stderr, /504/);
    assert.equal(await gateway.metric('millrace_upstream_active'), 0);
  });
}

// The timers are net's, the same for every engine; one of each kind is enough for what takes seconds.
for (const engine of ['io_uring', 'epoll'] as const) {
  test(`[${engine}] a client that sends a byte a second is cut by headTimeout, others are served meanwhile`, async () => {
    await using gateway = await GatewayProcess.start(`limits: { headTimeout: 1500ms }\n${configuration(engine)}`);
    const load = new Load(gateway.port(), '/hello', 2);
    const creeping = Array.from({ length: 20 }, () => new HttpClient({ port: gateway.port() }));
    const begin = performance.now();
    const text = 'GET /hello HTTP/1.1\r\nHost: x\r\n\r\n';
    for (let index = 0; index < text.length && creeping.some(({ closed }) => !closed); index++) {
      for (const client of creeping) if (!client.closed) client.send(text[index]);
      await Promise.race([sleep(1000), Promise.all(creeping.map((client) => client.closing(10_000)))]);
    }
    const elapsedMs = performance.now() - begin;
    assert.ok(elapsedMs > 1000 && elapsedMs < 4000, `cut after ${elapsedMs} ms`);
    for (const client of creeping) {
      assert.equal(client.responses()[0]?.status, 408);
      client.destroy();
    }
    await load.finish();
  });
}

/** Connects and goes away in waves, some with a request begun, some with one whose answer nobody reads. */
async function vanish(port: number, clients: number): Promise<void> {
  const texts = [
    '',
    'GET /he',
    'GET /hello HTTP/1.1\r\nHost: x\r\n\r\n',
    'POST /hello HTTP/1.1\r\nContent-Length: 9\r\n',
  ];
  const wave = 250;
  for (let begun = 0; begun < clients; begun += wave) {
    const sockets = Array.from({ length: wave }, () => connect(port, '127.0.0.1').on('error', () => {}));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    for (const [index, socket] of sockets.entries()) {
      const text = texts[index % texts.length];
      if (text !== '') socket.write(text);
      if (index % 3 === 0) socket.resetAndDestroy();
      else socket.destroy();
    }
  }
}

for (const engine of engineNames) {
  test(`[${engine}] 5,000 clients that connect and vanish leave nothing behind`, async () => {
    await using gateway = await GatewayProcess.start(configuration(engine));
    const load = new Load(gateway.port(), '/hello', 4);
    await load.progress(50);
    const descriptors = gateway.descriptors;
    await vanish(gateway.port(), 5000);
    await load.progress(50);
    const deadlineMs = performance.now() + 5000;
    while (gateway.descriptors > descriptors + 2) {
      assert.ok(performance.now() < deadlineMs, `${gateway.descriptors} descriptors, ${descriptors} before`);
      await sleep(20);
    }
    await load.finish();
    assert.equal(await gateway.metric('millrace_connections_accepted_total'), 5000 + 4);
    assert.deepEqual(await gateway.terminate(), [0, null]);
  });
}
