/**
 * Room `engine`: the quick sends under way (see `uring-operations.ts`), first in, first out, as parallel arrays used in a ring.
 *
 * A newcomer would get wrong: sends queued while completions are delivered belong to the next submission; `drop` keeps them.
 */
export class QuickSends {
  slots = new Int32Array(1024);
  lengths = new Int32Array(1024);
  addresses = new Float64Array(1024);
  count = 0;
  private first = 0;

  add(slot: number, address: number, length: number): void {
    if (this.count === this.slots.length) this.grow();
    const place = this.place(this.count++);
    this.slots[place] = slot;
    this.lengths[place] = length;
    this.addresses[place] = address;
  }

  /** Where the arrays hold the send that is `index` behind the oldest. */
  place(index: number): number {
    return (this.first + index) & (this.slots.length - 1);
  }

  /** Takes the oldest `count` out. */
  drop(count: number): void {
    this.first = this.place(count);
    this.count -= count;
  }

  private grow(): void {
    const { slots, lengths, addresses, count } = this;
    this.slots = new Int32Array(count * 2);
    this.lengths = new Int32Array(count * 2);
    this.addresses = new Float64Array(count * 2);
    const before = this.first;
    this.first = 0;
    for (let index = 0; index < count; index++) {
      const place = (before + index) & (count - 1);
      this.slots[index] = slots[place];
      this.lengths[index] = lengths[place];
      this.addresses[index] = addresses[place];
    }
  }
}
