/**
 * Room `gateway`: what a worker tells about itself: plain data, so that it can cross threads.
 *
 * A newcomer would get wrong: counts never go back while a worker lives, whatever a reload changes; Prometheus would take that
 * for a restart.
 */
import type { EngineStatistics } from '../engine/engine.ts';
import type { SocketAddress } from '../kernel/address.ts';

export interface ListenerReport {
  /** With the port that is in use. */
  readonly address: string;
  readonly socket: SocketAddress | null;
  readonly protocol: string;
  readonly engine: string;
  readonly reason: string;
}

export interface UpstreamReport {
  readonly listener: string;
  readonly route: string;
  readonly name: string;
  readonly requests: number;
  readonly failures: number;
  readonly active: number;
  readonly healthy: boolean;
}

/** The counts of one worker since its start. */
export interface WorkerReport {
  readonly listeners: readonly {
    readonly address: string;
    readonly accepts: number;
    readonly connections: number;
    /** Clients turned away because `limits.connections` was reached. */
    readonly turnedAway: number;
  }[];
  /** Answers by listener and status, bytes of content and time from head to last byte. */
  readonly answers: readonly { readonly address: string; readonly status: number; readonly count: number }[];
  readonly contentBytes: number;
  readonly durationMs: number;
  readonly refused: number;
  readonly upstreams: readonly UpstreamReport[];
  readonly engine: { readonly name: string } & EngineStatistics;
  readonly accessLogDropped: number;
}
