/**
 * Room `cli`: `millrace bpf types`: declarations of kernel types, to be pasted into or imported by a program.
 *
 * A newcomer would get wrong: the offsets are not in what is written. The loader finds them in the kernel that runs (CO-RE), so the
 * declarations of one kernel serve others, too.
 */
import { writeFileSync } from 'node:fs';
import { KERNEL_BTF_PATH, kernelBtf } from '../../bpf/object/btf/kernel.ts';
import { Btf } from '../../bpf/object/btf/table.ts';
import { declarationsOf } from '../../bpf/object/declarations.ts';
import { guarded, readBytes, UsageError } from './report.ts';

export interface TypesOptions {
  readonly btf?: string;
  readonly output?: string;
}

function openBtf(file: string | undefined): Btf {
  if (file !== undefined) return Btf.decode(readBytes(file));
  try {
    return kernelBtf();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new UsageError(
      `this kernel has no types (${KERNEL_BTF_PATH} is missing: CONFIG_DEBUG_INFO_BTF); --btf FILE gives those of another`,
    );
  }
}

export async function types(names: readonly string[], options: TypesOptions): Promise<void> {
  await guarded({}, () => {
    const text = declarationsOf(names, openBtf(options.btf));
    if (options.output === undefined) process.stdout.write(text);
    else writeFileSync(options.output, text);
  });
}
