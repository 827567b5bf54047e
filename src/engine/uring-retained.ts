/**
 * Room `engine`: what arrived for a paused socket. A pause stops the next kernel read, not the bytes that already completed;
 * they wait here, in their blocks, and come first after the resume.
 *
 * A newcomer would get wrong: this is not the hot path (a cancelled receive leaves a few blocks at most), so it may use a Map.
 */
interface Entry {
  /** Start and end of each run of bytes, by turns. */
  readonly runs: number[];
  ending: number | null;
}

export class Retained {
  /** The end of the run that {@link Retained.next} returned. */
  end = 0;
  readonly #entries = new Map<number, Entry>();

  #entry(slot: number): Entry {
    let entry = this.#entries.get(slot);
    if (entry === undefined) {
      entry = { runs: [], ending: null };
      this.#entries.set(slot, entry);
    }
    return entry;
  }

  add(slot: number, start: number, end: number): void {
    this.#entry(slot).runs.push(start, end);
  }

  /** Notes how receiving ended, behind the bytes. */
  finish(slot: number, result: number): void {
    this.#entry(slot).ending = result;
  }

  /** Takes the next run out: its start, or -1. The block is the caller's. */
  next(slot: number): number {
    const runs = this.#entries.get(slot)?.runs;
    if (runs === undefined || runs.length === 0) return -1;
    const start = runs.shift()!;
    this.end = runs.shift()!;
    return start;
  }

  isEmpty(slot: number): boolean {
    const runs = this.#entries.get(slot)?.runs;
    return runs === undefined || runs.length === 0;
  }

  /** Takes the ending out and forgets the slot. */
  ending(slot: number): number | null {
    const ending = this.#entries.get(slot)?.ending ?? null;
    this.#entries.delete(slot);
    return ending;
  }
}
