/**
 * How long compiling takes: a small program from a cold start of the process, a module of a datapath's size in a process that is warm,
 * beside `clang -O2 -g` on the same programs in C.
 *
 *   npm run bench -- compile
 *
 * A newcomer would get wrong: a process that compiles once pays for starting Node and for code that has not been optimised yet. What a
 * gateway that recompiles its datapath pays is the warm figure.
 */
import { cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import type { Benchmark } from './support/benchmark.ts';
import { progress, takeTurns } from './support/contestant.ts';
import type { Entry, Metrics, Scenario } from './support/result.ts';
import { benchFolder, SERVER_CORE, type Session } from './support/session.ts';

const programs = join(benchFolder, '../test/bpf/programs');
/** What bench/bpf/datapath.bpf.ts gathers. */
const DATAPATH = ['l4-parser', 'lpm-firewall', 'maglev', 'nat', 'syn-cookie', 'token-bucket'];
/** Compilations that make a process warm, and those that are measured then. */
const WARM_UP = 200;
const MEASURED = 20;
/** Cold starts of one round; the least disturbed of them counts. */
const STARTS = 5;

interface Way {
  readonly name: string;
  readonly title: string;
  measure(session: Session): Promise<number>;
}

/** The time of a process from its start to its end, in ms; the least of several. */
async function coldMs(session: Session, name: string, command: readonly string[]): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let start = 0; start < STARTS; start++) {
    const begin = performance.now();
    await session.start(name, command, SERVER_CORE).output();
    least = Math.min(least, performance.now() - begin);
  }
  return least;
}

function clang(session: Session, name: string): readonly string[] {
  const include = '/usr/include/x86_64-linux-gnu';
  const flags = ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', ...(existsSync(include) ? ['-I', include] : [])];
  return ['clang', ...flags, '-c', join(programs, `${name}.bpf.c`), '-o', join(session.folder, `${name}.c.o`)];
}

/** The package as npm installs it: beside a checkout's sources the command would run those. */
function installed(session: Session): string {
  const folder = join(session.folder, 'package');
  if (!existsSync(folder)) {
    for (const part of ['bin', 'dist', 'package.json'])
      cpSync(join(benchFolder, '..', part), join(folder, part), { recursive: true });
  }
  return folder;
}

function buildSmall(session: Session, millrace: string): readonly string[] {
  const source = join(programs, 'sample-drop.bpf.ts');
  return [
    process.execPath,
    join(millrace, 'bin/millrace.js'),
    'bpf',
    'build',
    source,
    '-o',
    join(session.folder, 'small.o'),
  ];
}

const small: readonly Way[] = [
  {
    name: 'millrace',
    title: 'Millrace, the package',
    measure: (session) => coldMs(session, 'millrace', buildSmall(session, installed(session))),
  },
  {
    name: 'millrace-checkout',
    title: 'Millrace, a checkout (TypeScript run directly)',
    measure: (session) => coldMs(session, 'millrace', buildSmall(session, join(benchFolder, '..'))),
  },
  {
    name: 'clang',
    title: 'clang -O2',
    measure: (session) => coldMs(session, 'clang', clang(session, 'packet-filter')),
  },
];

const large: readonly Way[] = [
  {
    name: 'millrace-warm',
    title: 'Millrace, warm process',
    async measure(session) {
      const command = [
        process.execPath,
        join(benchFolder, 'servers/warm-build.ts'),
        join(benchFolder, 'bpf/datapath.bpf.ts'),
        String(WARM_UP + MEASURED),
      ];
      const { tookMs } = JSON.parse(await session.start('warm-build', command, SERVER_CORE).output()) as {
        readonly tookMs: readonly number[];
      };
      const last = tookMs.slice(-MEASURED).sort((one, other) => one - other);
      return last[last.length >> 1];
    },
  },
  {
    name: 'clang-each',
    title: 'clang -O2, one process for each program',
    async measure(session) {
      let sum = 0;
      for (const name of DATAPATH) sum += await coldMs(session, 'clang', clang(session, name));
      return sum;
    },
  },
];

async function scenario(session: Session, name: string, ways: readonly Way[], rounds: number): Promise<Scenario> {
  const measured = await takeTurns(ways, rounds, async (way, round): Promise<Metrics> => {
    const wallMs = await way.measure(session);
    progress(`${name}, round ${round + 1}: ${way.title}: ${wallMs.toFixed(1)} ms`);
    return { wallMs };
  });
  return {
    name,
    entries: [...measured].map(([{ name: own, title }, all]): Entry => ({ name: own, title, facts: {}, rounds: all })),
  };
}

const SMALL = 'a small program, cold start';
const LARGE = 'six programs of a datapath';

export const compile: Benchmark = {
  name: 'compile',
  title: 'Compiling eBPF programs',
  programs: ['taskset', 'clang'],
  columns: [{ key: 'wallMs', title: 'ms', digits: 1 }],
  goals: [
    { contestant: 'millrace', against: [], metric: 'wallMs', bound: 150, direction: 'atMost' },
    { contestant: 'millrace-warm', against: [], metric: 'wallMs', bound: 50, direction: 'atMost' },
    { contestant: 'millrace', against: ['clang'], metric: 'wallMs', bound: null, direction: 'atMost' },
    { contestant: 'millrace-warm', against: ['clang-each'], metric: 'wallMs', bound: null, direction: 'atMost' },
  ],
  async measure(session, options) {
    const scenarios = [
      await scenario(session, SMALL, small, options.rounds),
      await scenario(session, LARGE, large, options.rounds),
    ];
    return { scenarios, skipped: [], failed: false, parameters: {} };
  },
};
