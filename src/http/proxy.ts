/**
 * Room `http`: the reverse proxy as a handler: upstreams, how requests are spread over them, their health.
 *
 * A newcomer would get wrong: one proxy belongs to one thread; each worker has its own connections and its own view of health.
 */
import { performance } from 'node:perf_hooks';
import { parseAddress } from '../kernel/address.ts';
import { type Balance, type BalanceName, createBalance } from './balance.ts';
import { Forwarding, type ForwardingOptions } from './forwarding.ts';
import { type HealthCheckOptions, HealthChecks } from './health.ts';
import { Relay } from './relay.ts';
import type { Request } from './request.ts';
import type { Handler } from './routes.ts';
import { Upstream } from './upstream.ts';
import { UpstreamConnection, type UpstreamTimeouts } from './upstream-connection.ts';

export type UpstreamOption = string | { readonly address: string; readonly weight?: number };

export interface ProxyOptions extends ForwardingOptions {
  /** Default `roundRobin`. */
  readonly balance?: BalanceName;
  /** What consistent hashing depends on: the client's address, the path, or a field's name. Default `client`. */
  readonly hashKey?: string;
  /** To connect, in ms. Default 1,000. */
  readonly connectTimeoutMs?: number;
  /** Silence of the upstream, in ms, before and within its response; longer is 504. Default 30,000. */
  readonly responseTimeoutMs?: number;
  /** Further upstreams tried for a request that may be repeated. Default 2. */
  readonly retries?: number;
  /** Idle connections kept for each upstream. Default 64. */
  readonly idleConnections?: number;
  /** How long an idle connection is kept, in ms. Default 60,000. */
  readonly idleTimeoutMs?: number;
  /** Silence of a connection after a switch of protocols, in ms; 0 for no limit. Default 3,600,000. */
  readonly tunnelTimeoutMs?: number;
  readonly healthCheck?: HealthCheckOptions;
  /** Told why a request got 502, 503 or 504, and of changes of health, one line each. */
  readonly log?: (line: string) => void;
}

const HEAD_LIMITS = { headSize: 65536, headerCount: 200 };
const SPARE_RELAYS_MAX = 256;

function positive(name: string, valueMs: number): number {
  if (!(valueMs > 0 && valueMs < Number.POSITIVE_INFINITY))
    throw new RangeError(`${name} is ${valueMs}: more than 0 is allowed`);
  return valueMs;
}

/** What the relays of one proxy share. */
export class ProxyState {
  readonly options: ProxyOptions;
  readonly upstreams: readonly Upstream[];
  readonly forwarding: Forwarding;
  readonly retriesMax: number;
  readonly tunnelTimeoutMs: number;
  /** Requests sent to another upstream, or again, so far. */
  retries = 0;
  private readonly balance: Balance;
  private readonly timeouts: UpstreamTimeouts;
  private readonly idleMax: number;
  private readonly spare: Relay[] = [];
  private closed = false;
  private readonly checks: HealthChecks | null;

  constructor(upstreams: readonly UpstreamOption[], options: ProxyOptions) {
    if (upstreams.length === 0) throw new RangeError('a proxy needs at least one upstream');
    this.options = options;
    this.upstreams = upstreams.map((option) => {
      const { address, weight } = typeof option === 'string' ? { address: option, weight: undefined } : option;
      return new Upstream(address, parseAddress(address), weight === undefined ? {} : { weight });
    });
    this.balance = createBalance(options.balance ?? 'roundRobin');
    this.forwarding = new Forwarding(options);
    this.timeouts = {
      connectMs: positive('connectTimeoutMs', options.connectTimeoutMs ?? 1000),
      responseMs: positive('responseTimeoutMs', options.responseTimeoutMs ?? 30_000),
      idleMs: positive('idleTimeoutMs', options.idleTimeoutMs ?? 60_000),
    };
    this.tunnelTimeoutMs = options.tunnelTimeoutMs ?? 3_600_000;
    this.retriesMax = options.retries ?? 2;
    this.idleMax = options.idleConnections ?? 64;
    const check = options.healthCheck;
    this.checks = check === undefined ? null : new HealthChecks(this.upstreams, check, (line) => this.log(line));
  }

  /** An upstream that was not tried for this request; null where none is left. */
  pick(request: Request, tried: readonly Upstream[]): Upstream | null {
    const nowMs = request.connection.context.runtime.timers.nowMs;
    const key = this.options.balance === 'consistentHash' ? this.hashKey(request) : '';
    const picked = this.balance.pick(this.upstreams, tried, nowMs, key);
    if (picked !== null) return picked;
    // One that rests is better than none, the one that has rested longest first; what the active check found is believed.
    let best: Upstream | null = null;
    for (const upstream of this.upstreams) {
      if (!upstream.healthy || tried.includes(upstream)) continue;
      if (best === null || upstream.restingUntilMs < best.restingUntilMs) best = upstream;
    }
    return best;
  }

  private hashKey(request: Request): string {
    const kind = this.options.hashKey ?? 'client';
    if (kind === 'path') return request.path;
    if (kind !== 'client') return request.header(kind.toLowerCase()) ?? '';
    const client = request.remoteAddress;
    return client === null || client.family === 'unix' ? '' : client.address;
  }

  /** A connection to the upstream: an idle one, unless `fresh` is asked for. */
  connect(upstream: Upstream, fresh: boolean): UpstreamConnection {
    while (!fresh) {
      const idle = upstream.idle.pop();
      if (idle === undefined) break;
      if (idle.reusable) return idle;
      idle.close();
    }
    return new UpstreamConnection(upstream, HEAD_LIMITS, this.timeouts);
  }

  /** Takes a connection back whose response is complete. */
  keep(upstream: Upstream, connection: UpstreamConnection): void {
    if (upstream.idle.length >= this.idleMax || this.closed) {
      connection.close();
      return;
    }
    // It may have been paused for a slow client; idle, it has to hear that the upstream closes it.
    connection.connection.resume();
    upstream.idle.push(connection);
  }

  /** The upstream's fault: counted, and after some in a row it rests. */
  failed(upstream: Upstream, error: Error): void {
    const restMs = upstream.failed(performance.now());
    if (restMs > 0) this.log(`${upstream.name} rests for ${restMs} ms: ${error.message}`);
  }

  /** A relay for one request. */
  relay(): Relay {
    return this.spare.pop() ?? new Relay(this);
  }

  giveBack(relay: Relay): void {
    if (this.spare.length < SPARE_RELAYS_MAX) this.spare.push(relay);
  }

  log(line: string): void {
    this.options.log?.(line);
  }

  /** Ends health checks and idle connections; requests under way complete, and their connections close. */
  close(): void {
    this.closed = true;
    this.checks?.close();
    for (const upstream of this.upstreams) upstream.closeIdle();
  }
}

/** A proxy as a handler; `close` ends its idle connections and health checks. */
export type ProxyHandler = Handler & { readonly state: ProxyState; close(): void };

/**
 * Passes requests on to upstreams: `host:port`, `[v6]:port` or `unix:/path`.
 *
 * ```ts
 * await serve({ port: 8080 }, { '/api/': proxy(['127.0.0.1:9001', '127.0.0.1:9002'], { balance: 'leastConnections' }) });
 * ```
 * @throws RangeError for an address, weight or option that cannot be
 */
export function proxy(upstreams: readonly UpstreamOption[], options: ProxyOptions = {}): ProxyHandler {
  const state = new ProxyState(upstreams, options);
  const handler: Handler = (request, response) => state.relay().start(request, response);
  return Object.assign(handler, { state, close: () => state.close(), leavesNothing: true });
}
