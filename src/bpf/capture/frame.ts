/**
 * Room `bpf`: what a capture consists of, whatever its file format.
 *
 * A newcomer would get wrong: a frame may be shorter than what was on the wire (a snapshot length); `length` tells what
 * it was.
 */

/** LINKTYPE_ETHERNET (the registry at tcpdump.org). */
export const LINKTYPE_ETHERNET = 1;

/** A captured frame. */
export interface Frame {
  readonly data: Uint8Array;
  /** Bytes on the wire; those of `data` unless told. */
  readonly length?: number;
  /** Nanoseconds since 1970; 0 unless told. */
  readonly timeNs?: bigint;
  /** LINKTYPE_*; Ethernet unless told. */
  readonly linkType?: number;
}

/** What is wrong with a file that should be a capture. */
export class CaptureError extends Error {
  override readonly name = 'CaptureError';
  /** Where in the file, in bytes. */
  readonly offset: number;

  constructor(offset: number, problem: string) {
    super(`byte ${offset} of the capture: ${problem}`);
    this.offset = offset;
  }
}
