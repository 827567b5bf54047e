/**
 * Room `bpf`: makes numbers and addresses that a loop needs before the loop, once.
 *
 * A newcomer would get wrong: nothing is lost where registers are few. What was moved out is made again at its use rather than kept
 * in memory (`spill.ts`).
 */

import { findRepeatable } from './costs.ts';
import { findLoops } from './loops.ts';
import type { MachineBlock, MachineFunction, MachineInstruction } from './machine.ts';
import { successors, VIRTUAL } from './machine.ts';

/** Moves what can be made anywhere out of the outermost loop around it. */
export function hoist(target: MachineFunction): void {
  const loops = findLoops(target);
  if (loops.size === 0) return;
  const repeatable = findRepeatable(target);
  const renamed = new Map<number, number>();
  // Outer loops have more blocks than those within them.
  const sorted = [...loops].sort(([, a], [, b]) => b.size - a.size);
  for (const [head, members] of sorted) {
    const moved = new Map<string, MachineInstruction>();
    for (const block of [...members].sort((a, b) => a.index - b.index)) {
      block.instructions = block.instructions.filter((one) => {
        if (one.def < VIRTUAL || repeatable[one.def] !== one) return true;
        const key = keyOf(one);
        const equal = moved.get(key);
        // It belongs to no line any more, so it takes that of what stands before it.
        if (equal === undefined) moved.set(key, { ...one, location: null });
        else renamed.set(one.def, equal.def);
        return false;
      });
    }
    if (moved.size > 0) beforeLoop(target, head, members).instructions.push(...moved.values());
  }
  rename(target, renamed);
}

/** Equal for instructions that make the same. */
function keyOf({ opcode, immediate, nextImmediate, pseudo, relocation, core, kind, def }: MachineInstruction): string {
  // Two relocated numbers may be found out to be different, so each is only like itself.
  if (core !== null) return `core ${def}`;
  const symbol = relocation === null ? '' : `${relocation.kind} ${relocation.symbol} ${relocation.addend}`;
  return `${kind} ${opcode} ${immediate} ${nextImmediate} ${pseudo} ${symbol}`;
}

/** Reads one register in the place of another. */
function rename(target: MachineFunction, renamed: ReadonlyMap<number, number>): void {
  if (renamed.size === 0) return;
  const of = (register: number): number => renamed.get(register) ?? register;
  for (const { instructions, end } of target.blocks) {
    for (const one of instructions) {
      one.tied = of(one.tied);
      one.first = of(one.first);
      one.second = of(one.second);
    }
    if (end.kind !== 'branch') continue;
    end.first = of(end.first);
    end.second = of(end.second);
  }
}

/** The block from which the loop is entered, made where there is none of its own. */
function beforeLoop(target: MachineFunction, head: MachineBlock, members: ReadonlySet<MachineBlock>): MachineBlock {
  const outside = target.blocks.filter((block) => !members.has(block) && successors(block).includes(head));
  const [only] = outside;
  if (outside.length === 1 && only.end.kind === 'jump') return only;
  const made: MachineBlock = {
    index: target.blocks.length,
    instructions: [],
    end: { kind: 'jump', location: null, target: head },
    frequency: 0,
  };
  for (const { end } of outside) {
    if (end.kind === 'jump') end.target = made;
    if (end.kind !== 'branch') continue;
    if (end.whenTrue === head) end.whenTrue = made;
    if (end.whenFalse === head) end.whenFalse = made;
  }
  target.blocks.push(made);
  return made;
}
