/**
 * Room `bpf`: stores to the stack that nothing reads before they are overwritten or the function ends: a struct is cleared first and
 * filled after, and only what stays clear needs the first.
 *
 * A newcomer would get wrong: whoever calls a helper reads every slot whose address is known outside, all its bytes, padding
 * included: the verifier refuses memory with bytes that were never written.
 */
import type { Block, Operation, StackSlot, Store, Value } from '../ir.ts';
import { successorsOf } from '../ir.ts';
import { privateSlots } from './aliases.ts';
import type { Editor } from './editor.ts';
import { signed64 } from './evaluate.ts';

/** Which bytes of all slots, side by side, are read later: one bit each. */
class Liveness {
  readonly #starts = new Map<StackSlot, number>();
  readonly #privates: ReadonlySet<StackSlot>;
  readonly #atStart = new Map<Block, bigint>();
  /** Every byte of the slots that other code may read. */
  #shared = 0n;

  constructor(editor: Editor) {
    this.#privates = privateSlots(editor.function);
    let next = 0;
    for (const slot of editor.function.slots) {
      this.#starts.set(slot, next);
      next += slot.bytes;
      if (!this.#privates.has(slot)) this.#shared |= this.#mask(slot, 0, slot.bytes);
    }
    this.#solve(editor.function.blocks);
  }

  #mask(slot: StackSlot, offset: number, bytes: number): bigint {
    return ((1n << BigInt(bytes)) - 1n) << BigInt(this.#starts.get(slot)! + offset);
  }

  #solve(blocks: readonly Block[]): void {
    const open = new Set(blocks);
    for (const block of open) {
      open.delete(block);
      let live = this.atEnd(block);
      for (let index = block.operations.length - 1; index >= 0; index--) {
        live = this.before(block.operations[index], live);
      }
      if (live === (this.#atStart.get(block) ?? 0n)) continue;
      this.#atStart.set(block, live);
      for (const predecessor of block.predecessors) open.add(predecessor);
    }
  }

  /** What is live when control leaves a block. Nothing of the frame is after a return. */
  atEnd(block: Block): bigint {
    return successorsOf(block).reduce((live, next) => live | (this.#atStart.get(next) ?? 0n), 0n);
  }

  /** What is live before an operation, given what is after it. */
  before(operation: Operation, live: bigint): bigint {
    switch (operation.kind) {
      case 'store': {
        const written = this.written(operation);
        return written === null ? live : live & ~written;
      }
      case 'load':
      case 'atomic':
        return live | this.#read(operation.address, operation.offset, operation.width);
      case 'call':
        return live | this.#shared;
      default:
        return live;
    }
  }

  /** The bytes that a store surely writes; null for one that is not to a known place on the stack. */
  written(store: Store): bigint | null {
    if (store.address.kind !== 'stackAddress') return null;
    return this.#mask(store.address.slot, store.offset, store.width);
  }

  #read(address: Value, offset: number, width: number): bigint {
    if (address.kind === 'stackAddress') return this.#mask(address.slot, offset, width);
    return address.space === 'stack' || address.space === 'memory' || address.space === 'scalar' ? this.#shared : 0n;
  }

  /** The bits of `live` from the store's first byte on. */
  within(store: Store & { readonly address: { readonly kind: 'stackAddress' } }, live: bigint): bigint {
    const start = this.#mask(store.address.slot, store.offset, 1);
    return (live / start) & ((1n << BigInt(store.width)) - 1n);
  }
}

/** A store of a number of which only one half is read writes that half. */
function halved(editor: Editor, store: Store, live: bigint): Store | null {
  if (store.width === 1 || store.value.kind !== 'constant') return null;
  const half = (store.width / 2) as 1 | 2 | 4;
  const low = (1n << BigInt(half)) - 1n;
  const isUpper = (live & low) === 0n;
  if (!isUpper && live >> BigInt(half) !== 0n) return null;
  const number = isUpper ? store.value.value >> BigInt(half * 8) : store.value.value;
  const value = editor.constant(signed64(BigInt.asUintN(half * 8, number)));
  const offset = store.offset + (isUpper ? half : 0);
  return { ...editor.copy(store), width: half, offset, value };
}

/** Removes them, and cuts stores of numbers to what is read. Whether anything changed. */
export function removeDeadStores(editor: Editor): boolean {
  if (editor.function.slots.length === 0) return false;
  const liveness = new Liveness(editor);
  let isChanged = false;
  for (const block of editor.function.blocks) {
    let live = liveness.atEnd(block);
    const kept: Operation[] = [];
    for (let index = block.operations.length - 1; index >= 0; index--) {
      let operation: Operation | null = block.operations[index];
      while (operation?.kind === 'store' && operation.address.kind === 'stackAddress' && !operation.volatile) {
        const read = liveness.within(operation as Parameters<Liveness['within']>[0], live);
        const smaller: Store | null = read === 0n ? null : halved(editor, operation, read);
        if (read !== 0n && smaller === null) break;
        operation = smaller;
        isChanged = true;
      }
      if (operation === null) continue;
      live = liveness.before(operation, live);
      kept.push(operation);
    }
    block.operations = kept.reverse();
  }
  editor.settle();
  return isChanged;
}
