/**
 * The life of a datagram socket: closing in the middle of what arrived, handlers that throw, signals, and the process.
 */
import assert from 'node:assert/strict';
import { bindDatagrams } from '../../src/net/index.ts';
import { datagrams, rawDatagrams } from '../support/datagrams.ts';
import { eachEngine, openDescriptors, turns, until } from '../support/net.ts';
import { HOST, rawClose, rawSend, runChild } from '../support/pair.ts';

eachEngine('closing in a callback ends the messages, of a train and of a batch', async () => {
  const sender = await datagrams();
  let messages = 0;
  for (const gro of [true, false]) {
    const receiver = await bindDatagrams(
      { host: HOST, gro },
      {
        message(socket) {
          messages++;
          void socket.close();
        },
      },
    );
    for (let count = 0; count < 20; count++) sender.socket.send('x', receiver.address);
    await until(() => receiver.address === null);
    await turns(10);
  }
  assert.equal(messages, 2);
  await sender.socket.close();
});

eachEngine(
  'a handler that throws loses nothing but its own call',
  async (engine) => {
    const result = await runChild(
      `net.useEngine('${engine.name}');
       const thrown = [];
       process.on('uncaughtException', (error) => thrown.push(error.message));
       let count = 0;
       const receiver = await net.bindDatagrams({ host: '127.0.0.1', gro: true }, {
         message(socket, chunk) {
           if (++count === 2) throw new Error('second');
           if (count < 6) return;
           socket.close();
           sender.close();
         },
         close() { throw new Error('closing'); },
       });
       const sender = await net.bindDatagrams({ host: '127.0.0.1' });
       sender.sendSegments(new Uint8Array(40), 10, receiver.address, () => { throw new Error('sent'); });
       sender.send('next', receiver.address);
       sender.send('last', receiver.address);
       process.on('exit', () => console.log(count, thrown.toSorted().join()));`,
    );
    assert.equal(result.output.trim(), '6 closing,second,sent', result.errors);
    assert.equal(result.code, 0);
  },
  { timeoutMs: 30_000 },
);

eachEngine('a signal closes the socket; aborted before, nothing is bound', async () => {
  const before = openDescriptors().size;
  const controller = new AbortController();
  const { socket, heard } = await datagrams({ signal: controller.signal });
  controller.abort();
  await until(() => heard.events.includes('close'));
  assert.equal(socket.address, null);
  assert.equal(socket.descriptor, -1);
  await assert.rejects(datagrams({ signal: controller.signal }), { name: 'AbortError' });
  await until(() => openDescriptors().size === before);
});

eachEngine('disposing closes, and closing again resolves', async () => {
  const { socket, heard } = await datagrams();
  {
    await using own = socket;
    assert.equal(own.port, socket.port);
  }
  await socket.close();
  assert.deepEqual(heard.events, ['close']);
});

eachEngine(
  'an unreferenced socket lets the process end, a referenced one keeps it',
  async (engine) => {
    const result = await runChild(
      `net.useEngine('${engine.name}');
       const one = await net.bindDatagrams({ host: '127.0.0.1' });
       const two = await net.bindDatagrams({ host: '127.0.0.1' }, {
         message() {
           console.log('heard');
           two.unref();
         },
       });
       one.unref();
       setTimeout(() => one.send('still there', two.address), 20).unref();`,
    );
    assert.equal(result.output.trim(), 'heard', result.errors);
    assert.equal(result.code, 0);
  },
  { timeoutMs: 30_000 },
);

eachEngine('a promise and a tick of a callback run before Node sleeps, and an immediate soon', async (engine) => {
  const receiver = await datagrams();
  const order: string[] = [];
  const sent = new Promise<void>((resolve) => {
    receiver.socket.send('to itself', receiver.address, () => {
      setImmediate(() => {
        order.push('immediate');
        resolve();
      });
      process.nextTick(() => order.push('tick'));
      void Promise.resolve().then(() => order.push('promise'));
    });
  });
  const startMs = performance.now();
  await sent;
  assert.ok(performance.now() - startMs < 1000, engine.name);
  assert.deepEqual(order, ['tick', 'promise', 'immediate']);
  await receiver.socket.close();
});

eachEngine('messages of one sender share one address, which may be kept', async () => {
  const receiver = await datagrams();
  const raw = rawDatagrams(receiver.address);
  for (let count = 0; count < 3; count++) rawSend(raw.descriptor, 'x');
  await receiver.heard.got(3);
  assert.equal(receiver.heard.senders[0], receiver.heard.senders[2]);
  assert.ok(Object.isFrozen(receiver.heard.senders[0]));
  assert.deepEqual(receiver.heard.senders[0], raw.address);
  rawClose(raw.descriptor);
  await receiver.socket.close();
});
