/**
 * Room `kernel`: settings of the kernel by name, through /proc/sys (proc(5), sysctl(8)).
 *
 * A newcomer would get wrong: a dot may belong to an interface's name. As with sysctl(8), a name whose first separator is a
 * slash keeps its dots: `net/ipv4/conf/eth0.100/forwarding`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { ERRNO } from './errno.ts';
import { KernelError } from './error.ts';

const ROOT = '/proc/sys/';

/** The file of a setting. @throws TypeError for what is not a name */
export function sysctlPath(name: string): string {
  const parts = /^[^./]*\//.test(name) ? name.split('/') : name.split('.');
  if (parts.length < 2 || parts.some((part) => part === '' || part === '.' || part === '..' || /[\0/]/.test(part))) {
    throw new TypeError(
      `sysctl is ${JSON.stringify(name)}: names like net.core.somaxconn or net/ipv4/conf/eth0.1/forwarding are allowed`,
    );
  }
  return ROOT + parts.join('/');
}

function failure(error: unknown, name: string, remedy?: string): KernelError {
  const { syscall, errno } = error as NodeJS.ErrnoException;
  if (syscall === undefined || errno === undefined) throw error;
  return new KernelError(syscall, errno, { object: `sysctl ${name}`, remedy, cause: error });
}

/**
 * The value of a setting without its newline; null where this kernel (or this network namespace) has no such setting.
 * @throws KernelError where it may not be read
 */
export function readSysctl(name: string): string | null {
  try {
    return readFileSync(sysctlPath(name), 'latin1').trimEnd();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).errno === -ERRNO.ENOENT) return null;
    throw failure(error, name);
  }
}

/** A setting as a number; null where it is absent or not one integer. */
export function readSysctlInteger(name: string): number | null {
  const value = readSysctl(name);
  return value !== null && /^-?\d+$/.test(value) ? Number(value) : null;
}

/**
 * Changes a setting until the next boot.
 * @throws KernelError: EACCES or EPERM without the right to, EINVAL for a value that the kernel refuses, ENOENT
 */
export function writeSysctl(name: string, value: string | number): void {
  try {
    // Without O_TRUNC and O_CREAT: a setting that does not exist is ENOENT, not a file that cannot be made.
    writeFileSync(sysctlPath(name), `${value}\n`, { flag: 'r+' });
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    if (errno === -ERRNO.ENOENT) throw failure(error, name, 'this kernel has no such setting (sysctl -a lists them)');
    if (errno === -ERRNO.EINVAL) throw failure(error, name, `the kernel refuses the value ${JSON.stringify(value)}`);
    throw failure(error, name, 'settings are changed by root; in a container /proc/sys is often read-only');
  }
}
