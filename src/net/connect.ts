/**
 * Room `net`: making a connection. Every address of a name is tried: the next one when the one before failed or has not
 * answered for a while (RFC 8305); the first to answer wins, the others are closed.
 *
 * A newcomer would get wrong: the connection exists at once and takes writes, which leave when it is open; the kernel's
 * answer arrives in a later turn, also when it is known at once.
 */
import { ADDRESS_BYTES_MAX, encodeAddress, type SocketAddress } from '../kernel/address.ts';
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import { Attempt, type AttemptOwner, type SocketSettings } from './attempt.ts';
import { Connection, type ConnectionHandler } from './connection.ts';
import { type ConnectionOptions, contextOf } from './context.ts';
import * as options from './options.ts';
import { runtime } from './runtime.ts';
import * as states from './states.ts';
import { type Target, targetAddresses } from './target.ts';

export interface ConnectOptions extends ConnectionOptions, SocketSettings {
  /** How long all attempts together may take, in ms. Default: the kernel's patience (about two minutes). */
  readonly timeoutMs?: number;
  /** Ends the attempt, or the connection later, with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** RFC 8305 section 5: how long an attempt is alone before the next address is tried beside it. */
const STAGGER_MS = 250;

/** A connection made by {@link connect}. */
export class ClientConnection<Data = unknown> extends Connection<Data> implements AttemptOwner {
  private readonly settings: ConnectOptions;
  private deadlineMs: number;
  private candidates: SocketAddress[] = [];
  private readonly attempts = new Set<Attempt>();
  private readonly errors: Error[] = [];
  private waiting: { resolve(connection: ClientConnection<Data>): void; reject(error: Error): void }[] = [];
  private readonly onAbort: (() => void) | null;
  /** A timeout that was set before there was a socket: its time, and whether activity extends it. */
  private idleMs = 0;
  private idleExtends = false;
  /** Options set before there was a socket. */
  private early: ((descriptor: number) => void)[] = [];

  /** @internal */
  constructor(handler: ConnectionHandler<Data>, given: ConnectOptions) {
    super(
      contextOf(runtime(), given, () => this.forget()),
      handler,
    );
    this.settings = given;
    this.state |= states.CONNECTING;
    this.deadlineMs = performance.now() + (given.timeoutMs ?? Number.POSITIVE_INFINITY);
    const signal = given.signal;
    this.onAbort = signal === undefined ? null : () => this.destroy(signal.reason as Error);
    if (this.onAbort !== null) signal!.addEventListener('abort', this.onAbort, { once: true });
  }

  /** Resolves when the connection is open; rejects with the error when it will not be. */
  opening(): Promise<ClientConnection<Data>> {
    if ((this.state & states.OPEN) !== 0) return Promise.resolve(this);
    if (this.destroyed) return Promise.reject(this.failure ?? new KernelError('connect', ERRNO.ECANCELED));
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  /** @internal */
  async dial(target: Target): Promise<void> {
    try {
      this.candidates = await targetAddresses(target, 'localhost');
    } catch (error) {
      this.destroy(error as Error);
      return;
    }
    this.startNext();
  }

  /** @internal Begins at once with addresses that need no look-up. */
  startWith(addresses: readonly SocketAddress[]): void {
    this.candidates = [...addresses];
    this.startNext();
  }

  private startNext(): void {
    if (this.destroyed || (this.state & states.OPEN) !== 0) return;
    const address = this.candidates.shift();
    if (address === undefined) {
      if (this.attempts.size === 0) this.giveUp();
      return;
    }
    const remainingMs = this.deadlineMs - performance.now();
    const patienceMs = this.candidates.length > 0 ? Math.min(STAGGER_MS, remainingMs) : remainingMs;
    const attempt = new Attempt(this.context.runtime, this, address, this.settings, !this.isUnreferenced);
    this.attempts.add(attempt);
    attempt.start(Math.max(patienceMs, 0.001));
  }

  private giveUp(): void {
    const [first] = this.errors;
    if (this.errors.length === 1) this.destroy(first);
    else
      this.destroy(
        new AggregateError(this.errors, `no address answered: ${this.errors.map((error) => error.message).join('; ')}`),
      );
  }

  /** @internal */
  attemptSucceeded(attempt: Attempt): void {
    this.attempts.delete(attempt);
    this.abandon();
    attempt.handOver(this as unknown as Connection);
    try {
      for (const set of this.early.splice(0)) set(this.descriptor);
    } catch (error) {
      this.destroy(error as Error);
      return;
    }
    if (this.idleMs > 0) this.startTimer(this.idleMs, this.idleExtends);
    this.opened();
    const waiting = this.waiting;
    this.waiting = [];
    for (const { resolve } of waiting) resolve(this);
  }

  /** @internal */
  attemptFailed(attempt: Attempt, error: Error): void {
    this.attempts.delete(attempt);
    this.errors.push(error);
    this.startNext();
  }

  /** @internal */
  attemptSlow(attempt: Attempt): void {
    if (performance.now() < this.deadlineMs && this.candidates.length > 0) {
      this.startNext();
      const remainingMs = this.deadlineMs - performance.now();
      if (remainingMs < Number.POSITIVE_INFINITY) attempt.wait(Math.max(remainingMs, 0.001));
      return;
    }
    if (performance.now() < this.deadlineMs) return;
    const object = options.describe(attempt.address);
    this.destroy(new KernelError('connect', ERRNO.ETIMEDOUT, { object, ...options.portDetails(attempt.address) }));
  }

  /**
   * Gives all attempts together this many ms from now (Infinity: the kernel's patience), in place of `timeoutMs`. Once the
   * connection is open it does nothing.
   */
  setConnectTimeout(timeoutMs: number): void {
    if (!(timeoutMs > 0)) throw new RangeError(`timeout is ${timeoutMs}: more than 0 milliseconds are allowed`);
    if ((this.state & states.CONNECTING) === 0 || this.destroyed) return;
    this.deadlineMs = performance.now() + timeoutMs;
    const patienceMs = this.candidates.length > 0 ? Math.min(STAGGER_MS, timeoutMs) : timeoutMs;
    for (const attempt of this.attempts) attempt.wait(patienceMs);
  }

  protected override startTimer(timeoutMs: number, extend: boolean): void {
    super.startTimer(timeoutMs, extend);
    this.idleMs = timeoutMs;
    this.idleExtends = extend;
  }

  protected override setOption(set: (descriptor: number) => void): this {
    if ((this.state & states.CONNECTING) === 0) return super.setOption(set);
    this.early.push(set);
    return this;
  }

  override ref(): this {
    for (const attempt of this.attempts) attempt.refer(true);
    return super.ref();
  }

  override unref(): this {
    for (const attempt of this.attempts) attempt.refer(false);
    return super.unref();
  }

  private get isUnreferenced(): boolean {
    return (this.state & states.UNREFERENCED) !== 0;
  }

  private forget(): void {
    if (this.onAbort !== null) this.settings.signal!.removeEventListener('abort', this.onAbort);
  }

  private abandon(): void {
    for (const attempt of this.attempts) attempt.abandon();
    this.attempts.clear();
    this.candidates = [];
  }

  override destroy(error?: Error): void {
    if (this.destroyed) return;
    this.abandon();
    super.destroy(error);
    const reason = error ?? new KernelError('connect', ERRNO.ECANCELED);
    const waiting = this.waiting;
    this.waiting = [];
    for (const { reject } of waiting) reject(reason);
  }
}

/**
 * Connects to a TCP or Unix address. The connection is returned at once; `handler.open` tells when it is there, or await
 * {@link ClientConnection.opening}.
 *
 * ```ts
 * const connection = connect({ host: '127.0.0.1', port: 7000 });
 * await connection.opening();
 * connection.write('hello');
 * for await (const chunk of connection) console.log(chunk);
 * ```
 * @throws RangeError for a port or path that cannot be; failures to connect reach `handler.error`
 */
export function connect<Data = unknown>(
  target: Target & ConnectOptions,
  handler: ConnectionHandler<Data> = {},
): ClientConnection<Data> {
  if (
    target.path === undefined &&
    (target.port === undefined || !Number.isInteger(target.port) || target.port < 0 || target.port > 65535)
  ) {
    throw new RangeError(`port is ${String(target.port)}: an integer from 0 to 65535 is allowed`);
  }
  if (target.path !== undefined)
    encodeAddress({ family: 'unix', path: target.path }, new Uint8Array(ADDRESS_BYTES_MAX), 0);
  const connection = new ClientConnection<Data>(handler, target);
  if (target.signal?.aborted === true) connection.destroy(target.signal.reason as Error);
  else void connection.dial(target);
  return connection;
}

/** The same for addresses that are known already: no look-up, so the first attempt begins within this call. */
export function connectTo<Data = unknown>(
  addresses: readonly SocketAddress[],
  settings: ConnectOptions,
  handler: ConnectionHandler<Data>,
): ClientConnection<Data> {
  const connection = new ClientConnection<Data>(handler, settings);
  connection.startWith(addresses);
  return connection;
}
