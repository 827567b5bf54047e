/**
 * Socket options: set before and after connecting, inherited from the listener, rounded, capped and refused.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import {
  IP_TOS,
  IPPROTO_TCP,
  SO_KEEPALIVE,
  SO_LINGER,
  SO_RCVBUF,
  SO_SNDBUF,
  SOL_IP,
  SOL_SOCKET,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_NODELAY,
  TCP_NOTSENT_LOWAT,
  TCP_USER_TIMEOUT,
} from '../../src/kernel/constants.ts';
import * as sockets from '../../src/kernel/socket.ts';
import { addressOf, call, SYS } from '../../src/kernel/syscall.ts';
import { type ConnectOptions, connect, listen } from '../../src/net/index.ts';
import { datagrams } from '../support/datagrams.ts';
import { eachEngine, turns, until } from '../support/net.ts';
import { HOST, pair, rawClose, rawConnect, rawListen, rawSend } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

function tcp(descriptor: number, option: number): number {
  return sockets.getsockoptInt(descriptor, IPPROTO_TCP, option);
}

function socketOption(descriptor: number, option: number): number {
  return sockets.getsockoptInt(descriptor, SOL_SOCKET, option);
}

const maximum = (name: string): number => Number(readFileSync(`/proc/sys/net/core/${name}`, 'utf8'));

eachEngine('options given to connect hold on the socket, on every one that is made with them', async () => {
  const listener = await listen({ host: HOST }, {});
  const given: ConnectOptions = {
    noDelay: false,
    keepAliveMs: 30_000,
    keepAliveIntervalMs: 5000,
    keepAliveCount: 3,
    tos: 0x10,
  };
  for (let round = 0; round < 2; round++) {
    const heard = new Recorder();
    const connection = connect({ host: HOST, port: listener.port, ...given }, heard);
    await connection.opening();
    const { descriptor } = connection;
    assert.equal(tcp(descriptor, TCP_NODELAY), 0);
    assert.equal(socketOption(descriptor, SO_KEEPALIVE), 1);
    const times = [TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT].map((option) => tcp(descriptor, option));
    assert.deepEqual(times, [30, 5, 3]);
    assert.equal(sockets.getsockoptInt(descriptor, SOL_IP, IP_TOS), 0x10);
    connection.destroy();
    await heard.heard('close');
  }
  await listener.close();
});

eachEngine(
  'options set while connecting hold once there is a socket, and a wrong one fails the connection',
  async () => {
    const listener = await listen({ host: HOST }, {});
    const heard = new Recorder();
    const connection = connect({ host: HOST, port: listener.port }, heard);
    connection
      .setNoDelay(false)
      .setKeepAlive(true, 7000)
      .setTypeOfService(0x20)
      .setNotSentLowWater(4096)
      .setUserTimeout(9000);
    await connection.opening();
    const { descriptor } = connection;
    assert.deepEqual(
      [TCP_NODELAY, TCP_KEEPIDLE, TCP_NOTSENT_LOWAT, TCP_USER_TIMEOUT].map((option) => tcp(descriptor, option)),
      [0, 7, 4096, 9000],
    );
    assert.equal(sockets.getsockoptInt(descriptor, SOL_IP, IP_TOS), 0x20);
    connection.destroy();
    await heard.heard('close');
    // On a closed connection nothing is set and nothing is wrong.
    connection.setNoDelay().setKeepAlive().setTypeOfService(0);
    const wrong = new Recorder();
    const refused = connect({ host: HOST, port: listener.port }, wrong);
    refused.setTypeOfService(256);
    await wrong.heard('close');
    assert.deepEqual(wrong.events, ['error:EINVAL', 'close']);
    await assert.rejects(connect({ host: HOST, port: listener.port, tos: -1 }).opening(), { code: 'EINVAL' });
    await listener.close();
  },
);

eachEngine("a listener's options are those of its connections before their handler hears of them", async () => {
  const seen: number[] = [];
  const listener = await listen(
    { host: HOST, noDelay: true, keepAliveMs: 20_000, receiveBufferBytes: 10_000, sendBufferBytes: 10_000, tos: 0x10 },
    {
      open({ descriptor }) {
        seen.push(tcp(descriptor, TCP_NODELAY), socketOption(descriptor, SO_KEEPALIVE), tcp(descriptor, TCP_KEEPIDLE));
        seen.push(socketOption(descriptor, SO_RCVBUF), socketOption(descriptor, SO_SNDBUF));
      },
    },
  );
  const client = rawConnect(listener.port);
  await until(() => seen.length > 0);
  assert.deepEqual(seen, [1, 1, 20, 20_000, 20_000]);
  rawClose(client);
  await listener.close();
});

eachEngine(
  'linger 0 on a listener would reset every connection: the kernel hands it down, the library has no such option',
  () => {
    const raw = rawListen(4);
    sockets.setLinger(raw.descriptor, 0);
    const client = rawConnect(raw.port);
    const accepted = sockets.accept4(raw.descriptor, 0);
    const value = new Uint8Array(8);
    sockets.getsockopt(accepted, SOL_SOCKET, SO_LINGER, value);
    assert.equal(value[0], 1);
    rawClose(accepted);
    rawClose(client);
    rawClose(raw.descriptor);
  },
);

eachEngine('keep-alive times become whole seconds, never 0; what is out of range is named', async () => {
  const { connection, finish } = await pair();
  connection.setKeepAlive(true, 456_123);
  assert.equal(tcp(connection.descriptor, TCP_KEEPIDLE), 456);
  connection.setKeepAlive(true, 500);
  assert.equal(tcp(connection.descriptor, TCP_KEEPIDLE), 1);
  connection.setKeepAlive(true, 0);
  assert.equal(tcp(connection.descriptor, TCP_KEEPIDLE), 1, '0 leaves it as it is');
  connection.setKeepAlive(false);
  assert.equal(socketOption(connection.descriptor, SO_KEEPALIVE), 0);
  for (const delayMs of [-1, 32_768_000, Number.NaN]) {
    assert.throws(() => connection.setKeepAlive(true, delayMs), { code: 'EINVAL', message: /TCP_KEEPIDLE/ });
  }
  for (const intervalMs of [0, -1, 32_768_000]) {
    assert.throws(() => connection.setKeepAlive(true, 0, intervalMs), { code: 'EINVAL', message: /TCP_KEEPINTVL/ });
  }
  for (const count of [0, 128]) {
    assert.throws(() => connection.setKeepAlive(true, 0, 1000, count), { code: 'EINVAL', message: /TCP_KEEPCNT/ });
  }
  await finish();
});

eachEngine('buffer sizes are doubled, raised to a minimum and capped without an error', async () => {
  const { connection, finish } = await pair();
  const sizes = (): number[] => [SO_RCVBUF, SO_SNDBUF].map((option) => socketOption(connection.descriptor, option));
  connection.setBuffers({ receiveBufferBytes: 10_000, sendBufferBytes: 10_000 });
  assert.deepEqual(sizes(), [20_000, 20_000]);
  connection.setBuffers({ receiveBufferBytes: 1, sendBufferBytes: 1 });
  assert.deepEqual(sizes(), [2304, 4608]);
  connection.setBuffers({ receiveBufferBytes: 2 ** 31 - 1, sendBufferBytes: 2 ** 31 - 1 });
  assert.deepEqual(sizes(), [maximum('rmem_max') * 2, maximum('wmem_max') * 2]);
  for (const size of [0, -1, 2 ** 31, 1.5]) {
    assert.throws(() => connection.setBuffers({ receiveBufferBytes: size }), {
      code: 'EINVAL',
      message: /receiveBufferBytes/,
    });
  }
  await finish();
  const { socket } = await datagrams({ receiveBufferBytes: 10_000 });
  assert.equal(socketOption(socket.descriptor, SO_RCVBUF), 20_000);
  await socket.close();
});

eachEngine('TCP keeps the two ECN bits of a type of service; what is no octet is refused', async () => {
  const { connection, finish } = await pair();
  connection.setTypeOfService(0x13);
  assert.equal(sockets.getsockoptInt(connection.descriptor, SOL_IP, IP_TOS), 0x10);
  for (const value of [256, -1, 1.5]) {
    assert.throws(() => connection.setTypeOfService(value), { code: 'EINVAL', message: /tos.*0 to 255/ });
  }
  assert.equal(sockets.getsockoptInt(connection.descriptor, SOL_IP, IP_TOS), 0x10);
  await finish();
});

eachEngine('a peer that has stopped reading fails the connection after the user timeout', async () => {
  const raw = rawListen(4);
  sockets.setsockoptInt(raw.descriptor, SOL_SOCKET, SO_RCVBUF, 4096);
  const heard = new Recorder();
  const connection = connect({ host: HOST, port: raw.port, userTimeoutMs: 1000, sendBufferBytes: 8192 }, heard);
  await connection.opening();
  const accepted = sockets.accept4(raw.descriptor, 0);
  const startMs = performance.now();
  connection.write(new Uint8Array(1 << 20));
  await heard.heard('close');
  const tookMs = performance.now() - startMs;
  assert.deepEqual(heard.events, ['open', 'error:ETIMEDOUT', 'close']);
  assert.ok(tookMs > 900 && tookMs < 5000, `${tookMs} ms`);
  rawClose(accepted);
  rawClose(raw.descriptor);
});

eachEngine('with deferred accepting a silent client is not accepted, and its first byte comes with it', async () => {
  const server = new Recorder();
  const listener = await listen({ host: HOST, deferAcceptSeconds: 30 }, server);
  const client = rawConnect(listener.port);
  await turns(20);
  assert.equal(server.count('open'), 0);
  assert.equal(rawSend(client, 'x'), 1);
  await server.read(1);
  assert.deepEqual(server.events, ['open', 'data:x']);
  rawClose(client);
  await server.heard('close');
  await listener.close();
});

eachEngine('bytes above the not-sent low water wait in the connection, where they can be counted', async () => {
  const raw = rawListen(4);
  sockets.setsockoptInt(raw.descriptor, SOL_SOCKET, SO_RCVBUF, 4096);
  const heard = new Recorder();
  const connection = connect({ host: HOST, port: raw.port, notSentLowWaterBytes: 16_384 }, heard);
  await connection.opening();
  const accepted = sockets.accept4(raw.descriptor, 0);
  for (let count = 0; count < 100; count++) connection.write(new Uint8Array(10_000));
  await turns(20);
  const pending = new Int32Array(new ArrayBuffer(64));
  // SIOCOUTQNSD: bytes that TCP has not sent yet (tcp(7)).
  assert.equal(call(SYS.ioctl, connection.descriptor, 0x894b, addressOf(pending)), 0);
  assert.ok(pending[0] < 200_000, `${pending[0]} bytes unsent in the kernel`);
  assert.ok(connection.bytesQueued > 500_000, `${connection.bytesQueued} bytes wait`);
  connection.destroy();
  await heard.heard('close');
  rawClose(accepted);
  rawClose(raw.descriptor);
});
