/**
 * The checks of IR, and its text.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { Builder } from '../../../src/bpf/compiler/builder.ts';
import { checkFunction } from '../../../src/bpf/compiler/check.ts';
import type { Binary, IrFunction, Phi } from '../../../src/bpf/compiler/ir.ts';
import { printFunction } from '../../../src/bpf/compiler/print.ts';
import { U64 } from '../../../src/bpf/types.ts';
import { randomModule } from '../../support/bpf-ir-functions.ts';
import { randomSource } from '../../support/random.ts';

/** f(a) { if (a > 1) x = a + 2; else x = 3; return x * x } */
function sample(): IrFunction {
  const signature = { parameters: [{ name: 'a', type: U64 }], result: U64 };
  const builder = new Builder({ name: 'f', signature, linkage: 'global', location: null, spaces: ['scalar'] });
  const [a] = builder.function.parameters;
  const x = { name: 'x', space: 'scalar' } as const;
  const [more, less, next] = [builder.block(), builder.block(), builder.block()];
  builder.branch('ugt', 64, a, builder.constant(1), more, less);
  builder.seal(more);
  builder.seal(less);
  builder.enter(more);
  builder.write(x, builder.binary('add', 64, a, builder.constant(2)));
  builder.jump(next);
  builder.enter(less);
  builder.write(x, builder.constant(3));
  builder.jump(next);
  builder.seal(next);
  builder.enter(next);
  builder.return(builder.binary('mul', 64, builder.read(x), builder.read(x)));
  return builder.finish();
}

test('what the builder makes is well formed', () => {
  assert.deepEqual(checkFunction(sample()), []);
  for (let seed = 0; seed < 50; seed++) {
    const { functions } = randomModule(randomSource(seed), { statements: 8, variables: 5, functions: 1 });
    for (const target of functions) assert.deepEqual(checkFunction(target), [], printFunction(target));
  }
});

test('a function is printed block by block', () => {
  assert.equal(
    printFunction(sample()),
    `global function f(v0: scalar)
b0:
  v1 = 1
  branch ugt64 v0, 1: b1, b2
b1: from b0
  v2 = 2
  v3 (x) = add64 v0, 2
  jump b3
b2: from b0
  v4 (x) = 3
  jump b3
b3: from b1, b2
  v5 (x) = phi v3, 3
  v6 = mul64 v5, v5
  return v6
`,
  );
});

/** Breaks the sample and returns what the check says. */
function broken(damage: (target: IrFunction) => void): string {
  const target = sample();
  damage(target);
  return checkFunction(target).join('\n');
}

test('an operand must be computed on every way to its use', () => {
  const problems = broken(({ blocks }) => {
    (blocks[3].operations[0] as Binary).left = blocks[1].operations[1];
  });
  assert.match(problems, /^v6 = mul64 v3, v5 reads v3, which is not computed on every way there$/);
});

test('an operand must stand before its use within a block', () => {
  const problems = broken(({ blocks }) => blocks[1].operations.reverse());
  assert.match(problems, /v3 \(x\) = add64 v0, 2 reads v2, which is not computed on every way there/);
});

test('a phi has one input for each predecessor, computed before it is left', () => {
  assert.match(
    broken(({ blocks }) => blocks[3].phis[0].inputs.pop()),
    /^v5 has 1 inputs for 2 predecessors$/,
  );
  const swapped = broken(({ blocks }) => {
    const [phi] = blocks[3].phis as [Phi];
    phi.inputs.reverse();
  });
  assert.match(swapped, /v5 \(x\) = phi 3, v3 reads v4/);
});

test('edges and predecessors agree, and every block has an end', () => {
  assert.match(
    broken(({ blocks }) => blocks[3].predecessors.reverse().pop()),
    /b3 names the predecessors \(b2\), but edges come from \(b1, b2\)/,
  );
  const endless = broken(({ blocks }) => {
    blocks[3].terminator = null;
  });
  assert.match(endless, /^b3 has no end$/);
});

test('a value is defined once, and belongs to the function', () => {
  assert.match(
    broken(({ blocks }) => blocks[2].operations.push(blocks[1].operations[0])),
    /^v2 is defined twice$/,
  );
  const foreign = broken(({ blocks }) => {
    (blocks[3].operations[0] as Binary).right = sample().blocks[1].operations[1];
  });
  assert.match(foreign, /reads v3, which is not in the function/);
});
