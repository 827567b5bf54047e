/**
 * Room `net`: the file that binding a Unix socket makes: who may connect to it, and removing it again.
 *
 * A newcomer would get wrong: removing by name alone removes a successor's socket, bound to the same path after ours was
 * unlinked; so the file is compared first.
 */
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import type { SocketAddress } from '../kernel/address.ts';

export interface UnixPathOptions {
  /** Everybody may read the socket's file. Default: as the umask says. */
  readonly readableAll?: boolean;
  /** Everybody may write to the socket's file, which is what connecting takes (unix(7)). Default: as the umask says. */
  readonly writableAll?: boolean;
}

const READABLE_BY_ALL = 0o444;
const WRITABLE_BY_ALL = 0o222;

/** A Unix socket's path that this process made. It is removed only while it is still the same file. */
export class OwnedPath {
  readonly path: string;
  private readonly device: number;
  private readonly inode: number;

  constructor(path: string) {
    this.path = path;
    const status = lstatSync(path);
    this.device = status.dev;
    this.inode = status.ino;
  }

  remove(): void {
    const status = lstatSync(this.path, { throwIfNoEntry: false });
    if (status === undefined || status.dev !== this.device || status.ino !== this.inode) return;
    try {
      unlinkSync(this.path);
    } catch {
      // Removed by somebody else in between, or the directory is not ours to change: the path is not ours any more.
    }
  }
}

/**
 * The file that bind(2) made for an address, with its permissions set; null for abstract names and other families, which
 * leave nothing behind.
 */
export function ownPath(address: SocketAddress, given: UnixPathOptions): OwnedPath | null {
  if (address.family !== 'unix' || address.path === '' || address.path.startsWith('\0')) return null;
  const path = new OwnedPath(address.path);
  const added = (given.readableAll === true ? READABLE_BY_ALL : 0) | (given.writableAll === true ? WRITABLE_BY_ALL : 0);
  if (added !== 0) {
    try {
      chmodSync(address.path, lstatSync(address.path).mode | added);
    } catch (error) {
      path.remove();
      throw error;
    }
  }
  return path;
}
