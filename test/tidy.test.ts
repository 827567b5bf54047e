/**
 * What a reviewer should not have to remember: how files open, how large they may grow, and what stays out of them.
 *
 * A newcomer would get wrong: what needs a parser is the linter's business (`biome.json`: `any`, eval, console in src/,
 * the length of TypeScript functions, focused and skipped tests). What a line of text can tell is here.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import test from 'node:test';
import {
  blankComments,
  expectNone,
  lineOf,
  pathsNamedIn,
  projectRoot,
  readSources,
  type SourceFile,
} from './support/sources.ts';

type Rule = 'opening' | 'lines' | 'columns' | 'function' | 'phrase' | 'path' | 'unused';

/** Every exception of this project: the rule, the file, the reason. One that is no longer needed fails a test below. */
const exceptions: readonly { readonly rule: Rule; readonly path: string; readonly reason: string }[] = [
  { rule: 'phrase', path: 'test/tidy.test.ts', reason: 'names what it bans' },
];

const LINES_MAX = 400;
const TEST_LINES_MAX = 600;
const COLUMNS_MAX = 140;
const FUNCTION_LINES_MAX = 80;

const code = readSources(
  ['src', 'test', 'bench', 'native', 'examples', 'bin', 'scripts', '.ci'],
  ['.ts', '.js', '.c', '.h', '.lua', '.sh', ''],
);
const pages = [
  ...readSources(['docs'], ['.md']),
  ...readSources(['.'], ['.md']).filter(({ path }) => !path.includes('/')),
];

const excused = new Set<string>();

/** Fails with every problem that is not excused. A problem reads `path:line: what; what to do`. */
function report(rule: Rule, problems: readonly string[]): void {
  const left = problems.filter((problem) => {
    const path = problem.slice(0, problem.indexOf(':'));
    const isExcused = exceptions.some((exception) => exception.rule === rule && exception.path === path);
    if (isExcused) excused.add(`${rule} ${path}`);
    return !isExcused;
  });
  expectNone(left);
}

/** Lines from 1 and lengths of the functions of a C file, which open and close in the first column. */
function functionsOfC(lines: readonly string[]): { readonly line: number; readonly length: number }[] {
  const found: { line: number; length: number }[] = [];
  let opened = -1;
  for (const [index, line] of lines.entries()) {
    if (/^\S.*\)\s*\{$/.test(line)) opened = index;
    if (line === '}' && opened !== -1) {
      found.push({ line: opened + 1, length: index - opened + 1 });
      opened = -1;
    }
  }
  return found;
}

function findPhrases(
  { path, text }: Pick<SourceFile, 'path' | 'text'>,
  phrases: readonly (readonly [RegExp, string])[],
): string[] {
  return phrases.flatMap(([pattern, advice]) =>
    [...text.matchAll(pattern)].map((match) => `${path}:${lineOf(text, match.index)}: “${match[0].trim()}”; ${advice}`),
  );
}

test('a file opens with a comment that says what it is for', () => {
  const problems = code
    .filter(({ lines }) => {
      const first = lines[0].startsWith('#!') && !/^#/.test(lines[1] ?? '') ? lines[1] : lines[0];
      return !/^(?:\/\*\*?|\/\/|--|#!?)/.test(first ?? '');
    })
    .map(
      ({ path }) => `${path}:1: opens without a comment; say what the file is for and what a newcomer would get wrong`,
    );
  report('opening', problems);
});

test('a file in src/ names its room in its first comment', () => {
  const problems = code
    .filter(({ path }) => path.startsWith('src/') && path.endsWith('.ts'))
    .filter(({ path, text }) => {
      const opening = /^(?:\/\*[\s\S]*?\*\/|(?:\/\/.*\n)+)/.exec(text)?.[0] ?? '';
      return !opening.includes(`Room \`${path.split('/')[1]}\``);
    })
    .map(({ path }) => `${path}:1: names no room; begin with “Room \`${path.split('/')[1]}\`: …”`);
  report('opening', problems);
});

test('a file holds one idea: no more lines than one can read in a sitting', () => {
  const problems = code.flatMap(({ path, lines }) => {
    const allowed = path.endsWith('.test.ts') ? TEST_LINES_MAX : LINES_MAX;
    return lines.length > allowed
      ? [`${path}:${allowed + 1}: ${lines.length} lines, ${allowed} are allowed; split it by what it does`]
      : [];
  });
  report('lines', problems);
});

test('a line fits beside another file', () => {
  const problems = code.flatMap(({ path, lines }) =>
    lines.flatMap((line, index) =>
      [...line].length > COLUMNS_MAX
        ? [`${path}:${index + 1}: ${[...line].length} columns, ${COLUMNS_MAX} are allowed; break the line`]
        : [],
    ),
  );
  report('columns', problems);
});

test('a function in C fits on a screen', () => {
  const problems = code
    .filter(({ path }) => /\.[ch]$/.test(path))
    .flatMap(({ path, lines }) =>
      functionsOfC(lines)
        .filter(({ length }) => length > FUNCTION_LINES_MAX)
        .map(
          ({ line, length }) =>
            `${path}:${line}: a function of ${length} lines, ${FUNCTION_LINES_MAX} are allowed; take parts out`,
        ),
    );
  report('function', problems);
});

test('nothing is put off, silenced or skipped without its reason', () => {
  const everywhere = [
    [/\b(?:TODO|FIXME|XXX|HACK)\b/g, 'do it now, or describe it in docs/ with the reason that it waits'],
    [/^\s*(?:\/\/|\*|#|--)\s*[-=*#~]{4,}.*$/gm, 'a banner; a file that needs parts is several files'],
    [/@ts-(?:ignore|nocheck)/g, 'give the value its type, or use @ts-expect-error with the reason'],
    [/@ts-expect-error\s*$/gm, 'say why on the same line'],
  ] as const;
  const inCode = [
    [/\b(?:test|it|describe|suite)\.(?:only|todo)\b/g, 'run every test'],
    [/\b(?:skip|todo|only):\s*true\b/g, 'give the reason as a string'],
    [/\b(?:context|t)\.(?:skip|todo)\(\s*\)/g, 'give the reason as a string'],
    [/\beval\(|\bnew Function\(/g, 'write the code out'],
    [/\bdebugger\b/g, 'remove it'],
  ] as const;
  const problems = code.flatMap(({ path, text }) => [
    ...findPhrases({ path, text }, everywhere),
    ...(/\.[tj]s$/.test(path) ? findPhrases({ path, text: blankComments(text) }, inCode) : []),
  ]);
  report('phrase', problems);
});

test('nothing names a place that only one machine has', () => {
  const places = [
    [/(?<![\w.)\]}])\/(?:home|Users|work)\/[\w.-]+/g, 'use a path from the project, a parameter or a temporary folder'],
    [/(?<![\w.)\]}])\/root(?:\/[\w.-]+|(?=['"`]))/g, 'use a path from the project, a parameter or a temporary folder'],
    [/file:\/\/\/\S+/g, 'make it from import.meta.url'],
  ] as const;
  const problems = [...code, ...pages].flatMap((file) => findPhrases(file, places));
  report('path', problems);
});

/** The modules that the package exports, as sources. */
const exported = Object.values(
  (
    JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {
      exports: Record<string, { default: string }>;
    }
  ).exports,
).map((entry) => entry.default.replace(/^\.\/dist\/(.*)\.js$/, 'src/$1.ts'));

test('every file in src/ is reached from an entry', () => {
  const entries = code
    .map(({ path }) => path)
    .filter((path) => exported.includes(path) || path.endsWith('.bpf.ts') || path === 'src/cli/main.ts');
  const sources = new Map(code.map((source) => [source.path, source]));
  const reached = new Set(entries);
  for (const path of reached) {
    for (const named of pathsNamedIn(sources.get(path)!)) if (sources.has(named)) reached.add(named);
  }
  const problems = code
    .filter(({ path }) => path.startsWith('src/') && !path.endsWith('.test.ts') && !reached.has(path))
    .map(({ path }) => `${path}:1: no entry (the package’s exports, src/cli/main.ts) leads to it; use it or delete it`);
  report('unused', problems);
});

test('a link in a page leads to a file that is there', () => {
  const problems = pages.flatMap(({ path, text }) =>
    [...text.matchAll(/\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)\s]*)?\)/g)]
      .filter((match) => !existsSync(join(projectRoot, posix.join(posix.dirname(path), match[1]))))
      .map((match) => `${path}:${lineOf(text, match.index)}: links to ${match[1]}, which is not there; mend the link`),
  );
  expectNone(problems);
});

test('a page or folder that code or a page names is there', () => {
  const problems = [...code, ...pages].flatMap(({ path, text }) =>
    [...text.matchAll(/(?<![\w/.])(?:docs|examples|scripts)\/[\w/.-]*\.(?:md|ts|js|sh)\b/g)]
      .filter((match) => !existsSync(join(projectRoot, match[0])))
      .map((match) => `${path}:${lineOf(text, match.index)}: names ${match[0]}, which is not there; mend the name`),
  );
  expectNone(problems);
});

test('what package.json publishes is there', () => {
  const { files, exports, scripts } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {
    files: string[];
    exports: Record<string, { default: string }>;
    scripts: Record<string, string>;
  };
  const published = files.filter((path) => path !== 'dist');
  const exported = Object.values(exports).map((entry) =>
    entry.default.replace('./dist/', 'src/').replace(/\.js$/, '.ts'),
  );
  const run = Object.values(scripts).flatMap((script) => /^node (\S+)/.exec(script)?.[1] ?? []);
  const missing = [...published, ...exported, ...run].filter((path) => !existsSync(join(projectRoot, path)));
  assert.deepEqual(missing, [], 'package.json names what is not there; correct it or add the file');
});

test('every exception is still needed', () => {
  const unneeded = exceptions.filter(({ rule, path }) => !excused.has(`${rule} ${path}`));
  assert.deepEqual(unneeded, [], 'the file keeps the rule now; delete the exception');
});

test('functions in C are measured from their opening line to their closing brace', () => {
  const lines = [
    'struct state {',
    '  int a;',
    '};',
    '',
    'static int f(int a) {',
    '  if (a) {',
    '  }',
    '  return a;',
    '}',
  ];
  assert.deepEqual(functionsOfC(lines), [{ line: 5, length: 5 }]);
});

test('a phrase is reported with its file, its line and what to do', () => {
  const found = findPhrases({ path: 'src/net/a.ts', text: 'one\ntwo debugger' }, [[/\bdebugger\b/g, 'remove it']]);
  assert.deepEqual(found, ['src/net/a.ts:2: “debugger”; remove it']);
});
