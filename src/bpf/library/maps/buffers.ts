/**
 * Room `bpf`: maps through which records go to user space and come from there, and stacks of calls.
 *
 * A newcomer would get wrong: a ring buffer has no keys and no values to the kernel. `value` says what user space decodes a record
 * as.
 */
import { BPF_F_MMAPABLE } from '../constants/maps.ts';
import type { Layout } from '../layout.ts';
import { constructorOf } from './constructor.ts';
import type * as of from './types.ts';

/** Records to user space, one buffer for each CPU; in new programs `ringBuffer` is simpler and faster. Without a size: one per CPU. */
export const perfEventArray = constructorOf<
  <V extends Layout = Layout>(options: of.Unsized & { maxEntries?: number; value?: V }) => of.PerfEventArrayMap<V>
>('perfEventArray', 'perf_event_array', '4.3', {
  key: 'u32',
  value: 'optional',
  methods: {
    output: 'bpf_perf_event_output',
    outputPacket: 'bpf_skb_output',
    outputXdp: 'bpf_xdp_output',
    read: 'bpf_perf_event_read',
    readValue: 'bpf_perf_event_read_value',
  },
});

/** Records to user space through shared memory. `maxEntries`: bytes, a power of two. `value`: what user space decodes them as. */
export const ringBuffer = constructorOf<
  <V extends Layout = Layout>(options: of.Sized & { value?: V }) => of.RingBufferMap<V>
>('ringBuffer', 'ringbuf', '5.8', {
  key: 'none',
  value: 'optional',
  methods: {
    output: 'bpf_ringbuf_output',
    reserve: 'bpf_ringbuf_reserve',
    submit: 'bpf_ringbuf_submit',
    discard: 'bpf_ringbuf_discard',
    query: 'bpf_ringbuf_query',
  },
});

/** Records from user space. `maxEntries`: bytes, a power of two. */
export const userRingBuffer = constructorOf<(options: of.Sized) => of.UserRingBufferMap>(
  'userRingBuffer',
  'user_ringbuf',
  '6.1',
  { key: 'none', value: 'none', methods: { drain: 'bpf_user_ringbuf_drain' } },
);

/** Stacks of calls by number: `value: array(u64, 127)` is as deep as the kernel goes. */
export const stackTrace = constructorOf<<V extends Layout>(options: of.Valued<V>) => of.StackTraceMap<V>>(
  'stackTrace',
  'stack_trace',
  '4.6',
  { key: 'u32', value: 'required', methods: { get: 'bpf_get_stackid' } },
);

/**
 * Memory that programs and user space share, pointers in it included. `maxEntries`: pages. `address`: where user space has it, for one
 * that several processes map; else where there is room. An object has one.
 */
export const arena = constructorOf<(options: of.Sized & { readonly address?: number | bigint }) => of.ArenaMap>(
  'arena',
  'arena',
  '6.9',
  {
    key: 'none',
    value: 'none',
    // The kernel refuses an arena without it (kernel/bpf/arena.c, arena_map_alloc).
    flags: BPF_F_MMAPABLE,
    methods: {},
    intrinsics: ['allocate', 'free', 'at', 'addressOf'],
  },
);
