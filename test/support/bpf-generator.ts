/**
 * Random eBPF programs of arithmetic, forward jumps, stack accesses and atomics that the verifier accepts: they begin with ten
 * registers from memory, so that nothing is known before they run, and end with all of them folded into r0.
 *
 * A newcomer would get wrong: the verifier refuses what RFC 9669 defines (immediate shifts of the width and more, division by an
 * immediate 0), so these are left to the conformance cases.
 */
import { exit, FRAME_POINTER, type Instruction, instruction, slotsOf } from '../../src/bpf/assembly.ts';
import * as abi from '../../src/kernel/bpf-abi.ts';
import type { RandomSource } from './random.ts';

const GENERAL = 10;
/** Bytes of the memory that a program reads its registers from. */
export const MEMORY_BYTES = GENERAL * 8;
const STACK_BYTES = 64;

const plain = [abi.BPF_ADD, abi.BPF_SUB, abi.BPF_MUL, abi.BPF_OR, abi.BPF_AND, abi.BPF_XOR, abi.BPF_MOV];
const shifts = [abi.BPF_LSH, abi.BPF_RSH, abi.BPF_ARSH];
const jumps = [
  abi.BPF_JEQ,
  abi.BPF_JGT,
  abi.BPF_JGE,
  abi.BPF_JSET,
  abi.BPF_JNE,
  abi.BPF_JSGT,
  abi.BPF_JSGE,
  abi.BPF_JLT,
  abi.BPF_JLE,
  abi.BPF_JSLT,
  abi.BPF_JSLE,
];
const sizes = [abi.BPF_B, abi.BPF_H, abi.BPF_W, abi.BPF_DW];
const atomics = [abi.BPF_ADD, abi.BPF_OR, abi.BPF_AND, abi.BPF_XOR];

const pick = <Item>(random: RandomSource, items: readonly Item[]): Item => items[random.integer(items.length)];

/** Immediates: often small, often at a boundary. */
function immediateOf(random: RandomSource): number {
  switch (random.integer(4)) {
    case 0:
      return random.integer(16) - 8;
    case 1:
      return pick(random, [0x7fffffff, -0x80000000, -1, 0xffff, 0x8000, 0x80, 0x7fff0000]);
    default:
      return random.integer(4294967296) | 0;
  }
}

/** 64-bit values with the same habit. */
export function fillMemory(random: RandomSource): Uint8Array {
  const view = new DataView(new ArrayBuffer(MEMORY_BYTES));
  for (let at = 0; at < MEMORY_BYTES; at += 8) {
    const isEdge = random.integer(4) === 0;
    view.setInt32(at, immediateOf(random), true);
    view.setInt32(at + 4, isEdge ? pick(random, [0, -1, -0x80000000, 0x7fffffff]) : immediateOf(random), true);
  }
  return new Uint8Array(view.buffer);
}

function arithmetic(random: RandomSource): Instruction {
  const width = pick(random, [abi.BPF_ALU64, abi.BPF_ALU]);
  const destination = random.integer(GENERAL);
  const source = random.integer(GENERAL);
  const isRegister = random.integer(2) === 0;
  const kind = random.integer(12);
  if (kind < 6) {
    const opcode = width | pick(random, plain);
    if (isRegister) return instruction(opcode | abi.BPF_X, { destination, source });
    return instruction(opcode | abi.BPF_K, { destination, immediate: immediateOf(random) });
  }
  if (kind < 8) {
    const opcode = width | pick(random, shifts);
    const immediate = random.integer(width === abi.BPF_ALU ? 32 : 64);
    return instruction(
      opcode | (isRegister ? abi.BPF_X : abi.BPF_K),
      isRegister ? { destination, source } : { destination, immediate },
    );
  }
  if (kind === 8) return instruction(width | abi.BPF_NEG, { destination });
  if (kind === 9) {
    const opcode = width | pick(random, [abi.BPF_DIV, abi.BPF_MOD]);
    const offset = random.integer(2);
    if (isRegister) return instruction(opcode | abi.BPF_X, { destination, source, offset });
    return instruction(opcode | abi.BPF_K, { destination, offset, immediate: immediateOf(random) || 7 });
  }
  if (kind === 10) {
    const offset = pick(random, width === abi.BPF_ALU ? [8, 16] : [8, 16, 32]);
    return instruction(width | abi.BPF_MOV | abi.BPF_X, { destination, source, offset });
  }
  const order = pick(random, [abi.BPF_ALU | abi.BPF_TO_LE, abi.BPF_ALU | abi.BPF_TO_BE, abi.BPF_ALU64]);
  return instruction(order | abi.BPF_END, { destination, immediate: pick(random, [16, 32, 64]) });
}

function memoryAccess(random: RandomSource): Instruction {
  const register = random.integer(GENERAL);
  const size = pick(random, sizes);
  const bytes = [4, 2, 1, 8][size >> 3];
  const offset = -STACK_BYTES + random.integer(STACK_BYTES / bytes) * bytes;
  switch (random.integer(4)) {
    case 0:
      return instruction(abi.BPF_STX | abi.BPF_MEM | size, { destination: FRAME_POINTER, source: register, offset });
    case 1:
      return instruction(abi.BPF_ST | abi.BPF_MEM | size, {
        destination: FRAME_POINTER,
        offset,
        immediate: immediateOf(random),
      });
    case 2: {
      const mode = size === abi.BPF_DW || random.integer(2) === 0 ? abi.BPF_MEM : abi.BPF_MEMSX;
      return instruction(abi.BPF_LDX | mode | size, { destination: register, source: FRAME_POINTER, offset });
    }
    default: {
      const isWide = random.integer(2) === 0;
      const operation = random.integer(3);
      const immediate =
        operation === 0
          ? pick(random, [abi.BPF_XCHG, abi.BPF_CMPXCHG])
          : pick(random, atomics) | (operation === 1 ? abi.BPF_FETCH : 0);
      return instruction(abi.BPF_STX | abi.BPF_ATOMIC | (isWide ? abi.BPF_DW : abi.BPF_W), {
        destination: FRAME_POINTER,
        source: register,
        offset: -STACK_BYTES + random.integer(STACK_BYTES / 8) * 8,
        immediate,
      });
    }
  }
}

function jump(random: RandomSource, distanceMax: number): Instruction {
  const offset = random.integer(distanceMax + 1);
  const destination = random.integer(GENERAL);
  const opcode = pick(random, [abi.BPF_JMP, abi.BPF_JMP32]) | pick(random, jumps);
  if (random.integer(2) === 0) {
    return instruction(opcode | abi.BPF_X, { destination, source: random.integer(GENERAL), offset });
  }
  return instruction(opcode | abi.BPF_K, { destination, offset, immediate: immediateOf(random) });
}

function beginning(): Instruction[] {
  const made: Instruction[] = [];
  for (let offset = -STACK_BYTES; offset < 0; offset += 8) {
    made.push(
      instruction(abi.BPF_ST | abi.BPF_MEM | abi.BPF_DW, { destination: FRAME_POINTER, offset, immediate: offset }),
    );
  }
  // r1 is the memory's address, so it is loaded last.
  for (const register of [0, 2, 3, 4, 5, 6, 7, 8, 9, 1]) {
    made.push(
      instruction(abi.BPF_LDX | abi.BPF_MEM | abi.BPF_DW, { destination: register, source: 1, offset: register * 8 }),
    );
  }
  return made;
}

function ending(): Instruction[] {
  const made: Instruction[] = [];
  for (let source = 1; source < GENERAL; source++) {
    made.push(instruction(abi.BPF_ALU64 | abi.BPF_MUL | abi.BPF_K, { immediate: 31 }));
    made.push(instruction(abi.BPF_ALU64 | abi.BPF_XOR | abi.BPF_X, { source }));
  }
  return [...made, exit()];
}

/** A program with `length` random instructions between its beginning and its ending. */
export function randomProgram(random: RandomSource, length: number): Instruction[] {
  const body: Instruction[] = [];
  for (let index = 0; index < length; index++) {
    const kind = random.integer(8);
    const left = length - 1 - index;
    if (kind === 0) body.push(jump(random, Math.min(left, 6)));
    else body.push(kind < 3 ? memoryAccess(random) : arithmetic(random));
  }
  const made = [...beginning(), ...body, ...ending()];
  if (made.some((one) => slotsOf(one) !== 1)) throw new Error('distances count instructions; a wide load would be two');
  return made;
}
