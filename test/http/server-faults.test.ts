/** What goes wrong: clients that vanish, handlers that throw or misuse their response, and servers that end. */
import assert from 'node:assert/strict';
import type { Handler, Response } from '../../src/http/index.ts';
import type { Connection } from '../../src/net/index.ts';
import { ask, get, HttpClient } from '../support/http-client.ts';
import { withServer } from '../support/http-server.ts';
import { awaited, eachEngine, turns, until } from '../support/net.ts';

const hello: Handler = (_request, response) => response.text('hello');

eachEngine('a client that ends its side still gets every answer', async () => {
  const handler: Handler = async (request, response) => {
    await turns(3);
    response.text(request.path);
  };
  await withServer(handler, async (address) => {
    const client = new HttpClient(address);
    client.send(get('/1') + get('/2') + get('/3')).end();
    await client.closing();
    assert.deepEqual(
      client.responses().map(({ body }) => body),
      ['/1', '/2', '/3'],
    );
    assert.equal(client.reset, false);
    client.destroy();
  });
});

eachEngine('a client that ends within a body or a head gets what it asked before', async () => {
  await withServer(
    async (request, response) => response.text(`${(await request.bytes()).length}`),
    async (address) => {
      for (const rest of ['GET / HT', `${get('/', { 'Content-Length': '9' }, 'POST')}half`]) {
        const client = new HttpClient(address);
        client.send(get('/') + rest).end();
        await client.closing();
        const [first, ...others] = client.responses();
        assert.equal(first.body, '0');
        assert.ok(others.every(({ status }) => status === 400));
        client.destroy();
      }
    },
  );
});

eachEngine('a client that vanishes within its body fails the body and nothing else', async () => {
  const failure = awaited<Error>();
  const begun = awaited();
  const errors: unknown[] = [];
  const handler: Handler = async (request, response) => {
    if (request.path === '/other') {
      response.text('unharmed');
      return;
    }
    begun.resolve();
    try {
      await request.bytes();
    } catch (error) {
      failure.resolve(error as Error);
      throw error;
    }
  };
  await withServer(
    handler,
    async (address) => {
      const client = new HttpClient(address);
      client.send(`${get('/', { 'Content-Length': '9' }, 'POST')}half`);
      await begun.promise;
      client.socket.resetAndDestroy();
      assert.equal((await failure.promise).name, 'BodyError');
      assert.equal((await ask(address, get('/other'))).body, 'unharmed');
    },
    { failed: (error) => errors.push(error) },
  );
  assert.deepEqual(errors, []);
});

eachEngine('a client that vanishes within its answer is told to the handler, whose writes go nowhere', async () => {
  const over = awaited<Response>();
  const errors: unknown[] = [];
  const handler: Handler = async (_request, response) => {
    response.closed(() => over.resolve(response));
    while (!response.finished) if (!response.write('x'.repeat(1000))) await response.drained();
    response.header('X-Late', '1').end('more');
    response.text('another');
  };
  await withServer(
    handler,
    async (address, server) => {
      const client = new HttpClient(address);
      client.send(get('/'));
      await until(() => client.bytes > 0);
      client.socket.resetAndDestroy();
      const response = await over.promise;
      assert.equal(response.finished, true);
      await until(() => server.listener.connections.size === 0);
    },
    { failed: (error) => errors.push(error) },
  );
  assert.deepEqual(errors, []);
});

eachEngine('a handler that throws gives 500, or a cut connection once its head has left', async () => {
  const errors: string[] = [];
  const routes = {
    '/sync': () => {
      throw new Error('sync');
    },
    '/async': async (_request, response) => {
      response.header('Set-Cookie', 'secret=1').contentLength(1000);
      await turns(1);
      throw new Error('async');
    },
    '/silent': async () => {},
    '/late-sync': (_request, response) => {
      response.write('half');
      throw new Error('late-sync');
    },
    '/late-async': async (_request, response) => {
      response.write('half');
      await turns(2);
      throw new Error('late-async');
    },
    '/after': async (_request, response) => {
      response.text('fine');
      await turns(1);
      throw new Error('after');
    },
  } satisfies Record<string, Handler>;
  await withServer(
    routes,
    async (address) => {
      for (const path of ['/sync', '/async', '/silent']) {
        const client = new HttpClient(address);
        client.send(get(path) + get('/after'));
        const [first, second] = await client.answers(2);
        assert.deepEqual([first.status, first.fields.has('set-cookie'), second.body], [500, false, 'fine'], path);
        client.destroy();
      }
      for (const path of ['/late-sync', '/late-async']) {
        const client = new HttpClient(address);
        client.send(get(path));
        await client.closing();
        assert.ok(
          client.responses().every(({ complete }) => !complete),
          path,
        );
        client.destroy();
      }
    },
    { failed: (error) => errors.push((error as Error).message) },
  );
  const silent = 'the handler ended without an answer';
  const expected = ['sync', 'after', 'async', 'after', silent, 'after', 'late-sync', 'late-async'];
  assert.deepEqual(errors, expected);
});

eachEngine('what a response refuses throws before anything is sent', async () => {
  const handler: Handler = (_request, response) => {
    const misuses: [string, () => void][] = [
      ['line end in a value', () => response.header('X-A', 'a\r\nX-Forged: 1')],
      ['NUL in a value', () => response.header('X-A', 'a\0')],
      ['beyond ISO 8859-1', () => response.header('X-A', 'ā')],
      ['an array', () => response.header('X-A', ['a\r\nX-Forged: 1'] as never)],
      ['an object', () => response.header('X-A', { toString: () => 'a\r\nX-Forged: 1' } as never)],
      ['name with a colon', () => response.header('X:A', 'a')],
      ['empty name', () => response.header('', 'a')],
      ['Content-Length', () => response.header('Content-Length', '5')],
      ['Transfer-Encoding', () => response.header('transfer-encoding', 'chunked')],
      ['line end in a type', () => response.bytes(new Uint8Array(1), 'text/plain\r\nX-Forged: 1')],
      ['line end in a location', () => response.redirect('/\r\nX-Forged: 1')],
      ['trailing length', () => response.trailer('Content-Length', '5')],
      ['line end in a trailer', () => response.trailer('X-A', '\n')],
      ['negative length', () => response.contentLength(-1)],
      ['protocol not offered', () => response.upgrade('websocket', {})],
    ];
    for (const [what, misuse] of misuses) assert.throws(misuse, what);
    response.status = 99;
    assert.throws(() => response.empty(99), RangeError);
    response.status = 200;
    response.text('clean');
    assert.throws(() => response.text('twice'), /answered already/);
    assert.throws(() => response.header('X-Late', '1'), /answered already/);
    response.end('ignored');
    assert.equal(response.write('ignored'), false);
  };
  const errors: unknown[] = [];
  await withServer(
    handler,
    async (address) => {
      const client = new HttpClient(address);
      client.send(get('/') + get('/'));
      const responses = await client.answers(2);
      assert.deepEqual(
        responses.map(({ body, status }) => [body, status]),
        [
          ['clean', 200],
          ['clean', 200],
        ],
      );
      assert.equal(client.text.includes('Forged'), false);
      client.destroy();
    },
    { failed: (error) => errors.push(error) },
  );
  assert.deepEqual(errors, []);
});

eachEngine('more or less content than announced cuts the connection', async () => {
  const routes = {
    '/more': (_request, response) => {
      response.contentLength(3).write('more');
    },
    '/less': (_request, response) => response.contentLength(10).end('less'),
  } satisfies Record<string, Handler>;
  await withServer(routes, async (address) => {
    for (const path of Object.keys(routes)) {
      const client = new HttpClient(address);
      client.send(get(path));
      await client.closing();
      assert.ok(
        client.responses().every(({ complete }) => !complete),
        path,
      );
      client.destroy();
    }
  });
});

eachEngine('a handler switches protocols and hears what came behind the request', async () => {
  const paths = ['/now', '/later'];
  const upgrade = (response: Response): void => {
    response.header('X-Chosen', 'yes').upgrade('Echo', {
      data(connection: Connection, chunk) {
        connection.write(chunk);
      },
    });
  };
  const handler: Handler = async (request, response) => {
    if (request.path === '/later') await turns(3);
    upgrade(response);
  };
  const sync: Handler = (_request, response) => upgrade(response);
  await withServer({ '/': handler, '/now': sync }, async (address) => {
    for (const path of paths) {
      const client = new HttpClient(address);
      client.send(`${get(path, { Connection: 'Upgrade', Upgrade: 'foo, echo' })}first,`);
      await until(() => client.text.endsWith('first,'));
      client.send('GET / HTTP/1.1\r\n\r\n');
      await until(() => client.text.endsWith('GET / HTTP/1.1\r\n\r\n'));
      assert.match(
        client.text,
        /^HTTP\/1\.1 101 [\s\S]*\r\nX-Chosen: yes\r\nConnection: upgrade\r\nUpgrade: Echo\r\n\r\nfirst,GET/,
      );
      client.end();
      await client.closing();
      client.destroy();
    }
  });
});

eachEngine('closing completes the answers under way and closes idle connections', async () => {
  const ready = awaited();
  const begun = awaited();
  const handler: Handler = async (_request, response) => {
    begun.resolve();
    await ready.promise;
    response.text('complete');
  };
  await withServer({ '/': handler, '/hello': hello }, async (address, server) => {
    const idle = new HttpClient(address);
    idle.send(get('/hello'));
    await idle.answers(1);
    const busy = new HttpClient(address);
    busy.send(get('/'));
    await begun.promise;
    const closed = server.close();
    await idle.closing();
    idle.destroy();
    assert.equal(busy.text, '');
    ready.resolve();
    await busy.closing();
    const [response] = busy.responses();
    assert.deepEqual([response.body, response.fields.get('connection')], ['complete', 'close']);
    busy.destroy();
    await closed;
    const late = new HttpClient(address);
    await late.closing();
    assert.equal(late.reset, true, 'no one listens');
  });
});

eachEngine('closing ends the connection of an answer whose head promised to keep it', async () => {
  const ready = awaited();
  const handler: Handler = async (_request, response) => {
    response.write('begun, ');
    await ready.promise;
    response.end('done');
  };
  await withServer(handler, async (address, server) => {
    const client = new HttpClient(address);
    client.send(get('/'));
    await until(() => client.text.includes('begun'));
    const closed = server.close();
    ready.resolve();
    await client.closing();
    const [response] = client.responses();
    assert.deepEqual([response.body, response.complete, client.reset], ['begun, done', true, false]);
    client.destroy();
    await closed;
  });
});

eachEngine('closing cuts what lasts longer than the grace', async () => {
  const begun = awaited();
  const handler: Handler = (_request, response) => {
    response.write('for ever');
    begun.resolve();
  };
  await withServer(handler, async (address, server) => {
    const client = new HttpClient(address);
    client.send(get('/'));
    await begun.promise;
    const startedMs = performance.now();
    await server.close(100);
    const tookMs = performance.now() - startedMs;
    assert.ok(tookMs >= 95 && tookMs < 2000, `${tookMs} ms`);
    client.destroy();
  });
});

eachEngine('a connection holds nothing behind a complete request', async () => {
  await withServer(
    { '/': hello, '/async': async (request, response) => response.text(await request.text()) },
    async (address, server) => {
      const client = new HttpClient(address);
      client.send(`${get('/')}${get('/async')}${get('/async', { 'Content-Length': '4' }, 'POST')}body${get('/')}`);
      await client.answers(4);
      const [connection] = server.listener.connections;
      assert.equal(connection.data, undefined);
      client.send('GET /');
      await until(() => connection.data !== undefined);
      client.send(' HTTP/1.1\r\nHost: x\r\n\r\n');
      await client.answers(5);
      assert.equal(connection.data, undefined);
      client.destroy();
    },
  );
});

eachEngine('an answer that was given late never reaches another request', async () => {
  const errors: string[] = [];
  const handler: Handler = async (request, response) => {
    const own = request.path;
    response.text(own);
    await turns(2);
    // Misuse: the answer is complete, and the same connection's next request is under way.
    try {
      response.text(`late ${own}`);
    } catch (error) {
      errors.push((error as Error).message);
    }
  };
  await withServer(handler, async (address) => {
    const client = new HttpClient(address);
    client.send(Array.from({ length: 20 }, (_, index) => get(`/${index}`)).join(''));
    const responses = await client.answers(20);
    await until(() => errors.length === 20);
    assert.deepEqual(
      responses.map(({ body }) => body),
      Array.from({ length: 20 }, (_, index) => `/${index}`),
    );
    client.destroy();
  });
});

eachEngine(
  'answering at once leaves next to nothing for the garbage collector',
  async () => {
    await withServer(hello, async (address) => {
      const client = new HttpClient(address, { keep: false });
      const batch = Buffer.from(get('/').repeat(200));
      const answerBytes = (await ask(address, get('/'))).head.length + 4 + 5;
      const send = async (batches: number): Promise<void> => {
        for (let sent = 0; sent < batches; sent++) {
          const target = client.bytes + 200 * answerBytes;
          client.socket.write(batch);
          await until(() => client.bytes >= target);
        }
      };
      await send(100);
      globalThis.gc!();
      const before = process.memoryUsage();
      await send(1000);
      const grown = process.memoryUsage().heapUsed - before.heapUsed;
      // What the client and the waiting itself leave: some KB a batch. An object a request would be 20 MB and more.
      assert.ok(grown < 16 << 20, `${grown} bytes for 200,000 requests`);
      client.destroy();
    });
  },
  { timeoutMs: 30_000 },
);
