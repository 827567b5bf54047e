/**
 * Room `bpf`: what is wrong with a source, where, and what to write instead.
 *
 * A newcomer would get wrong: {@link Refusal} is thrown at the first thing that a statement does wrong and ends that statement only.
 * The front end collects refusals and goes on, and {@link CompileErrors} is what the caller of the compiler gets.
 */

/** One problem. `line` and `column` from 1. */
export interface Diagnostic {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
  /** What to write instead; null where the message says it. */
  readonly advice: string | null;
}

/** Where a node of the syntax stands: what the parser puts on each. */
export interface Located {
  readonly loc?: {
    readonly filename?: string;
    readonly start: { readonly line: number; readonly column: number };
  } | null;
}

/** Thrown by {@link refuse}; `diagnostic` is null where the cause has been reported already. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly diagnostic: Diagnostic | null;

  constructor(diagnostic: Diagnostic | null) {
    super(diagnostic?.message ?? 'reported before');
    this.diagnostic = diagnostic;
  }
}

/** Whether an error says that the source nests deeper than this process can follow: the parser and the compiler call themselves. */
export function isTooDeep(error: unknown): boolean {
  return error instanceof RangeError && error.message.startsWith('Maximum call stack');
}

/** What is told of it. */
export function tooDeep(node: Located, file: string): Diagnostic {
  const { line, column } = node.loc?.start ?? { line: 1, column: 0 };
  const advice = 'write it as several statements or functions';
  return { file, line, column: column + 1, message: 'this nests too deeply for the compiler', advice };
}

/** Ends the statement that `node` belongs to. */
export function refuse(node: Located, message: string, advice: string | null = null): never {
  const start = node.loc?.start;
  throw new Refusal({
    file: node.loc?.filename ?? '',
    line: start?.line ?? 1,
    column: (start?.column ?? 0) + 1,
    message,
    advice,
  });
}

/** Ends the statement without a further report: it uses what an earlier one failed to declare. */
export function refuseSilently(): never {
  throw new Refusal(null);
}

/** `file:line:column: message; advice`, the source's line, and a caret below the place. */
function show(error: Diagnostic, textOf: (file: string) => string): string {
  const advice = error.advice === null ? '' : `; ${error.advice}`;
  const head = `${error.file}:${error.line}:${error.column}: ${error.message}${advice}`;
  const line = textOf(error.file).split('\n')[error.line - 1];
  if (line === undefined) return head;
  // Tabs stay tabs, so that the caret stands where the terminal shows the place.
  const indent = line.slice(0, error.column - 1).replace(/[^\t]/g, ' ');
  return `${head}\n  ${line}\n  ${indent}^`;
}

/** A source that does not compile. The message shows every problem with its line. */
export class CompileErrors extends Error {
  override readonly name = 'CompileErrors';
  readonly errors: readonly Diagnostic[];

  constructor(errors: readonly Diagnostic[], textOf: (file: string) => string) {
    super(errors.map((error) => show(error, textOf)).join('\n'));
    this.errors = errors;
  }
}
