/**
 * Room `bpf`: bytes that are loaded one by one and put together with shifts become one load, swapped where they stand in network byte
 * order: what a program writes to read a field at an odd place.
 *
 * A newcomer would get wrong: the wide load reads no byte that the narrow ones did not read, in the same block, so every check
 * before them is a check before it.
 */
import type { Binary, Block, Load, Operation, Unary, Value, Width } from '../ir.ts';
import { Aliases, isSameBase } from './aliases.ts';
import { Alignments } from './alignment.ts';
import type { Editor } from './editor.ts';

/** A load whose bytes stand from bit `shift` of the whole on. `isSwapped`: in network byte order. */
interface Leaf {
  readonly load: Load;
  readonly shift: number;
  readonly isSwapped: boolean;
}

const LEAVES_MAX = 8;

function loadOf(value: Value): Leaf | null {
  if (value.kind === 'unary' && value.operator === 'swap') {
    const inner = loadOf(value.operand);
    return inner !== null && inner.load.width === value.width && !inner.isSwapped
      ? { ...inner, isSwapped: true }
      : null;
  }
  if (value.kind !== 'load' || value.signed || value.volatile || value.relocation !== null) return null;
  return value.space === 'scalar' ? { load: value, shift: 0, isSwapped: false } : null;
}

/** The leaves of a tree of `or`, or null where something else hangs on it. */
function leavesOf(root: Binary): Leaf[] | null {
  const leaves: Leaf[] = [];
  const open: { readonly value: Value; readonly shift: number }[] = [{ value: root, shift: 0 }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value, shift } = next;
    const isJoin = value.kind === 'binary' && value.bits === root.bits;
    if (
      isJoin &&
      (value.operator === 'or' || value.operator === 'add' || value.operator === 'xor') &&
      value.space === 'scalar'
    ) {
      if (value !== root && value.operator !== root.operator) return null;
      open.push({ value: value.left, shift }, { value: value.right, shift });
    } else if (isJoin && value.operator === 'shl' && value.right.kind === 'constant') {
      open.push({ value: value.left, shift: shift + Number(value.right.value) });
    } else {
      const leaf = loadOf(value);
      if (leaf === null) return null;
      leaves.push({ ...leaf, shift: leaf.shift + shift });
    }
    if (leaves.length + open.length > LEAVES_MAX) return null;
  }
  return leaves.length < 2 ? null : leaves;
}

interface Whole {
  readonly offset: number;
  readonly width: Width;
  readonly isSwapped: boolean;
}

/** What the leaves are together: adjacent bytes in one order, each once. */
function wholeOf(leaves: readonly Leaf[], bits: number): Whole | null {
  const [{ load: first }] = leaves;
  if (!leaves.every(({ load }) => isSameBase(load.address, first.address))) return null;
  const bytes = leaves.reduce((sum, { load }) => sum + load.width, 0);
  if ((bytes !== 2 && bytes !== 4 && bytes !== 8) || bytes * 8 > bits) return null;
  const offset = Math.min(...leaves.map(({ load }) => load.offset));
  const seen = new Set(leaves.map(({ shift }) => shift));
  if (seen.size !== leaves.length) return null;
  const isLittle = leaves.every(
    ({ load, shift, isSwapped }) => !(isSwapped && load.width > 1) && shift === (load.offset - offset) * 8,
  );
  const isBig = leaves.every(
    ({ load, shift, isSwapped }) =>
      (isSwapped || load.width === 1) && shift === (offset + bytes - load.width - load.offset) * 8,
  );
  return isLittle || isBig ? { offset, width: bytes, isSwapped: !isLittle } : null;
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
    const at = new Map<Value, number>();
    for (const [index, operation] of block.operations.entries()) at.set(operation, index);
    const before = new Map<Operation, readonly Operation[]>();
    // From the last on: the root of a tree is met before the trees in it.
    for (let index = block.operations.length - 1; index >= 0; index--) {
      const root = block.operations[index];
      if (root.kind !== 'binary' || !['or', 'add', 'xor'].includes(root.operator) || root.space !== 'scalar') continue;
      const made = this.#merged(block, at, root);
      if (made === null) continue;
      before.set(root, made);
      this.#editor.replace(root, made[made.length - 1]);
    }
    if (before.size === 0) return;
    block.operations = block.operations.flatMap((operation) => before.get(operation) ?? [operation]);
    this.isChanged = true;
  }

  #merged(block: Block, at: ReadonlyMap<Value, number>, root: Binary): Operation[] | null {
    const leaves = leavesOf(root);
    const whole = leaves === null ? null : wholeOf(leaves, root.bits);
    if (leaves === null || whole === null) return null;
    const { offset, width, isSwapped } = whole;
    const [{ load: first }] = leaves;
    if (!this.alignments.allows(first.address, offset, width)) return null;
    const end = at.get(root)!;
    const start = Math.min(...leaves.map(({ load }) => at.get(load) ?? -1));
    if (start === -1) return null;
    for (let index = start; index < end; index++) {
      const written = this.#aliases.written(block.operations[index]);
      if ((written & this.#aliases.memoryOf(first.address)) !== 0) return null;
    }
    const load: Load = { ...this.#editor.copy(first), width, offset, location: root.location, name: root.name };
    this.alignments.want(first.address, width);
    if (!isSwapped) return [load];
    const swap: Unary = this.#editor.unary('swap', width, load, root);
    return [load, swap];
  }
}

/** Merges them. Whether anything changed. */
export function mergeLoads(editor: Editor): boolean {
  const merging = new Merging(editor);
  for (const block of editor.function.blocks) merging.visit(block);
  merging.alignments.settle(editor);
  editor.settle();
  return merging.isChanged;
}
