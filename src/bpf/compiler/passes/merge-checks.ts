/**
 * Room `bpf`: checks of the packet's end that follow each other, and fail to the same place, become the farthest one: a program that
 * asks for three headers in a row and only then looks at them needs one comparison.
 *
 * A newcomer would get wrong: nothing may happen between the checks. Where a header is looked at before the next is asked for, a
 * packet that ends early must still be seen up to there.
 */
import type { Block, Operation, Terminator, Value } from '../ir.ts';
import { type Editor, removeEdge } from './editor.ts';
import { opposite } from './evaluate.ts';

type Branch = Extract<Terminator, { kind: 'branch' }>;

/** A branch on whether `bytes` behind `start` are before the packet's end. */
interface Check {
  readonly end: Branch;
  readonly start: Value;
  readonly bytes: bigint;
  readonly packetEnd: Value;
  readonly passed: Block;
  readonly failed: Block;
}

function checkOf(block: Block): Check | null {
  const end = block.terminator;
  if (end?.kind !== 'branch' || end.bits !== 64 || end.right.space !== 'packetEnd' || end.left.space !== 'packet') {
    return null;
  }
  const isPassedWhenTrue = end.condition === 'ule';
  if (!isPassedWhenTrue && opposite[end.condition] !== 'ule') return null;
  const { left } = end;
  const isSum = left.kind === 'binary' && left.operator === 'add' && left.right.kind === 'constant';
  return {
    end,
    start: isSum ? left.left : left,
    bytes: isSum && left.right.kind === 'constant' ? left.right.value : 0n,
    packetEnd: end.right,
    passed: isPassedWhenTrue ? end.whenTrue : end.whenFalse,
    failed: isPassedWhenTrue ? end.whenFalse : end.whenTrue,
  };
}

/** What neither fails nor is seen from outside. */
function isSilent({ kind }: Operation): boolean {
  return kind === 'binary' || kind === 'unary' || kind === 'compare' || kind === 'constant' || kind.endsWith('Address');
}

/** Whether a failure of either check goes the same way. */
function failAlike(first: Block, second: Block, failed: Block): boolean {
  const [a, b] = [failed.predecessors.indexOf(first), failed.predecessors.indexOf(second)];
  return failed.phis.every((phi) => phi.inputs[a] === phi.inputs[b]);
}

function mergeAt(editor: Editor, block: Block): boolean {
  const first = checkOf(block);
  if (first === null || first.passed === first.failed || first.passed.predecessors.length !== 1) return false;
  const next = first.passed;
  const second = checkOf(next);
  if (second === null || next.phis.length > 0 || second.failed !== first.failed) return false;
  if (second.start !== first.start || second.packetEnd !== first.packetEnd) return false;
  if (!next.operations.every(isSilent) || !failAlike(block, next, first.failed)) return false;
  if (second.bytes > first.bytes) {
    const bytes = editor.constant(second.bytes);
    const behind = editor.binary('add', 64, first.start, bytes, second.end.left, 'packet');
    block.operations.push(behind);
    first.end.left = behind;
  }
  next.terminator = { kind: 'jump', location: second.end.location, target: second.passed };
  removeEdge(second.failed, next);
  return true;
}

/** Merges them, the last ones first, so that a chain becomes one. Whether anything changed. */
export function mergeChecks(editor: Editor): boolean {
  let isChanged = false;
  for (const block of [...editor.function.blocks].reverse()) {
    while (mergeAt(editor, block)) isChanged = true;
  }
  editor.settle();
  return isChanged;
}
