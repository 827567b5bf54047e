/**
 * Room `bpf`: one walk over the dominator tree that simplifies each operation and finds those computed already on every path: pure
 * ones, conditions that a branch has answered, and loads of what is known to lie in memory.
 *
 * A newcomer would get wrong: operands are those that the walk has put in place already, so each is asked for by `resolve`; only the
 * inputs of a loop's phis come later.
 */
import { DominatorTree } from '../dominators.ts';
import type { Block, Load, Operation, Store, Terminator, Value } from '../ir.ts';
import { mapOperands, operandsOf, successorsOf } from '../ir.ts';
import type { Access } from './aliases.ts';
import { removeUnreachable } from './control-flow.ts';
import { type Editor, mapTerminator, removeEdge } from './editor.ts';
import { opposite } from './evaluate.ts';
import { Knowledge } from './knowledge.ts';
import { KnownComputations, keyOfCondition } from './known-computations.ts';
import { type Held, KnownMemory } from './known-memory.ts';
import { simplifyBinary, type Workshop } from './simplify-binary.ts';
import { simplifyTest, type Test } from './simplify-condition.ts';
import { simplifyUnary } from './simplify-unary.ts';
import { ValueMap } from './value-map.ts';

type Branch = Extract<Terminator, { kind: 'branch' }>;

const OFFSET_MAX = 32767;

/** The walk's state. What a block taught is undone when the walk climbs back. */
class Walk implements Workshop {
  readonly editor: Editor;
  readonly knowledge: Knowledge;
  readonly mayMoveConditions: boolean;
  readonly tree: DominatorTree;
  readonly #memory: KnownMemory;
  readonly #known: KnownComputations;
  /** Blocks that an edge still leads to, from what was visited. */
  readonly #entered = new Set<Block>();
  /** The deepest block so far, as a depth in the tree, whose entry tells something of a value; and what that was before. */
  readonly #asked: ValueMap<number>;
  readonly #askedBefore: { readonly value: Value; readonly depth: number }[] = [];
  #depth = 0;
  readonly #resolve = (value: Value): Value => this.editor.resolve(value);
  #output: Operation[] = [];
  #current: Value | null = null;
  isChanged = false;

  constructor(editor: Editor, mayMoveConditions: boolean) {
    this.editor = editor;
    this.mayMoveConditions = mayMoveConditions;
    this.knowledge = new Knowledge(editor.function);
    this.tree = new DominatorTree(editor.function);
    this.#entered.add(this.tree.order[0]);
    this.#memory = new KnownMemory(editor.function, this.tree);
    this.#known = new KnownComputations(editor.function.nextId);
    this.#asked = new ValueMap(editor.function);
  }

  run(): void {
    const open: { readonly block: Block; next: number; readonly known: number; readonly asked: number }[] = [];
    const enter = (block: Block): void => {
      open.push({ block, next: 0, known: this.#known.mark, asked: this.#askedBefore.length });
      this.#depth = open.length;
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
      this.#known.forget(top.known);
      while (this.#askedBefore.length > top.asked) {
        const { value, depth } = this.#askedBefore.pop()!;
        this.#asked.set(value, depth);
      }
      open.pop();
    }
  }

  /** Notes the question until the walk leaves this block. */
  #ask(value: Value): void {
    this.#askedBefore.push({ value, depth: this.#asked.get(value) ?? 0 });
    this.#asked.set(value, this.#depth);
  }

  #visit(block: Block): void {
    // Loops that are never entered have phis that are only themselves: nothing can be said of them.
    if (!this.#entered.has(block)) return;
    this.#memory.enter(block);
    this.#learnFromEdge(block);
    for (const phi of block.phis) this.#visitPhi(phi);
    block.phis = block.phis.filter((phi) => this.editor.resolve(phi) === phi);
    const before = block.operations;
    this.#output = [];
    for (const operation of before) {
      mapOperands(operation, this.#resolve);
      this.#current = operation;
      const value = this.#place(operation);
      if (value !== operation) {
        this.knowledge.inherit(operation, value);
        this.editor.replace(operation, value);
        this.isChanged = true;
      }
    }
    this.#visitEnd(block);
    for (const successor of successorsOf(block)) this.#entered.add(successor);
    block.operations = this.#output;
    this.#memory.leave(block);
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

  /**
   * Whether a branch on the way from an equal computation asked about its operands. A watched value is then computed anew: the
   * verifier bounds what is computed after a check, not what was before.
   */
  #isAskedSince(operation: Operation, depth: number): boolean {
    if (!this.knowledge.isWatched(operation)) return false;
    return operandsOf(operation).some((operand) => (this.#asked.get(operand) ?? 0) > depth);
  }

  /** Appends an operation, or finds what stands for it. */
  #place(operation: Operation): Value {
    const simpler = this.#simplify(operation);
    if (simpler !== null) return simpler;
    const key = this.#known.keyOf(operation);
    if (key !== null) {
      const known = this.#known.find(key);
      if (known !== null && !this.#isAskedSince(operation, known.depth)) {
        this.knowledge.inherit(operation, known.value);
        return known.value;
      }
      this.#known.learn(key, operation, this.#depth);
    } else if (operation.kind === 'load') {
      const held = this.#memory.find(operation);
      const value = held === null ? null : this.#asLoaded(operation, held);
      if (value !== null) return value;
    } else if (operation.kind === 'store' && this.#memory.isThere(operation)) {
      this.isChanged = true;
      return operation;
    }
    this.#memory.pass(operation);
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
    const known = this.#known.find(keyOfCondition(operation));
    if (known !== null) return known.value;
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

  /** In a block that is entered by one edge of a branch the branch's condition has its answer. */
  #learnFromEdge(block: Block): void {
    if (block.predecessors.length !== 1) return;
    const [predecessor] = block.predecessors;
    const end = predecessor.terminator;
    if (end?.kind !== 'branch' || end.whenTrue === end.whenFalse) return;
    const holds = end.whenTrue === block;
    for (const value of [end.left, end.right]) this.#ask(value);
    this.#known.learn(keyOfCondition(end), this.editor.constant(holds ? 1 : 0), 0);
    const other = opposite[end.condition];
    if (other === null) return;
    this.#known.learn(keyOfCondition({ ...end, condition: other }), this.editor.constant(holds ? 0 : 1), 0);
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
    const known = this.#known.find(keyOfCondition(test))?.value;
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

function walkOver(editor: Editor, mayMoveConditions: boolean): boolean {
  const walk = new Walk(editor, mayMoveConditions);
  walk.run();
  removeUnreachable(editor);
  editor.settle();
  return walk.isChanged;
}

/**
 * Simplifies, and leaves out what is computed already, but keeps conditions on the values that they are about: a value that is stored and
 * loaded again is only known to be the one that was checked when the load is gone. Whether anything changed.
 */
export function joinValues(editor: Editor): boolean {
  return walkOver(editor, false);
}

/** Simplifies, and leaves out what is computed already. Whether anything changed. */
export function simplifyValues(editor: Editor): boolean {
  return walkOver(editor, true);
}
