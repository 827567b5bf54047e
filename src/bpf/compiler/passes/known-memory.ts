/**
 * Room `bpf`: what is known to lie in memory at a point of the program: what was stored there last, or loaded from there.
 *
 * A newcomer would get wrong: what is known at the end of a block's closest dominator holds at its beginning only if nothing in
 * between writes that memory: the blocks on all ways there are asked, loops included.
 */
import type { DominatorTree } from '../dominators.ts';
import type { Block, IrFunction, Load, Operation, Store, Value } from '../ir.ts';
import { type Access, Aliases, isSameBase } from './aliases.ts';

/** A value that lies in memory: the `width` bytes at `address + offset` are its low bytes. */
export interface Held extends Pick<Access, 'address' | 'offset' | 'width'> {
  readonly value: Value;
  /** For a load: how its value is extended. A stored value is as it is. */
  readonly load: Load | null;
  /** The memory that it lies in, as {@link Aliases.memoryOf} tells. */
  readonly memory: number;
}

const HELD_MAX = 32;
/** Blocks that are searched for writes between a block and its dominator, before everything counts as written. */
const SEARCHED_MAX = 64;
const EVERYTHING = 0xff;

const isPlain = ({ volatile, relocation }: Load | Store): boolean => !volatile && relocation === null;

/** The memory of a function along a walk over its dominator tree. */
export class KnownMemory {
  readonly #aliases: Aliases;
  readonly #tree: DominatorTree;
  /** What each block may write. */
  readonly #writes = new Map<Block, number>();
  readonly #atEnd = new Map<Block, readonly Held[]>();
  #held: Held[] = [];

  constructor(irFunction: IrFunction, tree: DominatorTree) {
    this.#aliases = new Aliases(irFunction);
    this.#tree = tree;
    for (const block of tree.order) {
      let written = 0;
      for (const operation of block.operations) written |= this.#aliases.written(operation);
      this.#writes.set(block, written);
    }
  }

  enter(block: Block): void {
    const parent = this.#tree.parentOf(block);
    this.#held = parent === null ? [] : (this.#atEnd.get(parent)?.slice() ?? []);
    if (parent !== null && this.#held.length > 0) this.#forgetWritten(this.#writtenBetween(parent, block));
  }

  leave(block: Block): void {
    this.#atEnd.set(block, this.#held);
  }

  /** What a load of just these bytes would give; null where that is not known. */
  find(load: Load): Held | null {
    if (!isPlain(load)) return null;
    for (const held of this.#held) if (this.#isPlaceOf(held, load)) return held;
    return null;
  }

  /** Whether a store writes what lies there already. */
  isThere(store: Store): boolean {
    if (!isPlain(store)) return false;
    for (const held of this.#held) if (held.value === store.value && this.#isPlaceOf(held, store)) return true;
    return false;
  }

  #isPlaceOf(held: Held, access: Load | Store): boolean {
    return held.offset === access.offset && held.width === access.width && isSameBase(held.address, access.address);
  }

  /** Notes what an operation does to memory and tells of it. */
  pass(operation: Operation): void {
    if (operation.kind === 'store' || operation.kind === 'atomic') {
      const memory = this.#aliases.written(operation);
      this.#forget((held) => (held.memory & memory) !== 0 && this.#aliases.mayTouch(held, operation));
    } else if (operation.kind === 'call') {
      this.#forgetWritten(this.#aliases.written(operation));
    }
    if (operation.kind === 'load' && isPlain(operation)) this.#hold(operation, operation, operation);
    if (operation.kind === 'store' && isPlain(operation)) this.#hold(operation, operation.value, null);
  }

  #hold({ address, offset, width }: Load | Store, value: Value, load: Load | null): void {
    if (this.#held.length >= HELD_MAX) this.#held.shift();
    this.#held.push({ address, offset, width, value, load, memory: this.#aliases.memoryOf(address) });
  }

  #forgetWritten(written: number): void {
    if (written !== 0) this.#forget((held) => (held.memory & written) !== 0);
  }

  #forget(isGone: (held: Held) => boolean): void {
    const held = this.#held;
    let kept = 0;
    for (const one of held) if (!isGone(one)) held[kept++] = one;
    while (held.length > kept) held.pop();
  }

  /** What the blocks on all ways from `above` to `below` may write; `above` itself is left out. */
  #writtenBetween(above: Block, below: Block): number {
    if (below.predecessors.length === 1 && below.predecessors[0] === above) return 0;
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
}
