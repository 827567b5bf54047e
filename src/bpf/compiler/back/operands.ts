/**
 * Room `bpf`: prepares machine instructions for register allocation: what nobody reads goes, and operations get eBPF's form, in
 * which the first operand is overwritten.
 *
 * A newcomer would get wrong: the copy made here is meant to disappear. Where the operand is read no more, both become one register.
 */
import * as abi from '../../../kernel/bpf-abi.ts';
import { findLiveness, forEachEndRead, type Liveness, RegisterSet, stepBack } from './liveness.ts';
import { KIND, type MachineBlock, type MachineFunction, type MachineInstruction, moveOf, NONE } from './machine.ts';

const commutative: ReadonlySet<number> = new Set([abi.BPF_ADD, abi.BPF_MUL, abi.BPF_AND, abi.BPF_OR, abi.BPF_XOR]);

/** Removes what nobody reads, also where it was read by removed instructions only. */
export function removeUnread(target: MachineFunction): void {
  for (let removed = true; removed; ) {
    removed = false;
    const liveness = findLiveness(target);
    const live = new RegisterSet(target.registers);
    for (const block of target.blocks) {
      enterEnd(block, liveness, live);
      const kept: MachineInstruction[] = [];
      for (let at = block.instructions.length - 1; at >= 0; at--) {
        const instruction = block.instructions[at];
        const { def, removable } = instruction;
        if (removable && def !== NONE && !live.has(def)) continue;
        stepBack(live, instruction);
        kept.push(instruction);
      }
      if (kept.length === block.instructions.length) continue;
      block.instructions = kept.reverse();
      removed = true;
    }
  }
}

function enterEnd(block: MachineBlock, liveness: Liveness, live: RegisterSet): void {
  live.copyFrom(liveness.outOf[block.index]);
  forEachEndRead(block, (register) => live.add(register));
}

/** Copies each first operand to where the result shall be. Operations that commute overwrite the operand that is not read later. */
export function copyOperands(target: MachineFunction): void {
  const liveness = findLiveness(target);
  const live = new RegisterSet(target.registers);
  for (const block of target.blocks) {
    enterEnd(block, liveness, live);
    const settled: MachineInstruction[] = [];
    for (let at = block.instructions.length - 1; at >= 0; at--) {
      const instruction = block.instructions[at];
      const { def, tied, first } = instruction;
      settled.push(instruction);
      const isFree = instruction.kind === KIND.alu && first !== NONE && commutes(instruction.opcode);
      if (isFree && live.has(tied) && !live.has(first)) {
        instruction.tied = first;
        instruction.first = tied;
      }
      stepBack(live, instruction);
      if (instruction.tied === NONE || instruction.tied === def) continue;
      settled.push(moveOf(def, instruction.tied, instruction.location));
      instruction.tied = def;
    }
    block.instructions = settled.reverse();
  }
}

function commutes(opcode: number): boolean {
  return (opcode & abi.BPF_X) !== 0 && commutative.has(opcode & 0xf0);
}
