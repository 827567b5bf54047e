/** The server's side of messages: connections that are used again, bodies in and out, and what each method and version asks. */
import assert from 'node:assert/strict';
import type { Handler } from '../../src/http/index.ts';
import { ask, get, HttpClient } from '../support/http-client.ts';
import { withServer } from '../support/http-server.ts';
import { awaited, eachEngine, pattern, turns } from '../support/net.ts';

const post = (path: string, body: string, fields: Record<string, string> = {}): string =>
  get(path, { 'Content-Length': `${body.length}`, ...fields }, 'POST') + body;
const chunked = (path: string, ...chunks: string[]): string =>
  get(path, { 'Transfer-Encoding': 'chunked' }, 'POST') +
  chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('');

const echo: Handler = async (request, response) => response.text(`${request.path} ${await request.text()}`);

eachEngine('a connection serves one request after another', async () => {
  await withServer(echo, async (address) => {
    const client = new HttpClient(address);
    for (let number = 1; number <= 3; number++) {
      client.send(post(`/${number}`, `body ${number}`));
      const responses = await client.answers(number);
      assert.equal(responses[number - 1].body, `/${number} body ${number}`);
    }
    client.destroy();
  });
});

eachEngine('pipelined requests are answered in order', async () => {
  await withServer(
    (request, response) => response.text(request.path),
    async (address) => {
      const client = new HttpClient(address);
      client.send(Array.from({ length: 500 }, (_, index) => get(`/${index}`)).join(''));
      const responses = await client.answers(500);
      assert.deepEqual(
        responses.map(({ body }) => body),
        Array.from({ length: 500 }, (_, index) => `/${index}`),
      );
      client.destroy();
    },
  );
});

eachEngine('pipelined requests are answered in order although handlers finish in another', async () => {
  let running = 0;
  let most = 0;
  const handler: Handler = async (request, response) => {
    most = Math.max(most, ++running);
    await turns(request.path === '/slow' ? 10 : 1);
    running--;
    response.text(`${request.path} ${await request.text()}`);
  };
  await withServer(handler, async (address) => {
    const client = new HttpClient(address);
    client.send(post('/slow', 'one') + get('/fast') + chunked('/slow', 'thr', 'ee', '') + get('/fast').slice(0, 20));
    await client.answers(3);
    client.send(get('/fast').slice(20));
    const responses = await client.answers(4);
    assert.deepEqual(
      responses.map(({ body }) => body),
      ['/slow one', '/fast ', '/slow three', '/fast '],
    );
    assert.equal(most, 1, 'the next request begins behind the answer to the one before');
    client.destroy();
  });
});

eachEngine('a chunked body arrives whole, its trailers behind it', async () => {
  const seen = awaited<string[]>();
  const handler: Handler = (request, response) => {
    const parts: string[] = [];
    request.body.consume({
      data(bytes, start, end) {
        parts.push(Buffer.from(bytes.subarray(start, end)).toString('latin1'));
        return 0;
      },
      end(trailers) {
        seen.resolve([parts.join(''), trailers?.get('x-sum') ?? 'none']);
        response.text('done');
      },
      failed: seen.reject,
    });
  };
  await withServer(handler, async (address) => {
    const request = `${chunked('/', 'hello, ', 'world')}0\r\nX-Sum: 12\r\n\r\n`;
    const response = await ask(address, request);
    assert.deepEqual(await seen.promise, ['hello, world', '12']);
    assert.equal(response.body, 'done');
  });
});

eachEngine('a body is read part by part, at the pace of the loop', async () => {
  const parts: number[] = [];
  const handler: Handler = async (request, response) => {
    for await (const part of request) {
      parts.push(part.length);
      await turns(1);
    }
    response.json({ length: parts.reduce((sum, length) => sum + length, 0) });
  };
  await withServer(handler, async (address) => {
    const response = await ask(address, post('/', 'x'.repeat(300_000)));
    assert.deepEqual(JSON.parse(response.body), { length: 300_000 });
    assert.ok(parts.length > 1);
  });
});

eachEngine('leaving the loop over a body early costs nothing but the rest of the body', async () => {
  const handler: Handler = async (request, response) => {
    for await (const part of request) {
      response.text(`${part.length > 0}`);
      return;
    }
  };
  await withServer(handler, async (address) => {
    const client = new HttpClient(address);
    client.send(post('/', 'y'.repeat(40_000)));
    client.send(post('/', 'z'));
    const responses = await client.answers(2);
    assert.deepEqual(
      responses.map(({ body }) => body),
      ['true', 'true'],
    );
    client.destroy();
  });
});

eachEngine('a short body that nobody reads keeps the connection, a long one costs it', async () => {
  await withServer(
    (_request, response) => response.text('unread'),
    async (address) => {
      const client = new HttpClient(address);
      client.send(post('/', 's'.repeat(60_000)) + get('/next'));
      assert.equal((await client.answers(2)).length, 2);
      client.send(get('/', { 'Content-Length': '1000000' }, 'POST'));
      const [, , third] = await client.answers(3);
      assert.equal(third.fields.get('connection'), 'close');
      await client.closing();
      client.destroy();
    },
  );
});

eachEngine('content of unknown length is streamed in chunks, with trailers', async () => {
  const handler: Handler = async (_request, response) => {
    response.header('Trailer', 'X-Parts').write('one,');
    await turns(3);
    response.write(Buffer.from('two,'));
    response.write('');
    response.trailer('X-Parts', '3').end('three');
  };
  await withServer(handler, async (address) => {
    const client = new HttpClient(address);
    client.send(get('/') + get('/'));
    for (const response of await client.answers(2)) {
      assert.equal(response.fields.get('transfer-encoding'), 'chunked');
      assert.equal(response.fields.has('content-length'), false);
      assert.equal(response.body, 'one,two,three');
      assert.equal(response.trailers, 'X-Parts: 3\r\n');
    }
    client.destroy();
  });
});

eachEngine('content of announced length is streamed without chunks', async () => {
  const handler: Handler = async (_request, response) => {
    response.contentLength(8).write('four');
    await turns(2);
    response.end('five');
  };
  await withServer(handler, async (address) => {
    const client = new HttpClient(address);
    client.send(get('/') + get('/'));
    const responses = await client.answers(2);
    assert.deepEqual(
      responses.map(({ body, fields }) => [body, fields.get('content-length'), fields.get('transfer-encoding')]),
      [
        ['fourfive', '8', undefined],
        ['fourfive', '8', undefined],
      ],
    );
    client.destroy();
  });
});

eachEngine('to HTTP/1.0 a stream ends with the connection', async () => {
  const handler: Handler = async (_request, response) => {
    response.write('one,');
    await turns(2);
    response.trailer('X-Lost', 'yes').end('two');
  };
  await withServer(handler, async (address) => {
    const client = new HttpClient(address);
    client.send('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
    await client.closing();
    const [response] = client.responses();
    assert.equal(response.fields.get('transfer-encoding'), undefined);
    assert.equal(response.fields.get('connection'), 'close');
    assert.equal(response.body, 'one,two');
    client.destroy();
  });
});

eachEngine('HTTP/1.0 keeps the connection only where it asks to', async () => {
  await withServer(
    (_request, response) => response.text('ok'),
    async (address) => {
      const client = new HttpClient(address);
      client.send('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
      const [first] = await client.answers(1);
      assert.equal(first.fields.get('connection'), 'keep-alive');
      client.send('GET / HTTP/1.0\r\n\r\n');
      await client.closing();
      assert.equal(client.responses()[1].fields.get('connection'), 'close');
      client.destroy();
    },
  );
});

eachEngine('HEAD gets the head of GET and no content', async () => {
  const routes = {
    '/text': (_request, response) => response.text('hello'),
    '/stream': (_request, response) => {
      response.write('hello');
      response.end('more');
    },
    '/missing-length': (_request, response) => response.contentLength(5).end('hello'),
  } satisfies Record<string, Handler>;
  await withServer(routes, async (address) => {
    const client = new HttpClient(address, { heads: true });
    const paths = [...Object.keys(routes), '/none'];
    client.send(paths.map((path) => get(path, {}, 'HEAD')).join(''));
    const responses = await client.answers(4);
    assert.deepEqual(
      responses.map(({ status, fields }) => [status, fields.get('content-length'), fields.get('transfer-encoding')]),
      [
        [200, '5', undefined],
        [200, undefined, 'chunked'],
        [200, '5', undefined],
        [404, '14', undefined],
      ],
    );
    assert.equal(client.text.split('\r\n\r\n').length, 5, 'heads only');
    client.destroy();
  });
});

eachEngine('100 (Continue) is sent when the handler asks for the body', async () => {
  const wanted = awaited();
  const handler: Handler = async (request, response) => {
    await wanted.promise;
    response.text(await request.text());
  };
  await withServer(handler, async (address) => {
    const client = new HttpClient(address);
    client.send(get('/', { 'Content-Length': '4', Expect: '100-continue' }, 'POST'));
    await turns(10);
    assert.equal(client.text, '', 'not before the handler asks');
    wanted.resolve();
    await client.answers(0);
    while (client.interims().length === 0) await turns(1);
    assert.equal(client.interims()[0].status, 100);
    client.send('body');
    const [response] = await client.answers(1);
    assert.equal(response.body, 'body');
    assert.equal(response.fields.has('connection'), false, 'the connection goes on');
    client.destroy();
  });
});

eachEngine('a final status in place of 100 (Continue) closes the connection', async () => {
  const handler: Handler = (_request, response) => {
    response.status = 403;
    response.text('no');
  };
  await withServer(handler, async (address) => {
    const client = new HttpClient(address);
    client.send(get('/', { 'Content-Length': '4', Expect: '100-continue' }, 'POST'));
    await client.closing();
    assert.equal(client.interims().length, 0);
    const [response] = client.responses();
    assert.deepEqual([response.status, response.fields.get('connection')], [403, 'close']);
    client.destroy();
  });
});

eachEngine('a client that sends its body at once is not asked for it', async () => {
  await withServer(echo, async (address) => {
    const client = new HttpClient(address);
    client.send(post('/', 'here', { Expect: '100-continue' }));
    const [response] = await client.answers(1);
    assert.equal(response.body, '/ here');
    assert.equal(client.interims().length, 0);
    client.destroy();
  });
});

eachEngine('large content arrives unharmed, given at once or in parts', async () => {
  const content = pattern(3_000_000);
  const routes = {
    '/once': (_request, response) => response.bytes(content),
    '/parts': async (_request, response) => {
      for (let at = 0; at < content.length; at += 100_000) {
        if (!response.write(content.subarray(at, at + 100_000))) await response.drained();
      }
      response.end();
    },
  } satisfies Record<string, Handler>;
  await withServer(routes, async (address) => {
    for (const path of Object.keys(routes)) {
      const response = await ask(address, get(path));
      assert.ok(Buffer.from(response.body, 'latin1').equals(content), path);
    }
  });
});

eachEngine('CONNECT is for no handler: any success would promise a tunnel', async () => {
  await withServer(
    (_request, response) => response.text('ok'),
    async (address) => {
      const client = new HttpClient(address);
      client.send(`CONNECT example.test:443 HTTP/1.1\r\nHost: example.test:443\r\n\r\n${get('*', {}, 'OPTIONS')}`);
      const responses = await client.answers(2);
      assert.deepEqual(
        responses.map(({ status }) => status),
        [501, 200],
      );
      client.destroy();
    },
  );
});
