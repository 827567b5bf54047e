/**
 * Room `bpf`: the VM's helpers that ask for time, chance, the CPU and the current task, and those that compare, copy
 * and lock memory.
 *
 * A newcomer would get wrong: a lock is taken by one program alone here, so that taking it can only fail in one way: it
 * is held already. The kernel's verifier refuses that; here it is a fault.
 */
import { ERRNO } from '../../kernel/errno.ts';
import { checksumDifference } from './checksum.ts';
import { Violation } from './fault.ts';
import type { HelperCall } from './helper-call.ts';
import type { HelperTable } from './helper-table.ts';
import type { World } from './world.ts';

/** TASK_COMM_LEN. */
const COMM_BYTES = 16;
/** CONFIG_HZ of most distributions. */
const JIFFY_NS = 4_000_000n;

const pair = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low >>> 0);

function timeHelpers({ now = () => process.hrtime.bigint() }: World): HelperTable {
  const time = [0, (call: HelperCall) => call.returnsWide(now())] as const;
  return {
    ktime_get_ns: time,
    ktime_get_boot_ns: time,
    ktime_get_coarse_ns: time,
    ktime_get_tai_ns: time,
    jiffies64: [0, (call) => call.returnsWide(now() / JIFFY_NS)],
  };
}

function taskHelpers({ task = {} }: World): HelperTable {
  const { pid = 1, threadId = pid, uid = 0, gid = 0, comm = 'program', cgroup = 1n } = task;
  return {
    get_current_pid_tgid: [0, (call) => call.returnsWide(pair(pid, threadId))],
    get_current_uid_gid: [0, (call) => call.returnsWide(pair(gid, uid))],
    get_current_cgroup_id: [0, (call) => call.returnsWide(cgroup)],
    get_current_comm: [
      2,
      (call) => {
        const target = call.bytes(1, call.unsigned(2), true).fill(0);
        target.set(Buffer.from(comm).subarray(0, Math.max(0, Math.min(COMM_BYTES, target.length) - 1)));
        call.returns(0);
      },
    ],
  };
}

/** memcmp's sign with the NUL that ends both texts. */
function compareText(left: Uint8Array, right: string): number {
  const other = Buffer.from(`${right}\0`);
  for (let index = 0; index < left.length; index++) {
    const difference = left[index] - (other[index] ?? 0);
    if (difference !== 0 || left[index] === 0) return difference;
  }
  return 0;
}

function copyHelpers({ readMemory }: World): HelperTable {
  const read = (call: HelperCall): void => {
    const size = call.unsigned(2);
    const target = call.bytes(1, size, true);
    const { machine } = call;
    const region = machine.space.regionOf(machine.file[7]);
    const at = call.offset(3);
    let source: Uint8Array | null = null;
    if (region !== undefined) source = at >= 0 && at + size <= region.length ? region.slice(at, size) : null;
    else source = readMemory?.(call.wide(3), size) ?? null;
    // kernel/trace/bpf_trace.c clears the target where the address cannot be read.
    if (source === null) target.fill(0);
    else target.set(source);
    call.returns(source === null ? -ERRNO.EFAULT : 0);
  };
  const readText = (call: HelperCall): void => {
    const size = call.unsigned(2);
    const target = call.bytes(1, size, true);
    const { machine } = call;
    const region = machine.space.regionOf(machine.file[7]);
    const at = call.offset(3);
    const source =
      region === undefined
        ? (readMemory?.(call.wide(3), size) ?? null)
        : region.slice(at, Math.max(0, Math.min(size, region.length - at)));
    if (source === null || size === 0) {
      target.fill(0);
      call.returns(source === null ? -ERRNO.EFAULT : 0);
      return;
    }
    const end = source.indexOf(0);
    const length = Math.min(end === -1 ? source.length : end, size - 1);
    target.set(source.subarray(0, length));
    target[length] = 0;
    call.returns(length + 1);
  };
  return {
    probe_read: [3, read],
    probe_read_kernel: [3, read],
    probe_read_user: [3, read],
    copy_from_user: [3, read],
    probe_read_str: [3, readText],
    probe_read_kernel_str: [3, readText],
    probe_read_user_str: [3, readText],
  };
}

function lockHelpers(): HelperTable {
  return {
    spin_lock: [
      1,
      (call) => {
        const lock = call.bytes(1, 4, true);
        if (lock[0] !== 0) throw new Violation('takes a lock that it holds already');
        if (call.machine.locks > 0) throw new Violation('takes a second lock; only one may be held');
        lock[0] = 1;
        call.machine.locks++;
        call.returns(0);
      },
    ],
    spin_unlock: [
      1,
      (call) => {
        const lock = call.bytes(1, 4, true);
        if (lock[0] === 0) throw new Violation('gives back a lock that it does not hold');
        lock[0] = 0;
        call.machine.locks--;
        call.returns(0);
      },
    ],
  };
}

export function basicHelpers(world: World): HelperTable {
  const { cpu = () => 0, random = () => Math.floor(Math.random() * 4294967296) } = world;
  return {
    ...timeHelpers(world),
    ...taskHelpers(world),
    ...copyHelpers(world),
    ...lockHelpers(),
    get_prandom_u32: [0, (call) => call.returns(random())],
    get_smp_processor_id: [0, (call) => call.returns(cpu())],
    get_numa_node_id: [0, (call) => call.returns(0)],
    strncmp: [
      3,
      (call) => {
        const left = call.bytes(1, call.unsigned(2));
        call.returns(compareText(left, call.text(3)));
      },
    ],
    csum_diff: [
      5,
      (call) => {
        const before = call.bytes(1, call.unsigned(2));
        const after = call.bytes(3, call.unsigned(4));
        call.returns(checksumDifference(before, after, call.unsigned(5)));
      },
    ],
    get_func_ip: [1, (call) => call.returns(0)],
    get_attach_cookie: [1, (call) => call.returns(0)],
    this_cpu_ptr: [1, (call) => call.returnsAddress(call.address(1))],
    per_cpu_ptr: [
      2,
      (call) => {
        call.mayBeNull = true;
        call.returnsAddress(call.unsigned(2) === 0 ? call.address(1) : { low: 0, high: 0 });
      },
    ],
  };
}
