/**
 * Room `bpf`: helpers that almost every program may call: time, chance, the processor, loops, tail calls, text, dynptrs.
 *
 * A newcomer would get wrong: `bpf_ktime_get_ns` stops while the machine sleeps; `bpf_ktime_get_boot_ns` goes on. Neither is the
 * time of day.
 */
import { U32 } from '../../types.ts';
import type { Flags, Kernel, Layout, Reference, Stored } from '../layout.ts';
import type { BpfMap } from '../maps/types.ts';
import type { i32, i64, u32, u64 } from '../numbers.ts';
import type { dynptr } from '../uapi-structs.ts';
import { GPL, give, helper, MOVES, take } from './helper.ts';

/** Nanoseconds since boot, without time asleep (CLOCK_MONOTONIC). */
export const bpf_ktime_get_ns: () => u64 = helper(5, 'bpf_ktime_get_ns', '4.1', [], give.u64);

/** Nanoseconds since boot, with time asleep (CLOCK_BOOTTIME). */
export const bpf_ktime_get_boot_ns: () => u64 = helper(125, 'bpf_ktime_get_boot_ns', '5.8', [], give.u64);

/** Nanoseconds since boot, at the last tick: cheaper and coarser. */
export const bpf_ktime_get_coarse_ns: () => u64 = helper(160, 'bpf_ktime_get_coarse_ns', '5.11', [], give.u64);

/** Nanoseconds of international atomic time (CLOCK_TAI). */
export const bpf_ktime_get_tai_ns: () => u64 = helper(208, 'bpf_ktime_get_tai_ns', '6.1', [], give.u64);

/** Ticks since boot. */
export const bpf_jiffies64: () => u64 = helper(118, 'bpf_jiffies64', '5.6', [], give.u64);

/** A random number; of no use for cryptography. */
export const bpf_get_prandom_u32: () => u32 = helper(7, 'bpf_get_prandom_u32', '4.1', [], give.u32);

/** The processor that the program runs on. */
export const bpf_get_smp_processor_id: () => u32 = helper(8, 'bpf_get_smp_processor_id', '4.1', [], give.u32);

/** Its NUMA node. */
export const bpf_get_numa_node_id: () => i32 = helper(42, 'bpf_get_numa_node_id', '4.10', [], give.i32);

/** Writes a line to trace_pipe; `print` is easier. The format knows %d %u %x %lld %llu %llx %p %s. */
export const bpf_trace_printk: (format: string, ...values: (number | bigint)[]) => i32 = helper(
  6,
  'bpf_trace_printk',
  '4.1',
  [take.text('format', true), take.optional('first'), take.optional('second'), take.optional('third')],
  give.i32,
  GPL,
);

/** The same with any number of values, in an array of u64. */
export const bpf_trace_vprintk: (format: string, values: object | string | null) => i32 = helper(
  177,
  'bpf_trace_vprintk',
  '5.16',
  [take.text('format', true), take.maybeMemory('values')],
  give.i32,
  GPL,
);

/** Writes a formatted string into memory. Gives its length with the final zero, cut off or not. */
export const bpf_snprintf: (into: object, format: string, values: object | string | null) => i32 = helper(
  165,
  'bpf_snprintf',
  '5.13',
  [take.room('into'), take.text('format', false), take.maybeMemory('values')],
  give.i32,
  GPL,
);

/** Compares memory with a constant string, as strcmp does. */
export const bpf_strncmp: (text: object | string, constant: string) => i32 = helper(
  182,
  'bpf_strncmp',
  '5.17',
  [take.memory('text'), take.text('constant', false)],
  give.i32,
);

/** Reads a signed number in text, in base 8, 10 or 16 (0: by its prefix). Gives how many bytes it took, or -EINVAL, -ERANGE. */
export const bpf_strtol: (text: object | string, base: Flags, into: Reference<i64>) => i32 = helper(
  105,
  'bpf_strtol',
  '5.2',
  [take.memory('text'), take.u64('base'), take.structRoom('into', 8)],
  give.i32,
);

/** The same for an unsigned number. */
export const bpf_strtoul: (text: object | string, base: Flags, into: Reference<u64>) => i32 = helper(
  106,
  'bpf_strtoul',
  '5.2',
  [take.memory('text'), take.u64('base'), take.structRoom('into', 8)],
  give.i32,
);

/** Goes on in the program at `index`; comes back only where there is none. `tailCall` is the same. */
export const bpf_tail_call: (context: object, map: BpfMap<'prog_array'>, index: u32) => void = helper(
  12,
  'bpf_tail_call',
  '4.2',
  [take.context, take.map('prog_array'), take.u32('index')],
  give.nothing,
  MOVES,
);

/** Calls back `count` times (at most 2^23), or until 1 is returned. Gives how often. */
export const bpf_loop: <S extends object | null>(
  count: u32,
  callback: (index: u32, state: S) => number,
  state: S,
  flags?: Flags,
) => i32 = helper(
  181,
  'bpf_loop',
  '5.17',
  [
    take.u32('count'),
    take.callback({ kind: 'scalar', type: U32 }, { kind: 'callbackContext' }),
    take.state,
    take.flags,
  ],
  give.i32,
);

/** Makes a dynptr of memory in a map's value. */
export const bpf_dynptr_from_mem: (memory: object | string, flags: Flags, into: dynptr) => i32 = helper(
  197,
  'bpf_dynptr_from_mem',
  '5.19',
  [take.memory('memory'), take.u64('flags'), take.structRoom('into', 16)],
  give.i32,
);

/** Copies out of a dynptr. -E2BIG where it ends before. */
export const bpf_dynptr_read: (into: object, from: dynptr | Kernel<'bpf_dynptr'>, offset: u32, flags?: Flags) => i32 =
  helper(
    201,
    'bpf_dynptr_read',
    '5.19',
    [take.room('into'), take.struct('from', 16), take.u32('offset'), take.flags],
    give.i32,
  );

/** Copies into a dynptr. Where that is a packet, pointers into the packet are void afterwards. */
export const bpf_dynptr_write: (
  to: dynptr | Kernel<'bpf_dynptr'>,
  offset: u32,
  from: object | string,
  flags?: Flags,
) => i32 = helper(
  202,
  'bpf_dynptr_write',
  '5.19',
  [take.struct('to', 16), take.u32('offset'), take.memory('from'), take.flags],
  give.i32,
);

/** The dynptr's own memory from `offset` on, as this layout, or null. */
export const bpf_dynptr_data: <T extends Layout>(
  from: dynptr | Kernel<'bpf_dynptr'>,
  offset: u32,
  layout: T,
) => Stored<T> | null = helper(
  203,
  'bpf_dynptr_data',
  '5.19',
  [take.struct('from', 16), take.u32('offset'), take.constant('layout')],
  give.memory(),
);
