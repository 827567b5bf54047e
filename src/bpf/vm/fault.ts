/**
 * Room `bpf`: what a program did that it must not, by instruction and source line, in words like the verifier's. Off
 * the hot path: a fault ends the run.
 */
import { disassembleOne } from '../disassembler.ts';
import type { Instruction } from '../instructions.ts';
import type { LineInfo } from '../object/spec.ts';

/** Where an instruction comes from, for those that an object says it of. */
export interface Place {
  readonly function: string;
  /** The slot within the function. */
  readonly slot: number;
  readonly line: LineInfo | null;
  /** The variables that lie in registers 0 to 10 when the instruction begins. */
  readonly names: readonly (string | null)[];
}

function heading(slot: number, found: Instruction | undefined, place: Place | undefined): string {
  const code = found === undefined ? '' : ` (${disassembleOne(found)})`;
  if (place === undefined) return `instruction ${slot}${code}`;
  const instruction = `instruction ${place.slot}${code} of ${place.function}`;
  const { line } = place;
  return line === null ? instruction : `${line.file}:${line.line}:${line.column}`;
}

function excerpt(place: Place | undefined): string {
  const line = place?.line;
  if (line === undefined || line === null || line.text === '') return '';
  return `\n  ${line.text}\n  ${' '.repeat(Math.max(0, line.column - 1))}^`;
}

/** Why the VM stopped a program or refused it before it ran. */
export class VmFault extends Error {
  override readonly name = 'VmFault';
  /** The slot of the instruction, counted as the verifier's log counts: over the whole program. */
  readonly slot: number;
  /** What is wrong, without the place. */
  readonly problem: string;
  /** Null for a program that is not of an object. */
  readonly place: Place | null;

  constructor(slot: number, found: Instruction | undefined, problem: string, place?: Place) {
    super(`${heading(slot, found, place)}: ${problem}${excerpt(place)}`);
    this.slot = slot;
    this.problem = problem;
    this.place = place ?? null;
  }
}

/** Thrown below the level that knows the instruction; the machine makes a {@link VmFault} of it. */
export class Violation extends Error {
  override readonly name = 'Violation';
}
