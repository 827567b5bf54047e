/**
 * Room `bpf`: whether an access may be made wider at a place. The stack is always checked for alignment (kernel/bpf/verifier.c,
 * check_ptr_alignment); packets never on machines that read unaligned words, and wider accesses elsewhere keep to what a C
 * compiler would emit.
 *
 * A newcomer would get wrong: the slot's alignment may be raised instead, because where it lies in the frame is not yet decided.
 */
import type { IrFunction, StackAddress, StackSlot, Value, Width } from '../ir.ts';
import type { Editor } from './editor.ts';

/** The widest access that a slot of so many bytes can be aligned for. */
function alignmentMax(slot: StackSlot): number {
  if (slot.bytes >= 8) return 8;
  return slot.bytes >= 4 ? 4 : slot.bytes >= 2 ? 2 : 1;
}

/** Alignments that a pass wants of slots. */
export class Alignments {
  readonly #wanted = new Map<StackSlot, Width>();

  /** Whether an access of `width` bytes at `address + offset` is allowed, perhaps after {@link want}. */
  allows(address: Value, offset: number, width: Width): boolean {
    switch (address.space) {
      case 'packet':
        return true;
      case 'stack':
        return address.kind === 'stackAddress' && offset % width === 0 && alignmentMax(address.slot) >= width;
      case 'mapValue':
      case 'global':
      case 'memory':
        return address.kind !== 'binary' && offset % width === 0;
      default:
        return false;
    }
  }

  /** Notes that an access was made that wide. */
  want(address: Value, width: Width): void {
    if (address.kind !== 'stackAddress' || address.slot.alignment >= width) return;
    const before = this.#wanted.get(address.slot) ?? 1;
    if (before < width) this.#wanted.set(address.slot, width);
  }

  /** Puts slots with the wanted alignment in the place of the others. */
  settle(editor: Editor): void {
    if (this.#wanted.size === 0) return;
    const raised = new Map<StackSlot, StackSlot>();
    for (const [slot, alignment] of this.#wanted) raised.set(slot, { ...slot, alignment });
    const target: IrFunction = editor.function;
    target.slots = target.slots.map((slot) => raised.get(slot) ?? slot);
    for (const block of target.blocks) {
      block.operations = block.operations.map((operation) => {
        const slot = operation.kind === 'stackAddress' ? raised.get(operation.slot) : undefined;
        if (slot === undefined) return operation;
        const address: StackAddress = { ...editor.copy(operation as StackAddress), slot };
        editor.replace(operation, address);
        return address;
      });
    }
  }
}
