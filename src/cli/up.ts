/**
 * Room `cli`: `millrace up`: reads the configuration, starts the gateway, says what runs, and reloads it.
 */
import type { Configuration } from '../gateway/configuration.ts';
import { type Demonstration, type DemonstrationPorts, startDemonstration } from '../gateway/demonstration.ts';
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
  readonly demonstrationPorts: DemonstrationPorts;
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
  if (options.json === true) say(options, '', { event: 'failed', message: (error as Error).message });
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
    demonstration = await startDemonstration({
      engine: options.engine ?? 'auto',
      workers: options.workers ?? 1,
      ...options.demonstrationPorts,
    });
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
  for (const listener of gateway.listeners) announceListener(options, listener, configuration.workers);
  const admin = gateway.adminAddress;
  if (admin !== null) say(options, `admin on ${admin}: /healthz, /metrics`, { event: 'admin', address: admin });
  if (options.config === undefined) {
    const url = `http://${gateway.listeners[0].address}/`;
    say(options, `the embedded demonstration: open ${url}, Ctrl-C ends it`, { event: 'demonstration', url });
  }
}

function announceListener(options: UpOptions, listener: Gateway['listeners'][number], workers: number): void {
  const { address, protocol, engine, reason } = listener;
  const threads = workers > 1 ? `, ${workers} workers` : '';
  const event = { event: 'listening', address, protocol, engine, reason, workers };
  say(options, `${protocol} on ${address}, engine ${engine} (${reason})${threads}`, event);
}

/** What a reload opened and closed. */
function announceChanges(options: UpOptions, gateway: Gateway, before: Gateway['listeners'], workers: number): void {
  const missing = (from: Gateway['listeners'], address: string): boolean =>
    from.every((one) => one.address !== address);
  for (const listener of gateway.listeners) {
    if (missing(before, listener.address)) announceListener(options, listener, workers);
  }
  for (const { address } of before) {
    if (missing(gateway.listeners, address)) say(options, `no longer on ${address}`, { event: 'gone', address });
  }
}

async function reload(options: UpOptions, gateway: Gateway): Promise<void> {
  try {
    if (options.config === undefined) {
      await gateway.reopenLog();
      return;
    }
    const configuration = withOptions(readConfiguration(options.config), options);
    const before = gateway.listeners;
    const kept = await gateway.reload(configuration);
    announceChanges(options, gateway, before, configuration.workers);
    const restart = kept.length === 0 ? '' : `; ${kept.join(' and ')} keep their old value until a restart`;
    say(options, `reloaded ${options.config}${restart}`, { event: 'reloaded', kept });
  } catch (error) {
    process.stderr.write(
      `${(error as Error).message}\nmillrace: the reload was refused, the old configuration stays in force\n`,
    );
    const problems = error instanceof ConfigurationError ? { problems: error.problems } : {};
    if (options.json === true) say(options, '', { event: 'refused', message: (error as Error).message, ...problems });
  }
}
