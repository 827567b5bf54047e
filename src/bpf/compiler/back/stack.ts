/**
 * Room `bpf`: the stack: where slots lie in a frame, and whether frames of functions that call each other fit.
 *
 * A newcomer would get wrong: the kernel allows 512 bytes for a whole chain of calls, not for each function, and rounds each frame up
 * to 32 bytes (check_max_stack_depth in kernel/bpf/verifier.c; newer kernels with a JIT to 16).
 */
import type { IrFunction, IrModule, StackSlot } from '../ir.ts';
import { BackEndError } from './error.ts';

/** MAX_BPF_STACK. */
const STACK_BYTES_MAX = 512;
const FRAME_ROUNDING = 32;
/** MAX_CALL_FRAMES: functions that may be on the stack at once. */
const FRAMES_MAX = 8;

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

/** The most that is on the stack while a function runs: itself and what it calls. */
interface Depth {
  readonly bytes: number;
  /** Functions with their bytes along the way that takes the most bytes. */
  readonly chain: readonly string[];
  readonly frames: number;
}

/**
 * Sees that every chain of calls fits, in bytes and in number.
 * @throws BackEndError that names the chain with the bytes of each function; also for recursion, and for calls to nowhere
 */
export function checkStack(module: IrModule, bytesOf: (name: string) => number): void {
  const functions = new Map(module.functions.map((target) => [target.name, target]));
  const depths = new Map<string, Depth>();
  for (const target of module.functions) {
    const { bytes, chain, frames } = measure(target, { functions, depths, bytesOf }, []);
    if (bytes > STACK_BYTES_MAX) {
      const what =
        chain.length === 1
          ? `needs ${bytesOf(target.name)} bytes of stack`
          : `needs ${bytes} bytes of stack with what it calls: ${chain.join(' → ')}, each rounded up to ${FRAME_ROUNDING}`;
      throw new BackEndError(target.name, target.location, `${what}; ${STACK_BYTES_MAX} are allowed`);
    }
    if (frames <= FRAMES_MAX) continue;
    const problem = `calls functions that call others, ${frames} deep with itself; ${FRAMES_MAX} are allowed`;
    throw new BackEndError(target.name, target.location, problem);
  }
}

interface Survey {
  readonly functions: ReadonlyMap<string, IrFunction>;
  readonly depths: Map<string, Depth>;
  readonly bytesOf: (name: string) => number;
}

function measure(target: IrFunction, survey: Survey, path: readonly string[]): Depth {
  const { name, location } = target;
  const known = survey.depths.get(name);
  if (known !== undefined) return known;
  const here = [...path, name];
  if (path.includes(name)) {
    throw new BackEndError(name, location, `calls itself (${here.join(' → ')}): eBPF has no recursion`);
  }
  const below = [...calledBy(target)].map((callee) => {
    const found = survey.functions.get(callee);
    if (found === undefined) throw new BackEndError(name, location, `calls ${callee}, which is nowhere defined`);
    return measure(found, survey, here);
  });
  const deepest = below.reduce<Depth | null>(
    (most, one) => (most === null || one.bytes > most.bytes ? one : most),
    null,
  );
  const own = survey.bytesOf(name);
  const depth: Depth = {
    bytes: Math.ceil(Math.max(own, 1) / FRAME_ROUNDING) * FRAME_ROUNDING + (deepest?.bytes ?? 0),
    chain: [`${name} (${own} bytes)`, ...(deepest?.chain ?? [])],
    frames: 1 + Math.max(0, ...below.map(({ frames }) => frames)),
  };
  survey.depths.set(name, depth);
  return depth;
}
