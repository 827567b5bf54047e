/**
 * The proxy's connections to upstreams: kept and used again, bounded, over TCP, IPv6 and Unix sockets; bodies that stream with
 * backpressure in both directions.
 */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { blocksOf, eachEngine, pattern, until } from '../support/net.ts';
import { bodyOf, proxied, response, statusOf, upstreamThat } from '../support/proxied.ts';
import { RawUpstream } from '../support/raw-peers.ts';
import { readMessages } from '../support/strict-reader.ts';

const ok = (): string => response('ok');

eachEngine(
  'requests one after another use one connection, those at a time one each, and no more are kept than allowed',
  async () => {
    const upstream = await upstreamThat(ok).listen();
    await proxied([upstream.address], { idleConnections: 3 }, async ({ client, get, handler }) => {
      for (let count = 0; count < 10; count++) assert.equal(statusOf(await get()), 200);
      assert.equal(upstream.connections, 1);
      const clients = Array.from({ length: 8 }, () => client());
      await Promise.all(clients.map((one) => one.read('', 1000)));
      for (const one of clients) one.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      await Promise.all(clients.map((one) => one.read('ok')));
      assert.ok(upstream.connections <= 8);
      assert.ok(handler.state.upstreams[0].idle.length <= 3);
      await until(() => upstream.sockets.size <= 3);
    });
    await upstream.close();
  },
);

eachEngine('pipelined requests are answered in order', async () => {
  const upstream = await upstreamThat(({ start }) => response(start.split(' ')[1])).listen();
  await proxied([upstream.address], {}, async ({ client }) => {
    const one = client();
    one.write(['/1', '/22', '/333'].map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`).join(''));
    const text = await one.read('/333');
    assert.deepEqual(text.match(/^\/\d+/gm), ['/1', '/22', '/333']);
  });
  await upstream.close();
});

eachEngine(
  'an idle connection is closed after its time, and at once when the upstream closes it or talks out of turn',
  async () => {
    const upstream = await upstreamThat(ok).listen();
    await proxied([upstream.address], { idleTimeoutMs: 60 }, async ({ get, handler }) => {
      await get();
      const idle = handler.state.upstreams[0].idle;
      assert.equal(idle.length, 1);
      await until(() => upstream.sockets.size === 0 && idle.length === 0);
      await get();
      for (const socket of upstream.sockets) socket.end();
      await until(() => idle.length === 0);
      await get();
      for (const socket of upstream.sockets) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged');
      await until(() => idle.length === 0);
      assert.equal(bodyOf(await get()), 'ok');
    });
    await upstream.close();
  },
);

eachEngine('Connection: close of the upstream is heeded', async () => {
  const upstream = await upstreamThat(() => response('ok', 'Connection: close\r\n')).listen();
  await proxied([upstream.address], {}, async ({ client }) => {
    const one = client();
    for (let count = 1; count <= 3; count++) {
      one.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      await until(() => one.text.split('ok').length > count);
      assert.equal(upstream.connections, count);
    }
  });
  await upstream.close();
});

eachEngine('upstreams are reached over IPv6 and Unix sockets', async () => {
  const path = join(tmpdir(), `millrace-proxy-${process.pid}.sock`);
  rmSync(path, { force: true });
  const six = await upstreamThat(() => response('six')).listen({ host: '::1' });
  const unix = await upstreamThat(() => response('unix')).listen({ path });
  await proxied([six.address, unix.address], {}, async ({ get }) => {
    const bodies = [bodyOf(await get()), bodyOf(await get())];
    assert.deepEqual(bodies.sort(), ['six', 'unix']);
  });
  await six.close();
  await unix.close();
});

eachEngine('content of an HTTP/1.0 upstream that ends with the connection arrives in chunks', async () => {
  const upstream = new RawUpstream((socket) => {
    socket.write('HTTP/1.0 200 OK\r\nDate: d\r\n\r\nfirst ');
    setTimeout(() => socket.end('second'), 5);
  });
  await upstream.listen();
  await proxied([upstream.address], {}, async ({ client }) => {
    const one = client();
    one.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const text = await one.read('0\r\n\r\n');
    assert.match(text, /^HTTP\/1\.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n/);
    assert.equal(readMessages(one.received, true).messages[0].body.toString(), 'first second');
  });
  await upstream.close();
});

const LARGE_BYTES = 48 << 20;
/** What waits for the slow side, and what had been received when the other was paused (a socket's receive buffer). */
const BLOCKS_WAITING_MAX = 192;

/** Writes the pattern over and over, at the pace of the socket. */
function pour(socket: Socket, bytes: number): void {
  const part = pattern(251 * 256);
  let left = bytes;
  const go = (): void => {
    while (left > 0) {
      const piece = left < part.length ? part.subarray(0, left) : part;
      left -= piece.length;
      if (!socket.write(piece)) return void socket.once('drain', go);
    }
  };
  go();
}

/** Checks the pattern as it comes. */
class Checker {
  bytes = 0;
  wrong = 0;
  take(chunk: Uint8Array): void {
    const part = pattern(251 * 256);
    for (let index = 0; index < chunk.length; index += 97) {
      if (chunk[index] !== part[(this.bytes + index) % part.length]) this.wrong++;
    }
    this.bytes += chunk.length;
  }
}

eachEngine(
  'a large response streams to a slow client with a bounded amount waiting',
  async (engine) => {
    const upstream = new RawUpstream((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${LARGE_BYTES}\r\n\r\n`);
      pour(socket, LARGE_BYTES);
    });
    await upstream.listen();
    await proxied([upstream.address], { responseTimeoutMs: 100 }, async ({ client }) => {
      const before = blocksOf(engine);
      const one = client();
      one.socket.removeAllListeners('data');
      const checker = new Checker();
      let head = '';
      one.socket.pause();
      one.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      // Longer than the response's timeout: the silence is the client's.
      await sleep(300);
      const [socket] = upstream.sockets;
      const written = socket.bytesWritten - socket.writableLength;
      assert.ok(written < LARGE_BYTES / 2, `${written} bytes were taken from the upstream`);
      assert.ok(before - blocksOf(engine) <= BLOCKS_WAITING_MAX, `${before - blocksOf(engine)} blocks wait`);
      one.socket.on('data', (chunk: Buffer) => {
        if (head.includes('\r\n\r\n')) return checker.take(chunk);
        head += chunk.toString('latin1');
        const end = head.indexOf('\r\n\r\n');
        if (end >= 0) checker.take(Buffer.from(head.slice(end + 4), 'latin1'));
      });
      one.socket.resume();
      await until(() => checker.bytes === LARGE_BYTES, 20_000);
      assert.equal(checker.wrong, 0);
      one.destroy();
    });
    await upstream.close();
  },
  { timeoutMs: 30_000 },
);

eachEngine(
  'a large upload streams to a slow upstream with a bounded amount waiting',
  async (engine) => {
    const checker = new Checker();
    const upstream = new RawUpstream(() => {});
    upstream.server.removeAllListeners('connection');
    let taken: Socket | null = null;
    let head = '';
    upstream.server.on('connection', (socket) => {
      taken = socket;
      upstream.sockets.add(socket);
      socket.on('close', () => upstream.sockets.delete(socket));
      socket.pause();
    });
    await upstream.listen();
    await proxied([upstream.address], {}, async ({ client, serving }) => {
      serving.server.limits = { ...serving.server.limits, bodySize: LARGE_BYTES };
      const before = blocksOf(engine);
      const one = client();
      one.write(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${LARGE_BYTES}\r\n\r\n`);
      pour(one.socket, LARGE_BYTES);
      await until(() => taken !== null);
      await sleep(200);
      const sent = one.socket.bytesWritten - one.socket.writableLength;
      assert.ok(sent < LARGE_BYTES / 2, `${sent} bytes were taken from the client`);
      assert.ok(before - blocksOf(engine) <= BLOCKS_WAITING_MAX, `${before - blocksOf(engine)} blocks wait`);
      taken!.on('data', (chunk: Buffer) => {
        if (head.includes('\r\n\r\n')) checker.take(chunk);
        else {
          head += chunk.toString('latin1');
          const end = head.indexOf('\r\n\r\n');
          if (end >= 0) checker.take(Buffer.from(head.slice(end + 4), 'latin1'));
        }
        if (checker.bytes === LARGE_BYTES) taken!.write(ok());
      });
      taken!.resume();
      await one.read('ok', 20_000);
      assert.equal(checker.bytes, LARGE_BYTES);
      assert.equal(checker.wrong, 0);
    });
    await upstream.close();
  },
  { timeoutMs: 30_000 },
);
