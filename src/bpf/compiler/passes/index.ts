/**
 * Room `bpf`: the optimiser: which passes run over a function, in which order. Each pass is a file of its own and leaves a whole
 * function behind; leaving all of them out gives a slower program that does the same.
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
import { mergeCopies } from './merge-copies.ts';
import { mergeLoads } from './merge-loads.ts';
import { mergeStores } from './merge-stores.ts';
import { promoteSlots } from './promote-slots.ts';
import { sinkComputations } from './sink.ts';
import { threadJumps } from './thread-jumps.ts';
import { simplifyValues } from './values.ts';

/** Rounds of the passes that give each other work. Most functions need two. */
const ROUNDS_MAX = 4;

type Pass = (editor: Editor) => boolean;

const memory: readonly Pass[] = [promoteSlots, removeDeadStores, mergeLoads, mergeCopies, mergeStores];
const rounds: readonly Pass[] = [
  ...[simplifyValues, removeUnseenBits, ...memory, removeDeadCode],
  ...[tidyControlFlow, threadJumps, tidyControlFlow],
];
/** Once at the end: what they do would only be undone in between, or hide things from the others. */
const last: readonly Pass[] = [hoistInvariants, sinkComputations, removeDeadCode, tidyControlFlow];

function optimiseFunction(irFunction: IrFunction): void {
  const editor = new Editor(irFunction);
  tidyControlFlow(editor);
  for (let round = 0; round < ROUNDS_MAX; round++) {
    // Each is run, whatever the ones before it did.
    const changes = rounds.map((pass) => pass(editor));
    if (!changes.includes(true)) break;
  }
  for (const pass of last) pass(editor);
  removeUnusedSlots(editor);
}

/** Makes the functions of a module smaller and faster, in place. */
export function optimise(module: IrModule): void {
  for (const irFunction of module.functions) optimiseFunction(irFunction);
}
