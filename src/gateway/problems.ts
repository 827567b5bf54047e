/**
 * Room `gateway`: what is wrong with a configuration, said so that somebody can mend it without another look at the guide.
 *
 * A newcomer would get wrong: a problem is not thrown when it is found. All are collected, because whoever mends a file wants
 * to see the whole list once.
 */

/** Keys and indices from the top of the document. */
export type FieldPath = readonly (string | number)[];

export interface Problem {
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
  readonly column: number;
  /** As in `listeners[0].routes[2].proxy.balance`; '' for the file as a whole. */
  readonly field: string;
  /** What was found and what is allowed. */
  readonly message: string;
}

/** More lines than this say nothing more: the rest is counted. */
const PROBLEMS_SHOWN_MAX = 50;

/** Everything that is wrong with one file. The message has one line for each problem. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const shown = problems.slice(0, PROBLEMS_SHOWN_MAX).map(formatProblem);
    if (problems.length > shown.length) shown.push(`and ${problems.length - shown.length} more`);
    super(shown.join('\n'));
    this.problems = problems;
  }
}

export function formatProblem(problem: Problem): string {
  const subject = problem.field === '' ? '' : `${problem.field} `;
  return `${problem.file}:${problem.line}:${problem.column}: ${subject}${problem.message}`;
}

/** `listeners[0].routes[2].proxy`; keys that are not plain words stand in brackets and quotes. */
export function formatField(path: FieldPath): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    if (!/^[\w-]+$/.test(part)) return `${text}[${shorten(JSON.stringify(part))}]`;
    return text === '' ? part : `${text}.${part}`;
  }, '');
}

const SHOWN_CHARACTERS_MAX = 60;

function shorten(text: string): string {
  return text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}…` : text;
}

/** A value for a message. Never walks into it: aliases can make a value that contains itself. */
export function showValue(value: unknown): string {
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  // JSON escapes what would move the cursor of a terminal.
  return shorten(typeof value === 'string' ? JSON.stringify(value) : String(value));
}

/** `a`, `a or b`, `a, b or c`. */
export function oneOf(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words[words.length - 1]}`;
}

const COMPARED_CHARACTERS_MAX = 40;

/** The word that was probably meant, or null: the nearest one, when less than about a third of it differs. */
export function nearest(word: string, words: readonly string[]): string | null {
  if (word.length > COMPARED_CHARACTERS_MAX) return null;
  const simple = (text: string): string => text.toLowerCase().replace(/[-_ ]/g, '');
  let best: string | null = null;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of words) {
    const distance = editDistance(simple(word), simple(candidate));
    if (distance < bestDistance && distance <= Math.max(1, Math.floor(candidate.length / 3))) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours that lead from one to the other (optimal string alignment). */
function editDistance(from: string, to: string): number {
  const rows: number[][] = [Array.from({ length: to.length + 1 }, (_, column) => column)];
  for (let row = 1; row <= from.length; row++) {
    rows.push([row]);
    for (let column = 1; column <= to.length; column++) {
      const replaced = rows[row - 1][column - 1] + (from[row - 1] === to[column - 1] ? 0 : 1);
      let least = Math.min(rows[row - 1][column] + 1, rows[row][column - 1] + 1, replaced);
      if (row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]) {
        least = Math.min(least, rows[row - 2][column - 2] + 1);
      }
      rows[row].push(least);
    }
  }
  return rows[from.length][to.length];
}
