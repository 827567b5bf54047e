/**
 * Room `cli`: `millrace up`: reads the configuration, starts the gateway, says what runs, and reloads it.
 */
import type { Configuration } from '../gateway/configuration.ts';
import { type Demonstration, startDemonstration } from '../gateway/demonstration.ts';
import { Gateway } from '../gateway/gateway.ts';
import { ConfigurationError } from '../gateway/problems.ts';
import { readConfiguration } from '../gateway/read.ts';
import { Lifetime } from './lifetime.ts';
import { summarize } from './summary.ts';

export interface UpOptions {
  readonly config?: string;
  readonly check?: boolean;
  readonly engine?: Configuration['engine'];
  readonly workers?: number;
  readonly json?: boolean;
}

function withOptions(configuration: Configuration, options: UpOptions): Configuration {
  return {
    ...configuration,
    engine: options.engine ?? configuration.engine,
    workers: options.workers ?? configuration.workers,
  };
}

/** Standard output: a line for people, or an object for machines. */
function say(options: UpOptions, line: string, event: Record<string, unknown>): void {
  process.stdout.write(options.json === true ? `${JSON.stringify(event)}\n` : `${line}\n`);
}

function fail(options: UpOptions, error: unknown): void {
  process.exitCode = 1;
  if (options.json === true && error instanceof ConfigurationError) {
    process.stdout.write(`${JSON.stringify({ event: 'invalid', problems: error.problems })}\n`);
    return;
  }
  process.stderr.write(`${error instanceof ConfigurationError ? '' : 'millrace: '}${(error as Error).message}\n`);
}

export async function up(options: UpOptions): Promise<void> {
  try {
    if (options.check === true) check(options);
    else await run(options);
  } catch (error) {
    fail(options, error);
  }
}

function check(options: UpOptions): void {
  if (options.config === undefined) throw new Error('--check needs --config FILE');
  const configuration = withOptions(readConfiguration(options.config), options);
  say(options, summarize(options.config, configuration), {
    event: 'valid',
    file: configuration.file,
    engine: configuration.engine,
    workers: configuration.workers,
    listeners: configuration.listeners.map(({ address }) => address.text),
    routes: configuration.listeners.reduce((sum, listener) => sum + listener.routes.length, 0),
  });
}

async function run(options: UpOptions): Promise<void> {
  const lifetime = new Lifetime();
  let demonstration: Demonstration | null = null;
  let configuration: Configuration;
  if (options.config === undefined) {
    demonstration = await startDemonstration({ engine: options.engine ?? 'auto', workers: options.workers ?? 1 });
    configuration = demonstration.configuration;
  } else {
    configuration = withOptions(readConfiguration(options.config), options);
  }
  let gateway: Gateway;
  try {
    gateway = await Gateway.start(configuration);
  } catch (error) {
    await demonstration?.close();
    throw error;
  }
  announce(options, gateway, configuration);
  lifetime.started({
    reload: () => reload(options, gateway),
    async end(signal) {
      say(options, `${signal}: completing what is under way; once more ends at once`, { event: 'draining', signal });
      await gateway.drain();
      await demonstration?.close();
      say(options, 'ended', { event: 'ended' });
    },
  });
}

function announce(options: UpOptions, gateway: Gateway, configuration: Configuration): void {
  for (const { address, protocol, engine, reason } of gateway.listeners) {
    const threads = configuration.workers > 1 ? `, ${configuration.workers} workers` : '';
    say(options, `${protocol} on ${address}, engine ${engine} (${reason})${threads}`, {
      event: 'listening',
      address,
      protocol,
      engine,
      reason,
      workers: configuration.workers,
    });
  }
  if (configuration.admin !== null) {
    const address = configuration.admin.text;
    say(options, `admin on ${address}: /healthz, /metrics`, { event: 'admin', address });
  }
  if (options.config === undefined) {
    say(options, 'the embedded demonstration: open http://127.0.0.1:8080/, Ctrl-C ends it', { event: 'demonstration' });
  }
}

async function reload(options: UpOptions, gateway: Gateway): Promise<void> {
  try {
    if (options.config === undefined) {
      await gateway.reopenLog();
      return;
    }
    const kept = await gateway.reload(withOptions(readConfiguration(options.config), options));
    const restart = kept.length === 0 ? '' : `; ${kept.join(' and ')} keep their old value until a restart`;
    say(options, `reloaded ${options.config}${restart}`, { event: 'reloaded', kept });
  } catch (error) {
    process.stderr.write(
      `${(error as Error).message}\nmillrace: the reload was refused, the old configuration stays in force\n`,
    );
    if (options.json === true) say(options, '', { event: 'refused', message: (error as Error).message });
  }
}
