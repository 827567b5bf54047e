/**
 * Room `bpf`: where control comes to a branch by an edge that already tells the answer, it is led to the branch's target at once.
 * `&&`, `||` and tests for null make such edges: a phi of 0 and 1, or of a pointer and 0, that is compared next. The verifier then
 * sees direct control flow, and no instruction makes the 0.
 *
 * A newcomer would get wrong: what the block with the branch computes has from then on two places where it is computed. Uses behind
 * it need phis (`ssa.ts`). Heads of loops are left alone: a loop that is entered in two places is none any more.
 */
import { DominatorTree } from '../dominators.ts';
import { type Block, forEachOperand, mapOperands, type Operation, terminatorOperands, type Value } from '../ir.ts';
import { type Editor, mapTerminator, removeEdge, retarget } from './editor.ts';
import { evaluateBinary, evaluateCondition, evaluateUnary, mirrored, opposite } from './evaluate.ts';
import { isNeverNull, type Test } from './simplify-condition.ts';
import { SsaVariable } from './ssa.ts';

/** Operations of a block that may be copied. */
const COPIED_MAX = 4;

type Answer = Pick<Test, 'condition' | 'bits' | 'left' | 'right'>;

/** What a value is when control comes by the edge at `index`. */
function along(block: Block, index: number, value: Value, depth = 0): Value | bigint {
  if (value.kind === 'phi') return value.block === block ? numberOf(value.inputs[index]) : value;
  if (depth > COPIED_MAX) return value;
  if (value.kind === 'compare' && block.operations.includes(value)) {
    const answer = answerAlong(block, index, value, depth + 1);
    return answer === null ? value : answer ? 1n : 0n;
  }
  if (value.kind === 'unary' && block.operations.includes(value)) {
    const operand = along(block, index, value.operand, depth + 1);
    return typeof operand === 'bigint' ? evaluateUnary(value.operator, value.width, operand) : value;
  }
  if (value.kind === 'binary' && block.operations.includes(value)) {
    const left = along(block, index, value.left, depth + 1);
    const right = along(block, index, value.right, depth + 1);
    const areKnown = typeof left === 'bigint' && typeof right === 'bigint';
    return areKnown ? evaluateBinary(value.operator, value.bits, left, right) : value;
  }
  return numberOf(value);
}

const numberOf = (value: Value): Value | bigint => (value.kind === 'constant' ? value.value : value);

/** Whether a condition holds when control comes by an edge; null where that is not known. */
function answerAlong(block: Block, index: number, test: Answer, depth = 0): boolean | null {
  const left = along(block, index, test.left, depth);
  const right = along(block, index, test.right, depth);
  if (typeof left === 'bigint' && typeof right === 'bigint') {
    return evaluateCondition(test.condition, test.bits, left, right);
  }
  if (typeof left !== 'bigint' && right === 0n && test.bits === 64 && isNeverNull(left)) {
    if (test.condition === 'eq') return false;
    if (test.condition === 'ne') return true;
  }
  return answeredBefore(block, index, { ...test, left, right });
}

/** The branch that led here asked the same. */
function answeredBefore(
  block: Block,
  index: number,
  test: Omit<Answer, 'left' | 'right'> & { readonly left: Value | bigint; readonly right: Value | bigint },
): boolean | null {
  const end = block.predecessors[index].terminator;
  if (end?.kind !== 'branch' || end.whenTrue === end.whenFalse || end.bits !== test.bits) return null;
  const [left, right] = [numberOf(end.left), numberOf(end.right)];
  const holds = end.whenTrue === block;
  const isSame = left === test.left && right === test.right;
  const isMirrored = left === test.right && right === test.left;
  if (!isSame && !isMirrored) return null;
  const condition = isSame ? end.condition : mirrored[end.condition];
  if (condition === test.condition) return holds;
  return opposite[condition] === test.condition ? !holds : null;
}

function mayCopy(operation: Operation): boolean {
  switch (operation.kind) {
    case 'call':
    case 'atomic':
      return false;
    case 'load':
    case 'store':
      return !operation.volatile;
    default:
      return true;
  }
}

/** Values of a function that are used in other blocks than their own. Numbers, which all stand in the entry, are left out. */
function usedElsewhere(editor: Editor): Set<Value> {
  const found = new Set<Value>();
  const homes = new Int32Array(editor.function.nextId).fill(-1);
  for (const { id, phis, operations } of editor.function.blocks) {
    for (const phi of phis) homes[phi.id] = id;
    for (const operation of operations) homes[operation.id] = id;
  }
  let home = -1;
  const note = (value: Value): void => {
    if (homes[value.id] !== home && value.kind !== 'constant') found.add(value);
  };
  for (const block of editor.function.blocks) {
    home = block.id;
    for (const phi of block.phis) for (const input of phi.inputs) found.add(input);
    for (const operation of block.operations) forEachOperand(operation, note);
    if (block.terminator !== null) terminatorOperands(block.terminator).forEach(note);
  }
  return found;
}

/** The copy of a block for one edge, and what stands in it for the block's values. */
interface Lead {
  readonly made: Block;
  readonly stands: Map<Value, Value>;
}

class Threading {
  readonly #editor: Editor;
  /** Found before the first edge is led elsewhere: in most functions none is. */
  #elsewhere: Set<Value> | null = null;

  constructor(editor: Editor) {
    this.#editor = editor;
  }

  /** Leads every edge into `block` whose answer is known past it. */
  thread(block: Block): boolean {
    const end = block.terminator;
    if (end?.kind !== 'branch' || end.whenTrue === end.whenFalse || block.predecessors.length < 2) return false;
    if (block.operations.length > COPIED_MAX || !block.operations.every(mayCopy)) return false;
    const copies: Lead[] = [];
    for (let index = block.predecessors.length - 1; index >= 0; index--) {
      const answer = answerAlong(block, index, end);
      const predecessor = block.predecessors[index];
      if (answer === null || block.predecessors.indexOf(predecessor) !== block.predecessors.lastIndexOf(predecessor)) {
        continue;
      }
      this.#elsewhere ??= usedElsewhere(this.#editor);
      copies.push(this.#lead(block, index, answer ? end.whenTrue : end.whenFalse, this.#elsewhere));
    }
    if (this.#elsewhere === null || copies.length === 0) return false;
    this.#repair(block, copies, this.#elsewhere);
    // The next block's values are looked up among operands, which must be the ones that stay.
    this.#editor.settle();
    return true;
  }

  #lead(block: Block, index: number, target: Block, elsewhere: Set<Value>): Lead {
    const predecessor = block.predecessors[index];
    const made = this.#editor.block();
    this.#editor.function.blocks.push(made);
    const stands = new Map<Value, Value>();
    for (const phi of block.phis) stands.set(phi, phi.inputs[index]);
    const standIn = (value: Value): Value => stands.get(value) ?? value;
    for (const operation of block.operations) {
      if (operation.kind === 'constant') {
        stands.set(operation, operation);
        continue;
      }
      const copy = this.#editor.copy(operation);
      mapOperands(copy, standIn);
      stands.set(operation, copy);
      made.operations.push(copy);
    }
    made.terminator = { kind: 'jump', location: block.terminator!.location, target };
    made.predecessors = [predecessor];
    retarget(predecessor, block, made);
    const edge = target.predecessors.indexOf(block);
    target.predecessors.push(made);
    for (const phi of target.phis) {
      const input = standIn(phi.inputs[edge]);
      phi.inputs.push(input);
      elsewhere.add(input);
    }
    removeEdge(block, predecessor);
    return { made, stands };
  }

  /** What the block computed is now computed in the copies, too: uses elsewhere get what reaches them. */
  #repair(block: Block, copies: readonly Lead[], elsewhere: Set<Value>): void {
    const values = [...block.phis, ...block.operations].filter(
      (value) => value.kind !== 'constant' && elsewhere.has(value),
    );
    if (values.length === 0) return;
    const variables = new Map<Value, SsaVariable>();
    for (const value of values) {
      const variable = new SsaVariable(this.#editor, value.space, value, () => this.#editor.constant(0));
      variable.define(block, value);
      for (const { made, stands } of copies) {
        variable.define(made, stands.get(value)!);
        elsewhere.add(stands.get(value)!);
      }
      variables.set(value, variable);
    }
    const own = new Set([block, ...copies.map(({ made }) => made)]);
    for (const other of [...this.#editor.function.blocks]) {
      for (const phi of [...other.phis]) {
        phi.inputs = phi.inputs.map((input, index) => {
          return variables.get(input)?.readAtEnd(other.predecessors[index]) ?? input;
        });
      }
      if (own.has(other)) continue;
      const read = (value: Value): Value => variables.get(value)?.readAtStart(other) ?? value;
      for (const operation of other.operations) mapOperands(operation, read);
      if (other.terminator !== null) mapTerminator(other.terminator, read);
    }
    for (const variable of variables.values()) for (const phi of variable.phis) elsewhere.add(phi);
  }
}

/** Leads edges past branches that they answer. Whether anything changed. */
export function threadJumps(editor: Editor): boolean {
  const tree = new DominatorTree(editor.function);
  const threading = new Threading(editor);
  let isChanged = false;
  for (const block of tree.order) {
    if (block.predecessors.some((predecessor) => tree.dominates(block, predecessor))) continue;
    if (threading.thread(block)) isChanged = true;
  }
  return isChanged;
}
