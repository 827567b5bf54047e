/**
 * Room `kernel`: opening below a directory and asking for a file's state, for those who serve files.
 *
 * A newcomer would get wrong: checking a path and then opening it are two looks at a file system that others change; openat2
 * with RESOLVE_BENEATH (Linux 5.6) makes the kernel refuse what leaves the directory while it resolves, links included.
 */
import * as constants from './descriptor-constants.ts';
import { OPEN_HOW, STATX } from './layouts.ts';
import { addressOf, call, SYS } from './syscall.ts';

const PATH_BYTES_MAX = 4096;
const pathBytes = new Uint8Array(new ArrayBuffer(PATH_BYTES_MAX + 1));
const pathAddress = addressOf(pathBytes);
const how = new DataView(new ArrayBuffer(64));
const howAddress = addressOf(how);
const statBuffer = new DataView(new ArrayBuffer(256));
const statAddress = addressOf(statBuffer);
const encoder = new TextEncoder();
const ENAMETOOLONG = -36;

function placePath(path: string): boolean {
  const { read, written } = encoder.encodeInto(path, pathBytes.subarray(0, PATH_BYTES_MAX));
  pathBytes[written] = 0;
  return read === path.length;
}

/** Opens a directory to look below; a descriptor, or a negative errno. */
export function openDirectory(path: string): number {
  if (!placePath(path)) return ENAMETOOLONG;
  return call(SYS.open, pathAddress, constants.O_PATH | constants.O_DIRECTORY | constants.O_CLOEXEC, 0);
}

/**
 * Opens `path`, relative to `directory`, for reading. What leads out of the directory (`..`, absolute links, links that climb,
 * /proc's magic links) gives -EXDEV or -ELOOP. Never waits for a FIFO's writer.
 */
export function openBeneath(directory: number, path: string): number {
  if (!placePath(path)) return ENAMETOOLONG;
  const flags = constants.O_RDONLY | constants.O_CLOEXEC | constants.O_NONBLOCK | constants.O_NOCTTY;
  how.setBigUint64(OPEN_HOW.flags, BigInt(flags), true);
  how.setBigUint64(OPEN_HOW.mode, 0n, true);
  how.setBigUint64(OPEN_HOW.resolve, BigInt(constants.RESOLVE_BENEATH | constants.RESOLVE_NO_MAGICLINKS), true);
  return call(SYS.openat2, directory, pathAddress, howAddress, OPEN_HOW.size);
}

export interface FileState {
  readonly isFile: boolean;
  readonly isDirectory: boolean;
  readonly size: number;
  readonly modifiedSeconds: number;
  readonly modifiedNanoseconds: number;
  /** Changes whenever content or metadata do, also when somebody sets the modification time back. */
  readonly changedNs: bigint;
  readonly inode: bigint;
}

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;

/** The state of an open file; null where the kernel refuses. */
export function fileState(descriptor: number): FileState | null {
  pathBytes[0] = 0;
  const result = call(
    SYS.statx,
    descriptor,
    pathAddress,
    constants.AT_EMPTY_PATH,
    constants.STATX_BASIC_STATS,
    statAddress,
  );
  return result < 0 ? null : readState();
}

/** The state of what a path, relative to a directory, leads to now; null where it leads nowhere. Links are followed. */
export function pathState(directory: number, path: string): FileState | null {
  if (!placePath(path)) return null;
  const result = call(SYS.statx, directory, pathAddress, 0, constants.STATX_BASIC_STATS, statAddress);
  return result < 0 ? null : readState();
}

function readState(): FileState {
  const view = statBuffer;
  const mode = view.getUint16(STATX.stx_mode, true) & S_IFMT;
  const seconds = Number(view.getBigInt64(STATX.stx_mtime, true));
  return {
    isFile: mode === S_IFREG,
    isDirectory: mode === S_IFDIR,
    size: Number(view.getBigUint64(STATX.stx_size, true)),
    modifiedSeconds: seconds,
    modifiedNanoseconds: view.getUint32(STATX.stx_mtime + 8, true),
    changedNs:
      view.getBigInt64(STATX.stx_ctime, true) * 1_000_000_000n + BigInt(view.getUint32(STATX.stx_ctime + 8, true)),
    inode: view.getBigUint64(STATX.stx_ino, true),
  };
}

/** Reads up to `bytes.length` bytes at `offset`; the count, or a negative errno. */
export function readAt(descriptor: number, bytes: Uint8Array, offset: number): number {
  return call(SYS.pread64, descriptor, addressOf(bytes), bytes.length, offset);
}
