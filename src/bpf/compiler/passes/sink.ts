/**
 * Room `bpf`: a computation whose uses all stand in one later block moves there: paths that do not come by do not pay for it.
 *
 * A newcomer would get wrong: into a loop nothing moves, and a load only where nothing in between may write what it reads; here none
 * does. What is compared before it is used stays with its comparison, because that is a use, too.
 */
import { DominatorTree, innermostLoops, loopsOf } from '../dominators.ts';
import { type Block, type Operation, operandsOf, terminatorOperands, type Value } from '../ir.ts';
import type { Editor } from './editor.ts';

/** The blocks of a value's uses, one entry each; null stands for a phi. */
type Users = Map<Value, (Block | null)[]>;

function usersIn(editor: Editor): Users {
  const found: Users = new Map();
  const note = (value: Value, block: Block | null): void => {
    const known = found.get(value);
    if (known === undefined) found.set(value, [block]);
    else known.push(block);
  };
  for (const block of editor.function.blocks) {
    for (const phi of block.phis) for (const input of phi.inputs) note(input, null);
    for (const operation of block.operations) for (const operand of operandsOf(operation)) note(operand, block);
    if (block.terminator !== null) for (const operand of terminatorOperands(block.terminator)) note(operand, block);
  }
  return found;
}

/** Whether an operation may be moved: it is pure, and at most one operand's register is held for longer. */
function maySink(operation: Operation): boolean {
  if (operation.kind !== 'binary' && operation.kind !== 'unary' && operation.kind !== 'compare') return false;
  const operands = new Set(operandsOf(operation).filter(({ kind }) => kind !== 'constant' && kind !== 'stackAddress'));
  return operands.size <= 1;
}

/** Puts operations before the first operation of a block that uses one of them. */
function insert(block: Block, moved: readonly Operation[]): void {
  const output: Operation[] = [];
  const waiting = new Set(moved);
  const place = (value: Value): void => {
    if (!waiting.delete(value as Operation)) return;
    operandsOf(value).forEach(place);
    output.push(value as Operation);
  };
  for (const operation of block.operations) {
    operandsOf(operation).forEach(place);
    output.push(operation);
  }
  for (const operation of [...waiting]) place(operation);
  block.operations = output;
}

/** Moves them, those that use others first, so that chains move as a whole. Whether anything changed. */
export function sinkComputations(editor: Editor): boolean {
  const tree = new DominatorTree(editor.function);
  const loops = innermostLoops(loopsOf(tree));
  const users = usersIn(editor);
  const moved = new Map<Block, Operation[]>();
  for (const block of [...tree.order].reverse()) {
    for (let index = block.operations.length - 1; index >= 0; index--) {
      const operation = block.operations[index];
      const blocks = users.get(operation) ?? [];
      const target = blocks[0] ?? null;
      if (target === null || target === block || !maySink(operation)) continue;
      if (!blocks.every((other) => other === target) || loops.get(target) !== loops.get(block)) continue;
      const found = moved.get(target);
      if (found === undefined) moved.set(target, [operation]);
      else found.push(operation);
      for (const operand of operandsOf(operation)) {
        const places = users.get(operand)!;
        places[places.indexOf(block)] = target;
      }
      block.operations.splice(index, 1);
    }
  }
  for (const [block, operations] of moved) insert(block, operations.reverse());
  return moved.size > 0;
}
