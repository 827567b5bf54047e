/**
 * What a benchmark is: a name and a function that measures. `run.ts` gives it options and does everything around it.
 */
import type { Goal, MetricColumn, Scenario, Skipped } from './result.ts';
import type { Session } from './session.ts';

export interface Options {
  readonly rounds: number;
  /** Length of one load window. */
  readonly seconds: number;
  /** One short round with fewer contestants: shows that everything works, not what it costs. */
  readonly quick: boolean;
  /** Messages a second (echo); null for the benchmark's own. */
  readonly rate: number | null;
}

export interface Findings {
  readonly scenarios: readonly Scenario[];
  readonly skipped: readonly Skipped[];
  /** A contestant that is installed did not work. */
  readonly failed: boolean;
  /** What else belongs to the conditions, such as the number of connections. */
  readonly parameters: Readonly<Record<string, number | string>>;
}

export interface Benchmark {
  readonly name: string;
  readonly title: string;
  /** What must be installed; what drives servers unless told. */
  readonly programs?: readonly string[];
  readonly columns: readonly MetricColumn[];
  readonly goals: readonly Goal[];
  measure(session: Session, options: Options): Promise<Findings>;
}
