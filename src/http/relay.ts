/**
 * Room `http`: one request on its way through the proxy: upstream chosen, request sent, body streamed, response streamed back,
 * each direction slowed to the pace of who takes it.
 *
 * A newcomer would get wrong: a request is sent to another upstream only while nobody can have acted on it: no connection was
 * made, or the method is safe to repeat, no body has been sent and no byte of a response has come. And a relay is used again
 * for other requests once nothing refers to it any more.
 */
import { RECEIVED_DONE, RECEIVED_KEEP, RECEIVED_QUIET } from '../engine/engine.ts';
import type { Connection } from '../net/connection.ts';
import type { BodyConsumer } from './body.ts';
import { CHUNK_HEAD_BYTES_MAX, LAST_CHUNK, writeChunkHead } from './chunked.ts';
import { FIELD_DATE, FIELD_UPGRADE } from './field-names.ts';
import type { Fields } from './fields.ts';
import {
  maxForwards,
  mayPassUpgrade,
  RESPONSE_HEAD_ADDED_BYTES_MAX,
  type ResponseFraming,
  trailerLines,
  writeResponseFraming,
  writeResponseLines,
} from './forwarding.ts';
import { latin1 } from './latin1.ts';
import { isIdempotent, METHOD_CONNECT, METHOD_TRACE } from './methods.ts';
import type { ProxyState } from './proxy.ts';
import type { Request } from './request.ts';
import type { Response } from './response.ts';
import type { ResponseHead } from './response-head.ts';
import { writeText } from './text.ts';
import { startTunnel } from './tunnel.ts';
import type { Upstream } from './upstream.ts';
import { type ResponseTaker, TimeoutError, type UpstreamConnection } from './upstream-connection.ts';

/** Blocks with at least this much content change hands; less is copied, which costs less than a block and a send of its own. */
const KEEP_BYTES_MIN = 2048;
/** Below so many free blocks everything is copied, so that slow peers cannot take the memory of all receives. */
const KEEP_BLOCKS_FREE_MIN = 64;
/** Bytes waiting for a slow side above which the other is paused: pausing costs a cancellation, so not at every few blocks. */
const QUEUED_BYTES_MAX = 262144;
const QUEUED_BYTES_SCARCE_MAX = 32768;
const CRLF = latin1('\r\n');
/** Heads are put together here: one at a time, and copied from here at once. */
const scratch = new Uint8Array(131072 + RESPONSE_HEAD_ADDED_BYTES_MAX);

export class Relay implements ResponseTaker, BodyConsumer, ResponseFraming {
  // What the response's framing is, for the writer of its head.
  announced = -1;
  isChunked = false;
  keepsAlive = true;
  versionMinor = 1;
  private readonly proxy: ProxyState;
  private request!: Request;
  private response!: Response;
  private client!: Connection;
  private upstream: Upstream | null = null;
  private via: UpstreamConnection | null = null;
  private readonly tried: Upstream[] = [];
  private tries = 0;
  private upgrade = false;
  private bodyBegun = false;
  private bodySent = false;
  private bodyEnded = false;
  /** Who is paused for the other's sake. */
  private clientPaused = false;
  private upstreamPaused = false;
  private over = true;
  private readonly onClosed = (): void => this.failed();
  private readonly onDrained = (): void => this.resumeUpstream();

  constructor(proxy: ProxyState) {
    this.proxy = proxy;
  }

  start(request: Request, response: Response): void {
    const head = request.head;
    this.request = request;
    this.response = response;
    this.client = request.connection;
    this.upstream = null;
    this.via = null;
    this.tried.length = 0;
    this.tries = 0;
    this.bodyBegun = false;
    this.bodySent = false;
    this.bodyEnded = request.body.complete;
    this.clientPaused = false;
    this.upstreamPaused = false;
    this.over = false;
    this.versionMinor = head.versionMinor;
    if (head.method === METHOD_CONNECT) {
      this.answer(501, 'CONNECT is not offered');
    } else if (maxForwards(request) === 0) {
      this.answerHere();
    } else {
      this.upgrade = mayPassUpgrade(request);
      response.closed(this.onClosed);
      const upstream = this.proxy.pick(request, this.tried);
      if (upstream === null) this.answer(503, 'no upstream is available');
      else this.sendTo(upstream);
    }
  }

  /** Max-Forwards has run out: this server is who the request is for (RFC 9110 section 7.6.2). */
  private answerHere(): void {
    this.over = true;
    // TRACE would send back fields that the client did not write itself; it is not offered.
    if (this.request.head.method === METHOD_TRACE) {
      this.response.status = 501;
      this.response.bytes(latin1('501\n'), 'text/plain; charset=utf-8');
    } else {
      this.response.header('Allow', 'GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH').empty(204);
    }
  }

  /** Sends the head, and asks for the body as soon as somebody is there to take it. */
  private sendTo(upstream: Upstream): void {
    this.upstream = upstream;
    upstream.active++;
    upstream.requests++;
    const via = this.proxy.connect(upstream, this.tries > 0);
    this.via = via;
    via.begin(this, this.request.head.method, this.upgrade);
    this.sendHead(via.connection as Connection, upstream);
    if (via.opened) this.connected();
  }

  private sendHead(connection: Connection, upstream: Upstream): void {
    const forwarding = this.proxy.forwarding;
    const lengthMax = forwarding.requestHeadBytesMax(this.request, upstream.host);
    const engine = connection.context.runtime.engine;
    const at = lengthMax <= engine.blockSize ? connection.reserve(lengthMax) : -1;
    if (at >= 0) {
      const end = forwarding.writeRequestHead(engine.memory, at, this.request, this.upgrade, upstream.host);
      connection.commit(end - at);
      return;
    }
    const target = lengthMax <= scratch.length ? scratch : new Uint8Array(lengthMax);
    const end = forwarding.writeRequestHead(target, 0, this.request, this.upgrade, upstream.host);
    connection.writeRange(target, 0, end);
  }

  // The request's body, from the client.

  /** The upstream's connection is there. Until then the body waits with the client, so that another upstream may be tried. */
  connected(): void {
    if (this.over || this.bodyEnded || this.bodyBegun) return;
    this.bodyBegun = true;
    this.request.body.consume(this);
  }

  data(bytes: Uint8Array, start: number, end: number, whole: boolean): number {
    const via = this.via;
    if (this.over || via === null) return RECEIVED_QUIET;
    const connection = via.connection as Connection;
    this.bodySent = true;
    const chunked = this.request.head.chunked;
    if (chunked) writeChunkLine(connection, end - start);
    const kept = whole && mayKeep(connection, end - start);
    if (kept) connection.writeBlock(start, end);
    else connection.writeRange(bytes, start, end);
    if (chunked) connection.writeRange(CRLF, 0, 2);
    if (isFull(connection)) {
      this.clientPaused = true;
      this.request.body.pause();
      connection.wantDrain();
    }
    return kept ? RECEIVED_KEEP | RECEIVED_QUIET : RECEIVED_QUIET;
  }

  end(trailers: Fields | null): void {
    this.bodyEnded = true;
    if (this.over || this.via === null || !this.request.head.chunked) return;
    this.bodySent = true;
    const lines = trailers === null ? '' : trailerLines(trailers);
    this.via.connection.write(lines === '' ? LAST_CHUNK : latin1(`0\r\n${lines}\r\n`));
  }

  /** The client's body is broken or its connection gone: the upstream must not take what it has for the whole. */
  failed(): void {
    if (this.over) return;
    this.over = true;
    this.release();
    const via = this.via;
    this.via = null;
    via?.close();
  }

  /** The upstream has taken what waited: the client may go on. */
  drained(): void {
    if (!this.clientPaused) return;
    this.clientPaused = false;
    this.request.body.resume();
  }

  get awaitsUpstream(): boolean {
    return !this.upstreamPaused && (this.bodyEnded || this.clientPaused);
  }

  // The response, from the upstream.

  interim(head: ResponseHead): void {
    // 100 was answered by this server already; others are news for a client that knows them.
    if (this.over || head.status === 100 || this.versionMinor === 0 || this.response.headSent) return;
    const end = writeResponseLines(scratch, 0, head.status, head.fields, head.reasonStart, head.reasonEnd);
    this.client.writeRange(scratch, 0, end);
    this.client.writeRange(CRLF, 0, 2);
  }

  head(head: ResponseHead, bytes: Uint8Array, start: number, end: number, whole: boolean): number {
    const response = this.response;
    if (this.over || response.headSent) return RECEIVED_QUIET;
    this.upstream!.succeeded();
    response.relayed(head.status, head.contentLength);
    // Not in a 204, which has no content to be long (RFC 9110 section 8.6).
    this.announced = head.status === 204 ? -1 : head.contentLength;
    this.isChunked = response.isChunked;
    this.keepsAlive = response.keepsAlive;
    let at = writeResponseLines(scratch, 0, head.status, head.fields, head.reasonStart, head.reasonEnd);
    if (head.fields.indexOf(FIELD_DATE) < 0) at = writeText(scratch, at, response.dateLine);
    at = writeResponseFraming(scratch, at, this);
    const client = this.client;
    const engine = client.context.runtime.engine;
    const content = end - start;
    // In the block that the old head and the content lie in, the new head takes the old one's place: one send, no copy.
    const inPlace =
      whole &&
      content > 0 &&
      !this.isChunked &&
      response.hasContent &&
      at <= (start & (engine.blockSize - 1)) &&
      mayKeep(client, Math.max(content, client.bytesQueued === 0 ? KEEP_BYTES_MIN : 0));
    if (!inPlace) {
      client.writeRange(scratch, 0, at);
      return content > 0 ? this.content(bytes, start, end, false) : RECEIVED_QUIET;
    }
    for (let index = 0, to = start - at; index < at; index++) engine.memory[to + index] = scratch[index];
    response.passed(content);
    client.writeBlock(start - at, end);
    this.slow();
    return RECEIVED_KEEP | RECEIVED_QUIET;
  }

  content(bytes: Uint8Array, start: number, end: number, whole: boolean): number {
    const response = this.response;
    if (this.over || !response.hasContent) return RECEIVED_QUIET;
    const client = this.client;
    response.passed(end - start);
    if (this.isChunked) writeChunkLine(client, end - start);
    const kept = whole && mayKeep(client, end - start);
    if (kept) client.writeBlock(start, end);
    else client.writeRange(bytes, start, end);
    if (this.isChunked) client.writeRange(CRLF, 0, 2);
    this.slow();
    return kept ? RECEIVED_KEEP | RECEIVED_QUIET : RECEIVED_QUIET;
  }

  /** Slows the upstream down where the client lags. */
  private slow(): void {
    if (this.upstreamPaused || !isFull(this.client)) return;
    this.upstreamPaused = true;
    this.via!.connection.pause();
    this.client.wantDrain();
    this.response.drained(this.onDrained);
  }

  private resumeUpstream(): void {
    if (!this.upstreamPaused) return;
    this.upstreamPaused = false;
    this.via?.connection.resume();
  }

  complete(trailers: Fields | null): number {
    if (this.over) return RECEIVED_DONE;
    const { response, client } = this;
    if (trailers !== null && this.isChunked) response.rawTrailers(trailerLines(trailers));
    this.over = true;
    const via = this.via!;
    const upstream = this.upstream!;
    this.via = null;
    this.release();
    // The connection serves the next request only if this one was sent to its end.
    if (this.bodyEnded && via.reusable) this.proxy.keep(upstream, via);
    else via.close();
    // A paused client has sent more, perhaps a request that is answered within this call by anybody's code.
    const quiet = !client.paused;
    if (this.bodyEnded) this.proxy.giveBack(this);
    const request = this.request;
    const ended = this.bodyEnded;
    // From here on this relay may belong to the next request, which may begin within this call.
    response.end();
    if (!ended) request.body.abandon();
    return quiet ? RECEIVED_QUIET : RECEIVED_DONE;
  }

  tunnel(head: ResponseHead, rest: Uint8Array): void {
    const via = this.via!;
    this.over = true;
    this.via = null;
    this.upstream!.succeeded();
    const end = writeResponseLines(scratch, 0, head.status, head.fields, head.reasonStart, head.reasonEnd);
    const protocol = head.fields.getKnown(FIELD_UPGRADE) ?? '';
    const at = writeText(scratch, end, `Connection: upgrade\r\nUpgrade: ${protocol}\r\n\r\n`);
    const first = scratch.slice(0, at);
    const timeoutMs = this.proxy.tunnelTimeoutMs;
    startTunnel(this.response, this.client, via.connection as Connection, first, rest, timeoutMs, () => this.release());
  }

  upstreamFailed(error: Error, answered: boolean, reused: boolean): void {
    if (this.over) return;
    const upstream = this.upstream!;
    const late = error instanceof TimeoutError || (error as { code?: string }).code === 'ETIMEDOUT';
    // A connection that had served before and was closed meanwhile says nothing about the upstream's health.
    const stale = reused && !answered && !late;
    if (!stale) this.proxy.failed(upstream, error);
    this.release();
    this.via = null;
    if (this.response.headSent) {
      this.over = true;
      this.proxy.log(`${upstream.name} broke off its response to ${this.describe()}: ${error.message}`);
      this.response.abort();
      return;
    }
    if (!answered && this.mayRepeat(error)) {
      if (!stale) this.tried.push(upstream);
      const other = this.proxy.pick(this.request, this.tried);
      if (other !== null) {
        this.tries++;
        this.proxy.retries++;
        this.sendTo(other);
        return;
      }
    }
    this.answer(late ? 504 : 502, `${upstream.name}: ${error.message}`);
  }

  private mayRepeat(error: Error): boolean {
    if (this.bodySent || this.tries >= this.proxy.retriesMax) return false;
    const notConnected = (error as { syscall?: string }).syscall === 'connect';
    return notConnected || (isIdempotent(this.request.head.method) && !(error instanceof TimeoutError));
  }

  private describe(): string {
    return `${this.request.method} ${this.request.path}`;
  }

  private answer(status: number, why: string): void {
    this.over = true;
    this.proxy.log(`${status} for ${this.describe()}: ${why}`);
    const response = this.response;
    if (response.headSent) return;
    // Behind a complete body the request object may serve the next request as soon as this one is answered.
    const unread = this.bodyBegun && !this.bodyEnded;
    response.status = status;
    response.bytes(latin1(`${status}\n`), 'text/plain; charset=utf-8');
    if (unread) this.request.body.abandon();
  }

  private release(): void {
    if (this.upstream !== null) this.upstream.active--;
    this.upstream = null;
  }
}

/** Whether a block with so much content is better handed on than copied. */
function mayKeep(connection: Connection, length: number): boolean {
  return length >= KEEP_BYTES_MIN && connection.context.runtime.engine.blocksFree >= KEEP_BLOCKS_FREE_MIN;
}

/** Whether more waits than should; with little memory left, earlier. */
function isFull(connection: Connection): boolean {
  const queued = connection.bytesQueued;
  if (queued <= QUEUED_BYTES_SCARCE_MAX) return false;
  const engine = connection.context.runtime.engine;
  return (
    queued > Math.min(QUEUED_BYTES_MAX, Math.max(QUEUED_BYTES_SCARCE_MAX, (engine.blocksFree * engine.blockSize) >> 4))
  );
}

function writeChunkLine(connection: Connection, length: number): void {
  if (!connection.writable) return;
  const at = connection.reserve(CHUNK_HEAD_BYTES_MAX);
  if (at < 0) connection.write(`${length.toString(16)}\r\n`);
  else connection.commit(writeChunkHead(connection.context.runtime.engine.memory, at, length) - at);
}
