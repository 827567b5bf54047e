/**
 * A result as Markdown, and the place of results in the documentation: docs/benchmarks.md holds one section for each
 * benchmark between two comments, and only what stands between them is replaced.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Entry, type Result, type Scenario, type Spread, spreadOf, type Verdict } from './result.ts';
import { benchFolder } from './session.ts';

const resultsFolder = join(benchFolder, 'results');
const document = resolve(benchFolder, '../docs/benchmarks.md');

/** A server that shared its core with something else for more than this part of the time was disturbed. */
const DISTURBED_PERCENT = 5;

const format = ({ median, min, max }: Spread, digits: number): string =>
  min === max ? median.toFixed(digits) : `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`;

function table(rows: readonly (readonly string[])[]): string {
  const lines = rows.map((row) => `| ${row.join(' | ')} |`);
  lines.splice(1, 0, `|${rows[0].map((_, column) => (column === 0 ? '---|' : '--:|')).join('')}`);
  return lines.join('\n');
}

/** Empty where the metric was not measured of this one. */
function cell(entry: Entry, key: string, digits: number): string {
  const values = entry.rounds.map((round) => round[key]).filter((value) => value !== undefined);
  return values.length === 0 ? '' : format(spreadOf(values), digits);
}

function scenarioTable(result: Result, scenario: Scenario): string {
  const facts = Object.keys(scenario.entries[0]?.facts ?? {});
  const header = [scenario.name, ...result.columns.map((column) => column.title), ...facts];
  const rows = scenario.entries.map((entry) => [
    entry.title,
    ...result.columns.map(({ key, digits }) => cell(entry, key, digits)),
    ...facts.map((fact) => String(entry.facts[fact])),
  ]);
  return table([header, ...rows]);
}

function verdictRow(result: Result, verdict: Verdict): string[] {
  const titles = new Map(
    result.scenarios.flatMap((scenario) => scenario.entries).map((entry: Entry) => [entry.name, entry.title]),
  );
  const own = titles.get(verdict.contestant) ?? verdict.contestant;
  const peer = verdict.peer === null ? '' : ` / ${titles.get(verdict.peer) ?? verdict.peer}`;
  const column = result.columns.find(({ key }) => key === verdict.metric);
  const digits = verdict.peer === null ? (column?.digits ?? 0) : 2;
  return [
    `${verdict.scenario}: ${own}${peer}`,
    column?.title ?? verdict.metric,
    format(verdict.spread, digits),
    verdict.bound === null
      ? ''
      : `${verdict.direction === 'atMost' ? 'at most' : 'at least'} ${verdict.bound.toFixed(digits)}`,
    verdict.met === null ? '' : verdict.met ? 'met' : '**missed**',
  ];
}

function disturbance(result: Result): string[] {
  const shares = result.scenarios.flatMap(({ entries }) =>
    entries.flatMap(({ rounds }) => rounds.map((round) => round.foreignCpuPercent ?? 0)),
  );
  const disturbed = shares.filter((share) => share > DISTURBED_PERCENT).length;
  if (disturbed === 0) return [];
  return [
    `${disturbed} of ${shares.length} windows were disturbed: something else used more than ${DISTURBED_PERCENT} % of the server's core.`,
  ];
}

/** The result as a section below a heading of its own. */
export function markdown(result: Result): string {
  const { machine } = result;
  const versions = Object.entries(machine.versions).filter(([, version]) => version !== 'absent');
  const parameters = Object.entries(result.parameters).map(([name, value]) => `${name} ${value}`);
  const parts = [
    `### ${result.title}`,
    `\`${result.command}\` on ${result.date.slice(0, 10)}: ${parameters.join(', ')}. Medians, least and greatest in brackets.`,
    ...result.scenarios.map((scenario) => scenarioTable(result, scenario)),
  ];
  if (result.verdicts.length > 0) {
    const header = ['goal', 'metric', 'measured', 'wanted', ''];
    parts.push(table([header, ...result.verdicts.map((verdict) => verdictRow(result, verdict))]));
  }
  parts.push(
    ...result.skipped.map(({ name, reason }) => `Not measured: ${name}, because ${reason}.`),
    ...disturbance(result),
  );
  parts.push(
    `Linux ${machine.kernel}, ${machine.processor}, ${machine.cores} cores, ${machine.memoryGB} GB, ` +
      `${machine.congestionControl}; ${versions.map(([name, version]) => `${name} ${version}`).join(', ')}. ` +
      (result.quick
        ? 'A quick run: it shows that everything works, not what it costs.'
        : `Raw data: [bench/results/${result.bench}.json](../bench/results/${result.bench}.json).`),
  );
  return `${parts.join('\n\n')}\n`;
}

export function keep(result: Result): void {
  mkdirSync(resultsFolder, { recursive: true });
  writeFileSync(join(resultsFolder, `${result.bench}.json`), `${JSON.stringify(result, null, 1)}\n`);
}

/** Puts every kept result into docs/benchmarks.md and answers the names. */
export function writeDocs(): string[] {
  let text = readFileSync(document, 'utf8');
  const names = (existsSync(resultsFolder) ? readdirSync(resultsFolder) : [])
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length))
    .sort();
  for (const name of names) {
    const result: Result = JSON.parse(readFileSync(join(resultsFolder, `${name}.json`), 'utf8'));
    const [begin, end] = [`<!-- bench:${name} -->`, `<!-- /bench:${name} -->`];
    const section = `${begin}\n\n${markdown(result)}\n${end}`;
    const from = text.indexOf(begin);
    const to = text.indexOf(end);
    text =
      from < 0 || to < from
        ? `${text.trimEnd()}\n\n${section}\n`
        : text.slice(0, from) + section + text.slice(to + end.length);
  }
  writeFileSync(document, text);
  return names;
}
