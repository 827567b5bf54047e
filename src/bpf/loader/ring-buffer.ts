/**
 * Room `bpf`: the ring buffer (BPF_MAP_TYPE_RINGBUF): events from programs, read where the kernel wrote them, from within Node's event
 * loop and without a system call for each.
 *
 * While events come fast the reader looks by the clock instead, as network drivers do (see `latencyMs`).
 *
 * A newcomer would get wrong: the kernel wakes the reader only for an event that finds it idle, that is, when everything before was
 * given back. So the reader gives back all that it has read *before* it looks once more whether something came
 * (bpf_ringbuf_commit and ringbuf_map_poll, kernel/bpf/ringbuf.c; Documentation/bpf/ringbuf.rst).
 */
import { performance } from 'node:perf_hooks';
import { BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ } from '../../kernel/bpf-attributes.ts';
import { shim } from '../../kernel/native.ts';
import { type Watch, watch } from '../../kernel/watch.ts';
import type { Codec } from './codec.ts';
import type { KernelMap } from './map.ts';
import { mapMemory } from './mapped-array.ts';

const PAGE_BYTES = 4096;
const LENGTH_MASK = ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
const HIGH = 4294967296;
/** One turn of the event loop reads at most so much, so that a flood of events does not starve everything else. */
const BYTES_PER_TURN = 1 << 22;

/** Ticks in a row without an event after which a reader that gathers goes back to being woken. */
const EMPTY_TICKS_MAX = 4;

/** What waits for a descriptor; {@link watch} of the room `kernel` unless told, or an engine's own. */
export type WatchDescriptor = (
  descriptor: number,
  callback: () => void,
) => Disposable & Partial<Pick<Watch, 'keepAlive'>>;

/** Called for each event: its bytes are `length` of `view` from `offset`, valid during the call. */
export type EventCallback = (view: DataView, offset: number, length: number) => void;

export interface RingBufferOptions {
  /** Called after each batch of events with how many there were. */
  readonly batch?: (count: number) => void;
  /** Where the programs count events that found no room: a global variable, an element of a mapped array. */
  readonly lost?: () => number | bigint;
  /** Called when `lost` has risen, with by how much. */
  readonly onLost?: (count: number) => void;
  /**
   * How long an event may wait for others, in ms, while events come faster than that: they are gathered, and neither the programs nor
   * this process pays for a wake-up each. An event that comes alone is delivered at once. 2 unless told; 0: never gather.
   */
  readonly latencyMs?: number;
  readonly watch?: WatchDescriptor;
}

/** A reader of one ring buffer. There may be only one for each. */
export class RingBufferReader implements Disposable {
  /** How many events were given, and how many records the programs had discarded. */
  received = 0;
  discarded = 0;
  readonly #consumerPage: ArrayBuffer;
  readonly #ring: ArrayBuffer;
  /** The position up to which everything was read: low and high half. */
  readonly #consumer: Int32Array;
  readonly #consumerWide: BigInt64Array;
  /** The producers' position at 0, the records from the second page on, twice in a row so that none is ever cut. */
  readonly #words: Int32Array;
  readonly #view: DataView;
  readonly #mask: number;
  readonly #callback: EventCallback;
  readonly #options: RingBufferOptions;
  #position: number;
  readonly #lostAtStart: bigint;
  #lostBefore: bigint;
  #watch: ReturnType<WatchDescriptor> | null = null;
  readonly #descriptor: number;
  readonly #latencyMs: number;
  /** When it was woken last. */
  #wokenMs = Number.NEGATIVE_INFINITY;
  /** The ticks of a reader that gathers; null for one that is woken. */
  #gathering: NodeJS.Timeout | null = null;
  #emptyTicks = 0;
  /** Where the record that was read last begins. */
  #last: number;
  #keepsAlive = true;
  #isClosed = false;

  /** @throws KernelError: EPERM where the map may not be mapped */
  constructor(map: Pick<KernelMap, 'descriptor' | 'spec'>, callback: EventCallback, options: RingBufferOptions = {}) {
    const { type, maxEntries } = map.spec;
    if (type !== 'ringbuf') throw new TypeError(`the map is of type ${type}: a ring buffer is needed`);
    this.#callback = callback;
    this.#options = options;
    this.#mask = maxEntries - 1;
    this.#consumerPage = mapMemory(map.descriptor, PAGE_BYTES, true, 'a ring buffer');
    this.#ring = mapMemory(map.descriptor, PAGE_BYTES + 2 * maxEntries, false, 'a ring buffer', PAGE_BYTES);
    this.#consumer = new Int32Array(this.#consumerPage);
    this.#consumerWide = new BigInt64Array(this.#consumerPage);
    this.#words = new Int32Array(this.#ring);
    this.#view = new DataView(this.#ring);
    this.#position = Number(Atomics.load(this.#consumerWide, 0));
    this.#last = this.#position;
    this.#latencyMs = options.latencyMs ?? 2;
    this.#lostAtStart = this.#lostNow();
    this.#lostBefore = this.#lostAtStart;
    this.#descriptor = map.descriptor;
    this.#startWatching();
  }

  /** Bytes that were written and not read yet, those of records that are being written included. */
  get pendingBytes(): number {
    return ((Atomics.load(this.#words, 0) >>> 0) - (this.#position >>> 0)) >>> 0;
  }

  /** How many events found no room since this reader began, as far as the programs count them. */
  get lost(): number {
    return Number(this.#lostNow() - this.#lostAtStart);
  }

  #lostNow(): bigint {
    return BigInt(this.#options.lost?.() ?? 0);
  }

  /** Whether waiting for events keeps the process running; it does unless told. */
  keepAlive(on: boolean): void {
    this.#keepsAlive = on;
    this.#watch?.keepAlive?.(on);
    if (on) this.#gathering?.ref();
    else this.#gathering?.unref();
  }

  #startWatching(): void {
    this.#watch = (this.#options.watch ?? watch)(this.#descriptor, () => this.#woken());
    if (!this.#keepsAlive) this.#watch.keepAlive?.(false);
  }

  #woken(): void {
    const nowMs = performance.now();
    const isBusy = nowMs - this.#wokenMs < this.#latencyMs;
    this.#wokenMs = nowMs;
    this.read(BYTES_PER_TURN);
    if (isBusy && !this.#isClosed && this.#gathering === null) this.#gather();
  }

  /**
   * Reads by the clock. The last record is not given back meanwhile, so that for the kernel the reader is behind and need not be woken;
   * for the same reason the descriptor would always be readable, and nobody looks at it.
   */
  #gather(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = null;
    this.#emptyTicks = 0;
    this.#gathering = setInterval(() => this.#tick(), this.#latencyMs);
    if (!this.#keepsAlive) this.#gathering.unref();
  }

  #tick(): void {
    if (this.read(BYTES_PER_TURN) > 0) this.#emptyTicks = 0;
    else if (++this.#emptyTicks === EMPTY_TICKS_MAX) this.#endGathering();
  }

  /** What came between the last look and the watching makes the descriptor readable. */
  #endGathering(): void {
    clearInterval(this.#gathering ?? undefined);
    this.#gathering = null;
    this.#release();
    this.#startWatching();
  }

  /**
   * Reads what is there now, without a system call; called from the event loop by itself. How many events there were.
   * @param bytesMax it stops at the first event beyond
   */
  read(bytesMax: number = Number.MAX_SAFE_INTEGER): number {
    if (this.#isClosed) return 0;
    const words = this.#words;
    const before = this.received;
    const end = this.#position + bytesMax;
    // Each round ends by giving back what it read; if the producers went on meanwhile, they may have woken nobody.
    while (!this.#isClosed && this.#position < end && this.#readRound(words, end - this.#position) > 0);
    const count = this.received - before;
    if (count > 0) this.#options.batch?.(count);
    this.#reportLost();
    return count;
  }

  /**
   * One pass up to where the producers are now, or `bytesMax` further; how many records it took. This is the hot loop: what is counted
   * stays in locals, and positions are their low halves, which V8 keeps in registers as integers.
   */
  #readRound(words: Int32Array, bytesMax: number): number {
    const callback = this.#callback;
    const view = this.#view;
    const mask = this.#mask;
    const start = this.#position | 0;
    // No more can be there than the ring holds, which is below 2^31.
    const available = (Atomics.load(words, 0) - start) | 0;
    let taken = 0;
    let last = -1;
    let events = 0;
    let discarded = 0;
    try {
      while (taken < available && taken < bytesMax && !this.#isClosed) {
        const at = PAGE_BYTES + ((start + taken) & mask);
        // A plain load: x86-64 keeps loads in order, which is all that an acquire adds, and Atomics.load costs 8 ns more for each event.
        const header = words[at >> 2];
        // Negative: the busy bit. A program has reserved it and not submitted yet; what is behind it waits.
        if (header < 0) break;
        const length = header & LENGTH_MASK;
        last = taken;
        // Before the callback: what it throws must not make the event come again.
        taken += ((length + 7) & ~7) + BPF_RINGBUF_HDR_SZ;
        if ((header & BPF_RINGBUF_DISCARD_BIT) !== 0) {
          discarded++;
          continue;
        }
        events++;
        callback(view, at + BPF_RINGBUF_HDR_SZ, length);
      }
    } finally {
      if (last !== -1) this.#last = this.#position + last;
      this.#position += taken;
      this.received += events;
      this.discarded += discarded;
      this.#release();
    }
    return events + discarded;
  }

  /** Gives back what was read. The store is ordered before the next load of the producers' position, as Atomics are. */
  #release(): void {
    if (this.#isClosed) return;
    const position = this.#gathering === null ? this.#position : this.#last;
    const low = position | 0;
    const high = Math.floor(position / HIGH);
    // The kernel reads all 64 bits. Where only the low half changes, one store of 32 bits does, without a bigint.
    if (this.#consumer[1] === high) Atomics.store(this.#consumer, 0, low);
    else Atomics.store(this.#consumerWide, 0, BigInt(position));
  }

  #reportLost(): void {
    const { lost, onLost } = this.#options;
    if (lost === undefined || onLost === undefined) return;
    const now = this.#lostNow();
    if (now === this.#lostBefore) return;
    const count = Number(now - this.#lostBefore);
    this.#lostBefore = now;
    onLost(count);
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    clearInterval(this.#gathering ?? undefined);
    this.#gathering = null;
    this.#watch?.[Symbol.dispose]();
    this.#watch = null;
    // A reader that comes after this one goes on where this one ended.
    this.#release();
    this.#isClosed = true;
    shim.unmap(this.#consumerPage);
    shim.unmap(this.#ring);
  }
}

/** A callback that decodes each event; those of another length than the type's go to `otherwise`, or nowhere. */
export function decoded<Event>(
  codec: Codec<Event>,
  callback: (event: Event) => void,
  otherwise?: EventCallback,
): EventCallback {
  return (view, offset, length) => {
    if (length === codec.bytes) callback(codec.read(view, offset));
    else otherwise?.(view, offset, length);
  };
}
