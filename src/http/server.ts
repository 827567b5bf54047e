/**
 * Room `http`: the server side of HTTP/1.1 on connections of `net`. It reads requests where they were received, calls the
 * route's handler, and keeps state for a connection only while something is incomplete.
 *
 * A newcomer would get wrong: requests of one connection are answered in order, so the next one is not begun before the
 * answer to the one before is complete; what arrives meanwhile waits, and the client is slowed down.
 */
import { type Job, RECEIVED_DONE, RECEIVED_KEEP, RECEIVED_QUIET } from '../engine/engine.ts';
import type { Connection, ConnectionHandler } from '../net/connection.ts';
import type { Listener } from '../net/listener.ts';
import { PEER_ENDED } from '../net/states.ts';
import { BodyError } from './body.ts';
import { Exchange } from './exchange.ts';
import { lineEndsIn } from './head.ts';
import { HeadTemplates } from './head-templates.ts';
import { latin1 } from './latin1.ts';
import { defaultLimits, type HttpLimits } from './limits.ts';
import type { Request } from './request.ts';
import type { Response } from './response.ts';
import type { Routes } from './routes.ts';
import { reasonPhrase } from './status.ts';
import { deliver } from './takeover.ts';

export { defaultLimits, type HttpLimits } from './limits.ts';

export interface HttpServerOptions {
  readonly limits?: Partial<HttpLimits>;
  /** The Server field; '' for none. Default `millrace`. */
  readonly serverName?: string;
  /** Told of each answer when its last byte has been written, before request and response are used again. */
  readonly observe?: (request: Request, response: Response) => void;
  /** Told of a request that was refused before any handler saw it. */
  readonly refused?: (connection: Connection, status: number) => void;
  /** Told of an error that a handler threw; the client got 500 or a cut connection. */
  readonly failed?: (error: unknown, request: Request) => void;
}

const SPARE_EXCHANGES_MAX = 256;
/** The first octets of a head are always looked at, so that garbage is refused although no line has ended. */
const FIRST_BYTES = 32;

export class HttpServer implements Job {
  limits: HttpLimits;
  readonly templates: HeadTemplates;
  /** Requests answered so far. */
  requests = 0;
  /** Set while the server drains: answers close their connections. */
  draining = false;
  /** What `net` calls; give it to `listen`. */
  readonly handler: ConnectionHandler<Exchange>;
  private routes: Routes;
  private readonly options: HttpServerOptions;
  private readonly spare: Exchange[] = [];
  private drainAsked = false;

  constructor(routes: Routes, options: HttpServerOptions = {}) {
    this.routes = routes;
    this.options = options;
    this.limits = { ...defaultLimits, ...options.limits };
    this.templates = new HeadTemplates(options.serverName ?? 'millrace');
    this.handler = {
      open: (connection) => connection.setTimeout(this.limits.idleTimeoutMs),
      receive: (connection, memory, start, end) => this.receive(connection, memory, start, end),
      end: (connection) => this.ended(connection),
      drain: (connection) => this.drained(connection),
      timeout: (connection) => this.timedOut(connection),
      close: (connection) => this.closed(connection),
    };
  }

  /** Takes other routes and limits for the requests from now on; answers under way complete with the old ones. */
  reconfigure(routes: Routes, limits: HttpLimits): void {
    this.routes = routes;
    this.limits = limits;
    // Their chunk decoders have the old limits.
    this.spare.length = 0;
  }

  /** Closes the connections of a listener that have no request under way. Upgraded ones are their handlers' business. */
  closeIdle(listener: Listener): void {
    const handler = this.handler as ConnectionHandler;
    for (const connection of listener.connections) {
      if (connection.data === undefined && connection.handler === handler) connection.close();
    }
  }

  private receive(connection: Connection<Exchange>, memory: Uint8Array, start: number, end: number): number {
    const exchange = connection.data;
    if (exchange === undefined) return this.readRequests(connection, memory, start, end);
    if (!connection.writable) return RECEIVED_QUIET;
    if (exchange.headPartial) return this.continueHead(connection, exchange, memory, start, end);
    return this.continueBody(connection, exchange, memory, start, end);
  }

  private release(exchange: Exchange): void {
    if (exchange.promised) {
      exchange.released = true;
      return;
    }
    exchange.recycle();
    if (this.spare.length < SPARE_EXCHANGES_MAX) this.spare.push(exchange);
  }

  /** Reads and answers requests from `bytes[start, end)` until one lasts. No exchange is under way. */
  private readRequests(connection: Connection<Exchange>, bytes: Uint8Array, start: number, end: number): number {
    let quiet = RECEIVED_QUIET;
    let position = start;
    while (position < end && connection.writable) {
      const exchange = this.spare.pop() ?? new Exchange(this);
      if (connection.bytesQueued > connection.context.highWaterBytes) {
        this.stall(connection, exchange, bytes, position, end);
        return quiet;
      }
      const next = exchange.request.head.parse(bytes, position, end, this.limits);
      if (next <= 0) {
        if (next < 0) {
          this.release(exchange);
          this.refuse(connection, -next);
          return RECEIVED_DONE;
        }
        this.keepPartial(connection, exchange, bytes, position, end);
        return quiet;
      }
      if (exchange.request.head.contentLength > this.limits.bodySize) {
        this.release(exchange);
        this.refuse(connection, 413);
        return RECEIVED_DONE;
      }
      exchange.begin(connection as Connection, next < end);
      if (!this.handle(exchange, bytes)) quiet = RECEIVED_DONE;
      if (exchange.complete) {
        this.release(exchange);
        position = next;
        continue;
      }
      position = this.last(connection, exchange, bytes, position, next, end);
    }
    return quiet;
  }

  /** The request `bytes[start, next)` lasts beyond the handler's call. Answers where to read on: `end` while it lasts. */
  private last(
    connection: Connection<Exchange>,
    exchange: Exchange,
    bytes: Uint8Array,
    start: number,
    next: number,
    end: number,
  ): number {
    let position = next;
    if (!exchange.detached) {
      exchange.keep(bytes, start, next);
      connection.data = exchange;
      connection.setTimeout(exchange.request.body.complete ? this.limits.idleTimeoutMs : this.limits.bodyTimeoutMs);
      if (exchange.isAnswered) exchange.discardBody();
      position = this.feed(connection, exchange, bytes, next, end, false);
    }
    if (exchange.detached) {
      deliver(connection, bytes, position, end);
      this.release(exchange);
      return end;
    }
    if (connection.data !== exchange) return position;
    this.hold(connection, exchange, bytes, position, end);
    return end;
  }

  /** An incomplete head waits, at most `headTimeoutMs` from now. */
  private keepPartial(
    connection: Connection<Exchange>,
    exchange: Exchange,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    exchange.headPartial = true;
    exchange.waiting.add(bytes, start, end);
    connection.data = exchange;
    connection.setDeadline(this.limits.headTimeoutMs);
  }

  /** More waits to be sent than the client takes: nothing further is begun until that has gone out. */
  private stall(
    connection: Connection<Exchange>,
    exchange: Exchange,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    exchange.headPartial = true;
    exchange.stalled = true;
    exchange.waiting.add(bytes, start, end);
    connection.data = exchange;
    connection.pause();
    connection.wantDrain();
    connection.setTimeout(this.limits.idleTimeoutMs);
  }

  private continueHead(
    connection: Connection<Exchange>,
    exchange: Exchange,
    memory: Uint8Array,
    start: number,
    end: number,
  ): number {
    const waiting = exchange.waiting;
    const first = waiting.length <= FIRST_BYTES;
    waiting.add(memory, start, end);
    if (!first && waiting.length < this.limits.headSize && !lineEndsIn(memory, start, end)) return RECEIVED_QUIET;
    const next = exchange.request.head.parse(waiting.view(), 0, waiting.length, this.limits);
    if (next === 0) return RECEIVED_QUIET;
    return this.reread(connection, exchange);
  }

  /** Begins again with octets that were kept for an exchange whose handler has not been called. */
  private reread(connection: Connection<Exchange>, exchange: Exchange): number {
    const bytes = exchange.waiting.take();
    connection.data = undefined;
    this.release(exchange);
    connection.setTimeout(this.limits.idleTimeoutMs);
    return this.readRequests(connection, bytes, 0, bytes.length);
  }

  /** Gives octets to the body of the exchange under way. Answers the offset behind them; the exchange may be over then. */
  private feed(
    connection: Connection<Exchange>,
    exchange: Exchange,
    bytes: Uint8Array,
    start: number,
    end: number,
    whole: boolean,
  ): number {
    const position = exchange.receive(bytes, start, end, whole);
    if (position < 0) {
      this.bodyBroken(connection, exchange, -position);
      return end;
    }
    if (exchange.complete && connection.data === exchange) this.conclude(connection, exchange);
    return position;
  }

  /** Octets for an exchange under way: its body first, then whatever follows waits or is read. */
  private continueBody(
    connection: Connection<Exchange>,
    exchange: Exchange,
    memory: Uint8Array,
    start: number,
    end: number,
  ): number {
    if (exchange.waiting.length > 0) {
      this.hold(connection, exchange, memory, start, end);
      return RECEIVED_QUIET;
    }
    const position = this.feed(connection, exchange, memory, start, end, true);
    const answer = (exchange.quiet ? RECEIVED_QUIET : RECEIVED_DONE) | (exchange.kept ? RECEIVED_KEEP : 0);
    if (exchange.detached) deliver(connection, memory, position, end);
    else if (connection.data === exchange) this.hold(connection, exchange, memory, position, end);
    else if (position < end) this.goOn(connection, memory, position, end);
    return answer;
  }

  /** Keeps octets that cannot be used yet and slows the client down. */
  private hold(
    connection: Connection<Exchange>,
    exchange: Exchange,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    if (start === end || connection.data !== exchange) return;
    exchange.waiting.add(bytes, start, end);
    connection.pause();
  }

  /** The body has a taker, or goes on after a pause: what waited comes first. */
  bodyWanted(exchange: Exchange): void {
    const connection = exchange.connection as Connection<Exchange>;
    if (connection.data !== exchange || !connection.writable) return;
    const waiting = exchange.waiting.take();
    const position = this.feed(connection, exchange, waiting, 0, waiting.length, false);
    if (exchange.detached) {
      deliver(connection, waiting, position, waiting.length);
    } else if (connection.data === exchange) {
      this.hold(connection, exchange, waiting, position, waiting.length);
      this.regulate(connection);
    } else {
      this.goOn(connection, waiting, position, waiting.length);
    }
  }

  /** An exchange is over: reads on with the octets that came behind it. */
  private goOn(connection: Connection<Exchange>, bytes: Uint8Array, start: number, end: number): void {
    if (connection.destroyed || connection.data !== undefined) return;
    this.readRequests(connection, bytes, start, end);
    this.regulate(connection);
  }

  /** Whether the client may send follows from what there is to do. */
  private regulate(connection: Connection<Exchange>): void {
    const exchange = connection.data;
    if (!connection.writable) return;
    if (exchange === undefined) {
      if ((connection.state & PEER_ENDED) !== 0) connection.end();
      else connection.resume();
    } else if (exchange.headPartial) {
      if (!exchange.stalled) connection.resume();
    } else if (exchange.waiting.length === 0 && !exchange.bodyPaused) {
      connection.resume();
    }
  }

  /** Calls the handler. Answers whether what it left behind may wait for the end of the turn. */
  private handle(exchange: Exchange, bytes: Uint8Array): boolean {
    const { request, response } = exchange;
    const head = request.head;
    const handler = this.routes.find(request, bytes, head.pathStart, head.pathEnd);
    const leavesNothing = this.routes.leavesNothing;
    try {
      if (handler === null) {
        this.answerStatus(response, 404);
        return true;
      }
      const promise: unknown = handler(request, response);
      if (promise === undefined && leavesNothing) return true;
      if (promise === undefined && response.finished) {
        this.drainSoon(exchange.connection);
        return true;
      }
      if (promise instanceof Promise) this.await(exchange, promise);
    } catch (error) {
      this.handlerFailed(exchange, error);
    }
    return false;
  }

  /**
   * A handler may leave a promise, a tick or a timer behind. They run at the end of this turn, once for all requests of it,
   * which costs less than before each next event.
   */
  private drainSoon(connection: Connection): void {
    if (this.drainAsked) return;
    this.drainAsked = true;
    connection.context.runtime.engine.defer(this);
  }

  /** The engine's job: says that foreign code has run. */
  run(): boolean {
    this.drainAsked = false;
    return true;
  }

  private await(exchange: Exchange, promise: Promise<void>): void {
    exchange.promised = true;
    promise.then(
      () => this.settled(exchange),
      (error: unknown) => {
        this.handlerFailed(exchange, error);
        this.settled(exchange);
      },
    );
  }

  /** A handler that returned a promise is through: an answer that it did not complete never will be. */
  private settled(exchange: Exchange): void {
    const { request, response } = exchange;
    if (!exchange.released && !exchange.detached) {
      request.body.abandon();
      if (!response.headSent) this.handlerFailed(exchange, new Error('the handler ended without an answer'));
      else response.end();
    }
    // Only now may another request use it.
    exchange.promised = false;
    if (exchange.released) this.release(exchange);
  }

  private handlerFailed(exchange: Exchange, error: unknown): void {
    const { request, response } = exchange;
    const isClients = error instanceof BodyError;
    if (!isClients) this.options.failed?.(error, request);
    if (response.finished) return;
    if (response.headSent) {
      response.abort();
      return;
    }
    response.resetFields();
    this.answerStatus(response, isClients ? error.status : 500);
  }

  private answerStatus(response: Response, status: number): void {
    response.status = status;
    response.bytes(latin1(`${status} ${reasonPhrase(status)}\n`), 'text/plain; charset=utf-8');
  }

  /** The exchange's answer is written. */
  responded(exchange: Exchange): void {
    this.requests++;
    this.options.observe?.(exchange.request, exchange.response);
    const connection = exchange.connection as Connection<Exchange>;
    if (!exchange.response.keepsAlive) connection.close();
    // Within the handler's first call, `readRequests` goes on by itself.
    if (connection.data !== exchange) return;
    if (!exchange.request.body.complete) {
      if (!exchange.request.body.taken) exchange.discardBody();
      this.bodyWanted(exchange);
      return;
    }
    const waiting = exchange.waiting.take();
    this.conclude(connection, exchange);
    this.goOn(connection, waiting, 0, waiting.length);
  }

  /** The connection of the exchange has left HTTP. */
  detached(exchange: Exchange): void {
    this.requests++;
    this.options.observe?.(exchange.request, exchange.response);
  }

  /** Both the request and its answer are complete: the connection holds nothing any more. */
  private conclude(connection: Connection<Exchange>, exchange: Exchange): void {
    connection.data = undefined;
    this.release(exchange);
    if (connection.writable) connection.setTimeout(this.limits.idleTimeoutMs);
  }

  /** What the client sends is no body, too much, or too late: says so where the answer has not begun, and closes. */
  private bodyBroken(connection: Connection<Exchange>, exchange: Exchange, status: number): void {
    connection.setTimeout(this.limits.idleTimeoutMs);
    const response = exchange.response;
    if (!response.headSent) {
      response.resetFields();
      this.answerStatus(response.closeAfter(), status);
    } else {
      connection.close();
    }
    exchange.request.body.fail(new BodyError(status, `the body is broken, too large or too slow (${status})`));
  }

  /** Refuses what is no request: answers and closes, and reads nothing further. */
  private refuse(connection: Connection<Exchange>, status: number): void {
    this.options.refused?.(connection as Connection, status);
    const reason = reasonPhrase(status);
    const body = `${status} ${reason}\n`;
    const head = `HTTP/1.1 ${status} ${reason}\r\n${this.templates.common([])}Content-Type: text/plain; charset=utf-8\r\n`;
    connection.write(latin1(`${head}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`));
    connection.setTimeout(this.limits.idleTimeoutMs);
    connection.close();
  }

  /** The client ended its side. What it asked before is answered. */
  private ended(connection: Connection<Exchange>): void {
    const exchange = connection.data;
    if (exchange === undefined || exchange.headPartial) connection.end();
    else if (!exchange.request.body.complete) this.bodyBroken(connection, exchange, 400);
  }

  /** What waited to be sent has gone out. */
  private drained(connection: Connection<Exchange>): boolean {
    const exchange = connection.data;
    if (exchange === undefined) return true;
    if (!exchange.stalled) return exchange.response.drain();
    this.reread(connection, exchange);
    this.regulate(connection);
    return false;
  }

  private timedOut(connection: Connection<Exchange>): void {
    const exchange = connection.data;
    if (exchange?.headPartial === true && !exchange.stalled && connection.writable) {
      this.refuse(connection, 408);
    } else if (connection.bytesQueued > 0 || !connection.writable) {
      // It took nothing of its answer for the whole time; the kernel's buffer is given back too.
      connection.reset();
    } else if (exchange === undefined) {
      connection.close();
    } else if (exchange.awaitsBody) {
      this.bodyBroken(connection, exchange, 408);
    } else {
      // The handler's time, not the client's.
      connection.setTimeout(this.limits.idleTimeoutMs);
    }
  }

  private closed(connection: Connection<Exchange>): void {
    const exchange = connection.data;
    connection.data = undefined;
    exchange?.gone();
  }
}
