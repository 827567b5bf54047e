/**
 * Room `bpf`: which registers are in use at the same time, and which are joined by copies.
 *
 * A newcomer would get wrong: the target of a copy does not interfere with its source for the copy's sake; that they hold the same
 * value is the point. A call interferes by writing r0 to r5 with all that lives across it.
 */
import { forEachBit, forEachEndRead, forEachRead, type Liveness, LiveSet } from './liveness.ts';
import { KIND, type MachineFunction, NONE, VIRTUAL } from './machine.ts';

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
  /** A triangle of bits: a row of whole words for each register, with a bit for each smaller one. */
  readonly #matrix: Uint32Array;
  /** The word at which each row begins. */
  readonly #rows: Int32Array;

  constructor(registers: number) {
    this.registers = registers;
    this.neighbours = Array.from({ length: registers }, () => []);
    this.present = new Uint8Array(registers);
    this.#rows = new Int32Array(registers + 1);
    for (let register = 0; register < registers; register++) {
      this.#rows[register + 1] = this.#rows[register] + ((register + 31) >>> 5);
    }
    this.#matrix = new Uint32Array(this.#rows[registers]);
  }

  interferes(a: number, b: number): boolean {
    if (a === b) return false;
    const larger = Math.max(a, b);
    const smaller = Math.min(a, b);
    return (this.#matrix[this.#rows[larger] + (smaller >>> 5)] & (1 << (smaller & 31))) !== 0;
  }

  /** Says that both are in use at once; false where that was known. */
  connect(a: number, b: number): boolean {
    if (a === b) return false;
    const larger = Math.max(a, b);
    const smaller = Math.min(a, b);
    const word = this.#rows[larger] + (smaller >>> 5);
    const bit = 1 << (smaller & 31);
    if ((this.#matrix[word] & bit) !== 0) return false;
    this.#matrix[word] |= bit;
    // Machine registers keep no list: theirs would be long, and nobody takes them away.
    if (a >= VIRTUAL) this.neighbours[a].push(b);
    if (b >= VIRTUAL) this.neighbours[b].push(a);
    return true;
  }
}

/** Builds the graph. */
export function findInterference(target: MachineFunction, liveness: Liveness): Interference {
  const graph = new Interference(target.registers);
  const live = new LiveSet(target.registers);
  const note = (register: number): void => {
    graph.present[register] = 1;
  };
  for (const block of target.blocks) {
    live.enterEnd(block, liveness);
    forEachEndRead(block, note);
    for (let at = block.instructions.length - 1; at >= 0; at--) {
      const instruction = block.instructions[at];
      const { kind, def, first, writes } = instruction;
      const isMove = kind === KIND.move;
      forEachRead(instruction, note);
      if (def !== NONE) {
        note(def);
        connectAll(graph, live, def, isMove ? first : NONE);
      }
      if (writes !== 0) forEachBit(writes, (register) => connectAll(graph, live, register, NONE));
      if (isMove && first !== def) graph.moves.push({ to: def, from: first, weight: block.frequency });
      live.stepBack(instruction);
    }
  }
  return graph;
}

/** Connects what is written with all that lives behind it, apart from what it is a copy of. */
function connectAll(graph: Interference, live: LiveSet, register: number, copied: number): void {
  const { members, size } = live;
  for (let index = 0; index < size; index++) {
    const other = members[index];
    if (other !== copied) graph.connect(register, other);
  }
}
