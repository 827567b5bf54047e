/**
 * Room `bpf`: storage maps: values that lie beside a socket, a task, an inode or a cgroup and go with it.
 *
 * A newcomer would get wrong: they have no size, and the kernel wants BPF_F_NO_PREALLOC and BTF for them. Their key is an int that
 * only user space uses: a descriptor of the object.
 */
import { BPF_F_NO_PREALLOC } from '../../../kernel/bpf-abi.ts';
import type { bpf_sock } from '../contexts/sockets.ts';
import type { Kernel, Layout } from '../layout.ts';
import type { u64 } from '../numbers.ts';
import { constructorOf, type Rule } from './constructor.ts';
import type * as of from './types.ts';

type MakesStorage<T extends string, O> = <V extends Layout>(
  options: of.Unsized & { readonly value: V },
) => of.StorageMap<T, O, V>;

const storage = (object: string): Rule => ({
  key: 'u32',
  value: 'required',
  flags: BPF_F_NO_PREALLOC,
  methods: { get: `bpf_${object}_storage_get`, delete: `bpf_${object}_storage_delete` },
});

/** A value beside each socket. */
export const socketStorage = constructorOf<MakesStorage<'sk_storage', bpf_sock | Kernel<'sock'>>>(
  'socketStorage',
  'sk_storage',
  '5.2',
  storage('sk'),
);

/** A value beside each inode; for LSM programs. */
export const inodeStorage = constructorOf<MakesStorage<'inode_storage', Kernel<'inode'>>>(
  'inodeStorage',
  'inode_storage',
  '5.10',
  storage('inode'),
);

/** A value beside each task. */
export const taskStorage = constructorOf<MakesStorage<'task_storage', Kernel<'task_struct'>>>(
  'taskStorage',
  'task_storage',
  '5.11',
  storage('task'),
);

/** A value beside each cgroup. */
export const cgroupStorage = constructorOf<MakesStorage<'cgrp_storage', Kernel<'cgroup'>>>(
  'cgroupStorage',
  'cgrp_storage',
  '6.2',
  storage('cgrp'),
);

type MakesLocal<T extends string> = <V extends Layout, K extends Layout = typeof u64>(
  options: of.Unsized & { readonly key?: K; readonly value: V },
) => of.CgroupLocalStorageMap<T, K, V>;

const local: Rule = { key: 'optional', value: 'required', methods: { get: 'bpf_get_local_storage' } };

/**
 * A value for each cgroup to which the program is attached. `key`: u64 (the cgroup's id; shared by attach types) or
 * `bpf_cgroup_storage_key`. `cgroupStorage` is newer and does more.
 */
export const cgroupLocalStorage = constructorOf<MakesLocal<'cgroup_storage'>>(
  'cgroupLocalStorage',
  'cgroup_storage',
  '4.19',
  local,
);

/** The same, one for each CPU. */
export const perCpuCgroupLocalStorage = constructorOf<MakesLocal<'percpu_cgroup_storage'>>(
  'perCpuCgroupLocalStorage',
  'percpu_cgroup_storage',
  '4.20',
  local,
);

/** Cgroups by index, to ask whether a packet or a task belongs to one. */
export const cgroupArray = constructorOf<(options: of.Sized) => of.CgroupArrayMap>(
  'cgroupArray',
  'cgroup_array',
  '4.8',
  {
    key: 'u32',
    value: 'u32',
    methods: { holds: 'bpf_skb_under_cgroup', holdsCurrentTask: 'bpf_current_task_under_cgroup' },
  },
);
