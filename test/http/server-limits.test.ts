/** What a client may ask for, and how long it may take: limits, timeouts, and who is slowed down by whom. */
import assert from 'node:assert/strict';
import type { Handler } from '../../src/http/index.ts';
import { ask, get, HttpClient } from '../support/http-client.ts';
import { withServer } from '../support/http-server.ts';
import { awaited, eachEngine, turns, until } from '../support/net.ts';

const hello: Handler = (_request, response) => response.text('hello');
const echo: Handler = async (request, response) => response.text(await request.text());

eachEngine('a body that is announced too long is 413 before any of it is read', async () => {
  let calls = 0;
  const handler: Handler = (_request, response) => {
    calls++;
    response.text('');
  };
  await withServer(
    handler,
    async (address) => {
      const client = new HttpClient(address);
      client.send(get('/', { 'Content-Length': '1001', Expect: '100-continue' }, 'POST'));
      await client.closing();
      assert.deepEqual(
        client.responses().map(({ status }) => status),
        [413],
      );
      assert.equal(calls, 0);
      client.destroy();
    },
    { limits: { bodySize: 1000 } },
  );
});

eachEngine('a chunked body that grows too long is 413', async () => {
  const errors: unknown[] = [];
  await withServer(
    echo,
    async (address) => {
      const client = new HttpClient(address);
      client.send(get('/', { 'Transfer-Encoding': 'chunked' }, 'POST'));
      client.send(`200\r\n${'x'.repeat(512)}\r\n`);
      client.send(`200\r\n${'x'.repeat(512)}\r\n`);
      await client.closing();
      assert.deepEqual(
        client.responses().map(({ status }) => status),
        [413],
      );
      client.destroy();
    },
    { limits: { bodySize: 1000 }, failed: (error) => errors.push(error) },
  );
  assert.deepEqual(errors, [], 'it is no fault of the handler');
});

eachEngine('a head that is too large is 431, a target that is too long 414', async () => {
  const refused: number[] = [];
  await withServer(
    hello,
    async (address) => {
      for (const [request, status] of [
        [get('/', { 'X-Long': 'x'.repeat(3000) }), 431],
        [get('/', Object.fromEntries(Array.from({ length: 11 }, (_, index) => [`X-${index}`, 'y']))), 431],
        [get(`/${'z'.repeat(3000)}`), 414],
        [`GET /${'z'.repeat(3000)}`, 414],
      ] as const) {
        const client = new HttpClient(address);
        client.send(request);
        await client.closing();
        assert.deepEqual(
          client.responses().map((response) => response.status),
          [status],
        );
        client.destroy();
      }
    },
    { limits: { headSize: 2048, headerCount: 10 }, refused: (_connection, status) => refused.push(status) },
  );
  assert.deepEqual(refused, [431, 431, 414, 414]);
});

eachEngine('a head that takes too long is 408, also when an octet comes every now and then', async () => {
  await withServer(
    hello,
    async (address) => {
      const client = new HttpClient(address);
      const startedMs = performance.now();
      client.send('GET / HTTP/1.1\r\nHost: example.test\r\nX: ');
      const drip = setInterval(() => client.send('y'), 20);
      await client.closing();
      clearInterval(drip);
      const tookMs = performance.now() - startedMs;
      assert.deepEqual(
        client.responses().map(({ status }) => status),
        [408],
      );
      assert.ok(tookMs >= 145 && tookMs < 1500, `${tookMs} ms`);
      client.destroy();
    },
    { limits: { headTimeoutMs: 150 } },
  );
});

eachEngine('a body that stops coming is 408, one that keeps coming is not', async () => {
  await withServer(
    echo,
    async (address) => {
      const stopped = new HttpClient(address);
      const slow = new HttpClient(address);
      stopped.send(`${get('/', { 'Content-Length': '10' }, 'POST')}12345`);
      slow.send(get('/', { 'Content-Length': '6' }, 'POST'));
      let sent = 0;
      const drip = setInterval(() => sent++ < 6 && slow.send('z'), 60);
      await stopped.closing();
      assert.deepEqual(
        stopped.responses().map(({ status }) => status),
        [408],
      );
      const [response] = await slow.answers(1);
      clearInterval(drip);
      assert.equal(response.body, 'zzzzzz');
      stopped.destroy();
      slow.destroy();
    },
    { limits: { bodyTimeoutMs: 200 } },
  );
});

eachEngine('the time that a handler takes is not held against the client', async () => {
  const ready = awaited();
  const handler: Handler = async (request, response) => {
    await ready.promise;
    response.text(await request.text());
  };
  await withServer(
    handler,
    async (address) => {
      const client = new HttpClient(address);
      client.send(`${get('/', { 'Content-Length': '4' }, 'POST')}body`);
      setTimeout(() => ready.resolve(), 400);
      const [response] = await client.answers(1);
      assert.equal(response.body, 'body');
      client.destroy();
    },
    { limits: { bodyTimeoutMs: 50, idleTimeoutMs: 60, headTimeoutMs: 50 } },
  );
});

eachEngine('a connection that asks nothing for too long is closed without a word', async () => {
  await withServer(
    hello,
    async (address) => {
      const silent = new HttpClient(address);
      const asked = new HttpClient(address);
      asked.send(get('/'));
      await Promise.all([silent.closing(), asked.closing()]);
      assert.equal(silent.text, '');
      assert.equal(asked.responses().length, 1);
      silent.destroy();
      asked.destroy();
    },
    { limits: { idleTimeoutMs: 100 } },
  );
});

eachEngine('a client that takes nothing of its answer is cut off in the end', async () => {
  const routes = {
    '/whole': (_request, response) => response.bytes(new Uint8Array(30_000_000)),
    '/stream': async (_request, response) => {
      while (!response.finished) if (!response.write(new Uint8Array(16384))) await response.drained();
    },
  } satisfies Record<string, Handler>;
  await withServer(
    routes,
    async (address, server) => {
      for (const path of Object.keys(routes)) {
        const client = new HttpClient(address);
        client.send(get(path));
        await client.open();
        client.socket.pause();
        await until(() => server.listener.connections.size === 1);
        await until(() => server.listener.connections.size === 0, 4000);
        client.destroy();
      }
    },
    { limits: { idleTimeoutMs: 150 } },
  );
});

eachEngine(
  'a slow reader of a long stream keeps the memory bounded',
  async (engine) => {
    const chunk = new Uint8Array(65536).fill(120);
    const total = 100 << 20;
    let queuedMost = 0;
    const handler: Handler = async (request, response) => {
      for (let sent = 0; sent < total; sent += chunk.length) {
        const goOn = response.write(chunk);
        queuedMost = Math.max(queuedMost, request.connection.bytesQueued);
        if (!goOn) await response.drained();
      }
      response.end();
    };
    await withServer(handler, async (address) => {
      const client = new HttpClient(address, { keep: false });
      const blocks = engine.blocksFree;
      client.send(get('/'));
      client.socket.pause();
      await until(() => queuedMost > 0);
      await turns(20);
      const standing = queuedMost;
      assert.ok(standing < 400_000, `${standing} bytes wait`);
      assert.ok(blocks - engine.blocksFree < 40, 'blocks in use');
      client.socket.resume();
      await until(() => client.bytes > total, 20_000);
      assert.ok(queuedMost < 400_000, `${queuedMost} bytes waited`);
      client.destroy();
    });
  },
  { timeoutMs: 30_000 },
);

eachEngine('a slow handler slows the client down', async () => {
  const begun = awaited();
  const ready = awaited();
  let received = 0;
  const handler: Handler = async (request, response) => {
    for await (const part of request) {
      received += part.length;
      begun.resolve();
      await ready.promise;
    }
    response.text(`${received}`);
  };
  const size = 9_000_000;
  await withServer(handler, async (address) => {
    const client = new HttpClient(address);
    client.send(get('/', { 'Content-Length': `${size}` }, 'POST')).send(new Uint8Array(size));
    await begun.promise;
    await turns(50);
    assert.ok(received <= 65536, `${received} bytes taken`);
    assert.ok(client.socket.writableLength > 0, 'the client still has some of it');
    ready.resolve();
    const [response] = await client.answers(1);
    assert.equal(response.body, `${size}`);
    client.destroy();
  });
});

eachEngine('a client that asks thousands of times without reading queues no more than a bound', async () => {
  const large = new Uint8Array(500_000);
  let calls = 0;
  const handler: Handler = (_request, response) => {
    calls++;
    response.bytes(large);
  };
  await withServer(handler, async (address, server) => {
    const client = new HttpClient(address, { keep: false });
    client.socket.pause();
    const count = 2000;
    client.send(get('/').repeat(count));
    await until(() => calls > 0);
    await turns(50);
    const [connection] = server.listener.connections;
    assert.ok(connection.bytesQueued < 2_000_000, `${connection.bytesQueued} bytes wait`);
    assert.ok(calls < 40, `${calls} requests begun`);
    client.socket.resume();
    await until(() => calls >= 200, 8000);
    client.destroy();
  });
});

eachEngine('requests held back for a client that lags are answered in order once it reads', async () => {
  const filler = 'f'.repeat(50_000);
  await withServer(
    (request, response) => response.text(request.path + filler),
    async (address) => {
      const client = new HttpClient(address);
      client.socket.pause();
      client.send(Array.from({ length: 200 }, (_, index) => get(`/${index}`)).join(''));
      client.end();
      await turns(20);
      client.socket.resume();
      await client.closing();
      const responses = client.responses();
      assert.deepEqual(
        responses.map(({ body }) => body.replace(filler, '')),
        Array.from({ length: 200 }, (_, index) => `/${index}`),
      );
      client.destroy();
    },
  );
});

eachEngine('a head that comes an octet at a time costs no more than its octets', async () => {
  await withServer(hello, async (address) => {
    const client = new HttpClient(address);
    await client.open();
    const request = get('/', { 'X-Long': 'v'.repeat(8000) });
    for (const octet of request) client.send(octet);
    const [response] = await client.answers(1);
    assert.equal(response.body, 'hello');
    client.destroy();
    assert.equal((await ask(address, request)).status, 200);
  });
});
