/**
 * IPv6: dual-stack sockets, what may share a port, scopes of link-local addresses, several addresses of one name.
 */
import assert from 'node:assert/strict';
import { AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, SOCK_CLOEXEC, SOCK_STREAM } from '../../src/kernel/constants.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import { check } from '../../src/kernel/error.ts';
import * as sockets from '../../src/kernel/socket.ts';
import { connectTo } from '../../src/net/connect.ts';
import { bindDatagrams, connect, listen, type SocketAddress } from '../../src/net/index.ts';
import { datagrams, sending } from '../support/datagrams.ts';
import { eachEngine, until } from '../support/net.ts';
import { deadPort, HOST, rawClose, rawConnect, rawListen, runChild } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

const MAPPED = '::ffff:127.0.0.1';

/** How connecting ends: the peer's address, or the error's code. */
async function reach(host: string, port: number): Promise<string> {
  const heard = new Recorder();
  const connection = connect({ host, port }, heard);
  const result = await connection.opening().then(
    () => (connection.remoteAddress as { readonly address: string }).address,
    (error: { readonly code: string }) => error.code,
  );
  connection.destroy();
  await heard.heard('close');
  return result;
}

eachEngine('without a host both families reach the listener, an IPv4 client under its mapped address', async () => {
  const server = new Recorder();
  const listener = await listen({}, server);
  assert.deepEqual(listener.address, { family: 'ipv6', address: '::', port: listener.port });
  assert.equal(await reach(HOST, listener.port), HOST);
  await server.heard('close');
  assert.equal((server.connection.remoteAddress as { readonly address: string }).address, MAPPED);
  assert.equal(await reach('::1', listener.port), '::1');
  await server.heard('close', 2);
  assert.equal((server.connection.remoteAddress as { readonly address: string }).address, '::1');
  await listener.close();
});

eachEngine('a dual-stack datagram socket talks to both families, and answers a mapped sender', async () => {
  const server = await bindDatagrams({}, { message: (socket, chunk, from) => void socket.send(chunk, from) });
  const four = await datagrams();
  const six = await datagrams({ host: '::1' });
  four.socket.send('four', { family: 'ipv4', address: HOST, port: server.port });
  six.socket.send('six', { family: 'ipv6', address: '::1', port: server.port });
  await four.heard.got(1);
  await six.heard.got(1);
  assert.deepEqual(four.heard.senders, [{ family: 'ipv4', address: HOST, port: server.port }]);
  assert.deepEqual(six.heard.senders, [{ family: 'ipv6', address: '::1', port: server.port }]);
  const dual = await datagrams({ host: '::' });
  assert.equal(await sending(dual.socket, 'to four', four.address), 'sent');
  four.socket.send('to dual', { family: 'ipv4', address: HOST, port: dual.socket.port });
  await dual.heard.got(1);
  assert.deepEqual(dual.heard.senders, [{ family: 'ipv6', address: MAPPED, port: four.socket.port }]);
  for (const socket of [server, four.socket, six.socket, dual.socket]) await socket.close();
});

eachEngine('IPv6 only, IPv4 clients are refused and 0.0.0.0 may have the same port', async () => {
  const listener = await listen({ host: '::', ipv6Only: true }, {});
  assert.equal(await reach(HOST, listener.port), 'ECONNREFUSED');
  assert.equal(await reach('::1', listener.port), '::1');
  const other = await listen({ host: '0.0.0.0', port: listener.port }, {});
  assert.equal(await reach(HOST, listener.port), HOST);
  await until(() => listener.connections.size + other.connections.size === 0);
  await other.close();
  await listener.close();
  const six = await bindDatagrams({ host: '::', ipv6Only: true });
  const four = await bindDatagrams({ host: '0.0.0.0', port: six.port });
  await six.close();
  await four.close();
});

eachEngine(':: takes the port of every IPv4 address, ::1 of none, in either order', async () => {
  for (const bind of [(target: { host: string; port?: number }) => listen(target, {}), bindDatagrams]) {
    const any = await bind({ host: '::' });
    for (const host of ['0.0.0.0', HOST]) await assert.rejects(bind({ host, port: any.port }), { code: 'EADDRINUSE' });
    await any.close();
    for (const [first, second] of [
      ['::1', HOST],
      [HOST, '::1'],
      ['::1', '0.0.0.0'],
      ['0.0.0.0', '::1'],
    ]) {
      const one = await bind({ host: first });
      const two = await bind({ host: second, port: one.port });
      await one.close();
      await two.close();
    }
    const four = await bind({ host: HOST });
    await assert.rejects(bind({ host: '::', port: four.port }), { code: 'EADDRINUSE' });
    await four.close();
  }
});

eachEngine('IPv6 only after binding, for another family or with a mapped address is EINVAL', async () => {
  await assert.rejects(listen({ host: MAPPED, ipv6Only: true }, {}), { code: 'EINVAL' });
  await assert.rejects(listen({ host: HOST, ipv6Only: true }, {}), { code: 'EINVAL', message: /IPv6 address/ });
  await assert.rejects(bindDatagrams({ host: MAPPED, ipv6Only: true }), { code: 'EINVAL' });
  await assert.rejects(bindDatagrams({ host: HOST, ipv6Only: true }), { code: 'EINVAL' });
  const descriptor = check(sockets.socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC), 'socket');
  check(sockets.bind(descriptor, { family: 'ipv6', address: '::1', port: 0 }), 'bind');
  assert.equal(sockets.setsockoptInt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 1), -ERRNO.EINVAL);
  rawClose(descriptor);
});

eachEngine(
  'a link-local address needs its interface, and the peer is reported with it',
  async (engine) => {
    const result = await runChild(
      `net.useEngine('${engine.name}');
       const { port } = await net.listen({ host: 'fe80::77%mr0' }, {
         open(connection) {
           console.log(connection.remoteAddress.scope > 0, connection.remoteAddress.address);
           connection.end();
         },
       });
       const failure = await net.listen({ host: 'fe80::77' }, {}).catch((error) => error.code);
       console.log(failure);
       console.log(await net.connect({ host: 'fe80::77', port }).opening().catch((error) => error.code));
       const connection = net.connect({ host: 'fe80::77%mr0', port });
       await connection.opening();
       console.log(net.formatAddress(connection.remoteAddress).replace(/%\\d+/, '%index').replace(/\\d+$/, 'port'));
       connection.end();
       const socket = await net.bindDatagrams({ host: 'fe80::77%mr0' }, { message(own, chunk, from) {
         console.log(from.scope > 0, own.address.scope === from.scope);
         socket.close();
         process.exit(0);
       } });
       socket.send('x', socket.address);`,
      {
        command: [
          'unshare',
          '-n',
          'sh',
          '-c',
          'ip link add mr0 type veth peer name mr1 && ip addr add fe80::77/64 dev mr0 nodad && ' +
            'ip link set lo up && ip link set mr0 up && ip link set mr1 up && exec "$@"',
          'sh',
        ],
      },
    );
    assert.deepEqual(
      result.output.trim().split('\n').toSorted(),
      ['EINVAL', 'EINVAL', '[fe80::77%index]:port', 'true fe80::77', 'true true'].toSorted(),
      result.errors,
    );
  },
  { timeoutMs: 30_000 },
);

eachEngine(
  'where the host has no IPv6, no host means 0.0.0.0',
  async (engine) => {
    const result = await runChild(
      `net.useEngine('${engine.name}');
       const listener = await net.listen({}, {});
       console.log(listener.address.address);
       await listener.close();
       const named = await net.listen({ host: '::1' }, {}).catch((error) => error.code);
       console.log(named === 'EAFNOSUPPORT' || typeof named === 'object');
       process.exit(0);`,
      // The first socket of the process is the listener's; the kernel without IPv6 answers like this.
      { command: ['strace', '-f', '-qq', '-o', '/dev/null', '-e', 'inject=socket:error=EAFNOSUPPORT:when=1'] },
    );
    assert.equal(result.output.trim(), '0.0.0.0\ntrue', result.errors);
  },
  { timeoutMs: 30_000 },
);

const loopback6 = (port: number): SocketAddress => ({ family: 'ipv6', address: '::1', port });
const loopback4 = (port: number): SocketAddress => ({ family: 'ipv4', address: HOST, port });

eachEngine('addresses are tried in their order, the next at once after a refusal', async () => {
  const listener = await listen({ host: HOST }, {});
  const heard = new Recorder();
  const startMs = performance.now();
  const connection = connectTo([loopback6(listener.port), loopback4(listener.port)], {}, heard);
  await connection.opening();
  assert.ok(performance.now() - startMs < 200, 'no pause after a refusal');
  assert.deepEqual(connection.remoteAddress, loopback4(listener.port));
  connection.destroy();
  await heard.heard('close');
  assert.deepEqual(heard.events, ['open', 'close']);
  await listener.close();
});

eachEngine('when every address is dead one error lists them all', async () => {
  const port = deadPort();
  const heard = new Recorder();
  const connection = connectTo([loopback6(port), loopback4(port)], {}, heard);
  const error = await connection.opening().catch((failure: unknown) => failure);
  assert.ok(error instanceof AggregateError);
  assert.deepEqual(
    error.errors.map(({ code, address }) => [code, address]),
    [
      ['ECONNREFUSED', '::1'],
      ['ECONNREFUSED', HOST],
    ],
  );
  assert.match(error.message, /\[::1\].*127\.0\.0\.1/s);
  await heard.heard('close');
  assert.equal(heard.errors.length, 1);
});

eachEngine(
  'an address that does not answer is given a quarter of a second, then the next one is tried beside it',
  async () => {
    const silent = rawListen(0);
    const filler = rawConnect(silent.port);
    const listener = await listen({ host: HOST }, {});
    const heard = new Recorder();
    const startMs = performance.now();
    const connection = connectTo([loopback4(silent.port), loopback4(listener.port)], {}, heard);
    await connection.opening();
    const tookMs = performance.now() - startMs;
    assert.ok(tookMs > 240 && tookMs < 1500, `${tookMs} ms`);
    assert.deepEqual(connection.remoteAddress, loopback4(listener.port));
    connection.destroy();
    await heard.heard('close');
    await listener.close();
    rawClose(filler);
    rawClose(silent.descriptor);
  },
);

eachEngine('of listeners of both families that share a port, IPv4 clients reach the IPv4 one', async () => {
  const six = await listen({ host: '::', reusePort: true }, {});
  const four = await listen({ host: '0.0.0.0', port: six.port, reusePort: true }, {});
  for (let client = 0; client < 10; client++) assert.equal(await reach(HOST, six.port), HOST);
  assert.equal(await reach('::1', six.port), '::1');
  assert.deepEqual([four.accepts, six.accepts], [10, 1]);
  await until(() => six.connections.size + four.connections.size === 0);
  await six.close();
  await four.close();
  const sockets6 = await datagrams({ host: '::', reusePort: true });
  const sockets4 = await datagrams({ host: '0.0.0.0', port: sockets6.socket.port, reusePort: true });
  const sender = await datagrams();
  for (let count = 0; count < 10; count++) sender.socket.send('x', loopback4(sockets6.socket.port));
  await sockets4.heard.got(10);
  assert.equal(sockets6.heard.lengths.length, 0);
  for (const { socket } of [sockets6, sockets4, sender]) await socket.close();
});
