/**
 * Programs of the kinds that kernels are often built, or set up, to refuse: at kernel functions, LSM hooks, other programs, netkit
 * devices, tc actions.
 */
import {
  type __sk_buff,
  BPF_LOCAL_STORAGE_GET_F_CREATE,
  extension,
  fentry,
  fentrySleepable,
  fexit,
  fexitSleepable,
  fmodRet,
  fmodRetSleepable,
  global,
  i32,
  inodeStorage,
  kernelStruct,
  kprobe,
  kprobeMulti,
  kretprobe,
  kretprobeMulti,
  lsm,
  lsmCgroup,
  lsmSleepable,
  NETKIT_PASS,
  netkitPeer,
  netkitPrimary,
  pointer,
  socketFilter,
  TC_ACT_OK,
  tcAction,
  u32,
  u64,
  type Value,
} from '../../../src/bpf/library/index.ts';

export const hits = global(u64);

const inode = kernelStruct('inode', { i_mode: u32 });
const file = kernelStruct('file', { f_flags: u32, f_inode: pointer(inode) });
type File = Value<typeof file>;

export const opened = inodeStorage({ value: u32 });

export const entry = fentry('do_sys_poll', () => {
  hits.value += 1n;
});
export const entrySleepable = fentrySleepable('__x64_sys_poll', () => {
  hits.value += 1n;
});
export const exit = fexit('do_sys_poll', (_descriptors: u64, count: u32, _until: u64, result: i32) => {
  if (result <= i32(count)) hits.value += 1n;
});
export const exitSleepable = fexitSleepable('__x64_sys_poll', () => {
  hits.value += 1n;
});
export const modify = fmodRet('__x64_sys_poll', () => {
  hits.value += 1n;
  return 0;
});
export const modifySleepable = fmodRetSleepable('__x64_sys_poll', () => {
  hits.value += 1n;
  return 0;
});

/** Counts how often each file was opened, beside the file. */
export const onOpen = lsm('file_open', (given: File) => {
  const count = opened.get(given.f_inode, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (count !== null) count.value += 1;
  hits.value += 1n;
  return 0;
});
export const onOpenSleepable = lsmSleepable('file_open', () => {
  hits.value += 1n;
  return 0;
});
export const onSocket = lsmCgroup('socket_create', () => {
  hits.value += 1n;
  return 1;
});

export const probe = kprobe('do_sys_poll', (registers) => {
  if (registers.di !== 0n) hits.value += 1n;
});
export const probeReturn = kretprobe('do_sys_poll', (registers) => {
  if (registers.ax >= 0n) hits.value += 1n;
});
export const probeMany = kprobeMulti('do_sys_poll*', () => {
  hits.value += 1n;
});
export const probeManyReturns = kretprobeMulti('do_sys_poll*', () => {
  hits.value += 1n;
});

export const answer = socketFilter((context) => (context.len > 0 ? 7 : 0));

/** Takes the place of the program above. */
export const replacement = extension('answer', (_context: __sk_buff) => {
  hits.value += 1n;
  return 8;
});

export const primary = netkitPrimary(() => {
  hits.value += 1n;
  return NETKIT_PASS;
});
export const peer = netkitPeer(() => {
  hits.value += 1n;
  return NETKIT_PASS;
});

export const act = tcAction(() => {
  hits.value += 1n;
  return TC_ACT_OK;
});
