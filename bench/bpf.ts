/**
 * What our compiler makes of the suite's programs (test/bpf/programs), beside `clang -O2` on the same in C: instructions in the code,
 * instructions executed for each input, and the time of a test run in the kernel.
 *
 *   npm run bench -- bpf
 *   npm run bench -- bpf --rounds 9
 *
 * A newcomer would get wrong: executed instructions are counted in the VM, which runs both objects over the same inputs; they do not
 * depend on the machine. The kernel tells times only, and in those helpers and maps weigh more than what a compiler did.
 */

import { slotsOf } from '../src/bpf/instructions.ts';
import type { ObjectSpec } from '../src/bpf/object/spec.ts';
import { kernelSkip } from '../test/support/bpf.ts';
import { build, inKernel, type Language } from '../test/support/bpf-suite.ts';
import type { SuiteCase } from '../test/support/bpf-suite-case.ts';
import { packetCases } from '../test/support/bpf-suite-packets.ts';
import { socketCases } from '../test/support/bpf-suite-sockets.ts';
import { inVm } from '../test/support/bpf-suite-vm.ts';
import type { Benchmark } from './support/benchmark.ts';
import { progress } from './support/contestant.ts';
import type { Entry, Metrics } from './support/result.ts';

/** The bounds that the project set itself: of the geometric mean and of each program. */
const MEAN_BOUND = 1.15;
const EACH_BOUND = 1.5;

const geometricMean = (values: readonly number[]): number =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

const codeOf = (spec: ObjectSpec): number =>
  spec.functions.reduce((all, { instructions }) => instructions.reduce((slots, one) => slots + slotsOf(one), all), 0);

/** Most packets leave a program early. These are the ones on which clang's code goes farthest: one in so many. */
const LONGEST = 50;

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** Instructions executed for each input. */
function executedBy(suiteCase: SuiteCase, spec: ObjectSpec): number[] {
  using runner = inVm(suiteCase, spec);
  return suiteCase.inputs().map((input) => {
    const before = runner.executed;
    runner.run(input);
    return runner.executed - before;
  });
}

/** What the VM says of both: means over all inputs, and the ratio on the longest paths. */
function countedOf(suiteCase: SuiteCase, specs: Readonly<Record<Language, ObjectSpec>>): Metrics {
  const ours = executedBy(suiteCase, specs.typescript);
  const theirs = executedBy(suiteCase, specs.c);
  const longest = [...theirs.keys()].sort((a, b) => theirs[b] - theirs[a]).slice(0, Math.ceil(theirs.length / LONGEST));
  return {
    code: codeOf(specs.typescript),
    codeC: codeOf(specs.c),
    executed: sum(ours) / ours.length,
    executedC: sum(theirs) / theirs.length,
    ratio: sum(ours) / sum(theirs),
    ratioLongest: sum(longest.map((index) => ours[index])) / sum(longest.map((index) => theirs[index])),
  };
}

/**
 * Mean times of a run over all inputs, each once: programs change packets and maps, so that a repeated run would go another way. Both
 * objects take turns from input to input. Nothing where the kernel measures no time (raw tracepoints) or has no test run.
 */
function timesOf(suiteCase: SuiteCase, specs: Readonly<Record<Language, ObjectSpec>>): Metrics {
  if (!suiteCase.kernel || kernelSkip !== false) return {};
  using ours = inKernel(suiteCase, specs.typescript);
  using theirs = inKernel(suiteCase, specs.c);
  let [ns, nsC] = [0, 0];
  const inputs = suiteCase.inputs();
  for (const [index, input] of inputs.entries()) {
    // Who comes second finds the kernel's part in the cache.
    if (index % 2 === 0) ns += ours.durationNs(input);
    nsC += theirs.durationNs(input);
    if (index % 2 === 1) ns += ours.durationNs(input);
  }
  return ns === 0 ? {} : { ns: ns / inputs.length, nsC: nsC / inputs.length };
}

interface Measured {
  readonly name: string;
  readonly rounds: Metrics[];
}

/** What the verifier went through when it accepted both. */
function verifiedOf(suiteCase: SuiteCase, specs: Readonly<Record<Language, ObjectSpec>>): Metrics {
  if (kernelSkip !== false) return {};
  using ours = inKernel(suiteCase, specs.typescript);
  using theirs = inKernel(suiteCase, specs.c);
  return { verified: ours.verified, verifiedC: theirs.verified };
}

function measureOne(suiteCase: SuiteCase, rounds: number): Measured {
  const specs = { typescript: build(suiteCase.name, 'typescript'), c: build(suiteCase.name, 'c') };
  const counted = { ...countedOf(suiteCase, specs), ...verifiedOf(suiteCase, specs) };
  const found = Array.from({ length: rounds }, (): Metrics => ({ ...counted, ...timesOf(suiteCase, specs) }));
  const { executed, executedC } = counted;
  progress(`${suiteCase.name}: ${executed.toFixed(1)} instructions, clang's ${executedC.toFixed(1)}`);
  return { name: suiteCase.name, rounds: found };
}

/** The programs' geometric mean, round by round; of times over those that have one. */
function meanOf(all: readonly Measured[], rounds: number): Metrics[] {
  return Array.from({ length: rounds }, (_, round) => {
    const metrics = all.map((one) => one.rounds[round]);
    const keys = new Set(metrics.flatMap((one) => Object.keys(one)));
    const meanAt = (key: string): number =>
      geometricMean(metrics.map((one) => one[key]).filter((value) => value !== undefined));
    return Object.fromEntries([...keys].map((key) => [key, meanAt(key)]));
  });
}

const entry = (name: string, title: string, rounds: Metrics[]): Entry => ({ name, title, facts: {}, rounds });

export const bpf: Benchmark = {
  name: 'bpf',
  title: 'eBPF: our compiler beside clang -O2',
  programs: ['clang'],
  columns: [
    { key: 'code', title: 'instructions', digits: 0 },
    { key: 'codeC', title: 'clang', digits: 0 },
    { key: 'executed', title: 'executed', digits: 1 },
    { key: 'executedC', title: 'clang', digits: 1 },
    { key: 'ratio', title: 'ratio', digits: 2 },
    { key: 'ratioLongest', title: 'ratio, longest', digits: 2 },
    { key: 'verified', title: 'verified', digits: 0 },
    { key: 'verifiedC', title: 'clang', digits: 0 },
    { key: 'ns', title: 'test run, ns', digits: 0 },
    { key: 'nsC', title: 'clang', digits: 0 },
  ],
  goals: [
    { contestant: 'mean', against: [], metric: 'ratio', bound: MEAN_BOUND, direction: 'atMost' },
    { contestant: 'greatest', against: [], metric: 'ratio', bound: EACH_BOUND, direction: 'atMost' },
  ],
  async measure(_session, { rounds }) {
    const cases = [...packetCases, ...socketCases];
    const all = cases.map((suiteCase) => measureOne(suiteCase, rounds));
    const greatest = all.reduce((most, one) => (one.rounds[0].ratio > most.rounds[0].ratio ? one : most));
    const entries = [
      ...all.map(({ name, rounds: found }) => entry(name, name, found)),
      entry('mean', 'geometric mean', meanOf(all, rounds)),
      entry('greatest', `the greatest: ${greatest.name}`, greatest.rounds),
    ];
    return {
      scenarios: [{ name: `${cases.length} programs`, entries }],
      skipped: kernelSkip === false ? [] : [{ name: 'times in the kernel', reason: kernelSkip }],
      failed: false,
      parameters: { inputs: packetCases[0].inputs().length },
    };
  },
};
