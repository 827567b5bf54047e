/**
 * Room `bpf`: maps of values by key and by index, and queues: `export const blocked = hash({ key: u32, value: u64, maxEntries: 1000
 * })`. What a program can do with each is in `types.ts`; what user space can do with it is the loader's matter.
 *
 * A newcomer would get wrong: `array` is a map when it is called with an object, and a type when it is called with (element,
 * length).
 */
import { BPF_F_NO_PREALLOC } from '../../../kernel/bpf-abi.ts';
import type { ArrayLayout, Layout } from '../layout.ts';
import type { u32 } from '../numbers.ts';
import { define } from '../registry.ts';
import { arrayOf } from '../structs.ts';
import { constructorOf, describe, mapDefinition, type Options } from './constructor.ts';
import { keyed, perCpu, queued, table, walked } from './methods.ts';
import type * as of from './types.ts';

type MakesHash<T extends string> = <K extends Layout, V extends Layout>(
  options: of.KeyValue<K, V>,
) => of.HashMap<K, V, T>;
type MakesPerCpuHash<T extends string> = <K extends Layout, V extends Layout>(
  options: of.KeyValue<K, V>,
) => of.PerCpuHashMap<K, V, T>;
type Valued<V> = of.Valued<V>;
type ArrayOptions<V> = Valued<V> & { readonly key?: Layout<u32> };

/** Entries by key, made and removed as programs go. */
export const hash = constructorOf<MakesHash<'hash'>>('hash', 'hash', '3.19', {
  key: 'required',
  value: 'required',
  methods: keyed,
});

/** The least recently used entry makes room where it is full. */
export const lruHash = constructorOf<MakesHash<'lru_hash'>>('lruHash', 'lru_hash', '4.10', {
  key: 'required',
  value: 'required',
  methods: keyed,
});

/** A hash with one value for each CPU: counters without contention. */
export const perCpuHash = constructorOf<MakesPerCpuHash<'percpu_hash'>>('perCpuHash', 'percpu_hash', '4.6', {
  key: 'required',
  value: 'required',
  methods: { ...keyed, ...perCpu },
});

/** Both. */
export const lruPerCpuHash = constructorOf<MakesPerCpuHash<'lru_percpu_hash'>>(
  'lruPerCpuHash',
  'lru_percpu_hash',
  '4.10',
  { key: 'required', value: 'required', methods: { ...keyed, ...perCpu } },
);

interface MakesArray {
  /** A map: `maxEntries` values by index, all there from the beginning and zero. */
  <V extends Layout>(options: ArrayOptions<V>): of.ArrayMap<V>;
  /** A type: `length` elements side by side. */
  <T>(element: Layout<T>, length: number): ArrayLayout<T>;
}

const arrayMap = mapDefinition('array', 'array', '3.19', { key: 'u32', value: 'required', methods: walked });

const isLayout = (value: Layout | Options): value is Layout => 'type' in value;

export const array = define(
  (first: Layout | Options, length = 0) => (isLayout(first) ? arrayOf(first, length) : describe(arrayMap, first)),
  { kind: 'intrinsic', name: 'array', map: arrayMap },
) as MakesArray;

/** An array with one value for each CPU. */
export const perCpuArray = constructorOf<<V extends Layout>(options: ArrayOptions<V>) => of.PerCpuArrayMap<V>>(
  'perCpuArray',
  'percpu_array',
  '4.6',
  { key: 'u32', value: 'required', methods: { ...walked, ...perCpu } },
);

/** Longest prefix match: the key is a struct of `prefixLength: u32` and bytes in network order. */
export const lpmTrie = constructorOf<
  <K extends Layout, V extends Layout>(options: of.KeyValue<K, V>) => of.LpmTrieMap<K, V>
>('lpmTrie', 'lpm_trie', '4.11', {
  key: 'required',
  value: 'required',
  // The kernel refuses a trie without it (kernel/bpf/lpm_trie.c, trie_alloc).
  flags: BPF_F_NO_PREALLOC,
  methods: { ...table, delete: 'bpf_map_delete_elem' },
});

/** First in, first out. */
export const queue = constructorOf<<V extends Layout>(options: Valued<V>) => of.QueueMap<V, 'queue'>>(
  'queue',
  'queue',
  '4.20',
  { key: 'none', value: 'required', methods: queued },
);

/** Last in, first out. */
export const stack = constructorOf<<V extends Layout>(options: Valued<V>) => of.QueueMap<V, 'stack'>>(
  'stack',
  'stack',
  '4.20',
  { key: 'none', value: 'required', methods: queued },
);

/** Was this value seen? `hashes`: hash functions, 1 to 15 (5 where absent). */
export const bloomFilter = constructorOf<
  <V extends Layout>(options: Valued<V> & { readonly hashes?: number }) => of.BloomFilterMap<V>
>('bloomFilter', 'bloom_filter', '5.16', {
  key: 'none',
  value: 'required',
  methods: { push: 'bpf_map_push_elem', has: 'bpf_map_peek_elem' },
});
