/**
 * Room `bpf`: which registers are in use at the same time, and which are joined by copies.
 *
 * A newcomer would get wrong: the target of a copy does not interfere with its source for the copy's sake; that they hold the same
 * value is the point. A call interferes by writing r0 to r5 with all that lives across it.
 */
import { forEachEndRead, type Liveness, RegisterSet, stepBack } from './liveness.ts';
import { KIND, type MachineFunction, type MachineInstruction, NONE, VIRTUAL } from './machine.ts';

/** A copy, and how often it is expected to run. */
export interface MovePair {
  readonly to: number;
  readonly from: number;
  readonly weight: number;
}

/** The interference graph. */
export class Interference {
  readonly registers: number;
  readonly neighbours: number[][];
  readonly moves: MovePair[] = [];
  /** Registers that the code names. */
  readonly present: Uint8Array;
  /** A triangle of bits, larger register first. */
  readonly #matrix: Uint32Array;

  constructor(registers: number) {
    this.registers = registers;
    this.neighbours = Array.from({ length: registers }, () => []);
    this.present = new Uint8Array(registers);
    this.#matrix = new Uint32Array((((registers * (registers + 1)) / 2) >>> 5) + 1);
  }

  interferes(a: number, b: number): boolean {
    const bit = a > b ? (a * (a - 1)) / 2 + b : (b * (b - 1)) / 2 + a;
    return (this.#matrix[Math.floor(bit / 32)] & (1 << (bit & 31))) !== 0;
  }

  /** Says that both are in use at once; false where that was known. */
  connect(a: number, b: number): boolean {
    if (a === b) return false;
    const bit = a > b ? (a * (a - 1)) / 2 + b : (b * (b - 1)) / 2 + a;
    const word = Math.floor(bit / 32);
    if ((this.#matrix[word] & (1 << (bit & 31))) !== 0) return false;
    this.#matrix[word] |= 1 << (bit & 31);
    // Machine registers keep no list: theirs would be long, and nobody takes them away.
    if (a >= VIRTUAL) this.neighbours[a].push(b);
    if (b >= VIRTUAL) this.neighbours[b].push(a);
    return true;
  }
}

/** Builds the graph. */
export function findInterference(target: MachineFunction, liveness: Liveness): Interference {
  const graph = new Interference(target.registers);
  const live = new RegisterSet(target.registers);
  for (const block of target.blocks) {
    live.copyFrom(liveness.outOf[block.index]);
    forEachEndRead(block, (register) => {
      live.add(register);
      graph.present[register] = 1;
    });
    const weight = block.frequency;
    for (let at = block.instructions.length - 1; at >= 0; at--) {
      const instruction = block.instructions[at];
      connectAll(graph, live, instruction);
      if (instruction.kind === KIND.move && instruction.first !== instruction.def) {
        graph.moves.push({ to: instruction.def, from: instruction.first, weight });
      }
      stepBack(live, instruction);
    }
  }
  return graph;
}

function connectAll(graph: Interference, live: RegisterSet, instruction: MachineInstruction): void {
  const { kind, def, tied, first, second, writes } = instruction;
  for (const register of [def, tied, first, second]) if (register !== NONE) graph.present[register] = 1;
  if (def !== NONE) {
    const except = kind === KIND.move ? first : def;
    live.forEach((register) => {
      if (register !== except) graph.connect(def, register);
    });
  }
  for (let left = writes; left !== 0; left &= left - 1) {
    const written = 31 - Math.clz32(left & -left);
    live.forEach((register) => {
      if (register !== written) graph.connect(written, register);
    });
  }
}
