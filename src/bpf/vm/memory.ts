/**
 * Room `bpf`: the VM's address space. Memory is a set of regions (a stack frame, a packet, one map value); a pointer's high word
 * says which, its low word where. So pointers are plain 64-bit numbers to the program, and an access outside of its region is
 * seen even where another region would follow in real memory.
 *
 * A newcomer would get wrong: a region's first byte is at START, not at 0, so that a pointer moved a little before its region
 * still carries the region's number, as `packet - 2` may be computed and only not be read.
 */
import { Violation } from './fault.ts';

/** Low word of each region's first byte. */
const START = 0x40000000;
/** High word of region 0. No ordinary number of a test looks like it. */
const HIGH = 0x60000000;
/** Linux keeps the lowest page unmapped (vm.mmap_min_addr): an address there is null and an offset. */
const NULL_PAGE_BYTES = 4096;

/** A pointer of the VM as two 32-bit words. */
export interface Address {
  readonly low: number;
  readonly high: number;
}

export interface RegionOptions {
  /** How errors call it: `packet`, `stack of frame 0`. */
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly writable: boolean;
  /**
   * Context fields of 32 bits that hold pointers, by offset (`xdp_md.data`). A 32-bit load gives the whole pointer, as the
   * verifier rewrites it.
   */
  readonly pointers?: ReadonlyMap<number, Address>;
}

export class Region {
  readonly id: number;
  name: string;
  bytes: Uint8Array;
  view: DataView;
  writable: boolean;
  pointers: ReadonlyMap<number, Address> | undefined;
  /** Bytes that may be accessed; 0 when the region is gone. */
  length: number;
  /** Why nothing may be accessed any more. */
  gone: string | undefined;

  constructor(id: number, options: RegionOptions) {
    this.id = id;
    this.name = options.name;
    this.bytes = options.bytes;
    this.view = new DataView(options.bytes.buffer, options.bytes.byteOffset, options.bytes.byteLength);
    this.writable = options.writable;
    this.pointers = options.pointers;
    this.length = options.bytes.length;
  }

  /** The address of byte `offset`, which may lie outside. */
  address(offset = 0): Address {
    return { low: (START + offset) | 0, high: HIGH + this.id };
  }
}

function hex(low: number, high: number): string {
  return `0x${((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)).toString(16)}`;
}

export class AddressSpace {
  readonly #regions: Region[] = [];
  readonly #free: number[] = [];

  add(options: RegionOptions): Region {
    const id = this.#free.pop() ?? this.#regions.length;
    const region = new Region(id, options);
    this.#regions[id] = region;
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
    return this.#regions[high - HIGH];
  }

  /** Where `low` lies in its region: negative before it. */
  offsetIn(low: number): number {
    return (low >>> 0) - START;
  }

  /**
   * The region of an access.
   * @throws Violation where it is not wholly inside one, or the region may not be written
   */
  access(low: number, high: number, offset: number, size: number, isWrite: boolean): Region {
    const region = this.#regions[high - HIGH];
    const at = (low >>> 0) - START + offset;
    if (region === undefined || at < 0 || at + size > region.length || (isWrite && !region.writable)) {
      throw this.#violation(region, low, high, at, offset, size, isWrite);
    }
    return region;
  }

  #violation(
    region: Region | undefined,
    low: number,
    high: number,
    at: number,
    offset: number,
    size: number,
    isWrite: boolean,
  ): Violation {
    const what = `${isWrite ? 'writes' : 'reads'} ${size} byte${size === 1 ? '' : 's'}`;
    if (region === undefined) {
      if (high === 0 && low >>> 0 < NULL_PAGE_BYTES) return new Violation(`${what} through a null pointer`);
      return new Violation(`${what} at ${hex(low, high)}${offset === 0 ? '' : ` + ${offset}`}, which is no pointer`);
    }
    if (region.gone !== undefined) return new Violation(`${what} of ${region.name}: ${region.gone}`);
    if (at < 0 || at + size > region.length) {
      return new Violation(`${what} at offset ${at} of ${region.name}, which has ${region.length} bytes`);
    }
    return new Violation(`${what} of ${region.name}, which is read-only`);
  }
}
