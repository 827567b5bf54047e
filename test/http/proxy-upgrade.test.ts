/**
 * Switching protocols through the proxy: both directions, what was sent early, half-close, and the end of either side.
 */
import assert from 'node:assert/strict';
import { eachEngine, pattern, until } from '../support/net.ts';
import { proxied, response } from '../support/proxied.ts';
import { RawUpstream } from '../support/raw-peers.ts';

const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\nX-Key: 1\r\n\r\n';
const ASK = 'GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n';

/** Switches, says `hello`, and echoes what comes behind the request. */
function echoing(): RawUpstream {
  const echoed: number[] = [];
  return new RawUpstream((socket, all, index) => {
    const end = all.indexOf('\r\n\r\n') + 4;
    if (end < 4) return;
    if (echoed[index] === undefined) {
      socket.write(`${SWITCH}hello `);
      echoed[index] = end;
    }
    if (all.length > echoed[index]) socket.write(all.subarray(echoed[index]));
    echoed[index] = all.length;
  });
}

eachEngine('what is sent right behind the request, and right behind the answer, arrives first', async () => {
  const upstream = await echoing().listen();
  await proxied([upstream.address], {}, async ({ client, handler }) => {
    const one = client();
    one.write(`${ASK}early `);
    const text = await one.read('early ');
    assert.ok(text.endsWith('\r\n\r\nhello early '), text);
    assert.match(text, /^HTTP\/1\.1 101 Switching Protocols\r\nX-Key: 1\r\nConnection: upgrade\r\nUpgrade: echo\r\n/);
    assert.match(upstream.text, /\r\nConnection: upgrade\r\nUpgrade: echo\r\n/);
    one.write('later');
    await one.read('later');
    assert.equal(handler.state.upstreams[0].active, 1);
    one.destroy();
    await until(() => upstream.sockets.size === 0);
    await until(() => handler.state.upstreams[0].active === 0);
  });
  await upstream.close();
});

eachEngine('much data passes both ways and in order', async () => {
  const upstream = await echoing().listen();
  await proxied([upstream.address], {}, async ({ client }) => {
    const one = client();
    one.write(ASK);
    await one.read('hello ');
    const before = one.bytes;
    const data = pattern(1 << 20);
    one.write(data);
    await until(() => one.bytes === before + data.length);
    assert.ok(one.received.subarray(before).equals(data));
    one.socket.resetAndDestroy();
    await until(() => upstream.sockets.size === 0);
  });
  await upstream.close();
});

eachEngine('a side that ends still hears the other out', async () => {
  const upstream = new RawUpstream((socket, all) => {
    if (all.toString().endsWith('\r\n\r\n')) socket.write(SWITCH);
  });
  upstream.server.on('connection', (socket) => {
    socket.removeAllListeners('end');
    socket.on('end', () => socket.end('the last word'));
  });
  await upstream.listen();
  await proxied([upstream.address], {}, async ({ client }) => {
    const one = client();
    one.write(ASK);
    await one.read('101');
    one.socket.end('bye');
    assert.ok((await one.end()).endsWith('the last word'));
    assert.ok(upstream.text.endsWith('bye'));
  });
  await upstream.close();
});

eachEngine("an upstream that ends or resets ends the client's side", async () => {
  const upstream = await echoing().listen();
  await proxied([upstream.address], {}, async ({ client }) => {
    for (const act of ['end', 'resetAndDestroy'] as const) {
      const one = client();
      one.write(ASK);
      await one.read('hello ');
      for (const socket of upstream.sockets) socket[act]();
      await one.end();
      one.socket.end();
      await until(() => upstream.sockets.size === 0);
    }
  });
  await upstream.close();
});

eachEngine('a silent tunnel ends after its limit', async () => {
  const upstream = await echoing().listen();
  await proxied([upstream.address], { tunnelTimeoutMs: 60 }, async ({ client }) => {
    const one = client();
    one.write(ASK);
    await one.read('hello ');
    await one.end();
    await until(() => upstream.sockets.size === 0);
  });
  await upstream.close();
});

eachEngine('an upstream that does not switch answers as usual, and what came behind is the next request', async () => {
  const upstream = new RawUpstream((socket, all) => {
    const count = all.toString().split('\r\n\r\n').length - 1;
    socket.write(response(`answer ${count}`));
  });
  await upstream.listen();
  await proxied([upstream.address], {}, async ({ client }) => {
    const one = client();
    one.write(`${ASK}GET /next HTTP/1.1\r\nHost: a\r\n\r\n`);
    await one.read(/answer 1[\s\S]*answer 2/);
  });
  await upstream.close();
});

eachEngine('h2c and an unasked switch do not pass', async () => {
  const upstream = await echoing().listen();
  await proxied([upstream.address], {}, async ({ client, get }) => {
    const one = client();
    one.write(ASK.replaceAll('echo', 'h2c'));
    await one.read('HTTP/1.1 502');
    assert.doesNotMatch(upstream.text, /upgrade/i);
    assert.match(await get(), /^HTTP\/1\.1 502/);
  });
  await upstream.close();
});
