/**
 * Support for the tests that look at the project itself: which files there are, and what they import.
 *
 * A newcomer would get wrong: this is no parser. It knows comments, strings, templates and regular expressions well enough
 * to blank the comments; the formatter guarantees the rest of the shape that the patterns rely on.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, extname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

export const projectRoot = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

export interface SourceFile {
  /** From the project's root, with slashes. */
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
}

export interface Import {
  readonly specifier: string;
  /** Counted from 1. */
  readonly line: number;
  /** The compiler erases it, so it orders nothing at run time. */
  readonly typeOnly: boolean;
}

/** Made by tools, or data that is not ours to shape. */
const skippedFolders: ReadonlySet<string> = new Set([
  'node_modules',
  'dist',
  'build',
  '.git',
  'bench/results',
  'test/fixtures',
]);

function* walk(path: string): Generator<string> {
  for (const entry of readdirSync(join(projectRoot, path), { withFileTypes: true })) {
    const inner = posix.join(path, entry.name);
    if (skippedFolders.has(inner)) continue;
    if (entry.isDirectory()) yield* walk(inner);
    else if (entry.isFile()) yield inner;
  }
}

/** Every file of these folders with one of these extensions (`''`: none), in order of their paths. */
export function readSources(folders: readonly string[], extensions: readonly string[]): SourceFile[] {
  return folders
    .filter((folder) => existsSync(join(projectRoot, folder)))
    .flatMap((folder) => [...walk(folder)])
    .filter((path) => extensions.includes(extname(path)))
    .sort()
    .map((path) => {
      const text = readFileSync(join(projectRoot, path), 'utf8');
      return { path, text, lines: text.replace(/\n$/, '').split('\n') };
    });
}

/** Group 1 is a comment; strings, templates and regular expressions are matched only to be stepped over. */
const tokens = new RegExp(
  [
    /(\/\*[\s\S]*?\*\/|\/\/.*)/,
    /'(?:\\.|[^'\\\n])*'/,
    /"(?:\\.|[^"\\\n])*"/,
    /`(?:\\[\s\S]|[^`\\])*`/,
    /(?<=[(,=:[!&|?;]\s*|return )\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//,
  ]
    .map((part) => part.source)
    .join('|'),
  'g',
);

/** The text with every comment's characters replaced by spaces, so that lines and columns stay. */
export function blankComments(text: string): string {
  return text.replace(tokens, (token, comment: string | undefined) =>
    comment === undefined ? token : comment.replace(/[^\n]/g, ' '),
  );
}

export function lineOf(text: string, index: number): number {
  let line = 1;
  for (let at = text.indexOf('\n'); at !== -1 && at < index; at = text.indexOf('\n', at + 1)) line++;
  return line;
}

const staticImport = /^(?:import|export)\s+(type\s+)?(?:[^'";]*?\bfrom\s+)?['"]([^'"\n]+)['"]/gm;
const dynamicImport = /(typeof\s+)?\bimport\(\s*['"]([^'"\n]+)['"]/g;

/** `import … from`, `export … from`, `import 'x'` and `import('x')`, in order. */
export function importsOf(text: string): Import[] {
  const code = blankComments(text);
  return [...code.matchAll(staticImport), ...code.matchAll(dynamicImport)]
    .sort((left, right) => left.index - right.index)
    .map((match) => ({
      specifier: match[2],
      line: lineOf(code, match.index),
      typeOnly: match[1] !== undefined,
    }));
}

/** The path from the root that a relative specifier in `from` means. */
export function resolveImport(from: string, specifier: string): string {
  return posix.join(posix.dirname(from), specifier);
}

/** Relative paths in string literals, which is also how workers and assets are named (`new URL('./worker.ts', …)`). */
export function pathsNamedIn(source: SourceFile): string[] {
  return [...blankComments(source.text).matchAll(/['"`](\.\.?\/[^'"`\n]+)['"`]/g)].map((match) =>
    resolveImport(source.path, match[1]),
  );
}

/** Fails with the problems themselves as the message, one a line: `path:line: what is wrong; what to do`. */
export function expectNone(problems: readonly string[]): void {
  assert.ok(problems.length === 0, `${problems.length} problems\n${problems.join('\n')}`);
}
