/**
 * Room `kernel`: raw system calls. `call` makes one; a batch is written with `record` and run with `runRecords`.
 *
 * A newcomer would get wrong: results are negative errno values, never exceptions; and a pointer argument must point at
 * memory that does not move, which `addressOf` of an ArrayBuffer of 64 bytes or more is.
 */
import { shim } from './native.ts';

/** System call numbers of x86-64 (arch/x86/entry/syscalls/syscall_64.tbl). */
export const SYS = {
  read: 0,
  write: 1,
  open: 2,
  close: 3,
  fstat: 5,
  poll: 7,
  lseek: 8,
  mmap: 9,
  munmap: 11,
  ioctl: 16,
  pread64: 17,
  pwrite64: 18,
  readv: 19,
  writev: 20,
  select: 23,
  dup: 32,
  getpid: 39,
  sendfile: 40,
  socket: 41,
  connect: 42,
  accept: 43,
  sendto: 44,
  recvfrom: 45,
  sendmsg: 46,
  recvmsg: 47,
  shutdown: 48,
  bind: 49,
  listen: 50,
  getsockname: 51,
  getpeername: 52,
  socketpair: 53,
  setsockopt: 54,
  getsockopt: 55,
  fcntl: 72,
  unlink: 87,
  prctl: 157,
  setrlimit: 160,
  mount: 165,
  umount2: 166,
  gettid: 186,
  sched_setaffinity: 203,
  epoll_wait: 232,
  epoll_ctl: 233,
  openat: 257,
  unlinkat: 263,
  pselect6: 270,
  ppoll: 271,
  splice: 275,
  sync_file_range: 277,
  accept4: 288,
  eventfd2: 290,
  epoll_create1: 291,
  pipe2: 293,
  perf_event_open: 298,
  recvmmsg: 299,
  prlimit64: 302,
  sendmmsg: 307,
  setns: 308,
  memfd_create: 319,
  bpf: 321,
  statx: 332,
  io_uring_setup: 425,
  io_uring_enter: 426,
  io_uring_register: 427,
  openat2: 437,
  epoll_pwait2: 441,
} as const;

/** Bytes of one record and how many the table holds. */
export const RECORD_WORDS = 16;
export const RECORDS_MAX = 1024;

/** The record table as 32-bit words: 0-1 number, 2-13 arguments, 14-15 result. */
export const records = new Int32Array(shim.records);
const results = new BigInt64Array(shim.records);

const HIGH = 4294967296;

/** Writes one argument (0 to 5) of record `index`; a 64-bit value is given as an integer below 2^53 in magnitude. */
export function argument(index: number, position: number, value: number): void {
  const word = index * RECORD_WORDS + 2 + position * 2;
  records[word] = value | 0;
  // Conversion to 32 bits is modular below 2^53, so the low word is right for addresses; the high word needs the division.
  if (value > 2147483647 || value < -2147483648) {
    records[word] = (value % HIGH) | 0;
    records[word + 1] = Math.floor(value / HIGH) | 0;
  } else {
    records[word + 1] = value >> 31;
  }
}

/** Writes a whole record. Arguments left out are 0. */
export function record(index: number, number: number, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0): void {
  const word = index * RECORD_WORDS;
  records[word] = number;
  records[word + 1] = 0;
  argument(index, 0, a);
  argument(index, 1, b);
  argument(index, 2, c);
  argument(index, 3, d);
  argument(index, 4, e);
  argument(index, 5, f);
}

/** Executes records 0 to count - 1 in order; none is skipped when one fails. */
export const runRecords: (count: number) => void = shim.run;

/** The result of a record that ran, where it fits 32 bits (descriptors, counts below 2 GB, negative errno). */
export function resultOf(index: number): number {
  return records[index * RECORD_WORDS + 14];
}

/** Makes one system call and returns its result; negative is -errno. Uses record 0. */
export function call(number: number, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0): number {
  record(0, number, a, b, c, d, e, f);
  runRecords(1);
  const low = records[14];
  const high = records[15];
  return high === low >> 31 ? low : Number(results[7]);
}

export const addressOf: (view: ArrayBuffer | ArrayBufferView) => number = shim.addressOf;
