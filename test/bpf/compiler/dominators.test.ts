/**
 * Dominators and loops, held against their definition on random graphs.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { DominatorTree, loopsOf } from '../../../src/bpf/compiler/dominators.ts';
import { type Block, type IrFunction, successorsOf } from '../../../src/bpf/compiler/ir.ts';
import { VOID } from '../../../src/bpf/types.ts';
import { type RandomSource, randomSource } from '../../support/random.ts';

const GRAPHS = 300;

/** A function of empty blocks; `edges[i]` are the one or two successors of block i, none for a return. */
function graph(edges: readonly (readonly number[])[]): IrFunction {
  const blocks = edges.map((_, id): Block => ({ id, phis: [], operations: [], terminator: null, predecessors: [] }));
  const left = { id: 0, location: null, space: 'scalar', kind: 'parameter', index: 0 } as const;
  for (const [id, targets] of edges.entries()) {
    const [first, second] = targets.map((target) => blocks[target]);
    if (first === undefined) blocks[id].terminator = { kind: 'return', location: null, value: null };
    else if (second === undefined) blocks[id].terminator = { kind: 'jump', location: null, target: first };
    else {
      const condition = { condition: 'eq', bits: 64, left, right: left } as const;
      blocks[id].terminator = { kind: 'branch', location: null, ...condition, whenTrue: first, whenFalse: second };
    }
    for (const target of targets) blocks[target].predecessors.push(blocks[id]);
  }
  const signature = { parameters: [], result: VOID };
  return { name: 'graph', parameters: [], blocks, slots: [], signature, linkage: 'static', nextId: 1, location: null };
}

function randomGraph(random: RandomSource): IrFunction {
  const size = 2 + random.integer(12);
  // The entry has no predecessors, as the builder makes it.
  const target = (): number => 1 + random.integer(size - 1);
  return graph(Array.from({ length: size }, () => Array.from({ length: random.integer(3) }, target)));
}

/** What the entry leads to without `removed`. */
function reached({ blocks }: IrFunction, removed: Block | null): Set<Block> {
  const found = new Set<Block>();
  const open = [blocks[0]];
  for (let block = open.pop(); block !== undefined; block = open.pop()) {
    if (block === removed || found.has(block)) continue;
    found.add(block);
    open.push(...successorsOf(block));
  }
  return found;
}

test('a block dominates those that cannot be reached without it', () => {
  for (let seed = 0; seed < GRAPHS; seed++) {
    const irFunction = randomGraph(randomSource(seed));
    const tree = new DominatorTree(irFunction);
    const all = reached(irFunction, null);
    assert.deepEqual(new Set(tree.order), all, `seed ${seed}`);
    for (const above of all) {
      const without = reached(irFunction, above);
      for (const below of all) {
        assert.equal(tree.dominates(above, below), !without.has(below), `seed ${seed}: ${above.id} over ${below.id}`);
      }
    }
  }
});

test('the parent is the closest dominator', () => {
  for (let seed = 0; seed < GRAPHS; seed++) {
    const tree = new DominatorTree(randomGraph(randomSource(seed)));
    for (const block of tree.order.slice(1)) {
      const parent = tree.parentOf(block)!;
      const others = tree.order.filter((other) => other !== block && tree.dominates(other, block));
      assert.ok(
        others.every((other) => tree.dominates(other, parent)),
        `seed ${seed}`,
      );
      assert.ok(tree.childrenOf(parent).includes(block));
    }
    assert.equal(tree.parentOf(tree.order[0]), null);
  }
});

test('blocks come after those that lead to them, but for ways back', () => {
  const { order } = new DominatorTree(graph([[1, 2], [3], [3], [4], []]));
  assert.deepEqual(
    order.map(({ id }) => id),
    [0, 1, 2, 3, 4],
  );
});

test('loops hold what comes back to their head, inner ones in outer ones', () => {
  // 0 → 1 (outer head) → 2 (inner head) ⇄ 3; 2 → 4 → 1; 1 → 5.
  const irFunction = graph([[1], [2, 5], [3, 4], [2], [1], []]);
  const loops = loopsOf(new DominatorTree(irFunction));
  const idsOf = (blocks: Iterable<Block>) => [...blocks].map(({ id }) => id).sort();
  assert.deepEqual(
    loops.map(({ head, blocks, latches, depth, parent }) => ({
      ...{ head: head.id, blocks: idsOf(blocks), latches: idsOf(latches), depth, parent: parent?.head.id },
    })),
    [
      { head: 1, blocks: [1, 2, 3, 4], latches: [4], depth: 1, parent: undefined },
      { head: 2, blocks: [2, 3], latches: [3], depth: 2, parent: 1 },
    ],
  );
});

test('a circle with two entries is no loop', () => {
  assert.deepEqual(loopsOf(new DominatorTree(graph([[1, 2], [2], [1, 3], []]))), []);
});
