/**
 * Room `net`: one stream connection (TCP or Unix), accepted or made by `connect`. Written once over any engine: it is the
 * engine's sink for its handle. The sending half is `outgoing.ts`.
 *
 * A newcomer would get wrong: `data` chunks are views of the engine's memory, valid during the call. Copy what you keep.
 */
import { RECEIVED_DONE, RECEIVED_QUIET, type Sink } from '../engine/engine.ts';
import * as loop from '../engine/loop.ts';
import type { SocketAddress } from '../kernel/address.ts';
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import type { ConnectionContext } from './context.ts';
import { replaceMethods } from './handlers.ts';
import { iterate } from './iterate.ts';
import * as options from './options.ts';
import { closeAll, Passing } from './passing.ts';
import * as states from './states.ts';
import { StreamSocket } from './stream-socket.ts';
import type { Timed } from './timers.ts';

/**
 * What a program wants to hear of a connection. Every method is optional. A method that throws ends in 'uncaughtException';
 * the other connections go on.
 */
export interface ConnectionHandler<Data = unknown> {
  /** The connection is there. When this throws, the connection is destroyed with the error. */
  open?(connection: Connection<Data>): void;
  /** Bytes arrived: a view that is valid during this call. */
  data?(connection: Connection<Data>, chunk: Uint8Array): void;
  /**
   * The same without an object for each event, in place of `data`: bytes [start, end) of `memory`. Answers the bits of
   * `Sink.received`: RECEIVED_KEEP to own the block until `writeBlock` or `releaseBlock`, RECEIVED_QUIET when nothing ran
   * that could have queued a promise or a tick.
   */
  receive?(connection: Connection<Data>, memory: Uint8Array, start: number, end: number): number;
  /** With the option `descriptors`: they came with the chunk that `data` gets next. They are close-on-exec, and yours to close. */
  passed?(connection: Connection<Data>, descriptors: readonly number[]): void;
  /** The peer ended its side. Without `halfOpen`, ours ends by itself once what was written has left. */
  end?(connection: Connection<Data>): void;
  /** After a `write` returned false: what waits fell to the low mark. Answering `true` says that no foreign code ran. */
  drain?(connection: Connection<Data>): boolean | void;
  /** The time of `setTimeout` or `setDeadline` is up. Without this method the connection is destroyed. */
  timeout?(connection: Connection<Data>): void;
  /** It failed; `close` follows. */
  error?(connection: Connection<Data>, error: Error): void;
  /** It is gone. Always the last call, exactly once. */
  close?(connection: Connection<Data>): void;
}

/** After an answer to a peer that still sends: how much, and how long, is read and thrown away before closing. */
const LINGER_BYTES_MAX = 1 << 20;
const LINGER_MS_MAX = 2000;
const SHUT_WR = 1;
const DONE = states.CLOSING | states.CLOSED;

export class Connection<Data = unknown> extends StreamSocket implements Sink, Timed {
  /** Who hears of this connection; may be replaced at any time (an upgrade). */
  handler: ConnectionHandler<Data>;
  /** The program's own. */
  data: Data | undefined = undefined;
  /** Bytes received so far. */
  bytesRead = 0;
  protected failure: Error | null = null;
  private lingered = 0;
  private peer: SocketAddress | null = null;
  private passing: Passing | null = null;

  /** @internal Made by `listen`, `connect` and `adopt`. */
  constructor(context: ConnectionContext, handler: ConnectionHandler<Data>) {
    super(context);
    this.handler = handler;
    this.state = (context.halfOpen ? states.HALF_OPEN : 0) | (context.paused ? 0 : states.READING);
  }

  /** @internal Takes a connected descriptor under the engine's care. A refusal is the answer, negative. */
  begin(descriptor: number): number {
    const handle = this.attach(descriptor);
    if (handle < 0) return handle;
    this.opened();
    return handle;
  }

  /** @internal */
  attach(descriptor: number): number {
    const handle = this.context.runtime.engine.attach(descriptor, this);
    if (handle < 0) return handle;
    this.own(handle);
    if ((this.state & states.UNREFERENCED) === 0) loop.reference();
    return handle;
  }

  /** @internal Takes a handle over from the attempt that connected it, with its reference on the loop. */
  takeOver(handle: number): void {
    this.context.runtime.engine.setSink(handle, this);
    this.own(handle);
  }

  private own(handle: number): void {
    this.handle = handle;
    this.state |= states.ATTACHED;
    this.context.runtime.connections[handle] = this as Connection;
  }

  /** @internal */
  opened(): void {
    this.state = (this.state | states.OPEN) & ~states.CONNECTING;
    try {
      this.handler.open?.(this);
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    if ((this.state & DONE) !== 0) return;
    if (this.context.descriptors && options.familyOf(this.descriptor) === 'unix') this.passing = new Passing(this);
    if ((this.state & states.READING) !== 0) this.startReceiving();
    this.flushSoon();
  }

  // Reading.

  received(start: number, end: number): number {
    const context = this.context;
    this.bytesRead += end - start;
    context.runtime.timers.touch(this.handle);
    if ((this.state & states.LINGERING) !== 0) return this.discardReceived(end - start);
    const handler = this.handler;
    const memory = context.runtime.engine.memory;
    if (handler.receive !== undefined) return handler.receive(this, memory, start, end);
    if (handler.data === undefined) return RECEIVED_QUIET;
    if (!context.debug) {
      handler.data(this, memory.subarray(start, end));
      return RECEIVED_DONE;
    }
    const chunk = memory.slice(start, end);
    try {
      handler.data(this, chunk);
    } finally {
      // A view that was kept past the call shows itself at once.
      chunk.fill(0xdb);
    }
    return RECEIVED_DONE;
  }

  private discardReceived(length: number): number {
    this.lingered += length;
    if (this.lingered > LINGER_BYTES_MAX) this.destroy();
    return RECEIVED_QUIET;
  }

  receiveEnded(result: number): void {
    this.state &= ~states.READING;
    if (result < 0) {
      this.failed(new KernelError('read', result, { object: this.describe() }));
      return;
    }
    this.state |= states.PEER_ENDED;
    try {
      if ((this.state & states.LINGERING) === 0) this.handler.end?.(this);
    } finally {
      if ((this.state & (states.WRITE_SHUT | DONE)) === states.WRITE_SHUT) this.destroy();
      else if ((this.state & (states.HALF_OPEN | DONE)) === 0) this.end();
    }
  }

  get paused(): boolean {
    return (this.state & states.READING) === 0;
  }

  /** No `data` or `end` until {@link Connection.resume}; bytes stay with the kernel, so the peer is slowed down. */
  pause(): void {
    if ((this.state & (states.READING | DONE)) !== states.READING) return;
    this.state &= ~states.READING;
    if ((this.state & states.OPEN) === 0) return;
    if (this.passing === null) this.context.runtime.engine.receiveStop(this.handle);
    else this.context.runtime.engine.messagesStop(this.handle);
  }

  /** Goes on reading. What had arrived comes first and in order, in a later turn. */
  resume(): void {
    if ((this.state & (states.READING | states.PEER_ENDED | DONE)) !== 0) return;
    this.state |= states.READING;
    if ((this.state & states.OPEN) !== 0) this.startReceiving();
  }

  private startReceiving(): void {
    const { engine } = this.context.runtime;
    if (this.passing === null) {
      engine.receiveStart(this.handle);
      return;
    }
    if (!this.passing.isEmpty) engine.defer(this.passing);
    engine.messagesStart(this.handle);
  }

  passed(descriptor: number): void {
    if (this.passing === null) closeAll([descriptor]);
    else this.passing.passed(descriptor);
  }

  message(_nameStart: number, _nameEnd: number, start: number, end: number): void {
    const { engine } = this.context.runtime;
    // The end of a stream is a message of no bytes, and would be told again and again.
    if (start === end) engine.messagesStop(this.handle);
    if ((this.state & DONE) === 0) this.passing?.message(engine.memory.subarray(start, end));
  }

  /** @internal */
  deliverPassed(chunk: Uint8Array, descriptors: readonly number[]): void {
    this.bytesRead += chunk.length;
    this.context.runtime.timers.touch(this.handle);
    const handler = this.handler;
    const lingering = (this.state & states.LINGERING) !== 0;
    if (descriptors.length > 0) {
      if (lingering || handler.passed === undefined) closeAll(descriptors);
      else handler.passed(this, descriptors);
    }
    if (lingering) this.discardReceived(chunk.length);
    else if ((this.state & DONE) === 0) handler.data?.(this, chunk);
  }

  // Ending.

  /** Ends our side once everything written, and `chunk`, has left; the peer's bytes go on arriving. */
  end(chunk?: Uint8Array | string, callback?: (error: Error | null) => void): void {
    if (chunk !== undefined || callback !== undefined) this.write(chunk ?? '', callback);
    if (!this.writable) return;
    this.state |= states.ENDING;
    this.flushSoon();
  }

  protected flushed(): void {
    this.state |= states.WRITE_SHUT;
    if ((this.state & states.PEER_ENDED) !== 0) {
      this.destroy();
      return;
    }
    this.context.runtime.engine.shutdown(this.handle, SHUT_WR);
    if ((this.state & states.CLOSE_ASKED) !== 0) this.linger();
  }

  /** The answer would be lost if unread bytes made the kernel reset the connection (RFC 9112 section 9.6): reads first. */
  private linger(): void {
    this.state |= states.LINGERING;
    this.resume();
    this.context.runtime.timers.set(this.handle, this, LINGER_MS_MAX, false);
  }

  /**
   * Closes in good order: what was written is delivered, then our side ends, then up to 1 MB or 2 s of what the peer still
   * sends is thrown away, so that it reads our last bytes instead of a reset.
   */
  close(): void {
    if ((this.state & (DONE | states.CLOSE_ASKED)) !== 0) return;
    if ((this.state & states.CONNECTING) !== 0) {
      this.destroy();
      return;
    }
    this.state |= states.CLOSE_ASKED;
    if ((this.state & states.WRITE_SHUT) !== 0) this.linger();
    else this.end();
  }

  /** Closes at once; what waits to be sent fails with ECANCELED. `error` reaches the handler's `error` first. */
  destroy(error?: Error): void {
    if ((this.state & DONE) !== 0) return;
    this.state |= states.CLOSING;
    this.failure = error ?? null;
    this.context.runtime.timers.clear(this.handle);
    if ((this.state & states.ATTACHED) !== 0) {
      if (this.peer === null) this.peer = options.peerAddress(this.descriptor);
      // Closed behind our back: the number may have a new owner already, who must not lose it.
      const lost = error instanceof KernelError && error.errno === -ERRNO.EBADF;
      this.context.runtime.engine.close(this.handle, lost);
    } else {
      queueMicrotask(() => this.closed());
    }
  }

  /** Resets the connection: the peer reads ECONNRESET, nothing more is delivered. */
  reset(): void {
    if ((this.state & DONE) !== 0) return;
    if ((this.state & states.ATTACHED) !== 0) options.setLinger(this.descriptor, 0);
    this.destroy();
  }

  protected failed(error: Error): void {
    this.destroy(error);
  }

  closed(): void {
    if ((this.state & states.ATTACHED) !== 0) {
      this.context.runtime.connections[this.handle] = null;
      if ((this.state & states.UNREFERENCED) === 0) loop.unreference();
    }
    this.state = (this.state | states.CLOSED) & ~(states.ATTACHED | states.OPEN | states.READING);
    this.handle = -1;
    this.discard();
    this.passing?.dispose();
    const failure = this.failure;
    try {
      if (failure !== null) this.handler.error?.(this, failure);
    } finally {
      this.cancelWrites(failure);
      try {
        this.handler.close?.(this);
      } finally {
        this.context.closed();
      }
    }
  }

  // Timeouts.

  /**
   * Calls the handler's `timeout` when nothing was received or sent for `timeoutMs` (0: never). Setting it again replaces it.
   * @throws RangeError for negative, NaN or infinite values; TypeError for anything but a number
   */
  setTimeout(timeoutMs: number): void {
    this.startTimer(timeoutMs, true);
  }

  /** Calls the handler's `timeout` in `timeoutMs` from now, whatever happens until then (0: never). Replaces `setTimeout`. */
  setDeadline(timeoutMs: number): void {
    this.startTimer(timeoutMs, false);
  }

  protected startTimer(timeoutMs: number, extend: boolean): void {
    if (typeof timeoutMs !== 'number') throw new TypeError('a timeout is a number of milliseconds');
    if (!(timeoutMs >= 0 && timeoutMs < Number.POSITIVE_INFINITY)) {
      throw new RangeError(`timeout is ${timeoutMs}: 0 (none) or more milliseconds are allowed`);
    }
    if ((this.state & DONE) !== 0 || (this.state & states.ATTACHED) === 0) return;
    if (timeoutMs === 0) this.context.runtime.timers.clear(this.handle);
    else this.context.runtime.timers.set(this.handle, this, timeoutMs, extend);
  }

  timeUp(): void {
    if ((this.state & DONE) !== 0) return;
    if ((this.state & states.LINGERING) !== 0) this.destroy();
    else if (this.handler.timeout !== undefined) this.handler.timeout(this);
    else this.destroy();
  }

  protected drained(): boolean {
    return this.handler.drain === undefined || this.handler.drain(this) === true;
  }

  // About it.

  /** The peer's address; null before the connection is made or when the peer has none; still known after close. */
  get remoteAddress(): SocketAddress | null {
    if (this.peer === null && (this.state & states.OPEN) !== 0) this.peer = options.peerAddress(this.descriptor);
    return this.peer;
  }

  protected describe(): string {
    const remote = this.remoteAddress;
    if (remote !== null) return options.describe(remote);
    // A reset takes the peer's name away (ENOTCONN); a Unix client seldom has one.
    const local = this.localAddress;
    return local === null ? options.describe(null) : `the peer of ${options.describe(local)}`;
  }

  /**
   * The bytes as copies that may be kept, with backpressure: reading pauses while the loop's body works. Leaving the loop
   * early destroys the connection. Replaces the handler.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
    return iterate(this as Connection);
  }

  /** Closes in good order ({@link Connection.close}) and resolves when the connection is gone. */
  [Symbol.asyncDispose](): Promise<void> {
    if ((this.state & states.CLOSED) !== 0) return Promise.resolve();
    return new Promise((resolve) => {
      const handler = this.handler;
      this.handler = replaceMethods(handler, {
        close(connection) {
          resolve();
          handler.close?.(connection);
        },
      });
      this.close();
    });
  }

  // Sink methods of other sockets.
  accepted(): void {}
  acceptFailed(): void {}
  polled(): void {}

  connected(_result: number): void {}
}
