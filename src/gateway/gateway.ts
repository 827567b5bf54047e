/**
 * Room `gateway`: a running gateway: its workers (this thread, or several threads that share the ports), the admin listener,
 * reload and drain.
 *
 * A newcomer would get wrong: with one worker everything runs in this thread. With several, this thread serves only the admin
 * listener and tells the workers what to do. And reload and drain never overlap: each waits for its turn.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Serving } from '../http/serve.ts';
import { formatAddress } from '../kernel/address.ts';
import { useEngine } from '../net/runtime.ts';
import { startAdmin } from './admin.ts';
import { claimAddresses } from './claim.ts';
import type { Configuration } from './configuration.ts';
import { keptFields, keysOf, pinPorts, withFixed } from './fixed.ts';
import { Log } from './log.ts';
import type { ListenerReport, WorkerReport } from './report.ts';
import { ThreadWorker } from './threads.ts';
import { GatewayWorker } from './worker.ts';

export interface GatewayOptions {
  /** Where lines about trouble go. Default: standard error. */
  readonly write?: (line: string) => void;
}

/** What the gateway needs of a worker, wherever it runs. */
export interface Worker {
  /** False once its thread has ended. */
  readonly alive: boolean;
  start(configuration: Configuration): Promise<ListenerReport[]>;
  reload(configuration: Configuration): Promise<ListenerReport[]>;
  drain(timeoutMs: number): Promise<void>;
  reopenLog(): Promise<void>;
  report(): WorkerReport | Promise<WorkerReport>;
}

/** A worker that does not answer a scrape in this time is left out of it. */
const REPORT_MS = 2000;
/** A dead worker is replaced after this rest, twice as long each time, at most so long. */
const REPLACE_FIRST_MS = 500;
const REPLACE_MAX_MS = 30_000;
/** Whoever lived this long starts with the first rest again. */
const PROVEN_MS = 60_000;
const ADMIN_GRACE_MS = 1000;

export class Gateway {
  /** In the order of the configuration. */
  listeners: readonly ListenerReport[] = [];
  /** As it is in force; ports that the kernel chose are in it. */
  private configuration: Configuration;
  private readonly workers: Worker[] = [];
  private admin: Serving | null = null;
  private draining = false;
  private readonly log: Log;
  private last: Promise<unknown> = Promise.resolve();
  /** Ends the rests before replacements. */
  private readonly ended = new AbortController();

  private constructor(configuration: Configuration, options: GatewayOptions) {
    this.configuration = configuration;
    this.log = new Log(options.write ?? ((line) => void process.stderr.write(line)));
  }

  /** @throws KernelError where an address cannot be listened on; nothing runs on then */
  static async start(configuration: Configuration, options: GatewayOptions = {}): Promise<Gateway> {
    const gateway = new Gateway(configuration, options);
    try {
      await gateway.begin();
    } catch (error) {
      await gateway.close();
      throw error;
    }
    return gateway;
  }

  private async begin(): Promise<void> {
    const { workers: count, admin } = this.configuration;
    // The engine of this thread is the configuration's too, also when it serves the admin listener alone.
    useEngine(this.configuration.engine);
    if (count > 1) claimAddresses(this.configuration.listeners);
    for (let index = 0; index < count; index++) this.workers.push(this.create(index, REPLACE_FIRST_MS));
    // The first worker finds the ports that are the kernel's choice; the others share them.
    this.listeners = await this.workers[0].start(this.configuration);
    this.configuration = pinPorts(this.configuration, this.listeners);
    await Promise.all(this.workers.slice(1).map((worker) => worker.start(this.configuration)));
    if (admin !== null) this.admin = await this.openAdmin(admin);
  }

  private create(index: number, restMs: number): Worker {
    const write = (line: string): void => this.log.line(line);
    const { workers: count } = this.configuration;
    if (count === 1) return new GatewayWorker(write, 0, 1);
    const startedMs = performance.now();
    return new ThreadWorker(write, index, count, () => {
      const proven = performance.now() - startedMs > PROVEN_MS;
      void this.replace(index, proven ? REPLACE_FIRST_MS : restMs);
    });
  }

  /** A worker's thread has ended without being asked: another one takes its place, after a rest. */
  private async replace(index: number, restMs: number): Promise<void> {
    try {
      await sleep(restMs, undefined, { signal: this.ended.signal });
    } catch {
      return;
    }
    await this.inTurn(async () => {
      if (this.draining) return;
      const worker = this.create(index, Math.min(restMs * 2, REPLACE_MAX_MS));
      this.workers[index] = worker;
      try {
        await worker.start(this.configuration);
        this.log.line(`worker ${index} was replaced`);
      } catch (error) {
        // Where it could not start its thread goes too, and that leads here again.
        this.log.line(`worker ${index} cannot be replaced: ${(error as Error).message}`);
        await (worker as ThreadWorker).end();
      }
    });
  }

  /** Runs `task` when those before it are through, whatever became of them. */
  private inTurn<T>(task: () => Promise<T>): Promise<T> {
    const result = this.last.then(task);
    this.last = result.catch(() => {});
    return result;
  }

  private openAdmin(admin: NonNullable<Configuration['admin']>): Promise<Serving> {
    const gateway = this;
    return startAdmin(admin.socket, {
      get state() {
        if (gateway.draining) return 'draining';
        return gateway.workers.every(({ alive }) => alive) ? 'ok' : 'a worker is missing';
      },
      reports: () => this.reports(),
    });
  }

  /** Where /healthz and /metrics are answered, with the port that is in use; null for nowhere. */
  get adminAddress(): string | null {
    const address = this.admin?.listener.address ?? null;
    return address === null ? null : formatAddress(address);
  }

  /** Of the workers that are there. */
  async reports(): Promise<readonly WorkerReport[]> {
    const late = sleep(REPORT_MS, null, { ref: false });
    const asked = this.workers.map(async (worker) => Promise.race([worker.report(), late]).catch(() => null));
    return (await Promise.all(asked)).filter((report) => report !== null);
  }

  /**
   * Takes another configuration while traffic flows. What needs a restart is named in the answer and keeps its old value.
   * @throws Error where a new address cannot be listened on; the old configuration stays in force
   */
  reload(wanted: Configuration): Promise<readonly string[]> {
    return this.inTurn(async () => {
      if (this.draining) throw new Error('the gateway is ending');
      const before = this.configuration;
      const configuration = withFixed(before, wanted);
      const moved = wanted.admin?.text !== before.admin?.text;
      const opened = moved && wanted.admin !== null ? await this.openAdmin(wanted.admin) : null;
      try {
        await this.reloadWorkers(configuration);
      } catch (error) {
        await opened?.close(0);
        throw error;
      }
      if (moved) {
        const closed = this.admin;
        this.admin = opened;
        await closed?.close(ADMIN_GRACE_MS);
      }
      return keptFields(before, wanted);
    });
  }

  private async reloadWorkers(configuration: Configuration): Promise<void> {
    const before = this.configuration;
    const known = new Set(keysOf(before.listeners));
    const keys = keysOf(configuration.listeners);
    if (this.workers.length > 1) claimAddresses(configuration.listeners.filter((_, index) => !known.has(keys[index])));
    const living = this.workers.filter(({ alive }) => alive);
    if (living.length === 0) throw new Error('no worker is there to take it; try again in a moment');
    const listeners = await living[0].reload(configuration);
    const pinned = pinPorts(configuration, listeners);
    const others = living.slice(1);
    const results = await Promise.allSettled(others.map((worker) => worker.reload(pinned)));
    const refused = results.find((result, index) => result.status === 'rejected' && others[index].alive);
    if (refused !== undefined) {
      // All or none: those that took it go back.
      await Promise.allSettled(living.map((worker) => worker.reload(before)));
      throw (refused as PromiseRejectedResult).reason;
    }
    this.configuration = pinned;
    this.listeners = listeners;
  }

  /** Opens the access log's file anew, after it was moved away. */
  async reopenLog(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.reopenLog()));
  }

  /** Accepts no more, completes what is under way for at most `timeoutMs`, then ends. */
  drain(timeoutMs: number = this.configuration.drainTimeoutMs): Promise<void> {
    this.draining = true;
    this.ended.abort();
    return this.inTurn(async () => {
      await Promise.all(this.workers.map((worker) => worker.drain(timeoutMs)));
      // The admin listener stays until traffic has ended, so that /healthz tells of the draining.
      await this.admin?.close(ADMIN_GRACE_MS);
      this.workers.length = 0;
      this.admin = null;
    });
  }

  async close(): Promise<void> {
    await this.drain(0);
  }
}
