/**
 * Room `http`: octets of a connection that cannot be used yet, in the order of their arrival.
 *
 * A newcomer would get wrong: a head may come an octet at a time, so room is made by doubling; copying everything for each
 * octet would let a client spend our time.
 */
const NOTHING = new Uint8Array(0);
const ROOM_MIN = 512;

export class Stored {
  length = 0;
  private memory: Uint8Array = NOTHING;

  /** Puts `bytes[start, end)` behind what waits already. */
  add(bytes: Uint8Array, start: number, end: number): void {
    const length = this.length + end - start;
    if (length > this.memory.length) {
      const wider = new Uint8Array(Math.max(ROOM_MIN, length, this.length === 0 ? 0 : this.memory.length * 2));
      wider.set(this.memory.subarray(0, this.length));
      this.memory = wider;
    }
    this.memory.set(bytes.subarray(start, end), this.length);
    this.length = length;
  }

  /** The octets, in memory of their own, valid until the next `add`. */
  view(): Uint8Array {
    return this.memory.subarray(0, this.length);
  }

  /** Takes everything out; the octets then belong to the caller. */
  take(): Uint8Array {
    if (this.length === 0) return NOTHING;
    const taken = this.view();
    this.clear();
    return taken;
  }

  clear(): void {
    if (this.memory !== NOTHING) this.memory = NOTHING;
    this.length = 0;
  }
}
