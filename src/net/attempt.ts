/**
 * Room `net`: one try to connect to one address. It owns the socket until it succeeds and is handed to the connection.
 *
 * A newcomer would get wrong: a Unix connect whose listener's queue is full fails at once with EAGAIN and no event ever
 * comes; it has to be tried again after a pause.
 */
import type { Handle, Sink } from '../engine/engine.ts';
import * as loop from '../engine/loop.ts';
import { encodeAddress, type SocketAddress } from '../kernel/address.ts';
import * as constants from '../kernel/constants.ts';
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import { addressOf, call, SYS } from '../kernel/syscall.ts';
import type { Connection } from './connection.ts';
import * as options from './options.ts';
import type { Runtime } from './runtime.ts';
import { applyStreamOptions, type StreamSocketOptions } from './stream-options.ts';
import type { Timed } from './timers.ts';

export interface SocketSettings extends StreamSocketOptions {
  /** Bind to this local address first. */
  readonly local?: { readonly address?: string; readonly port?: number };
}

export interface AttemptOwner {
  attemptSucceeded(attempt: Attempt): void;
  attemptFailed(attempt: Attempt, error: Error): void;
  /** The time given to `start` or `wait` has passed without an answer. */
  attemptSlow(attempt: Attempt): void;
}

const RETRY_FIRST_MS = 1;
const RETRY_MAX_MS = 50;

export class Attempt implements Sink, Timed {
  readonly address: SocketAddress;
  private readonly runtime: Runtime;
  private readonly owner: AttemptOwner;
  private readonly settings: SocketSettings;
  private readonly encoded = new Uint8Array(new ArrayBuffer(128));
  private length = 0;
  private descriptor = -1;
  private handle: Handle = -1;
  private over = false;
  private referenced: boolean;
  /** Pause before the next try of a Unix connect; 0 while an answer is awaited. */
  private retryMs = 0;
  private untilMs = Number.POSITIVE_INFINITY;

  constructor(
    runtime: Runtime,
    owner: AttemptOwner,
    address: SocketAddress,
    settings: SocketSettings,
    referenced: boolean,
  ) {
    this.referenced = referenced;
    this.runtime = runtime;
    this.owner = owner;
    this.address = address;
    this.settings = settings;
  }

  /** Begins; every outcome, one known at once included, is told in a later turn. */
  start(patienceMs: number): void {
    try {
      this.length = encodeAddress(this.address, this.encoded, 0);
      this.handle = this.open();
    } catch (error) {
      this.failLater(error as Error);
      return;
    }
    if (this.referenced) loop.reference();
    this.wait(patienceMs);
    this.runtime.engine.connect(this.handle, addressOf(this.encoded), this.length);
  }

  /** A socket with its options set and bound, under the engine's care. */
  private open(): Handle {
    const family = { ipv4: constants.AF_INET, ipv6: constants.AF_INET6, unix: constants.AF_UNIX }[this.address.family];
    const type = constants.SOCK_STREAM | constants.SOCK_CLOEXEC | constants.SOCK_NONBLOCK;
    const descriptor = call(SYS.socket, family, type, 0);
    if (descriptor < 0) throw new KernelError('socket', descriptor, this.details());
    this.descriptor = descriptor;
    try {
      this.prepare();
      const handle = this.runtime.engine.attach(descriptor, this);
      if (handle < 0) throw new KernelError('attach', handle, this.details());
      return handle;
    } catch (error) {
      call(SYS.close, descriptor);
      throw error;
    }
  }

  private prepare(): void {
    applyStreamOptions(this.descriptor, this.address.family, this.settings);
    if (this.address.family === 'unix') return;
    const local = this.settings.local;
    if (local === undefined) return;
    const any = this.address.family === 'ipv4' ? '0.0.0.0' : '::';
    const own: SocketAddress = { family: this.address.family, address: local.address ?? any, port: local.port ?? 0 };
    const placed = options.placeAddress(own);
    const bound = call(SYS.bind, this.descriptor, placed.address, placed.length);
    if (bound < 0) throw new KernelError('bind', bound, { object: options.describe(own) });
  }

  /** Tells the owner when `patienceMs` pass without an answer; Infinity for never. */
  wait(patienceMs: number): void {
    this.untilMs = performance.now() + patienceMs;
    // A pause between two tries ends soon and looks at the time itself.
    if (this.handle < 0 || this.retryMs > 0) return;
    if (patienceMs < Number.POSITIVE_INFINITY) this.runtime.timers.set(this.handle, this, patienceMs, false);
    else this.runtime.timers.clear(this.handle);
  }

  timeUp(): void {
    if (this.over) return;
    if (this.retryMs > 0 && performance.now() < this.untilMs) {
      this.runtime.engine.connect(this.handle, addressOf(this.encoded), this.length);
      return;
    }
    this.owner.attemptSlow(this);
  }

  connected(result: number): void {
    if (this.over) return;
    if (result === -ERRNO.EAGAIN && this.address.family === 'unix') {
      this.retryMs = Math.min(Math.max(this.retryMs * 2, RETRY_FIRST_MS), RETRY_MAX_MS);
      const pauseMs = Math.max(Math.min(this.retryMs, this.untilMs - performance.now()), 0.001);
      this.runtime.timers.set(this.handle, this, pauseMs, false);
      return;
    }
    // A retry onto an ephemeral port can meet itself (simultaneous open with its own port): nobody listens there.
    const failure = result < 0 ? result : this.metItself() ? -ERRNO.ECONNREFUSED : 0;
    if (failure === 0) {
      this.over = true;
      this.runtime.timers.clear(this.handle);
      this.owner.attemptSucceeded(this);
      return;
    }
    const error = new KernelError('connect', failure, this.details());
    this.abandon();
    this.owner.attemptFailed(this, error);
  }

  private metItself(): boolean {
    if (this.address.family === 'unix') return false;
    const own = options.ownAddress(this.descriptor);
    if (own === null || own.family === 'unix' || own.port !== this.address.port) return false;
    const peer = options.peerAddress(this.descriptor);
    return peer !== null && peer.family !== 'unix' && peer.port === own.port && peer.address === own.address;
  }

  /** Gives the open socket to the connection. */
  handOver(connection: Connection): void {
    connection.takeOver(this.handle);
  }

  /** Ends it without telling the owner. */
  abandon(): void {
    if (this.over || this.handle < 0) {
      this.over = true;
      return;
    }
    this.over = true;
    this.runtime.timers.clear(this.handle);
    this.runtime.engine.close(this.handle);
  }

  closed(): void {
    if (this.referenced) loop.unreference();
  }

  /** Whether it keeps the process running. */
  refer(on: boolean): void {
    if (this.handle >= 0 && on !== this.referenced) {
      if (on) loop.reference();
      else loop.unreference();
    }
    this.referenced = on;
  }

  private failLater(error: Error): void {
    queueMicrotask(() => {
      if (this.over) return;
      this.over = true;
      this.owner.attemptFailed(this, error);
    });
  }

  private details(): { object: string; address?: string; port?: number; localAddress?: string; localPort?: number } {
    const object = options.describe(this.address);
    if (this.address.family === 'unix') return { object, address: this.address.path };
    const own = options.ownAddress(this.descriptor);
    const local = own !== null && own.family !== 'unix' ? { localAddress: own.address, localPort: own.port } : {};
    return { object, address: this.address.address, port: this.address.port, ...local };
  }

  // Sink methods of other sockets.
  accepted(): void {}
  acceptFailed(): void {}
  received(): number {
    return 0;
  }
  receiveEnded(): void {}
  sent(): number {
    return 0;
  }
  polled(): void {}
  message(): void {}
}
