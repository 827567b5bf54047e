/**
 * The back end against the meaning of the IR: random functions give in the VM and in the kernel what evaluating their IR gives.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { encode, Machine } from '../../../src/bpf/assembly.ts';
import { generate } from '../../../src/bpf/compiler/back/index.ts';
import { Builder } from '../../../src/bpf/compiler/builder.ts';
import type { BinaryOperator, Bits, IrModule } from '../../../src/bpf/compiler/ir.ts';
import { U64 } from '../../../src/bpf/types.ts';
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

const edges = [0n, 1n, -1n, 2n, 7n, -7n, 3n, -3n, -(1n << 31n), (1n << 31n) - 1n, -(1n << 63n), 0xffffffffn, 1n << 40n];

/** memory[0] op memory[8], or memory[0] op a number. */
function binaryModule(operator: BinaryOperator, bits: Bits, number: bigint | null): IrModule {
  const signature = { parameters: [{ name: 'memory', type: U64 }], result: U64 };
  const builder = new Builder({ name: 'f', signature, linkage: 'global', location: null, spaces: ['mapValue'] });
  const [memory] = builder.function.parameters;
  const left = builder.load(8, false, memory);
  const right = number === null ? builder.load(8, false, memory, 'scalar', { offset: 8 }) : builder.constant(number);
  builder.return(builder.binary(operator, bits, left, right));
  return { files: [], functions: [builder.finish()] };
}

for (const operator of ['sdiv', 'smod', 'udiv', 'umod'] as const) {
  test(`${operator} gives at the edges of its range what RFC 9669 says, by registers and by numbers`, () => {
    for (const bits of [32, 64] as const) {
      for (const right of edges) {
        for (const number of [null, right]) {
          const module = binaryModule(operator, bits, number);
          const machine = new Machine(joinFunctions(generate(module)));
          for (const left of edges) {
            const memory = new Uint8Array(new BigInt64Array([left, right]).buffer);
            const expected = evaluate(module, memory).result;
            assert.equal(machine.run({ memory }), expected, `${left} ${operator}${bits} ${right}`);
          }
        }
      }
    }
  });
}

test('the same module gives the same bytes', () => {
  for (let seed = 0; seed < 20; seed++) {
    const [one, other] = [sampleOf(seed), sampleOf(seed)].map(({ module }) => encode(joinFunctions(generate(module))));
    assert.deepEqual(one, other);
  }
});
