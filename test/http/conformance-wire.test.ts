/**
 * The conformance cases at parser level: each one whole, an octet at a time, and cut at every position.
 */

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { METHOD_NAMES } from '../../src/http/methods.ts';
import type { ResponseCase } from '../support/conformance.ts';
import { type ForwardedResponse, readResponse, ServerConnection } from '../support/wire-simulation.ts';

const directory = new URL('../../../shared/http-conformance/', import.meta.url);
const skip = existsSync(directory) ? false : 'no ../shared/http-conformance beside the project';
/** Longer cases are cut at their first and last positions and at some between. */
const CUT_EVERYWHERE_BYTES_MAX = 2500;

type Statuses = readonly (number | readonly number[])[];

interface Outcome {
  readonly statuses: Statuses;
  readonly closed: boolean | null;
}

interface RequestCase {
  readonly name: string;
  readonly bytes: string;
  readonly closeAfter: boolean;
  readonly pauseAt?: number;
  readonly expect: Outcome & {
    readonly verdict: 'accept' | 'reject' | 'either';
    readonly rejected?: Outcome;
    readonly silentClose?: boolean;
    readonly waits?: boolean;
    readonly interim?: 'never' | 'may';
    readonly followUp?: boolean;
  };
}

function read<Case>(file: string): Case[] {
  if (skip !== false) return [];
  const lines = readFileSync(new URL(file, directory), 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Case);
}

function* cuttings(bytes: Uint8Array): Generator<readonly Uint8Array[]> {
  yield [bytes];
  yield Array.from(bytes, (_, index) => bytes.subarray(index, index + 1));
  const step = bytes.length <= CUT_EVERYWHERE_BYTES_MAX ? 1 : Math.floor(bytes.length / 50);
  for (let cut = 1; cut < bytes.length; cut += cut < 300 || cut > bytes.length - 300 ? 1 : step) {
    yield [bytes.subarray(0, cut), bytes.subarray(cut)];
  }
}

function isStatus(expected: number | readonly number[], status: number): boolean {
  return typeof expected === 'number' ? expected === status : expected.includes(status);
}

function matches(expected: Outcome, statuses: readonly number[], closed: boolean): boolean {
  return (
    statuses.length === expected.statuses.length &&
    statuses.every((status, index) => isStatus(expected.statuses[index], status)) &&
    (expected.closed === null || expected.closed === closed)
  );
}

/** What is wrong with the outcome, or an empty string. */
function judgeRequest(example: RequestCase, connection: ServerConnection): string {
  const { expect } = example;
  const { statuses, closed } = connection;
  const seen = `statuses ${JSON.stringify(statuses)}, ${closed ? 'closed' : 'open'}`;
  if (expect.interim === 'never' && connection.interims > 0) return 'sent 100 (Continue)';
  if (matches(expect, statuses, closed)) return '';
  if (expect.verdict === 'either' && expect.rejected !== undefined && matches(expect.rejected, statuses, closed))
    return '';
  const before = expect.statuses.slice(0, -1);
  if (expect.silentClose === true && matches({ statuses: before, closed: true }, statuses, closed)) return '';
  if (expect.waits === true && matches({ statuses: before, closed: false }, statuses, closed)) return '';
  return seen;
}

const followUp = Buffer.from('GET /follow-up HTTP/1.1\r\nHost: example.test\r\n\r\n');

function runRequest(example: RequestCase, pieces: readonly Uint8Array[], filler: number): string {
  const connection = new ServerConnection(filler);
  let written = 0;
  for (const piece of pieces) {
    connection.write(piece);
    written += piece.length;
    if (
      example.pauseAt !== undefined &&
      written === example.pauseAt &&
      connection.interims + connection.statuses.length === 0
    ) {
      return 'neither 100 nor a final status where the client waits for one';
    }
  }
  if (example.closeAfter) connection.end();
  const fault = judgeRequest(example, connection);
  if (fault !== '' || connection.closed || connection.statuses.length === 0 || example.expect.followUp === false)
    return fault;
  if (connection.statuses.length < example.expect.statuses.length) return '';
  const answered = connection.statuses.length;
  connection.write(followUp);
  return connection.statuses.length === answered + 1 && connection.statuses[answered] === 200
    ? ''
    : `the request after it got ${connection.statuses.slice(answered)}`;
}

function judgeResponse(example: ResponseCase, response: ForwardedResponse): string {
  const { expect } = example;
  const seen = `status ${response.status}, ${response.body.length} octets, ${
    response.complete ? 'complete' : response.truncated ? 'truncated' : 'waiting'
  }`;
  if (response.status === 502) return expect.verdict === 'forward' ? seen : '';
  if (response.truncated) return expect.truncated === true ? '' : seen;
  if (!response.complete || expect.verdict === 'badGateway') return seen;
  if (expect.status !== undefined && expect.status !== response.status) return seen;
  const body = Buffer.from(response.body);
  if (expect.body !== undefined && !body.equals(Buffer.from(expect.body, 'base64'))) return `${seen}: ${body}`;
  if (expect.bodyLength !== undefined && expect.bodyLength !== body.length) return seen;
  for (const [name, value] of Object.entries(expect.fields ?? {})) {
    if (response.fields.get(name) !== value) return `${name} is ${response.fields.get(name)}`;
  }
  for (const name of expect.absent ?? []) if (response.fields.has(name)) return `${name} is there`;
  return '';
}

function check<Case extends { readonly name: string; readonly bytes: string }>(
  cases: readonly Case[],
  run: (example: Case, pieces: readonly Uint8Array[], filler: number) => string,
): void {
  const faults: string[] = [];
  for (const example of cases) {
    let cutting = 0;
    for (const pieces of cuttings(Buffer.from(example.bytes, 'base64'))) {
      const fault = run(example, pieces, cutting++ % 2 === 0 ? 0x0a : 0x00);
      if (fault === '') continue;
      faults.push(`${example.name}, ${pieces.length} pieces, the first of ${pieces[0].length}: ${fault}`);
      break;
    }
  }
  assert.deepEqual(faults, []);
}

test('every request case gets its verdict, however it is cut', { skip }, (context) => {
  const cases = read<RequestCase>('requests.jsonl');
  assert.ok(cases.length > 0);
  check(cases, runRequest);
  context.diagnostic(`${cases.length} request cases`);
});

test('every response case gets its verdict, however it is cut', { skip }, (context) => {
  const cases = read<ResponseCase>('responses.jsonl');
  assert.ok(cases.length > 0);
  check(cases, (example, pieces, filler) =>
    judgeResponse(
      example,
      readResponse(pieces, example.closeAfter, METHOD_NAMES.indexOf(example.request ?? 'GET'), filler),
    ),
  );
  context.diagnostic(`${cases.length} response cases`);
});
