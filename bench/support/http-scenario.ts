/**
 * One scenario of HTTP load: every server of a field warmed up, then measured in turn at the same path.
 */
import { randomFillSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Options } from './benchmark.ts';
import { checkHttp } from './check.ts';
import { type Field, progress, type Served, scenarioOf, takeTurns } from './contestant.ts';
import type { Entry, MetricColumn, Scenario } from './result.ts';
import type { Session } from './session.ts';
import { drive, measureLoad } from './wrk.ts';

const WARM_UP_SECONDS = 2;

export const loadColumns: readonly MetricColumn[] = [
  { key: 'cpuUs', title: 'CPU per request, µs', digits: 2 },
  { key: 'userUs', title: 'user', digits: 2 },
  { key: 'systemUs', title: 'system', digits: 2 },
  { key: 'requestsPerSecond', title: 'requests/s', digits: 0 },
  { key: 'p99Us', title: 'p99, µs', digits: 0 },
];

export async function httpScenario(
  session: Session,
  field: Field,
  options: Options,
  name: string,
  path: string,
): Promise<Scenario> {
  const url = (port: number): string => `http://127.0.0.1:${port}${path}`;
  if (!options.quick) {
    progress(`${name}: warming up`);
    for (const { port } of field.served) await drive(session, url(port), WARM_UP_SECONDS);
  }
  const measured = await takeTurns(field.served, options.rounds, async (served, round) => {
    const metrics = await measureLoad(session, served.pids, url(served.port), options.seconds);
    progress(`${name}, round ${round + 1}: ${served.contestant.title}: ${metrics.cpuUs.toFixed(2)} µs a request`);
    return metrics;
  });
  return scenarioOf(name, measured, field.facts);
}

/** Files of random bytes in a folder of the session: /1024.bin holds 1,024 bytes. */
export class SampleFiles {
  readonly root: string;
  private readonly bodies: ReadonlyMap<string, Buffer>;

  constructor(session: Session, sizesBytes: readonly number[]) {
    this.root = join(session.folder, 'files');
    mkdirSync(this.root);
    this.bodies = new Map(sizesBytes.map((size) => [SampleFiles.pathOf(size), randomFillSync(Buffer.alloc(size))]));
    for (const [path, body] of this.bodies) writeFileSync(join(this.root, path), body);
  }

  static pathOf(sizeBytes: number): string {
    return `/${sizeBytes}.bin`;
  }

  /** Asks a server for each of the files. */
  async check({ contestant, port }: Served): Promise<Entry['facts']> {
    let head = 0;
    for (const [path, body] of this.bodies) head = (await checkHttp(contestant.title, port, path, body)).headBytes;
    return { 'head, B': head };
  }
}
