/**
 * Room `cli`: `millrace bpf build`: from programs in TypeScript to eBPF objects.
 *
 * A newcomer would get wrong: the object appears under its name only when it is whole; a loader that watches the file never sees a part.
 */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { slotsOf } from '../../bpf/instructions.ts';
import { writeElf } from '../../bpf/object/elf/write.ts';
import type { ObjectSpec } from '../../bpf/object/spec.ts';
import { type CommonOptions, counted, guarded, isSource, readObject, say, UsageError } from './report.ts';

export interface BuildOptions extends CommonOptions {
  readonly output?: string;
  readonly optimise?: boolean;
}

/** Writes a file in one step. */
function writeWhole(path: string, bytes: Uint8Array): void {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, bytes);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw new UsageError(`cannot write ${path}: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`);
  }
}

function instructionsIn(spec: ObjectSpec): number {
  return spec.functions.reduce(
    (sum, { instructions }) => sum + instructions.reduce((slots, one) => slots + slotsOf(one), 0),
    0,
  );
}

async function buildOne(file: string, output: string, options: BuildOptions): Promise<void> {
  const begin = performance.now();
  const spec = await readObject(file, options);
  const bytes = writeElf(spec);
  writeWhole(output, bytes);
  const programs = spec.functions.filter(({ kind }) => kind !== null);
  const tookMs = performance.now() - begin;
  const instructions = instructionsIn(spec);
  say(
    options,
    `${output}: ${counted(programs.length, 'program')}, ${counted(spec.maps.length, 'map')}, ` +
      `${counted(instructions, 'instruction')}, ${bytes.length} bytes, ${tookMs.toFixed(0)} ms`,
    {
      event: 'built',
      file,
      output,
      bytes: bytes.length,
      instructions,
      programs: programs.map(({ name, kind }) => ({ name, section: kind?.section })),
      maps: spec.maps.map(({ name, type }) => ({ name, type })),
      tookMs: Math.round(tookMs),
    },
  );
}

export async function build(files: readonly string[], options: BuildOptions): Promise<void> {
  await guarded(options, () => {
    if (options.output !== undefined && files.length > 1) {
      throw new UsageError('-o names one file; with several FILEs each object lies beside its source');
    }
    for (const file of files) {
      if (!isSource(file)) throw new UsageError(`${file} is no TypeScript: a file named *.ts is allowed`);
    }
  });
  if (process.exitCode === 1) return;
  // One that fails does not keep the others from being built.
  for (const file of files) {
    const output = options.output ?? file.replace(/\.[cm]?ts$/, '.o');
    await guarded(options, () => buildOne(file, output, options));
  }
}
