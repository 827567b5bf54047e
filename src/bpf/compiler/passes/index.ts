/**
 * Room `bpf`: the optimiser: which passes run over a function, in which order. Each pass is a file of its own and leaves a whole
 * function behind; leaving all of them out gives a slower program that does the same, which the verifier may not understand.
 *
 * A newcomer would get wrong: the verifier is a reader of the result, too. What a pass may not do is written at the passes: no
 * check on another value than the one used, no other shape of pointer arithmetic, no other access to a context.
 */
import type { IrFunction, IrModule } from '../ir.ts';
import { tidyControlFlow } from './control-flow.ts';
import { removeDeadCode, removeUnusedSlots } from './dead-code.ts';
import { removeDeadStores } from './dead-stores.ts';
import { removeUnseenBits } from './demanded-bits.ts';
import { Editor } from './editor.ts';
import { hoistInvariants } from './loop-invariants.ts';
import { mergeChecks } from './merge-checks.ts';
import { mergeCopies } from './merge-copies.ts';
import { mergeLoads } from './merge-loads.ts';
import { mergeStores } from './merge-stores.ts';
import { removeOverwrittenStores } from './overwritten-stores.ts';
import { promoteSlots } from './promote-slots.ts';
import { sinkComputations } from './sink.ts';
import { threadJumps } from './thread-jumps.ts';
import { unrollLoops } from './unroll-loops.ts';
import { joinValues, simplifyValues } from './values.ts';

/** Rounds of the passes that give each other work. Most functions need two. */
const ROUNDS_MAX = 3;

/** Changes a function; whether it did. */
type Pass = (editor: Editor) => boolean;

/** The passes of a round. While one of the first list finds something there is another round. */
const finders: readonly Pass[] = [simplifyValues, removeUnseenBits, promoteSlots];
const cleaners: readonly Pass[] = [removeDeadStores, removeDeadCode, tidyControlFlow];
/** Once at the end: accesses are joined when the values are settled, and computations placed when nothing moves any more. */
const last: readonly Pass[] = [
  ...[
    mergeLoads,
    mergeCopies,
    removeOverwrittenStores,
    mergeStores,
    simplifyValues,
    removeUnseenBits,
    removeDeadStores,
  ],
  ...[hoistInvariants, sinkComputations, removeDeadCode, tidyControlFlow],
];

/** Called after each pass, with its name: for tests that hold every pass to the IR's rules. */
export type Observer = (irFunction: IrFunction, pass: string) => void;

function optimiseFunction(irFunction: IrFunction, observe: Observer): void {
  const editor = new Editor(irFunction);
  let changes = 0;
  /** How many changes there had been when a pass found nothing to do. As long as there is none more, there is nothing to find. */
  const settledAt = new Map<Pass, number>();
  const run = (pass: Pass): boolean => {
    if (settledAt.get(pass) === changes) return false;
    const isChanged = pass(editor);
    if (isChanged) changes++;
    else settledAt.set(pass, changes);
    observe(irFunction, pass.name);
    return isChanged;
  };
  observe(irFunction, 'Editor');
  run(tidyControlFlow);
  // Values that went through memory are the same values again before conditions are moved among them.
  run(joinValues);
  if (run(promoteSlots)) run(joinValues);
  run(removeDeadCode);
  run(tidyControlFlow);
  for (let round = 0; round < ROUNDS_MAX; round++) {
    // Each is run, whatever the ones before it did.
    const found = finders.map(run);
    cleaners.forEach(run);
    const isLed = run(threadJumps);
    const isMerged = run(mergeChecks);
    if (isLed || isMerged) run(tidyControlFlow);
    const isUnrolled = run(unrollLoops);
    if (!isLed && !isMerged && !isUnrolled && !found.includes(true)) break;
  }
  last.forEach(run);
  removeUnusedSlots(editor);
}

/**
 * The one thing that code wants which shall not be optimised otherwise: what is read or computed twice becomes one value. The verifier
 * knows of a value what was asked of it, and nothing of what lies in memory: `if (a.i < 4) list[a.i]` is safe to it only where both are
 * one load.
 */
export function joinReads(module: IrModule): void {
  for (const irFunction of module.functions) joinValues(new Editor(irFunction));
}

/** Makes the functions of a module smaller and faster, in place. */
export function optimise(module: IrModule, observe: Observer = () => undefined): void {
  for (const irFunction of module.functions) optimiseFunction(irFunction, observe);
}
