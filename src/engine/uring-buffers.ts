/**
 * Room `engine`: the buffers that io_uring fills. A provided buffer ring holds arena blocks; the kernel takes one when bytes
 * arrive, so an idle connection holds none. A block's buffer id is its index in the arena.
 *
 * A newcomer would get wrong: a completion without IORING_CQE_F_BUFFER carries no buffer, and its id bits read 0, which is
 * somebody else's block. Nothing is returned for it.
 */
import { KernelError } from '../kernel/error.ts';
import { shim } from '../kernel/native.ts';
import { addressOf, call, SYS } from '../kernel/syscall.ts';
import * as abi from '../kernel/uring-abi.ts';
import type { Arena } from './arena.ts';
import type { Ring } from './uring-ring.ts';

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS_POPULATE = 0x8022;
const WORDS = abi.IO_URING_BUF.size / 4;

/** One group of buffers, as a mapped ring (5.19) or, on older kernels, handed over by PROVIDE_BUFFERS entries. */
export class BufferGroup {
  readonly group: number;
  /** Buffers that the kernel may take at this moment. */
  available = 0;
  readonly entries: number;
  readonly #ring: Ring;
  readonly #base: number;
  readonly #size: number;
  readonly #mapping: ArrayBuffer | null;
  readonly #words: Int32Array;
  readonly #halves: Int16Array;
  readonly #mask: number;
  #tail = 0;
  #published = 0;

  /**
   * @param base address of the buffer with id 0; id n lies n times `size` behind it
   * @param entries a power of two up to 32,768
   */
  constructor(ring: Ring, group: number, base: number, size: number, entries: number, mapped: boolean) {
    this.#ring = ring;
    this.group = group;
    this.#base = base;
    this.#size = size;
    this.entries = entries;
    this.#mask = entries - 1;
    this.#mapping = mapped ? BufferGroup.#map(ring, group, entries) : null;
    this.#words = new Int32Array(this.#mapping ?? new ArrayBuffer(0));
    this.#halves = new Int16Array(this.#mapping ?? new ArrayBuffer(0));
  }

  static #map(ring: Ring, group: number, entries: number): ArrayBuffer {
    const length = entries * abi.IO_URING_BUF.size;
    const mapping = shim.map(length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS_POPULATE, -1, 0);
    if (typeof mapping === 'number') throw new KernelError('mmap', mapping, { object: 'buffer ring' });
    const registration = new DataView(new ArrayBuffer(128));
    registration.setBigUint64(abi.IO_URING_BUF_REG.ring_addr, BigInt(addressOf(mapping)), true);
    registration.setUint32(abi.IO_URING_BUF_REG.ring_entries, entries, true);
    registration.setUint16(abi.IO_URING_BUF_REG.bgid, group, true);
    const result = call(
      SYS.io_uring_register,
      ring.descriptor,
      abi.IORING_REGISTER_PBUF_RING,
      addressOf(registration),
      1,
    );
    if (result < 0) throw new KernelError('io_uring_register', result, { object: 'provided buffer ring' });
    return mapping;
  }

  /** Fills the group with blocks of the arena. */
  fill(arena: Arena, count: number): void {
    for (let index = 0; index < count; index++) {
      const offset = arena.take();
      if (offset < 0) break;
      this.give(offset / arena.blockSize);
    }
    this.publish();
  }

  /** Hands buffer `id` to the kernel; seen after {@link BufferGroup.publish}. */
  give(id: number): void {
    const address = this.#base + id * this.#size;
    this.available++;
    if (this.#mapping === null) {
      // fd is the number of buffers, off the first id (io_provide_buffers_prep).
      const word = this.#ring.push(abi.IORING_OP_PROVIDE_BUFFERS, 1, id, address, this.#size, 0, 0, 0);
      this.#ring.entries[word + abi.IO_URING_SQE.buf_group / 4] = this.group;
      return;
    }
    const word = (this.#tail & this.#mask) * WORDS;
    const words = this.#words;
    words[word] = (address % 4294967296) | 0;
    words[word + 1] = (address / 4294967296) | 0;
    words[word + 2] = this.#size;
    this.#halves[word * 2 + abi.IO_URING_BUF.bid / 2] = id;
    this.#tail = (this.#tail + 1) & 0xffff;
  }

  /** Makes given buffers visible. The kernel looks only while this thread is inside it, so a plain store is ordered. */
  publish(): void {
    if (this.#mapping === null || this.#published === this.#tail) return;
    this.#published = this.#tail;
    this.#halves[abi.IO_URING_BUF.resv / 2] = this.#tail;
  }

  dispose(): void {
    if (this.#mapping !== null) shim.unmap(this.#mapping);
  }
}
