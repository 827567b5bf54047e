/**
 * Segmented sends (GSO) and joined receives (GRO): the program sees single datagrams whatever the kernel made of them.
 */
import assert from 'node:assert/strict';
import {
  IP_PKTINFO,
  IP_RECVTOS,
  IP_RECVTTL,
  SO_TIMESTAMPNS,
  SOL_IP,
  SOL_SOCKET,
  SOL_UDP,
  UDP_SEGMENT,
} from '../../src/kernel/constants.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import { check } from '../../src/kernel/error.ts';
import * as sockets from '../../src/kernel/socket.ts';
import { bindDatagrams } from '../../src/net/index.ts';
import { datagrams, rawDatagrams, sending } from '../support/datagrams.ts';
import { eachEngine, pattern, turns } from '../support/net.ts';
import { HOST, rawClose, rawSend, runChild } from '../support/pair.ts';

/** SO_NO_CHECK of asm-generic/socket.h: no UDP checksums, with which the kernel refuses UDP_SEGMENT (udp_send_skb). */
const SO_NO_CHECK = 11;

eachEngine('a payload in segments is that many datagrams, the last one shorter', async () => {
  const receiver = await datagrams();
  const sender = await datagrams();
  sender.socket.sendSegments(new TextEncoder().encode('abcde'), 2, receiver.address);
  await receiver.heard.got(3);
  assert.deepEqual(receiver.heard.texts, ['ab', 'cd', 'e']);
  assert.deepEqual(receiver.heard.coalesced, [1, 1, 1]);
  assert.throws(() => sender.socket.sendSegments(new Uint8Array(4), 0, receiver.address), RangeError);
  await sender.socket.close();
  await receiver.socket.close();
});

eachEngine('more segments or bytes than one send takes are split below both limits', async () => {
  const receiver = await datagrams({ gro: true, receiveBufferBytes: 1 << 20 });
  const sender = await datagrams();
  sender.socket.sendSegments(pattern(129), 1, receiver.address);
  await receiver.heard.got(129);
  assert.equal(receiver.heard.bytes, 129);
  assert.deepEqual([...new Set(receiver.heard.coalesced)], [64, 1]);
  sender.socket.sendSegments(pattern(65_508), 1400, receiver.address);
  await receiver.heard.got(129 + 47);
  assert.equal(receiver.heard.bytes, 129 + 65_508);
  assert.deepEqual(receiver.heard.lengths.slice(-2), [1400, 65_508 - 46 * 1400]);
  assert.deepEqual(sender.heard.errors, []);
  assert.equal(sender.socket.segmentation, true);
  await sender.socket.close();
  await receiver.socket.close();
});

eachEngine(
  'a train of 3,500 bytes arrives as messages of 1,000 with one sender, without its mark as one message',
  async () => {
    const receiver = await datagrams({ gro: true });
    const sender = await datagrams();
    sender.socket.sendSegments(pattern(3500), 1000, receiver.address);
    await receiver.heard.got(4);
    sender.socket.send('single', receiver.address);
    await receiver.heard.got(5);
    assert.deepEqual(receiver.heard.lengths, [1000, 1000, 1000, 500, 6]);
    assert.deepEqual(receiver.heard.wholes, receiver.heard.lengths);
    assert.deepEqual(receiver.heard.coalesced, [4, 4, 4, 4, 1]);
    assert.deepEqual(receiver.heard.senders, Array(5).fill(sender.address));
    await sender.socket.close();
    await receiver.socket.close();
  },
);

eachEngine('a train of 64,000 bytes arrives whole', async () => {
  const parts: Uint8Array[] = [];
  const receiver = await bindDatagrams(
    { host: HOST, gro: true, receiveBufferBytes: 1 << 20 },
    { message: (_socket, chunk) => void parts.push(chunk.slice()) },
  );
  const sender = await datagrams();
  const sent = pattern(64_000);
  for (let round = 0; round < 20; round++) {
    sender.socket.sendSegments(sent, 1000, receiver.address);
    while (parts.length < 64 * (round + 1)) await turns(1);
  }
  assert.equal(parts.length, 64 * 20);
  assert.ok(Buffer.concat(parts.slice(-64)).equals(sent));
  await sender.socket.close();
  await receiver.close();
});

eachEngine('runs of equal size leave together, in order, with a short one at the end of a run', async () => {
  const receiver = await datagrams({ gro: true });
  const sender = await datagrams();
  for (const length of [100, 100, 50, 100, 100, 0, 100, 200]) sender.socket.send(pattern(length), receiver.address);
  await receiver.heard.got(8);
  assert.deepEqual(receiver.heard.lengths, [100, 100, 50, 100, 100, 0, 100, 200]);
  assert.deepEqual(receiver.heard.coalesced, [3, 3, 3, 2, 2, 1, 1, 1]);
  await sender.socket.close();
  await receiver.socket.close();
});

eachEngine('only datagrams to one peer leave together', async () => {
  const [one, other] = [await datagrams({ gro: true }), await datagrams({ gro: true })];
  const sender = await datagrams();
  for (const to of [one, other, one, one, other]) sender.socket.send(`to ${to.socket.port}`, to.address);
  await one.heard.got(3);
  await other.heard.got(2);
  assert.deepEqual(new Set(one.heard.texts), new Set([`to ${one.socket.port}`]));
  assert.deepEqual(new Set(other.heard.texts), new Set([`to ${other.socket.port}`]));
  for (const { socket } of [one, other, sender]) await socket.close();
});

eachEngine('where the socket cannot segment, the same datagrams leave singly and segmentation stays off', async () => {
  const receiver = await datagrams({ gro: true });
  const sender = await datagrams();
  check(sockets.setsockoptInt(sender.socket.descriptor, SOL_SOCKET, SO_NO_CHECK, 1), 'setsockopt');
  assert.equal(sender.socket.segmentation, true);
  const told = await new Promise((resolve) => sender.socket.sendSegments(pattern(500), 100, receiver.address, resolve));
  assert.equal(told, null);
  await receiver.heard.got(5);
  assert.deepEqual(receiver.heard.lengths, [100, 100, 100, 100, 100]);
  assert.equal(receiver.heard.bytes, 500);
  assert.equal(sender.socket.segmentation, false);
  assert.deepEqual(sender.heard.errors, []);
  await sender.socket.close();
  await receiver.socket.close();
});

eachEngine(
  'where the device cannot segment (EIO), the same datagrams leave singly',
  async (engine) => {
    const result = await runChild(
      `net.useEngine('${engine.name}');
       const lengths = [];
       const receiver = await net.bindDatagrams({ host: '127.0.0.1' }, {
         message(socket, chunk) {
           lengths.push(chunk.length);
           if (lengths.length < 4) return;
           console.log(lengths.join(), sender.segmentation);
           socket.close();
           sender.close();
         },
       });
       const sender = await net.bindDatagrams({ host: '127.0.0.1' }, { error: (socket, error) => console.log(error.message) });
       sender.sendSegments(new Uint8Array(350), 100, receiver.address);`,
      { command: ['strace', '-f', '-qq', '-o', '/dev/null', '-e', 'inject=sendmmsg:error=EIO:when=1'] },
    );
    assert.equal(result.output.trim(), '100,100,100,50 false', result.errors);
  },
  { timeoutMs: 30_000 },
);

eachEngine('the segment size is found among other control data, and names and payloads with it', async () => {
  const receiver = await datagrams({ gro: true });
  const { descriptor } = receiver.socket;
  for (const option of [IP_PKTINFO, IP_RECVTTL, IP_RECVTOS]) {
    check(sockets.setsockoptInt(descriptor, SOL_IP, option, 1), 'setsockopt');
  }
  check(sockets.setsockoptInt(descriptor, SOL_SOCKET, SO_TIMESTAMPNS, 1), 'setsockopt');
  const sender = await datagrams();
  assert.equal(await sending(sender.socket, 'plain', receiver.address), 'sent');
  await receiver.heard.got(1);
  sender.socket.sendSegments(new TextEncoder().encode('onetwosix.'), 3, receiver.address);
  await receiver.heard.got(5);
  assert.deepEqual(receiver.heard.texts, ['plain', 'one', 'two', 'six', '.']);
  assert.deepEqual(receiver.heard.senders, Array(5).fill(sender.address));
  await sender.socket.close();
  await receiver.socket.close();
});

eachEngine(
  'a foreign sender that segments is understood, and the kernel limits are what the splitting relies on',
  async () => {
    const receiver = await datagrams({ gro: true, receiveBufferBytes: 1 << 20 });
    const raw = rawDatagrams(receiver.address);
    check(sockets.setsockoptInt(raw.descriptor, SOL_UDP, UDP_SEGMENT, 1), 'setsockopt');
    assert.equal(rawSend(raw.descriptor, 'x'.repeat(64)), 64);
    assert.equal(rawSend(raw.descriptor, 'x'.repeat(129)), -ERRNO.EINVAL);
    check(sockets.setsockoptInt(raw.descriptor, SOL_UDP, UDP_SEGMENT, 1400), 'setsockopt');
    assert.equal(rawSend(raw.descriptor, 'x'.repeat(65_507)), 65_507);
    assert.equal(rawSend(raw.descriptor, 'x'.repeat(65_508)), -ERRNO.EMSGSIZE);
    await receiver.heard.got(64 + 47);
    assert.equal(receiver.heard.bytes, 64 + 65_507);
    rawClose(raw.descriptor);
    await receiver.socket.close();
  },
);
