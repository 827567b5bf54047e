/**
 * Arithmetic in programs: every operator on every pair of types does in the kernel what C's rules say, with and without the optimiser.
 * What they say is computed here on bigints, in another way than the compiler does it.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { kernelSkip } from '../../support/bpf.ts';
import { loadMain, runMain } from '../../support/bpf-compiler.ts';

interface Kind {
  readonly name: string;
  readonly bits: number;
  readonly signed: boolean;
}

const kind = (name: string): Kind => ({ name, bits: Number(name.slice(1)), signed: name[0] === 'i' });
const kinds = ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'u64', 'i64'].map(kind);

const cut = ({ bits, signed }: Pick<Kind, 'bits' | 'signed'>, value: bigint): bigint =>
  signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);

const promoted = (one: Kind): Kind => (one.bits < 32 ? kind('i32') : one);

function common(left: Kind, right: Kind): Kind {
  const [one, other] = [promoted(left), promoted(right)];
  if (one.bits !== other.bits) return one.bits > other.bits ? one : other;
  return one.signed ? other : one;
}

const operators = [
  '+',
  '-',
  '*',
  '/',
  '%',
  '&',
  '|',
  '^',
  '<<',
  '>>',
  '>>>',
  '===',
  '!==',
  '<',
  '<=',
  '>',
  '>=',
] as const;
type Operator = (typeof operators)[number];

function expected(operator: Operator, leftKind: Kind, left: bigint, rightKind: Kind, right: bigint): bigint {
  const type = common(leftKind, rightKind);
  const shifted = promoted(leftKind);
  const count = right & BigInt(shifted.bits - 1);
  const [one, other] = [cut(type, left), cut(type, right)];
  switch (operator) {
    case '+':
      return cut(type, one + other);
    case '-':
      return cut(type, one - other);
    case '*':
      return cut(type, one * other);
    case '/':
      return other === 0n ? 0n : cut(type, one / other);
    case '%':
      return other === 0n ? one : cut(type, one % other);
    case '&':
      return cut(type, one & other);
    case '|':
      return cut(type, one | other);
    case '^':
      return cut(type, one ^ other);
    case '<<':
      return cut(shifted, left << count);
    case '>>':
      return left >> count;
    case '>>>':
      return BigInt.asUintN(shifted.bits, left) >> count;
    case '===':
      return one === other ? 1n : 0n;
    case '!==':
      return one !== other ? 1n : 0n;
    case '<':
      return one < other ? 1n : 0n;
    case '<=':
      return one <= other ? 1n : 0n;
    case '>':
      return one > other ? 1n : 0n;
    case '>=':
      return one >= other ? 1n : 0n;
  }
}

/** Numbers at which types differ: around 0, and around the ends of each. */
function valuesOf(one: Kind): bigint[] {
  const half = 1n << BigInt(one.bits - 1);
  const all = [0n, 1n, 3n, half - 1n, half, half + 1n, -1n, -3n, 0x5an];
  return [...new Set(all.map((value) => cut(one, value)))];
}

const inTypeScript = (one: Kind, value: bigint): unknown => (one.bits === 64 ? value : Number(value));

/** All operators on two globals of these types; each result is widened to 64 bits as its own type says. */
function moduleFor(left: Kind, right: Kind): string {
  const lines = operators.map(
    (operator, index) => `  results.value[${index}] = u64(left.value ${operator} right.value);`,
  );
  return [
    `export const left = global(${left.name});`,
    `export const right = global(${right.name});`,
    `export const results = global(array(u64, ${operators.length}));`,
    'export const main = xdp(() => {',
    ...lines,
    '  return XDP_PASS;',
    '});',
  ].join('\n');
}

/** Pairs that cover each type on each side with each other; those in between follow the same rules. */
const pairs = kinds.flatMap((left, index) =>
  kinds.filter((_, other) => (index + other) % 2 === 0 || left.bits >= 32).map((right) => ({ left, right })),
);

for (const { left, right } of pairs) {
  test(`operators on ${left.name} and ${right.name} follow C`, { skip: kernelSkip }, () => {
    const text = moduleFor(left, right);
    const inputs = valuesOf(left).flatMap((one) => valuesOf(right).map((other) => [one, other] as const));
    for (const optimise of [false, true]) {
      using runner = loadMain(text, { optimise });
      for (const [one, other] of inputs) {
        const globals = { left: inTypeScript(left, one), right: inTypeScript(right, other) };
        const results = runner.run({ globals }).globals.results as readonly bigint[];
        for (const [index, operator] of operators.entries()) {
          const wanted = BigInt.asUintN(64, expected(operator, left, one, right, other));
          const what = `${one} ${operator} ${other} (${left.name}, ${right.name}, optimised: ${optimise})`;
          assert.equal(results[index], wanted, what);
        }
      }
    }
  });
}

/** The same on constants, which the compiler computes itself. */
function foldedModule(left: Kind, right: Kind, inputs: readonly (readonly [bigint, bigint])[]): string {
  const literal = (one: Kind, value: bigint): string => `${one.name}(${value}${one.bits === 64 ? 'n' : ''})`;
  const lines = inputs.flatMap(([one, other], row) =>
    operators.map((operator, column) => {
      const at = row * operators.length + column;
      return `  results.value[${at}] = u64(${literal(left, one)} ${operator} ${literal(right, other)});`;
    }),
  );
  return [
    `export const results = global(array(u64, ${lines.length}));`,
    'export const main = xdp(() => {',
    ...lines,
    '  return XDP_PASS;',
    '});',
  ].join('\n');
}

test('operators on constants give what they give on variables', { skip: kernelSkip }, () => {
  for (const left of kinds) {
    for (const right of kinds.filter(({ bits }) => bits !== left.bits || bits >= 32)) {
      const ends = (one: Kind): bigint[] => valuesOf(one).slice(2, 7);
      const inputs = ends(left).flatMap((one) => ends(right).map((other) => [one, other] as const));
      const results = runMain(foldedModule(left, right, inputs)).globals.results as readonly bigint[];
      for (const [row, [one, other]] of inputs.entries()) {
        for (const [column, operator] of operators.entries()) {
          const wanted = BigInt.asUintN(64, expected(operator, left, one, right, other));
          const what = `${one} ${operator} ${other} (${left.name}, ${right.name})`;
          assert.equal(results[row * operators.length + column], wanted, what);
        }
      }
    }
  }
});
