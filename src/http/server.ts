/**
 * Room `http`: the server side of HTTP/1.1 on connections of `net`. It calls the route's handler for what `request-reader.ts`
 * reads, and keeps state for a connection only while something is incomplete.
 *
 * A newcomer would get wrong: requests of one connection are answered in order, so the next one is not begun before the
 * answer to the one before is complete; what arrives meanwhile waits, and the client is slowed down.
 */
import type { Job } from '../engine/engine.ts';
import type { Connection, ConnectionHandler } from '../net/connection.ts';
import type { Listener } from '../net/listener.ts';
import { BodyError } from './body.ts';
import { Exchange } from './exchange.ts';
import { HeadTemplates } from './head-templates.ts';
import { latin1 } from './latin1.ts';
import { defaultLimits, type HttpLimits } from './limits.ts';
import { METHOD_CONNECT } from './methods.ts';
import type { Request } from './request.ts';
import { RequestReader } from './request-reader.ts';
import type { Response } from './response.ts';
import type { Routes } from './routes.ts';
import { reasonPhrase } from './status.ts';

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

export class HttpServer extends RequestReader implements Job {
  readonly templates: HeadTemplates;
  /** Requests answered so far. */
  requests = 0;
  /** What `net` calls; give it to `listen`. */
  readonly handler: ConnectionHandler<Exchange>;
  private routes: Routes;
  private readonly options: HttpServerOptions;
  private drainAsked = false;

  constructor(routes: Routes, options: HttpServerOptions = {}) {
    super({ ...defaultLimits, ...options.limits });
    this.routes = routes;
    this.options = options;
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

  protected createExchange(): Exchange {
    return new Exchange(this);
  }

  protected handle(exchange: Exchange, bytes: Uint8Array): boolean {
    const { request, response } = exchange;
    const head = request.head;
    const handler = this.routes.find(request, bytes, head.pathStart, head.pathEnd);
    const leavesNothing = this.routes.leavesNothing;
    try {
      if (handler === null) {
        // To a client any 2xx would mean that it has a tunnel now (RFC 9110 section 9.3.6), so no handler is asked.
        this.answerStatus(response, head.method === METHOD_CONNECT ? 501 : 404);
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

  /** What the client sends is no body, too much, or too late: says so where the answer has not begun, and closes. */
  protected bodyBroken(connection: Connection<Exchange>, exchange: Exchange, status: number): void {
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
  protected refuse(connection: Connection<Exchange>, status: number): void {
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
