/**
 * Room `bpf`: programs at USDT probes: at each place of the probe, with a row in the object's table that says where its arguments lie
 * there.
 *
 * A newcomer would get wrong: the cookie of each place is the number of its row, not what the caller gave; that is in the row.
 */
import { USDT_ARGUMENTS_MAX } from '../../object/usdt-sites.ts';
import type { Holder } from '../codec.ts';
import { linkFeature } from '../link-features.ts';
import { Executable, findExecutable, ProbeError, type UsdtProbe } from './executable.ts';
import type { Attachment } from './link.ts';
import { attachProbe } from './perf-event.ts';
import { attachPlaces } from './uprobe-multi.ts';
import { usdtArguments } from './usdt-arguments.ts';
import type { UsdtSites } from './usdt-sites.ts';

/** Which USDT probe. */
export interface UsdtTarget {
  readonly executable: string;
  readonly provider: string;
  readonly name: string;
  readonly process?: number;
  /** What the program reads as bpf_get_attach_cookie(), or as usdtCookie() where it reads arguments. */
  readonly cookie?: bigint;
}

/** A program, and the table of its object where it reads arguments. */
export interface UsdtProgram extends Holder {
  readonly attachType?: string | null;
  readonly usdtSites?: UsdtSites | null;
}

/** The cookie of a place: the number of its row where the program reads arguments, which is given back with `stack`. */
function cookieOf(
  program: UsdtProgram,
  executable: Executable,
  place: UsdtProbe,
  cookie: bigint,
  stack: DisposableStack,
): bigint {
  const sites = program.usdtSites ?? null;
  if (sites === null) return cookie;
  const places = usdtArguments(executable, place);
  if (places.length > USDT_ARGUMENTS_MAX) {
    throw new ProbeError(
      `the probe ${place.provider}:${place.name} in ${executable.path} has ${places.length} arguments: ${USDT_ARGUMENTS_MAX} are allowed`,
    );
  }
  const row = sites.take(`${place.provider}:${place.name} in ${executable.path}`, places, cookie);
  stack.defer(row.release);
  return BigInt(row.id);
}

/**
 * Attaches a program to each place at which a file has the probe: by one link where the program was loaded for that
 * ({@link usdtAttachType}), otherwise by a perf event for each.
 * @throws ProbeError where it has none of the name, or an argument lies where no program can read it
 */
export function attachUsdt(program: UsdtProgram, target: UsdtTarget): Attachment {
  using executable = new Executable(findExecutable(target.executable));
  const { provider, name, process, cookie = 0n } = target;
  const found = executable.usdtProbes().filter((one) => one.provider === provider && one.name === name);
  if (found.length === 0) throw new ProbeError(`${executable.path} has no probe ${provider}:${name}`);
  using stack = new DisposableStack();
  const places = found.map((place) => ({
    offset: place.offset,
    counter: place.semaphoreOffset,
    cookie: cookieOf(program, executable, place, cookie, stack),
  }));
  const { path } = executable;
  const only = process === undefined ? {} : { process };
  const isOneLink = program.attachType === 'trace_uprobe_multi';
  if (isOneLink) {
    stack.use(attachPlaces(program, path, places, { ...only, where: `the probe ${provider}:${name} of ${path}` }));
  } else {
    for (const { cookie: own, ...place } of places) {
      stack.use(attachProbe(program, { executable: path, ...place }, { ...only, cookie: own }));
    }
  }
  const owned = stack.move();
  return { kind: isOneLink ? 'uprobe_multi' : 'perf_event', [Symbol.dispose]: () => owned.dispose() };
}

/**
 * What a program for USDT probes is loaded for. A perf event for each of hundreds of places takes seconds to take away again, as the kernel
 * waits each time for programs that may still run; one link for all takes one such wait.
 */
export function usdtAttachType(kind: { readonly section: string; readonly attachType: string | null }): string | null {
  const isUsdt = kind.attachType === null && /^\??usdt(?:\.s)?(?:\/|$)/.test(kind.section);
  return isUsdt && linkFeature('uprobe_multi').available ? 'trace_uprobe_multi' : kind.attachType;
}
