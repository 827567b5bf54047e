/**
 * Room `bpf`: a computation or a load that is used in later blocks only moves to the last block that all its uses have before them:
 * paths that do not come by do not pay for it.
 *
 * A newcomer would get wrong: into a loop nothing moves, and a load only where nothing on the way may write what it reads. What is
 * compared before it is used stays before the comparison, because that is a use, too.
 */
import { DominatorTree, innermostLoops, type Loop, loopsOf } from '../dominators.ts';
import { type Block, type Load, type Operation, operandsOf, terminatorOperands, type Value } from '../ir.ts';
import { Aliases } from './aliases.ts';
import type { Editor } from './editor.ts';

/** Blocks between where a load stands and where it is used that are searched for writes. */
const SEARCHED_MAX = 32;

/** The blocks of a value's uses, one entry each. An input of a phi is used at the end of the block that it comes from. */
type Users = Map<Value, Block[]>;

function usersIn(editor: Editor): Users {
  const found: Users = new Map();
  const note = (value: Value, block: Block): void => {
    const known = found.get(value);
    if (known === undefined) found.set(value, [block]);
    else known.push(block);
  };
  for (const block of editor.function.blocks) {
    for (const phi of block.phis)
      for (const [index, input] of phi.inputs.entries()) note(input, block.predecessors[index]);
    for (const operation of block.operations) for (const operand of operandsOf(operation)) note(operand, block);
    if (block.terminator !== null) for (const operand of terminatorOperands(block.terminator)) note(operand, block);
  }
  return found;
}

/** Whether an operation may be moved: it is pure, and at most one operand's register is held for longer. */
function maySink(operation: Operation): boolean {
  switch (operation.kind) {
    case 'load':
      return !operation.volatile && operation.relocation === null && operation.address.space !== 'context';
    case 'binary':
    case 'unary':
    case 'addressCast':
    case 'compare': {
      // What a call gives or a function gets is copied out of its register anyway, and the copy may compute.
      if (operandsOf(operation).some(({ kind }) => kind === 'parameter' || kind === 'call')) return false;
      const operands = operandsOf(operation).filter(({ kind }) => kind !== 'constant' && kind !== 'stackAddress');
      return new Set(operands).size <= 1;
    }
    default:
      return false;
  }
}

class Sinking {
  readonly #tree: DominatorTree;
  readonly #loops: ReadonlyMap<Block, Loop>;
  readonly #users: Users;
  readonly #aliases: Aliases;
  readonly #moved = new Map<Block, Operation[]>();

  constructor(editor: Editor) {
    this.#tree = new DominatorTree(editor.function);
    this.#loops = innermostLoops(loopsOf(this.#tree));
    this.#users = usersIn(editor);
    this.#aliases = new Aliases(editor.function);
  }

  /** Those that use others first, so that chains move as a whole. */
  run(): boolean {
    for (const block of [...this.#tree.order].reverse()) {
      for (let index = block.operations.length - 1; index >= 0; index--) {
        const operation = block.operations[index];
        if (!maySink(operation)) continue;
        const target = this.#target(block, operation);
        if (target === null || (operation.kind === 'load' && !this.#isUnwritten(block, index, operation, target)))
          continue;
        const found = this.#moved.get(target);
        if (found === undefined) this.#moved.set(target, [operation]);
        else found.push(operation);
        for (const operand of operandsOf(operation)) {
          const places = this.#users.get(operand)!;
          places[places.indexOf(block)] = target;
        }
        block.operations.splice(index, 1);
      }
    }
    for (const [block, operations] of this.#moved) insert(block, operations.reverse());
    return this.#moved.size > 0;
  }

  /** The last block before all uses, if it is another one and in the same loop. */
  #target(block: Block, operation: Operation): Block | null {
    const users = this.#users.get(operation);
    if (users === undefined) return null;
    let [target] = users;
    for (const user of users) {
      while (!this.#tree.dominates(target, user)) target = this.#tree.parentOf(target)!;
      if (target === block) return null;
    }
    // A use in a loop further in is met before that loop.
    while (this.#loops.get(target) !== this.#loops.get(block)) {
      if (target === block) return null;
      target = this.#tree.parentOf(target)!;
    }
    return target === block ? null : target;
  }

  /** Whether nothing writes what a load reads between it and the beginning of `target`. */
  #isUnwritten(block: Block, index: number, load: Load, target: Block): boolean {
    const memory = this.#aliases.memoryOf(load.address);
    const isWritten = (operation: Operation) => (this.#aliases.written(operation) & memory) !== 0;
    if (block.operations.slice(index + 1).some(isWritten)) return false;
    const seen = new Set([block]);
    const open = [...target.predecessors];
    for (let between = open.pop(); between !== undefined; between = open.pop()) {
      if (seen.has(between)) continue;
      seen.add(between);
      // Writes do not move, so that what stands in a block now is what stands there in the end.
      if (seen.size > SEARCHED_MAX || between.operations.some(isWritten)) return false;
      open.push(...between.predecessors);
    }
    return true;
  }
}

/** Puts operations before the first operation of a block that uses one of them; loads, which must not pass a write, first of all. */
function insert(block: Block, moved: readonly Operation[]): void {
  const output: Operation[] = [];
  const waiting = new Set(moved);
  const place = (value: Value): void => {
    if (!waiting.delete(value as Operation)) return;
    operandsOf(value).forEach(place);
    output.push(value as Operation);
  };
  for (const operation of moved) if (operation.kind === 'load') place(operation);
  for (const operation of block.operations) {
    operandsOf(operation).forEach(place);
    output.push(operation);
  }
  for (const operation of [...waiting]) place(operation);
  block.operations = output;
}

/** Moves them. Whether anything changed. */
export function sinkComputations(editor: Editor): boolean {
  return new Sinking(editor).run();
}
