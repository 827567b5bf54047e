/**
 * Room `bpf`: the VM's loads, stores and atomic operations (RFC 9669 section 5) on registers of two words.
 *
 * A newcomer would get wrong: a load shorter than 64 bits clears the rest of the register, and so does what a 32-bit atomic
 * operation fetches. Memory is little-endian on every machine the VM runs on, as the DataView calls say.
 */
import {
  BPF_ADD,
  BPF_AND,
  BPF_B,
  BPF_CMPXCHG,
  BPF_DW,
  BPF_FETCH,
  BPF_H,
  BPF_MEMSX,
  BPF_OR,
  BPF_W,
  BPF_XCHG,
  BPF_XOR,
} from '../../kernel/bpf-abi.ts';
import type { Registers } from './arithmetic.ts';
import { Violation } from './fault.ts';
import type { AddressSpace, Region } from './memory.ts';

const SIZE_BITS = 0x18;
const MODE_BITS = 0xe0;

/** Bytes of a load or store, by its opcode. */
function sizeOf(opcode: number): number {
  switch (opcode & SIZE_BITS) {
    case BPF_B:
      return 1;
    case BPF_H:
      return 2;
    case BPF_W:
      return 4;
    default:
      return 8;
  }
}

/** A load from a context that holds pointers: the fields are 32 bits wide, what they give is 64. */
function loadField(region: Region, at: number, size: number, registers: Registers, d: number): boolean {
  for (const [offset, address] of region.pointers ?? []) {
    if (at + size <= offset || at >= offset + 4) continue;
    if (at !== offset || size !== 4) {
      throw new Violation(
        `reads ${size} bytes at offset ${at} of ${region.name}, across a pointer; load 4 at ${offset}`,
      );
    }
    registers.low[d] = address.low;
    registers.high[d] = address.high;
    return true;
  }
  return false;
}

/** `d = *(source + offset)`. */
export function load(
  space: AddressSpace,
  registers: Registers,
  opcode: number,
  d: number,
  source: number,
  offset: number,
): void {
  const { low, high } = registers;
  const size = sizeOf(opcode);
  const address = low[source];
  const region = space.access(address, high[source], offset, size, false);
  const at = space.offsetIn(address) + offset;
  if (region.pointers !== undefined && loadField(region, at, size, registers, d)) return;
  const { view } = region;
  const isSigned = (opcode & MODE_BITS) === BPF_MEMSX;
  switch (size) {
    case 1:
      low[d] = isSigned ? view.getInt8(at) : view.getUint8(at);
      break;
    case 2:
      low[d] = isSigned ? view.getInt16(at, true) : view.getUint16(at, true);
      break;
    case 4:
      low[d] = view.getInt32(at, true);
      break;
    default:
      low[d] = view.getInt32(at, true);
      high[d] = view.getInt32(at + 4, true);
      return;
  }
  high[d] = isSigned ? low[d] >> 31 : 0;
}

/** `*(base + offset) = value`. */
export function store(
  space: AddressSpace,
  registers: Registers,
  opcode: number,
  base: number,
  offset: number,
  valueLow: number,
  valueHigh: number,
): void {
  const size = sizeOf(opcode);
  const address = registers.low[base];
  const { view } = space.access(address, registers.high[base], offset, size, true);
  const at = space.offsetIn(address) + offset;
  if (size === 1) view.setInt8(at, valueLow);
  else if (size === 2) view.setInt16(at, valueLow, true);
  else view.setInt32(at, valueLow, true);
  if (size === 8) view.setInt32(at + 4, valueHigh, true);
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

/** An atomic operation; `operation` is the instruction's immediate. One thread runs the VM, so nothing can come between. */
export function atomic(
  space: AddressSpace,
  registers: Registers,
  opcode: number,
  operation: number,
  base: number,
  source: number,
  offset: number,
): void {
  const { low, high } = registers;
  const isWide = (opcode & SIZE_BITS) === BPF_DW;
  const size = isWide ? 8 : 4;
  const { view, name } = space.access(low[base], high[base], offset, size, true);
  const at = space.offsetIn(low[base]) + offset;
  if (at % size !== 0) throw new Violation(`a misaligned atomic access: offset ${at} of ${name}, ${size} bytes`);
  const oldLow = view.getInt32(at, true);
  const oldHigh = isWide ? view.getInt32(at + 4, true) : 0;
  const operandLow = low[source];
  const operandHigh = high[source];
  if (operation === BPF_CMPXCHG) {
    const isSame = oldLow === low[0] && (!isWide || oldHigh === high[0]);
    low[0] = oldLow;
    high[0] = oldHigh;
    if (!isSame) return;
  } else if ((operation & BPF_FETCH) !== 0) {
    low[source] = oldLow;
    high[source] = oldHigh;
  }
  if ((operation & ~BPF_FETCH) === BPF_ADD) {
    const sum = (oldLow >>> 0) + (operandLow >>> 0);
    view.setInt32(at, sum, true);
    if (isWide) view.setInt32(at + 4, oldHigh + operandHigh + (sum > 0xffffffff ? 1 : 0), true);
    return;
  }
  const isExchange = operation === BPF_CMPXCHG || operation === BPF_XCHG;
  view.setInt32(at, isExchange ? operandLow : combine(operation, oldLow, operandLow), true);
  if (isWide) view.setInt32(at + 4, isExchange ? operandHigh : combine(operation, oldHigh, operandHigh), true);
}
