/**
 * Room `bpf`: register allocation as a whole: prepare, colour, put into memory what found no colour, and again until all did.
 *
 * A newcomer would get wrong: the second round starts from nothing. Registers of the first are forgotten, since code was added.
 */
import { colour } from './colour.ts';
import { findCosts, type Homes } from './costs.ts';
import { hoist } from './hoist.ts';
import { findInterference } from './interference.ts';
import { Liveness } from './liveness.ts';
import { findFrequencies } from './loops.ts';
import { type MachineFunction, number, postorder } from './machine.ts';
import { copyOperands, removeUnread } from './operands.ts';
import { spill } from './spill.ts';

/** Each round keeps more values in memory; a program that is not done after so many is an error of this compiler. */
const ROUNDS_MAX = 40;

/** Where everything is. */
export interface Allocation {
  /** The machine register of each register. */
  readonly of: Int8Array;
  readonly liveness: Liveness;
}

/** Gives every register of the function a machine register. Instructions keep the virtual ones. */
export function allocate(target: MachineFunction): Allocation {
  target.blocks = postorder(target).reverse();
  number(target);
  hoist(target);
  target.blocks = postorder(target).reverse();
  number(target);
  findFrequencies(target);
  removeUnread(target);
  const liveness = new Liveness(target);
  copyOperands(target, liveness);
  const homes: Homes = { places: new Map(), visits: new Set(), temporary: new Set() };
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const graph = findInterference(target, liveness);
    const { of, spilled, representative } = colour(graph, findCosts(target, homes));
    if (spilled.length === 0) return { of, liveness };
    spill(target, spilled, representative, { graph, liveness, homes });
  }
  throw new Error(`${target.name}: no registers were found in ${ROUNDS_MAX} rounds`);
}
