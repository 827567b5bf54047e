/**
 * Room `net`: a datagram socket's error queue (IP_RECVERR, IPV6_RECVERR): what ICMP said of datagrams that were sent, each with
 * the destination and the payload that it is about; ip(7).
 *
 * A newcomer would get wrong: the socket reports POLLERR until the queue is empty, so it is always read to its end; and the
 * address of the message is where the datagram went, not who complained (that one is the offender).
 */
import { ADDRESS_BYTES_MAX, decodeAddress, type SocketAddress } from '../kernel/address.ts';
import * as constants from '../kernel/constants.ts';
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import { CMSGHDR, IOVEC, MSGHDR, SOCK_EXTENDED_ERR } from '../kernel/layouts.ts';
import { addressOf, call, SYS } from '../kernel/syscall.ts';
import * as options from './options.ts';

/** A datagram that did not arrive, as an ICMP message tells. */
export interface UndeliveredDatagram {
  /** errno of what ICMP said: ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EMSGSIZE (too large for a link)… */
  readonly error: KernelError;
  /** Where it was sent; null where the kernel does not know any more. */
  readonly destination: SocketAddress | null;
  /** Who sent the ICMP message; null where nobody did (the error is this host's own). */
  readonly offender: SocketAddress | null;
  /** The begin of its payload, as much as ICMP quoted. A copy. */
  readonly payload: Uint8Array;
}

const NAME_AT = 64;
const VECTOR_AT = NAME_AT + ADDRESS_BYTES_MAX;
const CONTROL_AT = VECTOR_AT + IOVEC.size;
const CONTROL_BYTES = 256;
const DATA_AT = CONTROL_AT + CONTROL_BYTES;
const DATA_BYTES = 2048;
/** Reports of one pass; more wait for the next event. */
const REPORTS_MAX = 256;
const memory = new Uint8Array(new ArrayBuffer(DATA_AT + DATA_BYTES));
const view = new DataView(memory.buffer);
const base = addressOf(memory);

function placeHeader(): void {
  view.setBigUint64(MSGHDR.msg_name, BigInt(base + NAME_AT), true);
  view.setUint32(MSGHDR.msg_namelen, ADDRESS_BYTES_MAX, true);
  view.setBigUint64(MSGHDR.msg_iov, BigInt(base + VECTOR_AT), true);
  view.setBigUint64(MSGHDR.msg_iovlen, 1n, true);
  view.setBigUint64(MSGHDR.msg_control, BigInt(base + CONTROL_AT), true);
  view.setBigUint64(MSGHDR.msg_controllen, BigInt(CONTROL_BYTES), true);
  view.setUint32(MSGHDR.msg_flags, 0, true);
  view.setBigUint64(VECTOR_AT + IOVEC.iov_base, BigInt(base + DATA_AT), true);
  view.setBigUint64(VECTOR_AT + IOVEC.iov_len, BigInt(DATA_BYTES), true);
}

/** Where struct sock_extended_err lies within the control data, or -1; `end` is behind its control message. */
function findReport(): { readonly at: number; readonly end: number } | null {
  const end = CONTROL_AT + Number(view.getBigUint64(MSGHDR.msg_controllen, true));
  let at = CONTROL_AT;
  while (at + CMSGHDR.size <= end) {
    const length = Number(view.getBigUint64(at + CMSGHDR.cmsg_len, true));
    if (length < CMSGHDR.size || at + length > end) return null;
    const level = view.getInt32(at + CMSGHDR.cmsg_level, true);
    const type = view.getInt32(at + CMSGHDR.cmsg_type, true);
    const isReport =
      (level === constants.SOL_IP && type === constants.IP_RECVERR) ||
      (level === constants.SOL_IPV6 && type === constants.IPV6_RECVERR);
    if (isReport) return { at: at + CMSGHDR.size, end: at + length };
    at += (length + 7) & -8;
  }
  return null;
}

/** Takes every report from the queue, in order. */
export function drainErrorQueue(descriptor: number, tell: (report: UndeliveredDatagram) => void): void {
  for (let count = 0; count < REPORTS_MAX; count++) {
    placeHeader();
    const length = call(SYS.recvmsg, descriptor, base, constants.MSG_ERRQUEUE | constants.MSG_DONTWAIT);
    if (length === -ERRNO.EINTR) continue;
    if (length < 0) return;
    const found = findReport();
    if (found === null) continue;
    const errno = view.getUint32(found.at + SOCK_EXTENDED_ERR.ee_errno, true);
    if (errno === 0) continue;
    const nameBytes = view.getUint32(MSGHDR.msg_namelen, true);
    const destination = nameBytes === 0 ? null : decodeAddress(memory, NAME_AT, nameBytes);
    const offenderAt = found.at + SOCK_EXTENDED_ERR.size;
    const object = options.describe(destination);
    tell({
      error: new KernelError('send', errno, { object, ...options.portDetails(destination) }),
      destination,
      offender: decodeAddress(memory, offenderAt, found.end - offenderAt),
      payload: memory.slice(DATA_AT, DATA_AT + length),
    });
  }
}
