/**
 * Room `bpf`: helpers of LSM programs, of syscall programs (which load other programs), and of infrared receivers.
 *
 * A newcomer would get wrong: most of these are refused outside one program type, and several want a sleepable one.
 */
import type { Flags, Kernel, Reference } from '../layout.ts';
import type { i32, i64, u32, u64 } from '../numbers.ts';
import { GPL, give, helper, take } from './helper.ts';

/** The full path of a struct path, as text. Gives its length with the zero. Only at hooks that the kernel lists. */
export const bpf_d_path: (path: Kernel<'path'> | object, into: object) => i32 = helper(
  147,
  'bpf_d_path',
  '5.10',
  [take.pointer('path', 'path'), take.room('into')],
  give.i32,
);

/** Sets options of a program that is about to run: BPF_F_BPRM_SECUREEXEC. */
export const bpf_bprm_opts_set: (program: Kernel<'linux_binprm'>, flags?: Flags) => i32 = helper(
  159,
  'bpf_bprm_opts_set',
  '5.11',
  [take.pointer('program', 'linux_binprm'), take.flags],
  give.i32,
);

/** The hash of a file that IMA has. Gives its algorithm. */
export const bpf_ima_inode_hash: (inode: Kernel<'inode'>, into: object) => i32 = helper(
  161,
  'bpf_ima_inode_hash',
  '5.11',
  [take.pointer('inode', 'inode'), take.room('into')],
  give.i32,
);

/** The hash of a file, computed where IMA has none. Gives its algorithm. */
export const bpf_ima_file_hash: (file: Kernel<'file'>, into: object) => i32 = helper(
  193,
  'bpf_ima_file_hash',
  '5.18',
  [take.pointer('file', 'file'), take.room('into')],
  give.i32,
);

/** Makes a bpf system call: a command and its attributes. */
export const bpf_sys_bpf: (command: u32, attributes: object | string) => i32 = helper(
  166,
  'bpf_sys_bpf',
  '5.14',
  [take.u32('command'), take.memory('attributes')],
  give.i32,
);

/** Closes a descriptor. */
export const bpf_sys_close: (descriptor: u32) => i32 = helper(
  168,
  'bpf_sys_close',
  '5.14',
  [take.u32('descriptor')],
  give.i32,
);

/** Finds a type in the kernel's BTF: its id in the low half, a module's descriptor in the high half. */
export const bpf_btf_find_by_name_kind: (name: string | object, kind: u32, flags: i32) => i64 = helper(
  167,
  'bpf_btf_find_by_name_kind',
  '5.14',
  [take.memory('name'), take.u32('kind'), take.i32('flags')],
  give.i64,
);

/** The address of a kernel symbol. */
export const bpf_kallsyms_lookup_name: (name: string | object, flags: i32, into: Reference<u64>) => i32 = helper(
  179,
  'bpf_kallsyms_lookup_name',
  '5.16',
  [take.memory('name'), take.i32('flags'), take.structRoom('into', 8)],
  give.i32,
);

/** Reports a repeated key of a remote control. */
export const bpf_rc_repeat: (context: object) => i32 = helper(
  77,
  'bpf_rc_repeat',
  '4.18',
  [take.context],
  give.i32,
  GPL,
);

/** Reports a key of a remote control. */
export const bpf_rc_keydown: (context: object, protocol: u32, scancode: u64, toggle: u32) => i32 = helper(
  78,
  'bpf_rc_keydown',
  '4.18',
  [take.context, take.u32('protocol'), take.u64('scancode'), take.u32('toggle')],
  give.i32,
  GPL,
);

/** Reports a movement of a pointer. */
export const bpf_rc_pointer_rel: (context: object, x: i32, y: i32) => i32 = helper(
  92,
  'bpf_rc_pointer_rel',
  '5.0',
  [take.context, take.i32('x'), take.i32('y')],
  give.i32,
  GPL,
);
