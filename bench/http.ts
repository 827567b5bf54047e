/**
 * What an HTTP request costs: 13 bytes answered over 64 keep-alive connections.
 *
 *   npm run bench -- http
 *   npm run bench -- http --rounds 9 --seconds 10
 *   npm run bench -- http --quick
 *
 * Two groups: servers that parse the request, and servers that answer each receive with a fixed response. The floor of the
 * second group is a C program, so its ratio says what TypeScript costs above the kernel.
 */
import type { Benchmark } from './support/benchmark.ts';
import { checkHttp } from './support/check.ts';
import { assemble } from './support/contestant.ts';
import { httpScenario, loadColumns } from './support/http-scenario.ts';
import { bun, nginx } from './support/peers.ts';
import { BODY, httpFloor, millrace, nodeHttp, nodeNetFixed } from './support/servers.ts';
import { CONNECTIONS } from './support/wrk.ts';

const contestants = [
  millrace('http', 'io_uring', '', false),
  millrace('http', 'epoll', '', false),
  nginx,
  bun,
  nodeHttp,
  millrace('http-fixed', 'io_uring', ', fixed response', true),
  millrace('http-fixed', 'epoll', ', fixed response', true),
  httpFloor,
  nodeNetFixed,
];

/** Those of a quick run: it has to end within 15 s. */
const quick: ReadonlySet<string> = new Set([
  'millrace-io_uring',
  'millrace-epoll',
  'nginx',
  'millrace-http-fixed-io_uring',
  'uring-http-floor',
]);

export const http: Benchmark = {
  name: 'http',
  title: 'HTTP: a response of 13 bytes',
  columns: loadColumns,
  goals: [
    { contestant: 'millrace-io_uring', against: ['nginx'], metric: 'cpuUs', bound: 0.9, direction: 'atMost' },
    { contestant: 'millrace-epoll', against: ['nginx'], metric: 'cpuUs', bound: 1.05, direction: 'atMost' },
    { contestant: 'millrace-io_uring', against: ['node-http'], metric: 'cpuUs', bound: 0.5, direction: 'atMost' },
    { contestant: 'millrace-io_uring', against: ['bun'], metric: 'cpuUs', bound: 0.85, direction: 'atMost' },
    {
      contestant: 'millrace-http-fixed-io_uring',
      against: ['uring-http-floor'],
      metric: 'cpuUs',
      bound: 1.1,
      direction: 'atMost',
    },
  ],
  async measure(session, options) {
    const chosen = contestants.filter(({ name }) => !options.quick || quick.has(name));
    const field = await assemble(session, chosen, async ({ contestant, port }) => {
      const { headBytes, body } = await checkHttp(contestant.title, port, '/', Buffer.from(BODY));
      return { 'response, B': headBytes + body.length };
    });
    const scenarios = [await httpScenario(session, field, options, '13 bytes', '/')];
    return { scenarios, skipped: field.skipped, failed: field.failed, parameters: { connections: CONNECTIONS } };
  },
};
