/**
 * Room `cli`: signals, from before the gateway starts until it has ended. SIGHUP reloads; the first SIGTERM or SIGINT ends in
 * good order, a second one at once.
 *
 * A newcomer would get wrong: a signal may come at any moment. One before the gateway is ready finds nothing to complete and
 * ends at once; a SIGHUP then waits; reloads come one after another, and the end after the last of them.
 */
const SIGNAL_NUMBERS = { SIGINT: 2, SIGTERM: 15 } as const;

export interface LifetimeActions {
  /** Never rejects: what goes wrong is reported by it. */
  reload(): Promise<void>;
  /** Completes what is under way. */
  end(signal: string): Promise<void>;
}

export class Lifetime {
  #actions: LifetimeActions | null = null;
  #ending = false;
  readonly #ready = Promise.withResolvers<LifetimeActions>();
  #reloading: Promise<void> = Promise.resolve();
  #reloadWaits = false;

  constructor() {
    process.on('SIGHUP', () => this.#hangUp());
    process.on('SIGINT', () => void this.#end('SIGINT'));
    process.on('SIGTERM', () => void this.#end('SIGTERM'));
    // A reader of our output that went away (`millrace up | head -1`) is no reason to stop serving.
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  }

  /** The gateway runs: signals have something to act on. */
  started(actions: LifetimeActions): void {
    this.#actions = actions;
    this.#ready.resolve(actions);
  }

  /** Many signals while one reload is under way ask for one further reload, not for many. */
  #hangUp(): void {
    if (this.#ending || this.#reloadWaits) return;
    this.#reloadWaits = true;
    this.#reloading = Promise.all([this.#ready.promise, this.#reloading]).then(([actions]) => {
      this.#reloadWaits = false;
      return this.#ending ? undefined : actions.reload();
    });
  }

  async #end(signal: keyof typeof SIGNAL_NUMBERS): Promise<void> {
    if (this.#ending || this.#actions === null) process.exit(128 + SIGNAL_NUMBERS[signal]);
    this.#ending = true;
    try {
      await this.#reloading;
      await this.#actions.end(signal);
      process.exit(0);
    } catch (error) {
      process.stderr.write(`millrace: ${(error as Error).message}\n`);
      process.exit(1);
    }
  }
}
