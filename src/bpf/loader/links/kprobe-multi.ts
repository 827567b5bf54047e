/**
 * Room `bpf`: one link for many functions of the kernel (kprobe_multi, Linux 5.18), named by a pattern.
 *
 * A newcomer would get wrong: not every function of the kernel can be probed. Those that can are listed in tracefs
 * (available_filter_functions); a name beside them makes the kernel refuse all.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ERRNO } from '../../../kernel/errno.ts';
import { mountsOf } from '../../../kernel/mounts.ts';
import { addressOf } from '../../../kernel/syscall.ts';
import { stable } from '../bpf.ts';
import type { Holder } from '../codec.ts';
import { ProbeError } from './executable.ts';
import { createLink, type Link } from './link.ts';

export interface KprobeMultiTarget {
  /** A pattern, in which `*` stands for any characters and `?` for one; or names. */
  readonly functions: string | readonly string[];
  readonly atReturn?: boolean;
}

const BPF_F_KPROBE_MULTI_RETURN = 1;

/** The names in a list that fit a pattern, each once. A list has a name at the beginning of each line, or behind an address and a `t`. */
export function functionsLike(pattern: string, list: string): string[] {
  const source = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '[^\\s]*')
    .replaceAll('?', '[^\\s]');
  // What belongs to a module has its name in brackets behind it.
  const line = new RegExp(`^(?:[\\da-f]+ [tT] )?(${source})(?:\\s|$)`, 'gm');
  return [...new Set([...list.matchAll(line)].map(([, name]) => name))];
}

/** The list of what can be probed; where no tracefs tells, the kernel's symbols. */
function readFunctions(): string {
  const [tracefs] = mountsOf('tracefs');
  if (tracefs !== undefined) {
    try {
      return readFileSync(join(tracefs.path, 'available_filter_functions'), 'latin1');
    } catch (error) {
      // A kernel without CONFIG_DYNAMIC_FTRACE has no such list, and one that is locked down does not show it.
      if (!['ENOENT', 'EPERM', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
  return readFileSync('/proc/kallsyms', 'latin1');
}

/** Names as C has them: pointers to texts, and the texts behind them in the same memory, which lives as long as the table does. */
function namesTable(names: readonly string[]): Uint8Array {
  const texts = Buffer.from(names.map((name) => `${name}\0`).join(''), 'latin1');
  const table = stable(names.length * 8 + texts.length);
  table.set(texts, names.length * 8);
  const view = new DataView(table.buffer);
  let at = addressOf(table) + names.length * 8;
  for (const [index, name] of names.entries()) {
    view.setBigUint64(index * 8, BigInt(at), true);
    at += name.length + 1;
  }
  return table;
}

/** Attaches a program that was loaded for it (section `kprobe.multi`). @throws ProbeError where no function fits */
export function attachKprobeMulti(program: Holder, { functions, atReturn = false }: KprobeMultiTarget): Link {
  const names = typeof functions === 'string' ? functionsLike(functions, readFunctions()) : functions;
  const where = typeof functions === 'string' ? functions : `${functions.length} functions of the kernel`;
  if (names.length === 0) throw new ProbeError(`this kernel has no function like ${where}`);
  return createLink({
    kind: 'kprobe_multi',
    program,
    attachType: 'trace_kprobe_multi',
    fields: {
      'link_create.kprobe_multi.flags': atReturn ? BPF_F_KPROBE_MULTI_RETURN : 0,
      'link_create.kprobe_multi.cnt': names.length,
      'link_create.kprobe_multi.syms': namesTable(names),
    },
    where,
    remedy: (result) =>
      result === -ERRNO.EPERM ? undefined : 'CONFIG_FPROBE is needed, and each function must be one that can be traced',
  });
}
