/**
 * Room `cli`: what the `bpf` commands have in common: reading a program or an object, and saying what went wrong in one way.
 *
 * A newcomer would get wrong: machines read standard output, people what the commands print there without --json; problems go to
 * standard error in both cases, and with --json also as an object to standard output.
 */
import { readFileSync } from 'node:fs';
import type { ObjectSpec } from '../../bpf/object/spec.ts';

/** What every command takes. */
export interface CommonOptions {
  readonly json?: boolean;
}

/** A mistake in how the command was called. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A line for people, or an object for machines. */
export function say(options: CommonOptions, line: string, event: Readonly<Record<string, unknown>>): void {
  process.stdout.write(options.json === true ? `${JSON.stringify(event, plain)}\n` : `${line}\n`);
}

/** 64-bit values are numbers in JSON where a double holds them, and text elsewhere. */
export function plain(_key: string, value: unknown): unknown {
  if (typeof value !== 'bigint') return value;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}

/** Runs a command; what it throws becomes a message and status 1. */
export async function guarded(options: CommonOptions, work: () => void | Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    process.exitCode = 1;
    if (!(error instanceof Error)) throw error;
    const errors = 'errors' in error && Array.isArray(error.errors) ? error.errors : undefined;
    if (options.json === true) say(options, '', { event: 'failed', kind: error.name, message: error.message, errors });
    // What the compiler says begins with the place already.
    process.stderr.write(errors === undefined ? `millrace: ${error.message}\n` : `${error.message}\n`);
  }
}

/** Whether a path is a program's source. */
export function isSource(path: string): boolean {
  return /\.[cm]?ts$/.test(path);
}

/** Compiles a program or reads an object, by the name's ending. @throws CompileErrors, ElfError, UsageError */
export async function readObject(path: string, options: { readonly optimise?: boolean } = {}): Promise<ObjectSpec> {
  if (isSource(path)) {
    // Said in the words of the other commands, before the compiler is loaded.
    readBytes(path);
    const { compile } = await import('../../bpf/compiler/compile.ts');
    return compile(path, { optimise: options.optimise !== false });
  }
  const { readElf } = await import('../../bpf/object/elf/read.ts');
  return readElf(readBytes(path));
}

/** A file's bytes. @throws UsageError that names the file */
export function readBytes(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const why = code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a directory' : `${code}`;
    throw new UsageError(`cannot read ${path}: ${why}`);
  }
}

/** Splits `name=value`. @throws UsageError */
export function pair(option: string, text: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at <= 0) throw new UsageError(`${option} ${text}: NAME=VALUE is allowed`);
  return [text.slice(0, at), text.slice(at + 1)];
}

/** Values of global variables as the command line gives them: numbers (also 0x…), true and false. */
export function constantsOf(settings: readonly string[] | undefined, spec: ObjectSpec): Record<string, unknown> {
  const variables = new Map(spec.data.flatMap(({ variables }) => variables.map((one) => [one.name, one] as const)));
  const found: Record<string, unknown> = {};
  for (const setting of settings ?? []) {
    const [name, text] = pair('--set', setting);
    const variable = variables.get(name);
    if (variable === undefined) {
      const known = [...variables.keys()].join(', ');
      throw new UsageError(
        `--set ${setting}: ${known === '' ? 'the object has no variables' : `the object has ${known}`}`,
      );
    }
    found[name] = globalValue(setting, text, variable.bytes, variable.type?.kind === 'boolean');
  }
  return found;
}

function globalValue(setting: string, text: string, bytes: number, isBoolean: boolean): unknown {
  if (isBoolean) {
    if (text === 'true' || text === 'false') return text === 'true';
    throw new UsageError(`--set ${setting}: true or false is allowed`);
  }
  if (!/^-?(?:0x[0-9a-f]+|\d+)$/i.test(text)) throw new UsageError(`--set ${setting}: a whole number is allowed`);
  const value = text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text);
  return bytes === 8 ? value : Number(value);
}

/** `3 maps`, `1 map`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** Columns of text, each as wide as its widest cell; the last is not padded. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, cell.length);
  }
  const lines = rows.map((row) =>
    row
      .map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index])))
      .join('  ')
      .trimEnd(),
  );
  return lines.join('\n');
}
