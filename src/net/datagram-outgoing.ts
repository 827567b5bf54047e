/**
 * Room `net`: the sending half of a datagram socket. What is sent during a turn leaves at its end, many datagrams in one
 * sendmmsg(2), on every engine alike: a datagram never blocks for long, so there is nothing that an engine could add.
 *
 * A newcomer would get wrong: each datagram has its own fate. One that the kernel refuses (too large, no route) is reported and
 * the next one is sent; and ECONNREFUSED tells of an earlier datagram, so the one at hand is tried again.
 */
import type { Handle, Job } from '../engine/engine.ts';
import { decodeAddress, encodeAddress, type SocketAddress } from '../kernel/address.ts';
import { POLLOUT } from '../kernel/constants.ts';
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import { shim } from '../kernel/native.ts';
import * as batch from './datagram-batch.ts';
import { marksOf, type SendOptions } from './datagram-limits.ts';
import { type Payload, payloadBytes } from './datagram-payload.ts';
import { DatagramQueue, ENTRY_BYTES, type SendCallback } from './datagram-queue.ts';
import { drainErrorQueue, type UndeliveredDatagram } from './error-queue.ts';
import * as options from './options.ts';
import type { Runtime } from './runtime.ts';
import type { Timed } from './timers.ts';

/** What waits is sent within the turn once there is so much of it: the bound is for bursts, not for one turn's output. */
const EAGER_BYTES = 1 << 18;
const EAGER_COUNT = 1024;
/** sendmmsg calls of one turn; the rest follows in the next one. */
const CALLS_MAX = 16;
/** A segment of this size passes every link (1,280, the least of IPv6, less the headers): refused, segmentation is off. */
const SEGMENT_BYTES_SAFE = 1232;
const RETRIES_MAX = 2;
/** Pauses before a full Unix receiver is tried again. */
const PAUSE_FIRST_MS = 1;
const PAUSE_MAX_MS = 50;

/** Of one send, or of ICMP's report about one that left long ago. */
type Outcome =
  | { readonly kind: 'send'; readonly callback: SendCallback | null; readonly error: Error | null }
  | { readonly kind: 'report'; readonly report: UndeliveredDatagram };

export abstract class DatagramOutgoing implements Job, Timed {
  /** Datagrams that the kernel has taken so far. */
  messagesSent = 0;
  protected readonly runtime: Runtime;
  protected readonly family: SocketAddress['family'];
  protected handle: Handle = -1;
  protected hasPeer = false;
  protected abstract closing: boolean;
  private readonly queue = new DatagramQueue();
  private readonly highWaterBytes: number;
  private readonly lowWaterBytes: number;
  private readonly queueBytesMax: number;
  private readonly errorQueue: boolean;
  /** The longest payload that a segmented send may have; 0 is off. */
  private segmentBytesMax: number;
  /** The kernel took no more: the engine polls, or a pause is running. */
  private blocked = false;
  private scheduled = false;
  private needsDrain = false;
  private retries = 0;
  private pauseMs = 0;
  /** What became of sends, told at the end of the turn. */
  private outcomes: Outcome[] = [];

  constructor(runtime: Runtime, family: SocketAddress['family'], limits: SendOptions) {
    this.runtime = runtime;
    this.family = family;
    const marks = marksOf(limits);
    this.highWaterBytes = marks.high;
    this.lowWaterBytes = marks.low;
    this.queueBytesMax = marks.most;
    this.errorQueue = limits.errorQueue === true;
    this.segmentBytesMax = limits.segmentation === false || family === 'unix' ? 0 : batch.PAYLOAD_BYTES_MAX;
  }

  protected abstract get descriptor(): number;
  protected abstract get hasBatch(): boolean;
  protected abstract tellBatch(): void;
  protected abstract tellDrain(): void;
  protected abstract tellError(error: Error): void;
  protected abstract tellUndelivered(report: UndeliveredDatagram): void;
  protected abstract describe(): string;

  /** What waits, in bytes: payloads, and 64 for each datagram. */
  get bytesQueued(): number {
    return this.queue.sizeBytes;
  }

  /** Whether segmented sends (GSO) are in use; off where the program, the kernel or the device does not want them. */
  get segmentation(): boolean {
    return this.segmentBytesMax > 0;
  }

  /**
   * Sends one datagram: bytes, a string (as UTF-8) or an array of both as one payload. Everything is copied, so it may be
   * reused at once. It leaves at the end of this turn.
   * @param to where to; left out on a connected socket
   * @param callback told when the kernel has taken the datagram, or why it has not; without it the handler's `error` is
   * @returns false when more than the high mark waits (go on after `drain`), or when the socket takes no more
   * @throws TypeError for a payload or address that is none, RangeError for a port outside its range
   */
  send(payload: Payload, to: SocketAddress | null = null, callback: SendCallback | null = null): boolean {
    const chunk = payloadBytes(payload);
    const queue = this.queue;
    const nameAt = queue.reserveName();
    const nameLength = to === null ? 0 : encodeAddress(to, queue.names, nameAt);
    if (this.refuses(chunk.length, nameLength, to, callback)) return false;
    const at = queue.reserve(chunk.length);
    queue.bytes.set(chunk, at);
    return this.pushed(chunk.length, nameLength, callback);
  }

  /**
   * The form without objects: the payload is [start, end) of `memory`, the address [nameStart, nameEnd) as the kernel wrote it
   * (what the handler's `receive` got). Both are copied.
   */
  sendFrom(memory: Uint8Array, start: number, end: number, nameStart: number, nameEnd: number): boolean {
    const queue = this.queue;
    const length = end - start;
    const nameLength = nameEnd - nameStart;
    if (this.refuses(length, nameLength, null, null)) return false;
    const nameAt = queue.reserveName();
    for (let byte = 0; byte < nameLength; byte++) queue.names[nameAt + byte] = memory[nameStart + byte];
    const at = queue.reserve(length);
    if (length > 64) queue.bytes.set(memory.subarray(start, end), at);
    else for (let byte = 0; byte < length; byte++) queue.bytes[at + byte] = memory[start + byte];
    return this.pushed(length, nameLength, null);
  }

  /** Sends a long payload as datagrams of `segmentBytes`, the last one shorter; `callback` is told of the last one. */
  sendSegments(
    payload: Uint8Array,
    segmentBytes: number,
    to: SocketAddress | null = null,
    callback: SendCallback | null = null,
  ): boolean {
    if (!Number.isInteger(segmentBytes) || segmentBytes < 1 || segmentBytes > batch.PAYLOAD_BYTES_MAX) {
      throw new RangeError(`segmentBytes is ${segmentBytes}: 1 to ${batch.PAYLOAD_BYTES_MAX} are allowed`);
    }
    let room = true;
    let at = 0;
    do {
      const end = Math.min(at + segmentBytes, payload.length);
      room = this.send(payload.subarray(at, end), to, end === payload.length ? callback : null);
      at = end;
    } while (at < payload.length);
    return room;
  }

  private pushed(length: number, nameLength: number, callback: SendCallback | null): boolean {
    const queue = this.queue;
    queue.push(length, nameLength, callback);
    this.flushSoon();
    if (!this.blocked && (queue.count >= EAGER_COUNT || queue.sizeBytes >= EAGER_BYTES)) this.flush();
    if (queue.sizeBytes <= this.highWaterBytes) return true;
    this.needsDrain = true;
    return false;
  }

  /** What can be told without the kernel; it is told in a later turn, like everything else. */
  private refuses(
    length: number,
    nameLength: number,
    to: SocketAddress | null,
    callback: SendCallback | null,
  ): boolean {
    if (this.closing) {
      if (callback !== null) {
        const error = new KernelError('send', ERRNO.EBADF, {
          object: options.describe(to),
          remedy: 'the socket is closed',
        });
        queueMicrotask(() => callback(error));
      }
      return true;
    }
    let errno = 0;
    let remedy: string | undefined;
    if (this.hasPeer && nameLength > 0) {
      // The kernel would send it all the same.
      errno = ERRNO.EISCONN;
      remedy = 'a connected socket sends to its peer alone: leave the address out, or disconnect()';
    } else if (!this.hasPeer && nameLength === 0) {
      errno = ERRNO.EDESTADDRREQ;
    } else if (this.queue.sizeBytes + length + ENTRY_BYTES > this.queueBytesMax && this.queue.count > 0) {
      errno = ERRNO.ENOBUFS;
      remedy = 'wait for drain after send returned false, or raise queueBytesMax';
      this.needsDrain = true;
    }
    if (errno === 0) return false;
    const object = to === null ? this.describe() : options.describe(to);
    const error = new KernelError('send', errno, {
      object,
      ...(remedy === undefined ? {} : { remedy }),
      ...options.portDetails(to),
    });
    this.outcomes.push({ kind: 'send', callback, error });
    this.flushSoon();
    return true;
  }

  protected flushSoon(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.runtime.engine.defer(this);
  }

  /** The engine's job: the end of the turn. */
  run(): boolean {
    this.scheduled = false;
    if (this.closing) return false;
    if (!this.blocked) this.flush();
    const telling = this.outcomes.length > 0 || this.hasBatch || this.drainDue;
    if (telling) this.tell();
    // Beyond the bound of one turn. Foreign code may not have run, but the loop has waited long enough.
    const left = this.queue.count > 0 && !this.blocked && !this.closing;
    if (left) this.runtime.timers.set(this.handle, this, 0.001, false);
    return telling;
  }

  private get drainDue(): boolean {
    return this.needsDrain && this.queue.sizeBytes <= this.lowWaterBytes;
  }

  /** Tells the program what happened. */
  private tell(): void {
    const outcomes = this.outcomes;
    if (outcomes.length > 0) this.outcomes = [];
    for (const outcome of outcomes) this.tellOutcome(outcome);
    if (this.drainDue && !this.closing) {
      this.needsDrain = false;
      guarded(() => this.tellDrain());
    }
    if (!this.closing) guarded(() => this.tellBatch());
  }

  private tellOutcome(outcome: Outcome): void {
    if (outcome.kind === 'report') {
      if (!this.closing) guarded(() => this.tellUndelivered(outcome.report));
      return;
    }
    const { callback, error } = outcome;
    if (callback !== null) guarded(() => callback(error));
    else if (error !== null && !this.closing) guarded(() => this.tellError(error));
  }

  /** Gives the kernel as much as it takes now, within the bound of one turn. */
  protected flush(): void {
    const queue = this.queue;
    let alone = false;
    let goesOn = true;
    for (let calls = 0; goesOn && calls < CALLS_MAX && queue.count > 0; calls++) {
      const filled = batch.fill(queue, this.segmentBytesMax);
      const count: number = alone ? 1 : filled;
      const result: number = batch.send(this.descriptor, count);
      this.runtime.engine.statistics.systemCalls++;
      if (result > 0) {
        this.retries = 0;
        this.pauseMs = 0;
        for (let header = 0; header < result; header++) this.taken(batch.entriesOf[header]);
        // A count that falls short may have swallowed an ICMP error about the datagram before. The next one goes alone, so
        // that what it brings about meets the beginning of a call, which reports it.
        alone = this.hasPeer && result < count;
      } else {
        goesOn = this.goesOn(result, batch.entriesOf[0]);
      }
    }
    // This host's own ICMP messages have come by now, and some calls have taken the error that would announce them.
    if (this.errorQueue) this.readErrorQueue();
  }

  private taken(entries: number): void {
    this.messagesSent += entries;
    for (let entry = 0; entry < entries; entry++) {
      const callback = this.queue.shift();
      if (callback !== null) this.outcomes.push({ kind: 'send', callback, error: null });
    }
  }

  /** What the kernel said of the first header, which holds `entries` datagrams. Answers whether to call it again now. */
  private goesOn(result: number, entries: number): boolean {
    switch (-result) {
      case ERRNO.EINTR:
        return true;
      case ERRNO.EAGAIN:
        this.wait();
        return false;
      case ERRNO.ECONNREFUSED:
        // UDP sends nothing when it reports this (a pending ICMP error); a Unix socket means its receiver, which is gone.
        if (this.family !== 'unix' && this.retries < RETRIES_MAX) {
          this.retries++;
          this.pendingError('send', result);
          return true;
        }
        break;
      case ERRNO.EINVAL:
      case ERRNO.EIO:
      case ERRNO.EMSGSIZE:
        if (entries > 1) {
          this.limitSegments(result);
          return true;
        }
    }
    this.retries = 0;
    for (let entry = 0; entry < entries; entry++) this.failFirst(result);
    return true;
  }

  /**
   * A segmented send was refused: its datagrams leave singly, and later ones of that size too. EIO means that the device cannot
   * make checksums, EINVAL of a small segment that the socket does not (udp_send_skb); larger ones may not fit the link.
   */
  private limitSegments(result: number): void {
    const size = this.queue.lengths[this.queue.head];
    this.segmentBytesMax = result === -ERRNO.EIO || size <= SEGMENT_BYTES_SAFE ? 0 : size - 1;
  }

  private failFirst(result: number): void {
    const { queue } = this;
    const at = queue.nameStarts[queue.head];
    const to =
      at < 0 ? options.peerAddress(this.descriptor) : decodeAddress(queue.names, at, queue.nameLengths[queue.head]);
    const length = queue.lengths[queue.head];
    const callback = queue.shift();
    const object = `${length} bytes to ${options.describe(to)}`;
    const error = new KernelError('send', result, { object, ...options.portDetails(to) });
    this.outcomes.push({ kind: 'send', callback, error });
    this.flushSoon();
  }

  /** The socket's buffer is full, or a Unix receiver's queue, of which an unconnected sender is never told. */
  private wait(): void {
    this.blocked = true;
    if (this.family !== 'unix' || this.hasPeer) {
      this.runtime.engine.poll(this.handle, POLLOUT);
      return;
    }
    this.pauseMs = Math.min(Math.max(this.pauseMs * 2, PAUSE_FIRST_MS), PAUSE_MAX_MS);
    this.runtime.timers.set(this.handle, this, this.pauseMs, false);
  }

  timeUp(): void {
    this.unblock();
  }

  polled(result: number): void {
    if (this.errorQueue && result > 0) this.readErrorQueue();
    this.unblock();
  }

  private unblock(): void {
    this.blocked = false;
    if (!this.closing) this.flushSoon();
  }

  /** An ICMP error of an earlier datagram, met by receiving or sending. The kernel has forgotten it by now. */
  protected pendingError(syscall: 'send' | 'recv', result: number): void {
    if (this.errorQueue && this.readErrorQueue() > 0) return;
    const peer = this.hasPeer ? options.peerAddress(this.descriptor) : null;
    const object = peer === null ? this.describe() : options.describe(peer);
    const error = new KernelError(syscall, result, { object, ...options.portDetails(peer) });
    this.outcomes.push({ kind: 'send', callback: null, error });
    this.flushSoon();
  }

  private readErrorQueue(): number {
    const before = this.outcomes.length;
    drainErrorQueue(this.descriptor, (report) => this.outcomes.push({ kind: 'report', report }));
    if (this.outcomes.length > before) this.flushSoon();
    return this.outcomes.length - before;
  }

  /** Tells each send that still waits what became of it, in order. */
  protected cancelSends(): void {
    const outcomes = this.outcomes;
    this.outcomes = [];
    for (const outcome of outcomes) if (outcome.kind === 'send') this.tellOutcome(outcome);
    const cancelled = new KernelError('send', ERRNO.ECANCELED, {
      object: this.describe(),
      remedy: 'the socket was closed before it had sent this',
    });
    while (this.queue.count > 0) {
      const callback = this.queue.shift();
      if (callback !== null) guarded(() => callback(cancelled));
    }
  }
}

/** What one callback throws does not keep the others from being told. */
function guarded(run: () => void): void {
  try {
    run();
  } catch (error) {
    shim.raise(error);
  }
}
