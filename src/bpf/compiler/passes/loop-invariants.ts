/**
 * Room `bpf`: what gives the same in every turn of a loop is computed before it.
 *
 * A newcomer would get wrong: nothing is hoisted that could fault or that a check in the loop must come before: loads only from
 * the loop's head, where every entry comes by, and from memory that is always there. And BPF has ten registers, of which calls
 * leave four: a value that lives through the loop must be worth its register.
 */
import { DominatorTree, type Loop, loopsOf } from '../dominators.ts';
import { type Block, type Load, type Operation, operandsOf, terminatorOperands, type Value } from '../ir.ts';
import { Aliases } from './aliases.ts';
import { type Editor, retarget } from './editor.ts';
import { Knowledge } from './knowledge.ts';
import { isNeverNull } from './simplify-condition.ts';

/** Values that may live through a loop: registers, less some to work with; fewer where calls clobber r1 to r5. */
const LIVE_MAX = 6;
const LIVE_MAX_WITH_CALLS = 3;

/** What costs no register: it is made again where it is used. */
function isRepeatable(value: Value): boolean {
  switch (value.kind) {
    case 'constant':
    case 'stackAddress':
    case 'mapAddress':
    case 'functionAddress':
      return true;
    default:
      return false;
  }
}

class Hoisting {
  readonly #editor: Editor;
  readonly #aliases: Aliases;
  readonly #knowledge: Knowledge;
  readonly #homes = new Map<Value, Block>();
  /** How often each operation is used. */
  readonly #users = new Map<Value, number>();
  isChanged = false;

  constructor(editor: Editor) {
    this.#editor = editor;
    this.#aliases = new Aliases(editor.function);
    this.#knowledge = new Knowledge(editor.function);
    for (const block of editor.function.blocks) {
      for (const value of [...block.phis, ...block.operations]) {
        this.#homes.set(value, block);
        for (const operand of operandsOf(value)) this.#users.set(operand, (this.#users.get(operand) ?? 0) + 1);
      }
    }
  }

  #isOutside(loop: Loop, value: Value): boolean {
    const home = this.#homes.get(value);
    return home === undefined || !loop.blocks.has(home);
  }

  /** How often the operations of a loop use each value from outside that takes a register. */
  #usesOf(loop: Loop): Map<Value, number> {
    const uses = new Map<Value, number>();
    const note = (value: Value): void => {
      if (!isRepeatable(value) && this.#isOutside(loop, value)) uses.set(value, (uses.get(value) ?? 0) + 1);
    };
    for (const block of loop.blocks) {
      for (const operation of block.operations) operandsOf(operation).forEach(note);
      if (block.terminator !== null) terminatorOperands(block.terminator).forEach(note);
    }
    return uses;
  }

  visit(loop: Loop): void {
    let written = 0;
    let hasCalls = false;
    for (const block of loop.blocks) {
      for (const operation of block.operations) {
        written |= this.#aliases.written(operation);
        if (operation.kind === 'call') hasCalls = true;
      }
    }
    const uses = this.#usesOf(loop);
    const most = (hasCalls ? LIVE_MAX_WITH_CALLS : LIVE_MAX) - loop.head.phis.length;
    const hoisted: Operation[] = [];
    for (const block of loop.blocks) {
      block.operations = block.operations.filter((operation) => {
        if (!this.#mayHoist(loop, block, operation, written)) return true;
        // Operands that nothing else in the loop uses leave their registers to the result.
        const operands = new Set(operandsOf(operation));
        const freed = [...operands].filter((operand) => uses.get(operand) === 1);
        if (uses.size + 1 - freed.length > Math.max(most, uses.size)) return true;
        for (const operand of operands) {
          const left = (uses.get(operand) ?? 0) - 1;
          if (left > 0) uses.set(operand, left);
          else uses.delete(operand);
        }
        uses.set(operation, this.#users.get(operation) ?? 1);
        this.#homes.delete(operation);
        hoisted.push(operation);
        return false;
      });
    }
    if (hoisted.length === 0) return;
    const before = this.#preheader(loop);
    before.operations.push(...hoisted);
    for (const operation of hoisted) this.#homes.set(operation, before);
    this.isChanged = true;
  }

  #mayHoist(loop: Loop, block: Block, operation: Operation, written: number): boolean {
    if (!operandsOf(operation).every((operand) => this.#isOutside(loop, operand))) return false;
    switch (operation.kind) {
      case 'binary':
      case 'unary':
        // What a check in the loop bounds must be computed after it, and pointers' arithmetic after that.
        return operation.space === 'scalar' && !this.#knowledge.isWatched(operation);
      case 'dataAddress':
      // Nothing about it is checked: any address of an arena may be followed.
      case 'addressCast':
        return true;
      case 'load':
        return this.#mayHoistLoad(loop, block, operation, written);
      default:
        return false;
    }
  }

  #mayHoistLoad(loop: Loop, block: Block, load: Load, written: number): boolean {
    if (load.volatile || (this.#aliases.memoryOf(load.address) & written) !== 0) return false;
    // A kernel's variable may be absent, and is then only read behind its test.
    if (load.address.space === 'context') return true;
    if (load.address.kind === 'dataAddress') return isNeverNull(load.address);
    return block === loop.head && load.address.space !== 'scalar';
  }

  /** The block before the loop that every entry comes by. */
  #preheader(loop: Loop): Block {
    const { head } = loop;
    const outer = head.predecessors.filter((predecessor) => !loop.blocks.has(predecessor));
    if (outer.length === 1 && outer[0].terminator?.kind === 'jump') return outer[0];
    const made = this.#editor.block();
    this.#editor.function.blocks.push(made);
    made.terminator = { kind: 'jump', location: outer[0].terminator!.location, target: head };
    const isOuter = head.predecessors.map((predecessor) => !loop.blocks.has(predecessor));
    made.predecessors = head.predecessors.filter((_, index) => isOuter[index]);
    for (const phi of head.phis) {
      const inputs = phi.inputs.filter((_, index) => isOuter[index]);
      const joined = this.#editor.phi(made, phi.space, inputs, phi);
      made.phis.push(joined);
      this.#homes.set(joined, made);
      phi.inputs = [...phi.inputs.filter((_, index) => !isOuter[index]), joined];
    }
    head.predecessors = [...head.predecessors.filter((_, index) => !isOuter[index]), made];
    for (const predecessor of made.predecessors) retarget(predecessor, head, made);
    return made;
  }
}

/** Hoists, from outer loops first: what is the same in both goes out at once. Whether anything changed. */
export function hoistInvariants(editor: Editor): boolean {
  const loops = loopsOf(new DominatorTree(editor.function));
  if (loops.length === 0) return false;
  const hoisting = new Hoisting(editor);
  for (const loop of loops) hoisting.visit(loop);
  return hoisting.isChanged;
}
