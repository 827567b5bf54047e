/**
 * Room `cli`: the command line. Each command is a file of its own; this one only knows their options.
 */
import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import { addBpf } from './bpf/command.ts';
import type { UpOptions } from './up.ts';

const ENGINES = ['auto', 'io_uring', 'epoll', 'epoll-level', 'poll', 'select'];

const EXAMPLES = `
Examples:
  millrace up                                the embedded demonstration on http://127.0.0.1:8080
  millrace up --config millrace.yaml         the gateway from a file
  millrace up --config millrace.yaml --check say what is wrong with a file, start nothing
  millrace up --engine epoll --workers 2     two threads on epoll

Signals: SIGHUP reads the file again without dropping a connection, SIGTERM and SIGINT complete what is under way and
end with status 0, a second one ends at once.`;

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

function workers(value: string): number {
  const count = Number(value);
  if (!Number.isInteger(count) || count < 1 || count > 64)
    throw new InvalidArgumentError('a whole number from 1 to 64 is allowed');
  return count;
}

function demonstrationPorts(value: string): { readonly port: number; readonly adminPort: number } {
  const match = /^(\d{1,5}),(\d{1,5})$/.exec(value);
  const [port, adminPort] = match === null ? [65536, 65536] : [Number(match[1]), Number(match[2])];
  if (port > 65535 || adminPort > 65535) throw new InvalidArgumentError('two ports as in 8080,9100 are allowed');
  return { port, adminPort };
}

const TRACE_EXAMPLES = `
Examples:
  millrace trace tcp:tcp_retransmit_skb --by daddr,dport        which peers lose segments
  millrace trace sched:sched_switch --by next_comm --interval 1s
  millrace trace syscalls:sys_enter_write --histogram count     how large writes are
  millrace trace skb:kfree_skb --where 'event.protocol === 2048' --stacks
  millrace trace -e "on('raw_syscalls:sys_enter', () => start(tid()));
                     on('raw_syscalls:sys_exit', () => histogram(elapsed(tid())))"
  millrace trace --list 'tcp:*'                                 the events; of one alone, its fields

Needs root, or CAP_BPF, CAP_PERFMON and a readable tracefs.`;

function milliseconds(value: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(value);
  const factor = { ms: 1, s: 1000, m: 60_000 }[match?.[2] ?? ''] ?? 0;
  const found = Math.round(Number(match?.[1]) * factor);
  if (!(found >= 1 && found <= 2 ** 31 - 1))
    throw new InvalidArgumentError('a time such as 500ms, 5s or 2m is allowed');
  return found;
}

function rows(value: string): number {
  const count = Number(value);
  if (!Number.isInteger(count) || count < 1) throw new InvalidArgumentError('a whole number above 0 is allowed');
  return count;
}

function addTrace(program: Command): void {
  program
    .command('trace')
    .description('see what the kernel does: counts, histograms and stacks of its events')
    .argument('[event]', 'a tracepoint: subsystem:event')
    .option('-e, --script <script>', "a script: on('subsystem:event', (event) => count(event.field))")
    .option('--by <fields>', 'count by these fields, or comm(), pid(), tid(), uid(), cpu()')
    .option('--histogram <field>', 'the values of a field, by powers of two')
    .option('--stacks', 'the kernel’s stacks that lead there')
    .option('--where <condition>', 'only events for which this holds, in TypeScript: event.dport === 443')
    .option('--interval <time>', 'print the tables so often, not only at the end', milliseconds)
    .option('--duration <time>', 'end by itself', milliseconds)
    .option('--top <rows>', 'so many rows of each table', rows, 20)
    .option('--list [pattern]', 'list events; with one that matches, its fields')
    .option('--json', 'machine-readable lines on standard output')
    .addHelpText('after', TRACE_EXAMPLES)
    .action(async (event, options) => (await import('./trace.ts')).trace(event, options));
}

/** @param argv the arguments without node and script */
export async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('millrace')
    .description('The Linux kernel’s fast network paths for people who write TypeScript')
    .version(version())
    .showHelpAfterError('(millrace --help tells more)');
  program
    .command('up')
    .description('run the gateway; with no configuration, an embedded demonstration')
    .option('-c, --config <file>', 'configuration file (YAML); docs/guides/up.md describes every field')
    .option('--check', 'check the configuration and exit')
    .addOption(new Option('--engine <name>', 'in place of the file’s engine').choices(ENGINES))
    .option('--workers <count>', 'threads, in place of the file’s workers', workers)
    .option('--json', 'machine-readable lines on standard output')
    .addOption(
      new Option('--demonstration-ports <site,admin>', 'ports of the embedded demonstration; 0: the kernel chooses')
        .default({ port: 8080, adminPort: 9100 }, '8080,9100')
        .argParser(demonstrationPorts),
    )
    .addHelpText('after', EXAMPLES)
    .action(async (options: UpOptions) => (await import('./up.ts')).up(options));
  addTrace(program);
  addBpf(program);
  await program.parseAsync(argv as string[], { from: 'user' });
}
