/**
 * What a server cost, as the kernel's accounting has it: processor time and memory of a process and all below it.
 *
 * A newcomer would get wrong: utime and stime count in hundredths of a second (USER_HZ), but their sum is kept exact by the
 * scheduler (kernel/sched/cputime.c, cputime_adjust) and only the split between them is sampled. So totals are good to one
 * tick in a window of hundreds, the split to a few per cent.
 */
import { readdirSync, readFileSync } from 'node:fs';

export interface ProcessorTime {
  readonly userMs: number;
  readonly systemMs: number;
}

const TICK_MS = 10;

/** The fields of /proc/PID/stat behind the command's name, which may itself hold spaces and parentheses (proc(5)). */
function statOf(pid: number): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}

/** A process and all its descendants. */
export function processTree(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    const parent = Number.isInteger(pid) ? statOf(pid)?.[1] : undefined;
    if (parent === undefined) continue;
    const siblings = children.get(Number(parent)) ?? [];
    siblings.push(pid);
    children.set(Number(parent), siblings);
  }
  const tree = [root];
  for (const pid of tree) tree.push(...(children.get(pid) ?? []));
  return tree;
}

/** Processor time used so far by the processes given, all their threads included. */
export function processorTime(pids: readonly number[]): ProcessorTime {
  let userMs = 0;
  let systemMs = 0;
  for (const pid of pids) {
    const fields = statOf(pid);
    if (fields === null) throw new Error(`process ${pid} ended while it was measured`);
    userMs += Number(fields[11]) * TICK_MS;
    systemMs += Number(fields[12]) * TICK_MS;
  }
  return { userMs, systemMs };
}

/** Time that a core was busy so far, whoever used it; what the hypervisor took counts too. */
export function coreBusyMs(core: number): number {
  const line = readFileSync('/proc/stat', 'latin1').match(new RegExp(`^cpu${core} (.*)$`, 'm'));
  const [user, nice, system, , , interrupt, softInterrupt, steal] = line![1].split(' ').map(Number);
  return (user + nice + system + interrupt + softInterrupt + steal) * TICK_MS;
}

/** Anonymous memory of the processes given, shared pages by their share, in bytes. */
export function anonymousBytes(pids: readonly number[]): number {
  let bytes = 0;
  for (const pid of pids) {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
    bytes += Number(text.match(/^Pss_Anon:\s+(\d+) kB$/m)![1]) * 1024;
  }
  return bytes;
}

/** Established TCP connections of the whole host whose own port this is. */
export function connectionsOn(port: number): number {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const ESTABLISHED = '01';
  let count = 0;
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of readFileSync(table, 'latin1').split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/);
      if (fields[1]?.endsWith(suffix) && fields[3] === ESTABLISHED) count++;
    }
  }
  return count;
}
