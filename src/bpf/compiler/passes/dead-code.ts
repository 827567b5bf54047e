/**
 * Room `bpf`: takes out what nobody asks for: values without a use, stores into slots that are never read.
 *
 * A newcomer would get wrong: values are kept because something kept uses them, so two phis that only use each other fall away
 * together. Counting uses would keep them.
 */
import { forEachOperand, type Operation, type StackSlot, terminatorOperands, type Value } from '../ir.ts';
import { privateSlots } from './aliases.ts';
import type { Editor } from './editor.ts';

/** Private slots that no load or atomic step reads. */
function unreadSlots(editor: Editor): Set<StackSlot> {
  const unread = privateSlots(editor.function);
  for (const block of editor.function.blocks) {
    for (const operation of block.operations) {
      if (operation.kind !== 'load' && operation.kind !== 'atomic') continue;
      if (operation.address.kind === 'stackAddress') unread.delete(operation.address.slot);
    }
  }
  return unread;
}

function hasEffect(operation: Operation, unread: ReadonlySet<StackSlot>): boolean {
  switch (operation.kind) {
    case 'store':
      return operation.volatile || operation.address.kind !== 'stackAddress' || !unread.has(operation.address.slot);
    case 'atomic':
      return true;
    case 'call':
      return !operation.pure;
    case 'load':
      return operation.volatile;
    default:
      return false;
  }
}

/** Removes them. Whether anything was removed. */
export function removeDeadCode(editor: Editor): boolean {
  const { blocks } = editor.function;
  const unread = unreadSlots(editor);
  const alive = new Uint8Array(editor.function.nextId);
  const open: Value[] = [];
  const keep = (value: Value): void => {
    if (alive[value.id] !== 0) return;
    alive[value.id] = 1;
    open.push(value);
  };
  for (const block of blocks) {
    for (const operation of block.operations) if (hasEffect(operation, unread)) keep(operation);
    if (block.terminator !== null) terminatorOperands(block.terminator).forEach(keep);
  }
  for (let value = open.pop(); value !== undefined; value = open.pop()) forEachOperand(value, keep);
  let isChanged = false;
  for (const block of blocks) {
    const before = block.operations.length + block.phis.length;
    block.phis = block.phis.filter(({ id }) => alive[id] !== 0);
    block.operations = block.operations.filter((operation) => {
      if (alive[operation.id] !== 0) return true;
      if (operation.kind === 'constant') editor.forget(operation);
      return false;
    });
    if (block.operations.length + block.phis.length !== before) isChanged = true;
  }
  return isChanged;
}

/** Drops the slots that no operation names any more. */
export function removeUnusedSlots(editor: Editor): void {
  const used = new Set<StackSlot>();
  for (const block of editor.function.blocks) {
    for (const operation of block.operations) if (operation.kind === 'stackAddress') used.add(operation.slot);
  }
  editor.function.slots = editor.function.slots.filter((slot) => used.has(slot));
}
