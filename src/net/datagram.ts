/**
 * Room `net`: datagram sockets, UDP and Unix. The receiving side and the life of a socket are here, what waits to be sent is in
 * `datagram-outgoing.ts`.
 *
 * A newcomer would get wrong: a datagram socket outlives its errors. An ICMP message that says "port unreachable" ends a
 * receive with ECONNREFUSED, an empty datagram is a message of length 0; neither ends the socket.
 */
import type { Sink } from '../engine/engine.ts';
import * as loop from '../engine/loop.ts';
import type { SocketAddress } from '../kernel/address.ts';
import * as constants from '../kernel/constants.ts';
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import { shim } from '../kernel/native.ts';
import * as sockets from '../kernel/socket.ts';
import type { DatagramHandler } from './datagram-handler.ts';
import type { SendOptions } from './datagram-limits.ts';
import * as membership from './datagram-options.ts';
import { DatagramOutgoing } from './datagram-outgoing.ts';
import type { UndeliveredDatagram } from './error-queue.ts';
import { Names } from './names.ts';
import * as options from './options.ts';
import { closeAll } from './passing.ts';
import type { Runtime } from './runtime.ts';
import type { OwnedPath } from './unix-path.ts';

/** recvmsg(2), ip(7): errors of one datagram or of the network for a moment. */
const TRANSIENT: ReadonlySet<number> = new Set(
  [
    ERRNO.ECONNREFUSED,
    ERRNO.EHOSTUNREACH,
    ERRNO.ENETUNREACH,
    ERRNO.EHOSTDOWN,
    ERRNO.ENONET,
    ERRNO.ENETDOWN,
    ERRNO.EPROTO,
    ERRNO.ENOPROTOOPT,
    ERRNO.EOPNOTSUPP,
    ERRNO.EACCES,
    ERRNO.EMSGSIZE,
    ERRNO.ECONNRESET,
    ERRNO.ENOBUFS,
    ERRNO.ENOMEM,
  ].map((errno) => -errno),
);

/** No UDP datagram, and no train that GRO makes of several, is longer. */
const MESSAGE_BYTES_MAX = 65536;
const names = new Names();

export class DatagramSocket extends DatagramOutgoing implements Sink {
  /** Who hears of this socket; may be replaced at any time. */
  handler: DatagramHandler;
  /** Datagrams received so far. */
  messagesReceived = 0;
  private bound: SocketAddress | null;
  private readonly path: OwnedPath | null;
  private referenced = true;
  private batched = 0;
  private readonly info = { truncated: false, coalesced: 1, length: 0 };
  protected closing = false;
  private failure: Error | null = null;
  private readonly waiters: (() => void)[] = [];
  private readonly signal: AbortSignal | undefined;
  private readonly onAbort = (): void => void this.close();

  /** @internal Made by `bindDatagrams`. */
  constructor(
    runtime: Runtime,
    descriptor: number,
    handler: DatagramHandler,
    limits: SendOptions,
    path: OwnedPath | null,
    signal: AbortSignal | undefined,
  ) {
    const bound = options.ownAddress(descriptor);
    super(runtime, bound?.family ?? 'unix', limits);
    this.handler = handler;
    this.bound = bound;
    this.path = path;
    this.handle = runtime.engine.attach(descriptor, this);
    if (this.handle < 0) throw new KernelError('attach', this.handle, { object: options.describe(bound) });
    this.signal = signal;
    signal?.addEventListener('abort', this.onAbort, { once: true });
    loop.reference();
    runtime.engine.messagesStart(this.handle);
  }

  // Receiving.

  message(
    nameStart: number,
    nameEnd: number,
    start: number,
    end: number,
    flags: number,
    segmentSize: number,
    length: number,
  ): void {
    if (this.closing) return;
    if (this.batched === 0 && this.handler.drained !== undefined) this.flushSoon();
    if ((flags & constants.MSG_TRUNC) !== 0) {
      // Engines have a few bytes more or fewer of room; a program should not see which engine it runs on.
      this.info.truncated = true;
      this.info.length = length;
      this.info.coalesced = 1;
      this.deliver(nameStart, nameEnd, start, Math.min(end, start + MESSAGE_BYTES_MAX));
      return;
    }
    this.info.truncated = false;
    this.info.length = Math.min(end - start, segmentSize > 0 ? segmentSize : length);
    if (segmentSize <= 0 || end - start <= segmentSize) {
      this.info.coalesced = 1;
      this.deliver(nameStart, nameEnd, start, end);
      return;
    }
    const coalesced = Math.ceil((end - start) / segmentSize);
    for (let at = start; at < end && !this.closing; at += segmentSize) {
      // Set each time: what a handler does may bring another socket's message up, but never this one's.
      this.info.coalesced = coalesced;
      this.info.length = Math.min(segmentSize, end - at);
      try {
        this.deliver(nameStart, nameEnd, at, Math.min(at + segmentSize, end));
      } catch (error) {
        shim.raise(error);
      }
    }
  }

  private deliver(nameStart: number, nameEnd: number, start: number, end: number): void {
    this.messagesReceived++;
    this.batched++;
    const handler = this.handler;
    const memory = this.runtime.engine.memory;
    if (handler.receive !== undefined) {
      handler.receive(this, memory, start, end, nameStart, nameEnd);
    } else if (handler.message !== undefined) {
      handler.message(this, memory.subarray(start, end), names.decode(memory, nameStart, nameEnd), this.info);
    }
  }

  passed(descriptor: number): void {
    if (this.closing || this.handler.passed === undefined) closeAll([descriptor]);
    else this.handler.passed(this, descriptor);
  }

  receiveEnded(result: number): void {
    if (this.closing) return;
    if (!TRANSIENT.has(result)) {
      if (result < 0) this.destroy(new KernelError('recv', result, { object: this.describe() }));
      return;
    }
    // Some engines have ended receiving with the error, others have not; asking twice does no harm.
    this.runtime.engine.messagesStart(this.handle);
    this.pendingError('recv', result);
  }

  protected tellError(error: Error): void {
    this.handler.error?.(this, error);
  }

  protected tellUndelivered(report: UndeliveredDatagram): void {
    if (this.handler.undelivered !== undefined) this.handler.undelivered(this, report);
    else this.handler.error?.(this, report.error);
  }

  protected tellDrain(): void {
    this.handler.drain?.(this);
  }

  protected tellBatch(): void {
    const count = this.batched;
    this.batched = 0;
    if (count > 0) this.handler.drained?.(this, count);
  }

  protected get hasBatch(): boolean {
    return this.batched > 0 && this.handler.drained !== undefined;
  }

  // About it.

  /** The engine that serves this socket: its name and why it was chosen. */
  get engine(): { readonly name: string; readonly reason: string } {
    return this.runtime.engine;
  }

  /** Where it is bound; null once closed. */
  get address(): SocketAddress | null {
    return this.closing ? null : this.bound;
  }

  /** The UDP port; 0 for a Unix socket. */
  get port(): number {
    return this.bound === null || this.bound.family === 'unix' ? 0 : this.bound.port;
  }

  /** The descriptor, for socket options; -1 once closed. */
  get descriptor(): number {
    return this.closing ? -1 : this.runtime.engine.descriptorOf(this.handle);
  }

  /** The peer that {@link DatagramSocket.connect} named, or null. */
  get remoteAddress(): SocketAddress | null {
    return this.hasPeer ? options.peerAddress(this.descriptor) : null;
  }

  /** Datagrams that the kernel dropped, most often because nobody read them in time (SO_MEMINFO). */
  get drops(): number {
    const memory = new Uint32Array(9);
    const result = sockets.getsockopt(
      this.descriptor,
      constants.SOL_SOCKET,
      constants.SO_MEMINFO,
      new Uint8Array(memory.buffer),
    );
    return result < 0 ? 0 : memory[8];
  }

  // Connecting.

  /**
   * Names the only peer: `send` needs no address, others' datagrams are filtered by the kernel (those that had arrived are
   * still delivered), and ICMP errors are reported. Sends before this call leave first.
   * @throws KernelError EISCONN where it is connected, ECONNREFUSED for a Unix path nobody has bound…
   */
  connect(address: SocketAddress): void {
    const object = options.describe(address);
    if (this.closing) throw new KernelError('connect', ERRNO.EBADF, { object, remedy: 'the socket is closed' });
    if (this.hasPeer) {
      throw new KernelError('connect', ERRNO.EISCONN, { object, remedy: 'disconnect() comes before another peer' });
    }
    this.flush();
    const result = sockets.connect(this.descriptor, address);
    if (result < 0) throw new KernelError('connect', result, { object, ...options.portDetails(address) });
    this.hasPeer = true;
    this.bound = options.ownAddress(this.descriptor) ?? this.bound;
  }

  /** @throws KernelError ENOTCONN where it is not connected */
  disconnect(): void {
    if (!this.hasPeer || this.closing) throw new KernelError('connect', ERRNO.ENOTCONN, { object: this.describe() });
    this.flush();
    const result = sockets.disconnect(this.descriptor);
    if (result < 0) throw new KernelError('connect', result, { object: this.describe() });
    this.hasPeer = false;
    // The kernel gives a port that it chose itself away with the peer (__udp_disconnect); the socket is to keep its address.
    const now = options.ownAddress(this.descriptor);
    if (this.bound === null || this.bound.family === 'unix' || now === null || now.family === 'unix') return;
    if (now.port !== 0) return;
    const again = sockets.bind(this.descriptor, this.bound);
    if (again < 0)
      throw new KernelError('bind', again, { object: this.describe(), ...options.portDetails(this.bound) });
  }

  // Options.

  setBroadcast(on: boolean): this {
    if (!this.closing) membership.setBroadcast(this.descriptor, on);
    return this;
  }

  /** Hops, 1 to 255. @throws KernelError EINVAL otherwise */
  setTtl(hops: number): this {
    membership.setTtl(this.descriptor, this.family, hops);
    return this;
  }

  /** Hops of multicast, 0 to 255. @throws KernelError EINVAL otherwise */
  setMulticastTtl(hops: number): this {
    membership.setMulticastTtl(this.descriptor, this.family, hops);
    return this;
  }

  setMulticastLoop(on: boolean): this {
    membership.setMulticastLoop(this.descriptor, this.family, on);
    return this;
  }

  setMulticastInterface(interfaceNameOrIndex: string | number): this {
    membership.setMulticastInterface(this.descriptor, this.family, interfaceNameOrIndex);
    return this;
  }

  join(group: string, interfaceNameOrIndex?: string | number): this {
    membership.changeMembership(this.descriptor, true, group, interfaceNameOrIndex);
    return this;
  }

  leave(group: string, interfaceNameOrIndex?: string | number): this {
    membership.changeMembership(this.descriptor, false, group, interfaceNameOrIndex);
    return this;
  }

  // Ending.

  /**
   * Gives the kernel what waits, as far as it takes it at once; the rest fails with ECANCELED. No `message` follows. Resolves
   * when the socket is gone.
   */
  close(): Promise<void> {
    if (!this.closing) {
      this.flush();
      this.destroy();
    }
    if (this.handle < 0) return Promise.resolve();
    return new Promise((resolve) => this.waiters.push(resolve));
  }

  /** Closes at once; `error` reaches the handler's `error` first. */
  destroy(error?: Error): void {
    if (this.closing) return;
    this.closing = true;
    this.failure = error ?? null;
    this.signal?.removeEventListener('abort', this.onAbort);
    this.runtime.timers.clear(this.handle);
    this.path?.remove();
    this.runtime.engine.close(this.handle);
  }

  closed(): void {
    this.handle = -1;
    if (this.referenced) loop.unreference();
    try {
      if (this.failure !== null) this.handler.error?.(this, this.failure);
    } finally {
      this.cancelSends();
      try {
        this.handler.close?.(this);
      } finally {
        for (const resolve of this.waiters.splice(0)) resolve();
      }
    }
  }

  /** Does not keep the process running any more. */
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

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  protected describe(): string {
    return options.describe(this.bound);
  }

  // Sink methods of other sockets.
  accepted(): void {}
  acceptFailed(): void {}
  received(): number {
    return 0;
  }
  sent(): number {
    return 0;
  }
  connected(): void {}
}
