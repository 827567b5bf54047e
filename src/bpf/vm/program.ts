/**
 * Room `bpf`: a program prepared for the VM: its instructions spread over a typed array, eight words a slot, and
 * everything that can be judged without running it judged, as the kernel does before it verifies.
 *
 * A newcomer would get wrong: what runs is a simpler machine than RFC 9669's. An immediate is a register behind the
 * eleven that is never written, and of the comparisons only equal, less (signed, unsigned) and "bits in common" are
 * left: the others are these with their operands or their two outcomes exchanged. So each step is one case, and the
 * loop that executes them stays short.
 */
import * as abi from '../../kernel/bpf-abi.ts';
import { type Instruction, isAddressCast, slotsOf, WIDE_LOAD } from '../instructions.ts';
import { VmFault } from './fault.ts';
import { checkInstruction, isFarJump, registersOf } from './instruction-check.ts';
import { STEP } from './steps.ts';

/** Words of a slot in {@link Program.code}, and which is which. One array: each field is one load away from the same address. */
export const SLOT_WORDS = 8;
export const WORD_STEP = 0;
/** Where the destination's and the source's low word lies in the register file; for {@link STEP.constant} the source is the value. */
export const WORD_DESTINATION = 1;
export const WORD_SOURCE = 2;
/** The offset of a memory access; the high word of a constant; the immediate of what the loop does not execute itself. */
export const WORD_OPERAND = 3;
/** Where to go on, as an index into `code`: always, or where the condition holds. */
export const WORD_NEXT = 4;
export const WORD_ELSE = 5;
/** Sets of registers as bits: they find an uninitialised register with one comparison for each instruction. */
export const WORD_READS = 6;
export const WORD_WRITES = 7;

/** Registers of the file that belong to the program; behind them stand its constants. */
const FILE_CONSTANTS = 16;

export interface Program {
  readonly slots: number;
  /** SLOT_WORDS for each slot, and one slot behind the last that ends the run. */
  readonly code: Int32Array;
  /** Low and high word of each register, and behind them the constants. */
  readonly file: Int32Array;
  /** The instruction at a slot; undefined for the second half of a wide load. */
  at(slot: number): Instruction | undefined;
}

const arithmetic: ReadonlyMap<number, readonly [wide: number, narrow: number]> = new Map([
  [abi.BPF_ADD, [STEP.add64, STEP.add32]],
  [abi.BPF_SUB, [STEP.sub64, STEP.sub32]],
  [abi.BPF_MUL, [STEP.mul64, STEP.mul32]],
  [abi.BPF_OR, [STEP.or64, STEP.or32]],
  [abi.BPF_AND, [STEP.and64, STEP.and32]],
  [abi.BPF_XOR, [STEP.xor64, STEP.xor32]],
  [abi.BPF_LSH, [STEP.lsh64, STEP.lsh32]],
  [abi.BPF_RSH, [STEP.rsh64, STEP.rsh32]],
  [abi.BPF_ARSH, [STEP.arsh64, STEP.arsh32]],
]);

interface Comparison {
  readonly wide: number;
  readonly narrow: number;
  /** `a > b` is `b < a`. */
  readonly isExchanged: boolean;
  /** `a >= b` is not `a < b`. */
  readonly isNegated: boolean;
}

function comparison(wide: number, narrow: number, isExchanged = false, isNegated = false): Comparison {
  return { wide, narrow, isExchanged, isNegated };
}

const comparisons: ReadonlyMap<number, Comparison> = new Map([
  [abi.BPF_JEQ, comparison(STEP.equal64, STEP.equal32)],
  [abi.BPF_JNE, comparison(STEP.equal64, STEP.equal32, false, true)],
  [abi.BPF_JLT, comparison(STEP.below64, STEP.below32)],
  [abi.BPF_JGT, comparison(STEP.below64, STEP.below32, true)],
  [abi.BPF_JGE, comparison(STEP.below64, STEP.below32, false, true)],
  [abi.BPF_JLE, comparison(STEP.below64, STEP.below32, true, true)],
  [abi.BPF_JSLT, comparison(STEP.less64, STEP.less32)],
  [abi.BPF_JSGT, comparison(STEP.less64, STEP.less32, true)],
  [abi.BPF_JSGE, comparison(STEP.less64, STEP.less32, false, true)],
  [abi.BPF_JSLE, comparison(STEP.less64, STEP.less32, true, true)],
  [abi.BPF_JSET, comparison(STEP.test64, STEP.test32)],
]);

const loads: ReadonlyMap<number, readonly [plain: number, signed: number]> = new Map([
  [abi.BPF_B, [STEP.load8, STEP.loadSigned]],
  [abi.BPF_H, [STEP.load16, STEP.loadSigned]],
  [abi.BPF_W, [STEP.load32, STEP.loadSigned]],
  [abi.BPF_DW, [STEP.load64, STEP.load64]],
]);

const stores: ReadonlyMap<number, number> = new Map([
  [abi.BPF_B, STEP.store8],
  [abi.BPF_H, STEP.store16],
  [abi.BPF_W, STEP.store32],
  [abi.BPF_DW, STEP.store64],
]);

/** Immediates as registers that hold them, each value once. */
class Constants {
  readonly words: number[] = [];
  readonly #known = new Map<number, number>();

  /** Where the low word of this value, sign-extended to 64 bits, lies in the register file. */
  place(value: number): number {
    const known = this.#known.get(value);
    if (known !== undefined) return known;
    const place = FILE_CONSTANTS * 2 + this.words.length;
    this.words.push(value, value >> 31);
    this.#known.set(value, place);
    return place;
  }
}

class Preparation {
  readonly code: Int32Array;
  readonly #constants = new Constants();
  readonly #starts: Int32Array;
  readonly #slots: number;

  constructor(starts: Int32Array, slots: number) {
    this.#starts = starts;
    this.#slots = slots;
    this.code = new Int32Array((slots + 1) * SLOT_WORDS);
    this.code[slots * SLOT_WORDS] = STEP.end;
  }

  file(): Int32Array {
    const file = new Int32Array(FILE_CONSTANTS * 2 + this.#constants.words.length);
    file.set(this.#constants.words, FILE_CONSTANTS * 2);
    return file;
  }

  add(slot: number, found: Instruction): void {
    const words = this.code.subarray(slot * SLOT_WORDS, (slot + 1) * SLOT_WORDS);
    const { reads, writes } = registersOf(found);
    words[WORD_DESTINATION] = found.destination * 2;
    words[WORD_SOURCE] = found.source * 2;
    words[WORD_OPERAND] = found.offset;
    words[WORD_NEXT] = (slot + slotsOf(found)) * SLOT_WORDS;
    words[WORD_ELSE] = words[WORD_NEXT];
    words[WORD_READS] = reads;
    words[WORD_WRITES] = writes;
    this.#setStep(words, slot, found);
  }

  #setStep(words: Int32Array, slot: number, found: Instruction): void {
    const operation = found.opcode & 0xf0;
    const size = found.opcode & 0x18;
    switch (found.opcode & 7) {
      case abi.BPF_ALU64:
      case abi.BPF_ALU:
        this.#setArithmetic(words, found);
        return;
      case abi.BPF_LDX:
        words[WORD_STEP] = loads.get(size)![(found.opcode & 0xe0) === abi.BPF_MEMSX ? 1 : 0];
        return;
      case abi.BPF_ST:
        words[WORD_SOURCE] = this.#constants.place(found.immediate);
        words[WORD_STEP] = stores.get(size)!;
        return;
      case abi.BPF_STX:
        words[WORD_STEP] = (found.opcode & 0xe0) === abi.BPF_ATOMIC ? STEP.atomic : stores.get(size)!;
        return;
      case abi.BPF_LD:
        if (found.source === abi.BPF_PSEUDO_FUNC) this.#target(slot, found);
        words[WORD_STEP] = STEP.constant;
        words[WORD_SOURCE] = found.immediate;
        words[WORD_OPERAND] = found.nextImmediate;
        return;
      default:
        if (operation === abi.BPF_EXIT) words[WORD_STEP] = STEP.exit;
        else if (operation === abi.BPF_CALL) this.#setCall(words, slot, found);
        else this.#setJump(words, slot, found);
    }
  }

  #setArithmetic(words: Int32Array, found: Instruction): void {
    const operation = found.opcode & 0xf0;
    const isWide = (found.opcode & 7) === abi.BPF_ALU64;
    const isRegister = (found.opcode & abi.BPF_X) !== 0;
    const steps = arithmetic.get(operation);
    if (operation === abi.BPF_END) {
      words[WORD_STEP] = STEP.rareArithmetic;
      words[WORD_OPERAND] = found.immediate;
      return;
    }
    if (!isRegister) words[WORD_SOURCE] = this.#constants.place(found.immediate);
    if (steps !== undefined) words[WORD_STEP] = steps[isWide ? 0 : 1];
    else if (isAddressCast(found)) words[WORD_STEP] = STEP.castAddress;
    else if (operation !== abi.BPF_MOV || found.offset !== 0) words[WORD_STEP] = STEP.rareArithmetic;
    else if (isRegister) words[WORD_STEP] = isWide ? STEP.move64 : STEP.move32;
    else {
      words[WORD_STEP] = STEP.constant;
      words[WORD_SOURCE] = found.immediate;
      words[WORD_OPERAND] = isWide ? found.immediate >> 31 : 0;
    }
  }

  #setCall(words: Int32Array, slot: number, found: Instruction): void {
    words[WORD_OPERAND] = found.immediate;
    if (found.source === abi.BPF_PSEUDO_CALL) {
      words[WORD_STEP] = STEP.callLocal;
      words[WORD_NEXT] = this.#target(slot, found);
    } else {
      words[WORD_STEP] = STEP.callHelper;
    }
  }

  #setJump(words: Int32Array, slot: number, found: Instruction): void {
    const next = words[WORD_NEXT];
    const target = this.#target(slot, found);
    const kind = comparisons.get(found.opcode & 0xf0);
    words[WORD_NEXT] = target;
    words[WORD_STEP] = STEP.always;
    if (kind === undefined) return;
    const isWide = (found.opcode & 7) === abi.BPF_JMP;
    if ((found.opcode & abi.BPF_X) === 0) words[WORD_SOURCE] = this.#constants.place(found.immediate);
    const [left, right] = [words[WORD_DESTINATION], words[WORD_SOURCE]];
    words[WORD_DESTINATION] = kind.isExchanged ? right : left;
    words[WORD_SOURCE] = kind.isExchanged ? left : right;
    words[WORD_STEP] = isWide ? kind.wide : kind.narrow;
    words[WORD_NEXT] = kind.isNegated ? next : target;
    words[WORD_ELSE] = kind.isNegated ? target : next;
  }

  #target(slot: number, found: Instruction): number {
    const isFar = isFarJump(found) || found.opcode === WIDE_LOAD;
    const target = slot + 1 + (isFar ? found.immediate : found.offset);
    if (target < 0 || target >= this.#slots || this.#starts[target] === -1) {
      throw new VmFault(slot, found, `leads to ${target}, where no instruction begins`);
    }
    return target * SLOT_WORDS;
  }
}

/**
 * Prepares a program.
 * @throws VmFault for what no run could make right: unknown opcodes, fields that must be 0, jumps to no instruction
 */
export function prepare(instructions: readonly Instruction[]): Program {
  const slots = instructions.reduce((sum, one) => sum + slotsOf(one), 0);
  const starts = new Int32Array(slots + 1).fill(-1);
  let slot = 0;
  for (const [index, found] of instructions.entries()) {
    starts[slot] = index;
    slot += slotsOf(found);
  }
  const preparation = new Preparation(starts, slots);
  slot = 0;
  for (const found of instructions) {
    checkInstruction(slot, found);
    preparation.add(slot, found);
    slot += slotsOf(found);
  }
  return { slots, code: preparation.code, file: preparation.file(), at: (at) => instructions[starts[at]] };
}
