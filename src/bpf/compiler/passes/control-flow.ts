/**
 * Room `bpf`: puts the graph in order: blocks that are never reached, that hold nothing or that have one way in and came by one way
 * out; branches whose answer does not matter; returns brought to where the jump to them was.
 *
 * A newcomer would get wrong: a block may stand twice among another's predecessors only as long as no phi there tells the two
 * edges apart. Where they must differ an empty block stays between.
 */
import { reversePostorder } from '../dominators.ts';
import {
  type Block,
  type Location,
  operandsOf,
  type Phi,
  successorsOf,
  terminatorOperands,
  type Value,
} from '../ir.ts';
import { type Editor, removeEdge, retarget } from './editor.ts';

/** Takes out what the entry does not lead to. */
export function removeUnreachable(editor: Editor): boolean {
  const { blocks } = editor.function;
  const reached = new Set(reversePostorder(blocks[0]));
  if (reached.size === blocks.length) return false;
  for (const block of blocks) {
    if (reached.has(block)) continue;
    for (const successor of successorsOf(block)) if (reached.has(successor)) removeEdge(successor, block);
  }
  editor.function.blocks = blocks.filter((block) => reached.has(block));
  return true;
}

/** Both ways of a branch lead to one block: a jump, or a block between where the phis there differ. */
function settleDoubleEdge(editor: Editor, block: Block): boolean {
  const end = block.terminator;
  if (end?.kind !== 'branch' || end.whenTrue !== end.whenFalse) return false;
  const target = end.whenTrue;
  const first = target.predecessors.indexOf(block);
  const second = target.predecessors.indexOf(block, first + 1);
  if (target.phis.every((phi) => phi.inputs[first] === phi.inputs[second])) {
    block.terminator = { kind: 'jump', location: end.location, target };
    removeEdge(target, block);
    return true;
  }
  // The builder notes the edge of `whenTrue` first.
  const between = editor.block();
  between.terminator = { kind: 'jump', location: end.location, target };
  between.predecessors = [block];
  target.predecessors[second] = between;
  end.whenFalse = between;
  editor.function.blocks.push(between);
  return true;
}

/** A block that only one jump leads to becomes the end of the block that jumps. */
function joinNext(editor: Editor, block: Block): boolean {
  const end = block.terminator;
  if (end?.kind !== 'jump' || end.target === block || end.target.predecessors.length !== 1) return false;
  const next = end.target;
  for (const phi of next.phis) editor.replace(phi, phi.inputs[0]);
  block.operations.push(...next.operations);
  block.terminator = next.terminator;
  for (const after of successorsOf(next)) {
    after.predecessors = after.predecessors.map((predecessor) => (predecessor === next ? block : predecessor));
  }
  next.phis = [];
  next.operations = [];
  next.predecessors = [];
  next.terminator = { kind: 'return', location: null, value: null };
  return true;
}

const isBlock = (user: Value | Block): user is Block => 'operations' in user;

/** Who uses each phi: values, and blocks whose terminators do. Found when first asked for: most functions never do. */
class PhiUsers {
  readonly #blocks: readonly Block[];
  #users: Map<Value, (Value | Block)[]> | null = null;

  constructor(blocks: readonly Block[]) {
    this.#blocks = blocks;
  }

  of(phi: Phi): readonly (Value | Block)[] {
    this.#users ??= this.#find();
    return this.#users.get(phi) ?? [];
  }

  #find(): Map<Value, (Value | Block)[]> {
    const users = new Map<Value, (Value | Block)[]>();
    const note = (operand: Value, user: Value | Block): void => {
      if (operand.kind !== 'phi') return;
      const known = users.get(operand);
      if (known === undefined) users.set(operand, [user]);
      else known.push(user);
    };
    for (const block of this.#blocks) {
      for (const phi of block.phis) for (const operand of phi.inputs) note(operand, phi);
      for (const operation of block.operations) for (const operand of operandsOf(operation)) note(operand, operation);
      if (block.terminator !== null) for (const operand of terminatorOperands(block.terminator)) note(operand, block);
    }
    return users;
  }
}

/** Whether a block's phis are used for the edge from it to `next` and nowhere else, not even for another edge to `next`. */
function phisArePassedOn(block: Block, next: Block, users: PhiUsers): boolean {
  const isForEdge = (phi: Phi, user: Value | Block): boolean =>
    !isBlock(user) &&
    user.kind === 'phi' &&
    user.block === next &&
    user.inputs.every((input, index) => input !== phi || next.predecessors[index] === block);
  return block.phis.every((phi) => users.of(phi).every((user) => isForEdge(phi, user)));
}

/** Leads what comes to an empty block on to where that goes. */
function skipEmpty(editor: Editor, block: Block, users: PhiUsers): boolean {
  const end = block.terminator;
  if (block === editor.function.blocks[0] || block.operations.length > 0 || end?.kind !== 'jump') return false;
  const { target } = end;
  if (target === block || !phisArePassedOn(block, target, users)) return false;
  // Through a phi of the target that is an input of this block's phis (a loop of both) nothing is led past.
  if (block.phis.some((phi) => phi.inputs.some((input) => input.kind === 'phi' && input.block === target)))
    return false;
  let isChanged = false;
  for (let index = block.predecessors.length - 1; index >= 0; index--) {
    const predecessor = block.predecessors[index];
    const isDouble = target.predecessors.includes(predecessor) || isTwice(block.predecessors, predecessor);
    if (predecessor === block || (isDouble && target.phis.length > 0)) continue;
    const at = target.predecessors.indexOf(block);
    for (const phi of target.phis) {
      const input = editor.resolve(phi.inputs[at]);
      phi.inputs.push(input.kind === 'phi' && input.block === block ? input.inputs[index] : input);
    }
    target.predecessors.push(predecessor);
    retarget(predecessor, block, target);
    block.predecessors.splice(index, 1);
    for (const phi of block.phis) phi.inputs.splice(index, 1);
    isChanged = true;
  }
  return isChanged;
}

function isTwice(blocks: readonly Block[], block: Block): boolean {
  return blocks.indexOf(block) !== blocks.lastIndexOf(block);
}

/** Whether a phi is read by nothing but the return of its own block. */
function returnsOnly(block: Block, phi: Phi, users: PhiUsers): boolean {
  return users.of(phi).every((user) => user === block);
}

/**
 * A jump to a block that only returns becomes the return itself, which saves an instruction. Branches to a phi's return are led to
 * one block for each value: it needs no copy into a common register and no jump.
 */
function spreadReturn(editor: Editor, block: Block, users: PhiUsers, returns: Map<Value | null, Block>): boolean {
  const end = block.terminator;
  if (end?.kind !== 'return' || block.operations.length > 0 || block === editor.function.blocks[0]) return false;
  if (!block.phis.every((phi) => returnsOnly(block, phi, users))) return false;
  const isMerging = block.phis.length > 0;
  if (!isMerging && !returns.has(end.value)) returns.set(end.value, block);
  let isChanged = false;
  for (let index = block.predecessors.length - 1; index >= 0; index--) {
    const predecessor = block.predecessors[index];
    const before = predecessor.terminator;
    const value = end.value?.kind === 'phi' && end.value.block === block ? end.value.inputs[index] : end.value;
    if (before?.kind === 'jump') {
      predecessor.terminator = { kind: 'return', location: end.location ?? before.location, value };
    } else {
      const other = returns.get(value) ?? (isMerging ? newReturn(editor, value, end.location, returns) : block);
      if (other === block || isTwice(block.predecessors, predecessor)) continue;
      retarget(predecessor, block, other);
      other.predecessors.push(predecessor);
    }
    block.predecessors.splice(index, 1);
    for (const phi of block.phis) phi.inputs.splice(index, 1);
    isChanged = true;
  }
  return isChanged;
}

function newReturn(
  editor: Editor,
  value: Value | null,
  location: Location | null,
  returns: Map<Value | null, Block>,
): Block {
  const block = editor.block();
  block.terminator = { kind: 'return', location, value };
  returns.set(value, block);
  editor.function.blocks.push(block);
  return block;
}

/** Puts the graph in order. Whether anything changed. */
export function tidyControlFlow(editor: Editor): boolean {
  let isChanged = false;
  for (let isAgain = true; isAgain; ) {
    isAgain = removeUnreachable(editor);
    for (const block of [...editor.function.blocks]) {
      if (settleDoubleEdge(editor, block)) isAgain = true;
      while (joinNext(editor, block)) isAgain = true;
    }
    editor.settle();
    const users = new PhiUsers(editor.function.blocks);
    const returns = new Map<Value | null, Block>();
    for (const block of [...editor.function.blocks]) {
      if (skipEmpty(editor, block, users) || spreadReturn(editor, block, users, returns)) isAgain = true;
    }
    isChanged ||= isAgain;
  }
  return isChanged;
}
