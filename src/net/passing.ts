/**
 * Room `net`: a Unix connection over which descriptors come and go (SCM_RIGHTS, unix(7)). It reads messages instead of plain
 * bytes, so that what came along is not closed by the kernel.
 *
 * A newcomer would get wrong: pausing cannot give back a message that the engine has taken already, and a stream must not lose
 * it. So it is held here as a copy, in front of what the kernel still has.
 */
import type { Job } from '../engine/engine.ts';
import { sendDescriptors } from '../kernel/descriptor-passing.ts';
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import { shim } from '../kernel/native.ts';
import { call, SYS } from '../kernel/syscall.ts';

/** What a connection that receives descriptors has to offer. */
export interface PassingOwner {
  readonly paused: boolean;
  readonly destroyed: boolean;
  /** Delivers a chunk with the descriptors that came with its first byte. */
  deliverPassed(chunk: Uint8Array, descriptors: readonly number[]): void;
  receiveEnded(result: number): void;
}

interface Held {
  /** Null for the end of the stream. */
  readonly chunk: Uint8Array | null;
  readonly descriptors: readonly number[];
}

export class Passing implements Job {
  private readonly owner: PassingOwner;
  private arrived: number[] = [];
  private held: Held[] = [];
  private ended = false;

  constructor(owner: PassingOwner) {
    this.owner = owner;
  }

  get isEmpty(): boolean {
    return this.held.length === 0;
  }

  passed(descriptor: number): void {
    this.arrived.push(descriptor);
  }

  /** Bytes arrived; none are the end of the stream. The chunk is valid during the call. */
  message(chunk: Uint8Array): void {
    // An engine that reads in a loop may meet the end more than once before it is stopped.
    if (this.ended) return;
    this.ended = chunk.length === 0;
    const descriptors = this.arrived;
    if (descriptors.length > 0) this.arrived = [];
    if (this.owner.paused || this.held.length > 0) {
      this.held.push({ chunk: chunk.length === 0 ? null : chunk.slice(), descriptors });
      return;
    }
    this.tell(chunk.length === 0 ? null : chunk, descriptors);
  }

  private tell(chunk: Uint8Array | null, descriptors: readonly number[]): void {
    if (chunk === null) this.owner.receiveEnded(0);
    else this.owner.deliverPassed(chunk, descriptors);
  }

  /** After a resume: what is held, for as long as nobody pauses again. */
  run(): boolean {
    while (this.held.length > 0 && !this.owner.paused && !this.owner.destroyed) {
      const { chunk, descriptors } = this.held.shift()!;
      try {
        this.tell(chunk, descriptors);
      } catch (error) {
        shim.raise(error);
      }
    }
    return true;
  }

  /** Closes what nobody has got. */
  dispose(): void {
    for (const { descriptors } of this.held) closeAll(descriptors);
    closeAll(this.arrived);
    this.held = [];
    this.arrived = [];
  }
}

export function closeAll(descriptors: readonly number[]): void {
  for (const descriptor of descriptors) call(SYS.close, descriptor);
}

const PAUSE_FIRST_MS = 1;
const PAUSE_MAX_MS = 50;

/** What a connection that sends descriptors has to offer. */
export interface PassingSender {
  readonly destroyed: boolean;
  readonly descriptor: number;
  readonly bytesQueued: number;
  write(chunk: Uint8Array | string, callback?: (error: Error | null) => void): boolean;
}

/** Sends descriptors with the bytes of `data`, behind everything that was written before; see `Connection.sendDescriptors`. */
export async function passDescriptors(
  owner: PassingSender,
  descriptors: readonly number[],
  data: Uint8Array,
): Promise<void> {
  let pauseMs = 0;
  while (true) {
    while (owner.bytesQueued > 0) await written(owner, '');
    if (owner.destroyed) throw new KernelError('sendmsg', ERRNO.EPIPE, { remedy: 'the connection is closed' });
    const result = sendDescriptors(owner.descriptor, descriptors, data);
    if (result >= 0) {
      // They go along with the first byte; the rest is bytes like any others.
      if (result < data.length) await written(owner, data.subarray(result));
      return;
    }
    if (result !== -ERRNO.EAGAIN && result !== -ERRNO.EINTR) {
      throw new KernelError('sendmsg', result, { object: `${descriptors.length} descriptors` });
    }
    pauseMs = Math.min(Math.max(pauseMs * 2, PAUSE_FIRST_MS), PAUSE_MAX_MS);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

function written(owner: PassingSender, chunk: Uint8Array | string): Promise<void> {
  return new Promise((resolve, reject) => owner.write(chunk, (error) => (error === null ? resolve() : reject(error))));
}
