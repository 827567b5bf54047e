/**
 * Room `bpf`: what a helper of the VM sees of the program that calls it: its arguments as numbers, memory and maps, and the place
 * for the result. One object serves every call of a machine.
 */
import { Violation } from './fault.ts';
import type { Machine } from './machine.ts';
import type { VmMap } from './maps.ts';
import type { Address, Region } from './memory.ts';

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

  /** The memory that argument `n` points to. @throws Violation where it is not all the program's */
  bytes(n: number, size: number, isWritten = false): Uint8Array {
    const { file, space } = this.machine;
    try {
      const region = space.access(file[n * 2], file[n * 2 + 1], size, isWritten);
      return region.slice(space.offsetIn(file[n * 2]), size);
    } catch (error) {
      throw error instanceof Violation ? new Violation(`argument ${n}: ${error.message}`) : error;
    }
  }

  /** The text that argument `n` points to, up to its NUL or the end of its memory. */
  text(n: number): string {
    const { file, space } = this.machine;
    const at = space.offsetIn(file[n * 2]);
    const region = space.regionOf(file[n * 2 + 1]);
    const rest = region === undefined || at < 0 ? 0 : Math.max(0, region.length - at);
    const end = region?.slice(at, rest).indexOf(0) ?? -1;
    return Buffer.from(this.bytes(n, end === -1 ? Math.max(1, rest) : end)).toString('utf8');
  }

  /** The map that argument `n` names. @throws Violation where it is no map */
  map(n: number): VmMap {
    const { file, space, values } = this.machine;
    const map = values.mapOf(space.regionOf(file[n * 2 + 1]));
    if (map === undefined) throw new Violation(`argument ${n} is no map`);
    return map;
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
  returnsValue(map: VmMap, number: number): void {
    this.mayBeNull = true;
    if (number === -1) {
      this.returns(0);
      return;
    }
    this.returnsAddress(this.machine.values.region(map, number).address());
  }
}
