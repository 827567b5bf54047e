/**
 * Room `bpf`: what it costs to keep a register in memory, by which allocation chooses where there are too few.
 *
 * A newcomer would get wrong: some cost next to nothing. A number or an address is made anew in one instruction, and a register that
 * was itself fetched from memory need not be written back.
 */
import { forEachEndRead, forEachRead } from './liveness.ts';
import { FRAME, KIND, type MachineFunction, type MachineInstruction, VIRTUAL } from './machine.ts';

/** What earlier rounds of allocation put into memory. */
export interface Homes {
  /** Offsets from r10 at which the value of a register lies as long as the register holds it. */
  readonly places: Map<number, number>;
  /** Registers that hold what lies in memory, or can be made anew, for several uses. */
  readonly visits: Set<number>;
  /** Registers that live too briefly to gain from memory. */
  readonly temporary: Set<number>;
}

/** The only instruction that writes each register, if it can be repeated anywhere; undefined for others. */
export function findRepeatable(target: MachineFunction): (MachineInstruction | undefined)[] {
  const found = new Array<MachineInstruction | undefined>(target.registers).fill(undefined);
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

/** Expected accesses to memory for each register, were it kept there; infinite for those that must not be. */
export function findCosts(target: MachineFunction, homes: Homes): Float64Array {
  const costs = new Float64Array(target.registers);
  const repeatable = findRepeatable(target);
  let weight = 1;
  const read = (register: number): void => {
    costs[register] += weight;
  };
  for (const block of target.blocks) {
    weight = block.frequency;
    for (const instruction of block.instructions) {
      // A value that is written to its home anyway need not be written once more.
      if (isReturn(instruction, homes)) continue;
      forEachRead(instruction, read);
      const { def } = instruction;
      if (def < VIRTUAL) continue;
      // What is made or fetched where it is used need not be made or fetched before.
      if (repeatable[def] !== undefined || isFetch(instruction, homes)) costs[def] -= weight / 2;
      else if (!homes.places.has(def)) costs[def] += weight;
    }
    forEachEndRead(block, read);
  }
  for (const register of homes.temporary) costs[register] = Number.POSITIVE_INFINITY;
  return costs;
}

/** Whether this fetches a register's value from its home. */
export function isFetch({ kind, def, first, offset }: MachineInstruction, homes: Homes): boolean {
  return kind === KIND.load && first === FRAME && homes.places.get(def) === offset;
}

/** Whether this writes a register's value to its home. */
export function isReturn({ kind, first, second, offset }: MachineInstruction, homes: Homes): boolean {
  return kind === KIND.store && first === FRAME && homes.places.get(second) === offset;
}
