/**
 * Room `bpf`: the table in which an object's programs find the arguments of the USDT probes that they are attached to.
 *
 * A newcomer would get wrong: rows are shared by places whose arguments lie alike, and are free again when the last of these
 * attachments is disposed of. Row 0 is nobody's.
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
import { codecOf } from '../codec.ts';
import type { KernelMap } from '../map.ts';
import { ProbeError } from './executable.ts';
import type { UsdtArgument } from './usdt-arguments.ts';

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

/** A table by its map's name: how its rows say where arguments lie. */
interface Format {
  readonly map: string;
  readonly bytes: number;
  /** A row. @throws ProbeError for an argument that rows of this form cannot describe */
  row(probe: string, places: readonly UsdtArgument[], cookie: bigint): Uint8Array<ArrayBuffer>;
}

const rowCodec = codecOf(USDT_SITE);

/** The table of our compiler's objects. */
const ownFormat: Format = {
  map: USDT_SITES,
  bytes: USDT_SITE.bytes,
  row(_probe, places, cookie) {
    const row = new Uint8Array(rowCodec.bytes);
    const rest = Array.from({ length: USDT_ARGUMENTS_MAX - places.length }, () => noArgument);
    const given = [...places.map(argumentRow), ...rest];
    rowCodec.write(new DataView(row.buffer), 0, { cookie, count: places.length, arguments: given });
    return row;
  },
};

/** enum __bpf_usdt_arg_type of usdt.bpf.h. */
const BPF_USDT_ARG_CONST = 0;
const BPF_USDT_ARG_REG = 1;
const BPF_USDT_ARG_REG_DEREF = 2;

/**
 * The table that usdt.bpf.h puts into clang's objects: struct __bpf_usdt_spec, 12 arguments of 16 bytes, then the cookie and how many
 * there are. libbpf fills it for programs that it loads; this does it for ours.
 */
const clangFormat: Format = {
  map: '__bpf_usdt_specs',
  bytes: 208,
  row(probe, places, cookie) {
    const view = new DataView(new ArrayBuffer(this.bytes));
    for (const [index, { displacement, base, index: second, inMemory, bytes, signed }] of places.entries()) {
      if (second !== null || (base === null && inMemory) || (base !== null && !inMemory && displacement !== 0n)) {
        throw new ProbeError(`argument ${index} of the probe ${probe} lies where usdt.bpf.h of libbpf cannot read it`);
      }
      const at = index * 16;
      const kind = base === null ? BPF_USDT_ARG_CONST : inMemory ? BPF_USDT_ARG_REG_DEREF : BPF_USDT_ARG_REG;
      view.setBigInt64(at, displacement, true);
      view.setUint32(at + 8, kind, true);
      view.setInt16(at + 12, base ?? 0, true);
      view.setUint8(at + 14, signed ? 1 : 0);
      view.setUint8(at + 15, 64 - bytes * 8);
    }
    view.setBigUint64(192, cookie, true);
    view.setInt16(200, places.length, true);
    return new Uint8Array(view.buffer);
  },
};

const formats = [ownFormat, clangFormat];

/** Whether a map of this name is such a table. */
export function isUsdtTable(map: string): boolean {
  return formats.some((format) => format.map === map);
}

/** By their maps: two objects that share a map share its rows. */
const tables = new WeakMap<KernelMap<unknown, unknown>, UsdtSites>();

/** The table of an object; null where it has none. */
export function usdtSitesOf(maps: ReadonlyMap<string, KernelMap<unknown, unknown>>): UsdtSites | null {
  for (const format of formats) {
    const map = maps.get(format.map);
    if (map?.spec.valueSize !== format.bytes) continue;
    const table = tables.get(map) ?? new UsdtSites(map, format);
    tables.set(map, table);
    return table;
  }
  return null;
}

/** A row that is in use. */
interface Row {
  readonly id: number;
  users: number;
}

/** The rows of an object's table, given out and taken back. */
export class UsdtSites {
  readonly #map: KernelMap<unknown, unknown>;
  readonly #format: Format;
  readonly #rows = new Map<string, Row>();
  readonly #free: number[] = [];
  /** Row 0 stays empty: a program that is attached without a row finds no arguments there. */
  #next = 1;

  constructor(map: KernelMap<unknown, unknown>, format: Format) {
    this.#map = map;
    this.#format = format;
  }

  /** A row for the arguments of a probe. @throws ProbeError where the table is full, or cannot describe them */
  take(
    probe: string,
    places: readonly UsdtArgument[],
    cookie: bigint,
  ): { readonly id: number; readonly release: () => void } {
    const bytes = this.#format.row(probe, places, cookie);
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
        `load it with a larger table: { maxEntries: { ${this.#format.map}: ${maxEntries * 4} } }`,
    );
  }
}
