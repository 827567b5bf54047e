/**
 * The back end against the meaning of the IR: random functions give in the VM and in the kernel what evaluating their IR gives.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { generate } from '../../../src/bpf/compiler/back/index.ts';
import { encode, Machine } from '../../../src/bpf/index.ts';
import { kernelSkip, runInKernel } from '../../support/bpf.ts';
import { evaluate, joinFunctions } from '../../support/bpf-ir.ts';
import { IR_MEMORY_BYTES, randomModule } from '../../support/bpf-ir-functions.ts';
import { type RandomSource, randomSource } from '../../support/random.ts';

const PROGRAMS = 300;
const PROGRAMS_IN_KERNEL = 60;

function sampleOf(seed: number) {
  const random: RandomSource = randomSource(seed);
  const shape = {
    statements: 1 + random.integer(14),
    variables: 2 + random.integer(random.integer(4) === 0 ? 20 : 6),
    functions: random.integer(3),
  };
  const module = randomModule(random, shape);
  const memory = Uint8Array.from({ length: IR_MEMORY_BYTES }, () => random.integer(256));
  return { module, memory };
}

for (const cpu of [3, 4] as const) {
  test(`random functions give in the VM what their IR means, CPU version ${cpu}`, () => {
    for (let seed = 0; seed < PROGRAMS; seed++) {
      const { module, memory } = sampleOf(seed);
      const expected = evaluate(module, memory);
      const instructions = joinFunctions(generate(module, { cpu }));
      const after = memory.slice();
      const result = new Machine(instructions).run({ memory: after });
      assert.equal(result, expected.result, `seed ${seed}`);
      assert.deepEqual(after, expected.memory, `seed ${seed}`);
    }
  });

  test(`random functions give in the kernel what their IR means, CPU version ${cpu}`, { skip: kernelSkip }, () => {
    for (let seed = 0; seed < PROGRAMS_IN_KERNEL; seed++) {
      const { module, memory } = sampleOf(seed);
      const instructions = joinFunctions(generate(module, { cpu }));
      assert.equal(runInKernel(instructions, memory), evaluate(module, memory).result, `seed ${seed}`);
    }
  });
}

test('the same module gives the same bytes', () => {
  for (let seed = 0; seed < 20; seed++) {
    const [one, other] = [sampleOf(seed), sampleOf(seed)].map(({ module }) => encode(joinFunctions(generate(module))));
    assert.deepEqual(one, other);
  }
});
