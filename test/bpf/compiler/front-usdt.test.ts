/**
 * The arguments of USDT probes in the language: what is compiled from them, and what is refused. What they give when a probe is hit is
 * shown in `links-usdt-arguments.test.ts`.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { compileText } from '../../../src/bpf/compiler/compile.ts';
import { loadObject } from '../../../src/bpf/loader/collection.ts';
import type { ObjectSpec } from '../../../src/bpf/object/spec.ts';
import { kernelSkip } from '../../support/bpf.ts';
import { moduleOf, refusals } from '../../support/bpf-compiler.ts';

const object = (text: string, optimise = true): ObjectSpec =>
  compileText(moduleOf(text), 'usdt.bpf.ts', { optimise, check: true });

const names = ({ functions }: ObjectSpec): string[] => functions.map(({ name }) => name);

const everywhere = `
  export const total = global(u64);
  const State = struct({ sum: u64 });
  const shared = subprogram((registers: pt_regs, index: u32): u64 => usdtArgument(registers, index) + usdtCookie(registers));
  function inlined(registers: pt_regs): u64 { return usdtArgument(registers, 3); }
  export const sleeps = usdtSleepable('x:y:z', (registers, first: i32) => {
    const index: u32 = u32(first);
    total.value += usdtArgument(registers, index) + shared(registers, 2);
  });
  export const main = usdt('x:y:z', (registers, first: i8, second: boolean, third = 5n, fourth: u8) => {
    total.value += shared(registers, 2) + inlined(registers) + u64(first) + third;
    if (second) total.value += u64(fourth);
    third += 1n;
    for (const index of range(12)) total.value += usdtArgument(registers, index);
    if (usdtArgumentCount(registers) > 4) total.value = third;
  });`;

test('arguments are read in bodies, functions, subprograms and loops, and the verifier agrees', {
  skip: kernelSkip,
}, () => {
  for (const optimise of [true, false]) {
    using collection = loadObject(object(everywhere, optimise));
    assert.deepEqual(Object.keys(collection.programs), ['sleeps', 'main']);
  }
});

test('one subprogram reads all arguments, another those of programs that may sleep', () => {
  const found = names(object(everywhere)).filter((name) => name.startsWith('usdt_'));
  assert.deepEqual(found.sort(), ['usdt_argument', 'usdt_argument_sleepable', 'usdt_cookie', 'usdt_count']);
});

test('an argument that is not used costs nothing, and the table is only there where one is read', () => {
  const text = (body: string): string => `export const seen = global(u64);
    export const main = usdt('x:y:z', (_registers, first: u64, _second: i32) => { ${body} });`;
  const calls = (spec: ObjectSpec): number =>
    spec.functions.find(({ name }) => name === 'main')?.relocations.filter(({ kind }) => kind === 'call').length ?? 0;
  assert.equal(calls(object(text('seen.value = first;'))), 1);
  assert.equal(calls(object(text('seen.value = 1n;'))), 0);
  assert.deepEqual(
    object("export const seen = global(u64); export const main = usdt('x:y:z', () => { seen.value = 1n; });").maps,
    [],
  );
});

const program = (body: string): string => `const Place = struct({ a: u64 });
export const seen = global(u64);
export const main = ${body};`;

const cases: readonly (readonly [body: string, refusal: string])[] = [
  [
    'xdp((context) => { seen.value = usdtArgument(context, 1); return 2; })',
    '4:53 usdtArgument is for usdt programs; other programs read registers, or the kernel’s arguments',
  ],
  [
    "usdt('a:b:c', (registers) => { seen.value = usdtArgument(registers, 12); })",
    '4:89 a USDT probe has at most 12 arguments; they are counted from 0',
  ],
  [
    "usdt('a:b:c', (registers) => { seen.value = usdtArgument(registers); })",
    '4:65 which argument?; write usdtArgument(registers, 0) for the first',
  ],
  ["usdt('a:b:c', () => { seen.value = usdtArgument(seen, 0); })", '4:69 the global seen is not the program’s context'],
  [
    "usdt('a:b:c', (_registers, place: Value<typeof Place>) => { seen.value = place.a; })",
    '4:48 the arguments of a USDT probe are numbers; annotate u64 and read what is there: bpf_probe_read_user',
  ],
  [
    "uprobe('a:b', (_registers, first: u64) => { seen.value = first; })",
    '4:48 uprobe passes one argument, the context',
  ],
];

for (const [body, refusal] of cases) {
  test(`${body} is refused`, () => assert.deepEqual(refusals(program(body)), [refusal]));
}

test('the table’s name, and a licence that the kernel does not count as its own, are refused', () => {
  assert.deepEqual(
    refusals(`export const usdt_sites = array({ value: u64, maxEntries: 1 });
export const seen = global(u64);
export const main = usdt('a:b:c', (_registers, first: u64) => { seen.value = first; });`),
    ['4:48 the arguments of USDT probes need the map usdt_sites, and a map of the source has its name'],
  );
  assert.deepEqual(
    refusals(`license('MIT');
export const seen = global(u64);
export const main = usdt('a:b:c', (_registers, first: u64) => { seen.value = first; });`),
    ['4:48 bpf_probe_read_kernel is for GPL-compatible programs only; the licence here is MIT'],
  );
});
