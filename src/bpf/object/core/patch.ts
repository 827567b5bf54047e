/**
 * Room `bpf`: puts a CO-RE answer into an instruction: the offset of a load or store, the immediate of arithmetic, the value of a wide
 * load; and makes instructions without an answer ones that the verifier refuses where they are reached.
 *
 * A newcomer would get wrong: an instruction without an answer is no error by itself. Programs ask whether a field exists and jump over
 * its use, and the verifier does not look at code that is never reached.
 */
import {
  BPF_ALU,
  BPF_ALU64,
  BPF_B,
  BPF_CALL,
  BPF_DW,
  BPF_H,
  BPF_JMP,
  BPF_LDX,
  BPF_ST,
  BPF_STX,
  BPF_W,
  BPF_X,
} from '../../../kernel/bpf-abi.ts';
import { type Instruction, instruction, loadWide, WIDE_LOAD } from '../../instructions.ts';

/** Where the numbers of helpers begin that stand for records without an answer (libbpf's; 0xbad2310 reads “bad relo”). */
export const POISON = 0xbad2310;

const CLASS_MASK = 0x07;
const SIZE_MASK = 0x18;
const OFFSET_MAX = 0x7fff;
const INT32_MIN = -(2n ** 31n);

const sizes: ReadonlyMap<number, number> = new Map([
  [BPF_B, 1],
  [BPF_H, 2],
  [BPF_W, 4],
  [BPF_DW, 8],
]);

/** What an instruction is to hold. */
export interface Patch {
  readonly before: bigint;
  readonly after: bigint;
  /** Whether `before` must be what it holds now. */
  readonly checked: boolean;
  /** Bytes of the field in the program's own types and in the kernel's; 0 where they do not matter. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** Whether a load may follow the field's new size: it reads an unsigned integer or a pointer. */
  readonly resizable: boolean;
}

/** A call of a helper that no kernel has. `number` says which record it stands for. */
export function poisoned(number: number): Instruction {
  return instruction(BPF_JMP | BPF_CALL, { immediate: POISON + number });
}

/** The changed instruction, or why it cannot be changed. */
export function patchInstruction(one: Instruction, patch: Patch): Instruction | string {
  if (one.opcode === WIDE_LOAD) return patchWideLoad(one, patch);
  switch (one.opcode & CLASS_MASK) {
    case BPF_ALU:
    case BPF_ALU64:
      return patchArithmetic(one, patch);
    case BPF_LDX:
    case BPF_ST:
    case BPF_STX:
      return patchAccess(one, patch);
    default:
      return `an instruction with opcode ${one.opcode} cannot be relocated`;
  }
}

const differs = (found: bigint | number, { before }: Patch): string =>
  `the instruction holds ${found} where the object’s own types say ${before}: the object is damaged`;

function patchWideLoad(one: Instruction, patch: Patch): Instruction | string {
  if (one.source !== 0) return 'a wide load of an address cannot be relocated';
  const found = (BigInt(one.nextImmediate) << 32n) | BigInt.asUintN(32, BigInt(one.immediate));
  // A negative number of 32 bits may have been written as an unsigned one: enums do not always say which they are.
  const bits = patch.before < 0n && patch.before >= INT32_MIN ? 32 : 64;
  if (patch.checked && BigInt.asUintN(bits, found) !== BigInt.asUintN(bits, patch.before)) return differs(found, patch);
  return { ...loadWide(one.destination, patch.after), offset: one.offset };
}

function patchArithmetic(one: Instruction, patch: Patch): Instruction | string {
  if ((one.opcode & BPF_X) !== 0) return 'arithmetic between registers cannot be relocated';
  if (patch.checked && BigInt(one.immediate) !== BigInt.asIntN(32, patch.before)) return differs(one.immediate, patch);
  return { ...one, immediate: Number(BigInt.asIntN(32, patch.after)) };
}

function patchAccess(one: Instruction, patch: Patch): Instruction | string {
  if (patch.checked && BigInt(one.offset) !== patch.before) return differs(one.offset, patch);
  if (patch.after > OFFSET_MAX) return `the field lies at ${patch.after}; a load reaches ${OFFSET_MAX} bytes`;
  const moved = { ...one, offset: Number(patch.after) };
  if (patch.bytesBefore === patch.bytesAfter) return moved;
  if (!patch.resizable) {
    return `the field has ${patch.bytesAfter} bytes instead of ${patch.bytesBefore} and is no unsigned integer`;
  }
  // The load may be of a part of the field; then its width says nothing about the field's.
  if (sizes.get(one.opcode & SIZE_MASK) !== patch.bytesBefore) {
    return `the field has ${patch.bytesAfter} bytes instead of ${patch.bytesBefore}, and only a part of it is accessed`;
  }
  const size = [...sizes].find(([, bytes]) => bytes === patch.bytesAfter)?.[0];
  if (size === undefined) return `the field has ${patch.bytesAfter} bytes, which no load has`;
  return { ...moved, opcode: (moved.opcode & ~SIZE_MASK) | size };
}
