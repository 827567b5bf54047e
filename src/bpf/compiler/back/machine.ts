/**
 * Room `bpf`: what the back end works on between IR and instructions: eBPF instructions whose registers may be virtual, in blocks.
 *
 * A newcomer would get wrong: 0 to 10 are the machine's own registers, everything from VIRTUAL on is a value that still needs one.
 * No longer SSA: a virtual register may be written in several places (phis, results of comparisons, two-address operations).
 */
import * as abi from '../../../kernel/bpf-abi.ts';
import type { Relocation } from '../../object/spec.ts';
import type { Condition, CoreRelocation, Location } from '../ir.ts';

/** The first virtual register. */
export const VIRTUAL = 11;
/** No register. */
export const NONE = -1;
export const FRAME = 10;
/** Registers that values may be put into: r0 to r9. */
export const COLOURS = 10;
/** r0 to r5, as bits: what a call leaves unreadable, apart from its result in r0. */
export const CALL_WRITES = 0b111111;

/** What an instruction does with its registers. */
export const KIND = {
  /** def = first */
  move: 0,
  /** def = a number or an address that is known when the program is loaded; reads nothing, so it can be repeated anywhere */
  constant: 1,
  /** def = r10 + immediate; two instructions in the end, repeatable as a constant */
  frame: 2,
  /** def = tied op first (or immediate); def and tied end up in one register */
  alu: 3,
  /** def = an extension or part of first; def and first may differ */
  extend: 4,
  /** def = [first + offset] */
  load: 5,
  /** [first + offset] = second, or immediate where second is NONE */
  store: 6,
  /** [first + offset] op= second; where def is set it is `second` itself, or r0 */
  atomic: 7,
  call: 8,
} as const;

export type Kind = (typeof KIND)[keyof typeof KIND];

/** A relocation that still has no index. */
export type PendingRelocation = Omit<Relocation, 'index'>;

/** One instruction, or (`frame`) two. */
export interface MachineInstruction {
  readonly kind: Kind;
  opcode: number;
  /** The register written. */
  def: number;
  /** The register read and overwritten. */
  tied: number;
  first: number;
  second: number;
  offset: number;
  immediate: number;
  readonly nextImmediate: number;
  /** What the source field says where it holds no register (BPF_PSEUDO_…). */
  readonly pseudo: number;
  /** Machine registers read and written beside those above, as bits. */
  readonly reads: number;
  readonly writes: number;
  readonly location: Location | null;
  readonly relocation: PendingRelocation | null;
  readonly core: CoreRelocation | null;
  /** It may be left out where nobody reads `def`. */
  readonly removable: boolean;
}

/** How a block ends. */
export type MachineEnd =
  | { readonly kind: 'jump'; readonly location: Location | null; target: MachineBlock }
  | MachineBranch
  | { readonly kind: 'exit'; readonly location: Location | null };

/** Compares two registers, or (`second` NONE) a register and a number. */
export interface MachineBranch {
  readonly kind: 'branch';
  readonly location: Location | null;
  readonly condition: Condition;
  readonly bits: 32 | 64;
  first: number;
  second: number;
  readonly immediate: number;
  whenTrue: MachineBlock;
  whenFalse: MachineBlock;
}

export interface MachineBlock {
  /** Its place in `MachineFunction.blocks`, kept by {@link number}. */
  index: number;
  instructions: MachineInstruction[];
  end: MachineEnd;
  /** Expected runs for each call of the function. */
  frequency: number;
}

export interface MachineFunction {
  readonly name: string;
  /** The first is the entry. */
  blocks: MachineBlock[];
  /** The next virtual register. */
  registers: number;
  /** Variables of the source by virtual register. */
  readonly names: (string | undefined)[];
  /** Bytes of the frame that slots take. */
  readonly slotBytes: number;
  /** Bytes of the frame in use: slots, then spilled values below them. */
  frameBytes: number;
}

type Fields = Partial<Omit<MachineInstruction, 'kind' | 'opcode'>>;

/** Completes an instruction. */
export function machine(kind: Kind, opcode: number, location: Location | null, fields: Fields): MachineInstruction {
  const { def = NONE, tied = NONE, first = NONE, second = NONE, offset = 0, immediate = 0, nextImmediate = 0 } = fields;
  const { pseudo = 0, reads = 0, writes = 0, relocation = null, core = null, removable = true } = fields;
  const registers = { kind, opcode, def, tied, first, second, offset, immediate, nextImmediate };
  return { ...registers, pseudo, reads, writes, location, relocation, core, removable };
}

/** `def = first`, 64 bits. */
export function moveOf(def: number, first: number, location: Location | null): MachineInstruction {
  return machine(KIND.move, abi.BPF_ALU64 | abi.BPF_MOV | abi.BPF_X, location, { def, first });
}

/** Where control may go from here. */
export function successors(block: MachineBlock): readonly MachineBlock[] {
  const end = block.end;
  if (end.kind === 'exit') return [];
  return end.kind === 'jump' ? [end.target] : [end.whenTrue, end.whenFalse];
}

/** Gives blocks their indices again. */
export function number(target: MachineFunction): void {
  for (const [index, block] of target.blocks.entries()) block.index = index;
}

/** Blocks that can be reached, each behind its successors as far as there are no loops. */
export function postorder(target: MachineFunction): MachineBlock[] {
  const found: MachineBlock[] = [];
  const seen = new Set<MachineBlock>([target.blocks[0]]);
  const open: { block: MachineBlock; next: number }[] = [{ block: target.blocks[0], next: 0 }];
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const successor = successors(top.block)[top.next++];
    if (successor === undefined) {
      found.push(top.block);
      open.pop();
    } else if (!seen.has(successor)) {
      seen.add(successor);
      open.push({ block: successor, next: 0 });
    }
  }
  return found;
}

/** What holds where the condition does not; `test` has no such. */
export const inverse: Readonly<Partial<Record<Condition, Condition>>> = {
  eq: 'ne',
  ne: 'eq',
  ult: 'uge',
  uge: 'ult',
  ule: 'ugt',
  ugt: 'ule',
  slt: 'sge',
  sge: 'slt',
  sle: 'sgt',
  sgt: 'sle',
};

/** What holds for (b, a) where the condition holds for (a, b). */
export const swapped: Readonly<Record<Condition, Condition>> = {
  eq: 'eq',
  ne: 'ne',
  test: 'test',
  ult: 'ugt',
  ugt: 'ult',
  ule: 'uge',
  uge: 'ule',
  slt: 'sgt',
  sgt: 'slt',
  sle: 'sge',
  sge: 'sle',
};
