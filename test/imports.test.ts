/**
 * Keeps the rooms apart: imports go along the arrows of docs/architecture.md, never upward, never in a circle.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import {
  blankComments,
  expectNone,
  type Import,
  importsOf,
  lineOf,
  projectRoot,
  readSources,
  resolveImport,
} from './support/sources.ts';

/** The arrows. A room may import from where its arrows lead, and from where those lead in turn. */
const arrows: Readonly<Record<string, readonly string[]>> = {
  kernel: [],
  engine: ['kernel'],
  net: ['engine'],
  http: ['net'],
  bpf: ['kernel'],
  datapath: ['bpf'],
  control: ['datapath'],
  gateway: ['http', 'control'],
  tune: ['kernel'],
  load: ['net'],
  observe: ['bpf'],
  lab: ['gateway', 'tune', 'load', 'observe'],
  cli: ['gateway', 'tune', 'load', 'observe', 'lab'],
};

function reach(room: string, seen = new Set<string>()): Set<string> {
  for (const next of arrows[room] ?? []) {
    if (seen.has(next)) continue;
    seen.add(next);
    reach(next, seen);
  }
  return seen;
}

const roomOf = (path: string): string => path.split('/')[1];
const sources = readSources(['src'], ['.ts']);

/** The file in `src/` that an import means, or null for a package. */
function target(from: string, { specifier }: Import): string | null {
  if (specifier.startsWith('.')) return resolveImport(from, specifier);
  return specifier.startsWith('millrace/') ? `src/${specifier.slice('millrace/'.length)}/index.ts` : null;
}

/** One circle among the files that `edges` leads to, as a path that ends where it began; null where there is none. */
function findCircle(edges: ReadonlyMap<string, readonly string[]>): string[] | null {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): string[] | null => {
    const at = path.indexOf(file);
    if (at !== -1) return [...path.slice(at), file];
    if (done.has(file)) return null;
    path.push(file);
    for (const next of edges.get(file) ?? []) {
      const circle = visit(next);
      if (circle !== null) return circle;
    }
    path.pop();
    done.add(file);
    return null;
  };
  for (const file of edges.keys()) {
    const circle = visit(file);
    if (circle !== null) return circle;
  }
  return null;
}

test('every folder in src/ is a room with its arrows', () => {
  const unknown = readdirSync(join(projectRoot, 'src')).filter((room) => !(room in arrows));
  assert.deepEqual(unknown, [], 'add the room and its arrows to this file and to docs/architecture.md');
});

test('the arrows themselves lead to no room twice around', () => {
  for (const room of Object.keys(arrows)) assert.ok(!reach(room).has(room), `${room} reaches itself`);
});

test('a file imports from its own room or from one below', () => {
  const problems: string[] = [];
  for (const { path, text } of sources) {
    const room = roomOf(path);
    const allowed = reach(room);
    for (const found of importsOf(text)) {
      const file = target(path, found);
      if (file === null) continue;
      if (!file.startsWith('src/')) {
        problems.push(`${path}:${found.line}: imports ${file}; src/ stands alone, move what it needs into a room`);
      } else if (roomOf(file) !== room && !allowed.has(roomOf(file))) {
        const rooms = [...allowed].join(', ') || 'no other room';
        problems.push(
          `${path}:${found.line}: ${room} imports ${roomOf(file)}; it may import ${rooms}: pass the value in, or move it down`,
        );
      }
    }
  }
  expectNone(problems);
});

test('a file imports packages that users of millrace have too', () => {
  const { dependencies } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  const problems: string[] = [];
  for (const { path, text } of sources) {
    for (const found of importsOf(text)) {
      if (target(path, found) !== null || found.specifier.startsWith('node:')) continue;
      const name = found.specifier.split('/', found.specifier.startsWith('@') ? 2 : 1).join('/');
      if (!(name in dependencies)) problems.push(`${path}:${found.line}: ${name} is no dependency in package.json`);
    }
  }
  expectNone(problems);
});

test('only src/kernel/native.ts loads the addon', () => {
  const problems: string[] = [];
  for (const { path, text } of sources) {
    if (path === 'src/kernel/native.ts') continue;
    for (const match of blankComments(text).matchAll(/\bdlopen\b|\.node['"`]/g)) {
      problems.push(`${path}:${lineOf(text, match.index)}: loads an addon; use what src/kernel/ exports`);
    }
  }
  expectNone(problems);
});

test('no files import each other in a circle', () => {
  // Type imports are erased, so two files may name each other's types; values in a circle depend on who is loaded first.
  const edges = new Map(
    sources.map((source) => [
      source.path,
      importsOf(source.text)
        .filter((found) => !found.typeOnly)
        .map((found) => target(source.path, found))
        .filter((file) => file !== null),
    ]),
  );
  const circle = findCircle(edges);
  assert.equal(circle, null, `${circle?.join(' → ')}: move what both need into a third file, or import only the type`);
});

test('examples use what users can import', () => {
  const problems: string[] = [];
  for (const { path, text } of readSources(['examples'], ['.ts'])) {
    for (const { specifier, line } of importsOf(text)) {
      // A program for the kernel lies beside what loads it.
      if (!/^(?:node:|millrace\/|\.\/[\w-]+\.bpf\.ts$)/.test(specifier)) {
        problems.push(`${path}:${line}: imports ${specifier}; an example shows millrace/… and node:… only`);
      }
    }
  }
  expectNone(problems);
});

test('imports are found in every form, and not in comments or strings', () => {
  const text = [
    "import test from 'node:test';",
    'import {',
    '  type A,',
    '  b,',
    "} from './b.ts';",
    "import type { C } from './c.ts';",
    "export * from './d.ts';",
    "export { e } from './e.ts';",
    "import './f.ts';",
    "const g = await import('./g.ts');",
    "type H = typeof import('./h.ts');",
    "// import { no } from './no.ts';",
    "/** ```ts\nimport { no } from './no.ts';\n``` */",
    "export const pattern = /['\"`]/; export const word = 'x';",
  ].join('\n');
  assert.deepEqual(
    importsOf(text).map(({ specifier, line, typeOnly }) => `${line} ${specifier}${typeOnly ? ' type' : ''}`),
    ['1 node:test', '2 ./b.ts', '6 ./c.ts type', '7 ./d.ts', '8 ./e.ts', '9 ./f.ts', '10 ./g.ts', '11 ./h.ts type'],
  );
});

test('a circle is found and shown as the way around it', () => {
  const edges = new Map([
    ['a', ['b']],
    ['b', ['c', 'd']],
    ['c', []],
    ['d', ['b']],
  ]);
  assert.deepEqual(findCircle(edges), ['b', 'd', 'b']);
  edges.set('d', ['c']);
  assert.equal(findCircle(edges), null);
});
