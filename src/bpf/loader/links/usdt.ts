/**
 * Room `bpf`: programs at USDT probes: at each place of the probe, with a row in the object's table that says where its arguments lie
 * there.
 *
 * A newcomer would get wrong: the cookie of each place is the number of its row, not what the caller gave; that is in the row. Rows are
 * shared by places whose arguments lie alike, and are free again when the last of these attachments is disposed of.
 */
import {
  USDT_ARGUMENTS_MAX,
  USDT_BASE,
  USDT_IN_MEMORY,
  USDT_INDEX,
  USDT_SIGNED,
  USDT_SITE,
  USDT_SITES,
} from '../../object/usdt-sites.ts';
import type { Holder } from '../codec.ts';
import { codecOf } from '../codec.ts';
import { linkFeature } from '../link-features.ts';
import type { KernelMap } from '../map.ts';
import { Executable, findExecutable, ProbeError, type UsdtProbe } from './executable.ts';
import type { Attachment } from './link.ts';
import { attachProbe } from './perf-event.ts';
import { attachPlaces } from './uprobe-multi.ts';
import { type UsdtArgument, usdtArguments } from './usdt-arguments.ts';

/** Which USDT probe. */
export interface UsdtTarget {
  readonly executable: string;
  readonly provider: string;
  readonly name: string;
  readonly process?: number;
  /** What the program reads as bpf_get_attach_cookie(), or as usdtCookie() where it reads arguments. */
  readonly cookie?: bigint;
}

const rowCodec = codecOf(USDT_SITE);
const noArgument = { displacement: 0n, base: 0, index: 0, scale: 0, bytes: 0, shift: 0, flags: 0 };

function argumentRow(argument: UsdtArgument): typeof noArgument {
  const { displacement, base, index, scale, inMemory, bytes, signed } = argument;
  const flags =
    (base === null ? 0 : USDT_BASE) |
    (index === null ? 0 : USDT_INDEX) |
    (inMemory ? USDT_IN_MEMORY : 0) |
    (signed ? USDT_SIGNED : 0);
  return { displacement, base: base ?? 0, index: index ?? 0, scale, bytes, shift: 64 - bytes * 8, flags };
}

/** A row of the table as the program reads it. */
function rowOf(places: readonly UsdtArgument[], cookie: bigint): Uint8Array<ArrayBuffer> {
  const row = new Uint8Array(rowCodec.bytes);
  const rest = Array.from({ length: USDT_ARGUMENTS_MAX - places.length }, () => noArgument);
  rowCodec.write(new DataView(row.buffer), 0, {
    cookie,
    count: places.length,
    arguments: [...places.map(argumentRow), ...rest],
  });
  return row;
}

/** A row that is in use. */
interface Row {
  readonly id: number;
  users: number;
}

/** The rows of an object's table, given out and taken back. */
export class UsdtSites {
  readonly #map: KernelMap<unknown, unknown>;
  readonly #rows = new Map<string, Row>();
  readonly #free: number[] = [];
  /** Row 0 stays empty: a program that is attached without a row finds no arguments there. */
  #next = 1;

  constructor(map: KernelMap<unknown, unknown>) {
    this.#map = map;
  }

  /** A row for these arguments. @throws ProbeError where the table is full */
  take(places: readonly UsdtArgument[], cookie: bigint): { readonly id: number; readonly release: () => void } {
    const bytes = rowOf(places, cookie);
    const key = Buffer.from(bytes).toString('latin1');
    const row = this.#rows.get(key) ?? { id: this.#unusedId(), users: 0 };
    if (row.users === 0) {
      const { codecs } = this.#map;
      const index = new DataView(Uint32Array.of(row.id).buffer);
      this.#map.set(codecs.key.read(index, 0), codecs.value.read(new DataView(bytes.buffer), 0));
      this.#rows.set(key, row);
    }
    row.users++;
    const release = (): void => {
      row.users--;
      if (row.users > 0) return;
      this.#rows.delete(key);
      this.#free.push(row.id);
    };
    return { id: row.id, release };
  }

  #unusedId(): number {
    const id = this.#free.pop() ?? this.#next++;
    const { maxEntries } = this.#map.spec;
    if (id < maxEntries) return id;
    this.#next = maxEntries;
    throw new ProbeError(
      `the probes that this object is attached to have more than ${maxEntries - 1} different places of arguments; ` +
        `load it with a larger table: { maxEntries: { ${USDT_SITES}: ${maxEntries * 4} } }`,
    );
  }
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
  const row = sites.take(places, cookie);
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
