/**
 * Room `bpf`: the counters of loops: a phi that begins with a number, gains a number in each turn, and is compared with a bound in
 * the loop's head. What is known of them saves an extension in each turn, and tells how often the loop runs.
 *
 * A newcomer would get wrong: the sum is only formed where the comparison held, and that is what keeps it from wrapping around.
 */
import { DominatorTree, type Loop, loopsOf } from '../dominators.ts';
import type { Binary, Block, Condition, IrFunction, Phi, Terminator, Value } from '../ir.ts';
import { evaluateBinary, evaluateCondition, evaluateUnary, opposite } from './evaluate.ts';

type Branch = Extract<Terminator, { kind: 'branch' }>;

/** A counter. `isInside` is the head's condition when the loop goes on. */
export interface Counter {
  readonly loop: Loop;
  readonly phi: Phi;
  readonly start: bigint;
  /** The sum, and the extension around it where there is one. */
  readonly sum: Binary;
  readonly next: Value;
  readonly end: Branch;
  readonly isInside: Condition;
}

const SIGNED_MOST = 0x7fff_ffffn;

function sumOf(next: Value, phi: Phi): Binary | null {
  const isExtension =
    next.kind === 'unary' && next.width === 4 && (next.operator === 'sext' || next.operator === 'zext');
  const sum = isExtension ? next.operand : next;
  if (sum.kind !== 'binary' || sum.operator !== 'add' || sum.space !== 'scalar' || sum.left !== phi) return null;
  return sum.right.kind === 'constant' ? sum : null;
}

/** Whether a block looks like the head of a loop with a counter, which is seen without a tree. Most functions have none. */
function mayCount(block: Block): boolean {
  const end = block.terminator;
  if (block.predecessors.length !== 2 || end?.kind !== 'branch') return false;
  const phi = end.left;
  if (phi.kind !== 'phi' || phi.block !== block) return false;
  const [first, second] = phi.inputs;
  if (first.kind === 'constant') return sumOf(second, phi) !== null;
  return second.kind === 'constant' && sumOf(first, phi) !== null;
}

function counterOf(loop: Loop, phi: Phi, end: Branch, isInside: Condition): Counter | null {
  const [first, second] = phi.inputs;
  const isFirstOuter = !loop.blocks.has(phi.block.predecessors[0]);
  const [outer, next] = isFirstOuter ? [first, second] : [second, first];
  if (outer.kind !== 'constant') return null;
  const sum = sumOf(next, phi);
  return sum === null ? null : { loop, phi, start: outer.value, sum, next, end, isInside };
}

/** The counters of a loop with one way in and one way back. */
function countersOf(loop: Loop): Counter[] {
  const { head } = loop;
  const end = head.terminator;
  if (end?.kind !== 'branch' || head.predecessors.length !== 2 || loop.latches.length !== 1) return [];
  const staysOn = (block: Block): boolean => loop.blocks.has(block);
  if (staysOn(end.whenTrue) === staysOn(end.whenFalse)) return [];
  const isInside = staysOn(end.whenTrue) ? end.condition : opposite[end.condition];
  const { left } = end;
  if (isInside === null || left.kind !== 'phi' || left.block !== head) return [];
  const counter = counterOf(loop, left, end, isInside);
  return counter === null ? [] : [counter];
}

/** The counters of a function's loops. */
export function findCounters(irFunction: IrFunction): Counter[] {
  if (!irFunction.blocks.some(mayCount)) return [];
  return loopsOf(new DominatorTree(irFunction)).flatMap(countersOf);
}

/** The largest value of a counter that is never negative; null where that is not known. */
export function largestOf({ phi, start, sum, end, isInside }: Counter): bigint | null {
  const step = sum.right.kind === 'constant' ? sum.right.value : 0n;
  if (start < 0n || start > SIGNED_MOST || step <= 0n || step > SIGNED_MOST || end.left !== phi) return null;
  const isStrict = isInside === 'slt' || isInside === 'ult';
  if (!isStrict && isInside !== 'sle' && isInside !== 'ule') return null;
  if (end.right.kind !== 'constant') {
    // Less than a signed number of 32 bits, so one more is such a number still.
    return isInside === 'slt' && end.bits === 32 && step === 1n ? SIGNED_MOST : null;
  }
  const bound = end.right.value;
  if (bound < 0n || bound + step > SIGNED_MOST) return null;
  const most = bound + step - (isStrict ? 1n : 0n);
  return most > start ? most : start;
}

/** How often the body of a counter's loop runs if nothing else ends it; null for more than `most` times. */
export function turnsOf({ phi, start, sum, next, end, isInside }: Counter, most: number): number | null {
  if (end.right.kind !== 'constant' || end.left !== phi || sum.right.kind !== 'constant') return null;
  let value = start;
  for (let turns = 0; turns <= most; turns++) {
    if (!evaluateCondition(isInside, end.bits, value, end.right.value)) return turns;
    value = evaluateBinary('add', sum.bits, value, sum.right.value);
    if (next.kind === 'unary') value = evaluateUnary(next.operator, next.width, value);
  }
  return null;
}
