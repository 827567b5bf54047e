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
import type { HeadLimits } from './head.ts';
import { BODY_CHUNKED, BODY_LENGTH, BODY_NONE, BODY_TUNNEL, BODY_UNTIL_CLOSE, ResponseHead } from './response-head.ts';
import type { Upstream } from './upstream.ts';

/** Who waits for the response. */
export interface ResponseTaker {
  /** A 1xx head, not the response yet. */
  interim(head: ResponseHead): void;
  /** The response's head. */
  head(head: ResponseHead): void;
  /** Content: [start, end) of `bytes`. `whole`: a block of the engine's alone, RECEIVED_KEEP may be answered. */
  content(bytes: Uint8Array, start: number, end: number, whole: boolean): number;
  /** The response is complete. */
  complete(trailers: Fields | null): void;
  /** Both sides speak another protocol from here on; `rest` came behind the head. */
  tunnel(head: ResponseHead, rest: Uint8Array): void;
  /** What was written has gone out below the low mark. */
  drained(): void;
  /** It failed. `answered`: some of the response had arrived. `reused`: an idle connection, perhaps closed before. */
  upstreamFailed(error: Error, answered: boolean, reused: boolean): void;
}

const NOTHING = new Uint8Array(0);
/** One head for all upstream connections of a thread: it is read in one go. */
const sharedHead = new ResponseHead();

export class UpstreamConnection {
  readonly connection: ClientConnection<UpstreamConnection>;
  readonly upstream: Upstream;
  private readonly limits: HeadLimits;
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
  private uses = 0;

  constructor(upstream: Upstream, limits: HeadLimits, connectTimeoutMs: number) {
    this.upstream = upstream;
    this.limits = limits;
    this.connection = connectTo<UpstreamConnection>(
      [upstream.address],
      { timeoutMs: connectTimeoutMs, halfOpen: true },
      handler,
    );
    this.connection.data = this;
  }

  /** Begins a request; its bytes are then written to `connection`. */
  begin(taker: ResponseTaker, method: number, upgradeAsked: boolean): void {
    this.taker = taker;
    this.method = method;
    this.upgradeAsked = upgradeAsked;
    this.answered = false;
    this.keepAlive = true;
    this.inBody = false;
    this.uses++;
  }

  get reused(): boolean {
    return this.uses > 1;
  }

  receive(memory: Uint8Array, start: number, end: number, whole: boolean): number {
    if (this.taker === null) {
      this.connection.destroy();
      return RECEIVED_QUIET;
    }
    if (this.inBody) return this.body(memory, start, end, whole);
    let bytes = memory;
    let from = start;
    let to = end;
    if (this.waiting.length > 0) {
      bytes = Buffer.concat([this.waiting, memory.subarray(start, end)]);
      from = 0;
      to = bytes.length;
      this.waiting = NOTHING;
    }
    return this.readHead(bytes, from, to, whole && bytes === memory);
  }

  private readHead(bytes: Uint8Array, start: number, end: number, whole: boolean): number {
    const head = sharedHead;
    const next = head.parse(bytes, start, end, this.limits, this.method, this.upgradeAsked);
    if (next === 0) {
      this.waiting = bytes.slice(start, end);
      return RECEIVED_QUIET;
    }
    this.answered = true;
    if (next < 0) {
      this.fail(new Error('the response is malformed'));
      return RECEIVED_DONE;
    }
    const taker = this.taker!;
    if (head.isInterim) {
      taker.interim(head);
      return next < end ? this.readHead(bytes, next, end, whole) : RECEIVED_DONE;
    }
    this.mode = head.body;
    this.keepAlive = head.keepAlive;
    if (head.body === BODY_TUNNEL) {
      this.taker = null;
      taker.tunnel(head, bytes.slice(next, end));
      return RECEIVED_DONE;
    }
    this.inBody = true;
    this.remaining = head.contentLength;
    if (head.body === BODY_CHUNKED) {
      this.decoder ??= new ChunkedDecoder(this.limits);
      this.decoder.reset();
    }
    taker.head(head);
    if (this.taker !== taker) return RECEIVED_DONE;
    if (this.mode === BODY_NONE) {
      this.finish(null, next < end);
      return RECEIVED_DONE;
    }
    return next < end ? this.body(bytes, next, end, whole) : RECEIVED_DONE;
  }

  private body(bytes: Uint8Array, start: number, end: number, whole: boolean): number {
    const taker = this.taker!;
    if (this.mode === BODY_UNTIL_CLOSE) return taker.content(bytes, start, end, whole);
    if (this.mode === BODY_LENGTH) {
      const to = Math.min(end, start + this.remaining);
      this.remaining -= to - start;
      const answer = taker.content(bytes, start, to, whole && to === end);
      if (this.remaining === 0 && this.taker === taker) {
        this.finish(null, to < end);
        return answer & RECEIVED_KEEP;
      }
      return answer;
    }
    return this.chunkedBody(taker, bytes, start, end);
  }

  private chunkedBody(taker: ResponseTaker, bytes: Uint8Array, start: number, end: number): number {
    const decoder = this.decoder!;
    let position = start;
    for (;;) {
      const event = decoder.next(bytes, position, end);
      position = decoder.position;
      if (event === CHUNK_DATA) {
        taker.content(bytes, decoder.dataStart, decoder.dataEnd, false);
        if (this.taker !== taker) return RECEIVED_DONE;
      } else if (event === CHUNK_END) {
        this.finish(decoder.trailers.count > 0 ? decoder.trailers : null, position < end);
        return RECEIVED_DONE;
      } else if (event === CHUNK_MORE) {
        return RECEIVED_DONE;
      } else {
        this.fail(new Error('the chunked coding of the response is broken'));
        return RECEIVED_DONE;
      }
    }
  }

  /** The response is complete. `surplus`: octets follow that nobody asked for. */
  private finish(trailers: Fields | null, surplus: boolean): void {
    const taker = this.taker!;
    this.taker = null;
    this.inBody = false;
    if (surplus) this.keepAlive = false;
    taker.complete(trailers);
  }

  /** Whether it may serve another request. */
  get reusable(): boolean {
    return this.keepAlive && this.taker === null && !this.connection.destroyed && this.connection.writable;
  }

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
  receive: (connection, memory, start, end) => connection.data!.receive(memory, start, end, true),
  end: (connection) => connection.data!.ended(),
  drain: (connection) => connection.data!.drain(),
  error: (connection, error) => connection.data!.fail(error),
  timeout: (connection) => connection.data!.fail(new TimeoutError('it did not answer in time')),
  close: (connection) => connection.data!.fail(new Error('the connection was closed')),
};

/** The upstream was too slow: 504 instead of 502. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
}
