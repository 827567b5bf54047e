/**
 * Room `http`: one request and its answer on a connection. Most begin and end within one call and are used again at once; one
 * that lasts is hung on its connection (`connection.data`) until both the body and the answer are complete.
 *
 * A newcomer would get wrong: the head's offsets point into the engine's memory. An exchange that lasts takes a copy of its
 * head first (`keep`), because that memory is received into again after the call.
 */
import { RECEIVED_KEEP, RECEIVED_QUIET } from '../engine/engine.ts';
import type { Connection } from '../net/connection.ts';
import { BodyError, type BodySource } from './body.ts';
import { CHUNK_DATA, CHUNK_END, CHUNK_MORE, ChunkedDecoder } from './chunked.ts';
import { FIELD_UPGRADE } from './field-names.ts';
import { METHOD_HEAD } from './methods.ts';
import { copyOctets } from './octets.ts';
import { Request } from './request.ts';
import { Response } from './response.ts';
import type { ResponseOwner } from './response-start.ts';
import type { HttpServer } from './server.ts';
import { Stored } from './stored.ts';

/** An unread body up to this size is read and thrown away to keep the connection; a larger one costs the connection. */
const DISCARD_BYTES_MAX = 65536;
const CONTINUE = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n', 'latin1');
const NOTHING = new Uint8Array(0);
/** Room for the copy of a usual head, kept with the exchange. */
const HEAD_COPY_BYTES_MIN = 1024;

export class Exchange implements BodySource, ResponseOwner {
  readonly request: Request = new Request();
  readonly response: Response;
  connection!: Connection;
  /** Octets that wait: an incomplete head, a body nobody takes yet, requests behind this one. */
  readonly waiting = new Stored();
  /** Whether `waiting` begins with a head that is not complete, or was not looked at (`stalled`). No handler was called. */
  headPartial = false;
  /** Too much waits to be sent: what has arrived is looked at when that has gone out. */
  stalled = false;
  /** The handler's promise has not settled: request and response are still its own. */
  promised = false;
  /** Complete, and to be used again once the promise has settled. */
  released = false;
  /** The connection has gone to another handler. */
  detached = false;
  /** After `receive`: whether no foreign code ran, and whether the block was kept. */
  quiet = true;
  kept = false;
  /** The handler has been called. */
  private begun = false;
  private answered = true;
  private remaining = 0;
  private decoder: ChunkedDecoder | null = null;
  private isChunked = false;
  private continueOwed = false;
  private throwAway = false;
  private paused = false;
  private readonly server: HttpServer;
  private headCopy: Uint8Array = NOTHING;

  constructor(server: HttpServer) {
    this.server = server;
    this.response = new Response(server.templates);
  }

  /** The head in `request.head` is complete; gets ready for the handler. `follows`: octets came behind it. */
  begin(connection: Connection, follows: boolean): void {
    const request = this.request;
    const head = request.head;
    this.connection = connection;
    request.connection = connection;
    request.startedMs = connection.context.runtime.timers.nowMs;
    this.begun = true;
    this.answered = false;
    this.throwAway = false;
    this.isChunked = head.chunked;
    this.remaining = Math.max(head.contentLength, 0);
    // Who sends the body at once does not wait to be asked for it.
    this.continueOwed = head.expectContinue && !follows;
    request.body.begin(this, head.chunked ? -1 : this.remaining);
    if (head.chunked) {
      this.decoder ??= new ChunkedDecoder(this.server.limits);
      this.decoder.reset();
    }
    this.response.begin(connection, this, head.method === METHOD_HEAD, head.versionMinor);
  }

  get complete(): boolean {
    return this.answered && this.request.body.complete;
  }

  /** The answer is out. */
  get isAnswered(): boolean {
    return this.answered;
  }

  /** Whether the client is the one who keeps the body from going on. */
  get awaitsBody(): boolean {
    return !this.request.body.complete && !this.paused && !this.continueOwed && this.waiting.length === 0;
  }

  /** Copies the head out of the engine's memory. `bytes[start, end)` is the head. */
  keep(bytes: Uint8Array, start: number, end: number): void {
    if (this.headCopy.length < end - start) this.headCopy = new Uint8Array(Math.max(end - start, HEAD_COPY_BYTES_MIN));
    copyOctets(this.headCopy, 0, bytes, start, end);
    this.request.head.move(this.headCopy, -start);
  }

  // The body.

  /**
   * Takes what belongs to the body from `bytes[start, end)`. Answers the offset behind it; what follows belongs to the next
   * request. Below 0: the framing is broken, minus the status.
   */
  receive(bytes: Uint8Array, start: number, end: number, whole: boolean): number {
    this.quiet = true;
    this.kept = false;
    const body = this.request.body;
    if (body.complete) return start;
    if (this.paused || (!body.taken && !this.throwAway)) return start;
    this.continueOwed = false;
    return this.isChunked ? this.receiveChunked(bytes, start, end) : this.receiveCounted(bytes, start, end, whole);
  }

  private receiveCounted(bytes: Uint8Array, start: number, end: number, whole: boolean): number {
    const bodyEnd = Math.min(end, start + this.remaining);
    this.remaining -= bodyEnd - start;
    if (bodyEnd > start) this.hand(bytes, start, bodyEnd, whole && bodyEnd === end);
    if (this.remaining === 0) {
      this.quiet = false;
      this.request.body.finish(null);
    }
    return bodyEnd;
  }

  private receiveChunked(bytes: Uint8Array, start: number, end: number): number {
    const decoder = this.decoder!;
    let position = start;
    for (;;) {
      const event = decoder.next(bytes, position, end);
      if (event < 0) return event;
      position = decoder.position;
      if (event === CHUNK_MORE) return end;
      if (event === CHUNK_END) {
        this.quiet = false;
        this.request.body.finish(decoder.trailers.count > 0 ? decoder.trailers : null);
        return position;
      }
      if (event === CHUNK_DATA) {
        if (decoder.received > this.server.limits.bodySize) return -413;
        this.hand(bytes, decoder.dataStart, decoder.dataEnd, false);
      }
      if (!this.connection.writable || this.detached) return end;
    }
  }

  private hand(bytes: Uint8Array, start: number, end: number, whole: boolean): void {
    const body = this.request.body;
    if (this.throwAway) {
      body.received += end - start;
      if (body.received > DISCARD_BYTES_MAX) this.connection.close();
      return;
    }
    const answer = body.data(bytes, start, end, whole);
    if ((answer & RECEIVED_QUIET) === 0) this.quiet = false;
    if ((answer & RECEIVED_KEEP) !== 0) this.kept = true;
  }

  /** Somebody takes the body: the client may be waiting to be asked for it, and some of it may be here. */
  consumed(): void {
    if (this.continueOwed && !this.response.headSent && this.waiting.length === 0) this.connection.write(CONTINUE);
    this.continueOwed = false;
    this.server.bodyWanted(this);
  }

  pause(): void {
    this.paused = true;
    this.connection.pause();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.server.bodyWanted(this);
  }

  get bodyPaused(): boolean {
    return this.paused;
  }

  abandoned(): void {
    this.discardBody();
    this.server.bodyWanted(this);
  }

  // The answer.

  mayKeepAlive(): boolean {
    const head = this.request.head;
    if (!head.keepAlive || this.server.draining) return false;
    const body = this.request.body;
    if (body.complete) return true;
    // A client that waits to be asked for its body may send it or not; only closing is safe (RFC 9110 section 10.1.1).
    if (this.continueOwed) return false;
    return (body.taken && !this.throwAway) || this.isChunked || this.remaining <= DISCARD_BYTES_MAX;
  }

  responded(): void {
    this.answered = true;
    this.server.responded(this);
  }

  offers(protocol: string): boolean {
    const head = this.request.head;
    return head.upgrade && head.fields.hasElement(FIELD_UPGRADE, protocol.toLowerCase());
  }

  detach(): Uint8Array {
    // Not `answered`: a complete exchange would be followed by the next request.
    this.detached = true;
    this.server.detached(this);
    return this.waiting.take();
  }

  /** Nobody takes the body any more, or ever: what is left of it is read to nobody. */
  discardBody(): void {
    this.throwAway = true;
    this.paused = false;
    this.request.body.discard();
  }

  /** The connection is gone. */
  gone(): void {
    if (!this.begun) return;
    this.request.body.fail(new BodyError(499, 'the client closed the connection'));
    if (!this.answered) this.response.gone();
    this.answered = true;
  }

  /** Gets ready to be used for another request, on any connection. */
  recycle(): void {
    this.waiting.clear();
    if (this.headCopy.length > HEAD_COPY_BYTES_MIN) this.headCopy = NOTHING;
    this.headPartial = false;
    this.stalled = false;
    this.begun = false;
    this.paused = false;
    this.throwAway = false;
    this.promised = false;
    this.released = false;
    this.detached = false;
  }
}
