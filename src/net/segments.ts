/**
 * Room `net`: what a connection still has to send, beyond the block it writes into: whole blocks, the user's own large
 * buffers, ranges of files. Sent in order, one at a time.
 *
 * A newcomer would get wrong: a `chunk` is not copied; the segment's reference is what keeps its memory alive until sent.
 */
import type { Engine } from '../engine/engine.ts';

export type Segment =
  | { readonly kind: 'block'; start: number; end: number; readonly limit: number }
  | {
      readonly kind: 'chunk';
      readonly chunk: Uint8Array;
      readonly address: number;
      start: number;
      readonly end: number;
    }
  | FileSegment;

export interface FileSegment {
  readonly kind: 'file';
  readonly descriptor: number;
  readonly first: number;
  start: number;
  readonly end: number;
  /** Called once with the bytes sent: all of them, or fewer when the file shrank or the connection ended. */
  readonly done: (sent: number) => void;
}

/** Takes `count` sent bytes, all of them memory, from the front; blocks that are through go back. Answers how many are left. */
export function consume(segments: Segment[], count: number, engine: Engine): number {
  let left = count;
  let done = 0;
  while (left > 0) {
    const segment = segments[done];
    const first = segment.start;
    const taken = Math.min(left, segment.end - first);
    segment.start += taken;
    left -= taken;
    if (segment.start < segment.end) break;
    if (segment.kind === 'block') engine.releaseBlock(first);
    done++;
  }
  segments.splice(0, done);
  return segments.length;
}
