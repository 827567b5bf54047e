/**
 * Room `bpf`: what a helper of the VM sees of the program that calls it: its arguments as numbers, memory and maps, and
 * the place for the result. One object serves every call of a machine.
 */
import type { VmStorage } from './buffers.ts';
import { Violation } from './fault.ts';
import type { Machine } from './machine.ts';
import { VmMap } from './maps.ts';
import type { Address, Region } from './memory.ts';
import type { AnyMap } from './value-regions.ts';

/** A function that programs call by number. */
export interface Helper {
  readonly name: string;
  /** How many of r1 to r5 it reads. */
  readonly arguments: number;
  run(call: HelperCall): void;
}

export class HelperCall {
  readonly machine: Machine;
  /** Whether the result is a pointer that the program must compare with 0 before it uses it. */
  mayBeNull = false;
  /** Where the memory begins that {@link reach} gave. */
  at = 0;

  constructor(machine: Machine) {
    this.machine = machine;
  }

  /** Argument `n` (1 to 5) as a signed number of 32 bits. */
  signed(n: number): number {
    return this.machine.file[n * 2];
  }

  /** Argument `n` as an unsigned number of 32 bits. */
  unsigned(n: number): number {
    return this.machine.file[n * 2] >>> 0;
  }

  /** Argument `n` as an unsigned number of 64 bits. */
  wide(n: number): bigint {
    const { file } = this.machine;
    return (BigInt(file[n * 2 + 1] >>> 0) << 32n) | BigInt(file[n * 2] >>> 0);
  }

  /**
   * The memory that argument `n` points to, without a copy or a view of it: it begins {@link at} bytes into what is given.
   * @throws Violation where it is not all the program's, or holds nothing yet
   */
  reach(n: number, size: number, isWritten = false): Uint8Array {
    const { file, space } = this.machine;
    try {
      const region = space.access(file[n * 2], file[n * 2 + 1], size, isWritten);
      this.at = space.offsetIn(file[n * 2]) + region.base;
      return region.bytes;
    } catch (error) {
      throw error instanceof Violation ? new Violation(`argument ${n}: ${error.message}`) : error;
    }
  }

  /** The same as a view. Empty memory is allowed whatever the pointer. */
  bytes(n: number, size: number, isWritten = false): Uint8Array {
    if (size === 0) return new Uint8Array(0);
    const bytes = this.reach(n, size, isWritten);
    return bytes.subarray(this.at, this.at + size);
  }

  /** Whether argument `n` is null. */
  isNull(n: number): boolean {
    const { file } = this.machine;
    return file[n * 2] === 0 && file[n * 2 + 1] === 0;
  }

  /** The region that argument `n` points into. @throws Violation for a number */
  region(n: number): Region {
    const region = this.machine.space.regionOf(this.machine.file[n * 2 + 1]);
    if (region === undefined) throw new Violation(`argument ${n} is no pointer`);
    if (region.gone !== undefined) throw new Violation(`argument ${n} is ${region.name}: ${region.gone}`);
    return region;
  }

  /** Where in its region argument `n` points. */
  offset(n: number): number {
    return this.machine.space.offsetIn(this.machine.file[n * 2]);
  }

  /** Argument `n` as an address. */
  address(n: number): Address {
    const { file } = this.machine;
    return { low: file[n * 2], high: file[n * 2 + 1] };
  }

  /** Where the function begins that argument `n` is the address of. @throws Violation where it is none */
  callback(n: number): number {
    const { file, values } = this.machine;
    const slot = values.functionAt(file[n * 2], file[n * 2 + 1]);
    if (slot < 0) throw new Violation(`argument ${n} is no function of the program`);
    return slot;
  }

  /** The text that argument `n` points to, up to its NUL or the end of its memory. */
  text(n: number): string {
    try {
      return this.textAt(this.address(n));
    } catch (error) {
      throw error instanceof Violation ? new Violation(`argument ${n}: ${error.message}`) : error;
    }
  }

  /** The same at an address. */
  textAt({ low, high }: Address, encoding: 'utf8' | 'latin1' = 'utf8'): string {
    const { space } = this.machine;
    const at = space.offsetIn(low);
    const region = space.regionOf(high);
    const rest = region === undefined || at < 0 ? 0 : Math.max(0, region.length - at);
    const end = region?.slice(at, rest).indexOf(0) ?? -1;
    return Buffer.from(this.bytesAt({ low, high }, end === -1 ? Math.max(1, rest) : end)).toString(encoding);
  }

  /** The memory at an address. */
  bytesAt({ low, high }: Address, size: number): Uint8Array {
    const { space } = this.machine;
    return space.access(low, high, size, false).slice(space.offsetIn(low), size);
  }

  /** The map that argument `n` names. @throws Violation where it is no map */
  anyMap(n: number): AnyMap {
    const { file, space, values } = this.machine;
    const map = values.mapOf(space.regionOf(file[n * 2 + 1]));
    if (map === undefined) throw new Violation(`argument ${n} is no map`);
    return map;
  }

  /** The same for a map of a given class. @throws Violation where it is of another */
  mapOf<M extends AnyMap>(n: number, kind: abstract new (spec: never) => M): M {
    const map = this.anyMap(n);
    if (map instanceof kind) return map;
    throw new Violation(
      `argument ${n} is ${map.spec.name ?? 'a map'}, a ${map.spec.type}, which the helper does not take`,
    );
  }

  /** The same for a map with keys. */
  map(n: number): VmMap {
    return this.mapOf(n, VmMap);
  }

  /** Whether argument `n` points to the first byte of `region`, as a context must. @throws Violation where not */
  expect(n: number, region: Region): void {
    const { file, space } = this.machine;
    const isThere = space.regionOf(file[n * 2 + 1]) === region && space.offsetIn(file[n * 2]) === 0;
    if (!isThere) throw new Violation(`argument ${n} is not the context`);
  }

  /** The result: a number, sign-extended to 64 bits. Up to 2^53 in magnitude. */
  returns(value: number): void {
    const { file } = this.machine;
    file[0] = value;
    file[1] = Math.floor(value / 4294967296);
  }

  /** The result as 64 bits. */
  returnsWide(value: bigint): void {
    const { file } = this.machine;
    file[0] = Number(BigInt.asIntN(32, value));
    file[1] = Number(BigInt.asIntN(32, value >> 32n));
  }

  /** The result: an address. */
  returnsAddress({ low, high }: Address): void {
    this.machine.file[0] = low;
    this.machine.file[1] = high;
  }

  /** The result: a pointer to a value, or null (number -1). */
  returnsValue(map: VmMap | VmStorage, number: number): void {
    this.mayBeNull = true;
    if (number === -1) {
      this.returns(0);
      return;
    }
    this.returnsAddress(this.machine.values.region(map, number).address());
  }
}
