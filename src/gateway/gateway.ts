/**
 * Room `gateway`: a running gateway: its workers (this thread, or several threads that share the ports), the admin listener,
 * reload and drain.
 *
 * A newcomer would get wrong: with one worker everything runs in this thread. With several, this thread serves only the admin
 * listener and tells the workers what to do.
 */
import type { Serving } from '../http/serve.ts';
import { useEngine } from '../net/runtime.ts';
import { startAdmin } from './admin.ts';
import type { Configuration } from './configuration.ts';
import { Log } from './log.ts';
import { ThreadWorker } from './threads.ts';
import { GatewayWorker, type ListenerReport, type WorkerReport } from './worker.ts';

export interface GatewayOptions {
  /** Where lines about trouble go. Default: standard error. */
  readonly write?: (line: string) => void;
}

/** What the gateway needs of a worker, wherever it runs. */
export interface Worker {
  start(configuration: Configuration): Promise<ListenerReport[]>;
  reload(configuration: Configuration): Promise<ListenerReport[]>;
  drain(timeoutMs: number): Promise<void>;
  reopenLog(): Promise<void>;
  report(): WorkerReport | Promise<WorkerReport>;
}

/** Fields that a reload cannot change; they take a restart. */
const FIXED = ['engine', 'workers'] as const;

export class Gateway {
  listeners: readonly ListenerReport[] = [];
  private configuration: Configuration;
  private workers: Worker[] = [];
  private admin: Serving | null = null;
  private draining = false;
  private readonly log: Log;

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
    const write = (line: string): void => this.log.line(line);
    for (let index = 0; index < count; index++) {
      this.workers.push(count === 1 ? new GatewayWorker(write, 0, 1) : new ThreadWorker(write, index, count));
    }
    // The engine of this thread is the configuration's too, also when it serves the admin listener alone.
    useEngine(this.configuration.engine);
    const reports = await Promise.all(this.workers.map((worker) => worker.start(this.configuration)));
    this.listeners = reports[0];
    if (admin !== null) this.admin = await this.openAdmin(admin);
  }

  private openAdmin(admin: NonNullable<Configuration['admin']>): Promise<Serving> {
    const gateway = this;
    return startAdmin(admin.socket, {
      get ready() {
        return !gateway.draining;
      },
      reports: () => this.reports(),
    });
  }

  reports(): Promise<readonly WorkerReport[]> {
    return Promise.all(this.workers.map(async (worker) => worker.report()));
  }

  /**
   * Takes another configuration while traffic flows. What needs a restart is named in the answer and keeps its old value.
   * @throws KernelError where a new address cannot be listened on; the old configuration stays in force
   */
  async reload(wanted: Configuration): Promise<readonly string[]> {
    const kept = FIXED.filter((field) => wanted[field] !== this.configuration[field]);
    const configuration = { ...wanted, engine: this.configuration.engine, workers: this.configuration.workers };
    const before = this.admin;
    const moved = wanted.admin?.text !== this.configuration.admin?.text;
    const opened = moved && wanted.admin !== null ? await this.openAdmin(wanted.admin) : null;
    try {
      const reports = await Promise.all(this.workers.map((worker) => worker.reload(configuration)));
      this.listeners = reports[0];
    } catch (error) {
      await opened?.close();
      throw error;
    }
    if (moved) {
      this.admin = opened;
      await before?.close();
    }
    this.configuration = configuration;
    return kept;
  }

  /** Opens the access log's file anew, after it was moved away. */
  async reopenLog(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.reopenLog()));
  }

  /** Accepts no more, completes what is under way for at most `timeoutMs`, then ends. */
  async drain(timeoutMs: number = this.configuration.drainTimeoutMs): Promise<void> {
    this.draining = true;
    await Promise.all(this.workers.map((worker) => worker.drain(timeoutMs)));
    // The admin listener stays until traffic has ended, so that /healthz tells of the draining.
    await this.admin?.close();
    this.workers = [];
    this.admin = null;
  }

  async close(): Promise<void> {
    await this.drain(0);
  }
}
