/**
 * Room `bpf`: what may be assumed of a value when it is simplified. Values that the verifier must bound (offsets into packets and
 * values, sizes given to helpers) are watched: about them nothing is assumed that the verifier would not find out, and no condition
 * is moved from them to another value.
 *
 * A newcomer would get wrong: `if (zext(x) < 10) use(p + zext(x))` must not become a comparison of x. The program means the same,
 * and the verifier no longer sees that the offset is bounded.
 */
import { forEachOperand, type IrFunction, operandsOf, type Value } from '../ir.ts';
import { findCounters, largestOf } from './counters.ts';
import { KnownBits } from './known-bits.ts';
import { ValueMap } from './value-map.ts';

/** Adds a value, and what it is computed from, to the watched ones. */
function watch(watched: ValueMap<true>, first: Value): void {
  const open = [first];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (value.space !== 'scalar' || watched.get(value)) continue;
    watched.set(value, true);
    if (value.kind === 'binary' || value.kind === 'unary' || value.kind === 'phi') open.push(...operandsOf(value));
  }
}

/** Offsets of pointers and arguments of calls, and what they are computed from. */
function watchedIn(irFunction: IrFunction): ValueMap<true> {
  const watched = new ValueMap<true>(irFunction);
  for (const block of irFunction.blocks) {
    for (const operation of block.operations) {
      const isArithmetic = operation.kind === 'binary' && operation.space !== 'scalar';
      if (!isArithmetic && operation.kind !== 'call') continue;
      forEachOperand(operation, (operand) => watch(watched, operand));
    }
  }
  return watched;
}

/** Knowledge about a function's values, for one pass. */
export class Knowledge {
  readonly #watched: ValueMap<true>;
  readonly #arithmetic: KnownBits;
  readonly #verifiers: KnownBits;

  constructor(irFunction: IrFunction) {
    this.#watched = watchedIn(irFunction);
    const largest = new ValueMap<bigint>(irFunction);
    for (const counter of findCounters(irFunction)) {
      const most = largestOf(counter);
      // The sum is what the counter is in the next turn.
      if (most === null) continue;
      largest.set(counter.phi, most);
      largest.set(counter.sum, most);
    }
    this.#arithmetic = new KnownBits(irFunction, false, largest);
    // The verifier goes through every turn of a loop with the numbers of that turn.
    this.#verifiers = new KnownBits(irFunction, true, largest);
  }

  /** Whether the verifier must bound it. */
  isWatched(value: Value): boolean {
    return value.kind !== 'constant' && this.#watched.get(value) === true;
  }

  /** What stands in a watched value's place is watched. */
  inherit(from: Value, to: Value): void {
    if (this.#watched.get(from)) watch(this.#watched, to);
  }

  /** The bits known of a value, seen from `user`, which would change for them. */
  bits(user: Value): KnownBits {
    return this.#watched.get(user) ? this.#verifiers : this.#arithmetic;
  }

  /** What is known about a condition's operands. */
  ofCondition(left: Value, right: Value): KnownBits {
    return this.isWatched(left) || this.isWatched(right) ? this.#verifiers : this.#arithmetic;
  }
}
