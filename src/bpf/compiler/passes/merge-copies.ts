/**
 * Room `bpf`: copies of adjacent fields, a load and a store each, become copies of 2, 4 or 8 bytes at once: structs, addresses and
 * keys are copied so.
 *
 * A newcomer would get wrong: the wide load stands where the first of two loads stood and the wide store where the last of two stores
 * did, so nothing in between may write what the second load read, nor see what the first store wrote.
 */
import type { Block, Load, Operation, Store, Value, Width } from '../ir.ts';
import { operandsOf, terminatorOperands } from '../ir.ts';
import { Aliases, isSameBase } from './aliases.ts';
import { Alignments } from './alignment.ts';
import type { Editor } from './editor.ts';

/** Operations between the two copies of a pair. */
const DISTANCE_MAX = 64;

interface Copy {
  readonly load: Load;
  readonly store: Store;
}

/** A block's operations, null where one went, and where each stands. */
interface Line {
  readonly operations: (Operation | null)[];
  readonly at: Map<Operation, number>;
}

type Place = Pick<Load, 'address' | 'offset' | 'width'>;

/** How often each value is used; more than once counts as twice. */
function usesIn(editor: Editor): Map<Value, number> {
  const uses = new Map<Value, number>();
  const note = (value: Value): void => {
    uses.set(value, (uses.get(value) ?? 0) + 1);
  };
  for (const block of editor.function.blocks) {
    for (const phi of block.phis) phi.inputs.forEach(note);
    for (const operation of block.operations) operandsOf(operation).forEach(note);
    if (block.terminator !== null) terminatorOperands(block.terminator).forEach(note);
  }
  return uses;
}

class Merging {
  readonly #editor: Editor;
  readonly #aliases: Aliases;
  readonly #uses: Map<Value, number>;
  readonly alignments = new Alignments();
  isChanged = false;

  constructor(editor: Editor) {
    this.#editor = editor;
    this.#aliases = new Aliases(editor.function);
    this.#uses = usesIn(editor);
  }

  /** Copies of each width become those of twice the width, from 1 to 8. */
  visit(block: Block): void {
    if (!block.operations.some((operation) => operation.kind === 'store' && operation.value.kind === 'load')) return;
    const line: Line = { operations: [...block.operations], at: new Map() };
    for (const [index, operation] of block.operations.entries()) line.at.set(operation, index);
    for (const width of [1, 2, 4] as const) {
      const copies = line.operations.map((operation) => this.#copyOf(operation, width, line));
      const sorted = copies.filter((copy) => copy !== null).sort((a, b) => a.store.offset - b.store.offset);
      const used = new Set<Copy>();
      for (const first of sorted) {
        if (used.has(first)) continue;
        const second = sorted.find((other) => !used.has(other) && this.#isNext(first, other));
        if (second === undefined || !this.#mayMerge(line, first, second)) continue;
        used.add(first).add(second);
        this.#merge(line, first, second);
        this.isChanged = true;
      }
    }
    block.operations = line.operations.filter((operation) => operation !== null);
  }

  #copyOf(store: Operation | null, width: Width, { at }: Line): Copy | null {
    if (store?.kind !== 'store' || store.width !== width || store.volatile || store.relocation !== null) return null;
    const load = store.value;
    if (load.kind !== 'load' || load.width !== width || load.volatile || load.relocation !== null) return null;
    return load.space === 'scalar' && this.#uses.get(load) === 1 && at.has(load) ? { load, store } : null;
  }

  #isNext(first: Copy, second: Copy): boolean {
    const isBehind = (a: Place, b: Place) => isSameBase(a.address, b.address) && a.offset + a.width === b.offset;
    return first !== second && isBehind(first.store, second.store) && isBehind(first.load, second.load);
  }

  #mayMerge({ operations, at }: Line, first: Copy, second: Copy): boolean {
    const width = (first.load.width * 2) as Width;
    if (!this.alignments.allows(first.load.address, first.load.offset, width)) return false;
    if (!this.alignments.allows(first.store.address, first.store.offset, width)) return false;
    const [early, late] = inOrder(at, first.load, second.load);
    const [earlyStore, lateStore] = inOrder(at, first.store, second.store);
    const [start, end] = [at.get(early)!, at.get(lateStore)!];
    if (end - start > DISTANCE_MAX) return false;
    for (let index = start + 1; index < end; index++) {
      const between = operations[index];
      if (between === null) continue;
      if (index < at.get(late)! && this.#writes(between, late)) return false;
      if (index > at.get(earlyStore)! && between !== lateStore && this.#sees(between, earlyStore)) return false;
    }
    return true;
  }

  #writes(operation: Operation, place: Place): boolean {
    if (operation.kind === 'store' || operation.kind === 'atomic') return this.#aliases.mayTouch(operation, place);
    return (this.#aliases.written(operation) & this.#aliases.memoryOf(place.address)) !== 0;
  }

  #sees(operation: Operation, place: Place): boolean {
    if (operation.kind === 'call') return true;
    const isAccess = operation.kind === 'load' || operation.kind === 'store' || operation.kind === 'atomic';
    return isAccess && this.#aliases.mayTouch(operation, place);
  }

  #merge({ operations, at }: Line, first: Copy, second: Copy): void {
    const width = (first.load.width * 2) as Width;
    const [early, late] = inOrder(at, first.load, second.load);
    const [earlyStore, lateStore] = inOrder(at, first.store, second.store);
    const load: Load = { ...this.#editor.copy(early), width, signed: false, offset: first.load.offset };
    const store: Store = { ...this.#editor.copy(lateStore), width, offset: first.store.offset, value: load };
    const put = (old: Operation, made: Operation | null): void => {
      const index = at.get(old)!;
      operations[index] = made;
      if (made !== null) at.set(made, index);
    };
    put(early, load);
    put(late, null);
    put(earlyStore, null);
    put(lateStore, store);
    this.#uses.set(load, 1);
    this.alignments.want(load.address, width);
    this.alignments.want(store.address, width);
  }
}

/** The earlier of two operations of a block, and the later. */
function inOrder<T extends Operation>(at: ReadonlyMap<Operation, number>, a: T, b: T): readonly [T, T] {
  return at.get(a)! < at.get(b)! ? [a, b] : [b, a];
}

/** Merges them. Whether anything changed. */
export function mergeCopies(editor: Editor): boolean {
  const merging = new Merging(editor);
  for (const block of editor.function.blocks) merging.visit(block);
  merging.alignments.settle(editor);
  editor.settle();
  return merging.isChanged;
}
