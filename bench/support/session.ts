/**
 * Everything that one run of a benchmark starts or writes: server processes, load processes, one temporary folder. When the
 * run ends, by itself, by an error or by Ctrl-C, all of it is gone.
 *
 * A newcomer would get wrong: each process leads its own group and the group is what gets the signal, because nginx, for one,
 * has workers that outlive a killed master. Ending is asked for first, so that a parent reaps its children; the exit handler,
 * where nothing asynchronous runs, only kills.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { constants, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';

/** The server has a core for itself, and so has what drives it. */
export const SERVER_CORE = 0;
export const LOAD_CORE = 1;

export const benchFolder: string = dirname(import.meta.dirname);

const ERRORS_KEPT = 16384;
/** How long a process may take to end when it is asked to. */
const PATIENCE_MS = 2000;

/** A process that was started. */
export class Running {
  readonly pid: number;
  readonly name: string;
  private readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;
  private readonly closed: Promise<unknown>;
  private errors = '';

  constructor(name: string, child: ChildProcess) {
    this.name = name;
    this.child = child;
    this.pid = child.pid ?? 0;
    // Rejects when the command cannot be started, which then shows as an early end.
    this.closed = once(child, 'close').catch((error: Error) => {
      this.errors += error.message;
    });
    this.lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    child.stderr!.on('data', (chunk: Buffer) => {
      this.errors = (this.errors + chunk.toString()).slice(-ERRORS_KEPT);
    });
    // A process that ended does not read its input any more; `line` and `output` report the end.
    child.stdin!.on('error', () => {});
  }

  get alive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Why it ended, in its own words where it wrote any; one line, without the paths of this machine. */
  get complaint(): string {
    const lines = this.errors.trim().split('\n');
    // The message of an uncaught exception stands amid a stack trace; other programs say the last thing last.
    const own = lines.find((line) => /^\w*Error\b/.test(line)) ?? lines[lines.length - 1];
    const why = own.replaceAll(/(file:\/\/)?\/[^\s:'"]*\//g, '');
    return `it ended: ${why || (this.child.signalCode ?? `exit code ${this.child.exitCode}`)}`;
  }

  /** Calls back once it has ended. */
  whenClosed(callback: () => void): void {
    this.child.once('close', callback);
  }

  /** The next line that it prints. */
  async line(): Promise<string> {
    const next = await this.lines.next();
    if (next.done !== true) return next.value;
    await this.closed;
    throw new Error(this.complaint);
  }

  /** Writes a line to its input. */
  tell(line: string): void {
    this.child.stdin!.write(`${line}\n`);
  }

  /** Ends its input, waits until it ended with success and answers what it printed. */
  async output(): Promise<string> {
    this.child.stdin!.end();
    let output = '';
    for (let next = await this.lines.next(); next.done !== true; next = await this.lines.next())
      output += `${next.value}\n`;
    await this.closed;
    if (this.child.exitCode !== 0) throw new Error(this.complaint);
    return output;
  }

  /** Sends a signal to the process and all that it started. */
  signal(name: 'SIGTERM' | 'SIGKILL'): void {
    if (this.pid === 0) return;
    try {
      process.kill(-this.pid, name);
    } catch {
      // The group is gone already.
    }
  }

  /** Asks it to end, so that it waits for its own children; insists after a while. */
  async stop(): Promise<void> {
    if (!this.alive) return;
    this.signal('SIGTERM');
    const insist = setTimeout(() => this.signal('SIGKILL'), PATIENCE_MS);
    await this.closed;
    clearTimeout(insist);
  }
}

export class Session implements AsyncDisposable {
  /** Temporary; removed with the session. */
  readonly folder: string;
  private readonly running = new Set<Running>();
  private readonly programs = new Map<string, Promise<string>>();

  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
    // nginx's workers may run as another user.
    chmodSync(this.folder, 0o755);
    process.on('exit', () => this.clear());
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.once(signal, () => {
        const end = (): never => process.exit(128 + constants.signals[signal]);
        process.once(signal, end);
        this[Symbol.asyncDispose]().then(end, end);
      });
    }
  }

  /** Starts a process on a core; the session ends it at the latest. */
  start(name: string, command: readonly string[], core: number): Running {
    const child = spawn('taskset', ['-c', String(core), ...command], {
      cwd: this.folder,
      detached: true,
      stdio: 'pipe',
    });
    const running = new Running(name, child);
    this.running.add(running);
    child.on('close', () => {
      // What its group left behind goes with it.
      running.signal('SIGKILL');
      this.running.delete(running);
    });
    return running;
  }

  /** Runs a command on the load's core to its end and answers what it printed. */
  run(name: string, command: readonly string[]): Promise<string> {
    return this.start(name, command, LOAD_CORE).output();
  }

  /** Compiles bench/c/NAME.c, once a session, and answers the program's path. */
  compile(name: string, ...libraries: string[]): Promise<string> {
    const program = join(this.folder, name);
    const known = this.programs.get(name);
    if (known !== undefined) return known;
    const command = ['cc', '-O2', '-Wall', '-Wextra', '-o', program, join(benchFolder, 'c', `${name}.c`), ...libraries];
    const compiled = this.run('cc', command).then(() => program);
    this.programs.set(name, compiled);
    return compiled;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.running].map((running) => running.stop()));
    this.clear();
  }

  /** What must not be left behind, without waiting. */
  private clear(): void {
    for (const running of this.running) running.signal('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A TCP port that nobody uses at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
