/**
 * Test support for the documents about eBPF: the blocks of code in a page, and which of them are programs.
 *
 * A newcomer would get wrong: a line that ends in `// ✗ message; advice` is shown to be refused, with exactly these words. All other code
 * of a page must compile.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileText } from '../../src/bpf/compiler/compile.ts';
import { CompileErrors } from '../../src/bpf/compiler/diagnostics.ts';
import { moduleOf } from './bpf-compiler.ts';

const root = new URL('../../', import.meta.url);
const project = fileURLToPath(root);

/** A block between fences. */
export interface Block {
  readonly page: string;
  /** Of the page, from 1: the block's first line of code. */
  readonly line: number;
  /** What stands behind the fence: `ts`, `sh`. */
  readonly language: string;
  readonly text: string;
  /** A comment on the first line that names a file: `// drop.bpf.ts`. */
  readonly file: string | null;
}

/** The blocks of a page, in their order. `page` from the project's root. */
export function blocksOf(page: string): Block[] {
  const lines = readFileSync(new URL(page, root), 'utf8').split('\n');
  const found: Block[] = [];
  for (let at = 0; at < lines.length; at++) {
    const fence = /^```(\w+)/.exec(lines[at]);
    if (fence === null) continue;
    const end = lines.indexOf('```', at + 1);
    const text = `${lines.slice(at + 1, end).join('\n')}\n`;
    const file = /^(?:\/\/|#) ([\w.-]+\.\w+)/.exec(lines[at + 1]);
    found.push({ page, line: at + 2, language: fence[1], text, file: file?.[1] ?? null });
    at = end;
  }
  return found;
}

/** Whether a block is a program for the kernel: whole, or a part that is shown to be refused. */
export function isProgram({ language, file, text }: Block): boolean {
  if (language !== 'ts') return false;
  if (file !== null) return file.endsWith('.bpf.ts');
  return text.includes('// ✗') || /^import \{[^}]*\} from 'millrace\/bpf';/.test(text);
}

/** The problems that a block says it has: `line: message; advice`, lines from 1. */
export function statedRefusals(text: string): string[] {
  return text.split('\n').flatMap((line, index) => {
    const stated = /\/\/ ✗ (.*)$/.exec(line);
    return stated === null ? [] : [`${index + 1}: ${stated[1]}`];
  });
}

/** What is compiled for a block. Lines that stand in no module become the body of an XDP program, in one line before and one behind. */
export function sourceOf({ text, file }: Block): { readonly source: string; readonly linesBefore: number } {
  if (file !== null || /^import /.test(text)) return { source: text, linesBefore: 0 };
  if (/^export /m.test(text)) return { source: moduleOf(text), linesBefore: 1 };
  const body = `export const main = xdp((context) => {\n${text}return XDP_PASS;\n});`;
  return { source: moduleOf(body), linesBefore: 2 };
}

/** The problems that the compiler finds in a block, in the form of {@link statedRefusals}. */
export function foundRefusals(block: Block): string[] {
  const { source, linesBefore } = sourceOf(block);
  try {
    compileText(source, block.file ?? 'program.bpf.ts');
    return [];
  } catch (error) {
    if (!(error instanceof CompileErrors)) throw error;
    // Functions are looked into after declarations; a page is read from top to bottom.
    return error.errors
      .toSorted((one, other) => one.line - other.line)
      .map(({ line, message, advice }) => `${line - linesBefore}: ${message}${advice === null ? '' : `; ${advice}`}`);
  }
}

/** Rows of the table below a line that holds `heading`, cells without their backquotes. */
export function rowsBelow(page: string, heading: string): string[][] {
  const lines = readFileSync(new URL(page, root), 'utf8').split('\n');
  const begin = lines.findIndex((line) => line.includes(heading));
  if (begin === -1) return [];
  const first = lines.findIndex((line, index) => index > begin && line.startsWith('|'));
  const rows: string[][] = [];
  for (let at = first + 2; lines[at]?.startsWith('|'); at++) {
    const cells = lines[at].slice(1, -1).split(/(?<!\\)\|/);
    rows.push(cells.map((cell) => cell.trim().replaceAll('`', '').replaceAll('\\|', '|')));
  }
  return rows;
}

/** A command of a page with what it prints: a line that begins with `$`, and those up to the next one. `…` stands for anything. */
export interface ShownCommand {
  readonly place: string;
  readonly command: readonly string[];
  readonly output: string;
}

/** The commands of a block whose output is shown. */
export function commandsOf({ language, page, line, text }: Block): ShownCommand[] {
  if (language !== 'sh') return [];
  return text
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const [command, ...output] = part.split('\n');
      return { place: `${page}:${line}`, command: command.split(' '), output: output.join('\n') };
    });
}

/** A project of a user's. */
export interface Folder extends Disposable {
  readonly path: string;
}

/** A project of a user's that has millrace, captured packets, and the files that blocks name. */
export function folderWith(blocks: readonly Block[]): Folder {
  const path = mkdtempSync(join(tmpdir(), 'millrace-guide-'));
  mkdirSync(join(path, 'node_modules'));
  symlinkSync(project, join(path, 'node_modules/millrace'));
  writeFileSync(join(path, 'package.json'), '{ "type": "module" }');
  copyFileSync(join(project, 'test/bpf/fixtures/traffic.pcap'), join(path, 'traffic.pcap'));
  for (const { file, text } of blocks) if (file !== null) writeFileSync(join(path, file), text);
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}
