/**
 * Room `kernel`: descriptors sent from process to process over a Unix socket (SCM_RIGHTS; unix(7), cmsg(3)).
 *
 * A newcomer would get wrong: what arrives are new descriptors of the receiver, which has to close them; the sender closes its
 * own. On a stream socket at least one byte of data must go along, or nothing is sent.
 */
import * as constants from './constants.ts';
import { CMSGHDR, IOVEC, MSGHDR, UCRED } from './layouts.ts';
import { addressOf, call, SYS } from './syscall.ts';

/** Most descriptors of one message: SCM_MAX_FD of include/net/scm.h. */
export const PASSED_DESCRIPTORS_MAX = 253;
/** Most bytes of data that go along with them here. */
export const PASSED_BYTES_MAX = 4096;

const HEADER_AT = 0;
const VECTOR_AT = 64;
const CONTROL_AT = 80;
/** SCM_RIGHTS with the most descriptors, and the SCM_CREDENTIALS that SO_PASSCRED puts before it, each rounded up to 8. */
const CONTROL_BYTES = align(CMSGHDR.size + UCRED.size) + align(CMSGHDR.size + PASSED_DESCRIPTORS_MAX * 4);
const DATA_AT = CONTROL_AT + CONTROL_BYTES;
const scratch = new ArrayBuffer(DATA_AT + PASSED_BYTES_MAX);
const bytes = new Uint8Array(scratch);
const words = new Int32Array(scratch);
const view = new DataView(scratch);
const base = addressOf(scratch);

/** CMSG_ALIGN of cmsg(3). */
function align(length: number): number {
  return (length + 7) & ~7;
}

function placeHeader(dataBytes: number, controlBytes: number): void {
  bytes.fill(0, 0, DATA_AT);
  view.setBigUint64(HEADER_AT + MSGHDR.msg_iov, BigInt(base + VECTOR_AT), true);
  view.setBigUint64(HEADER_AT + MSGHDR.msg_iovlen, 1n, true);
  view.setBigUint64(HEADER_AT + MSGHDR.msg_control, controlBytes === 0 ? 0n : BigInt(base + CONTROL_AT), true);
  view.setBigUint64(HEADER_AT + MSGHDR.msg_controllen, BigInt(controlBytes), true);
  view.setBigUint64(VECTOR_AT + IOVEC.iov_base, BigInt(base + DATA_AT), true);
  view.setBigUint64(VECTOR_AT + IOVEC.iov_len, BigInt(dataBytes), true);
}

/**
 * Sends `descriptors` with `data`: the bytes that were taken, or -errno (-ETOOMANYREFS when too many are under way).
 * @throws RangeError without data, or above {@link PASSED_BYTES_MAX} or {@link PASSED_DESCRIPTORS_MAX}
 */
export function sendDescriptors(socket: number, descriptors: readonly number[], data: Uint8Array): number {
  if (data.length === 0 || data.length > PASSED_BYTES_MAX) {
    throw new RangeError(`data has ${data.length} bytes: 1 to ${PASSED_BYTES_MAX} are allowed`);
  }
  if (descriptors.length > PASSED_DESCRIPTORS_MAX) {
    throw new RangeError(`${descriptors.length} descriptors: at most ${PASSED_DESCRIPTORS_MAX} are allowed`);
  }
  const length = CMSGHDR.size + descriptors.length * 4;
  placeHeader(data.length, descriptors.length === 0 ? 0 : length);
  view.setBigUint64(CONTROL_AT + CMSGHDR.cmsg_len, BigInt(length), true);
  words[(CONTROL_AT + CMSGHDR.cmsg_level) / 4] = constants.SOL_SOCKET;
  words[(CONTROL_AT + CMSGHDR.cmsg_type) / 4] = constants.SCM_RIGHTS;
  words.set(descriptors, (CONTROL_AT + CMSGHDR.size) / 4);
  bytes.set(data, DATA_AT);
  return call(SYS.sendmsg, socket, base + HEADER_AT, constants.MSG_NOSIGNAL);
}

export interface ReceivedDescriptors {
  /** The data that came along; empty at the end of the stream. */
  readonly data: Uint8Array;
  /** New descriptors, close-on-exec, the receiver's to close. */
  readonly descriptors: readonly number[];
  /** Some of what was sent did not fit: the kernel dropped descriptors (it does so at the limit of open files too) or data. */
  readonly truncated: boolean;
}

/** Receives one message with its descriptors, at most `dataBytesMax` bytes of data; or -errno. */
export function receiveDescriptors(socket: number, dataBytesMax = PASSED_BYTES_MAX): ReceivedDescriptors | number {
  placeHeader(Math.min(dataBytesMax, PASSED_BYTES_MAX), CONTROL_BYTES);
  const result = call(SYS.recvmsg, socket, base + HEADER_AT, constants.MSG_CMSG_CLOEXEC);
  if (result < 0) return result;
  const flags = words[(HEADER_AT + MSGHDR.msg_flags) / 4];
  return {
    data: bytes.slice(DATA_AT, DATA_AT + result),
    descriptors: passed(Number(view.getBigUint64(HEADER_AT + MSGHDR.msg_controllen, true))),
    truncated: (flags & (constants.MSG_CTRUNC | constants.MSG_TRUNC)) !== 0,
  };
}

/** The descriptors of every SCM_RIGHTS message within the control data. */
function passed(controlBytes: number): number[] {
  const found: number[] = [];
  const end = CONTROL_AT + controlBytes;
  let at = CONTROL_AT;
  while (at + CMSGHDR.size <= end) {
    const length = Number(view.getBigUint64(at + CMSGHDR.cmsg_len, true));
    if (length < CMSGHDR.size || at + length > end) break;
    const level = words[(at + CMSGHDR.cmsg_level) / 4];
    const type = words[(at + CMSGHDR.cmsg_type) / 4];
    if (level === constants.SOL_SOCKET && type === constants.SCM_RIGHTS) {
      for (let word = (at + CMSGHDR.size) / 4; word < (at + length) >> 2; word++) found.push(words[word]);
    }
    at += align(length);
  }
  return found;
}
