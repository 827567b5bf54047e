/**
 * One window of HTTP load by wrk, and what the server spent on it.
 *
 * A newcomer would get wrong: wrk reconnects without a word when a server closes, and counts no 3xx as an error. So every
 * server is first checked to answer 200 twice on one connection, with the body expected (`check.ts`).
 */
import { join } from 'node:path';
import { coreBusyMs, processorTime } from './accounting.ts';
import type { Metrics } from './result.ts';
import { benchFolder, SERVER_CORE, type Session } from './session.ts';

export const CONNECTIONS = 64;

interface Summary {
  readonly requests: number;
  readonly bytes: number;
  readonly durationUs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly connect: number;
  readonly read: number;
  readonly write: number;
  readonly status: number;
  readonly timeout: number;
}

/** Runs wrk for whole seconds. Any error it saw is thrown: a figure with errors is no figure. */
export async function drive(session: Session, url: string, seconds: number): Promise<Summary> {
  const script = join(benchFolder, 'support', 'wrk.lua');
  const command = ['wrk', '-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, '--timeout', '5s', '-s', script, url];
  const output = await session.run('wrk', command);
  const line = output.match(/^summary (.*)$/m);
  if (line === null) throw new Error(`wrk printed no summary: ${output}`);
  const summary: Summary = JSON.parse(line[1]);
  for (const kind of ['connect', 'read', 'write', 'status', 'timeout'] as const) {
    if (summary[kind] > 0) throw new Error(`wrk saw ${summary[kind]} ${kind} errors at ${url}`);
  }
  if (summary.requests === 0) throw new Error(`wrk got no answer from ${url}`);
  return summary;
}

/** Drives a server whose processes are given, and divides the processor time that they used by the requests answered. */
export async function measureLoad(
  session: Session,
  pids: readonly number[],
  url: string,
  seconds: number,
): Promise<Metrics> {
  const busyBefore = coreBusyMs(SERVER_CORE);
  const before = processorTime(pids);
  const summary = await drive(session, url, seconds);
  const after = processorTime(pids);
  const userMs = after.userMs - before.userMs;
  const systemMs = after.systemMs - before.systemMs;
  const otherMs = coreBusyMs(SERVER_CORE) - busyBefore - userMs - systemMs;
  return {
    cpuUs: ((userMs + systemMs) * 1000) / summary.requests,
    userUs: (userMs * 1000) / summary.requests,
    systemUs: (systemMs * 1000) / summary.requests,
    requestsPerSecond: (summary.requests * 1e6) / summary.durationUs,
    megabytesPerSecond: summary.bytes / summary.durationUs,
    p50Us: summary.p50Us,
    p99Us: summary.p99Us,
    foreignCpuPercent: Math.max(0, (otherMs * 1e5) / summary.durationUs),
  };
}
