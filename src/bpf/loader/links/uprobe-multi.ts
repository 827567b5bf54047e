/**
 * Room `bpf`: one link for many functions of a file (uprobe_multi, Linux 6.6), without a perf event for each.
 *
 * A newcomer would get wrong: the program must have been loaded for it (attach type trace_uprobe_multi, section `uprobe.multi`); one for
 * a single uprobe is refused.
 */
import { cString, stable } from '../bpf.ts';
import type { Holder } from '../codec.ts';
import { Executable, findExecutable } from './executable.ts';
import { createLink, type Link } from './link.ts';

export interface UprobeMultiTarget {
  /** A file's path, or the name of a library or command. */
  readonly executable: string;
  readonly functions: readonly string[];
  /** What the program reads as bpf_get_attach_cookie() at each function. */
  readonly cookies?: readonly bigint[];
  readonly atReturn?: boolean;
  /** Only in this process; all unless told. */
  readonly process?: number;
}

const BPF_F_UPROBE_MULTI_RETURN = 1;

function words(values: readonly bigint[]): Uint8Array {
  return stable(new Uint8Array(BigUint64Array.from(values).buffer));
}

/** Attaches a program to functions of one file. @throws ProbeError for a function that is not there */
export function attachUprobeMulti(program: Holder, target: UprobeMultiTarget): Link {
  const { functions, cookies = [], atReturn = false, process = 0 } = target;
  using executable = new Executable(findExecutable(target.executable));
  if (cookies.length !== 0 && cookies.length !== functions.length) {
    throw new RangeError(`${cookies.length} cookies are given for ${functions.length} functions`);
  }
  return createLink({
    kind: 'uprobe_multi',
    program,
    attachType: 'trace_uprobe_multi',
    fields: {
      'link_create.uprobe_multi.path': cString(executable.path),
      'link_create.uprobe_multi.offsets': words(functions.map((name) => BigInt(executable.functionOffset(name)))),
      ...(cookies.length === 0 ? {} : { 'link_create.uprobe_multi.cookies': words(cookies) }),
      'link_create.uprobe_multi.cnt': functions.length,
      'link_create.uprobe_multi.flags': atReturn ? BPF_F_UPROBE_MULTI_RETURN : 0,
      'link_create.uprobe_multi.pid': process,
    },
    where: `${functions.length} functions of ${executable.path}`,
  });
}
