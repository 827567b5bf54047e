/**
 * What JavaScript lets one write in short: a field of what may be null in a condition, lists, loops of two counters, globals and texts as
 * memory. Each with and without the optimiser.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { compileText } from '../../../src/bpf/compiler/compile.ts';
import { loadObject } from '../../../src/bpf/loader/collection.ts';
import { instantiate } from '../../../src/bpf/vm/object.ts';
import { kernelSkip } from '../../support/bpf.ts';
import { moduleOf } from '../../support/bpf-compiler.ts';

const PRELUDE = `
  const Flow = struct({ mark: u32, packets: u64 });
  export const flows = hash({ key: u32, value: Flow, maxEntries: 4 });
`;

/** The result of a program whose map has one entry, `7: { mark: 3, packets: 0 }`. */
function resultOf(body: string): number {
  const text = moduleOf(`${PRELUDE} export const main = xdp((context) => { ${body} });`);
  const [optimised, plain] = [true, false].map((optimise) => {
    const { programs, maps } = instantiate(compileText(text, 'short.bpf.ts', { optimise, check: true }));
    maps.flows.set(7, { mark: 3, packets: 0n });
    return programs.main.run({ packet: new Uint8Array(14) }).action;
  });
  assert.equal(optimised, plain, body);
  return optimised;
}

const fields: readonly (readonly [condition: string, here: boolean, elsewhere: boolean])[] = [
  ['flow?.mark', true, false],
  ['!flow?.mark', false, true],
  ['flow?.packets', false, false],
  ['flow?.mark === 3', true, false],
  ['flow?.mark !== 3', false, true],
  ['flow?.mark !== 4', true, true],
  ['flow?.mark > 2', true, false],
  ['flow?.mark <= 2', false, false],
  ['flow?.mark === 3 && flow.mark < 4', true, false],
  ['flows.lookup(KEY)?.mark === 3', true, false],
];

for (const [condition, here, elsewhere] of fields) {
  test(`${condition} is ${here} where there is a flow, ${elsewhere} where there is none`, () => {
    for (const [key, wanted] of [
      [7, here],
      [8, elsewhere],
    ] as const) {
      const body = `const flow = flows.lookup(${key}); return ${condition.replace('KEY', `${key}`)} ? 1 : 2;`;
      assert.equal(resultOf(body), wanted ? 1 : 2, body);
      assert.equal(
        resultOf(body.replace('? 1 : 2', '').replace('return ', 'if (').replace(' ;', ') return 1; return 2;')),
        wanted ? 1 : 2,
      );
    }
  });
}

test('lists of numbers are iterated, indexed by constants, and begin memory', () => {
  assert.equal(resultOf('const list = [1, 2]; let sum = 0; for (const one of list) sum += one; return sum;'), 3);
  assert.equal(resultOf('const list = [4, 2]; return list[1];'), 2);
  assert.equal(resultOf('const list = [4, 3]; return list.length;'), 2);
  assert.equal(resultOf('const list = [4, 3]; const memory = local(array(u8, 4), list); return memory.value[1];'), 3);
});

test('a loop may change two counters', () => {
  assert.equal(resultOf('let n = 0; for (let i = 0, j = 6; i < j; i++, j--) n++; return n;'), 3);
});

test('globals and texts are memory to helpers', { skip: kernelSkip }, () => {
  const text = moduleOf(`
    export const bytes = global(array(u8, 4));
    export const main = tcxIngress((context) => {
      if (bpf_skb_load_bytes(context, 0, bytes) < 0) return TCX_DROP;
      bpf_skb_store_bytes(context, 4, 'text', 0);
      return TCX_NEXT;
    });`);
  for (const optimise of [true, false]) loadObject(compileText(text, 'memory.bpf.ts', { optimise }))[Symbol.dispose]();
});
