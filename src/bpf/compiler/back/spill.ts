/**
 * Room `bpf`: registers that found no machine register: they live in the frame and visit a register where they are used; numbers and
 * addresses are made anew instead.
 *
 * A newcomer would get wrong: the verifier follows a value through the stack only where all 8 bytes are written and read at once at
 * an aligned place. So every spilled value takes 8 bytes, however small it is. And a visit lasts: what was fetched is used again until
 * the next call. Only if that finds no register either, each use fetches for itself.
 */
import * as abi from '../../../kernel/bpf-abi.ts';
import { findRepeatable, type Homes, isFetch, isReturn } from './costs.ts';
import type { Interference } from './interference.ts';
import type { Liveness } from './liveness.ts';
import { FRAME, KIND, type MachineFunction, type MachineInstruction, machine, NONE, VIRTUAL } from './machine.ts';

const LOAD = abi.BPF_LDX | abi.BPF_MEM | abi.BPF_DW;
const STORE = abi.BPF_STX | abi.BPF_MEM | abi.BPF_DW;
const STORE_IMMEDIATE = abi.BPF_ST | abi.BPF_MEM | abi.BPF_DW;
const MOVE_IMMEDIATE = abi.BPF_ALU64 | abi.BPF_MOV | abi.BPF_K;
const SPILL_BYTES = 8;
/** Instructions between two uses over which a visit lasts. */
const VISIT_MAX = 16;

/** Rewrites the function so that `spilled`, and what was joined with them, live in memory. */
export function spill(
  target: MachineFunction,
  spilled: readonly number[],
  representative: (register: number) => number,
  context: { readonly graph: Interference; readonly liveness: Liveness; readonly homes: Homes },
): void {
  const { graph, liveness, homes } = context;
  const spiller = new Spiller(target, homes);
  liveness.remove(spiller.group(spilled, representative, graph));
  for (const block of target.blocks) {
    const instructions = spiller.begin();
    for (const instruction of block.instructions) spiller.rewrite(instruction);
    block.instructions = instructions;
    const { end } = block;
    if (end.kind === 'branch') {
      spiller.location = end.location;
      end.first = spiller.fetch(end.first);
      end.second = spiller.fetch(end.second);
    }
    spiller.forget();
  }
}

/** A visit: a register that holds what a group has in memory. */
interface Visit {
  readonly register: number;
  uses: number;
  /** Where it was used last, in instructions written. */
  last: number;
}

class Spiller {
  location: MachineInstruction['location'] = null;
  readonly #target: MachineFunction;
  readonly #homes: Homes;
  readonly #repeatable: readonly (MachineInstruction | undefined)[];
  /** The group of each register; a group is named by one of its members. Registers without one stay. */
  readonly #groups = new Map<number, number>();
  /** Where each group lies; not for those that are made anew. */
  readonly #offsets = new Map<number, number>();
  readonly #visits = new Map<number, Visit>();
  #written: MachineInstruction[] = [];

  constructor(target: MachineFunction, homes: Homes) {
    this.#target = target;
    this.#homes = homes;
    this.#repeatable = findRepeatable(target);
  }

  /**
   * Forms groups of registers that share a place in memory.
   * @returns all their members
   */
  group(spilled: readonly number[], representative: (register: number) => number, graph: Interference): number[] {
    const chosen = new Set(spilled);
    const names = new Map<number, number>();
    for (let register = VIRTUAL; register < graph.registers; register++) {
      const joined = representative(register);
      if (!chosen.has(joined) || graph.present[register] === 0) continue;
      // What can be made anew, and what lies in memory already, needs no place with those it was joined with.
      const isAlone = this.#repeatable[register] !== undefined || this.#homes.places.has(register);
      const name = isAlone ? register : (names.get(joined) ?? register);
      if (!isAlone) names.set(joined, name);
      this.#groups.set(register, name);
    }
    this.#place([...names.values()], graph);
    return [...this.#groups.keys()];
  }

  /** Gives groups their places in the frame; those that are never in use at once share one. */
  #place(groups: readonly number[], graph: Interference): void {
    const conflicts = new Map(groups.map((group) => [group, new Set<number>()]));
    for (const [register, group] of this.#groups) {
      for (const neighbour of graph.neighbours[register]) {
        const other = this.#groups.get(neighbour);
        if (other === undefined) continue;
        conflicts.get(group)?.add(other);
        conflicts.get(other)?.add(group);
      }
    }
    const places: number[][] = [];
    const base = Math.ceil(this.#target.frameBytes / SPILL_BYTES) * SPILL_BYTES;
    for (const group of groups) {
      let place = places.findIndex((others) => others.every((other) => conflicts.get(group)?.has(other) === false));
      if (place === -1) place = places.push([]) - 1;
      places[place].push(group);
      this.#offsets.set(group, -(base + (place + 1) * SPILL_BYTES));
    }
    if (places.length > 0) this.#target.frameBytes = base + places.length * SPILL_BYTES;
    for (const [register, group] of this.#groups) {
      const home = this.#homes.places.get(register);
      if (home !== undefined && register === group) this.#offsets.set(group, home);
    }
  }

  /** Begins a block; what is written goes into the list returned. */
  begin(): MachineInstruction[] {
    this.#written = [];
    return this.#written;
  }

  /** Ends all visits. */
  forget(): void {
    for (const group of [...this.#visits.keys()]) this.#end(group);
  }

  /** Ends a visit. One of a single use could not be shorter, so it must find a register; a longer one may be split once more. */
  #end(group: number): void {
    const visit = this.#visits.get(group);
    if (visit === undefined) return;
    this.#visits.delete(group);
    if (visit.uses < 2) {
      this.#homes.temporary.add(visit.register);
      return;
    }
    this.#homes.visits.add(visit.register);
    const offset = this.#offsets.get(group);
    if (offset !== undefined) this.#homes.places.set(visit.register, offset);
  }

  /** A new register that holds a group's value. What was a visit before is now fetched for each use. */
  #visit(group: number): number {
    const register = this.#target.registers++;
    this.#target.names[register] = this.#target.names[group];
    this.#end(group);
    if (this.#homes.visits.has(group)) this.#homes.temporary.add(register);
    else this.#visits.set(group, { register, uses: 1, last: this.#written.length });
    return register;
  }

  #isMade(group: number): boolean {
    return this.#repeatable[group] !== undefined;
  }

  #offsetOf(group: number): number {
    const offset = this.#offsets.get(group);
    if (offset === undefined) throw new Error(`${this.#target.name}: a register in memory has no place`);
    return offset;
  }

  /** Puts a group's value into a register. */
  #load(def: number, group: number): void {
    const made = this.#repeatable[group];
    const { location } = this;
    const fields = { def, first: FRAME, offset: made === undefined ? this.#offsetOf(group) : 0 };
    this.#written.push(made === undefined ? machine(KIND.load, LOAD, location, fields) : { ...made, def, location });
  }

  #store(group: number, second: number): void {
    const fields = { first: FRAME, second, offset: this.#offsetOf(group), removable: false };
    this.#written.push(machine(KIND.store, STORE, this.location, fields));
  }

  /** The register of a visit that still lasts. */
  #held(group: number): number {
    const visit = this.#visits.get(group);
    if (visit === undefined) return NONE;
    if (this.#written.length - visit.last > VISIT_MAX) {
      this.#end(group);
      return NONE;
    }
    visit.uses++;
    visit.last = this.#written.length;
    return visit.register;
  }

  /** The register to read in place of `register`, filled if it has to be. */
  fetch(register: number): number {
    const group = this.#groups.get(register);
    if (group === undefined) return register;
    const held = this.#held(group);
    if (held !== NONE) return held;
    const into = this.#visit(group);
    this.#load(into, group);
    return into;
  }

  rewrite(instruction: MachineInstruction): void {
    this.location = instruction.location;
    const { kind, def, first, opcode, core } = instruction;
    const into = this.#groups.get(def);
    if (into !== undefined && (this.#isMade(into) || isFetch(instruction, this.#homes))) return;
    if (this.#groups.has(instruction.second) && isReturn(instruction, this.#homes)) return;
    if (kind === KIND.move) {
      this.#copy(instruction, into, this.#groups.get(first));
    } else if (into !== undefined && opcode === MOVE_IMMEDIATE && core === null) {
      this.#end(into);
      const fields = { first: FRAME, offset: this.#offsetOf(into), immediate: instruction.immediate, removable: false };
      this.#written.push(machine(KIND.store, STORE_IMMEDIATE, this.location, fields));
    } else {
      this.#operate(instruction, into);
    }
    // Calls leave few registers, and visits shall not ask for those.
    if (kind === KIND.call) this.forget();
  }

  #copy(instruction: MachineInstruction, into: number | undefined, from: number | undefined): void {
    const { def, first } = instruction;
    if (into !== undefined && into === from) return;
    if (into !== undefined) {
      this.#end(into);
      this.#store(into, this.fetch(first));
      return;
    }
    const held = from === undefined ? first : this.#held(from);
    if (from !== undefined && held === NONE) {
      this.#load(def, from);
      return;
    }
    instruction.first = held;
    this.#written.push(instruction);
  }

  #operate(instruction: MachineInstruction, into: number | undefined): void {
    const { def, tied, first, second } = instruction;
    instruction.tied = this.fetch(tied);
    // One register that is named twice is one visit.
    instruction.first = first === tied ? instruction.tied : this.fetch(first);
    instruction.second = second === first ? instruction.first : this.fetch(second);
    if (into === undefined) {
      this.#written.push(instruction);
      return;
    }
    // What is overwritten and the result are one register already.
    instruction.def = tied === def ? instruction.tied : this.#visit(into);
    this.#written.push(instruction);
    const visit = this.#visits.get(into);
    if (visit !== undefined && tied === def) visit.uses++;
    this.#store(into, instruction.def);
  }
}
