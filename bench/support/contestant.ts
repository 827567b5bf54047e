/**
 * The contestants of a benchmark and the rounds in which they take turns.
 *
 * A newcomer would get wrong: all servers run during the whole benchmark, so that each is as warm in the last round as in the
 * first; those whose turn it is not sleep in the kernel. The order rotates from round to round, because whoever comes first
 * after a pause finds a cooler machine.
 */
import { processTree } from './accounting.ts';
import { listening } from './check.ts';
import { findProgram } from './machine.ts';
import type { Entry, Metrics, Scenario, Skipped } from './result.ts';
import { freePort, type Running, SERVER_CORE, type Session } from './session.ts';

export interface Contestant {
  /** Short and stable: goals and result files name it. */
  readonly name: string;
  /** As the table shows it. */
  readonly title: string;
  /** Programs that must be installed. */
  readonly needs?: readonly string[];
  /** The command that serves on this port, made ready (compiled, configuration written). */
  command(session: Session, port: number): readonly string[] | Promise<readonly string[]>;
}

export interface Served {
  readonly contestant: Contestant;
  readonly port: number;
  readonly running: Running;
  /** The process and what it started, known once it listens. */
  readonly pids: readonly number[];
}

/** Who takes part. */
export interface Field {
  readonly served: Served[];
  readonly facts: Map<Served, Entry['facts']>;
  readonly skipped: Skipped[];
  /** Somebody who is installed did not work: the benchmark goes on and ends with an error. */
  failed: boolean;
}

/** Starts a contestant, on the server's core unless told otherwise, and waits until it listens. */
export async function startContestant(session: Session, contestant: Contestant, core = SERVER_CORE): Promise<Served> {
  const port = await freePort();
  const running = session.start(contestant.title, await contestant.command(session, port), core);
  const ended = new Promise<never>((_, reject) => running.whenClosed(() => reject(new Error(running.complaint))));
  await Promise.race([listening(port), ended]);
  return { contestant, port, running, pids: processTree(running.pid) };
}

/**
 * Starts and checks everyone who can take part. Whoever lacks a program, or does not do what the check asks, is left out
 * with the reason.
 */
export async function assemble(
  session: Session,
  contestants: readonly Contestant[],
  check: (served: Served) => Promise<Entry['facts']>,
): Promise<Field> {
  const { able, skipped } = present(contestants);
  const field: Field = { served: [], facts: new Map(), skipped, failed: false };
  for (const contestant of able) {
    try {
      const served = await startContestant(session, contestant);
      field.facts.set(served, await check(served));
      field.served.push(served);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      field.failed = true;
      field.skipped.push({ name: contestant.title, reason });
      progress(`${contestant.title} is left out: ${reason}`);
    }
  }
  return field;
}

/** Parts those that can run here from those that lack a program. */
export function present(contestants: readonly Contestant[]): { able: Contestant[]; skipped: Skipped[] } {
  const able: Contestant[] = [];
  const skipped: Skipped[] = [];
  for (const contestant of contestants) {
    const missing = contestant.needs?.filter((program) => findProgram(program) === null) ?? [];
    if (missing.length === 0) able.push(contestant);
    else skipped.push({ name: contestant.title, reason: `${missing.join(' and ')} is not installed` });
  }
  return { able, skipped };
}

/** Progress for whoever waits; standard output is the table's alone. */
export function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Measures every item once a round, in an order that rotates, and answers the rounds of each. */
export async function takeTurns<Item>(
  items: readonly Item[],
  rounds: number,
  measure: (item: Item, round: number) => Promise<Metrics>,
): Promise<Map<Item, Metrics[]>> {
  const measured = new Map<Item, Metrics[]>(items.map((item) => [item, []]));
  for (let round = 0; round < rounds; round++) {
    const first = round % items.length;
    for (const item of [...items.slice(first), ...items.slice(0, first)])
      measured.get(item)!.push(await measure(item, round));
  }
  return measured;
}

/** A scenario out of what {@link takeTurns} measured, in the order of the contestants. */
export function scenarioOf(
  name: string,
  measured: ReadonlyMap<Served, Metrics[]>,
  facts: ReadonlyMap<Served, Entry['facts']>,
): Scenario {
  const entries = [...measured].map(([served, rounds]) => {
    const { name, title } = served.contestant;
    return { name, title, facts: facts.get(served) ?? {}, rounds };
  });
  return { name, entries };
}
