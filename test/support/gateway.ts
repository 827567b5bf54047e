/**
 * Test support: `millrace up` as a process of its own, traffic for it, and what can be seen of it from outside.
 *
 * A newcomer would get wrong: every configuration here asks for an admin listener, because its line is the last one of a
 * start; addresses end in port 0, and the lines tell the port.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { projectRoot } from './sources.ts';

export interface UpEvent extends Readonly<Record<string, unknown>> {
  readonly event: string;
}

export interface GatewayProcessOptions {
  readonly arguments?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** A program that runs the gateway, as `prlimit --nofile=100`. */
  readonly prefix?: readonly string[];
}

export class GatewayProcess {
  readonly child: ChildProcess;
  /** A folder for files of this gateway; removed with it. */
  readonly folder: string;
  readonly ended: Promise<readonly [number | null, NodeJS.Signals | null]>;
  readonly events: UpEvent[] = [];
  stderr = '';
  #over = false;
  #wake = Promise.withResolvers<void>();

  private constructor(configuration: string | null, options: GatewayProcessOptions, folder: string) {
    this.folder = folder;
    const file = configuration === null ? [] : ['--config', this.write('millrace.yaml', configuration)];
    const entry = join(projectRoot, 'bin/millrace.js');
    const command = [...(options.prefix ?? []), process.execPath, entry, 'up', '--json', ...file];
    this.child = spawn(command[0], [...command.slice(1), ...(options.arguments ?? [])], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...options.environment },
    });
    this.ended = once(this.child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
    void this.ended.then(() => {
      this.#over = true;
      this.#wake.resolve();
    });
    this.child.stderr!.on('data', (chunk: Buffer) => {
      this.stderr += chunk;
    });
    createInterface(this.child.stdout!).on('line', (line) => {
      this.events.push(JSON.parse(line) as UpEvent);
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    });
  }

  /**
   * Starts and waits until every listener is ready. `configuration` is YAML without its admin field, or a function that makes
   * it for the folder it will lie in; null runs the demonstration.
   */
  static async start(
    configuration: string | ((folder: string) => string) | null,
    options: GatewayProcessOptions = {},
  ): Promise<GatewayProcess> {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-gateway-'));
    const text = typeof configuration === 'function' ? configuration(folder) : configuration;
    const gateway = new GatewayProcess(text === null ? null : withAdmin(text), options, folder);
    try {
      await gateway.event('admin');
    } catch (error) {
      await gateway[Symbol.asyncDispose]();
      throw error;
    }
    return gateway;
  }

  /** The first event of this kind after the first `skip` events. */
  async event(kind: string, skip = 0, timeoutMs = 15_000): Promise<UpEvent> {
    const late = sleep(timeoutMs, 'late', { ref: false });
    for (;;) {
      const found = this.events.slice(skip).find(({ event }) => event === kind);
      if (found !== undefined) return found;
      if (this.#over) {
        const how = this.child.signalCode ?? `status ${this.child.exitCode}`;
        assert.fail(`ended with ${how} without "${kind}": ${this.stderr}`);
      }
      if ((await Promise.race([this.#wake.promise, late])) === 'late') {
        assert.fail(`no "${kind}" within ${timeoutMs} ms; ${JSON.stringify(this.events)}; ${this.stderr}`);
      }
    }
  }

  get listening(): readonly UpEvent[] {
    return this.events.filter(({ event }) => event === 'listening');
  }

  /** The port of the n-th listener. */
  port(index = 0): number {
    return portOf(String(this.listening[index].address));
  }

  get adminPort(): number {
    return portOf(String(this.events.find(({ event }) => event === 'admin')?.address));
  }

  get pid(): number {
    return this.child.pid!;
  }

  write(name: string, text: string): string {
    const file = join(this.folder, name);
    writeFileSync(file, text);
    return file;
  }

  /** Another configuration in place of the one before, and SIGHUP. Answers `reloaded` or `refused`. */
  async reload(configuration: string): Promise<UpEvent> {
    this.write('millrace.yaml', withAdmin(configuration));
    return this.hangUp();
  }

  async hangUp(): Promise<UpEvent> {
    const skip = this.events.length;
    this.child.kill('SIGHUP');
    return Promise.race([this.event('reloaded', skip), this.event('refused', skip)]);
  }

  /** SIGTERM, and how it ended. */
  async terminate(): Promise<readonly [number | null, NodeJS.Signals | null]> {
    this.child.kill('SIGTERM');
    return this.ended;
  }

  /** The sum of a metric over the label sets that have all of `labels`. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const { body } = await fetchText(this.adminPort, '/metrics');
    let sum = 0;
    for (const line of body.split('\n')) {
      const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (match === null || match[1] !== name) continue;
      if (Object.entries(labels).every(([key, value]) => match[2]?.includes(`${key}="${value}"`))) {
        sum += Number(match[3]);
      }
    }
    return sum;
  }

  get descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  get residentBytes(): number {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1];
    return Number(kilobytes) * 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#over) this.child.kill('SIGKILL');
    await this.ended;
    rmSync(this.folder, { recursive: true });
  }
}

function withAdmin(configuration: string): string {
  return `admin: 127.0.0.1:0\n${configuration}`;
}

function portOf(address: string): number {
  return Number(/:(\d+)$/.exec(address)?.[1]);
}

export interface Fetched {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

export interface FetchOptions {
  readonly agent?: Agent;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly timeoutMs?: number;
}

/** One request; rejects where the connection breaks or the body is cut. */
export function fetchText(port: number, path: string, options: FetchOptions = {}): Promise<Fetched> {
  const { agent = false, method = 'GET', headers = {}, body, timeoutMs = 20_000 } = options;
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { host: '127.0.0.1', port, path, agent, method, headers, timeout: timeoutMs },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('error', reject);
        answer.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8');
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: text });
        });
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Clients that each ask one request after another over a connection of their own, until they are stopped. */
export class Load {
  answered = 0;
  /** What went wrong: a status other than 200, or a broken connection. */
  readonly failures: string[] = [];
  readonly #agent: Agent;
  readonly #clients: Promise<void>[];
  #stopped = false;

  constructor(port: number, path: string, clients: number) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: clients });
    this.#clients = Array.from({ length: clients }, () => this.#run(port, path));
  }

  async #run(port: number, path: string): Promise<void> {
    while (!this.#stopped) {
      try {
        const { status, body } = await fetchText(port, path, { agent: this.#agent });
        if (status === 200) this.answered++;
        else this.failures.push(`${status} ${body.trim()}`);
      } catch (error) {
        this.failures.push((error as Error).message);
      }
    }
  }

  /** Waits until so many further requests were answered. */
  async progress(count: number, timeoutMs = 10_000): Promise<void> {
    const wanted = this.answered + count;
    const deadlineMs = performance.now() + timeoutMs;
    while (this.answered < wanted) {
      assert.ok(performance.now() < deadlineMs, `${this.answered} of ${wanted} answers; ${this.failures.slice(0, 3)}`);
      await sleep(2);
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#clients);
    this.#agent.destroy();
  }

  /** Ends the load and insists that nothing failed. */
  async finish(): Promise<void> {
    await this.stop();
    assert.deepEqual(this.failures.slice(0, 5), []);
    assert.ok(this.answered > 0);
  }
}
