/**
 * The same random program of writes, ends, pauses and destroys, run on each engine and on Node's own sockets: both sides have to
 * hear the same, in the same order.
 *
 * A newcomer would get wrong: the library itself runs here on both ends, node:net as well, so a step is over only when neither
 * end has heard anything for a while; what a chunk boundary is does not count.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import node from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, listen } from '../../src/net/index.ts';
import { eachEngine, until } from '../support/net.ts';
import { HOST } from '../support/pair.ts';
import { randomSource } from '../support/random.ts';

const SEEDS = 20;
const STEPS = 8;

/** What both kinds of socket have under the same names. */
interface End {
  write(text: string): unknown;
  end(): unknown;
  destroy(): unknown;
  pause(): unknown;
  resume(): unknown;
}

type Operation = 'write' | 'end' | 'destroy' | 'pause' | 'resume';
type Step = readonly [side: 0 | 1, operation: Operation];

/** One side's log: bytes that follow one another are one entry. */
class Log {
  readonly entries: string[] = [];
  bytes = 0;

  hear(what: string): void {
    this.entries.push(what);
  }

  data(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    const last = this.entries.at(-1);
    const bytes = chunk.length + (last?.startsWith('data ') === true ? Number(last.slice(5)) : 0);
    if (last?.startsWith('data ') === true) this.entries.pop();
    this.entries.push(`data ${bytes}`);
  }
}

function program(seed: number): Step[] {
  const random = randomSource(seed);
  const steps: Step[] = [];
  const over = [false, false];
  for (let count = 0; count < STEPS; count++) {
    const side = random.integer(2) as 0 | 1;
    const choice = random.integer(10);
    // Writing behind one's own end, or to a peer that is gone, is an error whose moment the kernel's timing decides.
    if (choice < 5 && !over[side] && !over[1 - side]) steps.push([side, 'write']);
    else if (choice === 5) {
      steps.push([side, 'end']);
      over[side] = true;
    } else if (choice === 6 && count > STEPS / 2) {
      steps.push([side, 'resume'], [(1 - side) as 0 | 1, 'resume'], [side, 'destroy']);
      break;
    } else if (choice === 7) steps.push([side, 'pause']);
    else if (choice === 8) steps.push([side, 'resume']);
  }
  return [...steps, [0, 'resume'], [1, 'resume'], [0, 'end'], [1, 'end']];
}

async function quiet(logs: readonly Log[]): Promise<void> {
  let seen = '';
  for (let still = 0; still < 2; ) {
    await sleep(1);
    const now = JSON.stringify(logs.map((log) => log.entries));
    still = now === seen ? still + 1 : 0;
    seen = now;
  }
}

async function perform(steps: readonly Step[], ends: readonly End[], logs: readonly Log[]): Promise<void> {
  const written = [0, 0];
  const paused = [false, false];
  let destroyed = false;
  for (const [index, [side, operation]] of steps.entries()) {
    if (operation === 'write') {
      const text = 'x'.repeat(1 + index * 37);
      written[1 - side] += text.length;
      ends[side].write(text);
    } else {
      ends[side][operation]();
    }
    if (operation === 'pause' || operation === 'resume') paused[side] = operation === 'pause';
    destroyed ||= operation === 'destroy';
    // A busy machine may be slower than any silence that is worth waiting for; what is sure to come is waited for.
    await until(() => destroyed || logs.every((log, one) => paused[one] || log.bytes === written[one]));
    await quiet(logs);
  }
  await until(() => logs.every((log) => log.entries.at(-1) === 'close'));
}

async function onNode(steps: readonly Step[]): Promise<string[][]> {
  const logs = [new Log(), new Log()];
  const watch = (socket: node.Socket, log: Log): node.Socket =>
    socket
      .on('data', (chunk) => log.data(chunk))
      .on('end', () => log.hear('end'))
      .on('error', () => log.hear('error'))
      .on('close', () => log.hear('close'));
  const server = node.createServer().listen(0, HOST);
  await once(server, 'listening');
  const accepted = once(server, 'connection') as Promise<[node.Socket]>;
  const client = watch(node.connect((server.address() as node.AddressInfo).port, HOST), logs[0]);
  const [peer] = await accepted;
  watch(peer, logs[1]);
  await quiet(logs);
  await perform(steps, [client, peer], logs);
  server.close();
  return logs.map((log) => log.entries);
}

async function onMillrace(steps: readonly Step[]): Promise<string[][]> {
  const logs = [new Log(), new Log()];
  const handler = (log: Log) => ({
    data: (_connection: unknown, chunk: Uint8Array) => log.data(chunk),
    end: () => log.hear('end'),
    error: () => log.hear('error'),
    close: () => log.hear('close'),
  });
  const listener = await listen({ host: HOST }, handler(logs[1]));
  const client = connect({ host: HOST, port: listener.port }, handler(logs[0]));
  await client.opening();
  await until(() => listener.connections.size === 1);
  const [peer] = listener.connections;
  await perform(steps, [client, peer], logs);
  await listener.close();
  return logs.map((log) => log.entries);
}

const expected = new Map<number, Promise<string[][]>>();

eachEngine(
  'the same random program tells the same on every engine and on node:net',
  async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const steps = program(seed);
      if (!expected.has(seed)) expected.set(seed, onNode(steps));
      const told = `seed ${seed}: ${steps.map(([side, operation]) => `${side === 0 ? 'client' : 'server'} ${operation}`).join(', ')}`;
      assert.deepEqual(await onMillrace(steps), await expected.get(seed), told);
    }
  },
  { timeoutMs: 30_000 },
);
