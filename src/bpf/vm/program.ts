/**
 * Room `bpf`: a program prepared for the VM: its instructions spread over a typed array, eight words a slot, and everything that
 * can be judged without running it judged, as the kernel does before it verifies.
 *
 * A newcomer would get wrong: `reads` and `writes` are sets of registers as bits. They let the machine find an uninitialised
 * register with one comparison for each instruction.
 */
import * as abi from '../../kernel/bpf-abi.ts';
import { FRAME_POINTER, type Instruction, REGISTERS, slotsOf, WIDE_LOAD } from '../instructions.ts';
import { fieldsOf, type Mnemonic, mnemonicsByOpcode } from '../mnemonics.ts';
import { VmFault } from './fault.ts';

/** What the machine does at a slot. */
export const STEP = {
  alu64: 0,
  move: 1,
  alu32: 2,
  load: 3,
  store: 4,
  jump: 5,
  always: 6,
  byteOrder: 7,
  atomic: 8,
  wide: 9,
  helper: 10,
  local: 11,
  exit: 12,
  /** Behind the last instruction. */
  end: 13,
} as const;

/** Words of a slot in {@link Program.code}, and which is which. One array: each field is one load away from the same address. */
export const SLOT_WORDS = 8;
/** The step, and above it opcode, destination and source, 8 bits each. */
export const WORD_STEP = 0;
export const WORD_OFFSET = 1;
export const WORD_IMMEDIATE = 2;
/** High word of the immediate operand: its sign, or the second half of a wide load. */
export const WORD_HIGH = 3;
/** Where a jump or local call leads, as a slot. */
export const WORD_TARGET = 4;
export const WORD_READS = 5;
export const WORD_WRITES = 6;

export interface Program {
  readonly slots: number;
  /** SLOT_WORDS for each slot, and one slot behind the last that ends the run. */
  readonly code: Int32Array;
  /** The instruction at a slot; undefined for the second half of a wide load. */
  at(slot: number): Instruction | undefined;
}

/** The form of an instruction, with nothing in fields that it does not use; undefined if there is none. */
function formOf(found: Instruction): Mnemonic | undefined {
  return mnemonicsByOpcode.get(found.opcode)?.find((form) => {
    const free = new Set(form.operands.flatMap((operand) => fieldsOf[operand]));
    const keeps = (field: keyof Mnemonic['fixed']) => free.has(field) || found[field] === (form.fixed[field] ?? 0);
    return keeps('destination') && keeps('source') && keeps('offset') && keeps('immediate') && keeps('nextImmediate');
  });
}

function stepOf({ opcode, source, offset }: Instruction): number {
  const operation = opcode & 0xf0;
  switch (opcode & 7) {
    case abi.BPF_ALU64:
      if (operation === abi.BPF_END) return STEP.byteOrder;
      return opcode === (abi.BPF_ALU64 | abi.BPF_MOV | abi.BPF_X) && offset === 0 ? STEP.move : STEP.alu64;
    case abi.BPF_ALU:
      return operation === abi.BPF_END ? STEP.byteOrder : STEP.alu32;
    case abi.BPF_LDX:
      return STEP.load;
    case abi.BPF_ST:
      return STEP.store;
    case abi.BPF_STX:
      return (opcode & 0xe0) === abi.BPF_ATOMIC ? STEP.atomic : STEP.store;
    case abi.BPF_LD:
      return STEP.wide;
    default:
      if (operation === abi.BPF_JA) return STEP.always;
      if (operation === abi.BPF_CALL) return source === abi.BPF_PSEUDO_CALL ? STEP.local : STEP.helper;
      return operation === abi.BPF_EXIT ? STEP.exit : STEP.jump;
  }
}

/** The registers that an instruction reads and writes. Calls are left out: their arguments depend on who is called. */
function useOf(step: number, found: Instruction): { readonly reads: number; readonly writes: number } {
  const destination = 1 << found.destination;
  const source = 1 << found.source;
  const operand = (found.opcode & abi.BPF_X) !== 0 ? source : 0;
  switch (step) {
    case STEP.move:
      return { reads: source, writes: destination };
    case STEP.alu64:
    case STEP.alu32:
      return {
        reads: operand | ((found.opcode & 0xf0) === abi.BPF_MOV ? 0 : destination),
        writes: destination,
      };
    case STEP.byteOrder:
      return { reads: destination, writes: destination };
    case STEP.load:
      return { reads: source, writes: destination };
    case STEP.store:
      return { reads: destination | ((found.opcode & 7) === abi.BPF_STX ? source : 0), writes: 0 };
    case STEP.jump:
      return { reads: destination | operand, writes: 0 };
    case STEP.atomic:
      if (found.immediate === abi.BPF_CMPXCHG) return { reads: destination | source | 1, writes: 1 };
      return { reads: destination | source, writes: (found.immediate & abi.BPF_FETCH) !== 0 ? source : 0 };
    case STEP.wide:
      return { reads: 0, writes: destination };
    case STEP.exit:
      return { reads: 1, writes: 0 };
    default:
      return { reads: 0, writes: 0 };
  }
}

function checkInstruction(slot: number, found: Instruction, step: number): void {
  const fail = (problem: string): never => {
    throw new VmFault(slot, found, problem);
  };
  if (formOf(found) === undefined) fail('is no instruction of RFC 9669: unknown opcode, or a field that must be 0');
  if (found.destination >= REGISTERS || (step !== STEP.wide && found.source >= REGISTERS)) {
    fail('names a register above %r10');
  }
  const legacy = (found.opcode & 7) === abi.BPF_LD && found.opcode !== WIDE_LOAD;
  if (legacy) fail('is a legacy packet load, which RFC 9669 advises against: read the packet through a pointer');
  if ((useOf(step, found).writes & (1 << FRAME_POINTER)) !== 0) fail('writes the frame pointer');
  if (found.source === abi.BPF_PSEUDO_KFUNC_CALL && step === STEP.helper) fail('calls a kernel function');
  if (step === STEP.wide && found.source > abi.BPF_PSEUDO_MAP_IDX_VALUE) fail('is a wide load of no known kind');
  const isWrongWide = found.source === abi.BPF_PSEUDO_BTF_ID || found.source === abi.BPF_PSEUDO_FUNC;
  if (step === STEP.wide && isWrongWide) fail('takes an address that exists in the kernel only');
}

/**
 * Prepares a program.
 * @throws VmFault for what no run could make right: unknown opcodes, fields that must be 0, jumps to no instruction
 */
export function prepare(instructions: readonly Instruction[]): Program {
  const slots = instructions.reduce((sum, one) => sum + slotsOf(one), 0);
  const starts = new Int32Array(slots + 1).fill(-1);
  const code = new Int32Array((slots + 1) * SLOT_WORDS);
  code[slots * SLOT_WORDS + WORD_STEP] = STEP.end;
  const program: Program = { slots, code, at: (slot) => instructions[starts[slot]] };
  let slot = 0;
  for (const [index, found] of instructions.entries()) {
    starts[slot] = index;
    slot += slotsOf(found);
  }
  for (slot = 0; slot < slots; slot++) {
    const found = program.at(slot);
    if (found === undefined) continue;
    const step = stepOf(found);
    checkInstruction(slot, found, step);
    const { reads, writes } = useOf(step, found);
    const base = slot * SLOT_WORDS;
    code[base + WORD_STEP] = step | (found.opcode << 8) | (found.destination << 16) | (found.source << 24);
    code[base + WORD_OFFSET] = found.offset;
    code[base + WORD_IMMEDIATE] = found.immediate;
    code[base + WORD_HIGH] = step === STEP.wide ? found.nextImmediate : found.immediate >> 31;
    code[base + WORD_READS] = reads;
    code[base + WORD_WRITES] = writes;
    const isFar = step === STEP.local || found.opcode === (abi.BPF_JMP32 | abi.BPF_JA);
    if (!isFar && step !== STEP.jump && step !== STEP.always) continue;
    const target = slot + 1 + (isFar ? found.immediate : found.offset);
    if (target < 0 || target >= slots || starts[target] === -1) {
      throw new VmFault(slot, found, `leads to ${target}, where no instruction begins`);
    }
    code[base + WORD_TARGET] = target;
  }
  return program;
}
