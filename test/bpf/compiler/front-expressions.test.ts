/**
 * Random expressions: nested operators, conversions, conditions and locals of all types, in the kernel with and without the optimiser,
 * against the same tree evaluated here by C's rules.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { inspect } from 'node:util';
import { kernelSkip } from '../../support/bpf.ts';
import { loadMain } from '../../support/bpf-compiler.ts';

interface Kind {
  readonly name: string;
  readonly bits: number;
  readonly signed: boolean;
}

const kinds: readonly Kind[] = ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'u64', 'i64'].map((name) => ({
  name,
  bits: Number(name.slice(1)),
  signed: name[0] === 'i',
}));
const i32 = kinds[5];
const cut = ({ bits, signed }: Kind, value: bigint): bigint =>
  signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
const promoted = (one: Kind): Kind => (one.bits < 32 ? i32 : one);
const unsigned = (one: Kind): Kind => (one.bits === 64 ? kinds[6] : kinds[4]);

function common(left: Kind, right: Kind): Kind {
  const [one, other] = [promoted(left), promoted(right)];
  if (one.bits !== other.bits) return one.bits > other.bits ? one : other;
  return one.signed ? other : one;
}

/** An expression: its text, and its value with the type that C gives it. */
interface Typed {
  readonly text: string;
  readonly kind: Kind;
  readonly value: bigint;
}

/** A generator of its own, so that a failure can be repeated from its seed. */
class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  below(bound: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return (this.#state >>> 8) % bound;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }
  value(kind: Kind): bigint {
    const wide =
      (BigInt(this.below(1 << 24)) << 48n) | (BigInt(this.below(1 << 24)) << 24n) | BigInt(this.below(1 << 24));
    const edges = [0n, 1n, -1n, 2n, (1n << BigInt(kind.bits - 1)) - 1n, 1n << BigInt(kind.bits - 1)];
    return cut(kind, this.below(2) === 0 ? this.pick(edges) : wide);
  }
}

const arithmetic = ['+', '-', '*', '/', '%', '&', '|', '^'] as const;
const shifts = ['<<', '>>', '>>>'] as const;
const comparisons = ['===', '!==', '<', '<=', '>', '>='] as const;

function compute(operator: (typeof arithmetic)[number], one: bigint, other: bigint): bigint {
  switch (operator) {
    case '+':
      return one + other;
    case '-':
      return one - other;
    case '*':
      return one * other;
    case '/':
      return other === 0n ? 0n : one / other;
    case '%':
      return other === 0n ? one : one % other;
    case '&':
      return one & other;
    case '|':
      return one | other;
    case '^':
      return one ^ other;
  }
}

function holds(operator: (typeof comparisons)[number], one: bigint, other: bigint): boolean {
  switch (operator) {
    case '===':
      return one === other;
    case '!==':
      return one !== other;
    case '<':
      return one < other;
    case '<=':
      return one <= other;
    case '>':
      return one > other;
    case '>=':
      return one >= other;
  }
}

function shift(operator: (typeof shifts)[number], left: Typed, count: bigint): Typed {
  const kind = promoted(left.kind);
  const amount = count & BigInt(kind.bits - 1);
  const text = left.text;
  if (operator === '<<') return { text, kind, value: cut(kind, left.value << amount) };
  if (operator === '>>') return { text, kind, value: left.value >> amount };
  return { text, kind: unsigned(kind), value: BigInt.asUintN(kind.bits, left.value) >> amount };
}

class Generator {
  readonly #random: Random;
  readonly #leaves: Typed[];

  constructor(random: Random, leaves: Typed[]) {
    this.#random = random;
    this.#leaves = leaves;
  }

  #condition(depth: number): { readonly text: string; readonly value: boolean } {
    const random = this.#random;
    if (depth > 0 && random.below(3) === 0) {
      const [left, right] = [this.#condition(depth - 1), this.#condition(depth - 1)];
      return random.below(2) === 0
        ? { text: `(${left.text} && ${right.text})`, value: left.value && right.value }
        : { text: `!(${left.text} || ${right.text})`, value: !(left.value || right.value) };
    }
    const operator = random.pick(comparisons);
    const [left, right] = [this.expression(depth - 1), this.expression(depth - 1)];
    const kind = common(left.kind, right.kind);
    return {
      text: `${left.text} ${operator} ${right.text}`,
      value: holds(operator, cut(kind, left.value), cut(kind, right.value)),
    };
  }

  expression(depth: number): Typed {
    const random = this.#random;
    if (depth <= 0) return random.pick(this.#leaves);
    const form = random.below(10);
    if (form < 5) {
      const operator = random.pick(arithmetic);
      const [left, right] = [this.expression(depth - 1), this.expression(depth - 1)];
      const kind = common(left.kind, right.kind);
      const value = cut(kind, compute(operator, cut(kind, left.value), cut(kind, right.value)));
      return { text: `(${left.text} ${operator} ${right.text})`, kind, value };
    }
    if (form === 5) {
      const operator = random.pick(shifts);
      const [left, right] = [this.expression(depth - 1), this.expression(depth - 1)];
      return { ...shift(operator, left, right.value), text: `(${left.text} ${operator} ${right.text})` };
    }
    const inner = this.expression(depth - 1);
    if (form === 6) {
      const kind = random.pick(kinds);
      return { text: `${kind.name}(${inner.text})`, kind, value: cut(kind, inner.value) };
    }
    if (form === 7) {
      const kind = promoted(inner.kind);
      return { text: `(~${inner.text})`, kind, value: cut(kind, ~inner.value) };
    }
    if (form === 8) {
      const kind = promoted(inner.kind);
      return { text: `(-${inner.text})`, kind, value: cut(kind, -inner.value) };
    }
    const test = this.#condition(1);
    const other = this.expression(depth - 1);
    const kind = common(inner.kind, other.kind);
    return {
      text: `(${test.text} ? ${inner.text} : ${other.text})`,
      kind,
      value: cut(kind, test.value ? inner.value : other.value),
    };
  }
}

const RESULTS = 12;

/** A program of locals and results that build on each other, and what the results are. */
function program(seed: number): {
  readonly text: string;
  readonly inputs: Record<string, unknown>;
  readonly results: bigint[];
} {
  const random = new Random(seed);
  const inputs: Record<string, unknown> = {};
  const leaves: Typed[] = [];
  const lines: string[] = [];
  for (const [index, kind] of kinds.entries()) {
    const value = random.value(kind);
    lines.push(`export const g${index} = global(${kind.name});`);
    inputs[`g${index}`] = kind.bits === 64 ? value : Number(value);
    leaves.push({ text: `g${index}.value`, kind, value });
  }
  for (const value of [1n, 255n, -7n]) leaves.push({ text: `i32(${value})`, kind: i32, value });
  lines.push(`export const results = global(array(u64, ${RESULTS}));`, 'export const main = xdp(() => {');
  const generator = new Generator(random, leaves);
  const results: bigint[] = [];
  for (let index = 0; index < RESULTS; index++) {
    const one = generator.expression(3);
    const kind = random.pick(kinds);
    const value = cut(kind, one.value);
    lines.push(`  ${random.below(2) === 0 ? 'const' : 'let'} v${index}: ${kind.name} = ${one.text};`);
    lines.push(`  results.value[${index}] = u64(v${index});`);
    leaves.push({ text: `v${index}`, kind, value });
    results.push(BigInt.asUintN(64, value));
  }
  lines.push('  return XDP_PASS;', '});');
  return { text: lines.join('\n'), inputs, results };
}

const PROGRAMS = 130;

test('random expressions give what C gives', { skip: kernelSkip }, () => {
  for (let seed = 1; seed <= PROGRAMS; seed++) {
    const { text, inputs, results } = program(seed);
    for (const optimise of [false, true]) {
      using runner = loadMain(text, { optimise });
      const { globals } = runner.run({ globals: inputs });
      assert.deepEqual(globals.results, results, `seed ${seed}, optimised: ${optimise}\n${text}\n${inspect(inputs)}`);
    }
  }
});
