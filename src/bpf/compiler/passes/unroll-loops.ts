/**
 * Room `bpf`: short loops that run a known number of times are written out: counting, comparing and jumping back fall away, and each
 * turn is simplified with its own numbers.
 *
 * A newcomer would get wrong: the loop itself is not taken apart. Its turns are copied in front of it, one by one and one too many;
 * simplification finds that the last one leaves at once and takes out what is behind.
 */
import { DominatorTree, type Loop, loopsOf } from '../dominators.ts';
import { type Block, mapOperands, type Terminator, type Value } from '../ir.ts';
import { findCounters, turnsOf } from './counters.ts';
import { type Editor, mapTerminator, retarget } from './editor.ts';
import { SsaVariable } from './ssa.ts';

/** Operations that all turns may have together, and turns of the smallest loop. */
const OPERATIONS_MAX = 192;
const TURNS_MAX = 32;

/** One copied turn: what stands for the loop's values and blocks in it. */
interface Turn {
  readonly values: Map<Value, Value>;
  readonly blocks: Map<Block, Block>;
}

function costOf(loop: Loop): number {
  let cost = 0;
  for (const block of loop.blocks) {
    for (const { kind } of block.operations) if (kind !== 'constant' && kind !== 'stackAddress') cost++;
    cost++;
  }
  return cost;
}

class Unrolling {
  readonly #editor: Editor;
  readonly #loop: Loop;
  readonly #latch: Block;
  readonly #turns: Turn[] = [];

  constructor(editor: Editor, loop: Loop) {
    this.#editor = editor;
    this.#loop = loop;
    [this.#latch] = loop.latches;
  }

  run(turns: number): void {
    for (let turn = 0; turn < turns; turn++) this.#copyTurn();
    this.#repair();
  }

  /** Copies the loop's blocks between what leads to the head and the head. */
  #copyTurn(): void {
    const { head, blocks } = this.#loop;
    const outerIndex = head.predecessors.findIndex((predecessor) => !blocks.has(predecessor));
    const outer = head.predecessors[outerIndex];
    const turn: Turn = { values: new Map(), blocks: new Map() };
    for (const block of blocks) turn.blocks.set(block, this.#editor.block());
    for (const phi of head.phis) turn.values.set(phi, phi.inputs[outerIndex]);
    for (const block of blocks) this.#copyBlock(block, turn);
    for (const block of blocks) this.#connect(block, turn);
    const copiedHead = turn.blocks.get(head)!;
    copiedHead.predecessors = [outer];
    retarget(outer, head, copiedHead);
    // The loop that is left is entered from the copy's end, with what the phis get there.
    const copiedLatch = turn.blocks.get(this.#latch)!;
    const latchIndex = head.predecessors.indexOf(this.#latch);
    for (const phi of head.phis) {
      const input = phi.inputs[latchIndex];
      phi.inputs[outerIndex] = turn.values.get(input) ?? input;
    }
    head.predecessors[outerIndex] = copiedLatch;
    this.#turns.push(turn);
    this.#editor.function.blocks.push(...turn.blocks.values());
  }

  #copyBlock(block: Block, { values, blocks }: Turn): void {
    const copy = blocks.get(block)!;
    if (block !== this.#loop.head) {
      for (const phi of block.phis) {
        const copied = this.#editor.phi(copy, phi.space, [...phi.inputs], phi);
        copy.phis.push(copied);
        values.set(phi, copied);
      }
    }
    for (const operation of block.operations) {
      const copied = this.#editor.copy(operation);
      copy.operations.push(copied);
      values.set(operation, copied);
    }
  }

  /** Leads a copied block to copies, and what it reads to what stands for it. */
  #connect(block: Block, { values, blocks }: Turn): void {
    const { head } = this.#loop;
    const copy = blocks.get(block)!;
    const standIn = (value: Value): Value => values.get(value) ?? value;
    for (const phi of copy.phis) mapOperands(phi, standIn);
    for (const operation of copy.operations) mapOperands(operation, standIn);
    if (block !== head) copy.predecessors = block.predecessors.map((predecessor) => blocks.get(predecessor)!);
    const lead = (target: Block): Block => {
      // Back to the head: to the loop that is left, whose edge is set by the caller.
      if (target === head) return head;
      const inside = blocks.get(target);
      if (inside !== undefined) return inside;
      const index = target.predecessors.indexOf(block);
      target.predecessors.push(copy);
      for (const phi of target.phis) phi.inputs.push(standIn(phi.inputs[index]));
      return target;
    };
    const end: Terminator = { ...block.terminator! };
    if (end.kind === 'jump') end.target = lead(end.target);
    if (end.kind === 'branch') {
      end.whenTrue = lead(end.whenTrue);
      end.whenFalse = lead(end.whenFalse);
    }
    mapTerminator(end, standIn);
    copy.terminator = end;
  }

  /** Uses behind the loop of what it computes: the last turn may have been any copy, or the loop that is left. */
  #repair(): void {
    const { blocks } = this.#loop;
    const own = new Set<Block>(blocks);
    for (const turn of this.#turns) for (const copy of turn.blocks.values()) own.add(copy);
    const homes = new Map<Value, Block>();
    for (const block of blocks) for (const value of [...block.phis, ...block.operations]) homes.set(value, block);
    const variables = new Map<Value, SsaVariable>();
    const variableOf = (value: Value): SsaVariable | undefined => {
      const home = homes.get(value);
      if (home === undefined) return undefined;
      const known = variables.get(value);
      if (known !== undefined) return known;
      const made = new SsaVariable(this.#editor, value.space, value, () => this.#editor.constant(0));
      made.define(home, value);
      for (const turn of this.#turns) made.define(turn.blocks.get(home)!, turn.values.get(value)!);
      variables.set(value, made);
      return made;
    };
    for (const block of [...this.#editor.function.blocks]) {
      if (own.has(block)) continue;
      for (const phi of [...block.phis]) {
        phi.inputs = phi.inputs.map((input, index) => {
          const from = block.predecessors[index];
          return own.has(from) ? input : (variableOf(input)?.readAtEnd(from) ?? input);
        });
      }
      const read = (value: Value): Value => variableOf(value)?.readAtStart(block) ?? value;
      for (const operation of block.operations) mapOperands(operation, read);
      if (block.terminator !== null) mapTerminator(block.terminator, read);
    }
  }
}

/** Whether a loop can be copied turn by turn: one way in, one way back, no other loop in it, no call that is a barrier twice. */
function isSimple(loop: Loop, loops: readonly Loop[]): boolean {
  const { head, latches } = loop;
  if (head.predecessors.length !== 2 || latches.length !== 1 || loops.some(({ parent }) => parent === loop))
    return false;
  const end = latches[0].terminator;
  return end?.kind === 'jump' || (end?.kind === 'branch' && end.whenTrue !== end.whenFalse);
}

/** Writes short loops out. Whether anything changed. */
export function unrollLoops(editor: Editor): boolean {
  const counters = findCounters(editor.function);
  if (counters.length === 0) return false;
  const loops = loopsOf(new DominatorTree(editor.function));
  let isChanged = false;
  const changed = new Set<Loop>();
  for (const counter of counters) {
    const loop = loops.find(({ head }) => head === counter.loop.head)!;
    if (!isSimple(loop, loops)) continue;
    const cost = costOf(loop);
    const turns = turnsOf(counter, Math.min(TURNS_MAX, Math.floor(OPERATIONS_MAX / cost)));
    if (turns === null || turns === 0 || changed.has(loop)) continue;
    changed.add(loop);
    // One more than it runs: in that turn the head's condition is known not to hold, so the loop behind is never reached.
    new Unrolling(editor, loop).run(turns + 1);
    // The next loop is copied by its values, which must be the ones that stay.
    editor.settle();
    isChanged = true;
  }
  return isChanged;
}
