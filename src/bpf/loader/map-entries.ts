/**
 * Room `bpf`: going through the entries of a map while programs change it.
 *
 * A newcomer would get wrong: BPF_MAP_GET_NEXT_KEY of a hash map starts again from the beginning when the key it is asked from is
 * gone by then (htab_map_get_next_key, kernel/bpf/hashtab.c), so a plain loop may meet entries twice or never end. Batches (Linux 5.6)
 * go bucket by bucket and do not. Where the kernel has none for a map, keys that were met are remembered.
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

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/**
 * The same key by key, for maps without batches: prog arrays, tries on older kernels, socket maps. Ends when the kernel has no
 * further key, or has started again and gives only keys that were met. Keys without a value that user space may read are given
 * too, if `withValues` is false.
 */
export function* keysOf(map: RawMap, withValues: boolean): Generator<Entries> {
  const key = stable(map.keyBytes);
  const next = stable(map.keyBytes);
  const value = stable(map.valueBytes);
  const met = new Set<string>();
  let repeated = 0;
  let from = 0;
  // After a restart the walk passes the keys that it has met; more of them in a row than there are entries is a full round.
  while (repeated <= map.maxEntries) {
    const result = bpfElement(abi.BPF_MAP_GET_NEXT_KEY, map.descriptor, from, addressOf(next), 0);
    if (result === -ERRNO.ENOENT) return;
    if (result < 0) throw bpfError(result, `next key of ${map.label}`);
    key.set(next);
    from = addressOf(key);
    const name = hexOf(key);
    if (met.has(name)) {
      repeated++;
      continue;
    }
    met.add(name);
    repeated = 0;
    if (withValues) {
      const found = bpfElement(BPF_MAP_LOOKUP_ELEM, map.descriptor, from, addressOf(value), 0);
      // Deleted since, or an empty place of an array of objects.
      if (found === -ERRNO.ENOENT) continue;
      if (found < 0) throw bpfError(found, `look-up in ${map.label}`);
    }
    yield { count: 1, keys: viewOf(key), values: viewOf(value) };
  }
}
