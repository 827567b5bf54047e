/**
 * Room `kernel`: one request to rtnetlink(7) and its answer: routes, queueing disciplines, filters of the thread's own network
 * namespace.
 *
 * A newcomer would get wrong: attributes are padded to 4 bytes, and a nested one's length is only known when it is complete. An error
 * comes as a message, not as the result of the call.
 */
import { AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW } from './constants.ts';
import { KernelError } from './error.ts';
import * as netlink from './netlink-abi.ts';
import { addressOf, call, SYS } from './syscall.ts';

/** An attribute: bytes, a 32-bit number, or attributes. */
export type NetlinkValue = number | Uint8Array | readonly NetlinkAttribute[];
export type NetlinkAttribute = readonly [type: number, value: NetlinkValue];

const HEAD_BYTES = 4;
const align = (bytes: number): number => (bytes + 3) & ~3;

function bytesOf(value: NetlinkValue): Uint8Array {
  if (typeof value === 'number') return new Uint8Array(Uint32Array.of(value).buffer);
  return value instanceof Uint8Array ? value : encodeAttributes(value);
}

/** Attributes as bytes. */
export function encodeAttributes(attributes: readonly NetlinkAttribute[]): Uint8Array {
  const parts = attributes.map(([type, value]) => {
    const content = bytesOf(value);
    const part = new Uint8Array(align(HEAD_BYTES + content.length));
    const view = new DataView(part.buffer);
    const isNested = Array.isArray(value);
    view.setUint16(0, HEAD_BYTES + content.length, true);
    view.setUint16(2, isNested ? type | netlink.NLA_F_NESTED : type, true);
    part.set(content, HEAD_BYTES);
    return part;
  });
  return new Uint8Array(Buffer.concat(parts));
}

/** A text with its null byte, as attributes hold it. */
export function netlinkText(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}

/** What is asked: a message type, its flags, the family's own header and attributes. */
export interface NetlinkRequest {
  readonly type: number;
  readonly flags?: number;
  readonly header: Uint8Array;
  readonly attributes: readonly NetlinkAttribute[];
}

const ANSWER_BYTES = 8192;

/** Makes one request and waits for its answer: 0, or the negative errno that the kernel gives. */
export function requestNetlink(request: NetlinkRequest): number {
  const body = Buffer.concat([request.header, encodeAttributes(request.attributes)]);
  const message = new Uint8Array(new ArrayBuffer(Math.max(64, netlink.NLMSGHDR.size + body.length)));
  const length = netlink.NLMSGHDR.size + body.length;
  const view = new DataView(message.buffer);
  view.setUint32(netlink.NLMSGHDR.nlmsg_len, length, true);
  view.setUint16(netlink.NLMSGHDR.nlmsg_type, request.type, true);
  view.setUint16(netlink.NLMSGHDR.nlmsg_flags, netlink.NLM_F_REQUEST | netlink.NLM_F_ACK | (request.flags ?? 0), true);
  view.setUint32(netlink.NLMSGHDR.nlmsg_seq, 1, true);
  message.set(body, netlink.NLMSGHDR.size);
  const socket = call(SYS.socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, netlink.NETLINK_ROUTE);
  if (socket < 0) throw new KernelError('socket', socket, { object: 'AF_NETLINK' });
  try {
    const sent = call(SYS.sendto, socket, addressOf(message), length);
    return sent < 0 ? sent : readAnswer(socket);
  } finally {
    call(SYS.close, socket);
  }
}

/** The error number of the acknowledgement, which every request gets that asks for one. */
function readAnswer(socket: number): number {
  const answer = new DataView(new ArrayBuffer(ANSWER_BYTES));
  const received = call(SYS.recvfrom, socket, addressOf(answer), ANSWER_BYTES);
  if (received < 0) return received;
  const type = answer.getUint16(netlink.NLMSGHDR.nlmsg_type, true);
  return type === netlink.NLMSG_ERROR ? answer.getInt32(netlink.NLMSGHDR.size, true) : 0;
}
