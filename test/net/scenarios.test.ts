/**
 * The tables of docs/scenarios: every test that they name exists in the file that they name, every number appears once and
 * in order, and what has no test has a reason.
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
  readonly name: string;
  readonly where: string;
}

function rows(): Row[] {
  const found: Row[] = [];
  for (const document of readdirSync(folder).sort()) {
    for (const line of readFileSync(new URL(document, folder), 'utf8').split('\n')) {
      const cells = /^\| (\d+)(?: ★)? \| (.+) \| (.+) \|$/.exec(line);
      if (cells !== null) found.push({ document, number: Number(cells[1]), name: cells[2], where: cells[3] });
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

test('the tables follow the list without a gap', (context) => {
  if (!existsSync(list)) {
    context.skip('the list of scenarios is not beside this checkout');
    return;
  }
  const numbers = [...readFileSync(list, 'utf8').matchAll(/^(\d+)\. (★)?/gm)].map((match) => Number(match[1]));
  const covered = new Set(rows().map((row) => row.number));
  for (const document of readdirSync(folder)) {
    const own = rows().filter((row) => row.document === document);
    const first = own[0].number;
    const last = own[own.length - 1].number;
    const missing = numbers.filter((number) => number >= first && number <= last && !covered.has(number));
    assert.deepEqual(missing, [], `${document} leaves scenarios out`);
  }
});
