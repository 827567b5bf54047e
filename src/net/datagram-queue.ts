/**
 * Room `net`: the datagrams that a socket has still to send, in order: payloads one behind the other in one buffer, addresses
 * in a second, the rest in typed arrays.
 *
 * A newcomer would get wrong: payloads are copied although a copy costs, because a caller may reuse its buffer at once (a
 * receive's view is gone after the call) and because payloads that touch leave as one segmented send (`datagram-batch.ts`).
 */
import { addressOf } from '../kernel/syscall.ts';

/** Told once: null when the kernel has taken the datagram, or why it has not. */
export type SendCallback = (error: Error | null) => void;

/** What an entry counts beyond its payload, so that empty datagrams are bounded too. */
export const ENTRY_BYTES = 64;
const NAME_BYTES_MAX = 128;
/** An entry without address: the socket is connected. */
const NO_NAME = -1;

export class DatagramQueue {
  /** Payloads; entry `index` has bytes [starts[index], starts[index] + lengths[index]). */
  bytes = new Uint8Array(new ArrayBuffer(4096));
  bytesAddress = addressOf(this.bytes);
  names = new Uint8Array(new ArrayBuffer(1024));
  namesAddress = addressOf(this.names);
  starts = new Int32Array(64);
  lengths = new Int32Array(64);
  /** Where the entry's address lies in `names`, or -1. Entries in a row to one peer share theirs. */
  nameStarts = new Int32Array(64);
  nameLengths = new Int32Array(64);
  /** The entries that wait are [head, tail). */
  head = 0;
  tail = 0;
  #callbacks: (SendCallback | null)[] | null = null;
  #bytesEnd = 0;
  #namesEnd = 0;

  get count(): number {
    return this.tail - this.head;
  }

  /** Payload that waits, and {@link ENTRY_BYTES} for each datagram. */
  get sizeBytes(): number {
    if (this.count === 0) return 0;
    return this.#bytesEnd - this.starts[this.head] + this.count * ENTRY_BYTES;
  }

  /** Room for a payload at the queue's end: where to write it in `bytes`, before {@link DatagramQueue.push}. */
  reserve(length: number): number {
    if (this.count === 0) this.#clear();
    if (this.#bytesEnd + length > this.bytes.length) this.#makeRoom(length);
    return this.#bytesEnd;
  }

  /** Room for an address: where to write it in `names`, before {@link DatagramQueue.push}. */
  reserveName(): number {
    if (this.count === 0) this.#clear();
    if (this.#namesEnd + NAME_BYTES_MAX > this.names.length) this.#makeNameRoom();
    return this.#namesEnd;
  }

  /** Appends what was written where `reserve` and `reserveName` said; a name's length of 0 means none. */
  push(length: number, nameLength: number, callback: SendCallback | null): void {
    if (this.tail === this.starts.length) this.#makeEntryRoom();
    const index = this.tail++;
    this.starts[index] = this.#bytesEnd;
    this.lengths[index] = length;
    this.nameLengths[index] = nameLength;
    this.nameStarts[index] = nameLength === 0 ? NO_NAME : this.#nameAt(index, nameLength);
    this.#bytesEnd += length;
    if (callback !== null) {
      this.#callbacks ??= [];
      this.#callbacks[index] = callback;
    }
  }

  /** Takes the first entry out; the answer is its callback. */
  shift(): SendCallback | null {
    const index = this.head++;
    const callbacks = this.#callbacks;
    if (callbacks === null) return null;
    const callback = callbacks[index] ?? null;
    callbacks[index] = null;
    return callback;
  }

  /** Whether two entries go to one peer. */
  samePeer(one: number, other: number): boolean {
    return this.nameStarts[one] === this.nameStarts[other];
  }

  /** The address that was just written, or the one before it where they are equal. */
  #nameAt(index: number, length: number): number {
    const names = this.names;
    const at = this.#namesEnd;
    if (index > this.head && this.nameLengths[index - 1] === length) {
      const last = this.nameStarts[index - 1];
      let byte = 0;
      while (byte < length && names[last + byte] === names[at + byte]) byte++;
      if (byte === length) return last;
    }
    this.#namesEnd = at + ((length + 7) & -8);
    return at;
  }

  #clear(): void {
    this.head = this.tail = 0;
    this.#bytesEnd = this.#namesEnd = 0;
    if (this.#callbacks !== null) this.#callbacks = null;
  }

  /** Moves what waits to the buffer's begin, and doubles the buffer where that is not enough. */
  #makeRoom(length: number): void {
    const first = this.count === 0 ? this.#bytesEnd : this.starts[this.head];
    const used = this.#bytesEnd - first;
    let size = this.bytes.length;
    while (used + length > size >> 1) size *= 2;
    if (size === this.bytes.length) {
      this.bytes.copyWithin(0, first, this.#bytesEnd);
    } else {
      const grown = new Uint8Array(new ArrayBuffer(size));
      grown.set(this.bytes.subarray(first, this.#bytesEnd));
      this.bytes = grown;
      this.bytesAddress = addressOf(grown);
    }
    for (let index = this.head; index < this.tail; index++) this.starts[index] -= first;
    this.#bytesEnd = used;
  }

  #makeNameRoom(): void {
    let first = this.#namesEnd;
    for (let index = this.head; index < this.tail; index++) {
      if (this.nameStarts[index] === NO_NAME) continue;
      first = this.nameStarts[index];
      break;
    }
    const used = this.#namesEnd - first;
    let size = this.names.length;
    while (used + NAME_BYTES_MAX > size >> 1) size *= 2;
    const grown = size === this.names.length ? this.names : new Uint8Array(new ArrayBuffer(size));
    if (grown === this.names) grown.copyWithin(0, first, this.#namesEnd);
    else grown.set(this.names.subarray(first, this.#namesEnd));
    this.names = grown;
    this.namesAddress = addressOf(grown);
    for (let index = this.head; index < this.tail; index++) {
      if (this.nameStarts[index] !== NO_NAME) this.nameStarts[index] -= first;
    }
    this.#namesEnd = used;
  }

  #makeEntryRoom(): void {
    const { head, tail } = this;
    const size = (tail - head) * 2 > this.starts.length ? this.starts.length * 2 : this.starts.length;
    this.starts = moved(this.starts, head, tail, size);
    this.lengths = moved(this.lengths, head, tail, size);
    this.nameStarts = moved(this.nameStarts, head, tail, size);
    this.nameLengths = moved(this.nameLengths, head, tail, size);
    if (this.#callbacks !== null) this.#callbacks.splice(0, head);
    this.head = 0;
    this.tail = tail - head;
  }
}

/** Entries [head, tail) at the begin of an array of `size`. */
function moved(from: Int32Array<ArrayBuffer>, head: number, tail: number, size: number): Int32Array<ArrayBuffer> {
  if (size === from.length) return from.copyWithin(0, head, tail);
  const grown = new Int32Array(size);
  grown.set(from.subarray(head, tail));
  return grown;
}
