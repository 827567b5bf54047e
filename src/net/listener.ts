/**
 * Room `net`: a listening socket, TCP or Unix. It accepts as fast as the engine delivers and hands each connection to the
 * handler; when descriptors run out it rests for a moment instead of spinning.
 *
 * A newcomer would get wrong: socket options that connections inherit (no-delay, keep-alive, buffer sizes) are set once on the
 * listener, which costs an accepted connection no system call.
 */
import type { Sink } from '../engine/engine.ts';
import * as loop from '../engine/loop.ts';
import type { SocketAddress } from '../kernel/address.ts';
import * as constants from '../kernel/constants.ts';
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import { call, SYS } from '../kernel/syscall.ts';
import { Connection, type ConnectionHandler } from './connection.ts';
import { type ConnectionContext, type ConnectionOptions, contextOf } from './context.ts';
import { OpenConnections } from './open-connections.ts';
import * as options from './options.ts';
import type { Runtime } from './runtime.ts';
import type { Timed } from './timers.ts';
import type { OwnedPath } from './unix-path.ts';

export interface ListenerEvents {
  /** A client was turned away because `connectionsMax` was reached; its descriptor is closed already. */
  dropped?(addresses: { readonly local: SocketAddress | null; readonly remote: SocketAddress | null }): void;
  /** Accepting failed for want of descriptors or memory; it is tried again after a rest. Told once until it works again. */
  exhausted?(result: number): void;
}

export interface ListenerOptions extends ConnectionOptions {
  /** Connections open at once; further clients are closed at once. Default without bound. */
  readonly connectionsMax?: number;
  readonly events?: ListenerEvents;
  /** Closes the listener; aborted before it listens, `listen` rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** How long accepting rests after EMFILE and kin. Its kernel queue keeps the clients meanwhile. */
const REST_MS = 50;
/** Bound on the clients that a closing listener still takes from its queue; a backlog is seldom longer. */
const QUEUE_MAX = 65536;

export class Listener<Data = unknown> implements Sink, Timed {
  /** Connections accepted so far. */
  accepts = 0;
  /** Connections open now: `size`, and each by iterating. */
  readonly connections: OpenConnections<Data>;
  connectionsMax: number;
  private readonly context: ConnectionContext;
  private readonly handler: ConnectionHandler<Data>;
  private readonly events: ListenerEvents;
  private handle: number;
  private bound: SocketAddress | null;
  private readonly path: OwnedPath | null;
  private closing = false;
  /** Closing, but clients in the kernel's queue are still served. */
  private draining = false;
  private resting = false;
  private referenced = true;
  private readonly waiters: (() => void)[] = [];
  private readonly runtime: Runtime;
  private readonly signal: AbortSignal | undefined;
  private readonly onAbort = (): void => void this.close();

  /**
   * @internal Made by `listen` and `adopt`.
   * @throws KernelError where the engine refuses the socket, RangeError for water marks; the descriptor stays the caller's
   */
  constructor(
    runtime: Runtime,
    descriptor: number,
    handler: ConnectionHandler<Data>,
    given: ListenerOptions,
    path: OwnedPath | null,
  ) {
    this.runtime = runtime;
    this.handler = handler;
    this.events = given.events ?? {};
    this.connectionsMax = given.connectionsMax ?? Number.POSITIVE_INFINITY;
    this.context = contextOf(runtime, given, () => this.gone());
    this.connections = new OpenConnections(this.context);
    this.bound = options.ownAddress(descriptor);
    this.path = path;
    this.handle = runtime.engine.attach(descriptor, this);
    if (this.handle < 0) throw new KernelError('attach', this.handle, { object: options.describe(this.bound) });
    this.signal = given.signal;
    this.signal?.addEventListener('abort', this.onAbort, { once: true });
    loop.reference();
    runtime.engine.acceptStart(this.handle);
  }

  /** The engine that serves this listener: its name and why it was chosen. */
  get engine(): { readonly name: string; readonly reason: string } {
    return this.runtime.engine;
  }

  /** Where it listens; null once closed. */
  get address(): SocketAddress | null {
    return this.closing ? null : this.bound;
  }

  /** The TCP port; 0 for a Unix socket. */
  get port(): number {
    return this.bound === null || this.bound.family === 'unix' ? 0 : this.bound.port;
  }

  get listening(): boolean {
    return !this.closing;
  }

  accepted(descriptor: number): void {
    this.resting = false;
    if (this.closing && !this.draining) {
      call(SYS.close, descriptor);
      return;
    }
    if (this.connections.size >= this.connectionsMax) {
      const addresses = { local: options.ownAddress(descriptor), remote: options.peerAddress(descriptor) };
      call(SYS.close, descriptor);
      this.events.dropped?.(addresses);
      return;
    }
    this.accepts++;
    const connection = new Connection<Data>(this.context, this.handler);
    if (connection.attach(descriptor) < 0) {
      call(SYS.close, descriptor);
      return;
    }
    this.connections.size++;
    connection.opened();
  }

  acceptFailed(result: number): void {
    if (this.closing) return;
    if (!this.resting) this.events.exhausted?.(result);
    this.resting = true;
    this.runtime.timers.set(this.handle, this, REST_MS, false);
  }

  timeUp(): void {
    if (!this.closing) this.runtime.engine.acceptStart(this.handle);
  }

  private gone(): void {
    this.connections.size--;
    this.settle();
  }

  /**
   * Stops accepting; new clients are refused from now on. Resolves when the connections accepted before have ended too. Where
   * the port is shared, clients that the kernel has queued for this listener are served first: it would reset them, although
   * another listener goes on (unless net.ipv4.tcp_migrate_req is set).
   */
  close(): Promise<void> {
    if (!this.closing) {
      this.closing = true;
      this.signal?.removeEventListener('abort', this.onAbort);
      this.runtime.timers.clear(this.handle);
      this.path?.remove();
      const { engine } = this.runtime;
      const shared = options.getInteger(engine.descriptorOf(this.handle), constants.SOL_SOCKET, constants.SO_REUSEPORT);
      this.draining = shared > 0;
      // At the end of the turn, because from the look into the queue to the close nothing else may take time.
      if (this.draining) engine.defer({ run: () => this.closeDrained() });
      else engine.close(this.handle);
    }
    return new Promise((resolve) => {
      this.waiters.push(resolve);
      this.settle();
    });
  }

  private closeDrained(): boolean {
    const { engine } = this.runtime;
    const descriptor = engine.descriptorOf(this.handle);
    for (let count = 0; count < QUEUE_MAX; count++) {
      const result = call(SYS.accept4, descriptor, 0, 0, constants.SOCK_NONBLOCK | constants.SOCK_CLOEXEC);
      if (result >= 0) this.accepted(result);
      else if (result === -ERRNO.EAGAIN || result === -ERRNO.EMFILE || result === -ERRNO.ENFILE) break;
    }
    this.draining = false;
    engine.close(this.handle);
    return true;
  }

  /** Closes it and resets its connections. */
  abort(): Promise<void> {
    for (const connection of this.connections) connection.reset();
    return this.close();
  }

  closed(): void {
    this.handle = -1;
    if (this.referenced) loop.unreference();
    this.settle();
  }

  private settle(): void {
    if (!this.closing || this.handle >= 0 || this.connections.size > 0) return;
    for (const resolve of this.waiters.splice(0)) resolve();
  }

  unref(): this {
    if (this.referenced && this.handle >= 0) loop.unreference();
    this.referenced = false;
    return this;
  }

  ref(): this {
    if (!this.referenced && this.handle >= 0) loop.reference();
    this.referenced = true;
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.connections) connection.close();
    await this.close();
  }

  // Sink methods of other sockets.
  received(): number {
    return 0;
  }
  receiveEnded(): void {}
  sent(): number {
    return 0;
  }
  connected(): void {}
  polled(): void {}
  message(): void {}
}
