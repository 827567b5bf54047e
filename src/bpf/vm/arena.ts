/**
 * Room `bpf`: an arena in the VM: pages that a program allocates and frees, and what its casts do with addresses.
 *
 * A newcomer would get wrong: the address that user space has is not the VM's. As in the kernel, nothing can be read at it before it is
 * cast, and a pointer that is stored without its cast back is found out when it is followed.
 */

import { CAST_TO_KERNEL } from '../instructions.ts';
import { ArenaMemory } from '../loader/arena-memory.ts';
import type { MapSpec } from '../object/spec.ts';
import { Violation } from './fault.ts';
import { type Address, type Guard, REGION_HIGH, REGION_START, type Region } from './memory.ts';

/** A page, as the kernel counts an arena's entries. */
export const PAGE_BYTES = 4096;
/** Where an arena lies whose map does not say it; of two with the same address no program is the wiser. */
const ADDRESS = 0x7000_4000_0000n;

/** What a page is: nobody's so far, in use, given back. */
const PAGE = { untouched: 0, taken: 1, freed: 2 } as const;

/** The memory of an arena. */
export class VmArena extends ArenaMemory {
  readonly spec: {
    readonly type: 'arena';
    readonly name: string;
    readonly maxEntries: number;
    readonly valueSize: number;
  };
  /** Finds accesses to pages that were given back. */
  readonly guard: Guard;
  readonly #bytes: Uint8Array;
  readonly #pages: Uint8Array;

  constructor({ name, maxEntries, extra }: Pick<MapSpec, 'name' | 'maxEntries' | 'extra'>) {
    const bytes = new Uint8Array(maxEntries * PAGE_BYTES);
    super(new DataView(bytes.buffer), extra === 0n ? ADDRESS : extra);
    this.spec = { type: 'arena', name, maxEntries, valueSize: 0 };
    this.#bytes = bytes;
    this.#pages = new Uint8Array(maxEntries);
    const check = (_region: Region, at: number, size: number): void => this.#check(at, size);
    const load = (...[region, at, size]: Parameters<Guard['load']>): boolean => {
      check(region, at, size);
      return false;
    };
    this.guard = { load, store: check };
  }

  /** All of it: the VM's regions ask for it as for a map's first value. */
  valueBytes(_number: number): Uint8Array {
    return this.#bytes;
  }

  /** Puts an object's variables at the beginning. */
  begin(bytes: Uint8Array): void {
    if (bytes.length > this.#bytes.length) {
      throw new RangeError(`${bytes.length} bytes of variables do not fit the arena ${this.spec.name}`);
    }
    this.#bytes.set(bytes);
    this.touch(0, bytes.length);
  }

  /** What user space calls this offset, as two words. */
  addressAt(offset: number): Address {
    const address = this.addressOf(offset);
    return { low: Number(BigInt.asIntN(32, address)), high: Number(BigInt.asIntN(32, address >> 32n)) };
  }

  #check(at: number, size: number): void {
    for (let page = Math.floor(at / PAGE_BYTES); page * PAGE_BYTES < at + size; page++) {
      if (this.#pages[page] !== PAGE.freed) continue;
      throw new Violation(
        `accesses ${size} bytes at offset ${at} of the arena ${this.spec.name}: page ${page} was freed`,
      );
    }
  }

  /** The kernel gives user space a page when it touches one. */
  protected override touch(offset: number, bytes: number): void {
    const last = Math.min(this.spec.maxEntries, Math.ceil((offset + bytes) / PAGE_BYTES));
    this.#pages.fill(PAGE.taken, Math.floor(offset / PAGE_BYTES), last);
  }

  /** Whether nobody uses a page. One that holds something was written through `view`. */
  #isFree(page: number): boolean {
    if (page >= this.spec.maxEntries || this.#pages[page] === PAGE.taken) return false;
    return this.#bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES).every((byte) => byte === 0);
  }

  /** Takes pages side by side, from `first` on or wherever they are free. @returns their offset, or -1 */
  allocate(count: number, first: number | null): number {
    const isFreeFrom = (start: number): boolean => {
      for (let page = start; page < start + count; page++) if (!this.#isFree(page)) return false;
      return true;
    };
    const starts = first === null ? Array.from({ length: this.spec.maxEntries }, (_, page) => page) : [first];
    const start = starts.find(isFreeFrom);
    if (start === undefined) return -1;
    this.#pages.fill(PAGE.taken, start, start + count);
    return start * PAGE_BYTES;
  }

  /** Gives pages back; what lay there is gone. */
  free(offset: number, count: number): void {
    const start = Math.floor(offset / PAGE_BYTES);
    const end = Math.min(start + count, this.spec.maxEntries);
    if (start >= end) return;
    this.#pages.fill(PAGE.freed, start, end);
    this.#bytes.fill(0, start * PAGE_BYTES, end * PAGE_BYTES);
  }
}

/** Executes a cast: `d` and `s` are places in the register file. */
export function castAddress(
  file: Int32Array,
  { id }: Region,
  arena: VmArena,
  { immediate, d, s }: { readonly immediate: number; readonly d: number; readonly s: number },
): void {
  const base = arena.addressAt(0);
  const [low, high] = [file[s], file[s + 1]];
  // The kernel's form of an address has the low half of the user's; the VM's is that of its region.
  const isOwn = high === REGION_HIGH + id;
  if (immediate === CAST_TO_KERNEL) {
    const isNull = low === 0 && high === 0;
    file[d] = isOwn || isNull ? low : low - base.low + REGION_START;
    file[d + 1] = isNull ? 0 : REGION_HIGH + id;
    return;
  }
  const user = isOwn ? (low - REGION_START + base.low) | 0 : low;
  file[d] = user;
  file[d + 1] = user === 0 ? 0 : base.high;
}
