/**
 * Room `bpf`: stores to packets, values and other shared memory that a later store of the same block overwrites before anybody could
 * look: bit fields that are set one after the other, checksums that are cleared first.
 *
 * A newcomer would get wrong: at the end of a block everything counts as seen, and so it does at every call.
 */
import type { Block, Operation, Store } from '../ir.ts';
import { Aliases, isSameBase } from './aliases.ts';
import type { Editor } from './editor.ts';

/** Later stores that are remembered at a time. */
const LATER_MAX = 16;

function covers(later: Store, { address, offset, width }: Store): boolean {
  return isSameBase(later.address, address) && later.offset <= offset && offset + width <= later.offset + later.width;
}

function visit(block: Block, aliases: Aliases): boolean {
  let later: Store[] = [];
  const kept: Operation[] = [];
  for (let index = block.operations.length - 1; index >= 0; index--) {
    const operation = block.operations[index];
    if (operation.kind === 'call') later = [];
    if (operation.kind === 'load' || operation.kind === 'atomic') {
      later = later.filter((store) => !aliases.mayTouch(store, operation));
    }
    if (operation.kind === 'store' && !operation.volatile && operation.relocation === null) {
      if (later.some((store) => covers(store, operation))) continue;
      if (later.length >= LATER_MAX) later.shift();
      later.push(operation);
    }
    kept.push(operation);
  }
  if (kept.length === block.operations.length) return false;
  block.operations = kept.reverse();
  return true;
}

/** Removes them. Whether anything changed. */
export function removeOverwrittenStores(editor: Editor): boolean {
  const aliases = new Aliases(editor.function);
  let isChanged = false;
  for (const block of editor.function.blocks) if (visit(block, aliases)) isChanged = true;
  return isChanged;
}
