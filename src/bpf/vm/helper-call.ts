/**
 * Room `bpf`: what a helper of the VM sees of the program that calls it: its arguments as numbers, memory and maps, and the place
 * for the result. One object serves every call of a machine.
 */
import { Violation } from './fault.ts';
import type { Machine } from './machine.ts';
import type { VmMap } from './maps.ts';
import type { Region } from './memory.ts';

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
    return this.machine.registers.low[n];
  }

  /** Argument `n` as an unsigned number of 32 bits. */
  unsigned(n: number): number {
    return this.machine.registers.low[n] >>> 0;
  }

  /** Argument `n` as an unsigned number of 64 bits. */
  wide(n: number): bigint {
    const { low, high } = this.machine.registers;
    return (BigInt(high[n] >>> 0) << 32n) | BigInt(low[n] >>> 0);
  }

  /** The memory that argument `n` points to. @throws Violation where it is not all the program's */
  bytes(n: number, size: number, isWritten = false): Uint8Array {
    const { registers, space } = this.machine;
    try {
      const region = space.access(registers.low[n], registers.high[n], 0, size, isWritten);
      const at = space.offsetIn(registers.low[n]);
      return region.bytes.subarray(at, at + size);
    } catch (error) {
      throw error instanceof Violation ? new Violation(`argument ${n}: ${error.message}`) : error;
    }
  }

  /** The text that argument `n` points to, up to its NUL or the end of its memory. */
  text(n: number): string {
    const { registers, space } = this.machine;
    const at = space.offsetIn(registers.low[n]);
    const region = space.regionOf(registers.high[n]);
    const rest = this.bytes(n, Math.max(1, (region?.length ?? 0) - at));
    const end = rest.indexOf(0);
    return Buffer.from(end === -1 ? rest : rest.subarray(0, end)).toString('utf8');
  }

  /** The map that argument `n` names. @throws Violation where it is no map */
  map(n: number): VmMap {
    const { registers, space, values } = this.machine;
    const map = values.mapOf(space.regionOf(registers.high[n]));
    if (map === undefined) throw new Violation(`argument ${n} is no map`);
    return map;
  }

  /** Whether argument `n` points to the first byte of `region`, as a context must. @throws Violation where not */
  expect(n: number, region: Region): void {
    const { registers, space } = this.machine;
    const isThere = space.regionOf(registers.high[n]) === region && space.offsetIn(registers.low[n]) === 0;
    if (!isThere) throw new Violation(`argument ${n} is not the context`);
  }

  /** The result: a number, sign-extended to 64 bits. Up to 2^53 in magnitude. */
  returns(value: number): void {
    const { low, high } = this.machine.registers;
    low[0] = value;
    high[0] = Math.floor(value / 4294967296);
  }

  /** The result as 64 bits. */
  returnsWide(value: bigint): void {
    const { low, high } = this.machine.registers;
    low[0] = Number(BigInt.asIntN(32, value));
    high[0] = Number(BigInt.asIntN(32, value >> 32n));
  }

  /** The result: a pointer to a value, or null (number -1). */
  returnsValue(map: VmMap, number: number): void {
    this.mayBeNull = true;
    if (number === -1) {
      this.returns(0);
      return;
    }
    const { low, high } = this.machine.values.region(map, number).address();
    this.machine.registers.low[0] = low;
    this.machine.registers.high[0] = high;
  }
}
