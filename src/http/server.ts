/**
 * Room `http`: the server side of HTTP/1.1 on connections of `net`. It reads requests where they were received, calls the
 * route's handler, and keeps state for a connection only while something is incomplete.
 *
 * A newcomer would get wrong: requests of one connection are answered in order, so the next one is not begun before the
 * answer to the one before is complete; what arrives meanwhile waits, and the client is slowed down.
 */
import { RECEIVED_DONE, RECEIVED_KEEP, RECEIVED_QUIET } from '../engine/engine.ts';
import type { Connection, ConnectionHandler } from '../net/connection.ts';
import type { Listener } from '../net/listener.ts';
import { BodyError } from './body.ts';
import { Exchange } from './exchange.ts';
import { type HeadLimits, lineEndsIn } from './head.ts';
import { HeadTemplates } from './head-templates.ts';
import type { Request } from './request.ts';
import type { Response } from './response.ts';
import type { Handler, Routes } from './routes.ts';
import { reasonPhrase } from './status.ts';

export interface HttpLimits extends HeadLimits {
  /** Bytes of a body; more is 413. Default 10 MB. */
  readonly bodySize: number;
  /** From the first byte of a head to its end, in ms; longer is 408. Default 10,000. */
  readonly headTimeoutMs: number;
  /** Between two parts of a body, in ms; longer is 408. Default 60,000. */
  readonly bodyTimeoutMs: number;
  /** A connection without a request, in ms. Default 75,000. */
  readonly idleTimeoutMs: number;
}

export const defaultLimits: HttpLimits = {
  headSize: 16384,
  headerCount: 100,
  bodySize: 10 * 1024 * 1024,
  headTimeoutMs: 10_000,
  bodyTimeoutMs: 60_000,
  idleTimeoutMs: 75_000,
};

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
/** Requests answered of one receive before others have their turn is bounded by the block's size; of waiting octets by this. */
const WAITING_BYTES_MAX = 65536;

export class HttpServer {
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
  private readonly connections = new Set<Connection>();

  constructor(routes: Routes, options: HttpServerOptions = {}) {
    this.routes = routes;
    this.options = options;
    this.limits = { ...defaultLimits, ...options.limits };
    this.templates = new HeadTemplates(options.serverName ?? 'millrace');
    this.handler = {
      open: (connection) => connection.setTimeout(this.limits.idleTimeoutMs),
      receive: (connection, memory, start, end) => this.receive(connection, memory, start, end),
      end: (connection) => this.ended(connection),
      drain: (connection) => connection.data === undefined || connection.data.response.drain(),
      timeout: (connection) => this.timedOut(connection),
      close: (connection) => this.closed(connection),
    };
  }

  /** Takes other routes and limits for the requests from now on; answers under way complete with the old ones. */
  reconfigure(routes: Routes, limits: HttpLimits): void {
    this.routes = routes;
    this.limits = limits;
  }

  /** Closes the connections of a listener that have no request under way. */
  closeIdle(listener: Listener): void {
    for (const connection of listener.connections) if (connection.data === undefined) connection.close();
  }

  private receive(connection: Connection<Exchange>, memory: Uint8Array, start: number, end: number): number {
    const exchange = connection.data;
    if (exchange === undefined) return this.readRequests(connection, memory, start, end);
    if (exchange.headPartial) return this.continueHead(connection, exchange, memory, start, end);
    return this.continueBody(connection, exchange, memory, start, end, true);
  }

  private take(): Exchange {
    return this.spare.pop() ?? new Exchange(this);
  }

  private giveBack(exchange: Exchange): void {
    exchange.recycle();
    if (this.spare.length < SPARE_EXCHANGES_MAX) this.spare.push(exchange);
  }

  /** Reads and answers requests from `bytes[start, end)` until one lasts. No exchange is under way. */
  private readRequests(connection: Connection<Exchange>, bytes: Uint8Array, start: number, end: number): number {
    let quiet = RECEIVED_QUIET;
    let position = start;
    while (position < end && !connection.destroyed && connection.writable) {
      const exchange = this.take();
      const next = exchange.request.head.parse(bytes, position, end, this.limits);
      if (next <= 0) {
        if (next < 0) {
          this.giveBack(exchange);
          this.refuse(connection, -next);
          return RECEIVED_DONE;
        }
        this.keepPartial(connection, exchange, bytes, position, end);
        return quiet;
      }
      if (exchange.request.head.contentLength > this.limits.bodySize) {
        this.giveBack(exchange);
        this.refuse(connection, 413);
        return RECEIVED_DONE;
      }
      exchange.begin(connection as Connection);
      if (!this.handle(exchange, bytes)) quiet = RECEIVED_DONE;
      if (exchange.complete) {
        this.giveBack(exchange);
        position = next;
        continue;
      }
      exchange.keep(bytes, position, next);
      connection.data = exchange;
      this.requestLasts(connection, exchange);
      this.continueBody(connection, exchange, bytes, next, end, false);
      return RECEIVED_DONE;
    }
    return quiet;
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
    exchange.store(bytes, start, end);
    connection.data = exchange;
    connection.setDeadline(this.limits.headTimeoutMs);
  }

  private continueHead(
    connection: Connection<Exchange>,
    exchange: Exchange,
    memory: Uint8Array,
    start: number,
    end: number,
  ): number {
    const worthwhile = lineEndsIn(memory, start, end) || exchange.waiting.length + end - start >= this.limits.headSize;
    exchange.store(memory, start, end);
    // Garbage is refused at its first octet, also before a line has ended: the first line is always looked at.
    if (!worthwhile && exchange.waiting.length > 32) return RECEIVED_QUIET;
    const bytes = exchange.waiting;
    const next = exchange.request.head.parse(bytes, 0, bytes.length, this.limits);
    if (next === 0) return RECEIVED_QUIET;
    connection.data = undefined;
    this.giveBack(exchange);
    connection.setTimeout(this.limits.idleTimeoutMs);
    return this.readRequests(connection, bytes, 0, bytes.length);
  }

  /** Octets for an exchange under way: its body first, then whatever follows waits or is read. */
  private continueBody(
    connection: Connection<Exchange>,
    exchange: Exchange,
    bytes: Uint8Array,
    start: number,
    end: number,
    whole: boolean,
  ): number {
    if (exchange.waiting.length > 0 || exchange.bodyPaused) {
      this.hold(connection, exchange, bytes, start, end);
      return RECEIVED_QUIET;
    }
    const position = exchange.receive(bytes, start, end, whole);
    const answer = (exchange.quiet ? RECEIVED_QUIET : RECEIVED_DONE) | (exchange.kept ? RECEIVED_KEEP : 0);
    if (position < 0) {
      this.bodyBroken(connection, exchange, -position);
      return answer;
    }
    if (connection.destroyed || connection.data !== exchange) {
      // The answer came with the body's end and the connection went on to what follows.
      if (!connection.destroyed && position < end) return answer | this.readRequests(connection, bytes, position, end);
      return answer;
    }
    if (exchange.complete) {
      this.conclude(connection, exchange);
      if (position < end) this.readRequests(connection, bytes, position, end);
    } else {
      this.hold(connection, exchange, bytes, position, end);
    }
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
    if (start === end) return;
    if (exchange.waiting.length + end - start > WAITING_BYTES_MAX) connection.destroy();
    exchange.store(bytes, start, end);
    connection.pause();
  }

  /** The body has a taker, or goes on after a pause: what waited comes first. */
  bodyWanted(exchange: Exchange): void {
    const connection = exchange.connection as Connection<Exchange>;
    if (connection.data !== exchange || connection.destroyed) return;
    const waiting = exchange.waiting;
    if (waiting.length > 0) {
      exchange.waiting = waiting.subarray(0, 0);
      this.continueBody(connection, exchange, waiting, 0, waiting.length, false);
    }
    if (connection.data !== exchange || exchange.bodyPaused || exchange.waiting.length > 0) return;
    connection.resume();
  }

  /** Calls the handler. Answers whether no foreign promise or tick can be waiting. */
  private handle(exchange: Exchange, bytes: Uint8Array): boolean {
    const { request, response } = exchange;
    const head = request.head;
    const handler = this.routes.find(request, bytes, head.pathStart, head.pathEnd);
    try {
      if (handler === null) {
        this.answerStatus(response, 404);
        return true;
      }
      const promise = handler(request, response);
      if (promise === undefined) return response.finished;
      promise.then(
        () => this.settled(exchange, response),
        (error: unknown) => this.handlerFailed(exchange, error),
      );
      return false;
    } catch (error) {
      this.handlerFailed(exchange, error);
      return false;
    }
  }

  /** A handler that returned a promise is through: an answer that it did not complete never will be. */
  private settled(exchange: Exchange, response: Response): void {
    if (exchange.response === response && !response.finished && exchange.lasts && response.headSent) response.end();
  }

  private handlerFailed(exchange: Exchange, error: unknown): void {
    const { request, response } = exchange;
    this.options.failed?.(error, request);
    if (response.finished) return;
    if (response.headSent) response.abort();
    else this.answerStatus(response, error instanceof BodyError ? error.status : 500);
  }

  private answerStatus(response: Response, status: number): void {
    response.status = status;
    response.bytes(Buffer.from(`${status} ${reasonPhrase(status)}\n`, 'latin1'), 'text/plain; charset=utf-8');
  }

  /** A request lasts beyond the call that began it: the client is heard for its body, not for its silence. */
  private requestLasts(connection: Connection<Exchange>, exchange: Exchange): void {
    this.connections.add(connection as Connection);
    connection.setTimeout(exchange.request.body.complete ? 0 : this.limits.bodyTimeoutMs);
    if (exchange.answeredEarly) exchange.discardBody();
  }

  /** The exchange's answer is written. */
  responded(exchange: Exchange): void {
    this.requests++;
    this.options.observe?.(exchange.request, exchange.response);
    const connection = exchange.connection as Connection<Exchange>;
    const close = !exchange.response.keepsAlive;
    if (close) connection.close();
    if (connection.data !== exchange) return;
    if (!exchange.complete) {
      exchange.discardBody();
      this.bodyWanted(exchange);
      return;
    }
    this.conclude(connection, exchange);
    const waiting = exchange.waiting;
    this.giveBack(exchange);
    if (close || connection.destroyed) return;
    if (waiting.length > 0) this.readRequests(connection, waiting, 0, waiting.length);
    if (connection.data === undefined) connection.resume();
  }

  private conclude(connection: Connection<Exchange>, exchange: Exchange): void {
    if (connection.data === exchange) connection.data = undefined;
    this.connections.delete(connection as Connection);
    if (!connection.destroyed && connection.writable) connection.setTimeout(this.limits.idleTimeoutMs);
  }

  private bodyBroken(connection: Connection<Exchange>, exchange: Exchange, status: number): void {
    exchange.request.body.fail(new BodyError(status, `the body's framing is broken or it is too large (${status})`));
    if (exchange.response.headSent) {
      connection.close();
      return;
    }
    exchange.response.closeAfter();
    this.answerStatus(exchange.response, status);
  }

  /** Refuses what is no request: answers and closes, and reads nothing further. */
  private refuse(connection: Connection<Exchange>, status: number): void {
    this.options.refused?.(connection as Connection, status);
    const reason = reasonPhrase(status);
    const body = `${status} ${reason}\n`;
    const head = `HTTP/1.1 ${status} ${reason}\r\n${this.templates.common([])}Content-Type: text/plain; charset=utf-8\r\n`;
    connection.write(
      Buffer.from(`${head}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`, 'latin1'),
    );
    connection.close();
  }

  /** The client ended its side. What it asked before is answered. */
  private ended(connection: Connection<Exchange>): void {
    const exchange = connection.data;
    if (exchange === undefined) {
      connection.end();
    } else if (exchange.headPartial || !exchange.request.body.complete) {
      connection.destroy();
    } else {
      exchange.response.closeAfter();
    }
  }

  private timedOut(connection: Connection<Exchange>): void {
    const exchange = connection.data;
    if (exchange === undefined) {
      connection.close();
    } else if (exchange.headPartial) {
      this.refuse(connection, 408);
    } else if (!exchange.request.body.complete) {
      this.bodyBroken(connection, exchange, 408);
    }
  }

  private closed(connection: Connection<Exchange>): void {
    const exchange = connection.data;
    if (exchange === undefined) return;
    connection.data = undefined;
    this.connections.delete(connection as Connection);
    exchange.gone();
  }
}

export type { Handler };
