/**
 * Room `bpf`: helpers of tracing programs: who runs, where from, memory of the kernel and of processes.
 *
 * A newcomer would get wrong: in BTF programs (btfTracepoint, fentry, iterators) fields of kernel structs are read directly and
 * none of the probe_read helpers is needed.
 */
import type { pt_regs } from '../contexts/tracing.ts';
import type { Flags, Kernel, Reference } from '../layout.ts';
import type { BpfMap } from '../maps/types.ts';
import type { i32, u32, u64 } from '../numbers.ts';
import type { bpf_pidns_info } from '../uapi-structs.ts';
import { GPL, give, helper, take } from './helper.ts';

/** An address: a number, or a pointer of any kind. */
type Address = u64 | object;
type Task = Kernel<'task_struct'>;

/** The current thread in the low half, its process in the high half. */
export const bpf_get_current_pid_tgid: () => u64 = helper(14, 'bpf_get_current_pid_tgid', '4.2', [], give.u64);

/** The current user in the low half, its group in the high half. */
export const bpf_get_current_uid_gid: () => u64 = helper(15, 'bpf_get_current_uid_gid', '4.2', [], give.u64);

/** The name of the current thread: 15 characters and a zero. */
export const bpf_get_current_comm: (into: object) => i32 = helper(
  16,
  'bpf_get_current_comm',
  '4.2',
  [take.room('into')],
  give.i32,
);

/** The address of the current task's struct task_struct, to be read with care. */
export const bpf_get_current_task: () => u64 = helper(35, 'bpf_get_current_task', '4.8', [], give.u64, GPL);

/** The current task, whose fields are read directly: `const task: Task = bpf_get_current_task_btf()`. */
export const bpf_get_current_task_btf: <T extends Task = Task>() => T = helper(
  158,
  'bpf_get_current_task_btf',
  '5.11',
  [],
  give.kernel('task_struct'),
  GPL,
);

/** The registers that a task had when it entered the kernel. */
export const bpf_task_pt_regs: <T extends Kernel<'pt_regs'> = Kernel<'pt_regs'>>(task: Task) => T = helper(
  175,
  'bpf_task_pt_regs',
  '5.15',
  [take.pointer('task', 'task_struct')],
  give.kernel('pt_regs'),
  GPL,
);

/** The id of the current task's cgroup (v2). */
export const bpf_get_current_cgroup_id: () => u64 = helper(80, 'bpf_get_current_cgroup_id', '4.18', [], give.u64);

/** The id of that cgroup's ancestor at a level; 0 is the root. */
export const bpf_get_current_ancestor_cgroup_id: (level: i32) => u64 = helper(
  123,
  'bpf_get_current_ancestor_cgroup_id',
  '5.7',
  [take.i32('level')],
  give.u64,
);

/** The current thread and process as a pid namespace numbers them; the namespace by device and inode of its /proc/PID/ns/pid. */
export const bpf_get_ns_current_pid_tgid: (device: u64, inode: u64, into: bpf_pidns_info) => i32 = helper(
  120,
  'bpf_get_ns_current_pid_tgid',
  '5.7',
  [take.u64('device'), take.u64('inode'), take.room('into')],
  give.i32,
);

/** 1 where the current task is in the cgroup that the map has at `index`, or below; 0 elsewhere. */
export const bpf_current_task_under_cgroup: (map: BpfMap<'cgroup_array'>, index: u32) => i32 = helper(
  37,
  'bpf_current_task_under_cgroup',
  '4.9',
  [take.map('cgroup_array'), take.u32('index')],
  give.i32,
);

/** Sends a signal to the current process; any thread may take it. */
export const bpf_send_signal: (signal: u32) => i32 = helper(
  109,
  'bpf_send_signal',
  '5.3',
  [take.u32('signal')],
  give.i32,
);

/** Sends a signal to the current thread. */
export const bpf_send_signal_thread: (signal: u32) => i32 = helper(
  117,
  'bpf_send_signal_thread',
  '5.6',
  [take.u32('signal')],
  give.i32,
);

/** Copies from an address, of the kernel or of the process as the processor has it; the newer two say which. */
export const bpf_probe_read: (into: object, address: Address) => i32 = helper(
  4,
  'bpf_probe_read',
  '4.1',
  [take.room('into'), take.address],
  give.i32,
  GPL,
);

/** The same for text, up to its zero. Gives its length with the zero. */
export const bpf_probe_read_str: (into: object, address: Address) => i32 = helper(
  45,
  'bpf_probe_read_str',
  '4.11',
  [take.room('into'), take.address],
  give.i32,
  GPL,
);

/** Copies from an address of the kernel's. -EFAULT, and zeros, where nothing is there. */
export const bpf_probe_read_kernel: (into: object, address: Address) => i32 = helper(
  113,
  'bpf_probe_read_kernel',
  '5.5',
  [take.room('into'), take.address],
  give.i32,
  GPL,
);

/** Copies text from an address of the kernel's, up to its zero. Gives its length with the zero. */
export const bpf_probe_read_kernel_str: (into: object, address: Address) => i32 = helper(
  115,
  'bpf_probe_read_kernel_str',
  '5.5',
  [take.room('into'), take.address],
  give.i32,
  GPL,
);

/** Copies from an address of the current process. -EFAULT where the page is not in memory. */
export const bpf_probe_read_user: (into: object, address: Address) => i32 = helper(
  112,
  'bpf_probe_read_user',
  '5.5',
  [take.room('into'), take.address],
  give.i32,
  GPL,
);

/** Copies text from an address of the current process, up to its zero. Gives its length with the zero. */
export const bpf_probe_read_user_str: (into: object, address: Address) => i32 = helper(
  114,
  'bpf_probe_read_user_str',
  '5.5',
  [take.room('into'), take.address],
  give.i32,
  GPL,
);

/** Copies from an address of the current process and waits for its page; in sleepable programs. */
export const bpf_copy_from_user: (into: object, address: Address) => i32 = helper(
  148,
  'bpf_copy_from_user',
  '5.10',
  [take.room('into'), take.address],
  give.i32,
);

/** The same from another process. */
export const bpf_copy_from_user_task: (into: object, address: Address, task: Task, flags?: Flags) => i32 = helper(
  191,
  'bpf_copy_from_user_task',
  '5.18',
  [take.room('into'), take.address, take.pointer('task', 'task_struct'), take.flags],
  give.i32,
  GPL,
);

/** Writes into the memory of the current process. For experiments: the kernel logs a warning. */
export const bpf_probe_write_user: (address: Address, from: object | string) => i32 = helper(
  36,
  'bpf_probe_write_user',
  '4.8',
  [take.address, take.memory('from')],
  give.i32,
  GPL,
);

/** The address of the function that is being traced. */
export const bpf_get_func_ip: (context: object) => u64 = helper(
  173,
  'bpf_get_func_ip',
  '5.15',
  [take.context],
  give.u64,
  GPL,
);

/** The number that whoever attached the program gave this attachment. */
export const bpf_get_attach_cookie: (context: object) => u64 = helper(
  174,
  'bpf_get_attach_cookie',
  '5.15',
  [take.context],
  give.u64,
);

/** The traced function's argument `index`, as 8 bytes; in fentry, fexit and fmodRet programs. */
export const bpf_get_func_arg: (context: object, index: u32, into: Reference<u64>) => i32 = helper(
  183,
  'bpf_get_func_arg',
  '5.17',
  [take.context, take.u32('index'), take.structRoom('into', 8)],
  give.i32,
);

/** What the traced function gave, as 8 bytes; in fexit and fmodRet programs. */
export const bpf_get_func_ret: (context: object, into: Reference<u64>) => i32 = helper(
  184,
  'bpf_get_func_ret',
  '5.17',
  [take.context, take.structRoom('into', 8)],
  give.i32,
);

/** How many arguments the traced function takes. */
export const bpf_get_func_arg_cnt: (context: object) => i32 = helper(
  185,
  'bpf_get_func_arg_cnt',
  '5.17',
  [take.context],
  give.i32,
);

/** Lets the probed function give this at once, where it allows error injection. */
export const bpf_override_return: (context: pt_regs, value: u64) => i32 = helper(
  58,
  'bpf_override_return',
  '4.16',
  [take.context, take.u64('value')],
  give.i32,
  GPL,
);

/** Calls back with the memory area of a task that holds an address. */
export const bpf_find_vma: <S extends object | null>(
  task: Task,
  address: u64,
  callback: (task: Task, area: Kernel<'vm_area_struct'>, state: S) => number,
  state: S,
  flags?: Flags,
) => i32 = helper(
  180,
  'bpf_find_vma',
  '5.17',
  [
    take.pointer('task', 'task_struct'),
    take.u64('address'),
    take.callback(
      { kind: 'pointer', struct: 'task_struct' },
      { kind: 'pointer', struct: 'vm_area_struct' },
      { kind: 'callbackContext' },
    ),
    take.state,
    take.flags,
  ],
  give.i32,
);

/** Another CPU's copy of a per-CPU variable of the kernel's, or null. */
export const bpf_per_cpu_ptr: <T extends object>(variable: T, cpu: u32) => T | null = helper(
  153,
  'bpf_per_cpu_ptr',
  '5.10',
  [take.pointer('variable'), take.u32('cpu')],
  give.maybeKernel('void'),
);

/** This CPU's copy of a per-CPU variable of the kernel's. */
export const bpf_this_cpu_ptr: <T extends object>(variable: T) => T = helper(
  154,
  'bpf_this_cpu_ptr',
  '5.10',
  [take.pointer('variable')],
  give.kernel('void'),
);
