/**
 * Room `bpf`: takes phis out: each edge into a block with phis copies their inputs into their registers, all at once.
 *
 * A newcomer would get wrong: “all at once” matters. Where two phis swap their values around a loop, the first copy would destroy
 * what the second reads, so copies are ordered and a circle is broken by one register more.
 */
import type { Block, IrFunction, Phi, Value } from '../ir.ts';
import { type Code, isRepeatable } from './code.ts';
import type { MachineBlock } from './machine.ts';

interface Edges {
  readonly entries: ReadonlyMap<Block, MachineBlock>;
  readonly exits: ReadonlyMap<Block, MachineBlock>;
  /** The value that really computes an input. */
  readonly use: (value: Value) => Value;
}

/** Writes the copies of all edges. An edge that leaves and enters where there are others gets a block of its own. */
export function lowerPhis(target: IrFunction, code: Code, edges: Edges): void {
  for (const block of target.blocks) {
    if (block.phis.length === 0) continue;
    const seen = new Map<Block, number>();
    for (const [index, predecessor] of block.predecessors.entries()) {
      const before = seen.get(predecessor) ?? 0;
      seen.set(predecessor, before + 1);
      const from = edges.exits.get(predecessor);
      const to = edges.entries.get(block);
      if (from === undefined || to === undefined) throw new Error(`${target.name}: an edge from or to nowhere`);
      code.location = predecessor.terminator?.location ?? null;
      code.enter(placeFor(code, from, to, before));
      copyAll(code, block.phis, index, edges.use);
    }
  }
}

/** The block at whose end an edge's copies stand. `which` of the branch's ends is meant, if both lead to `to`. */
function placeFor(code: Code, from: MachineBlock, to: MachineBlock, which: number): MachineBlock {
  const { end } = from;
  if (end.kind !== 'branch') return from;
  const between = code.newBlock();
  between.end = { kind: 'jump', location: end.location, target: to };
  if (end.whenTrue === to && which === 0) end.whenTrue = between;
  else end.whenFalse = between;
  return between;
}

function copyAll(code: Code, phis: readonly Phi[], index: number, use: (value: Value) => Value): void {
  const copies = new Map<number, number>();
  const made: [number, Value][] = [];
  for (const phi of phis) {
    const def = code.registerOf(phi);
    const input = use(phi.inputs[index]);
    if (isRepeatable(input)) made.push([def, input]);
    else if (code.registerOf(input) !== def) copies.set(def, code.registerOf(input));
  }
  inOrder(code, copies);
  for (const [def, value] of made) code.make(def, value);
}

/** Writes copies so that each reads what was there before all of them. */
function inOrder(code: Code, copies: Map<number, number>): void {
  const readers = new Map<number, number>();
  for (const from of copies.values()) readers.set(from, (readers.get(from) ?? 0) + 1);
  const ready = [...copies.keys()].filter((def) => !readers.has(def));
  while (copies.size > 0) {
    const def = ready.pop();
    if (def === undefined) {
      // Only circles are left. One register is saved, and its readers read the copy.
      const [first] = copies.keys();
      const saved = code.fresh(code.result.names[first]);
      code.move(saved, first);
      for (const [to, from] of copies) if (from === first) copies.set(to, saved);
      readers.delete(first);
      ready.push(first);
      continue;
    }
    const from = copies.get(def);
    if (from === undefined) continue;
    code.move(def, from);
    copies.delete(def);
    const left = (readers.get(from) ?? 0) - 1;
    readers.set(from, left);
    if (left === 0 && copies.has(from)) ready.push(from);
  }
}
