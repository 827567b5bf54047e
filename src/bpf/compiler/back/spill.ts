/**
 * Room `bpf`: registers that found no machine register: they live in the frame and visit a register where they are used; numbers and
 * addresses are made anew instead.
 *
 * A newcomer would get wrong: the verifier follows a value through the stack only where all 8 bytes are written and read at once at
 * an aligned place. So every spilled value takes 8 bytes, however small it is.
 */
import * as abi from '../../../kernel/bpf-abi.ts';
import type { Interference } from './interference.ts';
import { forEachEndRead, forEachRead } from './liveness.ts';
import { FRAME, KIND, type MachineFunction, type MachineInstruction, machine, NONE, VIRTUAL } from './machine.ts';

const LOAD = abi.BPF_LDX | abi.BPF_MEM | abi.BPF_DW;
const STORE = abi.BPF_STX | abi.BPF_MEM | abi.BPF_DW;
const SPILL_BYTES = 8;

/** The only instruction that writes each register, if it can be repeated anywhere; undefined for others. */
export function findRepeatable(target: MachineFunction): (MachineInstruction | undefined)[] {
  const found: (MachineInstruction | undefined)[] = [];
  const written = new Uint8Array(target.registers);
  for (const { instructions } of target.blocks) {
    for (const instruction of instructions) {
      const { def, kind } = instruction;
      if (def < VIRTUAL) continue;
      const isRepeatable = kind === KIND.constant || kind === KIND.frame;
      found[def] = written[def] === 0 && isRepeatable ? instruction : undefined;
      written[def] = 1;
    }
  }
  return found;
}

/** What it would cost to keep each register in memory: expected accesses. `temporary` ones cannot be. */
export function findCosts(target: MachineFunction, temporary: ReadonlySet<number>): Float64Array {
  const costs = new Float64Array(target.registers);
  const repeatable = findRepeatable(target);
  for (const block of target.blocks) {
    const weight = block.frequency;
    const read = (register: number): void => {
      costs[register] += weight;
    };
    for (const instruction of block.instructions) {
      forEachRead(instruction, read);
      const { def } = instruction;
      // A number that is made where it is used need not be made before.
      if (def >= VIRTUAL) costs[def] += repeatable[def] === undefined ? weight : -weight / 2;
    }
    forEachEndRead(block, read);
  }
  for (const register of temporary) costs[register] = Number.POSITIVE_INFINITY;
  return costs;
}

/**
 * Rewrites the function so that `spilled` live in memory, and adds the short-lived registers to `temporary`.
 * @returns every register that is gone: the spilled ones and those joined with them
 */
export function spill(
  target: MachineFunction,
  spilled: readonly number[],
  representative: (register: number) => number,
  graph: Interference,
  temporary: Set<number>,
): number[] {
  const members = new Set(spilled);
  const groupOf = (register: number): number => {
    if (register < VIRTUAL) return NONE;
    const group = representative(register);
    return members.has(group) ? group : NONE;
  };
  const spiller = new Spiller(target, groupOf, temporary);
  const gone = spiller.place(spilled, graph);
  for (const block of target.blocks) {
    block.instructions = block.instructions.flatMap((instruction) => spiller.rewrite(instruction));
    const { end } = block;
    if (end.kind !== 'branch') continue;
    spiller.location = end.location;
    const first = end.first;
    end.first = spiller.fetch(first, block.instructions);
    if (end.second !== NONE) {
      end.second = end.second === first ? end.first : spiller.fetch(end.second, block.instructions);
    }
  }
  return gone;
}

class Spiller {
  location: MachineInstruction['location'] = null;
  readonly #target: MachineFunction;
  readonly #groupOf: (register: number) => number;
  readonly #temporary: Set<number>;
  readonly #repeatable: (MachineInstruction | undefined)[];
  readonly #offsets = new Map<number, number>();
  /** Groups of one register that is made anew for each use. */
  readonly #repeated = new Set<number>();

  constructor(target: MachineFunction, groupOf: (register: number) => number, temporary: Set<number>) {
    this.#target = target;
    this.#groupOf = groupOf;
    this.#temporary = temporary;
    this.#repeatable = findRepeatable(target);
  }

  /**
   * Gives each group a place in the frame; groups that are never in use at once share one.
   * @returns the groups' members
   */
  place(spilled: readonly number[], graph: Interference): number[] {
    const all: number[] = [];
    const sizes = new Map<number, number>();
    const conflicts = new Map(spilled.map((group) => [group, new Set<number>()]));
    for (let register = VIRTUAL; register < graph.registers; register++) {
      const group = this.#groupOf(register);
      if (group === NONE) continue;
      all.push(register);
      sizes.set(group, (sizes.get(group) ?? 0) + 1);
      for (const neighbour of graph.neighbours[register]) {
        const other = this.#groupOf(neighbour);
        if (other === NONE) continue;
        conflicts.get(group)?.add(other);
        conflicts.get(other)?.add(group);
      }
    }
    for (const [group, size] of sizes) {
      // What was joined with others is written by copies, too.
      if (size === 1 && this.#repeatable[group] !== undefined) this.#repeated.add(group);
    }
    const places: number[][] = [];
    const base = Math.ceil(this.#target.frameBytes / SPILL_BYTES) * SPILL_BYTES;
    for (const group of spilled) {
      if (this.#repeated.has(group)) continue;
      let place = places.findIndex((others) => others.every((other) => conflicts.get(group)?.has(other) === false));
      if (place === -1) place = places.push([]) - 1;
      places[place].push(group);
      this.#offsets.set(group, -(base + (place + 1) * SPILL_BYTES));
    }
    if (places.length > 0) this.#target.frameBytes = base + places.length * SPILL_BYTES;
    return all;
  }

  #offsetOf(group: number): number {
    const offset = this.#offsets.get(group);
    if (offset === undefined) throw new Error(`${this.#target.name}: a spilled register has no place`);
    return offset;
  }

  #fresh(group: number): number {
    const register = this.#target.registers++;
    this.#target.names[register] = this.#target.names[group];
    this.#temporary.add(register);
    return register;
  }

  /** Puts what `register` holds into `into`. */
  #load(into: number, group: number): MachineInstruction {
    const made = this.#repeated.has(group) ? this.#repeatable[group] : undefined;
    if (made !== undefined) return { ...made, def: into, location: this.location };
    const fields = { def: into, first: FRAME, offset: this.#offsetOf(group) };
    return machine(KIND.load, LOAD, this.location, fields);
  }

  #store(group: number, second: number): MachineInstruction {
    const fields = { first: FRAME, second, offset: this.#offsetOf(group), removable: false };
    return machine(KIND.store, STORE, this.location, fields);
  }

  /** The register to read in place of `register`, filled by an instruction added to `before`. */
  fetch(register: number, before: MachineInstruction[]): number {
    const group = this.#groupOf(register);
    if (group === NONE) return register;
    const into = this.#fresh(group);
    before.push(this.#load(into, group));
    return into;
  }

  rewrite(instruction: MachineInstruction): MachineInstruction[] {
    this.location = instruction.location;
    const { kind, def, first } = instruction;
    const written = this.#groupOf(def);
    if (written !== NONE && this.#repeated.has(written)) return [];
    if (kind === KIND.move) {
      const read = this.#groupOf(first);
      if (read !== NONE && read === written) return [];
      if (read !== NONE && written === NONE) return [this.#load(def, read)];
      if (read === NONE && written !== NONE) return [this.#store(written, first)];
    }
    return this.#access(instruction, written);
  }

  #access(instruction: MachineInstruction, written: number): MachineInstruction[] {
    const before: MachineInstruction[] = [];
    const { def, tied, first, second } = instruction;
    const fetched = new Map<number, number>();
    const fetch = (register: number): number => {
      if (register === NONE) return NONE;
      const known = fetched.get(register);
      if (known !== undefined) return known;
      const found = this.fetch(register, before);
      fetched.set(register, found);
      return found;
    };
    instruction.tied = fetch(tied);
    instruction.first = fetch(first);
    instruction.second = fetch(second);
    if (written === NONE) return [...before, instruction];
    // An operand that is overwritten and the result are one register already.
    instruction.def = tied === def ? instruction.tied : this.#fresh(written);
    return [...before, instruction, this.#store(written, instruction.def)];
  }
}
