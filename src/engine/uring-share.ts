/**
 * Room `engine`: how many blocks lie in the kernel's buffer ring. The ring takes them in turn, so that all of them pass through the
 * processor's cache, while a pool gives the block that came back last. A ring that holds no more bytes than the cache keeps what
 * was received there until it is sent on (64 KB through a proxy: 34 µs of the kernel's time with 512 blocks of 16 KB, 31 with 64).
 *
 * A newcomer would get wrong: a receive that finds no block ends and has to be armed again, which small requests of many
 * connections pay for. So the share doubles when that happens, but only as far as what arrives still fits the cache: of bulk,
 * the smaller batch is worth the arming.
 */

const SHARE_AT_FIRST = 64;
/** Passes after which the share may shrink by half. */
const PASSES = 4096;
/** Received bytes that stay in a processor's cache: about a second level's size. */
const CACHE_BYTES = 1 << 20;

export class ReceiveShare {
  /** Blocks that the ring should hold before each wait. */
  wanted: number;
  /** Blocks that the kernel took in this pass, and the bytes in them. */
  taken = 0;
  bytes = 0;
  readonly #least: number;
  readonly #most: number;
  #mostTaken = 0;
  #passes = 0;
  #meanBytes = 0;

  /** @param entries blocks that the ring has room for */
  constructor(entries: number) {
    this.#most = entries;
    this.#least = Math.min(SHARE_AT_FIRST, entries);
    this.wanted = this.#least;
  }

  /** A receive found no block. */
  exhausted(): void {
    if (this.wanted * this.#meanBytes < CACHE_BYTES) this.wanted = Math.min(this.wanted * 2, this.#most);
    this.#mostTaken = this.wanted;
  }

  /** The completions of a pass have been read. */
  passed(): void {
    if (this.taken > 0) {
      if (this.taken > this.#mostTaken) this.#mostTaken = this.taken;
      this.#meanBytes += (this.bytes / this.taken - this.#meanBytes) / 8;
      this.taken = this.bytes = 0;
    }
    if (++this.#passes < PASSES) return;
    const isLarge = this.#mostTaken * 4 <= this.wanted || this.wanted * this.#meanBytes >= CACHE_BYTES * 2;
    if (isLarge) this.wanted = Math.max(this.wanted >> 1, this.#least);
    this.#passes = this.#mostTaken = 0;
  }
}
