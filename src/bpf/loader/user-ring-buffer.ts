/**
 * Room `bpf`: the user ring buffer (BPF_MAP_TYPE_USER_RINGBUF, Linux 6.1): samples from user space, which a program takes with
 * bpf_user_ringbuf_drain.
 *
 * A newcomer would get wrong: writing wakes nobody. A program reads when it runs for another reason: an event, a timer, a test run.
 */
import { BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ } from '../../kernel/bpf-attributes.ts';
import { shim } from '../../kernel/native.ts';
import type { Codec } from './codec.ts';
import type { KernelMap } from './map.ts';
import { mapMemory } from './mapped-array.ts';

const PAGE_BYTES = 4096;
const HIGH = 4294967296;

/** The one writer of a user ring buffer. */
export class UserRingBuffer implements Disposable {
  /** What {@link reserve} gave lies in it. */
  readonly view: DataView;
  readonly #consumerPage: ArrayBuffer;
  readonly #consumer: Int32Array;
  readonly #ring: ArrayBuffer;
  readonly #words: Int32Array;
  readonly #wide: BigInt64Array;
  readonly #bytes: number;
  #position: number;

  constructor(map: Pick<KernelMap, 'descriptor' | 'spec'>) {
    const { type, maxEntries } = map.spec;
    if (type !== 'user_ringbuf') throw new TypeError(`the map is of type ${type}: a user ring buffer is needed`);
    this.#bytes = maxEntries;
    this.#consumerPage = mapMemory(map.descriptor, PAGE_BYTES, false, 'a user ring buffer');
    this.#ring = mapMemory(map.descriptor, PAGE_BYTES + 2 * maxEntries, true, 'a user ring buffer', PAGE_BYTES);
    this.#consumer = new Int32Array(this.#consumerPage);
    this.#words = new Int32Array(this.#ring);
    this.#wide = new BigInt64Array(this.#ring);
    this.view = new DataView(this.#ring);
    this.#position = Number(Atomics.load(this.#wide, 0));
  }

  /** Bytes that programs have not taken yet. */
  get pendingBytes(): number {
    return ((this.#position >>> 0) - (Atomics.load(this.#consumer, 0) >>> 0)) >>> 0;
  }

  /**
   * Room for a sample of `length` bytes: its offset in `view`, or -1 where there is not enough. {@link submit} or {@link discard} it;
   * samples behind it wait until then.
   */
  reserve(length: number): number {
    const whole = ((length + 7) & ~7) + BPF_RINGBUF_HDR_SZ;
    if (this.pendingBytes + whole > this.#bytes) return -1;
    const at = PAGE_BYTES + (this.#position & (this.#bytes - 1));
    Atomics.store(this.#words, at >> 2, length | BPF_RINGBUF_BUSY_BIT | 0);
    this.#words[(at >> 2) + 1] = 0;
    this.#position += whole;
    const high = Math.floor(this.#position / HIGH);
    if (this.#words[1] === high) Atomics.store(this.#words, 0, this.#position | 0);
    else Atomics.store(this.#wide, 0, BigInt(this.#position));
    return at + BPF_RINGBUF_HDR_SZ;
  }

  /** Lets programs see a sample, by its offset. */
  submit(offset: number): void {
    Atomics.and(this.#words, (offset - BPF_RINGBUF_HDR_SZ) >> 2, ~BPF_RINGBUF_BUSY_BIT);
  }

  /** Gives a sample's room back without anybody seeing it. */
  discard(offset: number): void {
    Atomics.or(this.#words, (offset - BPF_RINGBUF_HDR_SZ) >> 2, BPF_RINGBUF_DISCARD_BIT);
    this.submit(offset);
  }

  /** Writes a sample; false where there is no room. */
  push<T>(codec: Codec<T>, value: T): boolean {
    const offset = this.reserve(codec.bytes);
    if (offset === -1) return false;
    try {
      codec.write(this.view, offset, value);
    } catch (error) {
      this.discard(offset);
      throw error;
    }
    this.submit(offset);
    return true;
  }

  [Symbol.dispose](): void {
    if (this.#ring.byteLength === 0) return;
    shim.unmap(this.#consumerPage);
    shim.unmap(this.#ring);
  }
}
