/**
 * Random programs do the same in the VM, in the kernel as they were written, and in the kernel optimised; the verifier refuses none.
 *
 * Many more than the usual number: MILLRACE_RANDOM_PROGRAMS=20000 node --test test/bpf/compiler/random-programs.test.ts,
 * from another beginning with MILLRACE_RANDOM_SEED=7.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { checkFunction } from '../../../src/bpf/compiler/check.ts';
import { optimise } from '../../../src/bpf/compiler/passes/index.ts';
import { printFunction } from '../../../src/bpf/compiler/print.ts';
import { kernelSkip } from '../../support/bpf.ts';
import { drawPackets, optimised, runInVm, runInXdp } from '../../support/bpf-differential.ts';
import { buildProgram } from '../../support/bpf-program-generator.ts';
import { drawProgram, type Statement, smallerPrograms } from '../../support/bpf-program-statements.ts';
import { randomSource } from '../../support/random.ts';

const programs = Number(process.env.MILLRACE_RANDOM_PROGRAMS ?? 200);
const firstSeed = Number(process.env.MILLRACE_RANDOM_SEED ?? 0);
const SIZE = 20;
const PACKETS = 3;
const ATTEMPTS_MAX = 500;

/** What is wrong with a program: null, or a sentence. */
type Trial = (statements: readonly Statement[], packets: readonly Uint8Array[], seed: number) => string | null;

function firstDifference(expected: unknown, actual: unknown, label: string): string | null {
  try {
    assert.deepEqual(actual, expected);
    return null;
  } catch (error) {
    return `${label}: ${(error as Error).message}`;
  }
}

/** The least program found that still fails, by leaving out statements. */
function shrink(
  statements: readonly Statement[],
  fails: (smaller: readonly Statement[]) => boolean,
): readonly Statement[] {
  let least = statements;
  let attempts = 0;
  for (let isSmaller = true; isSmaller; ) {
    isSmaller = false;
    for (const smaller of smallerPrograms(least)) {
      if (++attempts > ATTEMPTS_MAX) return least;
      if (!fails(smaller)) continue;
      least = smaller;
      isSmaller = true;
      break;
    }
  }
  return least;
}

function attempt(trial: Trial, statements: readonly Statement[], packets: readonly Uint8Array[], seed: number) {
  try {
    return trial(statements, packets, seed);
  } catch (error) {
    return (error as Error).message;
  }
}

function tryAll(trial: Trial): void {
  for (let seed = firstSeed; seed < firstSeed + programs; seed++) {
    const random = randomSource(seed);
    const statements = drawProgram(random, SIZE);
    const packets = drawPackets(random, PACKETS);
    const problem = attempt(trial, statements, packets, seed);
    if (problem === null) continue;
    const least = shrink(statements, (smaller) => attempt(trial, smaller, packets, seed) !== null);
    const [plain, better] = [buildProgram(least), optimised(least)];
    assert.fail(
      `seed ${seed}: ${problem}\nleast program that fails: ${attempt(trial, least, packets, seed)}\n` +
        `${printFunction(plain)}\noptimised:\n${printFunction(better)}`,
    );
  }
}

test('every pass leaves a well-formed function', () => {
  tryAll((statements) => {
    const irFunction = buildProgram(statements);
    const problems = checkFunction(irFunction).map((problem) => `before: ${problem}`);
    optimise({ files: [], functions: [irFunction] }, (changed, pass) => {
      problems.push(...checkFunction(changed).map((problem) => `after ${pass}: ${problem}`));
    });
    return problems[0] ?? null;
  });
});

test('optimised programs do in the VM what they did before', () => {
  tryAll((statements, packets, seed) => {
    const cpu = seed % 2 === 0 ? 3 : 4;
    const expected = runInVm(buildProgram(statements), packets, cpu);
    return firstDifference(expected, runInVm(optimised(statements), packets, cpu), 'optimised, in the VM');
  });
});

test('the kernel accepts both forms, and both do what the VM says', { skip: kernelSkip }, () => {
  tryAll((statements, packets, seed) => {
    const cpu = seed % 2 === 0 ? 3 : 4;
    const plain = buildProgram(statements);
    const expected = runInVm(plain, packets, cpu);
    return (
      firstDifference(expected, runInXdp(plain, packets, cpu), 'in the kernel') ??
      firstDifference(expected, runInXdp(optimised(statements), packets, cpu), 'optimised, in the kernel')
    );
  });
});

test('the same program is optimised the same way each time', () => {
  tryAll((statements) => {
    const [first, second] = [optimised(statements), optimised(statements)];
    return printFunction(first) === printFunction(second) ? null : 'two forms of one program';
  });
});
