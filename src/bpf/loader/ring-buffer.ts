/**
 * Room `bpf`: the ring buffer (BPF_MAP_TYPE_RINGBUF): events from programs, read where the kernel wrote them, from within Node's event
 * loop and without a system call for each.
 *
 * A newcomer would get wrong: the kernel wakes the reader only for an event that finds it idle, that is, when everything before was
 * given back. So the reader gives back all that it has read *before* it looks once more whether something came
 * (bpf_ringbuf_commit and ringbuf_map_poll, kernel/bpf/ringbuf.c; Documentation/bpf/ringbuf.rst).
 */
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
    this.#lostAtStart = this.#lostNow();
    this.#lostBefore = this.#lostAtStart;
    this.#watch = (options.watch ?? watch)(map.descriptor, () => this.#turn());
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
    this.#watch?.keepAlive?.(on);
  }

  #turn(): void {
    this.read(BYTES_PER_TURN);
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
    const low = this.#position | 0;
    const high = Math.floor(this.#position / HIGH);
    // The kernel reads all 64 bits. Where only the low half changes, one store of 32 bits does, without a bigint.
    if (this.#consumer[1] === high) Atomics.store(this.#consumer, 0, low);
    else Atomics.store(this.#consumerWide, 0, BigInt(this.#position));
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
    if (this.#watch === null) return;
    this.#watch[Symbol.dispose]();
    this.#watch = null;
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
