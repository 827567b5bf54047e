/**
 * Room `bpf`: adjacent stores of numbers within a block become fewer and wider ones, at the place of the last.
 *
 * A newcomer would get wrong: a store of 8 bytes holds a number of 32 bits, extended by its sign. Eight bytes that are no such number
 * are as well stored in two halves.
 */
import type { Block, Operation, Store, Value, Width } from '../ir.ts';
import { type Access, Aliases, isSameBase } from './aliases.ts';
import { Alignments } from './alignment.ts';
import type { Editor } from './editor.ts';
import { signed64 } from './evaluate.ts';

const GROUP_MAX = 64;

/** Stores of numbers at one base address with nothing between them that may see the difference. */
interface Group {
  readonly base: Value;
  readonly stores: Store[];
}

/** A store of a number that may be joined with others; null for everything else. */
function storeOfNumber(operation: Operation): Store | null {
  if (operation.kind !== 'store' || operation.value.kind !== 'constant') return null;
  return operation.volatile || operation.relocation !== null ? null : operation;
}

/** The bytes that the stores of a group leave behind, by their offsets. */
function bytesOf(stores: readonly Store[]): Map<number, bigint> {
  const bytes = new Map<number, bigint>();
  for (const { value, offset, width } of stores) {
    const number = value.kind === 'constant' ? value.value : 0n;
    for (let byte = 0; byte < width; byte++) bytes.set(offset + byte, (number >> BigInt(byte * 8)) & 0xffn);
  }
  return bytes;
}

class Merging {
  readonly #editor: Editor;
  readonly #aliases: Aliases;
  readonly alignments = new Alignments();
  isChanged = false;

  constructor(editor: Editor) {
    this.#editor = editor;
    this.#aliases = new Aliases(editor.function);
  }

  visit(block: Block): void {
    if (!block.operations.some((operation) => storeOfNumber(operation) !== null)) return;
    let groups: Group[] = [];
    /** Operations that go, and what comes in the place of others. */
    const instead = new Map<Operation, readonly Operation[]>();
    const finish = (isFinished: (group: Group) => boolean): void => {
      for (const group of groups) if (isFinished(group)) this.#finish(group, instead);
      groups = groups.filter((group) => !isFinished(group));
    };
    for (const operation of block.operations) {
      const store = storeOfNumber(operation);
      if (store !== null) {
        finish((group) => !isSameBase(group.base, store.address) && this.#meets(group, store));
        const group = groups.find(({ base }) => isSameBase(base, store.address));
        if (group === undefined) groups.push({ base: store.address, stores: [store] });
        else group.stores.push(store);
        finish(({ stores }) => stores.length >= GROUP_MAX);
      } else if (operation.kind === 'load' || operation.kind === 'store' || operation.kind === 'atomic') {
        finish((group) => this.#meets(group, operation));
      } else if (operation.kind === 'call') {
        finish(() => true);
      }
    }
    finish(() => true);
    if (instead.size === 0) return;
    block.operations = block.operations.flatMap((operation) => instead.get(operation) ?? [operation]);
    this.isChanged = true;
  }

  #meets(group: Group, access: Access): boolean {
    return group.stores.some((store) => this.#aliases.mayTouch(store, access));
  }

  #finish({ base, stores }: Group, instead: Map<Operation, readonly Operation[]>): void {
    if (stores.length < 2) return;
    const bytes = bytesOf(stores);
    const last = stores[stores.length - 1];
    const merged: Store[] = [];
    const offsets = [...bytes.keys()].sort((a, b) => a - b);
    for (let index = 0; index < offsets.length; ) {
      const { width, value } = this.#widest(base, offsets[index], bytes);
      merged.push({ ...this.#editor.copy(last), width, offset: offsets[index], value: this.#editor.constant(value) });
      index += width;
    }
    if (merged.length >= stores.length) return;
    for (const { width } of merged) this.alignments.want(base, width);
    for (const store of stores) instead.set(store, []);
    instead.set(last, merged);
  }

  #widest(base: Value, offset: number, bytes: ReadonlyMap<number, bigint>): { width: Width; value: bigint } {
    for (const width of [8, 4, 2] as const) {
      if (!this.alignments.allows(base, offset, width)) continue;
      let value = 0n;
      let isWhole = true;
      for (let byte = width - 1; byte >= 0 && isWhole; byte--) {
        const found = bytes.get(offset + byte);
        isWhole = found !== undefined;
        value = (value << 8n) | (found ?? 0n);
      }
      if (!isWhole || (width === 8 && BigInt.asIntN(32, value) !== signed64(value))) continue;
      return { width, value: signed64(value) };
    }
    return { width: 1, value: bytes.get(offset)! };
  }
}

/** Merges them. Whether anything changed. */
export function mergeStores(editor: Editor): boolean {
  const merging = new Merging(editor);
  for (const block of editor.function.blocks) merging.visit(block);
  merging.alignments.settle(editor);
  editor.settle();
  return merging.isChanged;
}
