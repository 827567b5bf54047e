/**
 * Test support for the room `bpf`: objects that clang makes of C at test time, and what other tools say of objects.
 *
 * A newcomer would get wrong: bpffs refuses names with a dot in them, and is mounted where nobody else sees it: in a mount namespace that
 * ends with the command.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode, type Instruction } from '../../src/bpf/instructions.ts';
import { kernelSkip } from './bpf.ts';

const fixtures = new URL('../bpf/object/fixtures/', import.meta.url).pathname;

/** The reason to skip what needs these commands, or false. */
export function needs(...commands: string[]): string | false {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'];
  const missing = commands.filter((name) => !folders.some((folder) => existsSync(join(folder, name))));
  return missing.length === 0 ? false : `${missing.join(', ')} is not installed`;
}

/** What compiling a fixture needs: clang, and libbpf's headers for programs. */
export const clangSkip: string | false =
  needs('clang') || (existsSync('/usr/include/bpf/bpf_helpers.h') ? false : 'libbpf’s headers are not installed');

/** What loading with bpftool needs. */
export const bpftoolSkip: string | false = clangSkip || needs('bpftool', 'unshare', 'mount') || kernelSkip;

/** Runs `body` with a folder that is removed afterwards. */
export function inFolder<T>(body: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-object-'));
  try {
    return body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The object that clang makes of a C file. */
export function clang(source: string, ...flags: string[]): Uint8Array {
  // asm/types.h lies below a folder that is named after the machine and that clang -target bpf does not look into.
  const machine = readdirSync('/usr/include').filter((folder) => folder.endsWith('-linux-gnu'));
  const include = machine.map((folder) => `-I/usr/include/${folder}`);
  return inFolder((folder) => {
    const output = join(folder, 'object.o');
    execFileSync('clang', ['-target', 'bpf', '-g', '-O2', ...include, ...flags, '-c', source, '-o', output]);
    return new Uint8Array(readFileSync(output));
  });
}

const compiled = new Map<string, Uint8Array>();

/** The object that clang makes of `fixtures/NAME.bpf.c`. */
export function compileFixture(name: string, ...flags: string[]): Uint8Array {
  const key = [name, ...flags].join(' ');
  const known = compiled.get(key);
  if (known !== undefined) return known;
  const bytes = clang(join(fixtures, `${name}.bpf.c`), ...flags);
  compiled.set(key, bytes);
  return bytes;
}

/** Loads an object with bpftool and gives, by program, the instructions as the kernel keeps them. @throws Error with bpftool's words */
export function loadWithBpftool(object: Uint8Array): Map<string, Instruction[]> {
  return inFolder((folder) => {
    writeFileSync(join(folder, 'object.o'), object);
    mkdirSync(join(folder, 'mount'));
    mkdirSync(join(folder, 'dumps'));
    const script = `cd "${folder}" && mount -t bpf bpf mount && bpftool prog loadall object.o mount/all &&
      for program in mount/all/*; do
        bpftool prog dump xlated pinned $program file dumps/$(basename $program) || exit 1
      done`;
    const { status, stdout, stderr } = spawnSync('unshare', ['-m', 'sh', '-c', script], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`bpftool: ${stdout}${stderr}`);
    return new Map(
      readdirSync(join(folder, 'dumps')).map((name) => [name, decode(readFileSync(join(folder, 'dumps', name)))]),
    );
  });
}

/** What a command prints about an object that is given to it as a file, in place of `OBJECT`. @throws Error where it fails */
export function askAbout(object: Uint8Array, command: string, ...args: string[]): string {
  return inFolder((folder) => {
    const path = join(folder, 'object.o');
    writeFileSync(path, object);
    const given = args.map((one) => (one === 'OBJECT' ? path : one));
    const { status, stdout, stderr } = spawnSync(command, given, { encoding: 'utf8', maxBuffer: 1 << 26 });
    if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  });
}

/** What loading with libbpf from a C program needs. */
export const libbpfSkip: string | false =
  bpftoolSkip || needs('cc') || (existsSync('/usr/include/bpf/libbpf.h') ? false : 'libbpf-dev is not installed');

/** Loads an object with libbpf and gives what one of its programs gives for 64 bytes of zeros. @throws Error with libbpf's words */
export function runWithLibbpf(object: Uint8Array, program: string): number {
  return inFolder((folder) => {
    const loader = join(folder, 'loader');
    execFileSync('cc', ['-o', loader, join(fixtures, 'loader.c'), '-lbpf']);
    return Number(askAbout(object, loader, 'OBJECT', program));
  });
}
