/**
 * What a benchmark found, as it is kept in bench/results/, and the arithmetic on it.
 *
 * A newcomer would get wrong: ratios are taken within a round, where both contestants met the same state of the machine, and
 * the median is taken of those; dividing two medians would mix rounds.
 */
import type { Machine } from './machine.ts';

/** Figures of one contestant in one round, by the name of the metric. */
export type Metrics = Readonly<Record<string, number>>;

export interface MetricColumn {
  readonly key: string;
  readonly title: string;
  /** Decimal places shown. */
  readonly digits: number;
}

export interface Entry {
  readonly name: string;
  readonly title: string;
  /** What a reader needs for judging the comparison, such as the size of the response. */
  readonly facts: Readonly<Record<string, number>>;
  readonly rounds: Metrics[];
}

export interface Scenario {
  readonly name: string;
  readonly entries: readonly Entry[];
}

/** What is wanted: a metric of `contestant`, as a ratio to that of the best of `against`, or by itself where that is empty. */
export interface Goal {
  readonly contestant: string;
  readonly against: readonly string[];
  readonly metric: string;
  /** null: the ratio is shown for information, nothing is wanted of it. */
  readonly bound: number | null;
  readonly direction: 'atMost' | 'atLeast';
  /** Only in these scenarios; everywhere when absent. */
  readonly scenarios?: readonly string[];
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Verdict {
  readonly scenario: string;
  readonly contestant: string;
  /** The peer that the ratio is taken against; null where the figure itself is the goal. */
  readonly peer: string | null;
  readonly metric: string;
  readonly values: readonly number[];
  readonly spread: Spread;
  readonly bound: number | null;
  readonly direction: 'atMost' | 'atLeast';
  readonly met: boolean | null;
}

export interface Skipped {
  readonly name: string;
  readonly reason: string;
}

export interface Result {
  readonly bench: string;
  readonly title: string;
  readonly command: string;
  readonly date: string;
  readonly machine: Machine;
  /** Shows that everything works; says nothing of cost, is not judged and not kept. */
  readonly quick: boolean;
  readonly parameters: Readonly<Record<string, number | string | boolean>>;
  readonly columns: readonly MetricColumn[];
  readonly scenarios: readonly Scenario[];
  readonly verdicts: readonly Verdict[];
  readonly skipped: readonly Skipped[];
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, min: sorted[0], max: sorted[sorted.length - 1] };
}

const valuesOf = (entry: Entry, metric: string): number[] => entry.rounds.map((round) => round[metric]);

/** The peer with the best median, so that a goal against several is a goal against the better. */
function bestPeer(scenario: Scenario, goal: Goal): Entry | undefined {
  const sign = goal.direction === 'atMost' ? 1 : -1;
  return scenario.entries
    .filter((entry) => goal.against.includes(entry.name))
    .sort((a, b) => sign * (spreadOf(valuesOf(a, goal.metric)).median - spreadOf(valuesOf(b, goal.metric)).median))[0];
}

/** Each goal in each scenario where its contestant and a peer were measured. */
export function judge(scenarios: readonly Scenario[], goals: readonly Goal[]): Verdict[] {
  const verdicts: Verdict[] = [];
  for (const goal of goals) {
    for (const scenario of scenarios) {
      if (goal.scenarios !== undefined && !goal.scenarios.includes(scenario.name)) continue;
      const own = scenario.entries.find((entry) => entry.name === goal.contestant);
      const peer = bestPeer(scenario, goal);
      if (own === undefined || (goal.against.length > 0 && peer === undefined)) continue;
      const theirs = peer === undefined ? null : valuesOf(peer, goal.metric);
      const values = valuesOf(own, goal.metric).map((value, round) =>
        theirs === null ? value : value / theirs[round],
      );
      const spread = spreadOf(values);
      const { contestant, metric, bound, direction } = goal;
      const met = bound === null ? null : direction === 'atMost' ? spread.median <= bound : spread.median >= bound;
      verdicts.push({
        scenario: scenario.name,
        contestant,
        peer: peer?.name ?? null,
        metric,
        values,
        spread,
        bound,
        direction,
        met,
      });
    }
  }
  return verdicts;
}
