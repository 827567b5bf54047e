/**
 * Room `bpf`: the regions of maps in a machine's address space: one for the map itself, which only helpers look behind, and one
 * for each value that the program has got a pointer to. They are made when first asked for and stay, as values do.
 */

import type { VmMap } from './maps.ts';
import type { Address, AddressSpace, Region } from './memory.ts';

interface Known {
  readonly handle: Region;
  readonly values: Map<number, Region>;
}

export class ValueRegions {
  readonly #space: AddressSpace;
  readonly #known = new Map<VmMap, Known>();
  readonly #maps = new Map<Region, VmMap>();
  #code: Region | undefined;

  constructor(space: AddressSpace) {
    this.#space = space;
  }

  #of(map: VmMap): Known {
    const known = this.#known.get(map);
    if (known !== undefined) return known;
    const name = map.spec.name ?? `a ${map.spec.type} map`;
    const handle = this.#space.add({ name, bytes: new Uint8Array(0), writable: false });
    handle.gone = 'a map is reached through helpers only';
    const made = { handle, values: new Map<number, Region>() };
    this.#known.set(map, made);
    this.#maps.set(handle, map);
    return made;
  }

  /** What a program gets from `map_by_fd`. */
  handle(map: VmMap): Region {
    return this.#of(map).handle;
  }

  /** The map behind a handle; undefined for other regions. */
  mapOf(region: Region | undefined): VmMap | undefined {
    return region === undefined ? undefined : this.#maps.get(region);
  }

  /** The address of a function that begins at `slot`, to be called by helpers. */
  functionAddress(slot: number): Address {
    if (this.#code === undefined) {
      this.#code = this.#space.add({ name: 'a function', bytes: new Uint8Array(0), writable: false });
      this.#code.gone = 'its code is no memory';
    }
    return this.#code.address(slot);
  }

  /** Where the function begins whose address these words are, or -1. */
  functionAt(low: number, high: number): number {
    const isFunction = this.#code !== undefined && this.#space.regionOf(high) === this.#code;
    return isFunction ? this.#space.offsetIn(low) : -1;
  }

  /** A value by its number. */
  region(map: VmMap, number: number): Region {
    const { values, handle } = this.#of(map);
    const known = values.get(number);
    if (known !== undefined) return known;
    const bytes = map.valueBytes(number);
    const region = this.#space.add({ name: `a value of ${handle.name}`, bytes, writable: true });
    values.set(number, region);
    return region;
  }
}
