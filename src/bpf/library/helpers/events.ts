/**
 * Room `bpf`: helpers that tell user space: perf events, stacks of calls, branches, text for iterators.
 *
 * A newcomer would get wrong: `bpf_perf_event_output` wants BPF_F_CURRENT_CPU as its flags; with 0 everything goes to CPU 0's
 * buffer, and from other CPUs nowhere.
 */
import type { bpf_perf_event_data } from '../contexts/tracing.ts';
import type { Flags, Kernel } from '../layout.ts';
import type { BpfMap } from '../maps/types.ts';
import type { i32, u64 } from '../numbers.ts';
import type { bpf_perf_event_value, btf_ptr } from '../uapi-structs.ts';
import { GPL, give, helper, take } from './helper.ts';

type Events = BpfMap<'perf_event_array'>;

/** Sends a record through a perf buffer: BPF_F_CURRENT_CPU; bits 32 to 51 of `flags` say how much of the packet to append. */
export const bpf_perf_event_output: (context: object, map: Events, flags: Flags, data: object | string) => i32 = helper(
  25,
  'bpf_perf_event_output',
  '4.4',
  [take.context, take.map('perf_event_array'), take.u64('flags'), take.memory('data')],
  give.i32,
  GPL,
);

/** The same from BTF programs, with an skb of the kernel's. */
export const bpf_skb_output: (packet: Kernel<'sk_buff'>, map: Events, flags: Flags, data: object | string) => i32 =
  helper(
    111,
    'bpf_skb_output',
    '5.5',
    [take.pointer('packet', 'sk_buff'), take.map('perf_event_array'), take.u64('flags'), take.memory('data')],
    give.i32,
    GPL,
  );

/** The same with an xdp_buff of the kernel's. */
export const bpf_xdp_output: (packet: Kernel<'xdp_buff'>, map: Events, flags: Flags, data: object | string) => i32 =
  helper(
    121,
    'bpf_xdp_output',
    '5.7',
    [take.pointer('packet', 'xdp_buff'), take.map('perf_event_array'), take.u64('flags'), take.memory('data')],
    give.i32,
    GPL,
  );

/** A perf counter's value; errors look like large values, so the next is better. */
export const bpf_perf_event_read: (map: Events, flags?: Flags) => u64 = helper(
  22,
  'bpf_perf_event_read',
  '4.3',
  [take.map('perf_event_array'), take.flags],
  give.u64,
  GPL,
);

/** A perf counter with the times that it was enabled and running. */
export const bpf_perf_event_read_value: (map: Events, flags: Flags, into: bpf_perf_event_value) => i32 = helper(
  55,
  'bpf_perf_event_read_value',
  '4.15',
  [take.map('perf_event_array'), take.u64('flags'), take.room('into')],
  give.i32,
  GPL,
);

/** The counter of the event that the program is attached to. */
export const bpf_perf_prog_read_value: (context: bpf_perf_event_data, into: bpf_perf_event_value) => i32 = helper(
  56,
  'bpf_perf_prog_read_value',
  '4.15',
  [take.context, take.room('into')],
  give.i32,
  GPL,
);

/** Stores the current stack in a stackTrace map and gives its number, or a negative errno. */
export const bpf_get_stackid: (context: object, map: BpfMap<'stack_trace'>, flags?: Flags) => i32 = helper(
  27,
  'bpf_get_stackid',
  '4.6',
  [take.context, take.map('stack_trace'), take.flags],
  give.i32,
  GPL,
);

/** Copies the current stack's addresses. Gives their bytes. `flags`: frames to skip, BPF_F_USER_STACK, BPF_F_USER_BUILD_ID. */
export const bpf_get_stack: (context: object, into: object, flags?: Flags) => i32 = helper(
  67,
  'bpf_get_stack',
  '4.18',
  [take.context, take.room('into'), take.flags],
  give.i32,
  GPL,
);

/** The same for another task. */
export const bpf_get_task_stack: (task: Kernel<'task_struct'>, into: object, flags?: Flags) => i32 = helper(
  141,
  'bpf_get_task_stack',
  '5.9',
  [take.pointer('task', 'task_struct'), take.room('into'), take.flags],
  give.i32,
);

/** Copies the sample's branch records; with BPF_F_GET_BRANCH_RECORDS_SIZE only asks how many bytes they take. */
export const bpf_read_branch_records: (
  context: bpf_perf_event_data,
  into: object | string | null,
  flags?: Flags,
) => i32 = helper(
  119,
  'bpf_read_branch_records',
  '5.7',
  [take.context, take.maybeMemory('into'), take.flags],
  give.i32,
  GPL,
);

/** Copies the processor's last branches. Gives their bytes. */
export const bpf_get_branch_snapshot: (into: object, flags?: Flags) => i32 = helper(
  176,
  'bpf_get_branch_snapshot',
  '5.16',
  [take.room('into'), take.flags],
  give.i32,
  GPL,
);

/** Writes formatted text to an iterator's reader. `values`: an array of u64, or null. */
export const bpf_seq_printf: (file: Kernel<'seq_file'>, format: string, values: object | string | null) => i32 = helper(
  126,
  'bpf_seq_printf',
  '5.8',
  [take.pointer('file', 'seq_file'), take.text('format', true), take.maybeMemory('values')],
  give.i32,
  GPL,
);

/** Writes bytes to an iterator's reader. */
export const bpf_seq_write: (file: Kernel<'seq_file'>, data: object | string) => i32 = helper(
  127,
  'bpf_seq_write',
  '5.8',
  [take.pointer('file', 'seq_file'), take.memory('data')],
  give.i32,
  GPL,
);

/** Writes a kernel struct's fields and values to an iterator's reader: BTF_F_COMPACT and kin. */
export const bpf_seq_printf_btf: (file: Kernel<'seq_file'>, what: btf_ptr, flags?: Flags) => i32 = helper(
  150,
  'bpf_seq_printf_btf',
  '5.10',
  [take.pointer('file', 'seq_file'), take.memory('what'), take.flags],
  give.i32,
  GPL,
);

/** The same into memory. Gives the length that it has or would have had. */
export const bpf_snprintf_btf: (into: object, what: btf_ptr, flags?: Flags) => i32 = helper(
  149,
  'bpf_snprintf_btf',
  '5.10',
  [take.room('into'), take.memory('what'), take.flags],
  give.i32,
);
