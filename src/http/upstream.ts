/**
 * Room `http`: one server behind the proxy: where it is, how it has been doing, and its idle connections.
 *
 * A newcomer would get wrong: an idle connection may have been closed by the other side a moment ago. Who takes one has to
 * be ready to find out only after sending.
 */
import type { SocketAddress } from '../kernel/address.ts';
import type { UpstreamConnection } from './upstream-connection.ts';

export interface UpstreamSettings {
  /** Share of the requests relative to the others, 1 to 1,000. Default 1. */
  readonly weight?: number;
}

/** After so many failures in a row the upstream rests, longer each time, unless it is the only one left. */
const FAILURES_BEFORE_REST = 3;
const REST_FIRST_MS = 1000;
const REST_MAX_MS = 30_000;

export class Upstream {
  readonly name: string;
  /** What goes into Host where nothing better is known. */
  readonly host: string;
  readonly address: SocketAddress;
  readonly weight: number;
  /** Requests under way. */
  active = 0;
  /** Requests begun, and those that failed for the upstream's fault, so far. */
  requests = 0;
  failures = 0;
  /** What the active health check found last; true without one. */
  healthy = true;
  /** Connections ready for the next request, the one used last on top. */
  readonly idle: UpstreamConnection[] = [];
  /** For smooth weighted round robin. */
  current = 0;
  private failuresInRow = 0;
  /** Until when it rests, on the scale of `performance.now()`. */
  restingUntilMs = 0;
  private restMs = REST_FIRST_MS;

  constructor(name: string, address: SocketAddress, settings: UpstreamSettings = {}) {
    this.name = name;
    this.host = address.family === 'unix' ? 'localhost' : name;
    this.address = address;
    this.weight = settings.weight ?? 1;
    if (!Number.isInteger(this.weight) || this.weight < 1 || this.weight > 1000) {
      throw new RangeError(`the weight of ${name} is ${this.weight}: an integer from 1 to 1000 is allowed`);
    }
  }

  available(nowMs: number): boolean {
    return this.healthy && nowMs >= this.restingUntilMs;
  }

  succeeded(): void {
    if (this.failuresInRow === 0) return;
    this.failuresInRow = 0;
    this.restMs = REST_FIRST_MS;
    this.restingUntilMs = 0;
  }

  /**
   * Counts a failure to connect, to answer in time, or to speak HTTP (the passive health check). Answers for how long it rests
   * where this one was the last straw, else 0: many requests that fail together are one reason to rest, not many.
   */
  failed(nowMs: number): number {
    this.failures++;
    if (++this.failuresInRow < FAILURES_BEFORE_REST || nowMs < this.restingUntilMs) return 0;
    const restMs = this.restMs;
    this.restingUntilMs = nowMs + restMs;
    this.restMs = Math.min(restMs * 2, REST_MAX_MS);
    return restMs;
  }

  closeIdle(): void {
    for (const connection of this.idle.splice(0)) connection.close();
  }
}
