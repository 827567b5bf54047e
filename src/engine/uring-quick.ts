/**
 * Room `engine`: the quick sends of a submission (see `uring-operations.ts`), in the order of queueing, as parallel arrays.
 *
 * A newcomer would get wrong: sends queued while completions are delivered belong to the next submission; `drop` keeps them.
 */
export class QuickSends {
  slots = new Int32Array(1024);
  lengths = new Int32Array(1024);
  addresses = new Float64Array(1024);
  count = 0;

  add(slot: number, address: number, length: number): void {
    if (this.count === this.slots.length) this.#grow();
    this.slots[this.count] = slot;
    this.lengths[this.count] = length;
    this.addresses[this.count++] = address;
  }

  /** Takes the first `count` out. */
  drop(count: number): void {
    if (count === 0) return;
    if (count < this.count) {
      this.slots.copyWithin(0, count, this.count);
      this.lengths.copyWithin(0, count, this.count);
      this.addresses.copyWithin(0, count, this.count);
    }
    this.count -= count;
  }

  #grow(): void {
    const { slots, lengths, addresses } = this;
    this.slots = new Int32Array(slots.length * 2);
    this.lengths = new Int32Array(slots.length * 2);
    this.addresses = new Float64Array(slots.length * 2);
    this.slots.set(slots);
    this.lengths.set(lengths);
    this.addresses.set(addresses);
  }
}
