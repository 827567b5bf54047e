/**
 * Room `bpf`: how often each block is expected to run, by which allocation and layout weigh one place against another.
 *
 * A newcomer would get wrong: nobody knows. A loop is taken to run ten times, a way that leads straight out of the function to be the
 * rarer one. An edge back to a block that is still being visited makes a loop, which is true of structured code; other code is
 * only guessed at less well.
 */
import { type MachineBlock, type MachineFunction, postorder, successors } from './machine.ts';

const RUNS_OF_LOOP = 10;
const OUT_OF_LOOP = 1 / RUNS_OF_LOOP;
const OUT_OF_FUNCTION = 0.25;

/** Sets `frequency` of every block; 1 is once for each call of the function. */
export function findFrequencies(target: MachineFunction): void {
  const back = backEdges(target);
  const loops = findLoops(target, back);
  for (const block of target.blocks) block.frequency = 0;
  target.blocks[0].frequency = 1;
  for (const block of postorder(target).reverse()) {
    if (loops.has(block)) block.frequency *= RUNS_OF_LOOP;
    const next = successors(block);
    const first = next.length === 2 ? chanceOfFirst(block, next[0], next[1], loops) : 1;
    for (const [index, successor] of next.entries()) {
      if (back.get(successor)?.has(block) === true) continue;
      successor.frequency += block.frequency * (index === 0 ? first : 1 - first);
    }
  }
}

function chanceOfFirst(
  block: MachineBlock,
  first: MachineBlock,
  second: MachineBlock,
  loops: ReadonlyMap<MachineBlock, ReadonlySet<MachineBlock>>,
): number {
  for (const members of loops.values()) {
    if (!members.has(block) || members.has(first) === members.has(second)) continue;
    return members.has(first) ? 1 - OUT_OF_LOOP : OUT_OF_LOOP;
  }
  if (leavesSoon(first) === leavesSoon(second)) return 0.5;
  return leavesSoon(first) ? OUT_OF_FUNCTION : 1 - OUT_OF_FUNCTION;
}

/** Whether the block ends the function, by itself or in the next one. */
function leavesSoon({ end }: MachineBlock): boolean {
  return end.kind === 'exit' || (end.kind === 'jump' && end.target.end.kind === 'exit');
}

type BackEdges = Map<MachineBlock, Set<MachineBlock>>;

/** The blocks of each loop by its head. */
export function findLoops(target: MachineFunction, back = backEdges(target)): Map<MachineBlock, Set<MachineBlock>> {
  const predecessors = new Map<MachineBlock, MachineBlock[]>();
  for (const block of target.blocks) {
    for (const successor of successors(block)) {
      const known = predecessors.get(successor);
      if (known === undefined) predecessors.set(successor, [block]);
      else known.push(block);
    }
  }
  const loops = new Map<MachineBlock, Set<MachineBlock>>();
  for (const [head, latches] of back) {
    const members = new Set([head]);
    const open = [...latches];
    for (let block = open.pop(); block !== undefined; block = open.pop()) {
      if (members.has(block)) continue;
      members.add(block);
      open.push(...(predecessors.get(block) ?? []));
    }
    loops.set(head, members);
  }
  return loops;
}

/** From where each head of a loop is jumped back to. */
function backEdges(target: MachineFunction): BackEdges {
  const found: BackEdges = new Map();
  const state = new Map<MachineBlock, 'open' | 'done'>([[target.blocks[0], 'open']]);
  const path: { block: MachineBlock; next: number }[] = [{ block: target.blocks[0], next: 0 }];
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    const successor = successors(top.block)[top.next++];
    if (successor === undefined) {
      state.set(top.block, 'done');
      path.pop();
    } else if (state.get(successor) === 'open') {
      const known = found.get(successor);
      if (known === undefined) found.set(successor, new Set([top.block]));
      else known.add(top.block);
    } else if (!state.has(successor)) {
      state.set(successor, 'open');
      path.push({ block: successor, next: 0 });
    }
  }
  return found;
}
