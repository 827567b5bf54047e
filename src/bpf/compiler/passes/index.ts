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
import { mergeCopies } from './merge-copies.ts';
import { mergeStores } from './merge-stores.ts';
import { promoteSlots } from './promote-slots.ts';
import { threadJumps } from './thread-jumps.ts';
import { simplifyValues } from './values.ts';

/** Rounds of the passes that give each other work. Most functions need two. */
const ROUNDS_MAX = 4;

function optimiseFunction(irFunction: IrFunction): void {
  const editor = new Editor(irFunction);
  tidyControlFlow(editor);
  for (let round = 0; round < ROUNDS_MAX; round++) {
    let isChanged = simplifyValues(editor);
    if (removeUnseenBits(editor)) isChanged = true;
    if (promoteSlots(editor)) isChanged = true;
    if (removeDeadStores(editor)) isChanged = true;
    if (mergeCopies(editor)) isChanged = true;
    if (mergeStores(editor)) isChanged = true;
    if (removeDeadCode(editor)) isChanged = true;
    if (tidyControlFlow(editor)) isChanged = true;
    if (threadJumps(editor)) isChanged = true;
    if (tidyControlFlow(editor)) isChanged = true;
    if (!isChanged) break;
  }
  removeDeadCode(editor);
  removeUnusedSlots(editor);
}

/** Makes the functions of a module smaller and faster, in place. */
export function optimise(module: IrModule): void {
  for (const irFunction of module.functions) optimiseFunction(irFunction);
}
