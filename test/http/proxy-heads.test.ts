/**
 * What the proxy passes on of heads and trailers, what it adds and what it keeps to itself.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { proxy } from '../../src/http/index.ts';
import { eachEngine } from '../support/net.ts';
import { bodyOf, lastHead, proxied, response, statusOf, upstreamThat } from '../support/proxied.ts';

const ok = (): string => response('ok');

/** The head that reaches an upstream for the request. */
async function forwarded(request: string, options: Parameters<typeof proxied>[1] = {}): Promise<string[]> {
  const upstream = await upstreamThat(ok).listen();
  let head: string[] = [];
  await proxied([upstream.address], options, async ({ client }) => {
    const one = client();
    one.write(request);
    await one.read('\r\n\r\n');
    head = lastHead(upstream);
  });
  await upstream.close();
  return head;
}

/** The response that reaches a client of what the upstream sends. */
async function relayed(
  octets: string,
  request = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
): Promise<string> {
  const upstream = await upstreamThat(() => octets).listen();
  let text = '';
  await proxied([upstream.address], {}, async ({ client }) => {
    const one = client();
    one.write(request);
    text = await one.end();
  });
  await upstream.close();
  return text;
}

eachEngine('a request arrives with its method, path, query and host, and names the client and the proxy', async () => {
  assert.deepEqual(await forwarded('GET /a/b%20c?x=1&y= HTTP/1.1\r\nhost: example.test:81\r\nX-A: 1\r\n\r\n'), [
    'GET /a/b%20c?x=1&y= HTTP/1.1',
    'host: example.test:81',
    'x-a: 1',
    'x-forwarded-for: 127.0.0.1',
    'x-forwarded-host: example.test:81',
    'x-forwarded-proto: http',
    'via: 1.1 millrace',
  ]);
});

eachEngine('an absolute-form target becomes a path, its authority the host', async () => {
  const [start, host] = await forwarded('GET http://real.test/x?q HTTP/1.1\r\nHost: other.test\r\n\r\n');
  assert.deepEqual([start, host], ['GET /x?q HTTP/1.1', 'host: real.test']);
  assert.equal((await forwarded('GET http://real.test HTTP/1.1\r\nHost: a\r\n\r\n'))[0], 'GET / HTTP/1.1');
  assert.equal((await forwarded('GET http://real.test?q HTTP/1.1\r\nHost: a\r\n\r\n'))[0], 'GET /?q HTTP/1.1');
  assert.equal((await forwarded('OPTIONS http://real.test HTTP/1.1\r\nHost: a\r\n\r\n'))[0], 'OPTIONS * HTTP/1.1');
  assert.equal((await forwarded('GET /x? HTTP/1.1\r\nHost: a\r\n\r\n'))[0], 'GET /x? HTTP/1.1');
});

eachEngine('hop-by-hop fields stay behind, those that Connection names too', async () => {
  const head = await forwarded(
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Private, close\r\nKeep-Alive: timeout=5\r\nX-Private: 1\r\n' +
      'Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nTE: gzip\r\nUpgrade: other\r\nX-Public: 2\r\n\r\n',
  );
  const names = head.slice(1).map((line) => line.slice(0, line.indexOf(':')));
  assert.deepEqual(names, ['host', 'x-public', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'via']);
  const text = await relayed(
    'HTTP/1.1 200 Fine\r\nConnection: X-Private, keep-alive\r\nX-Private: 1\r\nKeep-Alive: timeout=9\r\nX-Public: 2\r\n' +
      'Proxy-Authenticate: Basic\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nDate: now\r\nContent-Length: 2\r\n\r\nok',
  );
  assert.equal(
    text,
    'HTTP/1.1 200 Fine\r\nX-Public: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nDate: now\r\n' +
      'Content-Length: 2\r\nConnection: close\r\n\r\nok',
  );
});

eachEngine('a response without a Date gets one', async () => {
  assert.match(await relayed(ok()), /\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n/);
});

const CLAIMS =
  'GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: claimed\r\n' +
  'Forwarded: for=9.9.9.9\r\nX-Real-IP: 9.9.9.9\r\n\r\n';

eachEngine('what a client claims about itself is replaced, or kept and added to where it is trusted', async () => {
  const told = async (options: Parameters<typeof proxied>[1]): Promise<string[]> =>
    (await forwarded(CLAIMS, options)).filter((line) => /^(x-|forwarded)/.test(line));
  const own = ['x-forwarded-for: 127.0.0.1', 'x-forwarded-host: a', 'x-forwarded-proto: http'];
  const standard = 'forwarded: for=127.0.0.1;host="a";proto=http';
  assert.deepEqual(await told({}), own);
  assert.deepEqual(await told({ forwarded: 'forwarded' }), [standard]);
  assert.deepEqual(await told({ forwarded: 'both' }), [...own, standard]);
  assert.deepEqual(await told({ forwarded: 'none' }), []);
  assert.deepEqual(await told({ trustForwarded: true, forwarded: 'both' }), [
    'x-real-ip: 9.9.9.9',
    'x-forwarded-for: 9.9.9.9, 127.0.0.1',
    'x-forwarded-host: claimed',
    'x-forwarded-proto: https',
    'forwarded: for=9.9.9.9, for=127.0.0.1;host="a";proto=http',
  ]);
  assert.equal((await told({ trustForwarded: true, forwarded: 'none' })).length, 5);
});

eachEngine('Via is added behind the ones before, under the name that is configured, or left out', async () => {
  const request = 'GET / HTTP/1.0\r\nHost: a\r\nVia: 1.1 first\r\n\r\n';
  const via = async (options: Parameters<typeof proxied>[1]): Promise<string[]> =>
    (await forwarded(request, options)).filter((line) => line.startsWith('via'));
  assert.deepEqual(await via({ via: 'edge' }), ['via: 1.1 first', 'via: 1.0 edge']);
  assert.deepEqual(await via({ via: '' }), ['via: 1.1 first']);
});

test('a name for Via that would break the line is refused', () => {
  assert.throws(() => proxy(['127.0.0.1:1'], { via: 'a\r\nX-Planted: 1' }), RangeError);
});

eachEngine('stripPrefix removes the route, and a path that was spelled oddly arrives encoded', async () => {
  const options = { path: '/api/', stripPrefix: true };
  const start = async (target: string): Promise<string> =>
    (await forwarded(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`, options))[0];
  assert.equal(await start('/api/users/7?x=%31'), 'GET /users/7?x=%31 HTTP/1.1');
  assert.equal(await start('/api/'), 'GET / HTTP/1.1');
  assert.equal(await start('/api/a%20b%3Fc%23d'), 'GET /a%20b%3Fc%23d HTTP/1.1');
  assert.equal(await start('/api/%C3%A4/%25'), 'GET /%C3%A4/%25 HTTP/1.1');
  assert.equal(await start('/x/../api//a'), 'GET /a HTTP/1.1');
  assert.equal(
    (await forwarded('GET /api/a%20b HTTP/1.1\r\nHost: a\r\n\r\n', { path: '/api/' }))[0],
    'GET /api/a%20b HTTP/1.1',
  );
});

eachEngine('Max-Forwards counts down for OPTIONS and TRACE, and at zero the proxy answers', async () => {
  const upstream = await upstreamThat(ok).listen();
  await proxied([upstream.address], {}, async ({ client }) => {
    const ask = async (method: string, forwards: string): Promise<number> => {
      const one = client();
      one.write(`${method} /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: ${forwards}\r\nConnection: close\r\n\r\n`);
      return statusOf(await one.end());
    };
    assert.equal(await ask('OPTIONS', '0'), 204);
    assert.equal(await ask('TRACE', '0'), 501);
    assert.equal(upstream.connections, 0);
    assert.equal(await ask('OPTIONS', '10'), 200);
    assert.ok(lastHead(upstream).includes('max-forwards: 9'));
    assert.equal(await ask('GET', '0'), 200);
    assert.ok(lastHead(upstream).includes('max-forwards: 0'));
  });
  await upstream.close();
});

eachEngine('trailers pass in both directions, without those that come too late to be believed', async () => {
  const upstream = await upstreamThat(
    () =>
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nDate: d\r\n\r\n' +
      '3;note=1\r\nabc\r\n0\r\nX-Sum: 7\r\nSet-Cookie: late=1\r\nAuthorization: no\r\n\r\n',
  ).listen();
  await proxied([upstream.address], {}, async ({ client }) => {
    const one = client();
    one.write(
      'POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nConnection: TE, close\r\n\r\n' +
        '2\r\nhi\r\n0\r\nX-Check: 1\r\nAuthorization: no\r\nContent-Type: no\r\n\r\n',
    );
    assert.equal(
      await one.end(),
      'HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nDate: d\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n' +
        '3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n',
    );
  });
  const sent = upstream.text;
  assert.ok(sent.endsWith('2\r\nhi\r\n0\r\nX-Check: 1\r\n\r\n'), sent);
  assert.match(sent, /\r\nTE: trailers\r\nConnection: TE\r\n/);
  await upstream.close();
});

eachEngine('103 passes, 100 is sent once by the proxy itself', async () => {
  const upstream = await upstreamThat(
    () => `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n${ok()}`,
  ).listen();
  await proxied([upstream.address], {}, async ({ client }) => {
    const one = client();
    one.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n');
    await one.read('HTTP/1.1 100 Continue\r\n\r\n');
    one.write('hi');
    const text = await one.end();
    assert.equal(text.split('HTTP/1.1 100').length, 2);
    assert.ok(text.includes('HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK'), text);
    assert.ok(!upstream.text.toLowerCase().includes('expect'));
    const old = client();
    old.write('GET / HTTP/1.0\r\nHost: a\r\n\r\n');
    assert.match(await old.end(), /^HTTP\/1\.1 200/);
  });
  await upstream.close();
});

eachEngine('HEAD, 204 and 304 have no content, whatever their fields say', async () => {
  const head = await relayed(
    'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n',
    'HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  );
  assert.match(head, /\r\nContent-Length: 99\r\n/);
  assert.equal(bodyOf(head), '');
  const unknown = await relayed('HTTP/1.1 200 OK\r\n\r\n', 'HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  assert.doesNotMatch(unknown, /content-length|transfer-encoding/i);
  const empty = await relayed('HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n');
  assert.equal(statusOf(empty), 204);
  assert.doesNotMatch(empty, /content-length|transfer-encoding/i);
  const same = await relayed('HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "a"\r\n\r\n');
  assert.match(same, /^HTTP\/1\.1 304 Not Modified\r\nETag: "a"\r\n[\s\S]*Content-Length: 5\r\n/);
  assert.equal(bodyOf(same), '');
});

eachEngine("an HTTP/1.0 client without Host is passed on under the upstream's name and gets no chunks", async () => {
  const upstream = await upstreamThat(
    () => 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n',
  ).listen();
  await proxied([upstream.address], {}, async ({ client }) => {
    const one = client();
    one.write('GET / HTTP/1.0\r\n\r\n');
    const text = await one.end();
    assert.doesNotMatch(text, /transfer-encoding/i);
    assert.equal(bodyOf(text), 'abc');
    assert.equal(lastHead(upstream)[1], `host: ${upstream.address}`);
    const kept = client();
    kept.write('GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n');
    assert.match(await kept.end(), /\r\nConnection: close\r\n/);
  });
  await upstream.close();
});
