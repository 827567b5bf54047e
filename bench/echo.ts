/**
 * How long an echo of 64 bytes takes at a fixed rate: one that leaves the server's core idle for three quarters of the time, and one
 * that keeps it busy for half.
 *
 *   npm run bench -- echo --rounds 21 --seconds 1
 *   npm run bench -- echo --rate 10000
 *
 * Many short rounds tell more than few long ones: a virtual machine is held up for milliseconds now and then, and what is sent meanwhile
 * is more than 1 % of a round with two or three such pauses. Where rounds are many, each contestant gets its share.
 *
 * The load is bench/c/echo-load.c: it sends when the time has come, whether or not the server kept up, and counts latency
 * from the intended time of sending.
 */

import { processorTime } from './support/accounting.ts';
import type { Benchmark } from './support/benchmark.ts';
import { checkEcho } from './support/check.ts';
import { assemble, progress, type Served, scenarioOf, takeTurns } from './support/contestant.ts';
import type { Goal, Metrics, Scenario } from './support/result.ts';
import { echoFloor, engines, millrace, nodeNetEcho } from './support/servers.ts';
import type { Session } from './support/session.ts';

const CONNECTIONS = 64;
const RATES = [20_000, 50_000];
const WARM_UP_SECONDS = 0.5;

/** What echo-load prints; latencies in nanoseconds. */
interface EchoLatencies {
  readonly messages: number;
  readonly lost: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  readonly sender_behind_max: number;
}

async function measure(session: Session, served: Served, rate: number, seconds: number): Promise<Metrics> {
  const load = await session.compile('echo-load');
  const command = [load, served.port, CONNECTIONS, rate, seconds, WARM_UP_SECONDS].map(String);
  const before = processorTime(served.pids);
  const latencies: EchoLatencies = JSON.parse(await session.run('echo-load', command));
  const after = processorTime(served.pids);
  const cpuMs = after.userMs + after.systemMs - before.userMs - before.systemMs;
  return {
    p50Us: latencies.p50 / 1000,
    p90Us: latencies.p90 / 1000,
    p99Us: latencies.p99 / 1000,
    p999Us: latencies.p999 / 1000,
    maxUs: latencies.max / 1000,
    senderBehindUs: latencies.sender_behind_max / 1000,
    messages: latencies.messages,
    // The warm-up's messages used processor time too.
    cpuUs: (cpuMs * 1000) / (rate * (seconds + WARM_UP_SECONDS)),
  };
}

export const echo: Benchmark = {
  name: 'echo',
  title: 'Echo of 64 bytes at a fixed rate',
  columns: [
    { key: 'p50Us', title: 'p50, µs', digits: 1 },
    { key: 'p99Us', title: 'p99, µs', digits: 1 },
    { key: 'p999Us', title: 'p99.9, µs', digits: 0 },
    { key: 'cpuUs', title: 'CPU per message, µs', digits: 2 },
  ],
  goals: ['p50Us', 'p99Us'].map((metric): Goal => {
    return { contestant: 'millrace-io_uring', against: ['uring-echo'], metric, bound: 1.15, direction: 'atMost' };
  }),
  async measure(session, options) {
    const contestants = [...engines.map((engine) => millrace('echo', engine, '', false)), echoFloor, nodeNetEcho];
    const field = await assemble(session, contestants, async ({ contestant, port }) => {
      await checkEcho(contestant.title, port);
      return {};
    });
    const rates = options.rate === null ? RATES : [options.rate];
    if (!options.quick) {
      progress('warming up');
      for (const served of field.served) await measure(session, served, rates[0], 2);
    }
    const scenarios: Scenario[] = [];
    for (const rate of rates) {
      const measured = await takeTurns(field.served, options.rounds, async (served, round) => {
        const metrics = await measure(session, served, rate, options.seconds);
        progress(`${rate}/s, round ${round + 1}: ${served.contestant.title}: p99 ${metrics.p99Us.toFixed(1)} µs`);
        return metrics;
      });
      scenarios.push(scenarioOf(`${rate} messages/s`, measured, field.facts));
    }
    return {
      scenarios,
      skipped: field.skipped,
      failed: field.failed,
      parameters: { connections: CONNECTIONS },
    };
  },
};
