/**
 * Room `kernel`: lists of CPUs as /sys/devices/system/cpu has them (Documentation/admin-guide/cputopology.rst).
 *
 * A newcomer would get wrong: per-CPU memory has a place for each *possible* CPU, whether it is there or not; Node's
 * `os.availableParallelism` counts those that this process may use.
 */
import { readFileSync } from 'node:fs';

/** The numbers in a list such as `0-3,8`. @throws TypeError where it is not one */
export function parseCpuList(text: string): number[] {
  if (text.trim() === '') return [];
  return text
    .trim()
    .split(',')
    .flatMap((part) => {
      const match = /^(\d+)(?:-(\d+))?$/.exec(part);
      if (match === null) throw new TypeError(`list of CPUs is ${JSON.stringify(text)}: forms like 0-3,8 are allowed`);
      const first = Number(match[1]);
      const last = Number(match[2] ?? match[1]);
      return Array.from({ length: last - first + 1 }, (_, index) => first + index);
    });
}

let possible = 0;

/** How many places per-CPU memory has. It does not change while the kernel runs. */
export function possibleCpus(): number {
  if (possible === 0) {
    possible = Math.max(...parseCpuList(readFileSync('/sys/devices/system/cpu/possible', 'latin1'))) + 1;
  }
  return possible;
}

/** The CPUs that run now. */
export function onlineCpus(): number[] {
  return parseCpuList(readFileSync('/sys/devices/system/cpu/online', 'latin1'));
}
