/**
 * Worker threads: several share a port, one ends in the middle of its work, one closes its listener while clients queue.
 */
import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import node from 'node:net';
import { Worker } from 'node:worker_threads';
import { type Connection, listen } from '../../src/net/index.ts';
import type { EchoWorkerData } from '../support/echo-worker.ts';
import { eachEngine, openDescriptors, turns, until } from '../support/net.ts';
import { HOST, rawClose, rawConnect, rawReceive, rawSend } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

const MSG_DONTWAIT = 0x40;

interface Report {
  readonly port?: number;
  readonly datagramPort?: number;
  readonly accepts?: number;
  readonly messages?: number;
}

interface Started {
  readonly worker: Worker;
  readonly ready: Report;
  readonly exited: Promise<unknown>;
}

async function start(data: EchoWorkerData): Promise<Started> {
  const worker = new Worker(new URL('../support/echo-worker.ts', import.meta.url), { workerData: data });
  const exited = once(worker, 'exit');
  const [ready] = (await once(worker, 'message')) as [Report];
  return { worker, ready, exited };
}

async function ask(worker: Worker, question: string): Promise<Report> {
  worker.postMessage(question);
  return ((await once(worker, 'message')) as [Report])[0];
}

/** Node's own client: sends a line and resolves with what came back, or the error's code. */
function echoOnce(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = node.connect(port, HOST);
    socket.on('error', (error: Error & { code?: string }) => resolve(error.code ?? error.message));
    socket.on('data', (chunk) => {
      resolve(String(chunk));
      socket.end();
    });
    socket.write(text);
  });
}

eachEngine(
  'two workers share a port: both get connections, each client one answer; a flow of datagrams stays',
  async (engine) => {
    const first = await start({ engine: engine.name, port: 0, datagramPort: 0 });
    const port = first.ready.port!;
    const datagramPort = first.ready.datagramPort!;
    const second = await start({ engine: engine.name, port, datagramPort });
    assert.equal(second.ready.port, port);
    const answers = await Promise.all(Array.from({ length: 100 }, (_, index) => echoOnce(port, `client ${index}`)));
    assert.deepEqual(
      answers,
      Array.from({ length: 100 }, (_, index) => `client ${index}`),
    );

    // One socket's datagrams are one flow: whoever gets the first gets all.
    const flow = dgram.createSocket('udp4');
    let heard = 0;
    flow.on('message', () => heard++);
    for (let count = 1; count <= 5; count++) {
      flow.send('x', datagramPort, HOST);
      await until(() => heard === count);
    }
    const after = [await ask(first.worker, 'count'), await ask(second.worker, 'count')];
    assert.deepEqual(after.map((report) => report.messages).toSorted(), [0, 5]);
    assert.equal(after[0].accepts! + after[1].accepts!, 100);
    assert.ok(
      after.every((report) => report.accepts! > 0),
      JSON.stringify(after),
    );
    flow.close();

    await assert.rejects(listen({ host: HOST, port }, {}), { code: 'EADDRINUSE' });
    await ask(first.worker, 'close');
    await ask(second.worker, 'close');
    await Promise.all([first.exited, second.exited]);
  },
);

eachEngine(
  'a worker that is terminated in mid-traffic gives its descriptors back, its peers end, others go on',
  async (engine) => {
    const before = openDescriptors().size;
    const first = await start({ engine: engine.name, port: 0 });
    const second = await start({ engine: engine.name, port: first.ready.port! });
    const clients = Array.from({ length: 16 }, () => {
      const socket = node.connect(first.ready.port!, HOST);
      const client = { socket, bytes: 0, over: false };
      socket.on('data', (chunk) => {
        client.bytes += chunk.length;
        socket.write(chunk);
      });
      socket.on('error', (error: Error & { code?: string }) => assert.match(String(error.code), /ECONNRESET|EPIPE/));
      socket.on('close', () => (client.over = true));
      socket.write('round and round');
      return client;
    });
    await until(() => clients.every((client) => client.bytes > 100));
    const lost = (await ask(first.worker, 'count')).accepts!;
    assert.ok(lost > 0 && lost < 16, `${lost} of 16 at the first worker`);
    await first.worker.terminate();
    await until(() => clients.filter((client) => client.over).length === lost);
    const marks = clients.map((client) => client.bytes);
    await until(() => clients.every((client, index) => client.over || client.bytes > marks[index] + 100));
    assert.equal(await echoOnce(first.ready.port!, 'others go on'), 'others go on');
    for (const client of clients) client.socket.destroy();
    await ask(second.worker, 'close');
    await second.exited;
    await until(() => openDescriptors().size <= before);
  },
);

eachEngine(
  'a listener that shares its port serves the clients in its queue when it closes, and resets none',
  async () => {
    const served = (name: string) =>
      new (class extends Recorder {
        override data(connection: Connection): void {
          connection.write(name, () => connection.destroy());
        }
      })();
    const first = await listen({ host: HOST, reusePort: true }, served('first'));
    const second = await listen({ host: HOST, reusePort: true, port: first.port }, served('second'));
    await turns();
    // All of this happens before the engine has its next turn, so both queues hold clients.
    const clients = Array.from({ length: 40 }, () => rawConnect(first.port));
    for (const client of clients) rawSend(client, 'x');
    const closing = first.close();
    const late = rawConnect(first.port);
    rawSend(late, 'x');
    await closing;
    await until(
      () => second.connections.size === 0 && first.connections.size === 0 && first.accepts + second.accepts === 41,
    );
    const answers = [...clients, late].map((client) => rawReceive(client, 10, MSG_DONTWAIT));
    assert.deepEqual([...new Set(answers)].toSorted(), ['first', 'second']);
    for (const client of [...clients, late]) rawClose(client);
    await second.close();
  },
);
