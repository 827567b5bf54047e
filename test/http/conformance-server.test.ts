/**
 * Every request case of the collection against a running server, over sockets, on every engine: whole, octet by octet, and cut
 * in two. The verdict has to be the same however the octets are cut. What each field of a case means says the collection's
 * own README.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { type Handler, type Serving, serve } from '../../src/http/index.ts';
import type { RequestCase, Statuses } from '../support/conformance.ts';
import type { Address, Received } from '../support/http-client.ts';
import { get, HttpClient } from '../support/http-client.ts';
import { eachEngine, turns, until } from '../support/net.ts';

const directory = new URL('../../../shared/http-conformance/', import.meta.url);
const missing = existsSync(directory) ? '' : 'no ../shared/http-conformance beside the project';

type Case = RequestCase;

const cases: readonly Case[] =
  missing === ''
    ? readFileSync(new URL('requests.jsonl', directory), 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Case)
    : [];

/** Connections open at once. */
const BATCH = 100;
/** How long a connection has to stay as it is where the server is to wait. */
const QUIET_MS = 60;
const OCTETS_MAX = 2500;
const FOLLOW_UP = get('/follow-up');
const STANDARD = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']);
const path = `${tmpdir()}/millrace-conformance-${process.pid}.sock`;
after(() => rmSync(path, { force: true }));

/** Answers every standard request with 200 once its body is complete. */
const patient: Handler = async (request, response) => {
  await request.bytes();
  answer(request.method, response);
};

/** The same without a look at the body. */
const hasty: Handler = (request, response) => answer(request.method, response);

function answer(method: string, response: Parameters<Handler>[1]): void {
  response.status = STANDARD.has(method) ? 200 : method === 'TRACE' || method === 'CONNECT' ? 405 : 501;
  response.text('ok\n');
}

/** One case on one connection, cut in pieces. */
class Run {
  readonly example: Case;
  private readonly pieces: readonly Uint8Array[];
  private readonly client: HttpClient;
  private sent = 0;
  private next = 0;

  constructor(example: Case, pieces: readonly Uint8Array[], address: Address) {
    this.example = example;
    this.pieces = pieces;
    this.client = new HttpClient(address);
  }

  get cutAt(): number {
    return this.pieces[0].length;
  }

  /** Sends the next piece; false when there is none, or none may be sent yet. */
  step(): boolean {
    if (this.next === this.pieces.length) return false;
    const { pauseAt } = this.example;
    if (pauseAt !== undefined && this.sent === pauseAt && this.client.text === '') return true;
    const piece = this.pieces[this.next++];
    this.client.send(piece);
    this.sent += piece.length;
    if (this.next === this.pieces.length && this.example.closeAfter) this.client.end();
    return this.next < this.pieces.length;
  }

  /** What is wrong, or an empty string. */
  async judge(): Promise<string> {
    const { expect } = this.example;
    const { client } = this;
    // Waiting is right only where nothing comes after all.
    const quietMs = performance.now() + QUIET_MS;
    const isOver = (kind: string): boolean => kind !== '' && (kind !== 'waits' || performance.now() > quietMs);
    await until(() => client.closed || isOver(this.matchesSoFar()), 3000).catch(() => {});
    if (expect.interim === 'never' && client.interims().length > 0) return 'sent 100 (Continue)';
    const kind = this.matchesSoFar();
    if (kind === '') return `statuses ${JSON.stringify(this.statuses())}, ${client.closed ? 'closed' : 'open'}`;
    if (kind === 'waits') return '';
    const outcome = kind === 'rejected' ? expect.rejected! : expect;
    if (outcome.closed === true || kind === 'early' || kind === 'silent') return this.mustClose();
    if (expect.followUp === false || this.example.closeAfter) return '';
    return this.mustGoOn(outcome.closed);
  }

  private async mustClose(): Promise<string> {
    const count = this.statuses().length;
    await until(() => this.client.closed, 2000).catch(() => {});
    if (!this.client.closed) return 'stays open';
    return this.statuses().length === count ? '' : `answered more: ${this.statuses()}`;
  }

  private async mustGoOn(closed: boolean | null): Promise<string> {
    const { client } = this;
    const answered = this.statuses().length;
    client.send(FOLLOW_UP);
    await until(() => client.closed || this.statuses().length > answered, 2000).catch(() => {});
    const further = this.statuses().slice(answered);
    if (client.closed && further.length === 0) {
      const mayClose = closed === null || this.example.expect.early === true || this.saidClose();
      return mayClose ? '' : 'closed without saying so';
    }
    return further.length === 1 && further[0] === 200 ? '' : `the request after it got ${JSON.stringify(further)}`;
  }

  private saidClose(): boolean {
    return this.client.responses().at(-1)?.fields.get('connection') === 'close';
  }

  private statuses(): number[] {
    return this.client.responses().map((response: Received) => response.status);
  }

  /** Which of the right outcomes the connection has come to, '' for none yet. */
  private matchesSoFar(): '' | 'expected' | 'rejected' | 'silent' | 'early' | 'waits' {
    const { expect } = this.example;
    const seen = this.statuses();
    const closed = this.client.closed;
    const before = expect.statuses.slice(0, -1);
    if (expect.statuses.length === 0 && expect.verdict !== 'reject' && seen.length === 0 && !closed) return 'waits';
    if (expect.statuses.length > 0 && isLike(expect.statuses, seen)) return 'expected';
    const { rejected } = expect;
    const mayBeRejected = rejected !== undefined && (rejected.closed !== true || closed);
    if (mayBeRejected && isLike(rejected.statuses, seen)) return 'rejected';
    if (expect.silentClose === true && closed && isLike(before, seen)) return 'silent';
    const last = rejected ?? expect;
    if (expect.early === true && closed && isLike([...last.statuses.slice(0, -1), 200], seen)) return 'early';
    // A final answer in place of 100 leaves open whether the body comes; closing is then the way (RFC 9110 section 10.1.1).
    const isPrefix = isLike(expect.statuses.slice(0, seen.length), seen) && seen.length > 0;
    if (expect.interim === 'may' && closed && isPrefix && this.saidClose()) return 'silent';
    if (expect.waits === true && !closed && isLike(before, seen) && seen.length === 0) return 'waits';
    return '';
  }

  finish(): void {
    this.client.destroy();
  }
}

function isLike(expected: Statuses, seen: readonly number[]): boolean {
  return expected.length === seen.length && seen.every((status, index) => [expected[index]].flat().includes(status));
}

/** Cuts at the offset where the client has to pause, too. */
function cut(example: Case, at: readonly number[]): Uint8Array[] {
  const bytes = Buffer.from(example.bytes, 'base64');
  const places = [...new Set([...at, ...(example.pauseAt === undefined ? [] : [example.pauseAt])])].sort(
    (a, b) => a - b,
  );
  const ends = [...places.filter((place) => place > 0 && place < bytes.length), bytes.length];
  return ends.map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end));
}

interface Cutting {
  readonly example: Case;
  readonly pieces: Uint8Array[];
}

/** Runs the cuttings, a batch at a time, and answers what was wrong. */
async function run(address: Address, cuttings: readonly Cutting[]): Promise<string[]> {
  const faults: string[] = [];
  for (let first = 0; first < cuttings.length; first += BATCH) {
    const runs = cuttings.slice(first, first + BATCH).map(({ example, pieces }) => new Run(example, pieces, address));
    const deadlineMs = performance.now() + 20_000;
    let going = runs;
    while (going.length > 0 && performance.now() < deadlineMs) {
      going = going.filter((one) => one.step());
      await turns(2);
    }
    const verdicts = await Promise.all(runs.map((one) => one.judge()));
    verdicts.forEach((fault, index) => {
      if (fault !== '') faults.push(`${runs[index].example.name}, first piece of ${runs[index].cutAt}: ${fault}`);
    });
    for (const one of runs) one.finish();
  }
  return faults;
}

async function serving(handler: Handler, body: (server: Serving) => Promise<void>, target: object): Promise<void> {
  const server = await serve({ ...target, limits: { idleTimeoutMs: 20_000 } }, handler);
  try {
    await body(server);
  } finally {
    await server.close(100);
  }
}

const all = (size: number): Case[] => cases.filter((example) => Buffer.from(example.bytes, 'base64').length <= size);
const lengthOf = (example: Case): number => Buffer.from(example.bytes, 'base64').length;
const tcp = { host: '127.0.0.1', port: 0 };
const counts = new Map<string, Record<string, number>>();

function count(engine: string, what: string, number: number): void {
  counts.set(engine, { ...counts.get(engine), [what]: number });
}

if (missing !== '') test('the collection of cases', { skip: missing }, () => {});
else {
  eachEngine(
    'every request case gets its verdict, whole and octet by octet',
    async (engine) => {
      const whole = cases.map((example) => ({ example, pieces: cut(example, []) }));
      const octets = all(OCTETS_MAX).map((example) => ({
        example,
        pieces: cut(
          example,
          Array.from({ length: lengthOf(example) }, (_, index) => index),
        ),
      }));
      await serving(patient, async ({ port }) => assert.deepEqual(await run({ port }, [...whole, ...octets]), []), tcp);
      count(engine.name, 'whole', whole.length);
      count(engine.name, 'octet by octet', octets.length);
    },
    { timeoutMs: 60_000 },
  );

  eachEngine(
    'every request case gets its verdict from a handler that answers before the body has come',
    async (engine) => {
      const whole = cases.map((example) => ({ example, pieces: cut(example, []) }));
      await serving(hasty, async ({ port }) => assert.deepEqual(await run({ port }, whole), []), tcp);
      count(engine.name, 'answered early', whole.length);
    },
    { timeoutMs: 60_000 },
  );

  eachEngine(
    'every request case gets its verdict, cut in two',
    async (engine) => {
      // Every position where it is quick, some of each case elsewhere: the cutting is the server's business, not the engine's.
      const step = engine.name === 'io_uring' ? 1 : 29;
      const cuttings = all(OCTETS_MAX).flatMap((example) =>
        Array.from({ length: Math.ceil((lengthOf(example) - 1) / step) }, (_, index) => ({
          example,
          pieces: cut(example, [1 + index * step]),
        })),
      );
      await serving(patient, async () => assert.deepEqual(await run({ path }, cuttings), []), { path });
      count(engine.name, 'cut in two', cuttings.length);
    },
    { timeoutMs: 120_000 },
  );

  test('how many cases each engine passed', (context) => {
    for (const [engine, number] of counts) context.diagnostic(`${engine}: ${JSON.stringify(number)}`);
    assert.ok(counts.size > 0);
  });
}
