/**
 * Room `bpf`: one walk over the dominator tree that simplifies each operation and finds those computed already on every path: pure
 * ones, conditions that a branch has answered, and loads of what is known to lie in memory.
 *
 * A newcomer would get wrong: what is known at the end of a block's closest dominator holds at its beginning only if nothing in
 * between writes that memory: the blocks on all ways there are asked, loops included.
 */
import { DominatorTree } from '../dominators.ts';
import type { Atomic, Block, Load, Operation, Store, Terminator, Value } from '../ir.ts';
import { mapOperands, successorsOf } from '../ir.ts';
import { type Access, Aliases, isSameBase, writtenBy } from './aliases.ts';
import { removeUnreachable } from './control-flow.ts';
import { type Editor, mapTerminator, removeEdge } from './editor.ts';
import { mirrored, opposite } from './evaluate.ts';
import { Knowledge } from './knowledge.ts';
import { isCommutative, simplifyBinary, type Workshop } from './simplify-binary.ts';
import { simplifyTest, type Test } from './simplify-condition.ts';
import { simplifyUnary } from './simplify-unary.ts';

type Branch = Extract<Terminator, { kind: 'branch' }>;

/** A value that lies in memory: `width` bytes at `address + offset` are the low bytes of it. */
interface Held extends Pick<Access, 'address' | 'offset' | 'width'> {
  readonly value: Value;
  /** For a load: how its value is extended. A stored value is as it is. */
  readonly load: Load | null;
}

const HELD_MAX = 48;
/** Blocks that are searched for writes between a block and its dominator, before everything counts as written. */
const SEARCHED_MAX = 64;
const OFFSET_MAX = 32767;
const EVERYTHING = 0xff;

/** The name under which an equal computation is found; null for what is not looked up. */
function keyOf(operation: Operation): string | null {
  switch (operation.kind) {
    case 'binary': {
      const { operator, bits, left, right } = operation;
      const isSwapped = isCommutative(operator) && right.kind !== 'constant' && left.id > right.id;
      const [a, b] = isSwapped ? [right.id, left.id] : [left.id, right.id];
      return `${operator}${bits} ${a} ${b}`;
    }
    case 'unary':
      return `${operation.operator}${operation.width} ${operation.operand.id}`;
    case 'compare':
      return conditionKey(operation);
    case 'stackAddress':
      return `slot ${operation.slot.id}`;
    case 'mapAddress':
      return `map ${operation.map}`;
    case 'dataAddress':
      return `data ${operation.section} ${operation.symbol} ${operation.offset}`;
    case 'functionAddress':
      return `function ${operation.function}`;
    default:
      return null;
  }
}

function conditionKey({ condition, bits, left, right }: Pick<Test, 'condition' | 'bits' | 'left' | 'right'>): string {
  if (left.id <= right.id) return `${condition}${bits} ${left.id} ${right.id}`;
  return `${mirrored[condition]}${bits} ${right.id} ${left.id}`;
}

/** The walk's state. `scope` is undone block by block when the walk climbs back. */
class Walk implements Workshop {
  readonly editor: Editor;
  readonly knowledge: Knowledge;
  readonly tree: DominatorTree;
  readonly #aliases: Aliases;
  readonly #known = new Map<string, Value>();
  readonly #scope: { readonly key: string; readonly before: Value | undefined }[] = [];
  readonly #writes = new Map<Block, number>();
  /** Blocks that an edge still leads to, from what was visited. */
  readonly #entered = new Set<Block>();
  readonly #heldAtEnd = new Map<Block, readonly Held[]>();
  #held: readonly Held[] = [];
  #output: Operation[] = [];
  #current: Value | null = null;
  isChanged = false;

  constructor(editor: Editor) {
    this.editor = editor;
    this.knowledge = new Knowledge(editor.function);
    this.tree = new DominatorTree(editor.function);
    this.#entered.add(this.tree.order[0]);
    this.#aliases = new Aliases(editor.function);
    for (const block of this.tree.order) {
      let written = 0;
      for (const operation of block.operations) written |= this.#aliases.written(operation);
      this.#writes.set(block, written);
    }
  }

  run(): void {
    const open: { readonly block: Block; next: number; readonly mark: number }[] = [];
    const enter = (block: Block): void => {
      open.push({ block, next: 0, mark: this.#scope.length });
      this.#visit(block);
    };
    enter(this.tree.order[0]);
    while (open.length > 0) {
      const top = open[open.length - 1];
      const child = this.tree.childrenOf(top.block)[top.next++];
      if (child !== undefined) {
        enter(child);
        continue;
      }
      this.#leave(top.mark);
      open.pop();
    }
  }

  #leave(mark: number): void {
    while (this.#scope.length > mark) {
      const { key, before } = this.#scope.pop()!;
      if (before === undefined) this.#known.delete(key);
      else this.#known.set(key, before);
    }
  }

  #learn(key: string, value: Value): void {
    this.#scope.push({ key, before: this.#known.get(key) });
    this.#known.set(key, value);
  }

  #visit(block: Block): void {
    // Loops that are never entered have phis that are only themselves: nothing can be said of them.
    if (!this.#entered.has(block)) return;
    this.#held = this.#heldAtStart(block);
    this.#learnFromEdge(block);
    for (const phi of block.phis) this.#visitPhi(phi);
    block.phis = block.phis.filter((phi) => this.editor.resolve(phi) === phi);
    const before = block.operations;
    this.#output = [];
    for (const operation of before) {
      mapOperands(operation, (operand) => this.editor.resolve(operand));
      this.#current = operation;
      const value = this.#place(operation);
      if (value !== operation) {
        this.editor.replace(operation, value);
        this.isChanged = true;
      }
    }
    this.#visitEnd(block);
    for (const successor of successorsOf(block)) this.#entered.add(successor);
    block.operations = this.#output;
    this.#heldAtEnd.set(block, this.#held);
  }

  /** A phi of one value (and itself) is that value. */
  #visitPhi(phi: Block['phis'][number]): void {
    let same: Value | null = null;
    for (const input of phi.inputs) {
      const value = this.editor.resolve(input);
      if (value === phi || value === same) continue;
      if (same !== null) return;
      same = value;
    }
    if (same === null) return;
    this.editor.replace(phi, same);
    this.isChanged = true;
  }

  emit(operation: Operation): Value {
    if (this.#current !== null) this.knowledge.inherit(this.#current, operation);
    return this.#place(operation);
  }

  /** Appends an operation, or finds what stands for it. */
  #place(operation: Operation): Value {
    const simpler = this.#simplify(operation);
    if (simpler !== null) return simpler;
    const key = keyOf(operation);
    if (key !== null) {
      const known = this.#known.get(key);
      if (known !== undefined) return known;
      this.#learn(key, operation);
    } else if (operation.kind === 'load') {
      const held = this.#find(operation);
      if (held !== null) return held;
      if (!operation.volatile && operation.relocation === null) this.#hold(operation, operation, operation);
    }
    if (operation.kind === 'store') {
      if (this.#isThere(operation)) {
        this.isChanged = true;
        return operation;
      }
      this.#forgetTouched(operation);
      if (!operation.volatile && operation.relocation === null) this.#hold(operation, operation.value, null);
    } else if (operation.kind === 'atomic') {
      this.#forgetTouched(operation);
    } else if (operation.kind === 'call') {
      this.#forgetWritten(writtenBy(operation));
    }
    this.#output.push(operation);
    return operation;
  }

  #simplify(operation: Operation): Value | null {
    switch (operation.kind) {
      case 'binary':
        return simplifyBinary(this, operation);
      case 'unary':
        return simplifyUnary(this, operation);
      case 'compare':
        return this.#simplifyCompare(operation);
      case 'load':
      case 'store':
      case 'atomic':
        this.#foldAddress(operation);
        return null;
      default:
        return null;
    }
  }

  #simplifyCompare(operation: Extract<Operation, { kind: 'compare' }>): Value | null {
    const { condition, bits, left, right } = operation;
    const known = this.#known.get(conditionKey(operation));
    if (known !== undefined) return known;
    const simpler = simplifyTest(this, { condition, bits, left, right, isNegated: false });
    if (typeof simpler === 'boolean') return this.editor.constant(simpler ? 1 : 0);
    // No instruction asks whether a test does not hold; a comparison with 0 does.
    if (simpler.isNegated) return null;
    if (simpler.condition === condition && simpler.left === left && simpler.right === right && simpler.bits === bits) {
      return null;
    }
    return this.emit(this.editor.compare(simpler.condition, simpler.bits, simpler.left, simpler.right, operation));
  }

  /** address + constant: the access adds it. A relocated offset belongs to the loader. */
  #foldAddress(access: Access): void {
    if (access.kind === 'store' && access.width < 8) this.#narrowStored(access);
    const { address } = access;
    if (address.kind !== 'binary' || address.operator !== 'add' || address.bits !== 64) return;
    if (address.left.space === 'scalar' || address.right.kind !== 'constant') return;
    if (access.kind !== 'atomic' && access.relocation !== null) return;
    const offset = BigInt(access.offset) + address.right.value;
    if (offset > OFFSET_MAX || offset < -OFFSET_MAX) return;
    access.address = address.left;
    access.offset = Number(offset);
    this.isChanged = true;
    this.#foldAddress(access);
  }

  /** What is stored of a value are its low bytes. */
  #narrowStored(store: Store): void {
    const { value } = store;
    if (value.kind !== 'unary' || value.width < store.width || value.operand.space !== 'scalar') return;
    if (value.operator !== 'zext' && value.operator !== 'sext') return;
    store.value = value.operand;
    this.isChanged = true;
    this.#narrowStored(store);
  }

  #find(load: Load): Value | null {
    if (load.volatile || load.relocation !== null) return null;
    for (const held of this.#held) {
      if (held.offset !== load.offset || held.width !== load.width || !isSameBase(held.address, load.address)) continue;
      return this.#asLoaded(load, held);
    }
    return null;
  }

  #asLoaded(load: Load, held: Held): Value | null {
    if (load.space !== held.value.space) return null;
    if (held.load !== null) {
      if (held.load.signed === load.signed || load.width === 8) return held.value;
    } else if (load.width === 8) {
      return held.value;
    } else if (held.value.space !== 'scalar') {
      return null;
    }
    return this.emit(this.editor.unary(load.signed ? 'sext' : 'zext', load.width, held.value, load));
  }

  /** Whether a store writes what lies there already. */
  #isThere(store: Store): boolean {
    if (store.volatile || store.relocation !== null) return false;
    return this.#held.some(
      (held) =>
        held.value === store.value &&
        held.offset === store.offset &&
        held.width === store.width &&
        isSameBase(held.address, store.address),
    );
  }

  #hold(access: Load | Store, value: Value, load: Load | null): void {
    const { address, offset, width } = access;
    const kept = this.#held.length >= HELD_MAX ? this.#held.slice(1) : this.#held;
    this.#held = [...kept, { address, offset, width, value, load }];
  }

  #forgetTouched(access: Store | Atomic): void {
    this.#held = this.#held.filter((held) => !this.#aliases.mayTouch(held, access));
  }

  #forgetWritten(written: number): void {
    if (written === 0) return;
    this.#held = this.#held.filter((held) => (this.#aliases.memoryOf(held.address) & written) === 0);
  }

  #heldAtStart(block: Block): readonly Held[] {
    const parent = this.tree.parentOf(block);
    const before = parent === null ? undefined : this.#heldAtEnd.get(parent);
    if (parent === null || before === undefined || before.length === 0) return [];
    const written = this.#writtenBetween(parent, block);
    if (written === 0) return before;
    return before.filter((held) => (this.#aliases.memoryOf(held.address) & written) === 0);
  }

  /** What the blocks on all ways from `above` to `below` may write, those two left out. */
  #writtenBetween(above: Block, below: Block): number {
    let written = 0;
    const seen = new Set([above]);
    const open = [...below.predecessors];
    for (let block = open.pop(); block !== undefined; block = open.pop()) {
      if (seen.has(block)) continue;
      seen.add(block);
      if (seen.size > SEARCHED_MAX) return EVERYTHING;
      written |= this.#writes.get(block) ?? 0;
      open.push(...block.predecessors);
    }
    return written;
  }

  /** In a block that is entered by one edge of a branch the branch's condition has its answer. */
  #learnFromEdge(block: Block): void {
    if (block.predecessors.length !== 1) return;
    const [predecessor] = block.predecessors;
    const end = predecessor.terminator;
    if (end?.kind !== 'branch' || end.whenTrue === end.whenFalse) return;
    const holds = end.whenTrue === block;
    this.#learn(conditionKey(end), this.editor.constant(holds ? 1 : 0));
    const other = opposite[end.condition];
    if (other === null) return;
    this.#learn(conditionKey({ ...end, condition: other }), this.editor.constant(holds ? 0 : 1));
  }

  #visitEnd(block: Block): void {
    const end = block.terminator!;
    mapTerminator(end, (value) => this.editor.resolve(value));
    this.#current = null;
    if (end.kind !== 'branch') return;
    const { condition, bits, left, right } = end;
    const simpler = simplifyTest(this, { condition, bits, left, right, isNegated: false });
    const answer = typeof simpler === 'boolean' ? simpler : this.#answered(simpler);
    if (answer !== null) {
      this.#decide(block, end, answer);
      return;
    }
    this.#exchange(block, end, simpler as Test);
  }

  #answered(test: Test): boolean | null {
    const known = this.#known.get(conditionKey(test));
    return known?.kind === 'constant' ? (known.value !== 0n) !== test.isNegated : null;
  }

  #decide(block: Block, end: Branch, answer: boolean): void {
    const [taken, other] = answer ? [end.whenTrue, end.whenFalse] : [end.whenFalse, end.whenTrue];
    block.terminator = { kind: 'jump', location: end.location, target: taken };
    removeEdge(other, block);
    this.isChanged = true;
  }

  #exchange(block: Block, end: Branch, test: Test): void {
    const { condition, bits, left, right } = test;
    if (condition === end.condition && left === end.left && right === end.right && bits === end.bits) return;
    const [whenTrue, whenFalse] = test.isNegated ? [end.whenFalse, end.whenTrue] : [end.whenTrue, end.whenFalse];
    block.terminator = { kind: 'branch', location: end.location, condition, bits, left, right, whenTrue, whenFalse };
    this.isChanged = true;
  }
}

/** Simplifies, and leaves out what is computed already. Whether anything changed. */
export function simplifyValues(editor: Editor): boolean {
  const walk = new Walk(editor);
  walk.run();
  removeUnreachable(editor);
  editor.settle();
  return walk.isChanged;
}
