/**
 * Random programs of the compiler's IR as lists of statements: arithmetic of all widths, branches, `&&`, bounded loops, structs on the
 * stack, values of maps and bytes of the packet, calls of helpers. `bpf-program-generator.ts` builds the IR.
 *
 * A newcomer would get wrong: statements instead of IR are what makes a failing program small: one is left out, and what remains is
 * still a program.
 */
import type { BinaryOperator, Bits, Condition, Width } from '../../src/bpf/compiler/ir.ts';
import type { RandomSource } from './random.ts';

export const VARIABLES = 5;
/** The maps that programs use: `values` is looked up and updated, `results` takes the variables at the end. */
export const VALUES = { name: 'values', valueBytes: 24, entries: 3 } as const;
export const RESULTS = { name: 'results', valueBytes: VARIABLES * 8, entries: 1 } as const;

export type Operand = { readonly variable: number } | { readonly number: bigint };
export interface Question {
  readonly condition: Condition;
  readonly bits: Bits;
  readonly left: Operand;
  readonly right: Operand;
}

/** A read or a write at a constant offset of something. */
export interface Access {
  readonly kind: 'read' | 'write' | 'add';
  readonly variable: Operand;
  readonly target: number;
  readonly offset: number;
  readonly width: Width;
  readonly signed: boolean;
  /** Swapped after a read, before a write, as network byte order is. */
  readonly swapped: boolean;
}

export type Statement =
  | {
      readonly kind: 'binary';
      readonly target: number;
      readonly operator: BinaryOperator;
      readonly bits: Bits;
      readonly left: Operand;
      readonly right: Operand;
      readonly extend: 'sext' | 'zext' | null;
    }
  | {
      readonly kind: 'unary';
      readonly target: number;
      readonly operator: 'neg' | 'sext' | 'zext' | 'swap';
      readonly width: Width;
      readonly operand: Operand;
    }
  | ({ readonly kind: 'compare'; readonly target: number } & Question)
  | {
      readonly kind: 'if';
      readonly question: Question;
      readonly body: readonly Statement[];
      readonly otherwise: readonly Statement[];
    }
  | {
      readonly kind: 'shortCircuit';
      readonly isAnd: boolean;
      readonly first: Question;
      readonly second: Question;
      readonly body: readonly Statement[];
    }
  | {
      readonly kind: 'loop';
      readonly count: number;
      readonly body: readonly Statement[];
      readonly leave: Question | null;
      readonly index: number;
    }
  | { readonly kind: 'slot'; readonly slot: number; readonly access: Access }
  | {
      readonly kind: 'slotByte';
      readonly slot: number;
      readonly isWrite: boolean;
      readonly index: Operand;
      readonly target: number;
    }
  | { readonly kind: 'copy'; readonly from: number; readonly to: number; readonly width: Width }
  | { readonly kind: 'clear'; readonly slot: number; readonly width: Width }
  | {
      readonly kind: 'lookup';
      readonly key: Operand;
      readonly accesses: readonly Access[];
      readonly body: readonly Statement[];
    }
  | {
      readonly kind: 'packet';
      readonly offset: number;
      readonly variable: Operand | null;
      readonly asPhi: boolean;
      readonly accesses: readonly Access[];
    }
  | {
      readonly kind: 'bytes';
      readonly offset: number;
      readonly count: 2 | 4 | 8;
      readonly isBig: boolean;
      readonly target: number;
    }
  | { readonly kind: 'checksum'; readonly slot: number; readonly target: number; readonly size: Operand | null }
  | {
      readonly kind: 'element';
      readonly index: Operand;
      readonly bits: Bits;
      readonly target: number;
      readonly isWrite: boolean;
      /** The offset is also computed before the check, for another use. */
      readonly isEarly: boolean;
      readonly plus: 0 | 1;
    }
  | { readonly kind: 'update'; readonly slot: number; readonly key: Operand }
  | { readonly kind: 'cut'; readonly bytes: number };

/** Structs on the stack, their bytes, and the bytes of the packet that one check makes readable. */
export const SLOTS = 2;
export const SLOT_BYTES = 24;
export const PACKET_WINDOW = 16;
export const widths: readonly Width[] = [1, 2, 4, 8];
const operators: readonly BinaryOperator[] = [
  ...(['add', 'add', 'add', 'sub', 'sub', 'mul', 'and', 'and', 'or', 'xor'] as const),
  ...(['udiv', 'sdiv', 'umod', 'smod', 'shl', 'lshr', 'ashr', 'shl', 'lshr'] as const),
];
const conditions: readonly Condition[] = ['eq', 'ne', 'ult', 'ule', 'ugt', 'uge', 'slt', 'sle', 'sgt', 'sge', 'test'];
const numbers = [
  0n,
  1n,
  -1n,
  2n,
  7n,
  8n,
  32n,
  0xffn,
  0xffffn,
  0x800n,
  0xffff_ffffn,
  0x8000_0000n,
  -0x8000_0000n,
  1n << 63n,
];

const pick = <Item>(random: RandomSource, items: readonly Item[]): Item => items[random.integer(items.length)];
const chance = (random: RandomSource, percent: number): boolean => random.integer(100) < percent;

/** Draws statements. */
class Drawing {
  readonly #random: RandomSource;
  #left: number;

  constructor(random: RandomSource, size: number) {
    this.#random = random;
    this.#left = size;
  }

  statements(depth: number): Statement[] {
    const made: Statement[] = [];
    const count = 1 + this.#random.integer(depth === 0 ? 16 : 4);
    for (let index = 0; index < count && this.#left > 0; index++) {
      this.#left--;
      made.push(this.#statement(depth));
    }
    return made;
  }

  #number(): bigint {
    const random = this.#random;
    if (chance(random, 50)) return pick(random, numbers);
    const low = BigInt(random.integer(4294967296));
    return chance(random, 70)
      ? BigInt.asIntN(16, low)
      : BigInt.asIntN(64, (low << 32n) | BigInt(random.integer(4294967296)));
  }

  #operand(): Operand {
    return chance(this.#random, 65) ? { variable: this.#random.integer(VARIABLES) } : { number: this.#number() };
  }

  #variable(): Operand {
    return { variable: this.#random.integer(VARIABLES) };
  }

  #question(): Question {
    const random = this.#random;
    return {
      condition: pick(random, conditions),
      bits: pick(random, [32, 64]),
      left: this.#variable(),
      right: this.#operand(),
    };
  }

  #access(bytes: number, isAligned: boolean, mayAdd: boolean): Access {
    const random = this.#random;
    const width = pick(random, widths);
    const steps = isAligned ? Math.floor(bytes / width) : bytes - width + 1;
    const offset = random.integer(steps) * (isAligned ? width : 1);
    const kind = mayAdd && chance(random, 15) ? 'add' : chance(random, 55) ? 'read' : 'write';
    const isAdd = kind === 'add';
    return {
      kind,
      variable: this.#operand(),
      target: random.integer(VARIABLES),
      offset: isAdd ? offset & ~7 : offset,
      width: isAdd ? 8 : width,
      signed: chance(random, 30),
      swapped: !isAdd && width > 1 && chance(random, 30),
    };
  }

  #accesses(bytes: number, isAligned: boolean, mayAdd: boolean): Access[] {
    return Array.from({ length: 1 + this.#random.integer(4) }, () => this.#access(bytes, isAligned, mayAdd));
  }

  #statement(depth: number): Statement {
    const random = this.#random;
    const target = random.integer(VARIABLES);
    const slot = random.integer(SLOTS);
    const kind = random.integer(depth >= 3 ? 60 : 100);
    if (kind < 22) {
      const bits = pick(random, [32, 64] as const);
      const extend = bits === 32 ? pick(random, ['sext', 'zext', null] as const) : null;
      return {
        kind: 'binary',
        target,
        operator: pick(random, operators),
        bits,
        left: this.#operand(),
        right: this.#operand(),
        extend,
      };
    }
    if (kind < 30) {
      const operator = pick(random, ['neg', 'sext', 'zext', 'swap'] as const);
      const width =
        operator === 'neg'
          ? pick(random, [4, 8] as const)
          : pick(random, operator === 'swap' ? ([2, 4, 8] as const) : widths);
      return { kind: 'unary', target, operator, width, operand: this.#variable() };
    }
    if (kind < 35) return { kind: 'compare', target, ...this.#question() };
    if (kind < 45) return { kind: 'slot', slot, access: this.#access(SLOT_BYTES, true, true) };
    if (kind < 47) return { kind: 'slotByte', slot, isWrite: chance(random, 50), index: this.#variable(), target };
    if (kind < 49) return { kind: 'copy', from: slot, to: random.integer(SLOTS), width: pick(random, widths) };
    if (kind < 51) return { kind: 'clear', slot, width: pick(random, widths) };
    if (kind < 54)
      return {
        kind: 'bytes',
        offset: random.integer(14),
        count: pick(random, [2, 4, 8] as const),
        isBig: chance(random, 50),
        target,
      };
    if (kind < 56) return { kind: 'checksum', slot, target, size: chance(random, 50) ? this.#variable() : null };
    if (kind < 58) return { kind: 'update', slot, key: this.#operand() };
    if (kind < 60) return { kind: 'cut', bytes: random.integer(3) };
    if (kind < 74)
      return {
        kind: 'if',
        question: this.#question(),
        body: this.statements(depth + 1),
        otherwise: chance(random, 50) ? this.statements(depth + 1) : [],
      };
    if (kind < 80)
      return {
        kind: 'shortCircuit',
        isAnd: chance(random, 50),
        first: this.#question(),
        second: this.#question(),
        body: this.statements(depth + 1),
      };
    if (kind < 85)
      return {
        kind: 'loop',
        count: 1 + random.integer(4),
        body: this.statements(depth + 2),
        leave: chance(random, 30) ? this.#question() : null,
        index: target,
      };
    if (kind < 88)
      return {
        kind: 'element',
        index: this.#variable(),
        bits: pick(random, [32, 64]),
        target,
        isWrite: chance(random, 40),
        isEarly: chance(random, 50),
        plus: pick(random, [0, 1] as const),
      };
    if (kind < 92)
      return {
        kind: 'lookup',
        key: this.#operand(),
        accesses: this.#accesses(VALUES.valueBytes, false, true),
        body: chance(random, 30) ? this.statements(depth + 2) : [],
      };
    return {
      kind: 'packet',
      offset: random.integer(20),
      variable: chance(random, 40) ? this.#variable() : null,
      asPhi: chance(random, 50),
      accesses: this.#accesses(PACKET_WINDOW, false, false),
    };
  }
}

/** A random program of about `size` statements. */
export function drawProgram(random: RandomSource, size: number): Statement[] {
  return new Drawing(random, size).statements(0);
}

/** Programs with one statement less: taken out, or its body in its place. */
export function* smallerPrograms(statements: readonly Statement[]): Generator<Statement[]> {
  for (const [index, statement] of statements.entries()) {
    const before = statements.slice(0, index);
    const after = statements.slice(index + 1);
    yield [...before, ...after];
    if ('accesses' in statement && statement.accesses.length > 1) {
      for (const [at] of statement.accesses.entries()) {
        yield [...before, { ...statement, accesses: statement.accesses.filter((_, other) => other !== at) }, ...after];
      }
    }
    if (!('body' in statement)) continue;
    yield [...before, ...statement.body, ...after];
    for (const body of smallerPrograms(statement.body)) yield [...before, { ...statement, body }, ...after];
    if (statement.kind !== 'if') continue;
    yield [...before, ...statement.otherwise, ...after];
    for (const otherwise of smallerPrograms(statement.otherwise))
      yield [...before, { ...statement, otherwise }, ...after];
  }
}
