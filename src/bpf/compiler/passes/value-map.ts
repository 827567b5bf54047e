/**
 * Room `bpf`: what is noted of the values of one function, by their ids. The passes ask several times for each operation, which a `Map` by
 * object, with its hashes, makes the larger part of their work.
 *
 * A newcomer would get wrong: ids are unique within a function only, so a map serves the values of one.
 */
import type { IrFunction, Value } from '../ir.ts';

export class ValueMap<T> {
  readonly #items: (T | undefined)[];

  /** `target`: the function whose values it is for. Values made later may be noted, too. */
  constructor(target: IrFunction) {
    this.#items = new Array<T | undefined>(target.nextId).fill(undefined);
  }

  get({ id }: Value): T | undefined {
    return id < this.#items.length ? this.#items[id] : undefined;
  }

  set({ id }: Value, item: T | undefined): void {
    // One by one, so that the engine keeps it an array without holes.
    while (this.#items.length <= id) this.#items.push(undefined);
    this.#items[id] = item;
  }
}
