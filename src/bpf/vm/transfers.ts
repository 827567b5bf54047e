/**
 * Room `bpf`: the VM's loads, stores and atomic operations (RFC 9669 section 5) on registers of two words.
 *
 * A newcomer would get wrong: a load shorter than 64 bits clears the rest of the register, and so does what a 32-bit
 * atomic operation fetches. Memory is little-endian on every machine the VM runs on, as the DataView calls say.
 */
import {
  BPF_ADD,
  BPF_AND,
  BPF_B,
  BPF_CMPXCHG,
  BPF_DW,
  BPF_FETCH,
  BPF_H,
  BPF_OR,
  BPF_W,
  BPF_XCHG,
  BPF_XOR,
} from '../../kernel/bpf-abi.ts';
import type { Instruction } from '../instructions.ts';
import { Violation } from './fault.ts';
import { BPF_LOAD_ACQUIRE, BPF_STORE_RELEASE } from './instruction-check.ts';
import { type AddressSpace, REGION_HIGH, REGION_START, type Region } from './memory.ts';
import { STEP } from './steps.ts';

const SIZE_BITS = 0x18;

/** The verifier wants accesses to the stack aligned, whatever the processor could do (check_ptr_alignment). */
function misaligned({ name }: Region, at: number, size: number): Violation {
  return new Violation(`a misaligned access of ${size} bytes at offset ${at} of ${name}`);
}

/** `d = *(s + offset)`, where `d` and `s` are places in the register file. */
export function load(space: AddressSpace, file: Int32Array, step: number, d: number, s: number, offset: number): void {
  const size = 1 << (step - STEP.load8);
  const low = file[s];
  const region = space.regions[file[s + 1] - REGION_HIGH];
  const at = (low >>> 0) - REGION_START + offset;
  if (region === undefined || at < 0 || at + size > region.length) {
    throw space.violation(low, file[s + 1], offset, size, false);
  }
  if (region.written !== null) {
    if (at % size !== 0) throw misaligned(region, at, size);
    if (!region.holds(at, size)) throw space.violation(low, file[s + 1], offset, size, false);
  }
  if (region.guard?.load(region, at, size, file, d)) return;
  const { view } = region;
  const index = at + region.base;
  file[d + 1] = step === STEP.load64 ? view.getInt32(index + 4, true) : 0;
  if (step >= STEP.load32) file[d] = view.getInt32(index, true);
  else file[d] = step === STEP.load8 ? view.getUint8(index) : view.getUint16(index, true);
}

/** The step of a plain load of as many bytes as an opcode says. */
function plainLoad(opcode: number): number {
  switch (opcode & SIZE_BITS) {
    case BPF_B:
      return STEP.load8;
    case BPF_H:
      return STEP.load16;
    case BPF_W:
      return STEP.load32;
    default:
      return STEP.load64;
  }
}

/** A load whose sign fills the register. */
export function loadSigned(space: AddressSpace, file: Int32Array, found: Instruction, d: number, s: number): void {
  const step = plainLoad(found.opcode);
  load(space, file, step, d, s, found.offset);
  if (step === STEP.load8) file[d] = (file[d] << 24) >> 24;
  if (step === STEP.load16) file[d] = (file[d] << 16) >> 16;
  file[d + 1] = file[d] >> 31;
}

/** The region that an access writes to. @throws Violation where it may not */
function writtenRegion(space: AddressSpace, low: number, high: number, offset: number, size: number): Region {
  const region = space.regions[high - REGION_HIGH];
  const at = (low >>> 0) - REGION_START + offset;
  if (region === undefined || at < 0 || at + size > region.length || !region.writable) {
    throw space.violation(low, high, offset, size, true);
  }
  if (region.written !== null) {
    if (at % size !== 0) throw misaligned(region, at, size);
    region.mark(at, size);
  }
  if (region.guard !== null) region.guard.store(region, at, size);
  return region;
}

/** `*(d + offset) = s`. */
export function store(space: AddressSpace, file: Int32Array, step: number, d: number, s: number, offset: number): void {
  const low = file[d];
  const region = writtenRegion(space, low, file[d + 1], offset, 1 << (step - STEP.store8));
  const { view } = region;
  const index = (low >>> 0) - REGION_START + offset + region.base;
  if (step >= STEP.store32) view.setInt32(index, file[s], true);
  else if (step === STEP.store8) view.setInt8(index, file[s]);
  else view.setInt16(index, file[s], true);
  if (step === STEP.store64) view.setInt32(index + 4, file[s + 1], true);
}

/** One word of what an operation leaves in memory; addition is done by the caller, which knows the carry. */
function combine(operation: number, old: number, operand: number): number {
  switch (operation & ~BPF_FETCH) {
    case BPF_OR:
      return old | operand;
    case BPF_AND:
      return old & operand;
    case BPF_XOR:
      return old ^ operand;
    default:
      return operand;
  }
}

/** Fetches what an operation fetches; false where a comparison says that nothing is to be written. */
function fetch(
  file: Int32Array,
  operation: number,
  s: number,
  oldLow: number,
  oldHigh: number,
  isWide: boolean,
): boolean {
  if (operation === BPF_CMPXCHG) {
    const isSame = oldLow === file[0] && (!isWide || oldHigh === file[1]);
    file[0] = oldLow;
    file[1] = oldHigh;
    return isSame;
  }
  if ((operation & BPF_FETCH) !== 0) {
    file[s] = oldLow;
    file[s + 1] = oldHigh;
  }
  return true;
}

/** An atomic operation. One thread runs the VM, so nothing can come between. */
export function atomic(space: AddressSpace, file: Int32Array, found: Instruction, d: number, s: number): void {
  const { opcode, offset, immediate: operation } = found;
  if (operation === BPF_LOAD_ACQUIRE) {
    load(space, file, plainLoad(opcode), d, s, offset);
    return;
  }
  if (operation === BPF_STORE_RELEASE) {
    store(space, file, plainLoad(opcode) - STEP.load8 + STEP.store8, d, s, offset);
    return;
  }
  const isWide = (opcode & SIZE_BITS) === BPF_DW;
  const size = isWide ? 8 : 4;
  const at = space.offsetIn(file[d]) + offset;
  const target = space.regionOf(file[d + 1]);
  if (target !== undefined && at % size !== 0) {
    throw new Violation(`a misaligned atomic access: offset ${at} of ${target.name}, ${size} bytes`);
  }
  if (target !== undefined && !target.holds(at, size)) throw space.violation(file[d], file[d + 1], offset, size, false);
  const { view, base } = writtenRegion(space, file[d], file[d + 1], offset, size);
  const index = at + base;
  const oldLow = view.getInt32(index, true);
  const oldHigh = isWide ? view.getInt32(index + 4, true) : 0;
  const operandLow = file[s];
  const operandHigh = file[s + 1];
  if (!fetch(file, operation, s, oldLow, oldHigh, isWide)) return;
  if ((operation & ~BPF_FETCH) === BPF_ADD) {
    const sum = (oldLow >>> 0) + (operandLow >>> 0);
    view.setInt32(index, sum, true);
    if (isWide) view.setInt32(index + 4, oldHigh + operandHigh + (sum > 0xffffffff ? 1 : 0), true);
    return;
  }
  const isExchange = operation === BPF_CMPXCHG || operation === BPF_XCHG;
  view.setInt32(index, isExchange ? operandLow : combine(operation, oldLow, operandLow), true);
  if (isWide) view.setInt32(index + 4, isExchange ? operandHigh : combine(operation, oldHigh, operandHigh), true);
}
