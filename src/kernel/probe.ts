/**
 * Room `kernel`: whether this process may use io_uring, what this kernel's io_uring can do, and if not, why not and what would
 * change that. It asks the kernel by trying; names of versions and distributions prove nothing.
 *
 * A newcomer would get wrong: EPERM has two authors, the setting kernel.io_uring_disabled (Linux 6.6) and a seccomp filter
 * (containers), with two remedies. And a filter may answer ENOSYS, as if the kernel had no io_uring at all.
 */

import { readFileSync } from 'node:fs';
import { ERRNO, errnoName } from './errno.ts';
import { IO_URING_PROBE, IO_URING_PROBE_OP } from './layouts.ts';
import { type KernelVersion, kernelVersion, statusField } from './procfs.ts';
import { addressOf, call, SYS } from './syscall.ts';
import { readSysctlInteger } from './sysctl.ts';
import * as abi from './uring-abi.ts';

export interface UringAvailable {
  readonly state: 'available';
  readonly reason: string;
  readonly remedy: null;
  readonly kernel: KernelVersion;
  /** IORING_FEAT_ bits. */
  readonly features: number;
  /** IORING_SETUP_ bits out of {@link SETUP_FLAGS} that io_uring_setup(2) took. */
  readonly setupFlags: number;
  /** IORING_OP_ numbers that the kernel supports. */
  readonly operations: ReadonlySet<number>;
}

export interface UringRefused {
  /**
   * - `sysctl`: kernel.io_uring_disabled forbids it
   * - `seccomp`: a filter on this process refuses the call
   * - `absent`: the kernel was built without it
   * - `memory`: the limit of locked memory (before Linux 5.12) or the memory of the cgroup does not suffice
   * - `failed`: anything else
   */
  readonly state: 'sysctl' | 'seccomp' | 'absent' | 'memory' | 'failed';
  /** One line for the user. */
  readonly reason: string;
  /** One line that says what would change it. */
  readonly remedy: string;
  /** What io_uring_setup(2) answered, negative. */
  readonly errno: number;
  readonly kernel: KernelVersion;
}

export type UringProbe = UringAvailable | UringRefused;

/** What a refusal is explained by. */
export interface Circumstances {
  /** kernel.io_uring_disabled; null where the kernel has no such setting (before 6.6, or no io_uring). */
  readonly disabled: number | null;
  /** Whether the setting at 1 lets this process through: CAP_SYS_ADMIN or kernel.io_uring_group. */
  readonly privileged: boolean;
  /** Whether a seccomp filter is on this process. */
  readonly filtered: boolean;
}

/** Setup flags that are tried, each with those it needs beside it (io_uring_setup(2)). */
export const SETUP_FLAGS: readonly { readonly flag: number; readonly beside: number }[] = [
  { flag: abi.IORING_SETUP_CQSIZE, beside: 0 },
  { flag: abi.IORING_SETUP_CLAMP, beside: 0 },
  { flag: abi.IORING_SETUP_SUBMIT_ALL, beside: 0 },
  { flag: abi.IORING_SETUP_COOP_TASKRUN, beside: 0 },
  { flag: abi.IORING_SETUP_TASKRUN_FLAG, beside: abi.IORING_SETUP_COOP_TASKRUN },
  { flag: abi.IORING_SETUP_SINGLE_ISSUER, beside: 0 },
  { flag: abi.IORING_SETUP_DEFER_TASKRUN, beside: abi.IORING_SETUP_SINGLE_ISSUER },
  { flag: abi.IORING_SETUP_NO_SQARRAY, beside: 0 },
];

const ENTRIES = 4;
/** io_uring numbers operations in one byte. */
const OPERATIONS_MAX = 256;
const IO_URING_OP_SUPPORTED = 1;
const CAP_SYS_ADMIN = 21n;

const parameters = new DataView(new ArrayBuffer(128));
const operationTable = new Uint8Array(new ArrayBuffer(IO_URING_PROBE.size + OPERATIONS_MAX * IO_URING_PROBE_OP.size));

/** io_uring_setup(2) with these flags: a descriptor, or -errno. */
function setup(flags: number): number {
  for (let offset = 0; offset < abi.IO_URING_PARAMS.size; offset += 4) parameters.setUint32(offset, 0, true);
  parameters.setUint32(abi.IO_URING_PARAMS.flags, flags, true);
  parameters.setUint32(abi.IO_URING_PARAMS.cq_entries, flags & abi.IORING_SETUP_CQSIZE ? ENTRIES * 2 : 0, true);
  return call(SYS.io_uring_setup, ENTRIES, addressOf(parameters));
}

function acceptedFlags(): number {
  let accepted = 0;
  for (const { flag, beside } of SETUP_FLAGS) {
    const descriptor = setup(flag | beside);
    if (descriptor < 0) continue;
    call(SYS.close, descriptor);
    accepted |= flag;
  }
  return accepted;
}

function supportedOperations(ring: number): Set<number> {
  const operations = new Set<number>();
  operationTable.fill(0);
  const address = addressOf(operationTable);
  if (call(SYS.io_uring_register, ring, abi.IORING_REGISTER_PROBE, address, OPERATIONS_MAX) < 0) return operations;
  const entries = operationTable[IO_URING_PROBE.ops_len];
  for (let index = 0; index < entries; index++) {
    const at = IO_URING_PROBE.ops + index * IO_URING_PROBE_OP.size;
    const supported = (operationTable[at + IO_URING_PROBE_OP.flags] & IO_URING_OP_SUPPORTED) !== 0;
    if (supported) operations.add(operationTable[at + IO_URING_PROBE_OP.op]);
  }
  return operations;
}

/** Says what a refusal by io_uring_setup(2) means. Apart from the probe, so that every case can be shown. */
export function explainRefusal(errno: number, kernel: KernelVersion, circumstances: Circumstances): UringRefused {
  const { disabled, privileged, filtered } = circumstances;
  const refused = (state: UringRefused['state'], reason: string, remedy: string): UringRefused => ({
    state,
    reason,
    remedy,
    errno,
    kernel,
  });
  if (errno === -ERRNO.EPERM && disabled !== null && disabled >= 2) {
    return refused(
      'sysctl',
      `kernel.io_uring_disabled is ${disabled}: io_uring is forbidden to every process`,
      'set kernel.io_uring_disabled=0 (sysctl -w, and /etc/sysctl.d to keep it)',
    );
  }
  if (errno === -ERRNO.EPERM && disabled === 1 && !privileged) {
    return refused(
      'sysctl',
      'kernel.io_uring_disabled is 1: io_uring is forbidden without CAP_SYS_ADMIN',
      'set kernel.io_uring_disabled=0, or kernel.io_uring_group to a group of this process',
    );
  }
  // Where the setting exists, the kernel has io_uring, so ENOSYS is a filter's answer.
  if (filtered && (errno === -ERRNO.EPERM || (errno === -ERRNO.ENOSYS && disabled !== null))) {
    return refused(
      'seccomp',
      `a seccomp filter on this process refuses io_uring_setup (${errnoName(errno)})`,
      'allow io_uring_setup, io_uring_enter and io_uring_register in the container’s or service’s seccomp profile',
    );
  }
  if (errno === -ERRNO.ENOSYS) {
    const filter = filtered ? ', or the seccomp filter on this process hides it' : '';
    return refused(
      'absent',
      `Linux ${kernel.release} has no io_uring${filter}`,
      'run Linux 5.15 or newer, built with CONFIG_IO_URING=y',
    );
  }
  if (errno === -ERRNO.ENOMEM) {
    return refused(
      'memory',
      'the limit of locked memory, or of the cgroup’s memory, leaves no room for a ring',
      'raise the limit of locked memory (ulimit -l, LimitMEMLOCK=) or that of the cgroup',
    );
  }
  const remedy =
    errno === -ERRNO.EMFILE || errno === -ERRNO.ENFILE
      ? 'raise the limit of open files (ulimit -n, fs.file-max) or close descriptors'
      : 'look for a security module that forbids it (journalctl -k)';
  return refused('failed', `io_uring_setup failed with ${errnoName(errno)}`, remedy);
}

/** Capabilities count here only in the first user namespace, which maps every user to itself (user_namespaces(7)). */
function isPrivileged(): boolean {
  const capabilities = BigInt(`0x${statusField('CapEff') ?? '0'}`);
  const identity = /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'latin1'));
  if (identity && (capabilities & (1n << CAP_SYS_ADMIN)) !== 0n) return true;
  const group = readSysctlInteger('kernel.io_uring_group');
  return (
    group !== null && group >= 0 && (process.getegid?.() === group || (process.getgroups?.() ?? []).includes(group))
  );
}

function circumstances(): Circumstances {
  return {
    disabled: readSysctlInteger('kernel.io_uring_disabled'),
    privileged: isPrivileged(),
    // SECCOMP_MODE_FILTER; absent where the kernel was built without seccomp.
    filtered: statusField('Seccomp') === '2',
  };
}

/** Asks the kernel about io_uring; takes well under a millisecond and leaves nothing open. */
export function probeUring(): UringProbe {
  const kernel = kernelVersion();
  const ring = setup(0);
  if (ring < 0) return explainRefusal(ring, kernel, circumstances());
  const features = parameters.getUint32(abi.IO_URING_PARAMS.features, true);
  const operations = supportedOperations(ring);
  call(SYS.close, ring);
  const reason = `Linux ${kernel.release} allows io_uring (${operations.size} operations)`;
  return { state: 'available', reason, remedy: null, kernel, features, setupFlags: acceptedFlags(), operations };
}
