/**
 * Room `gateway`: a YAML file as plain values that still know where they stood: the octets are checked, parsed, and every value
 * can be found again by its path.
 *
 * A newcomer would get wrong: the file may come from anybody. Its size is bounded before it is read, aliases are counted before
 * they are expanded (nine of nine of nine… would fill the memory), and control characters never reach a terminal.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseDocument,
  visit,
  type YAMLError,
} from 'yaml';
import { ConfigurationError, type FieldPath, formatField, type Problem } from './problems.ts';

const FILE_BYTES_MAX = 1024 * 1024;
/** Values that aliases may add up to. */
const ALIASES_MAX = 100;

/** The octets of a file, which may also be a pipe (`--config <(…)`). */
function readOctets(file: string): Buffer {
  const descriptor = openSync(file, 'r');
  try {
    const octets = Buffer.alloc(FILE_BYTES_MAX + 1);
    let length = 0;
    for (;;) {
      const read = readSync(descriptor, octets, length, octets.length - length, null);
      length += read;
      if (read === 0 || length === octets.length) return octets.subarray(0, length);
    }
  } finally {
    closeSync(descriptor);
  }
}

function refuseWhole(file: string, line: number, column: number, message: string): never {
  throw new ConfigurationError([{ file, line, column, field: '', message }]);
}

/** @throws ConfigurationError where the file is missing, too large or no text */
export function readText(file: string): string {
  let octets: Buffer;
  try {
    octets = readOctets(file);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === undefined) throw error;
    const known: Record<string, string> = {
      ENOENT: 'there is no such file',
      EISDIR: 'this is a directory: a file is needed',
      EACCES: 'the permissions do not allow reading it',
    };
    return refuseWhole(file, 1, 1, `cannot be read: ${known[code] ?? code}`);
  }
  if (octets.length > FILE_BYTES_MAX) {
    return refuseWhole(file, 1, 1, `is larger than 1 MB, which is the most that is read`);
  }
  return decode(file, octets);
}

function decode(file: string, octets: Buffer): string {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    return decoder.decode(octets);
  } catch {
    // Not UTF-8: the line is found by trying each, which never happens to a good file.
    let line = 1;
    for (let start = 0; start < octets.length; line++) {
      const newline = octets.indexOf(0x0a, start);
      const end = newline < 0 ? octets.length : newline;
      try {
        decoder.decode(octets.subarray(start, end));
      } catch {
        return refuseWhole(file, line, 1, 'is not UTF-8 text from this line on: save it as UTF-8');
      }
      start = end + 1;
    }
    return refuseWhole(file, 1, 1, 'is not UTF-8 text: save it as UTF-8');
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
const CONTROL = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/;

/** What to do about an error of the parser, whose own message stands before it. */
function explain(error: YAMLError, lineText: string): string {
  if (error.code === 'RESOURCE_EXHAUSTION') return 'is nested too deeply';
  if (error.code === 'TAB_AS_INDENT') return 'is indented with a tab: use spaces';
  if (error.code === 'MULTIPLE_DOCS') return 'begins a second document: one is allowed';
  if (error.code === 'NON_STRING_KEY') return 'the name of a field is not text';
  if (/[:\-,[]\s*\[[0-9a-fA-F:.%]*\]:/.test(lineText))
    return 'an IPv6 address in brackets needs quotes, as in "[::]:8080"';
  if (/^BAD_SCALAR_START$/.test(error.code)) return `${error.message}: put the text in quotes`;
  return `is not YAML: ${error.message}`;
}

export class Source {
  readonly file: string;
  /** The plain value of the document. May share and even contain itself where aliases say so. */
  readonly value: unknown;
  /** Fields that are given twice. The value holds the last one. */
  readonly duplicates: readonly Problem[];
  readonly #document: Document;
  readonly #lines = new LineCounter();

  /** @throws ConfigurationError with everything that makes the text no YAML of this form */
  constructor(text: string, file: string) {
    this.file = file;
    const control = CONTROL.exec(text);
    if (control !== null) this.#refuseControl(text, control.index);
    // Warnings are read from the document, not printed; `silent` would also hide a second document.
    const options = { lineCounter: this.#lines, prettyErrors: false, stringKeys: true, logLevel: 'error' } as const;
    this.#document = parseDocument(text, options);
    const errors = this.#document.errors.filter((error) => error.code !== 'DUPLICATE_KEY');
    if (errors.length > 0) throw new ConfigurationError(this.#explainErrors(errors, text));
    this.#checkReferences();
    this.duplicates = this.#document.errors.map((error) => this.#describeDuplicate(error));
    this.value = this.#expand();
  }

  #refuseControl(text: string, offset: number): never {
    const before = text.slice(0, offset).split('\n');
    const code = text.charCodeAt(offset).toString(16).padStart(4, '0').toUpperCase();
    return refuseWhole(this.file, before.length, before.at(-1)!.length + 1, `holds the control character U+${code}`);
  }

  #explainErrors(errors: readonly YAMLError[], text: string): Problem[] {
    const deep = errors.find((error) => error.code === 'RESOURCE_EXHAUSTION');
    const lines = text.split('\n');
    const problems = (deep === undefined ? errors : [deep]).map((error) => {
      const problem = this.problemAt(error.pos[0], '', '');
      return { ...problem, message: explain(error, lines[problem.line - 1] ?? '') };
    });
    // One slip makes the parser complain several times about one place.
    return problems.filter((problem, index) => index === 0 || problem.line !== problems[index - 1].line);
  }

  /** Tags that are not known and aliases that lead nowhere. */
  #checkReferences(): void {
    const problems = this.#document.warnings.map((warning) =>
      this.problemAt(warning.pos[0], '', `${warning.message}: tags are not used here; put the text in quotes`),
    );
    visit(this.#document, {
      Alias: (_, node) => {
        if (node.resolve(this.#document) !== undefined) return;
        const message = `*${node.source} names no anchor before it; if it is text, put it in quotes`;
        problems.push(this.problemAt(node.range?.[0] ?? 0, '', message));
      },
    });
    if (problems.length > 0) throw new ConfigurationError(problems);
  }

  #describeDuplicate(error: YAMLError): Problem {
    let found: Problem | null = null;
    visit(this.#document, {
      Pair: (_, pair, ancestors) => {
        const key = pair.key;
        if (!isScalar(key) || key.range?.[0] !== error.pos[0]) return undefined;
        const field = formatField([...this.#pathOf(ancestors as readonly unknown[]), String(key.value)]);
        found = this.problemAt(error.pos[0], field, 'is given twice: remove one');
        return visit.BREAK;
      },
    });
    return found ?? this.problemAt(error.pos[0], '', 'a field is given twice: remove one');
  }

  /** The path of the innermost collection of a chain of nodes. */
  #pathOf(ancestors: readonly unknown[]): FieldPath {
    const path: (string | number)[] = [];
    for (let index = 1; index < ancestors.length; index++) {
      const parent = ancestors[index - 1];
      const child = ancestors[index];
      if (isSeq(parent)) path.push(parent.items.indexOf(child));
      else if (isMap(parent)) path.push(String((child as Pair<{ value: unknown }>).key.value));
    }
    return path;
  }

  #expand(): unknown {
    try {
      return this.#document.toJS({ maxAliasCount: ALIASES_MAX });
    } catch (error) {
      if (!(error instanceof ReferenceError || error instanceof RangeError)) throw error;
      return refuseWhole(this.file, 1, 1, `its aliases stand for more than ${ALIASES_MAX} values: write them out`);
    }
  }

  problemAt(offset: number, field: string, message: string): Problem {
    const { line, col } = this.#lines.linePos(offset);
    return { file: this.file, line: Math.max(line, 1), column: Math.max(col, 1), field, message };
  }

  /**
   * A problem with the value at `path`. Where there is none, it is put where the innermost existing one begins; `part: 'key'`
   * puts it at the field's name. A single value that stands for a mapping ends the path.
   */
  problem(path: FieldPath, message: string, part: 'key' | 'value' = 'value'): Problem {
    let node: unknown = this.#document.contents;
    let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
    let length = 0;
    for (const name of path) {
      if (isAlias(node)) node = node.resolve(this.#document);
      if (isScalar(node)) break;
      length++;
      const pair = isMap(node)
        ? node.items.find((item) => isScalar(item.key) && String(item.key.value) === name)
        : undefined;
      node = isSeq(node) ? node.items[name as number] : pair?.value;
      const key = pair?.key;
      // An empty value has no place of its own: its name's is better.
      const isEmpty = isScalar(node) && node.value === null && node.source === '';
      const last = length === path.length;
      const shown = isScalar(key) && ((last && part === 'key') || isEmpty) ? key : node;
      if (isNode(shown) && shown.range) offset = shown.range[0];
    }
    return this.problemAt(offset, formatField(path.slice(0, length)), message);
  }

  /** The value at `path`, or at its longest part that ends in a single value; undefined where there is none. */
  valueAt(path: FieldPath): unknown {
    let value = this.value;
    for (const name of path) {
      if (typeof value !== 'object' || value === null) return value;
      value = Object.hasOwn(value, name) ? (value as Record<string | number, unknown>)[name] : undefined;
    }
    return value;
  }
}
