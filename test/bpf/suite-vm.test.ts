/**
 * The programs of the suite in the VM: ours as clang's, ours as the kernel runs them, optimised or not; and how many instructions they
 * execute beside clang's.
 *
 * A newcomer would get wrong: the bounds on instructions are no measurement. They are counted, so the same compiler gives the same
 * numbers on every machine; `npm run bench -- bpf` shows them one by one.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { kernelSkip } from '../support/bpf.ts';
import { clangSkip } from '../support/bpf-objects.ts';
import { build, inKernel, type Outcome, type Runner } from '../support/bpf-suite.ts';
import type { SuiteCase } from '../support/bpf-suite-case.ts';
import { packetCases } from '../support/bpf-suite-packets.ts';
import { socketCases } from '../support/bpf-suite-sockets.ts';
import { inVm } from '../support/bpf-suite-vm.ts';

const MEAN_MAX = 1.15;
const EACH_MAX = 1.5;
/** Where there is nothing to gain, moving code about may cost an instruction on one path. */
const OPTIMISED_MAX = 1.05;

const cases = [...packetCases, ...socketCases];

/** Runs both over all inputs; fails at the first on which they differ. */
function compare(suiteCase: SuiteCase, one: Runner, other: Runner, of = (outcome: Outcome): unknown => outcome): void {
  for (const [index, input] of suiteCase.inputs().entries()) {
    const [first, second] = [one.run(input), other.run(input)];
    assert.deepEqual(of(first), of(second), `input ${index}: ${Buffer.from(input.data ?? []).toString('hex')}`);
  }
}

for (const suiteCase of cases) {
  test(`${suiteCase.name} does in the VM what clang’s does`, { skip: clangSkip }, () => {
    using ours = inVm(suiteCase, build(suiteCase.name, 'typescript'));
    using theirs = inVm(suiteCase, build(suiteCase.name, 'c'));
    compare(suiteCase, ours, theirs);
    assert.deepEqual(ours.observation(), theirs.observation());
    assert.ok(ours.executed <= EACH_MAX * theirs.executed, `${ours.executed} instructions, clang's ${theirs.executed}`);
  });

  test(`${suiteCase.name} does without the optimiser what it does with it`, () => {
    using optimised = inVm(suiteCase, build(suiteCase.name, 'typescript'));
    using plain = inVm(suiteCase, build(suiteCase.name, 'typescript', false));
    compare(suiteCase, optimised, plain);
    assert.deepEqual(optimised.observation(), plain.observation());
    assert.ok(optimised.executed <= OPTIMISED_MAX * plain.executed, `${optimised.executed}, not ${plain.executed}`);
  });

  if (!suiteCase.kernel) continue;
  test(`${suiteCase.name} does in the VM what it does in the kernel`, { skip: kernelSkip }, () => {
    const spec = build(suiteCase.name, 'typescript');
    using model = inVm(suiteCase, spec);
    using real = inKernel(suiteCase, spec);
    if (suiteCase.seesMachine) {
      compare(suiteCase, model, real, ({ result }) => result);
      return;
    }
    compare(suiteCase, model, real);
    assert.deepEqual(model.observation(), real.observation());
  });
}

test('our programs execute as few instructions as clang’s, in the geometric mean', { skip: clangSkip }, () => {
  let logarithms = 0;
  for (const suiteCase of cases) {
    using ours = inVm(suiteCase, build(suiteCase.name, 'typescript'));
    using theirs = inVm(suiteCase, build(suiteCase.name, 'c'));
    for (const input of suiteCase.inputs()) {
      ours.run(input);
      theirs.run(input);
    }
    logarithms += Math.log(ours.executed / theirs.executed);
  }
  const mean = Math.exp(logarithms / cases.length);
  assert.ok(mean <= MEAN_MAX, `the geometric mean of ours to clang's is ${mean.toFixed(3)}`);
});
