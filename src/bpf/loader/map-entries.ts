/**
 * Room `bpf`: going through the entries of a map while programs change it.
 *
 * A newcomer would get wrong: BPF_MAP_GET_NEXT_KEY starts again from the beginning when the key it is asked from is gone by then
 * (htab_map_get_next_key, trie_get_next_key), so a plain loop may meet entries twice or never end. Batches of hash maps (Linux 5.6)
 * go bucket by bucket and do not; those of tries are made of next keys and do. So keys that were met are remembered where it matters.
 */
import { BPF_MAP_LOOKUP_ELEM } from '../../kernel/bpf-abi.ts';
import * as abi from '../../kernel/bpf-attributes.ts';
import { ERRNO } from '../../kernel/errno.ts';
import { addressOf } from '../../kernel/syscall.ts';
import { answer, bpf, bpfElement, bpfError, stable } from './bpf.ts';

/** What the walks need to know of a map. */
export interface RawMap {
  readonly descriptor: number;
  readonly keyBytes: number;
  /** Bytes of what a look-up gives: for per-CPU maps all CPUs' values. */
  readonly valueBytes: number;
  readonly maxEntries: number;
  /** For errors. */
  readonly label: string;
}

/** Entries side by side: `count` keys in `keys`, their values in `values`. */
export interface Entries {
  readonly count: number;
  readonly keys: DataView;
  readonly values: DataView;
}

const BATCH_ENTRIES = 256;
/** A batch never holds more than this in bytes, unless one bucket does. */
const BATCH_BYTES_MAX = 1 << 20;
/** Not in the headers that user space includes: include/linux/errno.h. The kernel says so where a map has no batches. */
const ENOTSUPP = 524;

function batchSize(map: RawMap): number {
  const fitting = Math.floor(BATCH_BYTES_MAX / (map.keyBytes + map.valueBytes));
  return Math.max(1, Math.min(map.maxEntries, BATCH_ENTRIES, fitting));
}

/** Whether the answer to the first batch says that this map, or this kernel, has none. */
export function isWithoutBatches(result: number): boolean {
  return result === -ENOTSUPP || result === -ERRNO.EINVAL || result === -ERRNO.EOPNOTSUPP;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/**
 * The map's entries in batches. An entry that is there all the time is met once; one that comes or goes meanwhile may be met or
 * not. The views are valid until the next step. Returns false, before anything was given, where the map has no batches.
 * @param command BPF_MAP_LOOKUP_BATCH, or BPF_MAP_LOOKUP_AND_DELETE_BATCH
 */
export function* batchesOf(map: RawMap, command: number): Generator<Entries, boolean> {
  let size = batchSize(map);
  let keys = stable(size * map.keyBytes);
  let values = stable(size * map.valueBytes);
  // Where the walk goes on: a bucket's number for hash maps, a key for others.
  const positions = [stable(Math.max(8, map.keyBytes)), stable(Math.max(8, map.keyBytes))];
  let started = false;
  for (;;) {
    const result = bpf(command, {
      ...(started ? { 'batch.in_batch': positions[0] } : {}),
      'batch.out_batch': positions[1],
      'batch.keys': keys,
      'batch.values': values,
      'batch.count': size,
      'batch.map_fd': map.descriptor,
    });
    const count = answer('batch.count');
    if (result === -ERRNO.ENOSPC) {
      // A bucket holds more than the batch: it is asked for again with more room. Entries are not lost, the position stays.
      size = Math.max(size * 2, count);
      keys = stable(size * map.keyBytes);
      values = stable(size * map.valueBytes);
      continue;
    }
    if (!started && isWithoutBatches(result)) return false;
    if (result === -ERRNO.EINTR) continue;
    if (result < 0 && result !== -ERRNO.ENOENT) throw bpfError(result, `batch from ${map.label}`);
    if (count > 0) yield { count, keys: viewOf(keys), values: viewOf(values) };
    if (result === -ERRNO.ENOENT) return true;
    started = true;
    positions.reverse();
  }
}

/** Whether a walk in batches neither repeats nor misses an entry: hash maps go by buckets, arrays by indices. */
export function hasOrderlyBatches(type: string): boolean {
  return type.includes('hash') ? type !== 'sockhash' && type !== 'devmap_hash' : /^(?:percpu_)?array/.test(type);
}

/** A walk gives no more entries than this times those that the map can hold, however fast others come and go. */
const ROUNDS_MAX = 4;

/**
 * The same key by key, for the other maps. Ends when the kernel has no further key, or has started again and gives only keys that were
 * met. The next key is asked for before the present one is given, so that whoever deletes it does not start the walk again.
 * @param withValues false: keys whose values user space may not read are given too
 */
export function* keysOf(map: RawMap, withValues: boolean): Generator<Entries> {
  const value = stable(map.valueBytes);
  const met = new Set<string>();
  const given = { keys: stable(map.keyBytes), ahead: stable(map.keyBytes) };
  let repeated = 0;
  let isThere = nextKey(map, null, given.ahead);
  while (isThere && repeated <= map.maxEntries && met.size < map.maxEntries * ROUNDS_MAX) {
    given.keys.set(given.ahead);
    isThere = nextKey(map, given.keys, given.ahead);
    const name = textOfKey(given.keys);
    if (met.has(name)) {
      // After a restart the walk passes the keys that it has met; more of them in a row than there are entries is a full round.
      repeated++;
      continue;
    }
    met.add(name);
    repeated = 0;
    if (withValues && !lookUp(map, given.keys, value)) continue;
    yield { count: 1, keys: viewOf(given.keys), values: viewOf(value) };
  }
}

function textOfKey(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** Writes the key behind `from`, the first for null; whether there is one. */
function nextKey(map: RawMap, from: Uint8Array | null, to: Uint8Array): boolean {
  const at = from === null ? 0 : addressOf(from);
  const result = bpfElement(abi.BPF_MAP_GET_NEXT_KEY, map.descriptor, at, addressOf(to), 0);
  if (result < 0 && result !== -ERRNO.ENOENT) throw bpfError(result, `next key of ${map.label}`);
  return result >= 0;
}

/** False for an entry that was deleted since, and for an empty place of a map of objects. */
function lookUp(map: RawMap, key: Uint8Array, value: Uint8Array): boolean {
  const result = bpfElement(BPF_MAP_LOOKUP_ELEM, map.descriptor, addressOf(key), addressOf(value), 0);
  if (result < 0 && result !== -ERRNO.ENOENT) throw bpfError(result, `look-up in ${map.label}`);
  return result >= 0;
}
