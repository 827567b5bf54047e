/**
 * The tables of docs/scenarios: every test that they name exists in the file that they name, every number stands in one
 * table and in order, what has no test has a reason, and the overview counts right.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const root = new URL('../../', import.meta.url);
const folder = new URL('docs/scenarios/', root);
const list = new URL('../shared/socket-scenarios.md', root);

interface Row {
  readonly document: string;
  readonly number: number;
  readonly starred: boolean;
  readonly name: string;
  readonly where: string;
}

function rows(): Row[] {
  const found: Row[] = [];
  for (const document of readdirSync(folder).sort()) {
    for (const line of readFileSync(new URL(document, folder), 'utf8').split('\n')) {
      const cells = /^\| (\d+)( ★)? \| (.+) \| (.+) \|$/.exec(line);
      if (cells === null) continue;
      const [, number, star, name, where] = cells;
      found.push({ document, number: Number(number), starred: star !== undefined, name, where });
    }
  }
  return found;
}

test('every test that a table names exists', () => {
  for (const row of rows()) {
    if (row.name === '–') {
      assert.ok(row.where.startsWith('does not apply: '), `${row.document}, ${row.number}: a reason is missing`);
      continue;
    }
    const path = new URL(row.where, root);
    assert.ok(existsSync(path), `${row.document}, ${row.number}: ${row.where} does not exist`);
    const source = readFileSync(path, 'utf8').replaceAll("\\'", "'");
    assert.ok(source.includes(row.name), `${row.document}, ${row.number}: ${row.where} has no test "${row.name}"`);
  }
});

test('the tables follow the list without a gap, each scenario in one of them', (context) => {
  if (!existsSync(list)) {
    context.skip('the list of scenarios is not beside this checkout');
    return;
  }
  const listed = [...readFileSync(list, 'utf8').matchAll(/^(\d+)\. (★)?/gm)];
  const numbers = listed.map((match) => Number(match[1]));
  const documents = new Map<number, Set<string>>();
  for (const { number, document } of rows()) {
    documents.set(number, (documents.get(number) ?? new Set()).add(document));
  }
  assert.deepEqual([...documents.keys()], numbers);
  for (const [number, found] of documents)
    assert.equal(found.size, 1, `${number} stands in ${[...found].join(' and ')}`);
  const starred = listed.filter((match) => match[2] !== undefined).map((match) => Number(match[1]));
  const marked = rows()
    .filter((row) => row.starred)
    .map((row) => row.number);
  assert.deepEqual([...new Set(marked)], starred, 'stars');
});

test('the overview says how many scenarios have tests', () => {
  const overview = readFileSync(new URL('README.md', folder), 'utf8');
  const shown = (part: readonly Row[]): string => {
    const numbers = new Set(part.map((row) => row.number));
    const tested = new Set(part.filter((row) => row.name !== '–').map((row) => row.number));
    return `${numbers.size} | ${tested.size} | ${numbers.size - tested.size}`;
  };
  const all = rows();
  for (const document of new Set(all.map((row) => row.document))) {
    const line = `](${document}) | ${shown(all.filter((row) => row.document === document))} |`;
    assert.ok(overview.includes(line), `README.md lacks “${line}”`);
  }
  assert.ok(overview.includes(`| all | ${shown(all)} |`), `README.md lacks “| all | ${shown(all)} |”`);
  assert.ok(
    overview.includes(`| those with ★ | ${shown(all.filter((row) => row.starred))} |`),
    shown(all.filter((row) => row.starred)),
  );
});
