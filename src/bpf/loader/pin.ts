/**
 * Room `bpf`: objects kept under a path on bpffs, beyond the process that made them, and opened again from there.
 *
 * A newcomer would get wrong: bpffs is often not mounted, or not at /sys/fs/bpf, and a mount is seen only in its mount namespace.
 * A pin is a name, not a copy: what is opened from it is the same object, and removing the file ends the name only.
 */
import { unlinkSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import * as abi from '../../kernel/bpf-attributes.ts';
import { ERRNO } from '../../kernel/errno.ts';
import { type Mount, mountsOf } from '../../kernel/mounts.ts';
import { bpf, bpfError, cString } from './bpf.ts';

const CUSTOMARY = '/sys/fs/bpf';
const HOW_TO_MOUNT = `mount bpffs: mount -t bpf bpf ${CUSTOMARY}`;

/** Thrown where no bpffs is mounted. */
export class NoBpffsError extends Error {
  override readonly name = 'NoBpffsError';
}

/** Where bpffs is mounted, the customary place first; null for nowhere. */
export function bpffsPath(): string | null {
  const mounts: readonly Mount[] = mountsOf('bpf');
  return (mounts.find(({ path }) => path === CUSTOMARY) ?? mounts[0])?.path ?? null;
}

/** A path of bpffs for a pin by name. @throws NoBpffsError, which says how to mount it */
export function requireBpffs(): string {
  const path = bpffsPath();
  if (path === null) throw new NoBpffsError(`no bpffs is mounted; ${HOW_TO_MOUNT}`);
  return path;
}

function remedyOf(result: number, path: string): string | undefined {
  if (result === -ERRNO.ENOENT) return `make the directory ${dirname(path)} first, on bpffs`;
  if (result === -ERRNO.EEXIST) return 'another object has the name: open that, or remove the file';
  const where = bpffsPath();
  const isOutside = where === null || !resolve(path).startsWith(`${where}/`);
  if (result === -ERRNO.EPERM && isOutside) return where === null ? HOW_TO_MOUNT : `choose a path below ${where}`;
  if (result === -ERRNO.EINVAL && isOutside) return where === null ? HOW_TO_MOUNT : `choose a path below ${where}`;
  return undefined;
}

/** Gives an object a name. @throws KernelError: EEXIST; ENOENT for a missing directory; EPERM outside of bpffs */
export function pinObject(descriptor: number, path: string, what: string): void {
  const result = bpf(abi.BPF_OBJ_PIN, { pathname: cString(path), bpf_fd: descriptor });
  if (result < 0) throw bpfError(result, `pin of ${what} at ${path}`, remedyOf(result, path));
}

/** A new descriptor of what is pinned at a path; null where there is nothing. @throws KernelError: EACCES, EPERM */
export function openPinned(path: string): number | null {
  const result = bpf(abi.BPF_OBJ_GET, { pathname: cString(path) });
  if (result === -ERRNO.ENOENT) return null;
  if (result < 0) throw bpfError(result, `pinned object at ${path}`, remedyOf(result, path));
  return result;
}

/** Removes a name. The object ends with its last handle, pin and attachment. @throws Error of node:fs */
export function unpin(path: string): void {
  unlinkSync(path);
}
