/**
 * Room `net`: what all connections of one listener (or one `connect`) share, so that each carries a single reference.
 */
import type { Runtime } from './runtime.ts';

export interface ConnectionOptions {
  /** Whether our side stays open when the peer ends. Default false: it ends once what was written has left. */
  readonly halfOpen?: boolean;
  /** Bytes waiting to be sent above which `write` returns false. Default 65,536. */
  readonly highWaterBytes?: number;
  /** Bytes at or below which `drain` follows. Default a quarter of the high mark. */
  readonly lowWaterBytes?: number;
  /** Start with reading paused. Default false. */
  readonly paused?: boolean;
  /**
   * Unix sockets: takes descriptors that the peer passes; the handler's `passed` gets them. Without it the kernel closes them.
   * Such a connection is told of bytes by `data` alone, never by `receive`. Default false.
   */
  readonly descriptors?: boolean;
}

export interface ConnectionContext {
  readonly runtime: Runtime;
  readonly highWaterBytes: number;
  readonly lowWaterBytes: number;
  readonly halfOpen: boolean;
  readonly paused: boolean;
  readonly descriptors: boolean;
  /** Whether chunks are poisoned after the call that they are valid in (environment variable MILLRACE_DEBUG). */
  readonly debug: boolean;
  /** Told when a connection is gone. */
  closed(): void;
}

const HIGH_WATER_BYTES = 65536;

/** @throws RangeError when the marks are not 0 <= low <= high */
export function contextOf(runtime: Runtime, given: ConnectionOptions, closed: () => void): ConnectionContext {
  const highWaterBytes = given.highWaterBytes ?? HIGH_WATER_BYTES;
  const lowWaterBytes = given.lowWaterBytes ?? highWaterBytes >> 2;
  if (!(highWaterBytes >= 0 && lowWaterBytes >= 0 && lowWaterBytes <= highWaterBytes)) {
    throw new RangeError(`water marks are ${lowWaterBytes} and ${highWaterBytes}: 0 <= low <= high is allowed`);
  }
  return {
    runtime,
    highWaterBytes,
    lowWaterBytes,
    halfOpen: given.halfOpen ?? false,
    paused: given.paused ?? false,
    descriptors: given.descriptors ?? false,
    debug: process.env.MILLRACE_DEBUG !== undefined,
    closed,
  };
}
