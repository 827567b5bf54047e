/**
 * Room `bpf`: programs in which a jump may not reach: a conditional jump has 16 bits for the distance, only a jump that stands alone
 * has 32, and that on version 4 of the CPU (`gotol`, kernel 6.6).
 *
 * A newcomer would get wrong: no distance is final here. So whatever might not reach counts as far.
 */
import { slotsOf } from '../../instructions.ts';
import { KIND, type MachineBlock, type MachineFunction, type MachineInstruction } from './machine.ts';

/** Slots that surely can be jumped over, though jumps between may still grow. */
const NEAR_SLOTS = 24_000;
/** A conditional jump and one that stands alone. */
const END_SLOTS = 2;

/** Lets branches that may not reach their ends lead to jumps beside them. The order of blocks must be final. */
export function bridge(target: MachineFunction): void {
  const starts = new Map<MachineBlock, number>();
  const ends = new Map<MachineBlock, number>();
  let slots = 0;
  for (const block of target.blocks) {
    starts.set(block, slots);
    slots += block.instructions.reduce((sum, one) => sum + sizeOf(one), END_SLOTS);
    ends.set(block, slots);
  }
  if (slots <= NEAR_SLOTS) return;
  target.blocks = target.blocks.flatMap((block) => {
    const { end } = block;
    if (end.kind !== 'branch') return [block];
    const bridges: MachineBlock[] = [];
    const reach = (to: MachineBlock): MachineBlock => {
      if (Math.abs((starts.get(to) ?? 0) - (ends.get(block) ?? 0)) <= NEAR_SLOTS) return to;
      const { index, frequency } = block;
      const made: MachineBlock = {
        index,
        frequency,
        instructions: [],
        end: { kind: 'jump', location: null, target: to },
      };
      bridges.push(made);
      return made;
    };
    end.whenTrue = reach(end.whenTrue);
    end.whenFalse = reach(end.whenFalse);
    return [block, ...bridges];
  });
}

function sizeOf(one: MachineInstruction): number {
  return one.kind === KIND.frame ? 2 : slotsOf(one);
}
