/**
 * The conformance cases through the proxy: what a client sends reaches a raw upstream unambiguously or not at all, and what an
 * upstream sends reaches the client well-formed or as 502. Whole, and cut at sampled positions.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { proxy, serve } from '../../src/http/index.ts';
import {
  conformanceCases,
  conformanceSkip,
  forwardedMax,
  isRight,
  type RequestCase,
  type ResponseCase,
} from '../support/conformance.ts';
import { eachEngine } from '../support/net.ts';
import { RawClient, RawUpstream } from '../support/raw-peers.ts';
import { fieldOf, type Message, readMessages } from '../support/strict-reader.ts';

/** Cases under way at the same time, each lane with a proxy and an upstream of its own. */
const LANES = 16;
const CUTS_MAX = 4;
const SILENCE_MS = 12;
const BODY = 'all right\n';
const FOLLOW_UP = 'GET /follow-up HTTP/1.1\r\nHost: example.test\r\n\r\n';

/** The octets whole, and in two pieces at positions spread over them (different ones for each case). */
function* cuttings(octets: Buffer, seed: number): Generator<readonly Buffer[]> {
  yield [octets];
  if (octets.length < 2) return;
  const cuts = Math.min(CUTS_MAX, octets.length - 1);
  for (let index = 0; index < cuts; index++) {
    const cut = 1 + ((seed * 7919 + Math.floor((index * octets.length) / cuts)) % (octets.length - 1));
    yield [octets.subarray(0, cut), octets.subarray(cut)];
  }
}

async function inLanes<Case>(cases: readonly Case[], lane: (next: () => [Case, number] | null) => Promise<void>) {
  let position = 0;
  const next = (): [Case, number] | null => (position < cases.length ? [cases[position], position++] : null);
  await Promise.all(Array.from({ length: LANES }, () => lane(next)));
}

// Requests.

function answerRequests(): RawUpstream {
  const answered: number[] = [];
  return new RawUpstream((socket, all, index) => {
    const { messages } = readMessages(all, false);
    for (let count = answered[index] ?? 0; count < messages.length; count++) {
      const content = messages[count].start.startsWith('HEAD ') ? '' : BODY;
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY.length}\r\n\r\n${content}`);
    }
    answered[index] = messages.length;
  });
}

/** Final statuses in what the client got. A head whose content is missing answered HEAD. */
function finalStatuses(text: string): { statuses: number[]; saidClose: boolean; fault: string } {
  const statuses: number[] = [];
  let saidClose = false;
  let position = 0;
  while (position < text.length) {
    const head = /^HTTP\/1\.1 (\d{3})[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n/.exec(text.slice(position));
    if (head === null)
      return { statuses, saidClose, fault: `no response: ${JSON.stringify(text.slice(position, 80))}` };
    position += head[0].length;
    const length = Number(/^content-length: (\d+)\r$/im.exec(head[0])?.[1] ?? 0);
    if (!text.startsWith('HTTP/1.1 ', position)) position = Math.min(text.length, position + length);
    if (head[1] !== '100') statuses.push(Number(head[1]));
    saidClose = /^connection: close\r$/im.test(head[0]);
  }
  return { statuses, saidClose, fault: '' };
}

async function runRequest(
  example: RequestCase,
  pieces: readonly Buffer[],
  port: number,
  upstream: RawUpstream,
): Promise<string> {
  const { expect } = example;
  for (const socket of upstream.sockets) socket.destroy();
  upstream.streams.fill(Buffer.alloc(0));
  const firstStream = upstream.streams.length;
  const client = new RawClient({ port });
  try {
    let written = 0;
    for (const piece of pieces) {
      let from = 0;
      if (example.pauseAt !== undefined && example.pauseAt > written && example.pauseAt < written + piece.length) {
        from = example.pauseAt - written;
        client.write(piece.subarray(0, from));
        await client.read(/^HTTP\/1\.1 \d{3}/).catch(() => {});
      }
      client.write(piece.subarray(from));
      written += piece.length;
      if (pieces.length > 1) await sleep(3);
    }
    if (example.closeAfter) client.socket.end();
    const deadlineMs = performance.now() + 4000;
    let seen = finalStatuses('');
    do {
      await client.quiet(SILENCE_MS);
      seen = finalStatuses(client.text);
    } while (
      !client.over &&
      seen.statuses.length < expect.statuses.length &&
      performance.now() < deadlineMs &&
      expect.waits !== true
    );
    if (seen.fault !== '') return seen.fault;
    if (expect.interim === 'never' && client.text.includes('HTTP/1.1 100')) return 'sent 100 (Continue)';
    if (!isRight(example, seen.statuses, client.over, seen.saidClose) && !client.over) {
      // A refusal is followed by a close, which may take its time on a busy machine.
      await client.end(3000).catch(() => {});
      seen = finalStatuses(client.text);
    }
    if (!isRight(example, seen.statuses, client.over, seen.saidClose))
      return `statuses ${seen.statuses}, ${client.over ? 'closed' : 'open'}`;
    const fault = judgeForwarded(example, seen.statuses, upstream.streams.slice(firstStream));
    if (fault !== '' || client.over || seen.saidClose || seen.statuses.length === 0 || expect.followUp === false)
      return fault;
    if (example.closeAfter || seen.statuses.length < expect.statuses.length) return '';
    const before = client.bytes;
    client.write(FOLLOW_UP);
    await client.more(before);
    await client.quiet(SILENCE_MS);
    const after = finalStatuses(client.text).statuses.slice(seen.statuses.length);
    return after.length === 1 && after[0] === 200 ? '' : `the request after it got ${after}`;
  } finally {
    client.destroy();
  }
}

/** What reached the upstream. */
function judgeForwarded(example: RequestCase, statuses: readonly number[], streams: readonly Buffer[]): string {
  const messages: Message[] = [];
  for (const stream of streams) {
    const reading = readMessages(stream, false);
    if (reading.fault !== '') return `the upstream got ${reading.fault}`;
    for (const message of reading.messages) {
      if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^ ]+ HTTP\/1\.1$/.test(message.start))
        return `the upstream got ${message.start}`;
      messages.push(message);
    }
  }
  const max = example.expect.early === true ? example.expect.statuses.length : forwardedMax(statuses);
  if (messages.length > max) {
    const seen = streams.map((stream) => JSON.stringify(stream.toString('latin1')));
    return `${messages.length} messages reached the upstream, ${max} were answered below 400: ${seen}`;
  }
  const rules = example.expect.forwarded;
  if (rules === undefined) return '';
  if (rules.count !== undefined && rules.count !== messages.length) return `${messages.length} messages were forwarded`;
  const [first] = messages;
  if (first === undefined) return '';
  for (const [name, value] of Object.entries(rules.fields ?? {}))
    if (fieldOf(first, name) !== value) return `${name} was forwarded as ${fieldOf(first, name)}`;
  for (const name of rules.absent ?? []) if (fieldOf(first, name) !== null) return `${name} was forwarded`;
  for (const name of rules.present ?? []) if (fieldOf(first, name) === null) return `${name} was not forwarded`;
  for (const [name, value] of Object.entries(rules.unlike ?? {}))
    if (fieldOf(first, name) === value) return `${name} was forwarded as ${value}`;
  return '';
}

eachEngine(
  'every request case passes through the proxy as its verdict says',
  async () => {
    const cases = conformanceCases<RequestCase>('requests.jsonl');
    const faults: string[] = [];
    await inLanes(cases, async (next) => {
      const upstream = await answerRequests().listen();
      const handler = proxy([upstream.address]);
      const serving = await serve({ host: '127.0.0.1', port: 0 }, handler);
      for (let item = next(); item !== null; item = next()) {
        const [example, seed] = item;
        for (const pieces of cuttings(Buffer.from(example.bytes, 'base64'), seed)) {
          const fault = await runRequest(example, pieces, serving.port, upstream);
          if (fault === '') continue;
          faults.push(`${example.name}, first piece of ${pieces[0].length} in ${pieces.length}: ${fault}`);
          break;
        }
      }
      handler.close();
      await serving.close();
      await upstream.close();
    });
    assert.deepEqual(faults, []);
  },
  { timeoutMs: 110_000, ...(conformanceSkip === false ? {} : { only: [] }) },
);

// Responses.

interface Script {
  pieces: readonly Buffer[];
  closeAfter: boolean;
}

/** Sends the case's octets to the first request, an ordinary answer to any other. */
function scripted(script: Script): RawUpstream {
  const seen: number[] = [];
  return new RawUpstream((socket, all, index) => {
    const { messages } = readMessages(all, false);
    for (let count = seen[index] ?? 0; count < messages.length; count++) {
      if (messages[count].start.includes(' /next '))
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`);
      else void play(script, socket);
    }
    seen[index] = messages.length;
  });
}

async function play(script: Script, socket: { write(octets: Buffer): void; end(): void }): Promise<void> {
  const { pieces, closeAfter } = script;
  for (const piece of pieces) {
    socket.write(piece);
    if (pieces.length > 1) await sleep(3);
  }
  if (closeAfter) socket.end();
}

async function runResponse(example: ResponseCase, port: number): Promise<string> {
  const { expect } = example;
  const method = example.request ?? 'GET';
  const client = new RawClient({ port });
  try {
    client.write(`${method} /case HTTP/1.1\r\nHost: example.test\r\n\r\n`);
    const bodiless = (start: string): boolean => method === 'HEAD' && !start.startsWith('HTTP/1.1 1');
    const deadlineMs = performance.now() + 4000;
    let reading = readMessages(client.received, true, bodiless);
    const isFinal = (message: Message): boolean => !/^HTTP\/1\.1 1(?!01)/.test(message.start);
    do {
      await client.quiet(4);
      reading = readMessages(client.received, true, bodiless);
      if (reading.fault !== '') return `the client got ${reading.fault}`;
    } while (!client.over && !reading.messages.some(isFinal) && performance.now() < deadlineMs);
    const fault = judgeResponse(example, reading.messages.filter(isFinal), reading.untilClose, client.over);
    if (fault !== '') return fault;
    // A request behind it, on this connection where it stays, and on another.
    if (!client.over && reading.messages.some(isFinal) && expect.status !== 101) {
      const before = client.bytes;
      client.write('GET /next HTTP/1.1\r\nHost: example.test\r\n\r\n');
      await client.more(before);
      await client.quiet(SILENCE_MS);
      const own = expectNext(client.received.subarray(before));
      if (own !== '' && !client.over) return own;
    }
    const other = new RawClient({ port });
    other.write('GET /next HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n');
    await other.end().catch(() => {});
    other.destroy();
    return expectNext(other.received);
  } finally {
    client.destroy();
  }
}

function expectNext(octets: Buffer): string {
  const { messages, rest } = readMessages(octets, true);
  const right = messages.length === 1 && rest.length === 0 && messages[0].start === 'HTTP/1.1 200 OK';
  return right && messages[0].body.toString() === BODY
    ? ''
    : `the next request got ${JSON.stringify(octets.toString('latin1'))}`;
}

function judgeResponse(example: ResponseCase, finals: readonly Message[], open: Message | null, over: boolean): string {
  const { expect } = example;
  const message = finals[0] ?? (over ? open : null);
  const seen = `${message?.start}, ${message?.body.length} octets, ${over ? 'closed' : 'open'}`;
  if (finals.length > 1) return `${finals.length} responses`;
  if (message === null) return expect.truncated === true && over ? '' : `no complete response: ${seen}`;
  if (message.start.startsWith('HTTP/1.1 502')) return expect.verdict === 'forward' ? seen : '';
  if (expect.verdict === 'badGateway') return seen;
  if (expect.status !== undefined && !message.start.startsWith(`HTTP/1.1 ${expect.status}`)) return seen;
  if (expect.body !== undefined && !message.body.equals(Buffer.from(expect.body, 'base64')))
    return `${seen}: ${message.body}`;
  if (expect.bodyLength !== undefined && message.body.length !== expect.bodyLength) return seen;
  for (const [name, value] of Object.entries(expect.fields ?? {}))
    if (fieldOf(message, name) !== value) return `${name} is ${fieldOf(message, name)}`;
  for (const [name, values] of Object.entries(expect.lines ?? {})) {
    const lines = message.fields.filter(([key]) => key === name).map(([, value]) => value);
    if (JSON.stringify(lines) !== JSON.stringify(values)) return `${name} has the lines ${JSON.stringify(lines)}`;
  }
  for (const name of expect.absent ?? []) if (fieldOf(message, name) !== null) return `${name} is there`;
  for (const [name, value] of Object.entries(expect.unlike ?? {}))
    if (fieldOf(message, name) === value) return `${name} is ${value}`;
  return '';
}

eachEngine(
  'every response case passes through the proxy as its verdict says',
  async () => {
    const cases = conformanceCases<ResponseCase>('responses.jsonl');
    const faults: string[] = [];
    await inLanes(cases, async (next) => {
      const script: Script = { pieces: [], closeAfter: false };
      const upstream = await scripted(script).listen();
      const handler = proxy([upstream.address], { retries: 0 });
      const serving = await serve({ host: '127.0.0.1', port: 0 }, handler);
      for (let item = next(); item !== null; item = next()) {
        const [example, seed] = item;
        for (const pieces of cuttings(Buffer.from(example.bytes, 'base64'), seed)) {
          script.pieces = pieces;
          script.closeAfter = example.closeAfter;
          const fault = await runResponse(example, serving.port);
          if (fault === '') continue;
          faults.push(`${example.name}, first piece of ${pieces[0].length} in ${pieces.length}: ${fault}`);
          break;
        }
      }
      handler.close();
      await serving.close();
      await upstream.close();
    });
    assert.deepEqual(faults, []);
  },
  { timeoutMs: 110_000, ...(conformanceSkip === false ? {} : { only: [] }) },
);
