/**
 * Room `bpf`: what a program did that it must not, by instruction, in words like the verifier's. Off the hot path: a fault ends
 * the run.
 */
import { disassembleOne } from '../disassembler.ts';
import type { Instruction } from '../instructions.ts';

/** Why the VM stopped a program or refused it before it ran. */
export class VmFault extends Error {
  override readonly name = 'VmFault';
  /** The slot of the instruction, counted as the verifier's log counts. */
  readonly slot: number;
  /** What is wrong, without the place. */
  readonly problem: string;

  constructor(slot: number, found: Instruction | undefined, problem: string) {
    super(`instruction ${slot}${found === undefined ? '' : ` (${disassembleOne(found)})`}: ${problem}`);
    this.slot = slot;
    this.problem = problem;
  }
}

/** Thrown below the level that knows the instruction; the machine makes a {@link VmFault} of it. */
export class Violation extends Error {
  override readonly name = 'Violation';
}
