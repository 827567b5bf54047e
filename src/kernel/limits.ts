/**
 * Room `kernel`: limits of this process (getrlimit(2)).
 *
 * A newcomer would get wrong: Node raises the soft limit of open files to the hard one as it starts; raising the hard one needs
 * CAP_SYS_RESOURCE, and no limit of open files goes above fs.nr_open.
 */
import * as constants from './constants.ts';
import { RLIMIT64 } from './layouts.ts';
import { addressOf, call, SYS } from './syscall.ts';

export interface Limit {
  /** What holds now. Infinity: no limit. */
  readonly soft: number;
  /** How far the process may raise it. Infinity: no limit. */
  readonly hard: number;
}

/** RLIM64_INFINITY of linux/resource.h. */
const INFINITE = 0xffffffffffffffffn;
const OLD_AT = 0;
const NEW_AT = 16;
const scratch = new DataView(new ArrayBuffer(64));
const base = addressOf(scratch);

function read(offset: number): number {
  const value = scratch.getBigUint64(offset, true);
  return value === INFINITE ? Number.POSITIVE_INFINITY : Number(value);
}

function write(offset: number, value: number, label: string): void {
  if (value !== Number.POSITIVE_INFINITY && !(Number.isSafeInteger(value) && value >= 0)) {
    throw new RangeError(`${label} is ${value}: an integer from 0, or Infinity, is allowed`);
  }
  scratch.setBigUint64(offset, value === Number.POSITIVE_INFINITY ? INFINITE : BigInt(value), true);
}

/** The limit of a resource (RLIMIT_NOFILE, RLIMIT_MEMLOCK), or -errno. */
export function getLimit(resource: number): Limit | number {
  const result = call(SYS.prlimit64, 0, resource, 0, base + OLD_AT);
  if (result < 0) return result;
  return { soft: read(OLD_AT + RLIMIT64.rlim_cur), hard: read(OLD_AT + RLIMIT64.rlim_max) };
}

/**
 * Sets the limit of a resource: 0 or -errno (-EPERM: the hard limit may only be lowered; -EINVAL: soft above hard).
 * @throws RangeError for what is not a limit
 */
export function setLimit(resource: number, limit: Limit): number {
  write(NEW_AT + RLIMIT64.rlim_cur, limit.soft, 'soft');
  write(NEW_AT + RLIMIT64.rlim_max, limit.hard, 'hard');
  return call(SYS.prlimit64, 0, resource, base + NEW_AT, 0);
}

/** How many descriptors this process may hold (RLIMIT_NOFILE), or -errno. */
export function getDescriptorLimit(): Limit | number {
  return getLimit(constants.RLIMIT_NOFILE);
}

/** Sets RLIMIT_NOFILE; see {@link setLimit}. */
export function setDescriptorLimit(limit: Limit): number {
  return setLimit(constants.RLIMIT_NOFILE, limit);
}
