/**
 * Room `http`: a connection to an upstream, as a client: sends what the relay writes, reads one response at a time, and goes
 * back to its upstream's idle ones when the response is complete and both sides allow it.
 *
 * A newcomer would get wrong: octets that arrive while it is idle, or behind a complete response, belong to nobody; the
 * connection is closed, because the next response could not be trusted.
 */
import { RECEIVED_DONE, RECEIVED_KEEP, RECEIVED_QUIET } from '../engine/engine.ts';
import { type ClientConnection, connectTo } from '../net/connect.ts';
import type { ConnectionHandler } from '../net/connection.ts';
import { CHUNK_DATA, CHUNK_END, CHUNK_MORE, ChunkedDecoder } from './chunked.ts';
import type { Fields } from './fields.ts';
import { type HeadLimits, lineEndsIn } from './head.ts';
import { BODY_CHUNKED, BODY_LENGTH, BODY_NONE, BODY_TUNNEL, BODY_UNTIL_CLOSE, ResponseHead } from './response-head.ts';
import type { Upstream } from './upstream.ts';

/** Who waits for the response. */
export interface ResponseTaker {
  /** The connection is made; not told for one that had been made before. */
  connected(): void;
  /** A 1xx head, not the response yet. */
  interim(head: ResponseHead): void;
  /**
   * The response's head, which ends at `start`, and the content that came with it: [start, end) of `bytes`, perhaps nothing.
   * `whole`: the head and this content are alone in a block of the engine's, so RECEIVED_KEEP may be answered.
   */
  head(head: ResponseHead, bytes: Uint8Array, start: number, end: number, whole: boolean): number;
  /** More content. `whole`: a block of the engine's alone. */
  content(bytes: Uint8Array, start: number, end: number, whole: boolean): number;
  /** The response is complete. Answers RECEIVED_QUIET or RECEIVED_DONE. */
  complete(trailers: Fields | null): number;
  /** Both sides speak another protocol from here on; `rest` came behind the head. */
  tunnel(head: ResponseHead, rest: Uint8Array): void;
  /** What was written has gone out below the low mark. */
  drained(): void;
  /** Whether the upstream's silence is its own: false while the client is who is slow. */
  readonly awaitsUpstream: boolean;
  /** It failed. `answered`: some of the response had arrived. `reused`: an idle connection, perhaps closed before. */
  upstreamFailed(error: Error, answered: boolean, reused: boolean): void;
}

export interface UpstreamTimeouts {
  readonly connectMs: number;
  /** Silence while a response is awaited. */
  readonly responseMs: number;
  /** How long an idle connection is kept. */
  readonly idleMs: number;
}

const NOTHING = new Uint8Array(0);
/** 1xx heads before one response; more is a defect or an attack. */
const INTERIMS_MAX = 32;
/** One head for all upstream connections of a thread: it is read in one go. */
const sharedHead = new ResponseHead();

export class UpstreamConnection {
  readonly connection: ClientConnection<UpstreamConnection>;
  readonly upstream: Upstream;
  /** Whether the connection has been made. */
  opened = false;
  private readonly limits: HeadLimits;
  private readonly timeouts: UpstreamTimeouts;
  private taker: ResponseTaker | null = null;
  private method = 0;
  private upgradeAsked = false;
  private waiting: Uint8Array = NOTHING;
  private mode = BODY_NONE;
  private inBody = false;
  private remaining = 0;
  private decoder: ChunkedDecoder | null = null;
  private keepAlive = true;
  private answered = false;
  private interims = 0;
  private uses = 0;
  /** For the timeout: the timer's period, the silence seen by it so far, and the bytes moved when it last looked. */
  private periodMs = 0;
  private silentMs = 0;
  private moved = -1;

  constructor(upstream: Upstream, limits: HeadLimits, timeouts: UpstreamTimeouts) {
    this.upstream = upstream;
    this.limits = limits;
    this.timeouts = timeouts;
    this.connection = connectTo<UpstreamConnection>(
      [upstream.address],
      { timeoutMs: timeouts.connectMs, halfOpen: true },
      handler,
    );
    this.connection.data = this;
    // The client's connection keeps the process running while there is something to do.
    this.connection.unref();
  }

  /** Begins a request; its bytes are then written to `connection`. */
  begin(taker: ResponseTaker, method: number, upgradeAsked: boolean): void {
    this.taker = taker;
    this.method = method;
    this.upgradeAsked = upgradeAsked;
    this.answered = false;
    this.keepAlive = true;
    this.inBody = false;
    this.interims = 0;
    this.uses++;
    // The timer runs on from request to request; only the silence counts anew.
    this.moved = -1;
    if (this.opened) this.connection.context.runtime.timers.touch(this.connection.handle);
  }

  private get reused(): boolean {
    return this.uses > 1;
  }

  open(): void {
    this.opened = true;
    this.watch(Math.min(this.timeouts.responseMs, this.timeouts.idleMs));
    this.taker?.connected();
  }

  receive(memory: Uint8Array, start: number, end: number): number {
    if (this.taker === null) {
      this.connection.destroy();
      return RECEIVED_QUIET;
    }
    if (this.inBody) return this.body(memory, start, end, true);
    if (this.waiting.length === 0) return this.readHead(memory, start, end, true);
    const bytes = Buffer.concat([this.waiting, memory.subarray(start, end)]);
    this.waiting = NOTHING;
    if (bytes.length < this.limits.headSize && !lineEndsIn(memory, start, end)) {
      this.waiting = bytes;
      return RECEIVED_QUIET;
    }
    return this.readHead(bytes, 0, bytes.length, false);
  }

  private readHead(bytes: Uint8Array, start: number, end: number, whole: boolean): number {
    const head = sharedHead;
    let from = start;
    for (;;) {
      const next = head.parse(bytes, from, end, this.limits, this.method, this.upgradeAsked);
      if (next === 0) {
        this.waiting = bytes.slice(from, end);
        return RECEIVED_QUIET;
      }
      this.answered = true;
      if (next < 0) {
        this.fail(new Error('the response is malformed'));
        return RECEIVED_DONE;
      }
      if (!head.isInterim) return this.begunResponse(head, bytes, next, end, whole);
      if (++this.interims > INTERIMS_MAX) {
        this.fail(new Error('it sent interim responses without end'));
        return RECEIVED_DONE;
      }
      this.taker!.interim(head);
      if (next === end || this.taker === null) return RECEIVED_QUIET;
      from = next;
    }
  }

  private begunResponse(head: ResponseHead, bytes: Uint8Array, next: number, end: number, whole: boolean): number {
    const taker = this.taker!;
    const mode = head.body;
    if (mode === BODY_TUNNEL) {
      this.taker = null;
      taker.tunnel(head, bytes.slice(next, end));
      return RECEIVED_DONE;
    }
    this.mode = mode;
    this.keepAlive = head.keepAlive;
    this.inBody = true;
    this.remaining = head.contentLength;
    let contentEnd = next;
    if (mode === BODY_UNTIL_CLOSE) contentEnd = end;
    else if (mode === BODY_LENGTH) contentEnd = Math.min(end, next + this.remaining);
    this.remaining -= contentEnd - next;
    const answer = taker.head(head, bytes, next, contentEnd, whole && contentEnd === end);
    if (this.taker !== taker) return answer;
    if (mode === BODY_NONE || (mode === BODY_LENGTH && this.remaining === 0)) {
      return (answer & RECEIVED_KEEP) | this.finish(null, contentEnd < end);
    }
    if (mode === BODY_CHUNKED) {
      this.decoder ??= new ChunkedDecoder(this.limits);
      this.decoder.reset();
      if (next < end) return this.chunkedBody(taker, bytes, next, end);
    }
    return answer;
  }

  private body(bytes: Uint8Array, start: number, end: number, whole: boolean): number {
    const taker = this.taker!;
    if (this.mode === BODY_CHUNKED) return this.chunkedBody(taker, bytes, start, end);
    if (this.mode === BODY_UNTIL_CLOSE) return taker.content(bytes, start, end, whole);
    const to = Math.min(end, start + this.remaining);
    this.remaining -= to - start;
    const answer = taker.content(bytes, start, to, whole && to === end);
    if (this.remaining > 0 || this.taker !== taker) return answer;
    return (answer & RECEIVED_KEEP) | this.finish(null, to < end);
  }

  private chunkedBody(taker: ResponseTaker, bytes: Uint8Array, start: number, end: number): number {
    const decoder = this.decoder!;
    let position = start;
    for (;;) {
      const event = decoder.next(bytes, position, end);
      position = decoder.position;
      if (event === CHUNK_DATA) {
        taker.content(bytes, decoder.dataStart, decoder.dataEnd, false);
        if (this.taker !== taker) return RECEIVED_QUIET;
      } else if (event === CHUNK_END) {
        return this.finish(decoder.trailers.count > 0 ? decoder.trailers : null, position < end);
      } else if (event === CHUNK_MORE) {
        return RECEIVED_QUIET;
      } else {
        this.fail(new Error('the chunked coding of the response is broken'));
        return RECEIVED_DONE;
      }
    }
  }

  /** The response is complete. `surplus`: octets follow that nobody asked for. */
  private finish(trailers: Fields | null, surplus: boolean): number {
    const taker = this.taker!;
    this.taker = null;
    this.inBody = false;
    if (surplus) this.keepAlive = false;
    return taker.complete(trailers);
  }

  /** Whether it may serve another request. */
  get reusable(): boolean {
    return this.keepAlive && this.taker === null && this.connection.writable;
  }

  // What else the connection tells.

  ended(): void {
    if (this.taker !== null && this.inBody && this.mode === BODY_UNTIL_CLOSE) this.finish(null, false);
    else if (this.taker !== null)
      this.fail(new Error(this.answered ? 'it closed within the response' : 'it closed without a response'));
    this.drop();
    this.connection.destroy();
  }

  fail(error: Error): void {
    const taker = this.taker;
    this.taker = null;
    this.drop();
    this.connection.destroy();
    taker?.upstreamFailed(error, this.answered, this.reused);
  }

  drain(): boolean {
    this.taker?.drained();
    return true;
  }

  /**
   * Nothing was sent or received for the timer's period. One timer serves all limits of the connection, because setting it for
   * every request would cost more than looking again now and then.
   */
  timeUp(): void {
    const { taker, connection } = this;
    const moved = connection.bytesRead + connection.bytesSent;
    this.silentMs = moved === this.moved ? this.silentMs + this.periodMs : this.periodMs;
    this.moved = moved;
    if (taker !== null && !taker.awaitsUpstream) {
      this.moved = -1;
      this.watch(this.timeouts.responseMs);
      return;
    }
    const limitMs = taker === null ? this.timeouts.idleMs : this.timeouts.responseMs;
    if (this.silentMs < limitMs) this.watch(limitMs - this.silentMs);
    else if (taker === null) this.close();
    else this.fail(new TimeoutError(`nothing came from it for ${limitMs} ms`));
  }

  private watch(periodMs: number): void {
    this.periodMs = periodMs;
    this.connection.setTimeout(periodMs);
  }

  /** Takes it out of the idle ones. */
  private drop(): void {
    const index = this.upstream.idle.indexOf(this);
    if (index >= 0) this.upstream.idle.splice(index, 1);
  }

  /** Ends it without telling the taker. */
  close(): void {
    this.taker = null;
    this.drop();
    this.connection.destroy();
  }
}

const handler: ConnectionHandler<UpstreamConnection> = {
  open: (connection) => connection.data!.open(),
  receive: (connection, memory, start, end) => connection.data!.receive(memory, start, end),
  end: (connection) => connection.data!.ended(),
  drain: (connection) => connection.data!.drain(),
  error: (connection, error) => connection.data!.fail(error),
  timeout: (connection) => connection.data!.timeUp(),
  close: (connection) => connection.data!.fail(new Error('the connection was closed')),
};

/** The upstream was too slow: 504 instead of 502. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
}
