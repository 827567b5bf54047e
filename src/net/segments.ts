/**
 * Room `net`: what a connection still has to send, beyond the block it writes into: whole blocks, the user's own large
 * buffers, ranges of files. Sent in order, one at a time.
 *
 * A newcomer would get wrong: a `chunk` is not copied; the segment's reference is what keeps its memory alive until sent.
 */
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

/** Told when everything written before it has left, or why it will not. */
export interface WriteWaiter {
  /** Position in the stream of bytes, counted from the connection's start. */
  position: number;
  readonly callback: (error: Error | null) => void;
}
