/**
 * Room `kernel`: where file systems are mounted, from /proc/self/mountinfo (proc(5)).
 *
 * A newcomer would get wrong: bpffs, cgroup2 and tracefs have customary places and are often elsewhere or not mounted at all; spaces in
 * a path are written \040 there.
 */
import { readFileSync } from 'node:fs';

export interface Mount {
  /** `cgroup2`, `bpf`, `tracefs`. */
  readonly type: string;
  /** Where it is seen. */
  readonly path: string;
  /** Which part of the file system is seen there: `/` for all of it. */
  readonly root: string;
}

function spelledOut(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** The mounts that a text in mountinfo's form tells of. A line that is not in that form is left out. */
export function parseMounts(text: string): Mount[] {
  return text.split('\n').flatMap((line) => {
    const fields = line.split(' ');
    // The fields before the single dash vary in number (section 3.5 of Documentation/filesystems/proc.rst).
    const dash = fields.indexOf('-', 6);
    if (dash === -1) return [];
    return [{ type: fields[dash + 1], root: spelledOut(fields[3]), path: spelledOut(fields[4]) }];
  });
}

/** Mounts of one type in this process's namespace, those that show the whole file system first. */
export function mountsOf(type: string): Mount[] {
  const found = parseMounts(readFileSync('/proc/self/mountinfo', 'utf8')).filter((mount) => mount.type === type);
  return found.sort((one, other) => Number(one.root !== '/') - Number(other.root !== '/'));
}
