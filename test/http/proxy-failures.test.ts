/**
 * What the proxy does when an upstream is away, slow, wrong or dies, and when a client leaves.
 */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { eachEngine, until } from '../support/net.ts';
import { deadPort, rawClose, rawConnect, rawListen } from '../support/pair.ts';
import { bodyOf, pause, proxied, response, statusOf, upstreamThat } from '../support/proxied.ts';
import { RawUpstream } from '../support/raw-peers.ts';

const ok = (): string => response('ok');
const POST = 'POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi';

eachEngine('a refused connection sends the request to the next upstream, POST with its body too', async () => {
  const upstream = await upstreamThat(ok).listen();
  const dead = `127.0.0.1:${deadPort()}`;
  await proxied([dead, upstream.address], {}, async ({ client, get, handler }) => {
    for (let count = 0; count < 4; count++) assert.equal(bodyOf(await get()), 'ok');
    const one = client();
    one.write(POST);
    assert.equal(statusOf(await one.end()), 200);
    assert.ok(upstream.text.endsWith('\r\n\r\nhi'));
    assert.ok(handler.state.retries > 0);
    assert.deepEqual(
      handler.state.upstreams.map(({ active }) => active),
      [0, 0],
    );
  });
  await upstream.close();
});

eachEngine('with every upstream down the client gets 502, and the log says why', async () => {
  const dead = `127.0.0.1:${deadPort()}`;
  await proxied([dead], {}, async ({ get, client, lines }) => {
    assert.equal(statusOf(await get('/why')), 502);
    assert.match(lines[0], new RegExp(`^502 for GET /why: ${dead}: .*ECONNREFUSED`));
    const one = client();
    one.write(POST);
    assert.equal(statusOf(await one.end()), 502);
  });
});

eachEngine('an upstream that stays silent is 504 and is not asked twice', async () => {
  const upstream = await upstreamThat(() => null).listen();
  await proxied([upstream.address], { responseTimeoutMs: 80 }, async ({ get, lines }) => {
    const startedMs = performance.now();
    assert.equal(statusOf(await get()), 504);
    assert.ok(performance.now() - startedMs >= 79);
    assert.match(lines[0], /^504 for GET \/: .*80 ms/);
    assert.equal(upstream.connections, 1);
  });
  await upstream.close();
});

eachEngine("a kept connection's idle time does not count as the next response's silence", async () => {
  const upstream = new RawUpstream((socket, all) => {
    const requests = all.toString().split('\r\n\r\n').length - 1;
    setTimeout(() => socket.write(ok()), requests === 1 ? 0 : 70);
  });
  await upstream.listen();
  await proxied([upstream.address], { responseTimeoutMs: 120, idleTimeoutMs: 1000 }, async ({ get }) => {
    assert.equal(statusOf(await get()), 200);
    await pause(80);
    assert.equal(statusOf(await get()), 200);
    assert.equal(upstream.connections, 1);
  });
  await upstream.close();
});

eachEngine('an upstream that does not accept in time is passed over, and is 504 where it is the only one', async () => {
  // Its queue of one is full, so that the kernel drops every further SYN.
  const full = rawListen(0);
  const fillers = [rawConnect(full.port)];
  const address = `127.0.0.1:${full.port}`;
  const upstream = await upstreamThat(ok).listen();
  await proxied([address], { connectTimeoutMs: 60 }, async ({ get, lines }) => {
    assert.equal(statusOf(await get()), 504);
    assert.match(lines[0], /^504 for GET \/: .*ETIMEDOUT/);
  });
  await proxied([address, upstream.address], { connectTimeoutMs: 60 }, async ({ client }) => {
    for (let count = 0; count < 2; count++) {
      const one = client();
      one.write(POST);
      assert.equal(statusOf(await one.end()), 200);
    }
  });
  await upstream.close();
  for (const descriptor of [...fillers, full.descriptor]) rawClose(descriptor);
});

eachEngine('what is no HTTP is 502, and the next request goes on another connection', async () => {
  let count = 0;
  const upstream = await upstreamThat(() => (count++ === 0 ? 'SSH-2.0-OpenSSH\r\n' : ok())).listen();
  await proxied([upstream.address], {}, async ({ get, lines }) => {
    assert.equal(statusOf(await get()), 502);
    assert.match(lines[0], /malformed/);
    assert.equal(statusOf(await get()), 200);
    assert.equal(upstream.connections, 2);
  });
  await upstream.close();
});

eachEngine('a stale kept connection is tried again for what may be repeated, and is 502 for POST', async () => {
  // Each connection answers once and is closed without a word when the second request comes.
  const served = new Set<unknown>();
  const upstream = new RawUpstream((socket, all) => {
    if (!all.toString().endsWith('\r\n\r\n') && !all.toString().endsWith('hi')) return;
    if (served.has(socket)) socket.destroy();
    else socket.write(ok());
    served.add(socket);
  });
  await upstream.listen();
  await proxied([upstream.address], {}, async ({ get, client, handler }) => {
    assert.equal(statusOf(await get()), 200);
    assert.equal(statusOf(await get()), 200);
    assert.equal(upstream.connections, 2);
    assert.equal(handler.state.retries, 1);
    assert.equal(handler.state.upstreams[0].failures, 0);
    const one = client();
    one.write(POST);
    assert.equal(statusOf(await one.end()), 502);
    assert.equal(upstream.connections, 2);
  });
  await upstream.close();
});

eachEngine('an upstream that resets within its response cuts that client off and no other', async () => {
  const upstream = await upstreamThat(({ start }) =>
    start.includes('/cut') ? 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this' : ok(),
  ).listen();
  await proxied([upstream.address], {}, async ({ client, get, lines }) => {
    const other = client();
    other.write('GET /other HTTP/1.1\r\nHost: a\r\n\r\n');
    await other.read('ok');
    const one = client();
    one.write('GET /cut HTTP/1.1\r\nHost: a\r\n\r\n');
    await one.read('only this');
    for (const socket of upstream.sockets) if (!socket.destroyed) socket.resetAndDestroy();
    const text = await one.end();
    assert.ok(text.endsWith('only this'));
    await until(() => lines.some((line) => /broke off its response to GET \/cut/.test(line)));
    other.write('GET /again HTTP/1.1\r\nHost: a\r\n\r\n');
    await other.read(/ok[\s\S]*ok/);
    assert.equal(bodyOf(await get()), 'ok');
  });
  await upstream.close();
});

eachEngine('content that ends with the connection is not passed off as complete after a reset', async () => {
  const upstream = await upstreamThat(() => 'HTTP/1.1 200 OK\r\n\r\nsome').listen();
  await proxied([upstream.address], {}, async ({ client }) => {
    const one = client();
    one.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await one.read('some');
    for (const socket of upstream.sockets) socket.resetAndDestroy();
    assert.doesNotMatch(await one.end(), /\r\n0\r\n\r\n$/);
  });
  await upstream.close();
});

// An end alone may be a client that only has nothing more to ask (RFC 9112 section 9.6): it is answered.
eachEngine('a client that resets takes its upstream connection along', async () => {
  const upstream = await upstreamThat(() => null).listen();
  await proxied([upstream.address], {}, async ({ client, handler }) => {
    const one = client();
    one.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => upstream.sockets.size === 1);
    assert.equal(handler.state.upstreams[0].active, 1);
    one.socket.resetAndDestroy();
    await until(() => upstream.sockets.size === 0);
    assert.equal(handler.state.upstreams[0].active, 0);
    assert.equal(handler.state.upstreams[0].failures, 0);
  });
  await upstream.close();
});

eachEngine('an upload that the client breaks off does not look complete to the upstream', async () => {
  let ended = false;
  const upstream = new RawUpstream(() => {});
  upstream.server.on('connection', (socket) => {
    socket.on('end', () => {
      ended = true;
    });
  });
  await upstream.listen();
  await proxied([upstream.address], {}, async ({ client }) => {
    const one = client();
    one.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
    await until(() => upstream.text.includes('abc\r\n'));
    one.destroy();
    await until(() => upstream.sockets.size === 0 || ended);
    assert.ok(!upstream.text.includes('\r\n0\r\n'));
  });
  await upstream.close();
});

eachEngine('an early answer to an upload reaches the client, whose connection stays in order', async () => {
  const upstream = new RawUpstream((socket, all) => {
    if (all.toString().endsWith('first')) socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n');
    if (all.toString().includes('/next')) socket.write(ok());
  });
  await upstream.listen();
  await proxied([upstream.address], {}, async ({ client, handler }) => {
    const one = client();
    one.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nfirst');
    await one.read('HTTP/1.1 413');
    one.write('secondGET /next HTTP/1.1\r\nHost: a\r\n\r\n');
    await one.read('HTTP/1.1 200 OK');
    assert.equal(upstream.connections, 2);
    assert.ok(!upstream.text.includes('second'));
    assert.equal(handler.state.upstreams[0].active, 0);
  });
  await upstream.close();
});

eachEngine(
  'kill -9 of one of two upstreams under load leaves the rest of the traffic unharmed',
  async () => {
    const start = async () => {
      const child = fork(new URL('../support/upstream-child.ts', import.meta.url), { stdio: 'ignore' });
      const [port] = (await once(child, 'message')) as [number];
      return { child, address: `127.0.0.1:${port}` };
    };
    const [victim, survivor] = [await start(), await start()];
    await proxied([victim.address, survivor.address], { connectTimeoutMs: 500 }, async ({ client, handler }) => {
      const statuses: number[] = [];
      const load = async (): Promise<void> => {
        const one = client();
        for (let count = 1; count <= 40; count++) {
          one.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
          await until(() => one.over || one.text.split('HTTP/1.1 ').length > count);
          if (one.over) return void statuses.push(0);
        }
        for (const [, status] of one.text.matchAll(/HTTP\/1\.1 (\d+)/g)) statuses.push(Number(status));
      };
      const loads = Array.from({ length: 16 }, load);
      await until(() => handler.state.upstreams[0].requests > 40);
      victim.child.kill('SIGKILL');
      await Promise.all(loads);
      assert.equal(statuses.length, 16 * 40);
      assert.deepEqual(new Set(statuses), new Set([200]));
      assert.ok(handler.state.upstreams[0].requests > 40);
    });
    survivor.child.kill('SIGKILL');
    await once(survivor.child, 'exit');
  },
  { timeoutMs: 30_000 },
);
