/**
 * Room `bpf`: prepares machine instructions for register allocation: what nobody reads goes, and operations get eBPF's form, in
 * which the first operand is overwritten.
 *
 * A newcomer would get wrong: the copy made here is meant to disappear. Where the operand is read no more, both become one register.
 */
import * as abi from '../../../kernel/bpf-abi.ts';
import { findRepeatable } from './costs.ts';
import { forEachEndRead, forEachRead, type Liveness, LiveSet } from './liveness.ts';
import { KIND, type MachineFunction, type MachineInstruction, moveOf, NONE, VIRTUAL } from './machine.ts';

const commutative: ReadonlySet<number> = new Set([abi.BPF_ADD, abi.BPF_MUL, abi.BPF_AND, abi.BPF_OR, abi.BPF_XOR]);

/** Removes what nobody reads, also where it was read by removed instructions only. */
export function removeUnread(target: MachineFunction): void {
  const readers = new Int32Array(target.registers);
  const count = (register: number): void => {
    readers[register]++;
  };
  for (const block of target.blocks) {
    for (const instruction of block.instructions) forEachRead(instruction, count);
    forEachEndRead(block, count);
  }
  const isUnread = ({ def, removable }: MachineInstruction): boolean => {
    return removable && def >= VIRTUAL && readers[def] === 0;
  };
  for (let removed = true; removed; ) {
    removed = false;
    for (const block of target.blocks) {
      // Backwards, so that most of what a removed instruction read is met after it.
      for (let at = block.instructions.length - 1; at >= 0; at--) {
        const instruction = block.instructions[at];
        if (!isUnread(instruction)) continue;
        removed = true;
        forEachRead(instruction, (register) => {
          readers[register]--;
        });
        block.instructions.splice(at, 1);
      }
    }
  }
}

/** Copies each first operand to where the result shall be. Operations that commute overwrite the operand that is not read later. */
export function copyOperands(target: MachineFunction, liveness: Liveness): void {
  const live = new LiveSet(target.registers);
  const repeatable = findRepeatable(target);
  for (const block of target.blocks) {
    live.enterEnd(block, liveness);
    const settled: MachineInstruction[] = [];
    for (let at = block.instructions.length - 1; at >= 0; at--) {
      const instruction = block.instructions[at];
      const { def, tied, first } = instruction;
      settled.push(instruction);
      const isFree = instruction.kind === KIND.alu && first !== NONE && commutes(instruction.opcode);
      // Of two that both end here, a number is the better one: it can be made where the result shall be.
      const isBetter = live.has(tied) || (repeatable[tied] === undefined && repeatable[first] !== undefined);
      if (isFree && isBetter && !live.has(first)) {
        instruction.tied = first;
        instruction.first = tied;
      }
      live.stepBack(instruction);
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
