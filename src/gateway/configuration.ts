/**
 * Room `gateway`: what a valid configuration is once it has been read: sizes in bytes, times in milliseconds, paths absolute,
 * addresses taken apart, every field present. `read.ts` makes it, `gateway.ts` runs it.
 *
 * A newcomer would get wrong: nothing here is checked again. A value of these types has passed every check of `read.ts`, so
 * code that makes one by hand owes the same.
 */
import type { EngineChoice } from '../engine/choose.ts';
import type { BalanceName } from '../http/balance.ts';
import type { ForwardedStyle } from '../http/forwarding.ts';
import type { HttpLimits } from '../http/server.ts';
import type { SocketAddress } from '../kernel/address.ts';

/** An address as it was written and as the kernel takes it. */
export interface Endpoint {
  readonly text: string;
  readonly socket: SocketAddress;
}

export interface Configuration {
  /** The absolute path of the file that this was read from. */
  readonly file: string;
  readonly engine: EngineChoice;
  /** Threads that serve, 1 to 64. */
  readonly workers: number;
  /** Where /healthz and /metrics are answered; null for nowhere. */
  readonly admin: Endpoint | null;
  readonly accessLog: AccessLogConfiguration | null;
  /** The Server field of responses; '' for none. */
  readonly serverName: string;
  /** How long answers under way may take when the gateway ends or a reload replaces a listener. */
  readonly drainTimeoutMs: number;
  readonly limits: LimitsConfiguration;
  /** At least one. */
  readonly listeners: readonly ListenerConfiguration[];
}

export interface AccessLogConfiguration {
  /** Absolute. Its folder exists. */
  readonly file: string;
  readonly format: 'json' | 'common';
}

export interface LimitsConfiguration extends HttpLimits {
  /** Clients connected at one time to one listener of one worker; a further one is turned away. */
  readonly connections: number;
}

export interface ListenerConfiguration {
  readonly address: Endpoint;
  readonly protocol: 'http';
  /** Clients that may wait to be accepted. */
  readonly backlog: number;
  /** Whether other processes may listen on the same address. */
  readonly reusePort: boolean;
  /** Whether an IPv6 listener leaves IPv4 clients to others. */
  readonly ipv6Only: boolean;
  /** At least one; every path once. */
  readonly routes: readonly RouteConfiguration[];
}

export interface RouteConfiguration {
  readonly path: string;
  readonly action: RespondConfiguration | FilesConfiguration | ProxyConfiguration;
}

export interface RespondConfiguration {
  readonly kind: 'respond';
  /** 200 to 599. */
  readonly status: number;
  /** Names as they were written, each once whatever its case; framing fields are not among them. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface FilesConfiguration {
  readonly kind: 'files';
  /** The absolute path of a directory. */
  readonly root: string;
  /** '' for none. */
  readonly index: string;
  readonly precompressed: boolean;
  /** '' for none. */
  readonly cacheControl: string;
  readonly hidden: boolean;
}

export interface UpstreamConfiguration {
  readonly address: Endpoint;
  /** 1 to 1,000. */
  readonly weight: number;
}

export interface HealthCheckConfiguration {
  readonly path: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly unhealthyAfter: number;
  readonly healthyAfter: number;
}

export interface ProxyConfiguration {
  readonly kind: 'proxy';
  /** At least one; every address once. */
  readonly upstreams: readonly UpstreamConfiguration[];
  readonly balance: BalanceName;
  /** `client`, `path` or the name of a request's field. */
  readonly hashKey: string;
  readonly connectTimeoutMs: number;
  readonly responseTimeoutMs: number;
  /** Further upstreams tried for a request that may be repeated. */
  readonly retries: number;
  /** Idle connections kept for each upstream, by each worker. */
  readonly idleConnections: number;
  readonly stripPrefix: boolean;
  readonly forwarded: ForwardedStyle;
  readonly trustForwarded: boolean;
  /** The name in Via; '' for no Via. */
  readonly via: string;
  readonly healthCheck: HealthCheckConfiguration | null;
}
