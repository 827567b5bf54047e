/**
 * Room `bpf`: what may be assumed of a value when it is simplified. Values that the verifier must bound (offsets into packets and
 * values, sizes given to helpers) are watched: about them nothing is assumed that the verifier would not find out, and no condition
 * is moved from them to another value.
 *
 * A newcomer would get wrong: `if (zext(x) < 10) use(p + zext(x))` must not become a comparison of x. The program means the same,
 * and the verifier no longer sees that the offset is bounded.
 */
import { type IrFunction, operandsOf, type Value } from '../ir.ts';
import { findCounters, largestOf } from './counters.ts';
import { KnownBits } from './known-bits.ts';

/** Adds a value, and what it is computed from, to the watched ones. */
function watch(watched: Set<Value>, first: Value): void {
  const open = [first];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (value.space !== 'scalar' || watched.has(value)) continue;
    watched.add(value);
    if (value.kind === 'binary' || value.kind === 'unary' || value.kind === 'phi') open.push(...operandsOf(value));
  }
}

/** Offsets of pointers and arguments of calls, and what they are computed from. */
function watchedIn(irFunction: IrFunction): Set<Value> {
  const watched = new Set<Value>();
  for (const block of irFunction.blocks) {
    for (const operation of block.operations) {
      const isArithmetic = operation.kind === 'binary' && operation.space !== 'scalar';
      if (!isArithmetic && operation.kind !== 'call') continue;
      for (const operand of operandsOf(operation)) watch(watched, operand);
    }
  }
  return watched;
}

/** Knowledge about a function's values, for one pass. */
export class Knowledge {
  readonly #watched: Set<Value>;
  readonly #arithmetic: KnownBits;
  readonly #verifiers: KnownBits;

  constructor(irFunction: IrFunction) {
    this.#watched = watchedIn(irFunction);
    const largest = new Map<Value, bigint>();
    for (const counter of findCounters(irFunction)) {
      const most = largestOf(counter);
      // The sum is what the counter is in the next turn.
      if (most !== null) largest.set(counter.phi, most).set(counter.sum, most);
    }
    this.#arithmetic = new KnownBits(false, largest);
    // The verifier goes through every turn of a loop with the numbers of that turn.
    this.#verifiers = new KnownBits(true, largest);
  }

  /** Whether the verifier must bound it. */
  isWatched(value: Value): boolean {
    return value.kind !== 'constant' && this.#watched.has(value);
  }

  /** What stands in a watched value's place is watched. */
  inherit(from: Value, to: Value): void {
    if (this.#watched.has(from)) watch(this.#watched, to);
  }

  /** The bits known of a value, seen from `user`, which would change for them. */
  bits(user: Value): KnownBits {
    return this.#watched.has(user) ? this.#verifiers : this.#arithmetic;
  }

  /** What is known about a condition's operands. */
  ofCondition(left: Value, right: Value): KnownBits {
    return this.isWatched(left) || this.isWatched(right) ? this.#verifiers : this.#arithmetic;
  }
}
