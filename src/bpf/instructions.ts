/**
 * Room `bpf`: one instruction as a value, and its 64-bit encoding (RFC 9669 section 3). Opcodes are in `../kernel/bpf-abi.ts`.
 *
 * A newcomer would get wrong: a wide load is one instruction and two slots. Jumps, line tables and the verifier count slots, so
 * an index into `Instruction[]` is not a position in the program.
 */
import {
  BPF_ALU,
  BPF_ALU64,
  BPF_DW,
  BPF_EXIT,
  BPF_IMM,
  BPF_JMP,
  BPF_K,
  BPF_LD,
  BPF_MOV,
  BPF_X,
} from '../kernel/bpf-abi.ts';

/** Bytes of a slot. */
export const INSTRUCTION_BYTES = 8;
/** The opcode of wide loads, the only instruction of two slots. */
export const WIDE_LOAD = BPF_LD | BPF_IMM | BPF_DW;
/** What a 64-bit move between registers has as its offset where it casts an address of an arena (BPF_ADDR_SPACE_CAST, Linux 6.9). */
export const ADDRESS_CAST = 1;
/** Its immediate: the space cast to in the upper half, the one cast from in the lower. 0 is the kernel's, 1 the arena's. */
export const CAST_TO_KERNEL = 0x0000_0001;
/** The same back: what user space calls it. */
export const CAST_TO_USER = 0x0001_0000;
/** The register that holds the frame's address and is never written. */
export const FRAME_POINTER = 10;
/** Registers 0 to 10. */
export const REGISTERS = 11;

/** One instruction (RFC 9669 section 3). Numbers outside a field's range are cut to it by {@link encode}. */
export interface Instruction {
  /** 0 to 255. */
  readonly opcode: number;
  /** dst_reg: 0 to 10; the encoding has room up to 15. */
  readonly destination: number;
  /** src_reg. */
  readonly source: number;
  /** Signed, 16 bits: slots to jump, bytes to add to an address, or which variant of an operation. */
  readonly offset: number;
  /** Signed, 32 bits. */
  readonly immediate: number;
  /** next_imm: the high half of a wide load, signed, 32 bits; 0 elsewhere. */
  readonly nextImmediate: number;
}

/** Whether it casts an address of an arena: {@link CAST_TO_KERNEL} or {@link CAST_TO_USER} is its immediate. */
export function isAddressCast({ opcode, offset }: Instruction): boolean {
  return opcode === (BPF_ALU64 | BPF_MOV | BPF_X) && offset === ADDRESS_CAST;
}

/** What is wrong with bytes that should be instructions. */
export class DecodeError extends Error {
  override readonly name = 'DecodeError';
  /** The slot, from 0. */
  readonly slot: number;

  constructor(slot: number, problem: string) {
    super(`instruction ${slot}: ${problem}`);
    this.slot = slot;
  }
}

/** How many slots an instruction takes: 1, or 2 for a wide load. */
export function slotsOf(instruction: Pick<Instruction, 'opcode'>): 1 | 2 {
  return instruction.opcode === WIDE_LOAD ? 2 : 1;
}

/** Completes an instruction; fields left out are 0. */
export function instruction(opcode: number, fields: Partial<Omit<Instruction, 'opcode'>> = {}): Instruction {
  const { destination = 0, source = 0, offset = 0, immediate = 0, nextImmediate = 0 } = fields;
  return { opcode, destination, source, offset, immediate, nextImmediate };
}

/** The program's bytes as the kernel takes them on a little-endian machine, 8 for each slot. */
export function encode(instructions: readonly Instruction[]): Uint8Array {
  const slots = instructions.reduce((sum, one) => sum + slotsOf(one), 0);
  const view = new DataView(new ArrayBuffer(slots * INSTRUCTION_BYTES));
  let at = 0;
  for (const one of instructions) {
    view.setUint8(at, one.opcode);
    view.setUint8(at + 1, (one.destination & 15) | (one.source << 4));
    view.setInt16(at + 2, one.offset, true);
    view.setInt32(at + 4, one.immediate, true);
    at += INSTRUCTION_BYTES;
    if (slotsOf(one) === 1) continue;
    // The second slot of a wide load has opcode 0 and nothing but its immediate.
    view.setInt32(at + 4, one.nextImmediate, true);
    at += INSTRUCTION_BYTES;
  }
  return new Uint8Array(view.buffer);
}

/**
 * Reads a program's bytes. Opcodes that no instruction has are kept as they are: whoever runs or prints them judges them.
 * @throws DecodeError for a length that is no multiple of 8, and for a wide load without a proper second slot
 */
export function decode(bytes: Uint8Array): Instruction[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const whole = bytes.length - (bytes.length % INSTRUCTION_BYTES);
  if (whole !== bytes.length) throw new DecodeError(whole / INSTRUCTION_BYTES, 'has fewer than 8 bytes');
  const found: Instruction[] = [];
  for (let at = 0; at < whole; at += INSTRUCTION_BYTES) {
    const opcode = view.getUint8(at);
    let nextImmediate = 0;
    const first = at;
    if (opcode === WIDE_LOAD) {
      at += INSTRUCTION_BYTES;
      if (at === whole) throw new DecodeError(first / INSTRUCTION_BYTES, 'is a wide load without its second half');
      if (view.getInt32(at, true) !== 0) {
        throw new DecodeError(
          at / INSTRUCTION_BYTES,
          'is the second half of a wide load and has fields that must be 0',
        );
      }
      nextImmediate = view.getInt32(at + 4, true);
    }
    const registers = view.getUint8(first + 1);
    found.push({
      opcode,
      destination: registers & 15,
      source: registers >>> 4,
      offset: view.getInt16(first + 2, true),
      immediate: view.getInt32(first + 4, true),
      nextImmediate,
    });
  }
  return found;
}

/** `destination = source`, 64 bits. */
export function move(destination: number, source: number): Instruction {
  return instruction(BPF_ALU64 | BPF_MOV | BPF_X, { destination, source });
}

/** `destination = immediate`, sign-extended to 64 bits; with `bits` 32, zero-extended. */
export function moveImmediate(destination: number, immediate: number, bits: 32 | 64 = 64): Instruction {
  return instruction((bits === 64 ? BPF_ALU64 : BPF_ALU) | BPF_MOV | BPF_K, { destination, immediate });
}

/** A wide load of a 64-bit value; `source` says what the halves mean (BPF_PSEUDO_MAP_FD and others). */
export function loadWide(destination: number, value: bigint, source = 0): Instruction {
  const immediate = Number(BigInt.asIntN(32, value));
  const nextImmediate = Number(BigInt.asIntN(32, value >> 32n));
  return instruction(WIDE_LOAD, { destination, source, immediate, nextImmediate });
}

/** Ends the function; the result is in register 0. */
export function exit(): Instruction {
  return instruction(BPF_JMP | BPF_EXIT);
}
