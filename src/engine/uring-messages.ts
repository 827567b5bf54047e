/**
 * Room `engine`: message headers for io_uring: those that vectored sends need until they are submitted, and receiving
 * datagrams, which is a multishot recvmsg into blocks that hold a whole datagram or GRO train.
 *
 * A newcomer would get wrong: the kernel lays header, name, control data and payload one behind the other into the block, at
 * the lengths that the request's msghdr reserved, whatever the datagram used of them (io_uring_recvmsg_out).
 */
import { addressOf, call, SYS } from '../kernel/syscall.ts';
import * as abi from '../kernel/uring-abi.ts';
import { type Arena, MESSAGE_BLOCK_SIZE } from './arena.ts';
import { segmentSize } from './control-data.ts';
import type { Sink } from './engine.ts';
import { handDescriptors } from './passed-descriptors.ts';
import { BufferGroup } from './uring-buffers.ts';
import type { Ring } from './uring-ring.ts';

const HEADER_BYTES = 64;
const HEADERS = 4096;
const NAME_BYTES = 128;
const CONTROL_BYTES = 256;
const OUT_BYTES = abi.IO_URING_RECVMSG_OUT.size;
const PAYLOAD_START = OUT_BYTES + NAME_BYTES + CONTROL_BYTES;
const MSG_DONTWAIT = 0x40;
/** MSG_TRUNC: the length is the message's own, also where it does not fit. */
const MSG_TRUNC = 0x20;
/** MSG_CMSG_CLOEXEC: descriptors that a message brings are not for child processes. */
const MSG_CMSG_CLOEXEC = 0x40000000;

export class MessageReceiver {
  readonly multishot: boolean;
  readonly #ring: Ring;
  readonly #arena: Arena;
  readonly #mapped: boolean;
  readonly #view: DataView;
  readonly #headers = new BigUint64Array(new ArrayBuffer(HEADER_BYTES * HEADERS));
  readonly #headersAddress: number;
  readonly #receive = new BigUint64Array(new ArrayBuffer(HEADER_BYTES + 64));
  readonly #receiveAddress: number;
  #group: BufferGroup | null = null;
  #next = 0;

  constructor(ring: Ring, arena: Arena, mapped: boolean, multishot: boolean) {
    this.#ring = ring;
    this.#arena = arena;
    this.#mapped = mapped;
    this.multishot = multishot;
    this.#view = new DataView(arena.buffer);
    this.#headersAddress = addressOf(this.#headers);
    this.#receiveAddress = addressOf(this.#receive);
  }

  /** A msghdr for a vector of buffers; valid until as many further ones were asked for as the submission queue holds. */
  vectorHeader(iovec: number, count: number): number {
    const index = this.#next;
    this.#next = (index + 1) % HEADERS;
    const word = index * (HEADER_BYTES / 8);
    this.#headers[word + 2] = BigInt(iovec);
    this.#headers[word + 3] = BigInt(count);
    return this.#headersAddress + index * HEADER_BYTES;
  }

  /** Buffers that the kernel may fill; 0 means that arming would end at once with ENOBUFS. */
  get available(): number {
    return this.#group === null ? 1 : this.#group.available;
  }

  /** Queues the receive of a socket's messages; `low` and `high` are its user data. */
  arm(descriptor: number, low: number, high: number): void {
    if (!this.multishot) {
      this.#ring.push(abi.IORING_OP_POLL_ADD, descriptor, 0, 0, 0, 1, low, high);
      return;
    }
    if (this.#group === null) {
      const arena = this.#arena;
      const base = arena.address + arena.messageStart;
      this.#group = new BufferGroup(this.#ring, 1, base, MESSAGE_BLOCK_SIZE, arena.messageBlocks, this.#mapped);
      for (let id = 0; id < arena.messageBlocks; id++) this.#group.give(id);
      this.#group.publish();
      // struct msghdr: name and control pointers stay null, only the lengths count with a provided buffer.
      this.#receive[1] = BigInt(NAME_BYTES);
      this.#receive[5] = BigInt(CONTROL_BYTES);
    }
    const head = abi.IORING_OP_RECVMSG | (abi.IOSQE_BUFFER_SELECT << 8) | (abi.IORING_RECV_MULTISHOT << 16);
    const flags = MSG_CMSG_CLOEXEC | MSG_TRUNC;
    const word = this.#ring.push(head, descriptor, 0, this.#receiveAddress, 1, flags, low, high);
    this.#ring.entries[word + abi.IO_URING_SQE.buf_group / 4] = 1;
  }

  /** Delivers the message that a completion brought in buffer `id`; the buffer goes back afterwards, also on a throw. */
  deliver(sink: Sink | null, id: number, result: number): void {
    const block = this.#arena.messageStart + id * MESSAGE_BLOCK_SIZE;
    try {
      if (result < PAYLOAD_START) return;
      const view = this.#view;
      const controlLength = Math.min(view.getUint32(block + abi.IO_URING_RECVMSG_OUT.controllen, true), CONTROL_BYTES);
      if (controlLength > 0) handDescriptors(view, block + OUT_BYTES + NAME_BYTES, controlLength, sink);
      if (sink === null) return;
      const nameLength = Math.min(view.getUint32(block + abi.IO_URING_RECVMSG_OUT.namelen, true), NAME_BYTES);
      const flags = view.getUint32(block + abi.IO_URING_RECVMSG_OUT.flags, true);
      const name = block + OUT_BYTES;
      const segment = segmentSize(view, name + NAME_BYTES, controlLength);
      const length = view.getUint32(block + abi.IO_URING_RECVMSG_OUT.payloadlen, true);
      sink.message(name, name + nameLength, block + PAYLOAD_START, block + result, flags, segment, length);
    } finally {
      this.#group!.give(id);
      this.#group!.publish();
    }
  }

  /** A buffer left the kernel with a completion. */
  took(): void {
    this.#group!.available--;
  }

  /** Older kernels: the socket is readable; receives up to `bound` messages. Returns a negative errno or 0. */
  receiveNow(descriptor: number, sink: Sink, bound: number): number {
    const block = this.#arena.messageStart;
    const address = this.#arena.address + block;
    const header = this.#receive;
    const name = OUT_BYTES;
    const control = OUT_BYTES + NAME_BYTES;
    for (let count = 0; count < bound; count++) {
      header[0] = BigInt(address + name);
      header[1] = BigInt(NAME_BYTES);
      header[2] = BigInt(this.#receiveAddress + HEADER_BYTES);
      header[3] = 1n;
      header[4] = BigInt(address + control);
      header[5] = BigInt(CONTROL_BYTES);
      header[6] = 0n;
      header[HEADER_BYTES / 8] = BigInt(address + PAYLOAD_START);
      header[HEADER_BYTES / 8 + 1] = BigInt(MESSAGE_BLOCK_SIZE - PAYLOAD_START);
      const result = call(SYS.recvmsg, descriptor, this.#receiveAddress, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
      if (result < 0) return result;
      const nameEnd = block + name + Number(header[1] & 0xffffffffn);
      handDescriptors(this.#view, block + control, Number(header[5]), sink);
      const segment = segmentSize(this.#view, block + control, Number(header[5]));
      const start = block + PAYLOAD_START;
      const end = start + Math.min(result, MESSAGE_BLOCK_SIZE - PAYLOAD_START);
      sink.message(block + name, nameEnd, start, end, Number(header[6] & 0xffffffffn), segment, result);
    }
    return 0;
  }

  dispose(): void {
    this.#group?.dispose();
  }
}
