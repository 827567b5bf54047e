/**
 * Runs a benchmark beside its peers and prints what it found as Markdown; progress goes to standard error.
 *
 *   npm run bench -- http                          five rounds of five seconds for each contestant
 *   npm run bench -- static --rounds 7 --seconds 3
 *   npm run bench -- http --quick                  one short round: shows that it works, not what it costs; keeps nothing
 *   npm run bench -- echo --rate 20000 --json      the raw data instead of the table
 *   npm run bench -- idle --write-docs             puts the table into docs/benchmarks.md as well
 *   npm run bench -- --write-docs                  the tables of all results kept, measuring nothing
 *
 * The benchmarks are http, static, proxy, echo, idle, bpf, ring and compile. Raw data is kept in bench/results/NAME.json. How it
 * is measured and what to mind stands in docs/benchmarks.md. Exit code 1: something failed, be it one contestant that is installed.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { bpf } from './bpf.ts';
import { compile } from './compile.ts';
import { echo } from './echo.ts';
import { http } from './http.ts';
import { idle } from './idle.ts';
import { proxy } from './proxy.ts';
import { ring } from './ring.ts';
import { staticFiles } from './static.ts';
import type { Benchmark, Options } from './support/benchmark.ts';
import { describeMachine, findProgram } from './support/machine.ts';
import { keep, markdown, writeDocs } from './support/report.ts';
import { judge, type Result } from './support/result.ts';
import { Session } from './support/session.ts';

const benchmarks: readonly Benchmark[] = [http, staticFiles, proxy, echo, idle, bpf, ring, compile];
const names = benchmarks.map(({ name }) => name).join(', ');

interface CommandLine {
  readonly benchmark: Benchmark | null;
  readonly options: Options;
  readonly json: boolean;
  readonly writeDocs: boolean;
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} is ${text}: an integer above 0 is allowed`);
  return value;
}

function readCommandLine(): CommandLine {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '5' },
      rate: { type: 'string' },
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      'write-docs': { type: 'boolean', default: false },
    },
  });
  const benchmark = benchmarks.find(({ name }) => name === positionals[0]) ?? null;
  const onlyDocs = positionals.length === 0 && values['write-docs'];
  if (!onlyDocs && (benchmark === null || positionals.length > 1)) {
    throw new Error(`name one benchmark (${names}), for example: npm run bench -- http`);
  }
  const { quick } = values;
  return {
    benchmark,
    options: {
      rounds: quick ? 1 : positive('rounds', values.rounds),
      seconds: quick ? 1 : positive('seconds', values.seconds),
      rate: values.rate === undefined ? null : positive('rate', values.rate),
      quick,
    },
    json: values.json,
    writeDocs: values['write-docs'] && !quick,
  };
}

const serverPrograms = ['taskset', 'wrk', 'cc'];

function requireMachine({ programs = serverPrograms }: Benchmark): void {
  if (programs === serverPrograms && availableParallelism() < 2)
    throw new Error('a benchmark needs two cores: one for the server, one for the load');
  for (const program of programs) {
    if (findProgram(program) === null) throw new Error(`${program} is not installed`);
  }
}

async function measure(benchmark: Benchmark, options: Options): Promise<{ result: Result; failed: boolean }> {
  await using session = new Session();
  const findings = await benchmark.measure(session, options);
  const result: Result = {
    bench: benchmark.name,
    title: benchmark.title,
    command: `npm run bench -- ${process.argv
      .slice(2)
      .filter((word) => word !== '--write-docs')
      .join(' ')}`,
    date: new Date().toISOString(),
    machine: describeMachine(),
    quick: options.quick,
    parameters: { rounds: options.rounds, seconds: options.seconds, ...findings.parameters },
    columns: benchmark.columns,
    scenarios: findings.scenarios,
    verdicts: options.quick ? [] : judge(findings.scenarios, benchmark.goals),
    skipped: findings.skipped,
  };
  return { result, failed: findings.failed };
}

try {
  const commandLine = readCommandLine();
  if (commandLine.benchmark !== null) {
    requireMachine(commandLine.benchmark);
    const { result, failed } = await measure(commandLine.benchmark, commandLine.options);
    if (!commandLine.options.quick) keep(result);
    console.log(commandLine.json ? JSON.stringify(result, null, 1) : markdown(result));
    if (failed) process.exitCode = 1;
  }
  if (commandLine.writeDocs)
    process.stderr.write(`docs/benchmarks.md holds ${writeDocs().join(', ') || 'no result yet'}\n`);
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
