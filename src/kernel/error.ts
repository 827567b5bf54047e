/**
 * Room `kernel`: the error that every failed system call becomes. It names the call, the errno, the object and, where one
 * is known, what to do about it. Not for the hot path: there a negative number is the error.
 */
import { ERRNO, errnoName } from './errno.ts';

/** Advice by errno name; an entry for `syscall:ERRNO` wins over one for the errno alone. */
const remedies: Readonly<Record<string, string>> = {
  EMFILE: 'raise the limit of open files (ulimit -n) or close descriptors',
  ENFILE: 'raise fs.file-max',
  'bind:EACCES': 'ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE',
  'bind:EADDRINUSE': 'another socket holds the address: choose another, or stop its owner (ss -ltnp)',
  'listen:EADDRINUSE': 'another socket listens on the address: choose another, or stop its owner (ss -ltnp)',
  'bind:EADDRNOTAVAIL': 'no interface of this host has the address (ip address)',
  'connect:ECONNREFUSED': 'nothing listens there: start it, or correct the address',
  'connect:EADDRNOTAVAIL': 'the ephemeral ports are used up: widen net.ipv4.ip_local_port_range or reuse connections',
  'connect:ENETUNREACH': 'no route leads there (ip route)',
  'io_uring_setup:EPERM':
    'io_uring is forbidden: set kernel.io_uring_disabled=0, or allow it in the container’s seccomp profile',
  'io_uring_setup:ENOSYS': 'this kernel has no io_uring: Linux 5.15 or newer built with CONFIG_IO_URING is needed',
  'io_uring_setup:ENOMEM': 'raise the limit of locked memory (ulimit -l), or ask for fewer entries',
};

export interface KernelErrorOptions extends ErrorOptions {
  /** What the call was about: an address, a path, an interface. */
  readonly object?: string;
  readonly remedy?: string;
  /** Further properties that Node's own errors carry. */
  readonly address?: string;
  readonly port?: number;
  readonly localAddress?: string;
  readonly localPort?: number;
}

/** A failed system call. `code`, `errno` and `syscall` are as in Node's own errors (`errno` is negative). */
export class KernelError extends Error {
  override readonly name = 'KernelError';
  readonly syscall: string;
  readonly code: string;
  readonly errno: number;
  readonly object: string | undefined;
  readonly remedy: string | undefined;
  readonly address: string | undefined;
  readonly port: number | undefined;
  readonly localAddress: string | undefined;
  readonly localPort: number | undefined;

  /** @param result the errno, with either sign */
  constructor(syscall: string, result: number, options: KernelErrorOptions = {}) {
    const code = errnoName(result);
    const remedy = options.remedy ?? remedies[`${syscall}:${code}`] ?? remedies[code];
    const object = options.object === undefined ? '' : ` ${options.object}`;
    super(`${syscall}${object}: ${code}${remedy === undefined ? '' : `; ${remedy}`}`, options);
    this.syscall = syscall;
    this.code = code;
    this.errno = -Math.abs(result);
    this.object = options.object;
    this.remedy = remedy;
    this.address = options.address;
    this.port = options.port;
    this.localAddress = options.localAddress;
    this.localPort = options.localPort;
  }
}

/** Returns a result that is not negative, throws {@link KernelError} otherwise. */
export function check(result: number, syscall: string, object?: string): number {
  if (result < 0) throw new KernelError(syscall, result, object === undefined ? {} : { object });
  return result;
}

/** Whether a negative result means "not now, try again". */
export function isRetry(result: number): boolean {
  return result === -ERRNO.EAGAIN || result === -ERRNO.EINTR;
}
