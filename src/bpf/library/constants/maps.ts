/**
 * Room `bpf`: flags and numbers of maps (include/uapi/linux/bpf.h). A test compares each with the headers.
 *
 * A newcomer would get wrong: the same bit means different things in different places: BPF_NOEXIST is for updates,
 * BPF_F_NO_PREALLOC for declarations, and both are 1.
 */
export { BPF_ANY, BPF_EXIST, BPF_F_NO_PREALLOC, BPF_NOEXIST } from '../../../kernel/bpf-abi.ts';

/** For updates: takes the value's spin lock. */
export const BPF_F_LOCK = 4;

// For declarations (`flags`).
export const BPF_F_NO_COMMON_LRU = 0x2;
export const BPF_F_NUMA_NODE = 0x4;
export const BPF_F_RDONLY = 0x8;
export const BPF_F_WRONLY = 0x10;
export const BPF_F_STACK_BUILD_ID = 0x20;
export const BPF_F_ZERO_SEED = 0x40;
export const BPF_F_RDONLY_PROG = 0x80;
export const BPF_F_WRONLY_PROG = 0x100;
export const BPF_F_CLONE = 0x200;
export const BPF_F_MMAPABLE = 0x400;
export const BPF_F_PRESERVE_ELEMS = 0x800;
export const BPF_F_INNER_MAP = 0x1000;

// For ring buffers.
export const BPF_RB_NO_WAKEUP = 1;
export const BPF_RB_FORCE_WAKEUP = 2;
export const BPF_RB_AVAIL_DATA = 0;
export const BPF_RB_RING_SIZE = 1;
export const BPF_RB_CONS_POS = 2;
export const BPF_RB_PROD_POS = 3;

// For perf event arrays.
export const BPF_F_INDEX_MASK = 0xffffffff;
export const BPF_F_CURRENT_CPU = 0xffffffff;
export const BPF_F_CTXLEN_MASK = 0xfffff00000000n;

// For stacks.
export const BPF_F_SKIP_FIELD_MASK = 0xff;
export const BPF_F_USER_STACK = 0x100;
export const BPF_F_FAST_STACK_CMP = 0x200;
export const BPF_F_REUSE_STACKID = 0x400;
export const BPF_F_USER_BUILD_ID = 0x800;

// For storages.
export const BPF_LOCAL_STORAGE_GET_F_CREATE = 1;
export const BPF_SK_STORAGE_GET_F_CREATE = 1;
