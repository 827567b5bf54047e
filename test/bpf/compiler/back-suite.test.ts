/**
 * Every program of the suite, optimised and not: its IR is well formed between the compiler’s parts, it has a form as instructions, and the
 * kernel takes it.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { compile } from '../../../src/bpf/compiler/compile.ts';
import { loadObject } from '../../../src/bpf/loader/collection.ts';
import { kernelSkip } from '../../support/bpf.ts';
import { runBoth } from '../../support/bpf-compiler.ts';
import { packetCases } from '../../support/bpf-suite-packets.ts';
import { socketCases } from '../../support/bpf-suite-sockets.ts';

const programs = [...packetCases, ...socketCases].map(
  ({ name }) => new URL(`../programs/${name}.bpf.ts`, import.meta.url),
);

for (const optimise of [false, true]) {
  test(`the suite’s programs are well formed between the compiler’s parts, ${optimise ? '' : 'not '}optimised`, () => {
    for (const program of programs) compile(fileURLToPath(program), { optimise, check: true });
  });
}

for (const program of programs) {
  test(`the kernel takes ${program.pathname.split('/').at(-1)}, not optimised`, { skip: kernelSkip }, () => {
    for (const cpu of [3, 4] as const) {
      using _object = loadObject(compile(fileURLToPath(program), { optimise: false, cpu }));
    }
  });
}

test('a number that is asked about and then read again is the same number to the verifier', {
  skip: kernelSkip,
}, () => {
  const text = `
    const State = struct({ index: u32, list: array(u32, 8) });
    export const states = array({ value: State, maxEntries: 1 });
    export const sum = global(u32);
    export const main = xdp((context) => {
      const state = states.lookup(0);
      const byte = packet(context, u8, 0);
      if (state === null || byte === null) return XDP_DROP;
      const own = local(State, { index: byte.value, list: [1, 2, 3, 4, 5, 6, 7, 8] });
      if (state.index + 1 < 8) state.list[state.index + 1] += 1;
      if (byte.value < 8) sum.value = own.list[byte.value];
      if (own.index < 8) sum.value += state.list[own.index];
      return XDP_PASS;
    });`;
  const { result, globals } = runBoth(text, { packet: Uint8Array.from({ ...[3], length: 64 }) });
  assert.deepEqual([result, globals.sum], [2, 4]);
});
