/**
 * Room `bpf`: the regions of maps in a machine's address space: one for the map itself, which only helpers look behind,
 * and one for each value that the program has got a pointer to. They are made when first asked for and stay, as values
 * do. Also the addresses of functions, which helpers call.
 */
import type { VmArena } from './arena.ts';
import type { VmBuffer, VmStorage } from './buffers.ts';
import type { VmMap } from './maps.ts';
import type { Address, AddressSpace, Region } from './memory.ts';

/** A map of any kind. */
export type AnyMap = VmMap | VmBuffer | VmArena;

interface Known {
  readonly handle: Region;
  readonly values: Region[];
}

export class ValueRegions {
  readonly #space: AddressSpace;
  readonly #known = new Map<AnyMap, Known>();
  readonly #maps = new Map<Region, AnyMap>();
  #code: Region | undefined;

  constructor(space: AddressSpace) {
    this.#space = space;
  }

  #of(map: AnyMap): Known {
    const known = this.#known.get(map);
    if (known !== undefined) return known;
    const name = map.spec.name ?? `a ${map.spec.type} map`;
    const handle = this.#space.add({ name, bytes: new Uint8Array(0), writable: false });
    handle.gone = 'a map is reached through helpers only';
    const made = { handle, values: [] };
    this.#known.set(map, made);
    this.#maps.set(handle, map);
    return made;
  }

  /** What a program gets from `map_by_fd`. */
  handle(map: AnyMap): Region {
    return this.#of(map).handle;
  }

  /** The map behind a handle; undefined for other regions. */
  mapOf(region: Region | undefined): AnyMap | undefined {
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
  region(map: VmMap | VmStorage | VmArena, number: number): Region {
    const { values, handle } = this.#of(map);
    const known = values[number];
    if (known !== undefined) return known;
    const bytes = map.valueBytes(number);
    const writable = !('writable' in map) || map.writable;
    const guard = 'guard' in map ? map.guard : null;
    const name = guard === null ? `a value of ${handle.name}` : `the arena ${handle.name}`;
    const region = this.#space.add({ name, bytes, writable, guard });
    values[number] = region;
    return region;
  }
}
