/**
 * What it costs to hear of an event from a BPF ring buffer: Millrace's reader in Node's event loop beside a C program on libbpf.
 *
 *   npm run bench -- ring
 *
 * One process writes the records with a program of our own language, on the load's core; each reader has the other core and a ring of
 * its own for the round. Records that found no room are counted by the program, and those that were read have to be all others.
 *
 * A newcomer would get wrong: a reader that is slower makes larger batches and pays fewer wake-ups, so the cost at a fixed rate tells
 * more than the greatest rate does. Both are measured.
 */
import { join } from 'node:path';
import type { Benchmark } from './support/benchmark.ts';
import { progress, takeTurns } from './support/contestant.ts';
import type { Entry, Goal, Metrics, Scenario } from './support/result.ts';
import { benchFolder, LOAD_CORE, SERVER_CORE, type Session } from './support/session.ts';

interface Reader {
  readonly name: string;
  readonly title: string;
  command(session: Session, map: number): Promise<readonly string[]>;
}

const readers: readonly Reader[] = [
  {
    name: 'millrace',
    title: 'Millrace, in Node’s event loop',
    command: async (_session, map) => [process.execPath, join(benchFolder, 'servers/ring-consumer.ts'), String(map)],
  },
  {
    name: 'libbpf',
    title: 'C on libbpf',
    command: async (session, map) => [await session.compile('ring-consumer', '-lbpf'), String(map)],
  },
];

/** Records in a burst, µs from one to the next (0: none), and how many bursts a second of load has. */
const loads = [
  { name: 'bursts of 200 records, 1,000 a second', count: 200, pauseUs: 1000, perSecond: 1000 },
  { name: 'single records, 20,000 a second', count: 1, pauseUs: 50, perSecond: 20_000 },
  { name: 'as fast as they are written', count: 2000, pauseUs: 0, perSecond: 1500 },
] as const;

interface Written {
  readonly written: number;
  readonly lost: number;
  readonly tookMs: number;
}

interface Read {
  readonly records: number;
  readonly sum: string;
  readonly userUs: number;
  readonly systemUs: number;
}

async function measure(
  session: Session,
  reader: Reader,
  load: (typeof loads)[number],
  seconds: number,
): Promise<Metrics> {
  const producer = session.start(
    'ring-producer',
    [process.execPath, join(benchFolder, 'servers/ring-producer.ts')],
    LOAD_CORE,
  );
  const { map } = JSON.parse(await producer.line()) as { readonly map: number };
  const consumer = session.start(reader.title, await reader.command(session, map), SERVER_CORE);
  if ((await consumer.line()) !== 'ready') throw new Error(`${reader.title} did not begin`);
  const write = async (forSeconds: number): Promise<readonly [Written, Read]> => {
    producer.tell(`burst ${load.count} ${load.pauseUs} ${Math.ceil(load.perSecond * forSeconds)}`);
    const written = JSON.parse(await producer.line()) as Written;
    return [written, JSON.parse(await consumer.line()) as Read];
  };
  await write(1);
  const [written, read] = await write(seconds);
  await Promise.all([consumer.stop(), producer.stop()]);
  // Numbers of records that were written go from 0 on, so their sum tells whether each came once.
  const expected = (BigInt(written.written) * BigInt(written.written - 1)) / 2n;
  if (read.records !== written.written || BigInt(read.sum) !== expected) {
    throw new Error(
      `${reader.title} read ${read.records} of ${written.written} records, sum ${read.sum} of ${expected}`,
    );
  }
  return {
    cpuNs: ((read.userUs + read.systemUs) * 1000) / read.records,
    userNs: (read.userUs * 1000) / read.records,
    systemNs: (read.systemUs * 1000) / read.records,
    perSecond: read.records / (written.tookMs / 1000),
    lost: written.lost,
  };
}

export const ring: Benchmark = {
  name: 'ring',
  title: 'Events from a BPF ring buffer',
  programs: ['taskset', 'cc'],
  columns: [
    { key: 'cpuNs', title: 'CPU per event, ns', digits: 1 },
    { key: 'userNs', title: 'user', digits: 1 },
    { key: 'systemNs', title: 'system', digits: 1 },
    { key: 'perSecond', title: 'events/s', digits: 0 },
    { key: 'lost', title: 'no room, counted', digits: 0 },
  ],
  goals: [
    { contestant: 'millrace', against: ['libbpf'], metric: 'cpuNs', bound: 1.3, direction: 'atMost' } satisfies Goal,
  ],
  async measure(session, options) {
    const scenarios: Scenario[] = [];
    for (const load of loads) {
      const measured = await takeTurns(readers, options.rounds, async (reader, round) => {
        const metrics = await measure(session, reader, load, options.seconds);
        progress(`${load.name}, round ${round + 1}: ${reader.title}: ${metrics.cpuNs.toFixed(1)} ns`);
        return metrics;
      });
      const entries = [...measured].map(([{ name, title }, rounds]): Entry => ({ name, title, facts: {}, rounds }));
      scenarios.push({ name: load.name, entries });
    }
    return { scenarios, skipped: [], failed: false, parameters: {} };
  },
};
