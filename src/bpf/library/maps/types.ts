/**
 * Room `bpf`: what a program can do with each kind of map. `K` and `V` are layouts: a map of `u64` values is looked up to a
 * `Reference` of a bigint, a map of structs to the struct itself.
 *
 * A newcomer would get wrong: what `lookup` gives lies in the map. Writing to it changes the map at once, for every CPU.
 */
import type { bpf_sock_ops, sk_msg_md } from '../contexts/messages.ts';
import type { AnyBuffer, sk_reuseport_md } from '../contexts/packets.ts';
import type { bpf_sock, bpf_xdp_sock } from '../contexts/sockets.ts';
import type { Flags, Kernel, Layout, Stored, Value } from '../layout.ts';
import type { i32, i64, u32, u64 } from '../numbers.ts';
import type { bpf_perf_event_value } from '../uapi-structs.ts';

/** What every map has: what it was declared with. */
export interface BpfMap<Type extends string = string, K = Layout | null, V = unknown> {
  readonly kind: 'map';
  /** As in enum bpf_map_type, lower case. */
  readonly type: Type;
  readonly key: K;
  readonly value: V;
  readonly maxEntries: number;
  readonly flags: number;
}

interface Lookup<K extends Layout, V> {
  /** Where the key's value lies in the map, or null. */
  lookup(key: Value<K>): Stored<V> | null;
}

interface LookupOn<K extends Layout, V> {
  /** The value of another CPU, or null. */
  lookupOn(key: Value<K>, cpu: u32): Stored<V> | null;
}

interface Update<K extends Layout, V> {
  /** Puts a value, whole. `flags`: BPF_ANY, BPF_NOEXIST (-EEXIST where it is there) or BPF_EXIST. 0 or a negative errno. */
  update(key: Value<K>, value: Value<V>, flags?: Flags): i32;
}

interface Delete<K extends Layout> {
  /** 0, or -ENOENT where there was nothing. */
  delete(key: Value<K>): i32;
}

interface ForEach<K extends Layout, V> {
  /** Calls back for each entry, until 1 is returned. Gives how many it visited. The callback captures nothing: it gets `state`. */
  forEach<S extends object | null>(
    callback: (map: this, key: Stored<K>, value: Stored<V>, state: S) => number,
    state: S,
    flags?: Flags,
  ): i32;
}

export interface HashMap<K extends Layout, V extends Layout, T extends string = 'hash'>
  extends BpfMap<T, K, V>,
    Lookup<K, V>,
    Update<K, V>,
    Delete<K>,
    ForEach<K, V> {}

export interface ArrayMap<V extends Layout, T extends string = 'array'>
  extends BpfMap<T, Layout<u32>, V>,
    Lookup<Layout<u32>, V>,
    Update<Layout<u32>, V>,
    ForEach<Layout<u32>, V> {}

/** `lookup` and `update` reach this CPU's value. */
export interface PerCpuHashMap<K extends Layout, V extends Layout, T extends string = 'percpu_hash'>
  extends HashMap<K, V, T>,
    LookupOn<K, V> {}

/** `lookup` and `update` reach this CPU's value. */
export interface PerCpuArrayMap<V extends Layout> extends ArrayMap<V, 'percpu_array'>, LookupOn<Layout<u32>, V> {}

/** Keys begin with `prefixLength: u32` in bits; the longest prefix that fits is found. */
export interface LpmTrieMap<K extends Layout, V extends Layout>
  extends BpfMap<'lpm_trie', K, V>,
    Lookup<K, V>,
    Update<K, V>,
    Delete<K> {}

/** Programs by index, for `tailCall(context, map, index)`. */
export interface ProgramArrayMap extends BpfMap<'prog_array', Layout<u32>, Layout<u32>> {}

export interface PerfEventArrayMap<V = unknown> extends BpfMap<'perf_event_array', Layout<u32>, V> {
  /** Sends a record to user space. `flags`: BPF_F_CURRENT_CPU, or a CPU's index; bits 32 to 51: bytes of the packet to append. */
  output(context: object, flags: Flags, data: object): i32;
  /** The same from a BTF program, with an skb of the kernel's. */
  outputPacket(packet: Kernel<'sk_buff'>, flags: Flags, data: object): i32;
  /** The same with an xdp_buff. */
  outputXdp(packet: Kernel<'xdp_buff'>, flags: Flags, data: object): i32;
  /** The counter's value, or a negative errno. */
  read(flags?: Flags): u64;
  /** The counter with the times that it was enabled and running. */
  readValue(flags: Flags, into: bpf_perf_event_value): i32;
}

export interface RingBufferMap<V = unknown> extends BpfMap<'ringbuf', null, V> {
  /** Copies a record in. `flags`: BPF_RB_NO_WAKEUP or BPF_RB_FORCE_WAKEUP. -EAGAIN where there is no room. */
  output(data: object, flags?: Flags): i32;
  /** Room for one record, to be filled in place and then submitted or discarded; null where there is none. */
  reserve<T extends Layout>(type: T, flags?: Flags): Stored<T> | null;
  submit(record: object, flags?: Flags): void;
  discard(record: object, flags?: Flags): void;
  /** BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE, BPF_RB_CONS_POS or BPF_RB_PROD_POS. */
  query(flags?: Flags): u64;
}

/** Records from user space. */
export interface UserRingBufferMap extends BpfMap<'user_ringbuf', null, null> {
  /** Calls back for each record, until 1 is returned. Gives how many it took, or a negative errno. */
  drain<S extends object | null>(
    callback: (record: Kernel<'bpf_dynptr'>, state: S) => number,
    state: S,
    flags?: Flags,
  ): i64;
}

/** The maps that it holds are like `V`. */
export interface MapOfMaps<T extends string, K extends Layout, V extends BpfMap> extends BpfMap<T, K, V> {
  /** The inner map, or null. */
  lookup(key: Value<K>): V | null;
}

interface Redirect {
  /** Sends the packet there when the program returns what this gives: XDP_REDIRECT, or the low bits of `flags` where nothing is there. */
  redirect(key: u32, flags?: Flags): i32;
}

/** Network devices. With BPF_F_BROADCAST `redirect` sends to all of them. */
export interface DeviceMap<V extends Layout, T extends string = 'devmap'>
  extends BpfMap<T, Layout<u32>, V>,
    Lookup<Layout<u32>, V>,
    Redirect {}

/** CPUs to which packets are handed. */
export interface CpuMap<V extends Layout> extends BpfMap<'cpumap', Layout<u32>, V>, Lookup<Layout<u32>, V>, Redirect {}

/** AF_XDP sockets by receive queue. */
export interface XskMap extends BpfMap<'xskmap', Layout<u32>, Layout<u32>>, Redirect {
  lookup(key: u32): bpf_xdp_sock | null;
}

/** Sockets, between which messages are redirected. */
export interface SocketsMap<K extends Layout, T extends string> extends BpfMap<T, K, Layout>, Delete<K> {
  /** The socket, or null; to be given back with `bpf_sk_release`. */
  lookup(key: Value<K>): bpf_sock | null;
  /** Puts a socket that `lookup` or a context gave. */
  update(key: Value<K>, socket: bpf_sock, flags?: Flags): i32;
  /** Puts the socket of a sockops program's context. */
  add(context: bpf_sock_ops, key: Value<K>, flags?: Flags): i32;
  /** In sk_skb programs: to that socket's egress, or its ingress with BPF_F_INGRESS. Gives SK_PASS or SK_DROP. */
  redirect(context: AnyBuffer, key: Value<K>, flags?: Flags): i32;
  /** The same in sk_msg programs. */
  redirectMessage(context: sk_msg_md, key: Value<K>, flags?: Flags): i32;
  /** In sk_reuseport programs: this socket takes the packet. */
  select(context: sk_reuseport_md, key: Value<K>, flags?: Flags): i32;
}

/** Sockets of a reuseport group. */
export interface ReuseportSocketArrayMap extends BpfMap<'reuseport_sockarray', Layout<u32>, Layout> {
  /** This socket takes the packet. 0, or -ENOENT where none is there. */
  select(context: sk_reuseport_md, key: u32, flags?: Flags): i32;
}

/** First in first out (`queue`) or last in first out (`stack`). */
export interface QueueMap<V extends Layout, T extends string> extends BpfMap<T, null, V> {
  /** -E2BIG where it is full, unless `flags` is BPF_EXIST, which drops the oldest. */
  push(value: Value<V>, flags?: Flags): i32;
  /** Takes the next out, into `into`: 0, or -ENOENT where there is none. */
  pop(into: Stored<V>): i32;
  /** The same, and leaves it there. */
  peek(into: Stored<V>): i32;
}

/** Tells whether a value was put in, with false positives and no false negatives. */
export interface BloomFilterMap<V extends Layout> extends BpfMap<'bloom_filter', null, V> {
  push(value: Value<V>, flags?: Flags): i32;
  /** 0 where the value was probably put in, -ENOENT where it surely was not. */
  has(value: Value<V>): i32;
}

/** A value beside each object of the kernel's; it goes when the object goes. */
export interface StorageMap<T extends string, O, V extends Layout> extends BpfMap<T, Layout<u32>, V> {
  /** The object's value; made from `value` (or zeros, for null) where it is missing and `flags` has BPF_LOCAL_STORAGE_GET_F_CREATE. */
  get(object: O, value: Value<V> | null, flags?: Flags): Stored<V> | null;
  delete(object: O): i32;
}

/** A value for each cgroup to which the program is attached. */
export interface CgroupLocalStorageMap<T extends string, K extends Layout, V extends Layout> extends BpfMap<T, K, V> {
  get(flags?: Flags): Stored<V>;
}

export interface CgroupArrayMap extends BpfMap<'cgroup_array', Layout<u32>, Layout<u32>> {
  /** 1 where the packet's socket is in the cgroup at `index` or below, 0 elsewhere. */
  holds(context: AnyBuffer, index: u32): i32;
  /** The same for the current task. */
  holdsCurrentTask(index: u32): i32;
}

export interface StackTraceMap<V extends Layout> extends BpfMap<'stack_trace', Layout<u32>, V> {
  /** Stores the current stack and gives its number, or a negative errno. `flags`: frames to skip, BPF_F_USER_STACK, BPF_F_REUSE_STACKID. */
  get(context: object, flags?: Flags): i32;
}

/**
 * Memory shared with user space, in pages of 4 KB (of the machine's own size where that is larger). What `pointer(T)` fields and globals
 * hold in it are user space's addresses.
 */
export interface ArenaMap extends BpfMap<'arena', null, null> {
  /**
   * Zeroed pages that hold a T, as many as it needs or `pages`; null where so many are not free side by side. Before Linux 7.0 only in
   * programs that may sleep (`syscall`, `.s` sections). Calls bpf_arena_alloc_pages.
   */
  allocate<L extends Layout>(layout: L, pages?: u32): Stored<L> | null;
  /** Gives pages back, as many as what lies there needs or `pages`. Calls bpf_arena_free_pages. */
  free(memory: object, pages?: u32): void;
  /**
   * The T at an address of user space's: all 64 bits of it, as `addressOf` gives them here and there, or the low 32, which is enough to
   * find it again. Null for 0. Any address can be read and written: beyond the arena and in pages that are not there, reading gives 0.
   */
  at<L extends Layout>(layout: L, address: u64 | u32): Stored<L> | null;
  /** What user space calls this address; 0 for null. */
  addressOf(memory: object | null): u64;
}

/** What most constructors take. */
export interface Sized {
  /** How many entries it has room for; a power of two of bytes for ring buffers. */
  readonly maxEntries: number;
  /** BPF_F_NO_PREALLOC and kin. */
  readonly flags?: number;
  /** Pinned below bpffs by its name and reused from there. */
  readonly pin?: 'byName';
  readonly numaNode?: number;
}

/** What is created with a size that is not the user's to choose. */
export type Unsized = Omit<Sized, 'maxEntries'>;

export type Valued<V> = Sized & { readonly value: V };

export type KeyValue<K, V> = Sized & { readonly key: K; readonly value: V };

/** Filled when the object is loaded, by index. */
export interface Filled<T> {
  readonly values?: readonly (T | null)[];
}
