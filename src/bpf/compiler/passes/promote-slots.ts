/**
 * Room `bpf`: fields of structs on the stack become values in registers, where only loads and stores of this function touch them
 * (scalar replacement). What is stored is what a load gives; where stores meet there are phis.
 *
 * A newcomer would get wrong: a struct is cleared in steps of 8 bytes and used field by field. Stores of numbers are cut up at the
 * borders of the fields; any other access that overlaps two fields keeps both in memory.
 */
import type { Block, Load, Operation, Space, StackAddress, StackSlot, Store, Value, Width } from '../ir.ts';
import { privateSlots } from './aliases.ts';
import type { Editor } from './editor.ts';
import { signed64 } from './evaluate.ts';
import { SsaVariable } from './ssa.ts';

type SlotAccess = (Load | Store) & { address: StackAddress };

/** Bytes of a slot that are always accessed together: `width` is 0 where accesses overlap otherwise. */
interface Part {
  readonly slot: StackSlot;
  readonly start: number;
  end: number;
  width: Width | 0;
  readonly accesses: SlotAccess[];
  space: Space | null;
  isMixed: boolean;
}

const isNumber = (access: SlotAccess): access is Store & { address: StackAddress } =>
  access.kind === 'store' && access.value.kind === 'constant';

/** Parts of one slot, by their first bytes. Stores of numbers come last: they may be cut. */
function partsOf(slot: StackSlot, accesses: readonly SlotAccess[]): Part[] {
  const whole = accesses.filter((access) => !isNumber(access)).sort((a, b) => a.offset - b.offset);
  const parts: Part[] = [];
  for (const access of whole) {
    const { offset, width } = access;
    const last = parts.at(-1);
    if (last === undefined || offset >= last.end) {
      parts.push({ slot, start: offset, end: offset + width, width, accesses: [access], space: null, isMixed: false });
      continue;
    }
    if (offset !== last.start || width !== last.width) last.width = 0;
    last.end = Math.max(last.end, offset + width);
    last.accesses.push(access);
  }
  return parts;
}

/** A pointer and the number 0 (null) may lie in the same field; two kinds of pointers may not. */
function noteSpace(part: Part, access: SlotAccess): void {
  const value: Value = access.kind === 'load' ? access : access.value;
  if (value.kind === 'constant' && value.value === 0n) return;
  if (part.space === null) part.space = value.space;
  else if (part.space !== value.space) part.isMixed = true;
}

function isPromotable(part: Part, numbers: readonly SlotAccess[]): boolean {
  if (part.width === 0 || part.isMixed || !part.accesses.some((access) => access.kind === 'load')) return false;
  if (part.space !== null && part.space !== 'scalar' && part.width !== 8) return false;
  return numbers.every(({ offset, width }) => {
    const isApart = offset + width <= part.start || offset >= part.end;
    return isApart || (offset <= part.start && offset + width >= part.end);
  });
}

/** Accesses to private slots, by slot; slots with an access that must stay as it is are left out. */
function accessesOf(editor: Editor): Map<StackSlot, SlotAccess[]> {
  const found = new Map<StackSlot, SlotAccess[]>();
  for (const slot of privateSlots(editor.function)) found.set(slot, []);
  for (const block of editor.function.blocks) {
    for (const operation of block.operations) {
      if (operation.kind !== 'load' && operation.kind !== 'store' && operation.kind !== 'atomic') continue;
      const { address } = operation;
      if (address.kind !== 'stackAddress') continue;
      const isFixed = operation.kind === 'atomic' || operation.volatile || operation.relocation !== null;
      if (isFixed) found.delete(address.slot);
      else found.get(address.slot)?.push(operation as SlotAccess);
    }
  }
  return found;
}

/** The bytes of a number that fall into a part. */
function cut(editor: Editor, store: Store, part: Part): Value {
  const number = (store.value.kind === 'constant' ? store.value.value : 0n) >> BigInt((part.start - store.offset) * 8);
  return editor.constant(signed64(BigInt.asUintN((part.end - part.start) * 8, number)));
}

/** Bytes that a store of a number covers and that stay in memory, in steps that the alignment allows. */
function remains(editor: Editor, store: Store, parts: readonly Part[]): Store[] {
  const kept: Store[] = [];
  for (let at = store.offset; at < store.offset + store.width; ) {
    const part = parts.find((one) => one.start <= at && at < one.end);
    if (part !== undefined) {
      at = part.end;
      continue;
    }
    const next = parts.reduce(
      (least, one) => (one.start > at ? Math.min(least, one.start) : least),
      store.offset + store.width,
    );
    const width = ([8, 4, 2, 1] as const).find((one) => at % one === 0 && at + one <= next)!;
    const number = (store.value.kind === 'constant' ? store.value.value : 0n) >> BigInt((at - store.offset) * 8);
    const value = editor.constant(signed64(BigInt.asUintN(width * 8, number)));
    kept.push({ ...editor.copy(store), width, offset: at, value });
    at += width;
  }
  return kept;
}

/** Turns parts into variables, all of them in one walk over the blocks. */
class Promotion {
  readonly #editor: Editor;
  readonly #parts: ReadonlyMap<StackSlot, readonly Part[]>;
  readonly #variables = new Map<Part, SsaVariable>();

  constructor(editor: Editor, parts: ReadonlyMap<StackSlot, readonly Part[]>) {
    this.#editor = editor;
    this.#parts = parts;
    for (const part of [...parts.values()].flat()) {
      const { location, name } = part.accesses[0];
      const origin = { location, name: name ?? part.slot.name };
      // Read before it was ever written: the verifier would refuse it, so any value does.
      this.#variables.set(part, new SsaVariable(editor, part.space ?? 'scalar', origin, () => editor.constant(0)));
    }
  }

  run(): void {
    for (const block of this.#editor.function.blocks) {
      for (const operation of block.operations) {
        for (const [part, value] of this.#stored(operation)) this.#variables.get(part)!.define(block, value);
      }
    }
    for (const block of this.#editor.function.blocks) this.#rewrite(block);
  }

  #partsAt(operation: Operation): readonly Part[] {
    if (operation.kind !== 'load' && operation.kind !== 'store') return [];
    const { address, offset, width } = operation;
    if (address.kind !== 'stackAddress') return [];
    const parts = this.#parts.get(address.slot) ?? [];
    return parts.filter((part) => part.start < offset + width && offset < part.end);
  }

  #stored(operation: Operation): [Part, Value][] {
    if (operation.kind !== 'store') return [];
    return this.#partsAt(operation).map((part) => [
      part,
      operation.value.kind === 'constant' ? cut(this.#editor, operation, part) : operation.value,
    ]);
  }

  #rewrite(block: Block): void {
    const now = new Map<Part, Value>();
    const output: Operation[] = [];
    for (const operation of block.operations) {
      const parts = this.#partsAt(operation);
      if (parts.length === 0) {
        output.push(operation);
      } else if (operation.kind === 'load') {
        const [part] = parts;
        const value = now.get(part) ?? this.#variables.get(part)!.readAtStart(block);
        output.push(...this.#loaded(operation, value));
      } else if (operation.kind === 'store') {
        for (const [part, value] of this.#stored(operation)) now.set(part, value);
        output.push(...remains(this.#editor, operation, parts));
      }
    }
    block.operations = output;
  }

  #loaded(load: Load, value: Value): Operation[] {
    if (load.width === 8) {
      this.#editor.replace(load, value);
      return [];
    }
    const extension = this.#editor.unary(load.signed ? 'sext' : 'zext', load.width, value, load);
    this.#editor.replace(load, extension);
    return [extension];
  }
}

/** Promotes what can be. Whether anything was. */
export function promoteSlots(editor: Editor): boolean {
  const promoted = new Map<StackSlot, Part[]>();
  for (const [slot, accesses] of accessesOf(editor)) {
    if (accesses.length === 0) continue;
    const numbers = accesses.filter(isNumber);
    const parts = partsOf(slot, accesses);
    for (const part of parts) for (const access of part.accesses) noteSpace(part, access);
    for (const part of parts) {
      const isCovered = (store: SlotAccess) => store.offset < part.end && part.start < store.offset + store.width;
      for (const store of numbers.filter(isCovered)) noteSpace(part, store);
    }
    const found = parts.filter((part) => isPromotable(part, numbers));
    if (found.length > 0) promoted.set(slot, found);
  }
  if (promoted.size === 0) return false;
  new Promotion(editor, promoted).run();
  editor.settle();
  return true;
}
