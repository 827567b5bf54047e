/**
 * What an idle connection costs in user memory: 10,000 opened and left alone, before any of them spoke and after one request
 * on each.
 *
 *   npm run bench -- idle
 *   npm run bench -- idle --rounds 3
 *
 * A newcomer would get wrong: memory is not given back, so every figure needs a fresh process; and a fresh process still
 * grows by itself (JIT, first allocations), so it is warmed up under load and with connections that it may close. A thousand
 * others stay open from before the first look to the last, so that what the warm-up left free is in use and the difference is
 * the price of 10,000 more. Nothing is forced: no garbage collection, only two seconds for things to settle.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { anonymousBytes, connectionsOn } from './support/accounting.ts';
import type { Benchmark } from './support/benchmark.ts';
import { checkHttp } from './support/check.ts';
import {
  assemble,
  type Contestant,
  progress,
  type Served,
  scenarioOf,
  startContestant,
  takeTurns,
} from './support/contestant.ts';
import { nginx } from './support/peers.ts';
import type { Entry, Goal, Metrics } from './support/result.ts';
import { BODY, engines, millrace, nodeNetFixed } from './support/servers.ts';
import { LOAD_CORE, type Running, type Session } from './support/session.ts';
import { drive } from './support/wrk.ts';

const SETTLE_MS = 2000;
const WARM_UP_SECONDS = 2;
const WARM_UP_CONNECTIONS = 1000;
const CONNECTIONS = 10_000;
const QUICK_CONNECTIONS = 1000;

const contestants = [
  ...engines.map((engine) => millrace('http', engine, ', http', true)),
  ...engines.map((engine) => millrace('http-fixed', engine, ', net', true)),
  nginx,
  nodeNetFixed,
];

async function checkAnswer({ contestant, port }: Served): Promise<Entry['facts']> {
  await checkHttp(contestant.title, port, '/', Buffer.from(BODY));
  return {};
}

/** Sends one request over every connection and resolves once all are answered. */
async function request(load: Running): Promise<void> {
  load.tell('request');
  await load.line();
}

/** Opens connections, with a request on each if asked for, and resolves once all are there. */
async function hold(session: Session, port: number, connections: number, requests: boolean): Promise<Running> {
  const program = await session.compile('idle-load');
  const load = session.start('idle-load', [program, String(port), String(connections)], LOAD_CORE);
  await load.line();
  if (requests) await request(load);
  return load;
}

async function measureOnce(session: Session, contestant: Contestant, connections: number): Promise<Metrics> {
  const { port, pids, running } = await startContestant(session, contestant);
  await drive(session, `http://127.0.0.1:${port}/`, WARM_UP_SECONDS);
  await (await hold(session, port, WARM_UP_CONNECTIONS, true)).output();
  const held = await hold(session, port, WARM_UP_CONNECTIONS, true);
  await sleep(SETTLE_MS);
  const before = anonymousBytes(pids);

  const load = await hold(session, port, connections, false);
  await sleep(SETTLE_MS);
  const silent = anonymousBytes(pids);
  requireConnections(contestant, port, WARM_UP_CONNECTIONS + connections);

  await request(load);
  await sleep(SETTLE_MS);
  const answered = anonymousBytes(pids);
  requireConnections(contestant, port, WARM_UP_CONNECTIONS + connections);
  await Promise.all([held.stop(), load.stop(), running.stop()]);
  return {
    silentBytes: (silent - before) / connections,
    answeredBytes: (answered - before) / connections,
    beforeMB: before / 1e6,
    answeredMB: answered / 1e6,
  };
}

/** A server that dropped some would look thrifty. Both ends are on this host; the server's are those on its own port. */
function requireConnections(contestant: Contestant, port: number, wanted: number): void {
  const found = connectionsOn(port);
  if (found !== wanted) throw new Error(`${contestant.title} holds ${found} connections instead of ${wanted}`);
}

export const idle: Benchmark = {
  name: 'idle',
  title: 'User memory of an idle connection',
  columns: [
    { key: 'silentBytes', title: 'never spoke, B', digits: 0 },
    { key: 'answeredBytes', title: 'after one request, B', digits: 0 },
    { key: 'answeredMB', title: 'whole process, MB', digits: 1 },
  ],
  goals: contestants
    .filter(({ name }) => name.startsWith('millrace'))
    .flatMap(({ name }) =>
      ['silentBytes', 'answeredBytes'].map((metric): Goal => {
        return { contestant: name, against: [], metric, bound: 300, direction: 'atMost' };
      }),
    ),
  async measure(session, options) {
    const connections = options.quick ? QUICK_CONNECTIONS : CONNECTIONS;
    const field = await assemble(session, contestants, checkAnswer);
    for (const { running } of field.served) await running.stop();
    const measured = await takeTurns(field.served, options.rounds, async ({ contestant }, round) => {
      const metrics = await measureOnce(session, contestant, connections);
      const { silentBytes, answeredBytes } = metrics;
      progress(
        `round ${round + 1}: ${contestant.title}: ${silentBytes.toFixed(0)} and ${answeredBytes.toFixed(0)} bytes`,
      );
      return metrics;
    });
    return {
      scenarios: [scenarioOf(`${connections} connections`, measured, field.facts)],
      skipped: field.skipped,
      failed: field.failed,
      parameters: { connections },
    };
  },
};
