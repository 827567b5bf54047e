/**
 * Room `bpf`: the order of blocks after register allocation: jumps that only lead to jumps go, short ends are repeated rather than
 * jumped to, and what follows what is chosen so that few jumps are executed.
 *
 * A newcomer would get wrong: a conditional jump costs the same taken or not; only a jump that stands alone is a whole instruction of
 * waste. So it does not matter which side of a branch comes next, as long as one of them does.
 */
import type { Allocation } from './allocate.ts';
import { findFrequencies } from './loops.ts';
import {
  inverse,
  KIND,
  type MachineBlock,
  type MachineFunction,
  type MachineInstruction,
  postorder,
  successors,
  VIRTUAL,
} from './machine.ts';
import { polish } from './polish.ts';

/** Instructions up to which a block is repeated in the place of a jump to it. */
const REPEATED_MAX = 6;
/** Rounds of repeating: each may make another block short enough, or a jump lead to a jump. */
const ROUNDS_MAX = 3;

/** Puts the blocks into their final order. Copies within one register stay, for their names; they become no instruction. */
export function layOut(target: MachineFunction, allocation: Allocation): void {
  const lengthOf = (block: MachineBlock): number => {
    return block.instructions.reduce((sum, one) => sum + (isIdle(one, allocation) ? 0 : 1), 0);
  };
  skipEmpty(target, lengthOf);
  for (let round = 0; round < ROUNDS_MAX; round++) {
    order(target);
    if (!repeatShort(target, lengthOf)) break;
    skipEmpty(target, lengthOf);
  }
  polish(target, allocation);
  skipEmpty(target, lengthOf);
  order(target);
  shareEnds(target, allocation);
}

/** Whether this is a copy of a register to itself. */
function isIdle({ kind, def, first }: MachineInstruction, { of }: Allocation): boolean {
  return kind === KIND.move && of[def] === of[first];
}

type LengthOf = (block: MachineBlock) => number;

/** Where control ends up that comes to this block: past blocks that only jump. */
function destination(block: MachineBlock, lengthOf: LengthOf): MachineBlock {
  const seen = new Set<MachineBlock>();
  let found = block;
  while (lengthOf(found) === 0 && found.end.kind === 'jump' && !seen.has(found)) {
    seen.add(found);
    found = found.end.target;
  }
  return found;
}

function skipEmpty(target: MachineFunction, lengthOf: LengthOf): void {
  for (const block of target.blocks) {
    const { end } = block;
    if (end.kind === 'jump') {
      end.target = destination(end.target, lengthOf);
    } else if (end.kind === 'branch') {
      end.whenTrue = destination(end.whenTrue, lengthOf);
      end.whenFalse = destination(end.whenFalse, lengthOf);
      if (end.whenTrue === end.whenFalse) block.end = { kind: 'jump', location: end.location, target: end.whenTrue };
    }
  }
  target.blocks = postorder(target).reverse();
  joinSingle(target);
}

/** Puts a block behind its only predecessor, where that goes nowhere else. */
function joinSingle(target: MachineFunction): void {
  const count = new Map<MachineBlock, number>();
  for (const block of target.blocks) for (const next of successors(block)) count.set(next, (count.get(next) ?? 0) + 1);
  const gone = new Set<MachineBlock>();
  for (const block of target.blocks) {
    if (gone.has(block)) continue;
    for (let end = block.end; end.kind === 'jump'; end = block.end) {
      const next = end.target;
      if (next === block || next === target.blocks[0] || count.get(next) !== 1) break;
      block.instructions.push(...next.instructions);
      block.end = next.end;
      gone.add(next);
    }
  }
  target.blocks = target.blocks.filter((block) => !gone.has(block));
}

/** Repeats short blocks in the place of jumps to them; whether any was. */
function repeatShort(target: MachineFunction, lengthOf: LengthOf): boolean {
  let repeated = false;
  for (const [index, block] of target.blocks.entries()) {
    const { end } = block;
    if (end.kind !== 'jump' || end.target === target.blocks[index + 1] || end.target === block) continue;
    const { instructions, end: its } = end.target;
    if (its.kind === 'jump' || lengthOf(end.target) > REPEATED_MAX) continue;
    // Copies: what is known of registers differs from place to place, and polishing changes instructions by it.
    block.instructions = [...block.instructions, ...instructions.map((one) => ({ ...one }))];
    block.end = { ...its };
    repeated = true;
  }
  return repeated;
}

/** Orders blocks: each is put before the successor it would otherwise have to jump to, frequent jumps first. */
function order(target: MachineFunction): void {
  target.blocks = postorder(target).reverse();
  findFrequencies(target);
  const chains = new Map<MachineBlock, MachineBlock[]>(target.blocks.map((block) => [block, [block]]));
  for (const { from, to } of fallsOf(target)) {
    const first = chains.get(from);
    const second = chains.get(to);
    if (first === undefined || second === undefined || first === second) continue;
    if (first.at(-1) !== from || second[0] !== to) continue;
    first.push(...second);
    for (const block of second) chains.set(block, first);
  }
  target.blocks = [...new Set(chains.values())].flat();
}

/** Edges along which a block could simply go on, the most useful first. */
function fallsOf(target: MachineFunction): { readonly from: MachineBlock; readonly to: MachineBlock }[] {
  const falls: { from: MachineBlock; to: MachineBlock; weight: number }[] = [];
  for (const from of target.blocks) {
    const { end, frequency } = from;
    const add = (to: MachineBlock, weight: number): void => {
      if (to !== target.blocks[0]) falls.push({ from, to, weight });
    };
    if (end.kind === 'jump') add(end.target, frequency);
    if (end.kind !== 'branch') continue;
    // One of the two is enough, and the rarer one would save fewer jumps.
    const total = end.whenTrue.frequency + end.whenFalse.frequency;
    add(end.whenFalse, (frequency * end.whenFalse.frequency) / total / 2);
    // Without an opposite, a condition can only jump where it holds.
    if (inverse[end.condition] !== undefined) add(end.whenTrue, (frequency * end.whenTrue.frequency) / total / 2);
  }
  return falls.sort((a, b) => b.weight - a.weight);
}

/** Lets branches to equal blocks that end the function lead to one of them. Nothing more is executed, and the program is shorter. */
function shareEnds(target: MachineFunction, allocation: Allocation): void {
  const known = new Map<string, MachineBlock>();
  const shared = new Map<MachineBlock, MachineBlock>();
  for (const block of target.blocks) {
    if (block.end.kind !== 'exit') continue;
    const key = block.instructions
      .filter((one) => !isIdle(one, allocation))
      .map((one) => textOf(one, allocation))
      .join('\n');
    const first = known.get(key);
    if (first === undefined) known.set(key, block);
    else shared.set(block, first);
  }
  if (shared.size === 0) return;
  for (const [index, { end }] of target.blocks.entries()) {
    if (end.kind !== 'branch') continue;
    const next = target.blocks[index + 1];
    if (end.whenTrue !== next) end.whenTrue = shared.get(end.whenTrue) ?? end.whenTrue;
    if (end.whenFalse !== next) end.whenFalse = shared.get(end.whenFalse) ?? end.whenFalse;
  }
  const reached = new Set(postorder(target));
  target.blocks = target.blocks.filter((block) => reached.has(block));
}

function textOf(one: MachineInstruction, { of }: Allocation): string {
  const { opcode, def, tied, first, second, offset, immediate, nextImmediate, pseudo, relocation, core } = one;
  const registers = [def, tied, first, second].map((register) => (register < VIRTUAL ? register : of[register]));
  const numbers = [opcode, ...registers, offset, immediate, nextImmediate, pseudo].join(' ');
  return core === null ? `${numbers} ${relocation?.kind} ${relocation?.symbol} ${relocation?.addend}` : `core ${def}`;
}
