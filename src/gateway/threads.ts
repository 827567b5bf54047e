/**
 * Room `gateway`: a worker in a thread of its own, seen from the main thread: messages over, answers back.
 *
 * A newcomer would get wrong: a thread that dies takes its connections with it but not the gateway; it is reported, and every
 * question that waits for its answer fails.
 */
import { existsSync } from 'node:fs';
import { Worker as Thread } from 'node:worker_threads';
import type { Configuration } from './configuration.ts';
import type { ListenerReport, WorkerReport } from './report.ts';

export type Command =
  | { readonly kind: 'start' | 'reload'; readonly configuration: Configuration }
  | { readonly kind: 'drain'; readonly timeoutMs: number }
  | { readonly kind: 'reopenLog' | 'report' };

export interface ThreadData {
  readonly index: number;
  readonly count: number;
}

export type ThreadMessage =
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly message: string }
  | { readonly kind: 'log'; readonly line: string };

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class ThreadWorker {
  private readonly thread: Thread;
  private readonly waiting = new Map<number, Waiting>();
  private next = 0;
  private ended = false;

  /** @param died told when the thread ends without having been asked to */
  constructor(log: (line: string) => void, index: number, count: number, died: () => void) {
    const source = new URL('./worker-thread.ts', import.meta.url);
    const entry = existsSync(source) ? source : new URL('./worker-thread.js', import.meta.url);
    this.thread = new Thread(entry, {
      workerData: { index, count } satisfies ThreadData,
      name: `millrace worker ${index}`,
    });
    this.thread.on('message', (message: ThreadMessage) => {
      if (message.kind === 'log') log(message.line);
      else this.settle(message);
    });
    this.thread.on('error', (error) => log(`worker ${index} failed: ${error.message}`));
    this.thread.on('exit', (code) => {
      const asked = this.ended;
      this.ended = true;
      for (const { reject } of this.waiting.values()) reject(new Error(`worker ${index} has ended`));
      this.waiting.clear();
      if (asked) return;
      log(`worker ${index} ended with code ${code}; its connections are lost`);
      died();
    });
  }

  get alive(): boolean {
    return !this.ended;
  }

  private settle(message: Exclude<ThreadMessage, { kind: 'log' }>): void {
    const waiting = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if (message.kind === 'answer') waiting?.resolve(message.value);
    else waiting?.reject(new Error(message.message));
  }

  private ask(command: Command): Promise<unknown> {
    if (this.ended) return Promise.reject(new Error('the worker has ended'));
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.thread.postMessage({ id, command });
    });
  }

  start(configuration: Configuration): Promise<ListenerReport[]> {
    return this.ask({ kind: 'start', configuration }) as Promise<ListenerReport[]>;
  }

  reload(configuration: Configuration): Promise<ListenerReport[]> {
    return this.ask({ kind: 'reload', configuration }) as Promise<ListenerReport[]>;
  }

  report(): Promise<WorkerReport> {
    return this.ask({ kind: 'report' }) as Promise<WorkerReport>;
  }

  async reopenLog(): Promise<void> {
    if (!this.ended) await this.ask({ kind: 'reopenLog' });
  }

  async drain(timeoutMs: number): Promise<void> {
    if (this.ended) return;
    try {
      await this.ask({ kind: 'drain', timeoutMs });
    } catch {
      // It ended on its own meanwhile, which is what was asked for.
    }
    this.ended = true;
    await this.end();
  }

  /** Ends the thread, whatever it does. Told as a death unless it was drained. */
  async end(): Promise<void> {
    await this.thread.terminate();
  }
}
