/**
 * What a proxied request costs: bodies of 1 KB and 64 KB from an nginx upstream over kept connections.
 *
 *   npm run bench -- proxy
 *
 * The upstream shares the load's core, so that the proxy has its own for itself. HAProxy runs with two buffer sizes: its
 * default, and the best for 64 KB of those tried from 8 to 128 KB, which just holds such a response. The goal is set against
 * the best of all peers in each scenario.
 */
import type { Benchmark } from './support/benchmark.ts';
import { assemble, startContestant } from './support/contestant.ts';
import { httpScenario, loadColumns, SampleFiles } from './support/http-scenario.ts';
import { findProgram } from './support/machine.ts';
import { haproxy, nginxProxy, nginxStatic } from './support/peers.ts';
import type { Goal, Scenario } from './support/result.ts';
import { engines, millrace } from './support/servers.ts';
import { LOAD_CORE } from './support/session.ts';
import { CONNECTIONS } from './support/wrk.ts';

const sizesBytes: Readonly<Record<string, number>> = { '1 KB': 1024, '64 KB': 65536 };
const haproxyBuffersKB = [16, 72];
const peers = ['nginx', ...haproxyBuffersKB.map((size) => `haproxy-${size}k`)];

export const proxy: Benchmark = {
  name: 'proxy',
  title: 'Reverse proxy',
  columns: [...loadColumns, { key: 'megabytesPerSecond', title: 'MB/s', digits: 0 }],
  goals: engines.map((engine): Goal => {
    return { contestant: `millrace-${engine}`, against: peers, metric: 'cpuUs', bound: 1, direction: 'atMost' };
  }),
  async measure(session, options) {
    if (findProgram('nginx') === null)
      throw new Error('the upstream of this benchmark is nginx, which is not installed');
    const files = new SampleFiles(session, Object.values(sizesBytes));
    const upstream = await startContestant(session, nginxStatic('upstream', files.root, 'max=100'), LOAD_CORE);
    await files.check(upstream);
    const contestants = [
      ...engines.map((engine) => millrace('proxy', engine, '', false, '--upstream', `127.0.0.1:${upstream.port}`)),
      nginxProxy(upstream.port),
      ...haproxyBuffersKB.map((size) => haproxy(upstream.port, size)),
    ];
    const field = await assemble(session, contestants, (served) => files.check(served));
    const scenarios: Scenario[] = [];
    for (const [name, size] of Object.entries(sizesBytes)) {
      scenarios.push(await httpScenario(session, field, options, name, SampleFiles.pathOf(size)));
    }
    return { scenarios, skipped: field.skipped, failed: field.failed, parameters: { connections: CONNECTIONS } };
  },
};
