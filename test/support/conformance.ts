/**
 * Test support: the conformance cases of `../shared/http-conformance` and what they say about an outcome.
 */
import { existsSync, readFileSync } from 'node:fs';

const directory = new URL('../../../shared/http-conformance/', import.meta.url);

/** The reason to skip, or false. */
export const conformanceSkip: string | false = existsSync(directory)
  ? false
  : 'no ../shared/http-conformance beside the project';

export type Statuses = readonly (number | readonly number[])[];

export interface Outcome {
  readonly statuses: Statuses;
  readonly closed: boolean | null;
}

export interface RequestCase {
  readonly name: string;
  readonly bytes: string;
  readonly closeAfter: boolean;
  readonly pauseAt?: number;
  readonly expect: Outcome & {
    readonly verdict: 'accept' | 'reject' | 'either';
    readonly rejected?: Outcome;
    readonly silentClose?: boolean;
    readonly early?: boolean;
    readonly waits?: boolean;
    readonly interim?: 'never' | 'may';
    readonly followUp?: boolean;
    readonly forwarded?: {
      readonly fields?: Readonly<Record<string, string>>;
      readonly absent?: readonly string[];
      readonly present?: readonly string[];
      readonly unlike?: Readonly<Record<string, string>>;
      readonly count?: number;
    };
  };
}

export interface ResponseCase {
  readonly name: string;
  readonly bytes: string;
  readonly closeAfter: boolean;
  readonly request?: string;
  readonly expect: {
    readonly verdict: 'forward' | 'badGateway' | 'either';
    readonly status?: number;
    readonly body?: string;
    readonly bodyLength?: number;
    readonly truncated?: boolean;
    readonly fields?: Readonly<Record<string, string>>;
    readonly lines?: Readonly<Record<string, readonly string[]>>;
    readonly absent?: readonly string[];
    readonly unlike?: Readonly<Record<string, string>>;
  };
}

/** The cases of a file; none where the collection is absent. */
export function conformanceCases<Case extends RequestCase | ResponseCase>(file: string): Case[] {
  if (conformanceSkip !== false) return [];
  const lines = readFileSync(new URL(file, directory), 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Case);
}

function isStatus(expected: number | readonly number[], status: number): boolean {
  return typeof expected === 'number' ? expected === status : expected.includes(status);
}

function isOutcome(expected: Outcome, statuses: readonly number[], closed: boolean, saidClose: boolean): boolean {
  return (
    statuses.length === expected.statuses.length &&
    statuses.every((status, index) => isStatus(expected.statuses[index], status)) &&
    (expected.closed === null || expected.closed === closed || (!expected.closed && saidClose))
  );
}

/** Whether statuses and closing are right for the request. `saidClose`: the last answer announced the close. */
export function isRight(
  example: RequestCase,
  statuses: readonly number[],
  closed: boolean,
  saidClose: boolean,
): boolean {
  const { expect } = example;
  if (isOutcome(expect, statuses, closed, saidClose)) return true;
  if (expect.verdict === 'either' && expect.rejected !== undefined)
    if (isOutcome(expect.rejected, statuses, closed, saidClose)) return true;
  const before = expect.statuses.slice(0, -1);
  if (expect.silentClose === true && isOutcome({ statuses: before, closed: true }, statuses, closed, saidClose))
    return true;
  if (expect.early === true) {
    const answered = { statuses: [...before, 200], closed: true };
    if (isOutcome(answered, statuses, closed, saidClose)) return true;
  }
  return expect.waits === true && isOutcome({ statuses: before, closed: false }, statuses, closed, saidClose);
}

/** How many messages may have reached an upstream at most: the answers below 400 of the outcome that was seen. */
export function forwardedMax(statuses: readonly number[]): number {
  return statuses.filter((status) => status < 400).length;
}
