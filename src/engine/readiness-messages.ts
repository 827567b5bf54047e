/**
 * Room `engine`: one message at a time for the readiness engines: recvmsg(2) into the arena's first message block, and the
 * error queue, which is read only to be rid of it.
 *
 * A newcomer would get wrong: messages are not fetched ahead. One that was fetched could not be put back when the callback for
 * the one before stops receiving, and a datagram cannot be read in halves.
 */
import {
  AF_INET,
  AF_INET6,
  MSG_CMSG_CLOEXEC,
  MSG_DONTWAIT,
  MSG_ERRQUEUE,
  MSG_TRUNC,
  SO_DOMAIN,
  SOL_SOCKET,
} from '../kernel/constants.ts';
import { IOVEC, MSGHDR } from '../kernel/layouts.ts';
import { getsockoptInt } from '../kernel/socket.ts';
import { addressOf, call, SYS } from '../kernel/syscall.ts';
import { type Arena, MESSAGE_BLOCK_SIZE } from './arena.ts';
import { segmentSize } from './control-data.ts';
import type { Sink } from './engine.ts';
import { handDescriptors } from './passed-descriptors.ts';

const NAME_BYTES = 128;
const CONTROL_BYTES = 256;
const PAYLOAD_START = NAME_BYTES + CONTROL_BYTES;
/** What fits a block behind name and control data: more than the largest datagram or GRO train, 65,535 bytes. */
const PAYLOAD_BYTES = MESSAGE_BLOCK_SIZE - PAYLOAD_START;
/** Entries of an error queue that are thrown away in one go; the socket's receive buffer bounds the queue too. */
const ERRORS_MAX = 256;

export class MessageReader {
  readonly #block: number;
  readonly #view: DataView;
  /** struct msghdr and behind it the one struct iovec. */
  readonly #words = new Int32Array(new ArrayBuffer(MSGHDR.size + IOVEC.size));
  readonly #address: number;

  constructor(arena: Arena) {
    this.#block = arena.messageStart;
    this.#view = new DataView(arena.buffer);
    this.#address = addressOf(this.#words);
    const header = new BigUint64Array(this.#words.buffer);
    const block = arena.address + arena.messageStart;
    header[MSGHDR.msg_name / 8] = BigInt(block);
    header[MSGHDR.msg_iov / 8] = BigInt(this.#address + MSGHDR.size);
    header[MSGHDR.msg_iovlen / 8] = 1n;
    header[MSGHDR.msg_control / 8] = BigInt(block + NAME_BYTES);
    header[MSGHDR.size / 8] = BigInt(block + PAYLOAD_START);
    header[MSGHDR.size / 8 + 1] = BigInt(PAYLOAD_BYTES);
  }

  #receive(descriptor: number, flags: number): number {
    // The kernel wrote what it used over what it may use.
    this.#words[MSGHDR.msg_namelen / 4] = NAME_BYTES;
    this.#words[MSGHDR.msg_controllen / 4] = CONTROL_BYTES;
    return call(SYS.recvmsg, descriptor, this.#address, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  }

  /** Receives one message: its whole length, or -errno. {@link MessageReader.deliver} tells of it. */
  receive(descriptor: number): number {
    return this.#receive(descriptor, MSG_TRUNC);
  }

  deliver(sink: Sink, length: number): void {
    const name = this.#block;
    const nameLength = Math.min(this.#words[MSGHDR.msg_namelen / 4], NAME_BYTES);
    const controlBytes = this.#words[MSGHDR.msg_controllen / 4];
    if (controlBytes > 0) handDescriptors(this.#view, name + NAME_BYTES, controlBytes, sink);
    const segment = segmentSize(this.#view, name + NAME_BYTES, controlBytes);
    const start = name + PAYLOAD_START;
    const end = start + Math.min(length, PAYLOAD_BYTES);
    sink.message(name, name + nameLength, start, end, this.#words[MSGHDR.msg_flags / 4], segment, length);
  }

  /**
   * Empties the error queue (ip(7) IP_RECVERR, zero-copy notifications, transmit timestamps); how many entries it had. A socket
   * of another family is left alone: a Unix socket ignores MSG_ERRQUEUE and would give data.
   */
  drainErrors(descriptor: number): number {
    const family = getsockoptInt(descriptor, SOL_SOCKET, SO_DOMAIN);
    if (family !== AF_INET && family !== AF_INET6) return 0;
    let count = 0;
    while (count < ERRORS_MAX && this.#receive(descriptor, MSG_ERRQUEUE) >= 0) count++;
    return count;
  }
}
