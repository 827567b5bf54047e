/**
 * Room `bpf`: the stack: where slots lie in a frame, and whether frames of functions that call each other fit.
 *
 * A newcomer would get wrong: the kernel allows 512 bytes for a whole chain of calls, not for each function, and rounds each frame up
 * to 32 bytes (check_max_stack_depth in kernel/bpf/verifier.c; newer kernels with a JIT to 16).
 */
import type { IrFunction, IrModule, StackSlot } from '../ir.ts';
import { BackEndError } from './error.ts';

/** MAX_BPF_STACK. */
export const STACK_BYTES_MAX = 512;
const FRAME_ROUNDING = 32;

/** Offsets from r10 of a function's slots, and bytes in use. Large ones lie farthest: spilled values come below all. */
export interface StackLayout {
  readonly offsets: ReadonlyMap<StackSlot, number>;
  readonly bytes: number;
}

/** Gives the slots in `used` their places. */
export function layOutStack(slots: readonly StackSlot[], used: ReadonlySet<StackSlot>): StackLayout {
  const offsets = new Map<StackSlot, number>();
  let bytes = 0;
  const sorted = slots.filter((slot) => used.has(slot)).sort((a, b) => a.alignment - b.alignment || a.id - b.id);
  for (const slot of sorted) {
    // r10 is a multiple of 8, so a multiple below it is aligned.
    bytes = Math.ceil((bytes + slot.bytes) / slot.alignment) * slot.alignment;
    offsets.set(slot, -bytes);
  }
  return { offsets, bytes };
}

/** Functions of the module that a function calls, or gives to a helper that calls them on top of its frame. */
function calledBy(target: IrFunction): Set<string> {
  const called = new Set<string>();
  for (const { operations } of target.blocks) {
    for (const value of operations) {
      if (value.kind === 'functionAddress') called.add(value.function);
      else if (value.kind === 'call' && value.target.kind === 'function') called.add(value.target.name);
    }
  }
  return called;
}

/**
 * Sees that every chain of calls fits.
 * @throws BackEndError that names the chain with the bytes of each function, and for functions that call themselves
 */
export function checkStack(module: IrModule, bytesOf: (name: string) => number): void {
  const functions = new Map(module.functions.map((target) => [target.name, target]));
  const deepest = new Map<string, { readonly bytes: number; readonly chain: readonly string[] }>();
  const visit = (name: string, path: readonly string[]): { bytes: number; chain: readonly string[] } => {
    const known = deepest.get(name);
    if (known !== undefined) return known;
    const target = functions.get(name);
    if (target === undefined)
      throw new BackEndError(path.at(-1) ?? name, null, `calls ${name}, which is nowhere defined`);
    if (path.includes(name)) {
      throw new BackEndError(
        name,
        target.location,
        `calls itself (${[...path, name].join(' → ')}): eBPF has no recursion`,
      );
    }
    let below: { bytes: number; chain: readonly string[] } = { bytes: 0, chain: [] };
    for (const callee of calledBy(target)) {
      const found = visit(callee, [...path, name]);
      if (found.bytes > below.bytes) below = found;
    }
    const own = bytesOf(name);
    const bytes = Math.ceil(Math.max(own, 1) / FRAME_ROUNDING) * FRAME_ROUNDING + below.bytes;
    const found = { bytes, chain: [`${name} (${own} bytes)`, ...below.chain] };
    deepest.set(name, found);
    return found;
  };
  for (const { name, location } of module.functions) {
    const { bytes, chain } = visit(name, []);
    if (bytes <= STACK_BYTES_MAX) continue;
    const what =
      chain.length === 1
        ? `needs ${bytesOf(name)} bytes of stack`
        : `needs ${bytes} bytes of stack with what it calls: ${chain.join(' → ')}, each rounded up to ${FRAME_ROUNDING}`;
    throw new BackEndError(name, location, `${what}; ${STACK_BYTES_MAX} are allowed`);
  }
}
