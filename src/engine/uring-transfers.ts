/**
 * Room `engine`: file to socket beside the ring. io_uring's splice always runs on a worker thread, so sendfile(2) on a
 * non-blocking socket is cheaper; the calls of a turn are made in one crossing and a full socket is waited for by the ring.
 *
 * A newcomer would get wrong: the file's own position is not used, each call says its offset.
 */
import { addressOf, record, resultOf, runRecords, SYS } from '../kernel/syscall.ts';

const BATCH_MAX = 256;
/** One call's size, so that one transfer cannot hold the turn. */
const TRANSFER_MAX_BYTES = 1 << 20;

interface Transfer {
  readonly descriptor: number;
  readonly file: number;
  readonly offset: number;
  readonly length: number;
}

export class FileTransfers {
  readonly #transfers = new Map<number, Transfer>();
  #queue: number[] = [];
  readonly #positions = new BigInt64Array(new ArrayBuffer(BATCH_MAX * 8));
  readonly #address = addressOf(this.#positions);
  #running: number[] = [];
  readonly #results = new Int32Array(BATCH_MAX);

  get waiting(): number {
    return this.#queue.length;
  }

  add(slot: number, descriptor: number, file: number, offset: number, length: number): void {
    this.#transfers.set(slot, { descriptor, file, offset, length: Math.min(length, TRANSFER_MAX_BYTES) });
    this.#queue.push(slot);
  }

  /** The socket became writable. */
  retry(slot: number): void {
    this.#queue.push(slot);
  }

  drop(slot: number): void {
    this.#transfers.delete(slot);
  }

  /** Takes a queued transfer out; whether there was one. One that waits for the socket is not queued. */
  cancel(slot: number): boolean {
    const place = this.#transfers.has(slot) ? this.#queue.indexOf(slot) : -1;
    if (place < 0) return false;
    this.#queue.splice(place, 1);
    this.#transfers.delete(slot);
    return true;
  }

  /** Makes the queued calls and returns how many; see `slotAt` and `resultAt` until the next run. */
  run(): number {
    if (this.#queue.length === 0) return 0;
    this.#running = this.#queue.splice(0, BATCH_MAX);
    const count = this.#running.length;
    for (let index = 0; index < count; index++) {
      const transfer = this.#transfers.get(this.#running[index])!;
      this.#positions[index] = BigInt(transfer.offset);
      record(index, SYS.sendfile, transfer.descriptor, transfer.file, this.#address + index * 8, transfer.length);
    }
    runRecords(count);
    // Copied, because what hears of a result may use the record table.
    for (let index = 0; index < count; index++) this.#results[index] = resultOf(index);
    return count;
  }

  slotAt(index: number): number {
    return this.#running[index];
  }

  resultAt(index: number): number {
    return this.#results[index];
  }
}
