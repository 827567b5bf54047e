/**
 * Room `http`: the bounds of what a client may ask of a server, and their defaults.
 *
 * A newcomer would get wrong: the head's timeout is absolute, the others begin anew with each part that moves; so a client that
 * sends an octet a second is still cut off while it sends its head.
 */
import type { HeadLimits } from './head.ts';

export interface HttpLimits extends HeadLimits {
  /** Bytes of a body; more is 413. Default 10 MB. */
  readonly bodySize: number;
  /** From the first byte of a head to its end, in ms; longer is 408. Default 10,000. */
  readonly headTimeoutMs: number;
  /** Between two parts of a body, in ms; longer is 408. Default 60,000. */
  readonly bodyTimeoutMs: number;
  /** A connection without a request, or one that takes nothing of its answer, in ms; it is closed. Default 75,000. */
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
