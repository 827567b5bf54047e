/**
 * Room `http`: how a server reads: requests where they were received, bodies as they come, and what to do with octets that
 * cannot be used yet. `server.ts` is the rest: handlers, answers, timeouts and ends.
 *
 * A newcomer would get wrong: whether the client may send is never switched in passing; it follows from what there is to do
 * (`regulate`), or a connection that was paused for one reason would stay paused for none.
 */
import { RECEIVED_DONE, RECEIVED_KEEP, RECEIVED_QUIET } from '../engine/engine.ts';
import type { Connection } from '../net/connection.ts';
import { PEER_ENDED } from '../net/states.ts';
import type { Exchange } from './exchange.ts';
import { lineEndsIn } from './head.ts';
import type { HttpLimits } from './limits.ts';
import { deliver } from './takeover.ts';

const SPARE_EXCHANGES_MAX = 256;
/** The first octets of a head are always looked at, so that garbage is refused although no line has ended. */
const FIRST_BYTES = 32;

export abstract class RequestReader {
  limits: HttpLimits;
  /** Set while the server drains: answers close their connections. */
  draining = false;
  protected readonly spare: Exchange[] = [];

  constructor(limits: HttpLimits) {
    this.limits = limits;
  }

  protected abstract createExchange(): Exchange;
  /** Calls the handler. Answers whether what it left behind may wait for the end of the turn. */
  protected abstract handle(exchange: Exchange, bytes: Uint8Array): boolean;
  /** Answers what is no request, and closes. */
  protected abstract refuse(connection: Connection<Exchange>, status: number): void;
  /** The body of the request under way is wrong. */
  protected abstract bodyBroken(connection: Connection<Exchange>, exchange: Exchange, status: number): void;

  protected receive(connection: Connection<Exchange>, memory: Uint8Array, start: number, end: number): number {
    const exchange = connection.data;
    if (exchange === undefined) return this.readRequests(connection, memory, start, end);
    if (!connection.writable) return RECEIVED_QUIET;
    if (exchange.headPartial) return this.continueHead(connection, exchange, memory, start, end);
    return this.continueBody(connection, exchange, memory, start, end);
  }

  protected release(exchange: Exchange): void {
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
      const exchange = this.spare.pop() ?? this.createExchange();
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
  protected reread(connection: Connection<Exchange>, exchange: Exchange): number {
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
  protected goOn(connection: Connection<Exchange>, bytes: Uint8Array, start: number, end: number): void {
    if (connection.destroyed || connection.data !== undefined) return;
    this.readRequests(connection, bytes, start, end);
    this.regulate(connection);
  }

  /** Whether the client may send follows from what there is to do. */
  protected regulate(connection: Connection<Exchange>): void {
    const exchange = connection.data;
    if (!connection.writable) return;
    if (exchange === undefined) {
      // An answer that began before the server drained has promised to keep the connection.
      if (this.draining) connection.close();
      else if ((connection.state & PEER_ENDED) !== 0) connection.end();
      else connection.resume();
    } else if (exchange.headPartial) {
      if (!exchange.stalled) connection.resume();
    } else if (exchange.waiting.length === 0 && !exchange.bodyPaused) {
      connection.resume();
    }
  }

  /** Both the request and its answer are complete: the connection holds nothing any more. */
  protected conclude(connection: Connection<Exchange>, exchange: Exchange): void {
    connection.data = undefined;
    this.release(exchange);
    if (connection.writable) connection.setTimeout(this.limits.idleTimeoutMs);
  }
}
