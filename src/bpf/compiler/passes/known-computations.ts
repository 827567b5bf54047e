/**
 * Room `bpf`: which computations are known at a point of the walk over the dominator tree, found by what they compute.
 *
 * A newcomer would get wrong: what a block teaches holds in the blocks below it only. So entries are taken back in the opposite order, and
 * the newest of equal ones is the one that is found.
 */
import type { Condition, Operation, Value } from '../ir.ts';
import { mirrored } from './evaluate.ts';
import { isCommutative } from './simplify-binary.ts';
import type { Test } from './simplify-condition.ts';

/** What is computed, as numbers, because it is asked of every operation in every pass: equal computations have equal keys. */
export interface Key {
  readonly code: number;
  readonly a: number;
  readonly b: number;
}

export interface Known extends Key {
  readonly value: Value;
  /** How deep in the tree it is computed; 0 for what is computed nowhere. */
  readonly depth: number;
  /** The one before in the same place of the table. */
  readonly next: Known | null;
}

const names = [
  ...['add', 'sub', 'mul', 'udiv', 'sdiv', 'umod', 'smod', 'and', 'or', 'xor', 'shl', 'lshr', 'ashr'],
  ...['neg', 'sext', 'zext', 'swap'],
  ...['eq', 'ne', 'ult', 'ule', 'ugt', 'uge', 'slt', 'sle', 'sgt', 'sge', 'test'],
] as const;
/** Room for the widths in bytes below each operator. */
const codes = Object.fromEntries(names.map((name, index) => [name, (index + 1) * 16])) as Readonly<
  Record<(typeof names)[number], number>
>;
const SLOT = 1;
const TEXT = 2;
const CAST = { user: 3, kernel: 4 } as const;

export function keyOfCondition({
  condition,
  bits,
  left,
  right,
}: Pick<Test, 'condition' | 'bits' | 'left' | 'right'>): Key {
  const isInOrder = left.id <= right.id;
  const form: Condition = isInOrder ? condition : mirrored[condition];
  return { code: codes[form] + bits / 8, a: isInOrder ? left.id : right.id, b: isInOrder ? right.id : left.id };
}

/** What is known along the walk. */
export class KnownComputations {
  readonly #table: (Known | null)[];
  readonly #entries: Known[] = [];
  readonly #texts = new Map<string, number>();

  /** `values`: about how many there will be. */
  constructor(values: number) {
    this.#table = new Array<Known | null>(1 << (32 - Math.clz32(values | 32))).fill(null);
  }

  /** The key of a computation; null for what is not looked up. */
  keyOf(operation: Operation): Key | null {
    switch (operation.kind) {
      case 'binary': {
        const { operator, bits, left, right } = operation;
        const isSwapped = isCommutative(operator) && right.kind !== 'constant' && left.id > right.id;
        const [a, b] = isSwapped ? [right.id, left.id] : [left.id, right.id];
        return { code: codes[operator] + bits / 8, a, b };
      }
      case 'unary':
        return { code: codes[operation.operator] + operation.width, a: operation.operand.id, b: 0 };
      case 'compare':
        return keyOfCondition(operation);
      case 'stackAddress':
        return { code: SLOT, a: operation.slot.id, b: 0 };
      case 'mapAddress':
        return this.#keyOfText(`map ${operation.map}`);
      case 'dataAddress':
        return this.#keyOfText(`data ${operation.section} ${operation.symbol} ${operation.offset}`);
      case 'functionAddress':
        return this.#keyOfText(`function ${operation.function}`);
      case 'addressCast':
        return { code: CAST[operation.to], a: operation.operand.id, b: 0 };
      default:
        return null;
    }
  }

  #keyOfText(text: string): Key {
    const known = this.#texts.get(text) ?? this.#texts.size;
    this.#texts.set(text, known);
    return { code: TEXT, a: known, b: 0 };
  }

  #placeOf({ code, a, b }: Key): number {
    const mixed = Math.imul(Math.imul(a, 0x9e37_79b1) ^ b, 0x85eb_ca6b) ^ code;
    return (mixed ^ (mixed >>> 15)) & (this.#table.length - 1);
  }

  find(key: Key): Known | null {
    const { code, a, b } = key;
    let known = this.#table[this.#placeOf(key)];
    while (known !== null && (known.a !== a || known.b !== b || known.code !== code)) known = known.next;
    return known;
  }

  learn(key: Key, value: Value, depth: number): void {
    const { code, a, b } = key;
    const place = this.#placeOf(key);
    const known = { code, a, b, value, depth, next: this.#table[place] };
    this.#table[place] = known;
    this.#entries.push(known);
  }

  /** What {@link forget} gets to go back to here. */
  get mark(): number {
    return this.#entries.length;
  }

  /** Takes back what has been learnt since. */
  forget(mark: number): void {
    while (this.#entries.length > mark) {
      const known = this.#entries.pop()!;
      this.#table[this.#placeOf(known)] = known.next;
    }
  }
}
