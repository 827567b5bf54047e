/**
 * Room `bpf`: programs in control groups: they act on the sockets and processes of a cgroup and of those below it.
 *
 * A newcomer would get wrong: only the unified hierarchy (cgroup2) has such hooks, and it is not always at /sys/fs/cgroup: where the
 * old hierarchies are mounted, too, it is below that.
 */
import { closeSync, existsSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { AttachTypeName } from '../../../kernel/bpf-names.ts';
import { mountsOf } from '../../../kernel/mounts.ts';
import type { Holder } from '../codec.ts';
import { createLink, type Link } from './link.ts';

/** Thrown where no unified hierarchy is mounted. */
export class NoCgroupError extends Error {
  override readonly name = 'NoCgroupError';
}

/** Where cgroup2 is mounted. @throws NoCgroupError, which says how to mount it */
export function cgroupRoot(): string {
  const [mount] = mountsOf('cgroup2');
  if (mount !== undefined) return mount.path;
  throw new NoCgroupError('no cgroup2 is mounted; mount it: mount -t cgroup2 none /sys/fs/cgroup');
}

/** The directory of a cgroup: a path as it is, or one below the hierarchy's root. */
export function cgroupPath(name: string): string {
  const root = cgroupRoot();
  return name.startsWith(`${root}/`) || name === root || existsSync(join(name, 'cgroup.procs'))
    ? name
    : join(root, name);
}

/** Runs `use` with a descriptor of a cgroup's directory. */
export function withCgroup<T>(name: string, use: (descriptor: number, path: string) => T): T {
  const path = cgroupPath(name);
  const descriptor = openSync(path, 'r');
  try {
    return use(descriptor, path);
  } finally {
    closeSync(descriptor);
  }
}

/** Attaches a program to a cgroup. Several may be at one hook; those of parents run after those of children. */
export function attachCgroup(program: Holder, attachType: AttachTypeName, cgroup: string): Link {
  return withCgroup(cgroup, (descriptor, path) =>
    createLink({
      kind: 'cgroup',
      program,
      attachType,
      fields: { 'link_create.target_fd': descriptor },
      where: `cgroup ${path}`,
    }),
  );
}
