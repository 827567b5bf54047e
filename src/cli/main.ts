/**
 * Room `cli`: the command line. Each command is a file of its own; this one only knows their options.
 */
import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import { up } from './up.ts';

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
    .action(up);
  await program.parseAsync(argv as string[], { from: 'user' });
}
