/**
 * Room `http`: one request on its way through the proxy: upstream chosen, request sent, body streamed, response streamed back,
 * each direction slowed to the pace of who takes it.
 *
 * A newcomer would get wrong: a request is sent to another upstream only while nobody can have acted on it: no connection was
 * made, or the method is safe to repeat, no body has been sent and no byte of a response has come.
 */
import { RECEIVED_KEEP, RECEIVED_QUIET } from '../engine/engine.ts';
import type { Connection } from '../net/connection.ts';
import type { BodyConsumer } from './body.ts';
import { CHUNK_HEAD_BYTES_MAX, LAST_CHUNK, writeChunkHead } from './chunked.ts';
import { FIELD_NAMES } from './field-names.ts';
import type { Fields } from './fields.ts';
import { requestHead, responseLines } from './forwarding.ts';
import { METHOD_CONNECT, METHOD_PATCH, METHOD_POST } from './methods.ts';
import type { ProxyState } from './proxy.ts';
import type { Request } from './request.ts';
import { latin1, type Response, writeLatin1 } from './response.ts';
import { BODY_LENGTH, type ResponseHead } from './response-head.ts';
import { startTunnel } from './tunnel.ts';
import type { Upstream } from './upstream.ts';
import { type ResponseTaker, TimeoutError, type UpstreamConnection } from './upstream-connection.ts';

/** Blocks with at least this much content change hands; less is copied, which costs less than a block and a send of its own. */
const KEEP_BYTES_MIN = 2048;
const CRLF = latin1('\r\n');

export class Relay implements ResponseTaker, BodyConsumer {
  private readonly proxy: ProxyState;
  private readonly request: Request;
  private readonly response: Response;
  private readonly client: Connection;
  private upstream: Upstream | null = null;
  private via: UpstreamConnection | null = null;
  private readonly tried: Upstream[] = [];
  private bodySent = false;
  private bodyEnded = false;
  private over = false;
  private readonly chunkedUp: boolean;

  constructor(proxy: ProxyState, request: Request, response: Response) {
    this.proxy = proxy;
    this.request = request;
    this.response = response;
    this.client = request.connection;
    this.chunkedUp = request.head.chunked;
  }

  start(): void {
    if (this.request.head.method === METHOD_CONNECT) {
      this.answer(501, 'CONNECT is not offered');
      return;
    }
    this.response.closed(() => this.failed());
    this.send();
    if (!this.over) this.request.body.consume(this);
  }

  /** Chooses an upstream and sends the head. */
  private send(): void {
    const upstream = this.proxy.pick(this.request, this.tried);
    if (upstream === null) {
      this.answer(
        this.tried.length > 0 ? 502 : 503,
        this.tried.length > 0 ? 'no further upstream to try' : 'no upstream is available',
      );
      return;
    }
    this.upstream = upstream;
    upstream.active++;
    upstream.requests++;
    const via = this.proxy.connect(upstream, this.tried.length > 0);
    this.via = via;
    const upgrade = this.request.head.upgrade;
    via.begin(this, this.request.head.method, upgrade);
    const head = requestHead(this.request, this.proxy.options, upgrade);
    const connection = via.connection;
    const at = head.length <= 8192 ? connection.reserve(head.length) : -1;
    if (at >= 0) {
      writeLatin1(connection.context.runtime.engine.memory, at, head);
      connection.commit(head.length);
    } else {
      connection.write(latin1(head));
    }
    connection.setTimeout(this.proxy.responseTimeoutMs);
  }

  // The request's body, from the client.

  data(bytes: Uint8Array, start: number, end: number, whole: boolean): number {
    const connection = this.via?.connection;
    if (this.over || connection === undefined) return RECEIVED_QUIET;
    this.bodySent = true;
    let kept = 0;
    const length = end - start;
    if (this.chunkedUp) writeChunkLine(connection as Connection, length);
    if (whole && length >= KEEP_BYTES_MIN) {
      connection.writeBlock(start, end);
      kept = RECEIVED_KEEP;
    } else {
      connection.write(bytes.subarray(start, end));
    }
    if (this.chunkedUp) connection.write(CRLF);
    if (connection.bytesQueued > connection.context.highWaterBytes) this.pauseClient(connection as Connection);
    return kept | RECEIVED_QUIET;
  }

  private pauseClient(connection: Connection): void {
    this.request.body.pause();
    connection.wantDrain();
  }

  end(trailers: Fields | null): void {
    this.bodyEnded = true;
    if (this.over || this.via === null || !this.chunkedUp) return;
    let lines = '';
    for (let index = 0; trailers !== null && index < trailers.count; index++) {
      lines += `${trailers.rawName(index)}: ${trailers.value(index)}\r\n`;
    }
    this.via.connection.write(lines === '' ? LAST_CHUNK : latin1(`0\r\n${lines}\r\n`));
  }

  /** The client's body is broken or its connection gone: the upstream must not take what it has for the whole. */
  failed(): void {
    if (this.over) return;
    this.over = true;
    this.release();
    this.via?.close();
    this.via = null;
  }

  /** drained of the upstream: the client may go on. */
  drained(): void {
    this.request.body.resume();
  }

  // The response, from the upstream; also the failure of either.

  interim(head: ResponseHead): void {
    // 100 was answered by this server already; others are news for a client that knows them.
    if (head.status === 100 || this.request.head.versionMinor === 0 || this.response.headSent) return;
    this.client.write(latin1(`HTTP/1.1 ${head.status} ${head.reason}\r\n${responseLines(head.fields)}\r\n`));
  }

  head(head: ResponseHead): void {
    const response = this.response;
    if (this.over || response.headSent) return;
    this.upstream!.succeeded();
    response.status = head.status;
    const fields = head.fields;
    const names: string[] = [];
    for (let index = 0; index < fields.count; index++) {
      const id = fields.id(index);
      if (id > 0) names.push(FIELD_NAMES[id]);
    }
    response.rawLines(responseLines(fields), names);
    if (head.contentLength >= 0) response.contentLength(head.contentLength);
    else if (head.body === BODY_LENGTH || head.body === 0) response.contentLength(0);
    response.flushHead();
  }

  content(bytes: Uint8Array, start: number, end: number, whole: boolean): number {
    const response = this.response;
    if (this.over || !response.hasContent) return RECEIVED_QUIET;
    const client = this.client;
    const length = end - start;
    let kept = 0;
    response.beforeBlock(length);
    if (whole && length >= KEEP_BYTES_MIN) {
      client.writeBlock(start, end);
      kept = RECEIVED_KEEP;
    } else {
      client.write(bytes.subarray(start, end));
    }
    response.afterBlock();
    if (client.bytesQueued > client.context.highWaterBytes) {
      this.via!.connection.pause();
      client.wantDrain();
      response.drained(this.resumeUpstream);
    }
    return kept | RECEIVED_QUIET;
  }

  private readonly resumeUpstream = (): void => {
    this.via?.connection.resume();
  };

  complete(trailers: Fields | null): void {
    const response = this.response;
    if (this.over) return;
    for (let index = 0; trailers !== null && index < trailers.count; index++) {
      response.trailer(trailers.rawName(index), trailers.value(index));
    }
    this.finish(this.bodyEnded);
    response.end();
  }

  tunnel(head: ResponseHead, rest: Uint8Array): void {
    const via = this.via!;
    this.over = true;
    this.via = null;
    const lines = `${responseLines(head.fields)}Connection: upgrade\r\nUpgrade: ${head.field('upgrade') ?? ''}\r\n`;
    const first = latin1(`HTTP/1.1 101 ${head.reason}\r\n${lines}\r\n`);
    startTunnel(this.client, via.connection as Connection, first, rest, () => this.release());
  }

  upstreamFailed(error: Error, answered: boolean, reused: boolean): void {
    if (this.over) return;
    const upstream = this.upstream!;
    const late = error instanceof TimeoutError || (error as { code?: string }).code === 'ETIMEDOUT';
    // A connection that had served before and was closed meanwhile says nothing about the upstream's health.
    const stale = reused && !answered && !late;
    if (!stale) upstream.failed(performance.now());
    this.release();
    this.via = null;
    if (this.response.headSent) {
      this.over = true;
      this.proxy.log(`${upstream.name} broke off its response: ${error.message}`);
      this.response.abort();
      return;
    }
    if (!answered && this.mayRepeat(error, late)) {
      if (!stale) this.tried.push(upstream);
      this.proxy.retries++;
      this.send();
      if (!this.over && this.bodyEnded && this.chunkedUp) this.via!.connection.write(LAST_CHUNK);
      return;
    }
    this.answer(late ? 504 : 502, `${upstream.name}: ${error.message}`);
  }

  private mayRepeat(error: Error, late: boolean): boolean {
    if (this.bodySent || late || this.tried.length >= this.proxy.retriesMax) return false;
    const notConnected = (error as { syscall?: string }).syscall === 'connect';
    const method = this.request.head.method;
    return notConnected || (method !== METHOD_POST && method !== METHOD_PATCH && method !== 0);
  }

  private answer(status: number, why: string): void {
    this.over = true;
    this.proxy.log(`${status} for ${this.request.method} ${this.request.path}: ${why}`);
    const response = this.response;
    if (response.headSent) return;
    response.status = status;
    response.bytes(latin1(`${status}\n`), 'text/plain; charset=utf-8');
  }

  private release(): void {
    if (this.upstream !== null) this.upstream.active--;
    this.upstream = null;
  }

  /** The response is complete: the connection serves the next request, if the whole request was sent on it. */
  private finish(requestComplete: boolean): void {
    this.over = true;
    const via = this.via!;
    this.via = null;
    const upstream = this.upstream!;
    this.release();
    if (requestComplete && via.reusable) this.proxy.keep(upstream, via);
    else via.close();
  }
}

function writeChunkLine(connection: Connection, length: number): void {
  const at = connection.reserve(CHUNK_HEAD_BYTES_MAX);
  if (at < 0) {
    connection.write(`${length.toString(16)}\r\n`);
    return;
  }
  connection.commit(writeChunkHead(connection.context.runtime.engine.memory, at, length) - at);
}
