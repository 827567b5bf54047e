/**
 * Room `bpf`: helpers of maps. Programs hardly call them by name: `map.lookup(key)` and the other methods of a map become these.
 *
 * A newcomer would get wrong: an array's entries are always there, but the verifier wants the null of `bpf_map_lookup_elem` tested
 * all the same, because the index may be too large.
 */
import type { Flags, Kernel, Layout, Stored, Value } from '../layout.ts';
import type { BpfMap } from '../maps/types.ts';
import type { i32, i64, u32, u64 } from '../numbers.ts';
import type { dynptr } from '../uapi-structs.ts';
import { give, helper, take } from './helper.ts';

type Of<K extends Layout, V> = BpfMap<string, K, V>;
type Holds<V extends Layout> = BpfMap<string, null, V>;
type Ring = BpfMap<'ringbuf', null, unknown>;

/** Finds where a key's value lies in the map, or null. */
export const bpf_map_lookup_elem: <K extends Layout, V>(map: Of<K, V>, key: Value<K>) => Stored<V> | null = helper(
  1,
  'bpf_map_lookup_elem',
  '3.19',
  [take.map(), take.key],
  give.value,
);

/** Puts a value under a key: BPF_ANY, BPF_NOEXIST or BPF_EXIST. */
export const bpf_map_update_elem: <K extends Layout, V>(
  map: Of<K, V>,
  key: Value<K>,
  value: Value<V>,
  flags?: Flags,
) => i32 = helper(2, 'bpf_map_update_elem', '3.19', [take.map(), take.key, take.value, take.flags], give.i32);

/** Takes a key and its value out. -ENOENT where there is none. */
export const bpf_map_delete_elem: <K extends Layout, V>(map: Of<K, V>, key: Value<K>) => i32 = helper(
  3,
  'bpf_map_delete_elem',
  '3.19',
  [take.map(), take.key],
  give.i32,
);

/** Puts a value into a queue, a stack or a bloom filter. With BPF_EXIST the oldest makes room. */
export const bpf_map_push_elem: <V extends Layout>(map: Holds<V>, value: Value<V>, flags?: Flags) => i32 = helper(
  87,
  'bpf_map_push_elem',
  '4.20',
  [take.map('queue', 'stack', 'bloom_filter'), take.value, take.flags],
  give.i32,
);

/** Takes the next value out of a queue or a stack, into `into`. -ENOENT where it is empty. */
export const bpf_map_pop_elem: <V extends Layout>(map: Holds<V>, into: Stored<V>) => i32 = helper(
  88,
  'bpf_map_pop_elem',
  '4.20',
  [take.map('queue', 'stack'), take.into],
  give.i32,
);

/** Copies the next value to `into` and leaves it there; of a bloom filter, asks whether it may hold the value. */
export const bpf_map_peek_elem: <V extends Layout>(map: Holds<V>, into: Stored<V> | Value<V>) => i32 = helper(
  89,
  'bpf_map_peek_elem',
  '4.20',
  [take.map('queue', 'stack', 'bloom_filter'), take.value],
  give.i32,
);

/** Finds another CPU's value in a per-CPU map, or null. */
export const bpf_map_lookup_percpu_elem: <K extends Layout, V>(
  map: Of<K, V>,
  key: Value<K>,
  cpu: u32,
) => Stored<V> | null = helper(
  195,
  'bpf_map_lookup_percpu_elem',
  '5.19',
  [take.map('percpu_hash', 'percpu_array', 'lru_percpu_hash'), take.key, take.u32('cpu')],
  give.value,
);

/** Calls back for each entry of a map until 1 is returned. Gives how many it visited. */
export const bpf_for_each_map_elem: <K extends Layout, V, S extends object | null>(
  map: Of<K, V>,
  callback: (map: Of<K, V>, key: Stored<K>, value: Stored<V>, state: S) => number,
  state: S,
  flags?: Flags,
) => i32 = helper(
  164,
  'bpf_for_each_map_elem',
  '5.13',
  [
    take.map('hash', 'array', 'percpu_hash', 'percpu_array', 'lru_hash', 'lru_percpu_hash'),
    take.callback({ kind: 'map' }, { kind: 'key' }, { kind: 'value' }, { kind: 'callbackContext' }),
    take.state,
    take.flags,
  ],
  give.i32,
);

/** Copies a record into a ring buffer: BPF_RB_NO_WAKEUP or BPF_RB_FORCE_WAKEUP. -EAGAIN where there is no room. */
export const bpf_ringbuf_output: (map: Ring, data: object | string, flags?: Flags) => i32 = helper(
  130,
  'bpf_ringbuf_output',
  '5.8',
  [take.map('ringbuf'), take.memory('data'), take.flags],
  give.i32,
);

/** Room for a record of this layout in a ring buffer, or null. To be submitted or discarded. */
export const bpf_ringbuf_reserve: <T extends Layout>(map: Ring, layout: T, flags?: Flags) => Stored<T> | null = helper(
  131,
  'bpf_ringbuf_reserve',
  '5.8',
  [take.map('ringbuf'), take.constant('layout'), take.flags],
  give.memory('bpf_ringbuf_submit'),
);

/** Hands a reserved record to user space. */
export const bpf_ringbuf_submit: (record: object, flags?: Flags) => void = helper(
  132,
  'bpf_ringbuf_submit',
  '5.8',
  [take.pointer('record'), take.flags],
  give.nothing,
);

/** Gives a reserved record back. */
export const bpf_ringbuf_discard: (record: object, flags?: Flags) => void = helper(
  133,
  'bpf_ringbuf_discard',
  '5.8',
  [take.pointer('record'), take.flags],
  give.nothing,
);

/** How full a ring buffer is: BPF_RB_AVAIL_DATA and kin. A moment later it may be another. */
export const bpf_ringbuf_query: (map: Ring, flags?: Flags) => u64 = helper(
  134,
  'bpf_ringbuf_query',
  '5.8',
  [take.map('ringbuf'), take.flags],
  give.u64,
);

/** Room in a ring buffer of a size that is a variable, as a dynptr; to be submitted or discarded even where this fails. */
export const bpf_ringbuf_reserve_dynptr: (map: Ring, size: u32, flags: Flags, into: dynptr) => i32 = helper(
  198,
  'bpf_ringbuf_reserve_dynptr',
  '5.19',
  [take.map('ringbuf'), take.u32('size'), take.u64('flags'), take.structRoom('into', 16)],
  give.i32,
);

/** Hands a record that was reserved as a dynptr to user space. */
export const bpf_ringbuf_submit_dynptr: (record: dynptr, flags?: Flags) => void = helper(
  199,
  'bpf_ringbuf_submit_dynptr',
  '5.19',
  [take.struct('record', 16), take.flags],
  give.nothing,
);

/** Gives it back. */
export const bpf_ringbuf_discard_dynptr: (record: dynptr, flags?: Flags) => void = helper(
  200,
  'bpf_ringbuf_discard_dynptr',
  '5.19',
  [take.struct('record', 16), take.flags],
  give.nothing,
);

/** Calls back for each record from user space until 1 is returned. Gives how many it took, or a negative errno. */
export const bpf_user_ringbuf_drain: <S extends object | null>(
  map: BpfMap<'user_ringbuf', null, null>,
  callback: (record: Kernel<'bpf_dynptr'>, state: S) => number,
  state: S,
  flags?: Flags,
) => i64 = helper(
  209,
  'bpf_user_ringbuf_drain',
  '6.1',
  [take.map('user_ringbuf'), take.callback({ kind: 'dynptr' }, { kind: 'callbackContext' }), take.state, take.flags],
  give.i64,
);
