/**
 * Sources that are broken in every way: cut off, their tokens swapped, left out, doubled, put in the place of others. The compiler takes
 * them or refuses them by its own errors, each with a place, and comes to an end.
 *
 * Many more than the usual number: MILLRACE_HOSTILE_SOURCES=100000 node --test test/bpf/compiler/hostile.test.ts,
 * from another beginning with MILLRACE_RANDOM_SEED=7.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { CompileErrors, compileText } from '../../../src/bpf/compiler/compile.ts';
import { moduleOf } from '../../support/bpf-compiler.ts';
import { type RandomSource, randomSource } from '../../support/random.ts';

const count = Number(process.env.MILLRACE_HOSTILE_SOURCES ?? 1500);
const firstSeed = Number(process.env.MILLRACE_RANDOM_SEED ?? 0);
const EACH_MS_MAX = 5000;

const folders = ['../programs/', '../hooks/'].map((path) => fileURLToPath(new URL(path, import.meta.url)));
const sources = folders.flatMap((folder) =>
  readdirSync(folder)
    .filter((file) => file.endsWith('.bpf.ts'))
    .map((file) => ({ path: `${folder}${file}`, text: readFileSync(`${folder}${file}`, 'utf8') })),
);

const TOKEN =
  /\s+|[A-Za-z_$][\w$]*|\d[\w.]*|'[^'\n]*'|=>|[=!]==|[<>]=|\+\+|--|&&|\|\||\?\?|\?\.|<<|>>>?|[-+*/%&|^]=|[^\s]/g;
const tokensOf = (text: string): string[] => text.match(TOKEN) ?? [];
const pools = sources.map(({ text }) => tokensOf(text));

/** Words that belong to the language or are refused, where they are not expected. */
const strange = tokensOf(
  `null undefined this super await yield class new delete typeof void async var let enum type import export default switch case break
  continue return function for while do try throw with { } ( ) [ ] => ; , . ... ?. ?? ! = == === @ # \\ 'x' \`x\` /x/ 0 1n 1.5 5_000_000_000
  99999999999999999999999n 2147483648 65536 context packet local struct packed union bits array pointer kernelStruct hash ringBuffer global
  readOnly kconfig kernelFunction xdp tracepoint fentry iterator structOps u8 u64 be32 boolean spinLock timer dynptr equal ipv4 ipv6 range
  slice read print tailCall subprogram license Value Reference any unknown object never`,
).filter((token) => token.trim() !== '');

type Break = (tokens: string[], at: () => number, random: RandomSource) => void;

const breaks: readonly Break[] = [
  (tokens, at) => tokens.splice(at()),
  (tokens, at, random) => tokens.splice(at(), 1 + random.integer(3)),
  (tokens, at) => {
    const [one, other] = [at(), at()];
    [tokens[one], tokens[other]] = [tokens[other], tokens[one]];
  },
  (tokens, at, random) => {
    tokens[at()] = strange[random.integer(strange.length)];
  },
  (tokens, at, random) => tokens.splice(at(), 0, ` ${strange[random.integer(strange.length)]} `),
  (tokens, at, random) => {
    const pool = pools[random.integer(pools.length)];
    tokens[at()] = pool[random.integer(pool.length)];
  },
  (tokens, at, random) => {
    const from = at();
    tokens.splice(from, 0, ...tokens.slice(from, from + random.integer(20)));
  },
];

function broken(seed: number): { readonly path: string; readonly text: string } {
  const random = randomSource(seed);
  const which = random.integer(sources.length);
  const tokens = [...pools[which]];
  const isSolid = (index: number): boolean => tokens[index].trim() !== '';
  const at = (): number => {
    const solid = tokens.keys().filter(isSolid).toArray();
    return solid.length === 0 ? 0 : solid[random.integer(solid.length)];
  };
  for (let times = 1 + random.integer(4); times > 0 && tokens.length > 0; times--) {
    breaks[random.integer(breaks.length)](tokens, at, random);
  }
  return { path: sources[which].path, text: tokens.join('') };
}

/** What is wrong with how the compiler takes a source; null for nothing. */
function fault(text: string, path: string, optimise: boolean): string | null {
  const begin = performance.now();
  try {
    compileText(text, path, { optimise, check: true });
  } catch (error) {
    if (!(error instanceof CompileErrors)) return (error as Error).stack ?? String(error);
    const lost = error.errors.find(({ file, line, column }) => file === '' || !(line >= 1 && column >= 1));
    if (lost !== undefined) return `${lost.message} is told without its place`;
    if (error.errors.length === 0) return 'it is refused without a word';
  }
  const took = performance.now() - begin;
  return took > EACH_MS_MAX ? `it takes ${took.toFixed()} ms` : null;
}

test(`${count} broken sources are taken or refused, and nothing else happens`, () => {
  const faults: string[] = [];
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const { path, text } = broken(seed);
    const found = fault(text, path, seed % 2 === 0);
    if (found !== null) faults.push(`seed ${seed}, ${path}: ${found}`);
  }
  assert.deepEqual(faults, []);
});

const repeat = (text: string, times: number): string => text.repeat(times);
const chain = (length: number, link: (index: number) => string): string =>
  Array.from({ length }, (_, index) => link(index)).join('\n');

/** Sources that are large in one way: each with what it says. */
const large: readonly (readonly [what: string, source: string, refusal: RegExp | null])[] = [
  ['parentheses', `export const main = xdp(() => ${repeat('(', 5000)}1${repeat(')', 5000)});`, /nests too deeply/],
  [
    'conditions within each other',
    `export const main = xdp((c) => { ${repeat('if (c.rx_queue_index > 4) {', 5000)} return 1; ${repeat('}', 5000)} return 2; });`,
    /nests too deeply/,
  ],
  [
    'a sum',
    `export const main = xdp((c) => c.rx_queue_index${repeat(' + c.rx_queue_index', 20_000)} > 4 ? 1 : 2);`,
    /nests too deeply/,
  ],
  [
    'a long way of one number',
    `export const main = xdp((c) => { let x = c.rx_queue_index; ${repeat('x = x * 3 + c.rx_queue_index;', 2000)} return x > 4 ? 1 : 2; });`,
    null,
  ],
  [
    'constants that need each other',
    `${chain(5000, (i) => `const A${i} = A${i + 1} + 1;`)}\nconst A5000 = 1;\nexport const main = xdp(() => A0);`,
    /nests too deeply/,
  ],
  [
    'functions that call another twice',
    `function f0(x: u32): u32 { return x; }
    ${chain(40, (i) => `function f${i + 1}(x: u32): u32 { return f${i}(x) + f${i}(x + 1); }`)}
    export const main = xdp((c) => f40(c.rx_queue_index) > 3 ? 1 : 2);`,
    /bytes of stack/,
  ],
  [
    'a struct on the stack',
    'export const main = xdp(() => local(array(u8, 1_000_000)).value[5]);',
    /takes 1000000 bytes, and the stack has 512/,
  ],
  [
    'a global',
    'export const main = xdp(() => 2); export const g = global(array(u8, 2_000_000_000));',
    /too large for a global/,
  ],
  [
    'a map’s value',
    'export const m = hash({ key: u32, value: array(array(u64, 2_000_000_000), 2_000_000_000), maxEntries: 1 });',
    /more than 2147483647 bytes/,
  ],
  [
    'a map’s key',
    'export const m = hash({ key: array(u8, 1000), value: u32, maxEntries: 1 });',
    /the key of this map takes more than 512 bytes/,
  ],
  [
    'a copy',
    `
    const S = struct({ bytes: array(u8, 1_000_000) });
    export const m = array({ value: S, maxEntries: 2 });
    export const main = xdp(() => {
      const one = m.lookup(0);
      const other = m.lookup(1);
      if (one !== null && other !== null) one.bytes = other.bytes;
      return 2;
    });`,
    /too many to be copied at once/,
  ],
  [
    'types that need each other',
    'type A = B; type B = A; export const main = xdp((c) => { const x: A = 1; return x; });',
    /by means of itself/,
  ],
];

for (const [what, source, refusal] of large) {
  test(`${what}, without an end: ${refusal === null ? 'compiled' : 'refused'}`, () => {
    for (const optimise of [true, false]) {
      const text = moduleOf(source);
      assert.equal(fault(text, 'large.bpf.ts', optimise), null);
      if (refusal === null) compileText(text, 'large.bpf.ts', { optimise });
      else assert.throws(() => compileText(text, 'large.bpf.ts', { optimise }), refusal);
    }
  });
}
