/**
 * What a static file costs: 1 KB, 64 KB and 1 MB, out of the page cache, over 64 keep-alive connections.
 *
 *   npm run bench -- static
 *
 * nginx runs twice, without its cache of open files (its default, against which the goal is set) and with it. Millrace keeps
 * files open and asks the file system about them ten times a second; nginx's cache asks once a minute. So the ratio to the
 * second nginx is shown too: it leaves out what opening files costs.
 */
import type { Benchmark } from './support/benchmark.ts';
import { assemble } from './support/contestant.ts';
import { httpScenario, loadColumns, SampleFiles } from './support/http-scenario.ts';
import { nginxStatic } from './support/peers.ts';
import type { Goal, Scenario } from './support/result.ts';
import { engines, millrace } from './support/servers.ts';
import { CONNECTIONS } from './support/wrk.ts';

const sizesBytes: Readonly<Record<string, number>> = { '1 KB': 1024, '64 KB': 65536, '1 MB': 1048576 };

export const staticFiles: Benchmark = {
  name: 'static',
  title: 'Static files',
  columns: [...loadColumns, { key: 'megabytesPerSecond', title: 'MB/s', digits: 0 }],
  goals: engines.flatMap((engine) => {
    const contestant = `millrace-${engine}`;
    return [
      { contestant, against: ['nginx'], metric: 'cpuUs', bound: 1, direction: 'atMost' },
      { contestant, against: ['nginx'], metric: 'requestsPerSecond', bound: 1, direction: 'atLeast' },
      { contestant, against: ['nginx-cache'], metric: 'cpuUs', bound: null, direction: 'atMost' },
    ] satisfies Goal[];
  }),
  async measure(session, options) {
    const files = new SampleFiles(session, Object.values(sizesBytes));
    const contestants = [
      ...engines.map((engine) => millrace('static', engine, '', false, '--root', files.root)),
      nginxStatic('nginx', files.root, 'off'),
      nginxStatic('nginx-cache', files.root, 'max=100'),
    ];
    const field = await assemble(session, contestants, (served) => files.check(served));
    const scenarios: Scenario[] = [];
    for (const [name, size] of Object.entries(sizesBytes)) {
      scenarios.push(await httpScenario(session, field, options, name, SampleFiles.pathOf(size)));
    }
    return { scenarios, skipped: field.skipped, failed: field.failed, parameters: { connections: CONNECTIONS } };
  },
};
