/**
 * Room `bpf`: the VM's address space. Memory is a set of regions (a stack frame, a packet, one map value); a pointer's
 * high word says which, its low word where. So pointers are plain 64-bit numbers to the program, and an access outside
 * of its region is seen even where another region would follow in real memory.
 *
 * A newcomer would get wrong: a region's first byte is at REGION_START, not at 0, so that a pointer moved a little
 * before its region still carries the region's number, as `packet - 2` may be computed and only not be read. And of a
 * packet only as much may be accessed as the program has compared with data_end: `length` grows with what it has shown,
 * `size` is what there is.
 */
import { Violation } from './fault.ts';

/** Low word of each region's first byte. */
export const REGION_START = 0x40000000;
/** High word of region 0. No ordinary number of a test looks like it. */
export const REGION_HIGH = 0x60000000;
/** Linux keeps the lowest page unmapped (vm.mmap_min_addr): an address there is null and an offset. */
const NULL_PAGE_BYTES = 4096;

/** A pointer of the VM as two 32-bit words. */
export interface Address {
  readonly low: number;
  readonly high: number;
}

/** Judges accesses to memory that is not plain: a context, whose fields the verifier rewrites. */
export interface Guard {
  /** Does a load that is not one of plain bytes: puts its result at place `d` of the register file and returns true. */
  load(region: Region, at: number, size: number, file: Int32Array, d: number): boolean;
  /** @throws Violation for what may not be written */
  store(region: Region, at: number, size: number): void;
}

export interface RegionOptions {
  /** How errors call it: `packet`, `stack of frame 0`. */
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly writable: boolean;
  readonly guard?: Guard | null;
}

export class Region {
  readonly id: number;
  name: string;
  bytes: Uint8Array;
  view: DataView;
  writable: boolean;
  guard: Guard | null;
  /** Where the region's first byte lies in `view`. */
  base = 0;
  /** Bytes that there are. */
  size: number;
  /** How many of them lie before a packet's first byte (xdp_md.data_meta). */
  metadata = 0;
  /** Bytes that may be accessed; 0 when the region is gone. */
  length: number;
  /** Which bytes hold something, as bits; null where all do. */
  written: Int32Array | null = null;
  /** Why nothing may be accessed any more. */
  gone: string | undefined;

  constructor(id: number, options: RegionOptions) {
    this.id = id;
    this.name = options.name;
    this.bytes = options.bytes;
    this.view = new DataView(options.bytes.buffer, options.bytes.byteOffset, options.bytes.byteLength);
    this.writable = options.writable;
    this.guard = options.guard ?? null;
    this.size = options.bytes.length;
    this.length = this.size;
    this.gone = undefined;
  }

  /** The address of byte `offset`, which may lie outside. */
  address(offset = 0): Address {
    return { low: (REGION_START + offset) | 0, high: REGION_HIGH + this.id };
  }

  /** Bytes `at` to `at + size`, not copied. */
  slice(at: number, size: number): Uint8Array {
    return this.bytes.subarray(this.base + at, this.base + at + size);
  }

  /** Whether something was written to all of these bytes, where the region keeps account. */
  holds(at: number, size: number): boolean {
    const { written } = this;
    if (written === null) return true;
    const shift = at & 31;
    if (size <= 8 && shift + size <= 32) {
      const mask = (1 << size) - 1;
      return ((written[at >>> 5] >>> shift) & mask) === mask;
    }
    return this.firstEmpty(at, size) === -1;
  }

  /** The first of these bytes that holds nothing, or -1. */
  firstEmpty(at: number, size: number): number {
    const { written } = this;
    if (written === null) return -1;
    for (let byte = at; byte < at + size; byte++) if (((written[byte >>> 5] >>> (byte & 31)) & 1) === 0) return byte;
    return -1;
  }

  /** Takes account of a write. */
  mark(at: number, size: number): void {
    const { written } = this;
    if (written === null) return;
    const shift = at & 31;
    if (size <= 8 && shift + size <= 32) {
      written[at >>> 5] |= ((1 << size) - 1) << shift;
      return;
    }
    for (let byte = at; byte < at + size; byte++) written[byte >>> 5] |= 1 << (byte & 31);
  }
}

function hex(low: number, high: number): string {
  return `0x${((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)).toString(16)}`;
}

export class AddressSpace {
  readonly regions: Region[] = [];
  readonly #free: number[] = [];

  add(options: RegionOptions): Region {
    const id = this.#free.pop() ?? this.regions.length;
    const region = new Region(id, options);
    this.regions[id] = region;
    return region;
  }

  /** From now on an access is a fault that says why; its number may be given to another region after {@link reuse}. */
  retire(region: Region, reason: string): void {
    region.length = 0;
    region.gone = reason;
  }

  /** Lets the region's number be given out again. No pointer to it may be alive. */
  reuse(region: Region): void {
    this.#free.push(region.id);
  }

  /** The region a pointer belongs to, wherever in it or beside it; undefined for a number that is no pointer. */
  regionOf(high: number): Region | undefined {
    return this.regions[high - REGION_HIGH];
  }

  /** Where `low` lies in its region: negative before it. */
  offsetIn(low: number): number {
    return (low >>> 0) - REGION_START;
  }

  /**
   * The region of an access by a helper, which asks for plain bytes.
   * @throws Violation where it is not wholly inside one, may not be written, or holds nothing yet
   */
  access(low: number, high: number, size: number, isWrite: boolean): Region {
    const region = this.regionOf(high);
    const at = this.offsetIn(low);
    const isOutside = region === undefined || at < 0 || at + size > region.length;
    if (isOutside || (isWrite && !region.writable) || (!isWrite && !region.holds(at, size))) {
      throw this.violation(low, high, 0, size, isWrite);
    }
    if (isWrite) region.mark(at, size);
    return region;
  }

  /** What is wrong with an access that was found wrong. */
  violation(low: number, high: number, offset: number, size: number, isWrite: boolean): Violation {
    const region = this.regionOf(high);
    const at = this.offsetIn(low) + offset;
    const what = `${isWrite ? 'writes' : 'reads'} ${size} byte${size === 1 ? '' : 's'}`;
    if (region === undefined) {
      if (high === 0 && low >>> 0 < NULL_PAGE_BYTES) return new Violation(`${what} through a null pointer`);
      return new Violation(`${what} at ${hex(low, high)}${offset === 0 ? '' : ` + ${offset}`}, which is no pointer`);
    }
    if (region.gone !== undefined) return new Violation(`${what} of ${region.name}: ${region.gone}`);
    if (at < 0 || at + size > region.size) {
      return new Violation(`${what} at offset ${at} of ${region.name}, which has ${region.size} bytes`);
    }
    if (at + size > region.length) {
      const known = region.length === 0 ? 'without comparing' : `of which ${region.length} bytes were compared`;
      return new Violation(`${what} at offset ${at} of ${region.name}, ${known} with data_end before`);
    }
    if (isWrite) return new Violation(`${what} of ${region.name}, which is read-only`);
    const empty = region.firstEmpty(at, size) - region.size;
    return new Violation(`${what} of ${region.name}, where nothing was written at %r10${empty} yet`);
  }
}
