/**
 * The programs of the suite, ours and clang's, over the same inputs in the kernel: the same verdicts, the same bytes, the same maps.
 *
 * A newcomer would get wrong: that two programs agree shows nothing while both let everything through. So each case must also give more
 * than one answer, change a packet, or leave something in its maps.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { kernelSkip } from '../support/bpf.ts';
import { clangSkip } from '../support/bpf-objects.ts';
import { build, inKernel, type Observation, type Outcome } from '../support/bpf-suite.ts';
import type { Input, SuiteCase } from '../support/bpf-suite-case.ts';
import { packetCases } from '../support/bpf-suite-packets.ts';
import { socketCases } from '../support/bpf-suite-sockets.ts';

const skip = kernelSkip || clangSkip;
const hex = (data: Uint8Array | undefined): string => Buffer.from(data ?? []).toString('hex');

/** Whether the outcomes differ among themselves or from the inputs, or something was counted. */
function showsSomething(inputs: readonly Input[], outcomes: readonly Outcome[], end: Observation): boolean {
  const results = new Set(outcomes.map(({ result }) => result));
  const changes = outcomes.some(({ data }, index) => data !== '' && data !== hex(inputs[index].data));
  return results.size > 1 || changes || Object.values(end).some((value) => !Array.isArray(value) || value.length > 0);
}

function compare(suiteCase: SuiteCase): void {
  using ours = inKernel(suiteCase, build(suiteCase.name, 'typescript'));
  using theirs = inKernel(suiteCase, build(suiteCase.name, 'c'));
  const inputs = suiteCase.inputs();
  const outcomes = inputs.map((input, index) => {
    const [own, other] = [ours.run(input), theirs.run(input)];
    assert.deepEqual(own, other, `input ${index}: ${hex(input.data)} ${hex(input.context)}`);
    return own;
  });
  const end = ours.observation();
  assert.deepEqual(end, theirs.observation());
  assert.ok(showsSomething(inputs, outcomes, end), 'the inputs show nothing of what the program does');
}

for (const suiteCase of [...packetCases, ...socketCases].filter(({ kernel }) => kernel)) {
  test(`${suiteCase.name} does in the kernel what clang’s does`, { skip }, () => compare(suiteCase));
}

test('programs without a test run are accepted by the verifier, ours and clang’s', { skip }, () => {
  for (const suiteCase of socketCases.filter(({ kernel }) => !kernel)) {
    using _ours = inKernel(suiteCase, build(suiteCase.name, 'typescript'));
    using _theirs = inKernel(suiteCase, build(suiteCase.name, 'c'));
  }
});
