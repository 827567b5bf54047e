/**
 * Room `net`: many datagrams in one system call. `fill` lays the head of a queue out as message headers, `send` runs
 * sendmmsg(2). Equal ones in a row to one peer become one segmented send (UDP_SEGMENT): the kernel's way through the stack is
 * walked once for all of them.
 *
 * A newcomer would get wrong: the tables are shared by all sockets, because nothing here outlives the call; and UDP_SEGMENT is
 * a 16-bit value (the kernel refuses an int), whereas UDP_GRO arrives as an int.
 */
import * as constants from '../kernel/constants.ts';
import { CMSGHDR, IOVEC, MMSGHDR, MSGHDR } from '../kernel/layouts.ts';
import { addressOf, call, SYS } from '../kernel/syscall.ts';
import type { DatagramQueue } from './datagram-queue.ts';

/** Headers of one call. The kernel takes 1,024 (UIO_MAXIOV); a bound of our own keeps one socket's turn short. */
export const BATCH_MAX = 256;
/** UDP_MAX_SEGMENTS before Linux 6.9; 128 since. */
const SEGMENTS_MAX = 64;
/** The largest UDP payload over IPv4: 65,535 less 20 and 8 bytes of headers. IPv6 would take 20 bytes more. */
export const PAYLOAD_BYTES_MAX = 65507;
/** CMSG_SPACE(2) of cmsg(3). */
const CONTROL_BYTES = 24;
const HIGH = 4294967296;

const VECTORS_AT = BATCH_MAX * MMSGHDR.size;
const CONTROLS_AT = VECTORS_AT + BATCH_MAX * IOVEC.size;
const memory = new ArrayBuffer(CONTROLS_AT + BATCH_MAX * CONTROL_BYTES);
const words = new Int32Array(memory);
const halves = new Uint16Array(memory);
const base = addressOf(memory);

/** How many entries of the queue each header took. */
export const entriesOf = new Int32Array(BATCH_MAX);

/** Writes a 64-bit address without BigInt. */
function placePointer(offset: number, pointer: number): void {
  words[offset >> 2] = (pointer % HIGH) | 0;
  words[(offset >> 2) + 1] = (pointer / HIGH) | 0;
}

for (let index = 0; index < BATCH_MAX; index++) {
  const header = index * MMSGHDR.size;
  placePointer(header + MSGHDR.msg_iov, base + VECTORS_AT + index * IOVEC.size);
  words[(header + MSGHDR.msg_iovlen) >> 2] = 1;
  const control = CONTROLS_AT + index * CONTROL_BYTES;
  words[(control + CMSGHDR.cmsg_len) >> 2] = CMSGHDR.size + 2;
  words[(control + CMSGHDR.cmsg_level) >> 2] = constants.SOL_UDP;
  words[(control + CMSGHDR.cmsg_type) >> 2] = constants.UDP_SEGMENT;
}

/** How many entries from `first` on can leave as one: of one length (the last may be shorter), to one peer, none empty. */
function trainLength(queue: DatagramQueue, first: number): number {
  const size = queue.lengths[first];
  let total = size;
  let next = first + 1;
  while (next < queue.tail && next - first < SEGMENTS_MAX) {
    const length = queue.lengths[next];
    total += length;
    if (length === 0 || length > size || total > PAYLOAD_BYTES_MAX || !queue.samePeer(first, next)) break;
    next++;
    if (length < size) break;
  }
  return next - first;
}

/**
 * Lays out the queue's first entries and answers how many headers they take.
 * @param segmentBytesMax the longest payload that may be part of a segmented send; 0 for none
 */
export function fill(queue: DatagramQueue, segmentBytesMax: number): number {
  let entry = queue.head;
  let count = 0;
  while (entry < queue.tail && count < BATCH_MAX) {
    const size = queue.lengths[entry];
    const entries = size > 0 && size <= segmentBytesMax ? trainLength(queue, entry) : 1;
    const header = count * MMSGHDR.size;
    const nameStart = queue.nameStarts[entry];
    placePointer(header + MSGHDR.msg_name, nameStart < 0 ? 0 : queue.namesAddress + nameStart);
    words[(header + MSGHDR.msg_namelen) >> 2] = queue.nameLengths[entry];
    const last = entry + entries - 1;
    const vector = VECTORS_AT + count * IOVEC.size;
    placePointer(vector + IOVEC.iov_base, queue.bytesAddress + queue.starts[entry]);
    words[(vector + IOVEC.iov_len) >> 2] = queue.starts[last] + queue.lengths[last] - queue.starts[entry];
    const control = CONTROLS_AT + count * CONTROL_BYTES;
    placePointer(header + MSGHDR.msg_control, entries > 1 ? base + control : 0);
    words[(header + MSGHDR.msg_controllen) >> 2] = entries > 1 ? CONTROL_BYTES : 0;
    halves[(control + CMSGHDR.size) >> 1] = size;
    entriesOf[count++] = entries;
    entry += entries;
  }
  return count;
}

/**
 * Sends the first `count` headers without blocking: how many the kernel took, or -errno of the first. What is wrong with one
 * further behind shows when the next call begins with it.
 */
export function send(descriptor: number, count: number): number {
  return call(SYS.sendmmsg, descriptor, base, count, constants.MSG_DONTWAIT | constants.MSG_NOSIGNAL);
}
