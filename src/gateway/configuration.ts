/**
 * Room `gateway`: from the text of a configuration file to a configuration that can be started, or to every error in it with
 * line, field, value and what is allowed. Nothing is started before all of it is right.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type Document, isMap, LineCounter, type Node, parseDocument } from 'yaml';
import type { z } from 'zod';
import { type Parsed, schema } from './schema.ts';

export type Configuration = Parsed & {
  /** Where it came from; the demonstration has no file. */
  readonly source: string;
};
export type ListenerConfiguration = Configuration['listeners'][number];
export type RouteConfiguration = ListenerConfiguration['routes'][number];

export interface Problem {
  readonly line: number;
  readonly column: number;
  /** As `listeners[0].routes[2].proxy.balance`. */
  readonly field: string;
  readonly message: string;
}

/** A configuration that cannot be used; `message` holds one line for each problem. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
  readonly problems: readonly Problem[];

  constructor(source: string, problems: readonly Problem[]) {
    const lines = problems.map(({ line, column, field, message }) => {
      const place = line > 0 ? `${source}:${line}:${column}` : source;
      return `${place}: ${field === '' ? '' : `${field}: `}${message}`;
    });
    super(lines.join('\n'));
    this.problems = problems;
  }
}

const FILE_BYTES_MAX = 4 * 1024 * 1024;
/** More than this an honest file never needs; a hostile one grows exponentially with aliases. */
const ALIASES_MAX = 100;

/** @throws ConfigurationError */
export function readConfiguration(path: string): Configuration {
  let bytes: Buffer;
  try {
    const { size } = statSync(path);
    if (size > FILE_BYTES_MAX) throw new Error(`the file has ${size} bytes; at most ${FILE_BYTES_MAX} are read`);
    bytes = readFileSync(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const message = code === 'ENOENT' ? 'there is no such file' : (error as Error).message;
    throw new ConfigurationError(path, [{ line: 0, column: 0, field: '', message }]);
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new ConfigurationError(path, [{ line: 0, column: 0, field: '', message: 'the file is not UTF-8 text' }]);
  }
  return parseConfiguration(text, path);
}

/**
 * @param source names the text in errors; files that it names are relative to the source's directory
 * @throws ConfigurationError
 */
export function parseConfiguration(text: string, source: string): Configuration {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const positions = new Positions(document, lines);
  if (document.errors.length > 0) {
    const problems = document.errors.map((error) => {
      const { line, col } = lines.linePos(error.pos[0]);
      return { line, column: col, field: '', message: error.message };
    });
    throw new ConfigurationError(source, problems);
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: ALIASES_MAX });
  } catch (error) {
    throw new ConfigurationError(source, [{ line: 1, column: 1, field: '', message: (error as Error).message }]);
  }
  const result = schema.safeParse(value ?? {});
  if (!result.success)
    throw new ConfigurationError(
      source,
      result.error.issues.flatMap((issue) => describe(issue, positions, value)),
    );
  const configuration = resolveFiles({ ...result.data, source });
  const problems = check(configuration, positions);
  if (problems.length > 0) throw new ConfigurationError(source, problems);
  return configuration;
}

type Path = readonly PropertyKey[];

/** Where a field stands in the text. */
class Positions {
  private readonly document: Document;
  private readonly lines: LineCounter;

  constructor(document: Document, lines: LineCounter) {
    this.document = document;
    this.lines = lines;
  }

  /** The position of the field, or of the nearest one around it that is there. */
  of(path: Path): { readonly line: number; readonly column: number } {
    for (let depth = path.length; depth >= 0; depth--) {
      const node = depth === 0 ? this.document.contents : this.document.getIn(path.slice(0, depth), true);
      const range = (node as Node | undefined | null)?.range;
      if (range !== undefined && range !== null) {
        const { line, col } = this.lines.linePos(range[0]);
        return { line, column: col };
      }
    }
    return { line: 1, column: 1 };
  }

  /** The position of a key within the map at `path`. */
  ofKey(path: Path, key: string): { readonly line: number; readonly column: number } {
    const map = path.length === 0 ? this.document.contents : this.document.getIn(path, true);
    if (isMap(map)) {
      for (const pair of map.items) {
        const node = pair.key as Node & { value?: unknown };
        if (node.value === key && node.range !== undefined && node.range !== null) {
          const { line, col } = this.lines.linePos(node.range[0]);
          return { line, column: col };
        }
      }
    }
    return this.of(path);
  }
}

export function fieldName(path: Path): string {
  return path
    .map((part, index) => (typeof part === 'number' ? `[${part}]` : `${index === 0 ? '' : '.'}${String(part)}`))
    .join('');
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (inner, part) =>
      inner === null || inner === undefined ? undefined : (inner as Record<PropertyKey, unknown>)[part],
    value,
  );
}

function found(value: unknown): string {
  if (value === undefined) return 'missing';
  const text = JSON.stringify(value);
  return `found ${text.length > 60 ? `${text.slice(0, 57)}...` : text}`;
}

function describe(issue: z.core.$ZodIssue, positions: Positions, value: unknown): Problem[] {
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(issue.path);
    return issue.keys.map((key) => {
      const guess = closest(key, known);
      const allowed = guess === null ? `allowed are ${known.join(', ')}` : `did you mean ${guess}?`;
      return {
        ...positions.ofKey(issue.path, key),
        field: fieldName([...issue.path, key]),
        message: `there is no such field; ${allowed}`,
      };
    });
  }
  if (issue.code === 'invalid_union') {
    const inner = issue.errors.flat().filter((part) => part.code === 'custom' || part.path.length > 0);
    const [first] = inner;
    if (first !== undefined)
      return describe({ ...first, path: [...issue.path, ...first.path] } as z.core.$ZodIssue, positions, value);
  }
  const what = valueAt(value, issue.path);
  const message =
    what === undefined && issue.message.startsWith('Invalid input') ? 'this field is needed' : issue.message;
  return [{ ...positions.of(issue.path), field: fieldName(issue.path), message: `${message}; ${found(what)}` }];
}

/** The fields that the schema knows at a place. */
function knownKeys(path: Path): string[] {
  let node: unknown = schema;
  for (const part of path) node = typeof part === 'number' ? element(node) : shapeOf(node)?.[String(part)];
  return Object.keys(shapeOf(node) ?? {});
}

interface Definition {
  readonly type: string;
  readonly innerType?: unknown;
  readonly element?: unknown;
  readonly options?: readonly unknown[];
  readonly shape?: Record<string, unknown>;
}

/** Unwraps defaults and optionals; of a union, the member that is an object. */
function definition(node: unknown): Definition | undefined {
  const inner = (node as { def?: Definition } | undefined)?.def;
  if (inner?.innerType !== undefined) return definition(inner.innerType);
  if (inner?.options !== undefined) return inner.options.map(definition).find((option) => option?.shape !== undefined);
  return inner;
}

function shapeOf(node: unknown): Record<string, unknown> | undefined {
  return definition(node)?.shape;
}

function element(node: unknown): unknown {
  return definition(node)?.element;
}

/** The known word that differs least, when that is little. */
function closest(word: string, known: readonly string[]): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    for (let j = 1; j <= other.length; j++) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (one[i - 1] === other[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[other.length];
}

/** Paths in the file are relative to it. */
function resolveFiles(configuration: Configuration): Configuration {
  const base = dirname(resolve(configuration.source));
  const { accessLog } = configuration;
  return {
    ...configuration,
    ...(accessLog === undefined ? {} : { accessLog: { ...accessLog, file: resolve(base, accessLog.file) } }),
    listeners: configuration.listeners.map((listener) => ({
      ...listener,
      routes: listener.routes.map((route) =>
        route.files === undefined
          ? route
          : { ...route, files: { ...route.files, root: resolve(base, route.files.root) } },
      ),
    })),
  };
}

/** What no schema says. */
function check(configuration: Configuration, positions: Positions): Problem[] {
  const problems: Problem[] = [];
  const report = (path: Path, message: string): void => {
    problems.push({ ...positions.of(path), field: fieldName(path), message });
  };
  const taken = new Map<string, string>();
  if (configuration.admin !== undefined) taken.set(configuration.admin.text, 'admin');
  configuration.listeners.forEach((listener, index) => {
    const path = ['listeners', index, 'address'];
    const before = taken.get(listener.address.text);
    if (before !== undefined) report(path, `${listener.address.text} is taken by ${before} already`);
    taken.set(listener.address.text, fieldName(path));
    checkRoutes(listener, index, report);
  });
  return problems;
}

function checkRoutes(
  listener: ListenerConfiguration,
  index: number,
  report: (path: Path, message: string) => void,
): void {
  const seen = new Set<string>();
  listener.routes.forEach((route, position) => {
    const path = ['listeners', index, 'routes', position];
    if (seen.has(route.path)) report([...path, 'path'], `there is a route for ${route.path} already`);
    seen.add(route.path);
    const kinds = [route.respond, route.files, route.proxy].filter((kind) => kind !== undefined).length;
    if (kinds !== 1)
      report(path, `a route needs one of respond, files and proxy; this one has ${kinds === 0 ? 'none' : kinds}`);
    if (route.files !== undefined && statSync(route.files.root, { throwIfNoEntry: false })?.isDirectory() !== true) {
      report([...path, 'files', 'root'], `${route.files.root} is no directory`);
    }
    for (const [name, value] of Object.entries(route.respond?.headers ?? {})) {
      if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name))
        report([...path, 'respond', 'headers', name], `'${name}' is no field name`);
      if (/[^\t\x20-\x7e\x80-\xff]/.test(value))
        report([...path, 'respond', 'headers', name], 'the value has characters that no field may carry');
      if (/^(content-length|transfer-encoding|connection)$/i.test(name))
        report([...path, 'respond', 'headers', name], `${name} is set by the gateway`);
    }
  });
}
