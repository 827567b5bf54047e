/**
 * Room `http`: a message body on its way in. Whoever wants it takes it with `consume` (without copies) or as a whole; until
 * then it waits, a little here and the rest with the kernel.
 *
 * A newcomer would get wrong: runs given to a consumer are views valid during the call.
 */
import { RECEIVED_QUIET } from '../engine/engine.ts';
import type { Fields } from './fields.ts';

export interface BodyConsumer {
  /**
   * Bytes [start, end) of `bytes`. `whole` says that they are a block of the engine's alone, so that RECEIVED_KEEP may be
   * answered to own it. Answers the bits of `Sink.received`.
   */
  data(bytes: Uint8Array, start: number, end: number, whole: boolean): number;
  /** The body is complete. `trailers` is a view, null where there are none. */
  end(trailers: Fields | null): void;
  /** It will not be complete: the client broke the framing, went away, or was too slow. */
  failed(error: Error): void;
}

/** What the body's owner (the exchange) does for it. */
export interface BodySource {
  /** Somebody takes the body from now on. */
  consumed(): void;
  pause(): void;
  resume(): void;
  /** Nobody wants the rest. */
  abandoned(): void;
}

const WAITING = 0;
const FLOWING = 1;
const COMPLETE = 2;
const FAILED = 3;
const DISCARDED = 4;

export class BodyError extends Error {
  override readonly name = 'BodyError';
  /** The status that answers it. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export class Body {
  private state = COMPLETE;
  private source: BodySource | null = null;
  private consumer: BodyConsumer | null = null;
  private failure: Error | null = null;
  /** Bytes given to the consumer so far. */
  received = 0;
  /** From the head: -1 where only the end tells. */
  length = 0;

  /** @internal Begins a body; `length` 0 is none. */
  begin(source: BodySource, length: number): void {
    this.source = source;
    this.consumer = null;
    this.failure = null;
    this.received = 0;
    this.length = length;
    this.state = length === 0 ? COMPLETE : WAITING;
  }

  /** Whether everything has arrived and was handed on. */
  get complete(): boolean {
    return this.state === COMPLETE;
  }

  get taken(): boolean {
    return this.consumer !== null;
  }

  /**
   * Takes the body without copying. Once a request; `end` comes in this call where there is no body.
   * @throws Error when it is taken already
   */
  consume(consumer: BodyConsumer): void {
    if (this.consumer !== null) throw new Error('the body is taken already');
    if (this.state === FAILED || this.state === DISCARDED) {
      consumer.failed(this.failure ?? new Error('the body was thrown away, because the request had been answered'));
      return;
    }
    this.consumer = consumer;
    if (this.state === COMPLETE) {
      consumer.end(null);
      return;
    }
    this.state = FLOWING;
    this.source!.consumed();
  }

  /** Stops reading for a while; the client is slowed down. */
  pause(): void {
    if (this.state === FLOWING) this.source!.pause();
  }

  resume(): void {
    if (this.state === FLOWING) this.source!.resume();
  }

  /** Lets the rest go: it is read and thrown away, or costs the connection where it is long. The consumer hears no more. */
  abandon(): void {
    if (this.state === WAITING || this.state === FLOWING) this.source!.abandoned();
  }

  /** @internal The rest is thrown away from now on; whoever asks for it later is told so. */
  discard(): void {
    if (this.state !== WAITING && this.state !== FLOWING) return;
    this.state = DISCARDED;
    this.consumer = null;
  }

  /** @internal */
  data(bytes: Uint8Array, start: number, end: number, whole: boolean): number {
    this.received += end - start;
    return this.consumer === null ? RECEIVED_QUIET : this.consumer.data(bytes, start, end, whole);
  }

  /** @internal */
  finish(trailers: Fields | null): void {
    if (this.state === COMPLETE || this.state === FAILED) return;
    this.state = COMPLETE;
    this.consumer?.end(trailers);
  }

  /** @internal */
  fail(error: Error): void {
    if (this.state === COMPLETE || this.state === FAILED) return;
    this.state = FAILED;
    this.failure = error;
    this.consumer?.failed(error);
  }

  /** The whole, as a copy. Rejects with a {@link BodyError} where it will not be complete. */
  bytes(): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const parts: Uint8Array[] = [];
      let length = 0;
      this.consume({
        data(bytes, start, end) {
          parts.push(bytes.slice(start, end));
          length += end - start;
          return 0;
        },
        end() {
          const all = new Uint8Array(length);
          let at = 0;
          for (const part of parts) {
            all.set(part, at);
            at += part.length;
          }
          resolve(all);
        },
        failed: reject,
      });
    });
  }

  /** The whole as UTF-8. */
  async text(): Promise<string> {
    return new TextDecoder().decode(await this.bytes());
  }

  /** Copies of the parts, the client slowed to the loop's pace. Leaving the loop early abandons the rest. */
  async *[Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
    const parts: Uint8Array[] = [];
    let done = false;
    let failure: Error | null = null;
    let wake: () => void = () => {};
    const body = this;
    const consumer: BodyConsumer = {
      data(bytes, start, end) {
        parts.push(bytes.slice(start, end));
        body.pause();
        wake();
        return 0;
      },
      end() {
        done = true;
        wake();
      },
      failed(error) {
        failure = error;
        wake();
      },
    };
    this.consume(consumer);
    try {
      for (;;) {
        const part = parts.shift();
        if (part !== undefined) yield part;
        else if (failure !== null) throw failure;
        else if (done) return;
        else {
          const more = new Promise<void>((resolve) => {
            wake = resolve;
          });
          this.resume();
          await more;
        }
      }
    } finally {
      if (this.consumer === consumer) this.abandon();
    }
  }
}
