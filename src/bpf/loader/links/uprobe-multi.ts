/**
 * Room `bpf`: one link for many places of a file (uprobe_multi, Linux 6.6), without a perf event for each.
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

/** A place in a file. `counter`: where in it the number lies that the kernel counts up while a probe is here; 0 for none. */
export interface MultiPlace {
  readonly offset: number;
  readonly counter?: number;
  readonly cookie?: bigint;
}

/** Attaches a program to places of one file. */
export function attachPlaces(
  program: Holder,
  path: string,
  places: readonly MultiPlace[],
  target: Pick<UprobeMultiTarget, 'atReturn' | 'process'> & { readonly where: string },
): Link {
  const { atReturn = false, process = 0, where } = target;
  const column = (of: (place: MultiPlace) => bigint): Uint8Array => words(places.map(of));
  const hasCookies = places.some(({ cookie }) => cookie !== undefined);
  const hasCounters = places.some(({ counter = 0 }) => counter !== 0);
  return createLink({
    kind: 'uprobe_multi',
    program,
    attachType: 'trace_uprobe_multi',
    fields: {
      'link_create.uprobe_multi.path': cString(path),
      'link_create.uprobe_multi.offsets': column(({ offset }) => BigInt(offset)),
      ...(hasCookies ? { 'link_create.uprobe_multi.cookies': column(({ cookie = 0n }) => cookie) } : {}),
      ...(hasCounters
        ? { 'link_create.uprobe_multi.ref_ctr_offsets': column(({ counter = 0 }) => BigInt(counter)) }
        : {}),
      'link_create.uprobe_multi.cnt': places.length,
      'link_create.uprobe_multi.flags': atReturn ? BPF_F_UPROBE_MULTI_RETURN : 0,
      'link_create.uprobe_multi.pid': process,
    },
    where,
  });
}

/** Attaches a program to functions of one file. @throws ProbeError for a function that is not there */
export function attachUprobeMulti(program: Holder, target: UprobeMultiTarget): Link {
  const { functions, cookies = [] } = target;
  using executable = new Executable(findExecutable(target.executable));
  if (cookies.length !== 0 && cookies.length !== functions.length) {
    throw new RangeError(`${cookies.length} cookies are given for ${functions.length} functions`);
  }
  const places = functions.map((name, index) => ({
    offset: executable.functionOffset(name),
    ...(cookies.length === 0 ? {} : { cookie: cookies[index] }),
  }));
  return attachPlaces(program, executable.path, places, {
    ...target,
    where: `${functions.length} functions of ${executable.path}`,
  });
}
