/**
 * Room `bpf`: which blocks every path to a block goes through (its dominators), and loops, which follow from that. By Cooper,
 * Harvey and Kennedy, “A Simple, Fast Dominance Algorithm” (2001).
 *
 * A newcomer would get wrong: the tree is a picture of one moment. Whoever changes an edge makes a new one.
 */
import type { Block, IrFunction } from './ir.ts';

/** Blocks that can be reached from the entry, each after those before it on every path that has no back edge. */
export function reversePostorder(entry: Block): Block[] {
  const order: Block[] = [];
  const seen: true[] = [];
  seen[entry.id] = true;
  const open = [entry];
  // How many successors of each open block have been looked at.
  const looked = [0];
  while (open.length > 0) {
    const top = open.length - 1;
    const next = successorAt(open[top], looked[top]++);
    if (next === null) {
      order.push(open[top]);
      open.pop();
      looked.pop();
    } else if (seen[next.id] === undefined) {
      seen[next.id] = true;
      open.push(next);
      looked.push(0);
    }
  }
  return order.reverse();
}

/** The last successor first, so that in the reversed order the branch taken comes before the other. */
function successorAt({ terminator }: Block, index: number): Block | null {
  if (terminator === null || terminator.kind === 'return' || index > 1) return null;
  if (terminator.kind === 'jump') return index === 0 ? terminator.target : null;
  return index === 0 ? terminator.whenFalse : terminator.whenTrue;
}

/** The dominator tree of a function's reachable blocks. */
export class DominatorTree {
  /** Reachable blocks in reverse postorder; the entry first. */
  readonly order: readonly Block[];
  /** By the blocks' ids: where each stands in {@link order}; -1 where it is not reachable. */
  readonly #positions: Int32Array;
  readonly #parents: Int32Array;
  readonly #children: Block[][];
  /** When a walk over the tree enters and leaves each block: an interval holds those of all blocks below. */
  readonly #entered: Int32Array;
  readonly #left: Int32Array;

  constructor(irFunction: IrFunction) {
    this.order = reversePostorder(irFunction.blocks[0]);
    this.#positions = new Int32Array(this.order.reduce((most, { id }) => Math.max(most, id), 0) + 1).fill(-1);
    for (let position = 0; position < this.order.length; position++)
      this.#positions[this.order[position].id] = position;
    this.#parents = new Int32Array(this.order.length).fill(-1);
    this.#children = this.order.map(() => []);
    this.#entered = new Int32Array(this.order.length);
    this.#left = new Int32Array(this.order.length);
    this.#findParents();
    for (let position = 1; position < this.order.length; position++) {
      this.#children[this.#parents[position]].push(this.order[position]);
    }
    this.#number();
  }

  #findParents(): void {
    const parents = this.#parents;
    parents[0] = 0;
    for (let isChanged = true; isChanged; ) {
      isChanged = false;
      for (let position = 1; position < this.order.length; position++) {
        let found = -1;
        for (const predecessor of this.order[position].predecessors) {
          const other = this.positionOf(predecessor);
          if (other === -1 || parents[other] === -1) continue;
          found = found === -1 ? other : this.#meet(other, found);
        }
        if (found === parents[position]) continue;
        parents[position] = found;
        isChanged = true;
      }
    }
  }

  #meet(first: number, second: number): number {
    let a = first;
    let b = second;
    while (a !== b) {
      while (a > b) a = this.#parents[a];
      while (b > a) b = this.#parents[b];
    }
    return a;
  }

  #number(): void {
    let time = 0;
    const open: { readonly position: number; next: number }[] = [{ position: 0, next: 0 }];
    while (open.length > 0) {
      const top = open[open.length - 1];
      if (top.next === 0) this.#entered[top.position] = time++;
      const child = this.#children[top.position][top.next++];
      if (child !== undefined) {
        open.push({ position: this.#positions[child.id], next: 0 });
        continue;
      }
      this.#left[top.position] = time++;
      open.pop();
    }
  }

  /** Whether control can come to a block. */
  isReachable(block: Block): boolean {
    return this.positionOf(block) !== -1;
  }

  /** Where a block stands in {@link order}; -1 where it is not reachable. */
  positionOf(block: Block): number {
    return this.#positions[block.id] ?? -1;
  }

  /** The closest dominator; null for the entry and for what is not reachable. */
  parentOf(block: Block): Block | null {
    const position = this.positionOf(block);
    return position < 1 ? null : this.order[this.#parents[position]];
  }

  /** The blocks whose closest dominator this one is. */
  childrenOf(block: Block): readonly Block[] {
    return this.#children[this.positionOf(block)] ?? [];
  }

  /** Whether every path to `below` goes through `above`. A block dominates itself. */
  dominates(above: Block, below: Block): boolean {
    const a = this.positionOf(above);
    const b = this.positionOf(below);
    if (a === -1 || b === -1) return false;
    return this.#entered[a] <= this.#entered[b] && this.#left[b] <= this.#left[a];
  }
}

/** A natural loop: what can come to its head again without passing anything that the head does not dominate. */
export interface Loop {
  readonly head: Block;
  readonly blocks: ReadonlySet<Block>;
  /** The blocks in it that go back to the head. */
  readonly latches: readonly Block[];
  /** The loop around it; null for none. */
  readonly parent: Loop | null;
  /** 1 for a loop in no other. */
  readonly depth: number;
}

function blocksOf(head: Block, latches: readonly Block[], tree: DominatorTree): Set<Block> {
  const blocks = new Set([head]);
  const open = [...latches];
  for (let block = open.pop(); block !== undefined; block = open.pop()) {
    if (blocks.has(block)) continue;
    blocks.add(block);
    for (const predecessor of block.predecessors) if (tree.isReachable(predecessor)) open.push(predecessor);
  }
  return blocks;
}

/** The loops of a function, outer ones before those in them. Circles that have no single entry are none. */
export function loopsOf(tree: DominatorTree): Loop[] {
  const loops: Loop[] = [];
  for (const head of tree.order) {
    const latches = head.predecessors.filter((predecessor) => tree.dominates(head, predecessor));
    if (latches.length === 0) continue;
    const parent = loops.findLast((loop) => loop.blocks.has(head)) ?? null;
    loops.push({ head, blocks: blocksOf(head, latches, tree), latches, parent, depth: (parent?.depth ?? 0) + 1 });
  }
  return loops;
}

/** The innermost loop of each block that is in one. */
export function innermostLoops(loops: readonly Loop[]): Map<Block, Loop> {
  const found = new Map<Block, Loop>();
  for (const loop of loops) for (const block of loop.blocks) found.set(block, loop);
  return found;
}
