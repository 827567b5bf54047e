/**
 * Room `bpf`: helpers of what the kernel itself looks after in maps' values: locks, timers, pointers, and values beside objects.
 *
 * A newcomer would get wrong: a storage map's `get` makes the value only with BPF_LOCAL_STORAGE_GET_F_CREATE, and even then it may
 * give null, where memory is short.
 */
import type { bpf_sock } from '../contexts/sockets.ts';
import type { Flags, Kernel, Layout, Stored, Value } from '../layout.ts';
import type { BpfMap } from '../maps/types.ts';
import type { i32, u64 } from '../numbers.ts';
import type { spinLock, timer } from '../uapi-structs.ts';
import { GPL, give, helper, take } from './helper.ts';

type Storage<V extends Layout> = BpfMap<string, Layout, V>;

/** Locks a spin lock of a map's value. Nothing may be called until it is unlocked. */
export const bpf_spin_lock: (lock: spinLock) => void = helper(
  93,
  'bpf_spin_lock',
  '5.1',
  [take.struct('lock', 4)],
  give.nothing,
);

/** Unlocks it. */
export const bpf_spin_unlock: (lock: spinLock) => void = helper(
  94,
  'bpf_spin_unlock',
  '5.1',
  [take.struct('lock', 4)],
  give.nothing,
);

/** Makes a field of a map's value a timer of one of the CLOCK_*. -EBUSY where it is one. */
export const bpf_timer_init: (timer: timer, map: BpfMap, flags: Flags) => i32 = helper(
  169,
  'bpf_timer_init',
  '5.15',
  [take.struct('timer', 16), take.map('hash', 'array', 'lru_hash'), take.u64('flags')],
  give.i32,
  GPL,
);

/** Says what a timer shall call. Annotate what its map holds: `(map, key: Reference<u32>, value: Value<typeof Entry>) => …`. */
export const bpf_timer_set_callback: <M, K, V>(timer: timer, callback: (map: M, key: K, value: V) => number) => i32 =
  helper(
    170,
    'bpf_timer_set_callback',
    '5.15',
    [take.struct('timer', 16), take.callback({ kind: 'map' }, { kind: 'key' }, { kind: 'value' })],
    give.i32,
    GPL,
  );

/** Starts a timer, in nanoseconds from now, or at a time with BPF_F_TIMER_ABS. */
export const bpf_timer_start: (timer: timer, nanoseconds: u64, flags?: Flags) => i32 = helper(
  171,
  'bpf_timer_start',
  '5.15',
  [take.struct('timer', 16), take.u64('nanoseconds'), take.flags],
  give.i32,
  GPL,
);

/** Stops a timer and waits for its callback. 1 where it was running, 0 where not. */
export const bpf_timer_cancel: (timer: timer) => i32 = helper(
  172,
  'bpf_timer_cancel',
  '5.15',
  [take.struct('timer', 16)],
  give.i32,
  GPL,
);

/** Exchanges a pointer to an object of the kernel's that lies in a map's value. Gives the former, to be released, or null. */
export const bpf_kptr_xchg: <T extends Kernel<string>>(place: object, pointer: T | null) => T | null = helper(
  194,
  'bpf_kptr_xchg',
  '5.19',
  [take.struct('place', 8), take.maybePointer('pointer')],
  give.maybeKernel('void'),
);

/** The value beside a socket, made where it is missing and flags has BPF_SK_STORAGE_GET_F_CREATE; or null. */
export const bpf_sk_storage_get: <V extends Layout>(
  map: Storage<V>,
  socket: bpf_sock | Kernel<'sock'>,
  value: Value<V> | null,
  flags?: Flags,
) => Stored<V> | null = helper(
  107,
  'bpf_sk_storage_get',
  '5.2',
  [take.map('sk_storage'), take.pointer('socket'), take.maybeValue, take.flags],
  give.value,
);

/** Takes away the value beside a socket. */
export const bpf_sk_storage_delete: (map: Storage<Layout>, socket: bpf_sock | Kernel<'sock'>) => i32 = helper(
  108,
  'bpf_sk_storage_delete',
  '5.2',
  [take.map('sk_storage'), take.pointer('socket')],
  give.i32,
);

/** The value beside an inode, made where it is missing and flags has BPF_LOCAL_STORAGE_GET_F_CREATE; or null. */
export const bpf_inode_storage_get: <V extends Layout>(
  map: Storage<V>,
  inode: Kernel<'inode'>,
  value: Value<V> | null,
  flags?: Flags,
) => Stored<V> | null = helper(
  145,
  'bpf_inode_storage_get',
  '5.10',
  [take.map('inode_storage'), take.pointer('inode', 'inode'), take.maybeValue, take.flags],
  give.value,
);

/** Takes away the value beside an inode. */
export const bpf_inode_storage_delete: (map: Storage<Layout>, inode: Kernel<'inode'>) => i32 = helper(
  146,
  'bpf_inode_storage_delete',
  '5.10',
  [take.map('inode_storage'), take.pointer('inode', 'inode')],
  give.i32,
);

/** The value beside a task, made where it is missing and flags has BPF_LOCAL_STORAGE_GET_F_CREATE; or null. */
export const bpf_task_storage_get: <V extends Layout>(
  map: Storage<V>,
  task: Kernel<'task_struct'>,
  value: Value<V> | null,
  flags?: Flags,
) => Stored<V> | null = helper(
  156,
  'bpf_task_storage_get',
  '5.11',
  [take.map('task_storage'), take.pointer('task', 'task_struct'), take.maybeValue, take.flags],
  give.value,
);

/** Takes away the value beside a task. */
export const bpf_task_storage_delete: (map: Storage<Layout>, task: Kernel<'task_struct'>) => i32 = helper(
  157,
  'bpf_task_storage_delete',
  '5.11',
  [take.map('task_storage'), take.pointer('task', 'task_struct')],
  give.i32,
);

/** The value beside a cgroup, made where it is missing and flags has BPF_LOCAL_STORAGE_GET_F_CREATE; or null. */
export const bpf_cgrp_storage_get: <V extends Layout>(
  map: Storage<V>,
  cgroup: Kernel<'cgroup'>,
  value: Value<V> | null,
  flags?: Flags,
) => Stored<V> | null = helper(
  210,
  'bpf_cgrp_storage_get',
  '6.2',
  [take.map('cgrp_storage'), take.pointer('cgroup', 'cgroup'), take.maybeValue, take.flags],
  give.value,
);

/** Takes away the value beside a cgroup. */
export const bpf_cgrp_storage_delete: (map: Storage<Layout>, cgroup: Kernel<'cgroup'>) => i32 = helper(
  211,
  'bpf_cgrp_storage_delete',
  '6.2',
  [take.map('cgrp_storage'), take.pointer('cgroup', 'cgroup')],
  give.i32,
);

/** The value of the cgroup to which the program is attached. Never null. */
export const bpf_get_local_storage: <V extends Layout>(map: Storage<V>, flags?: Flags) => Stored<V> = helper(
  81,
  'bpf_get_local_storage',
  '4.19',
  [take.map('cgroup_storage', 'percpu_cgroup_storage'), take.flags],
  give.ownValue,
);
