/**
 * Room `bpf`: how many loops are around each block, by which allocation and layout guess what runs often.
 *
 * A newcomer would get wrong: an edge back to a block that is still being visited makes a loop. That is true of the structured
 * code that TypeScript's statements give; other code would only be guessed at less well.
 */
import { type MachineBlock, type MachineFunction, successors } from './machine.ts';

/** Sets `depth` of every block, and gives the heads of loops with the blocks that belong to each. */
export function findLoops(target: MachineFunction): Map<MachineBlock, Set<MachineBlock>> {
  const loops = new Map<MachineBlock, Set<MachineBlock>>();
  const predecessors = new Map<MachineBlock, MachineBlock[]>();
  for (const block of target.blocks) {
    block.depth = 0;
    for (const successor of successors(block)) {
      const known = predecessors.get(successor);
      if (known === undefined) predecessors.set(successor, [block]);
      else known.push(block);
    }
  }
  for (const [from, head] of backEdges(target)) {
    const members = loops.get(head) ?? new Set([head]);
    loops.set(head, members);
    const open = [from];
    for (let block = open.pop(); block !== undefined; block = open.pop()) {
      if (members.has(block)) continue;
      members.add(block);
      open.push(...(predecessors.get(block) ?? []));
    }
  }
  for (const members of loops.values()) for (const block of members) block.depth++;
  return loops;
}

function backEdges(target: MachineFunction): [MachineBlock, MachineBlock][] {
  const found: [MachineBlock, MachineBlock][] = [];
  const state = new Map<MachineBlock, 'open' | 'done'>([[target.blocks[0], 'open']]);
  const path: { block: MachineBlock; next: number }[] = [{ block: target.blocks[0], next: 0 }];
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    const successor = successors(top.block)[top.next++];
    if (successor === undefined) {
      state.set(top.block, 'done');
      path.pop();
    } else if (state.get(successor) === 'open') {
      found.push([top.block, successor]);
    } else if (!state.has(successor)) {
      state.set(successor, 'open');
      path.push({ block: successor, next: 0 });
    }
  }
  return found;
}
