/**
 * Room `kernel`: what /proc says about a process and the kernel (proc(5)).
 *
 * A newcomer would get wrong: the kernel makes these files while they are read, under locks of the process they describe.
 * `processMemory` walks every mapping and takes milliseconds in a large process: it is for measurements, never for the hot path.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';

export type ProcessId = number | 'self';

export interface ProcessMemory {
  /** Resident bytes, those shared with others in full. */
  readonly rssBytes: number;
  /** Resident bytes, each shared page divided by how many share it. */
  readonly pssBytes: number;
  /** Resident bytes that this process alone has: what its end would free. */
  readonly privateBytes: number;
  readonly swapBytes: number;
}

/** Memory of a process from its smaps_rollup. Needs the same user or CAP_SYS_PTRACE. */
export function processMemory(pid: ProcessId = 'self'): ProcessMemory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  const bytes = (field: string): number => {
    const match = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(text);
    return match === null ? 0 : Number(match[1]) * 1024;
  };
  return {
    rssBytes: bytes('Rss'),
    pssBytes: bytes('Pss'),
    privateBytes: bytes('Private_Clean') + bytes('Private_Dirty'),
    swapBytes: bytes('Swap'),
  };
}

export interface CpuTime {
  /** All threads, those that ended included. */
  readonly userUs: number;
  readonly systemUs: number;
}

/** USER_HZ, the unit of /proc/PID/stat: 100 on x86-64 whatever the kernel's own tick is (time(7)). */
const TICKS_PER_SECOND = 100;

/** CPU time of a process since its start: to the microsecond for this one, to 10 ms for others. */
export function cpuTime(pid: ProcessId = 'self'): CpuTime {
  if (pid === 'self' || pid === process.pid) {
    const { user, system } = process.cpuUsage();
    return { userUs: user, systemUs: system };
  }
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The command's name may hold spaces and parentheses, so fields are counted from the last one; the first after it is 3.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const tickUs = 1e6 / TICKS_PER_SECOND;
  return { userUs: Number(fields[14 - 3]) * tickUs, systemUs: Number(fields[15 - 3]) * tickUs };
}

/** How many descriptors a process has open. */
export function descriptorCount(pid: ProcessId = 'self'): number {
  const path = `/proc/${pid}/fd`;
  // Since Linux 6.2 the directory's size is the count, which costs the same with a million of them.
  const { size } = statSync(path);
  if (size > 0) return size;
  const own = pid === 'self' || pid === process.pid ? 1 : 0;
  return readdirSync(path).length - own;
}

/** A field of /proc/PID/status, such as `Seccomp` or `CapEff`; null where it is absent. */
export function statusField(field: string, pid: ProcessId = 'self'): string | null {
  for (const line of readFileSync(`/proc/${pid}/status`, 'latin1').split('\n')) {
    if (line.startsWith(`${field}:`)) return line.slice(field.length + 1).trim();
  }
  return null;
}

export interface KernelVersion {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  /** The whole of it, as `uname -r` prints it. */
  readonly release: string;
}

/** Takes `6.1.0-18-amd64` apart. @throws TypeError where it does not begin with two numbers */
export function parseKernelVersion(release: string): KernelVersion {
  const match = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(release);
  if (match === null)
    throw new TypeError(`kernel release is ${JSON.stringify(release)}: forms like 6.1.0-18 are allowed`);
  return { major: Number(match[1]), minor: Number(match[2]), patch: Number(match[3] ?? 0), release };
}

export function kernelVersion(): KernelVersion {
  return parseKernelVersion(readFileSync('/proc/sys/kernel/osrelease', 'latin1').trimEnd());
}

/** Whether a kernel is at least `major.minor`. */
export function atLeast(version: KernelVersion, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}
