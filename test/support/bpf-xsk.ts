/**
 * Test support for the room `bpf`: an AF_XDP socket that receives, with plain system calls (Documentation/networking/af_xdp.rst): what an
 * xskMap holds.
 *
 * A newcomer would get wrong: the kernel only writes to frames that the fill ring offers. Nothing arrives before it is filled, however many
 * packets a program redirects.
 */

import * as constants from '../../src/kernel/constants.ts';
import { check, KernelError } from '../../src/kernel/error.ts';
import { shim } from '../../src/kernel/native.ts';
import { closeDescriptor, getsockopt, setsockopt, socket } from '../../src/kernel/socket.ts';
import { AF_XDP } from '../../src/kernel/socket-constants.ts';
import { addressOf, call, SYS } from '../../src/kernel/syscall.ts';

// include/uapi/linux/if_xdp.h
const SOL_XDP = 283;
const XDP_MMAP_OFFSETS = 1;
const XDP_RX_RING = 2;
const XDP_UMEM_REG = 4;
const XDP_UMEM_FILL_RING = 5;
const XDP_UMEM_COMPLETION_RING = 6;
const XDP_UMEM_PGOFF_FILL_RING = 0x1_0000_0000;
const XDP_COPY = 2;
const MAP_ANONYMOUS = 0x20;
const MAP_PRIVATE = 2;

const FRAME_BYTES = 2048;
const FRAMES = 8;
/** A descriptor of a received frame: address, length, options. */
const DESCRIPTOR_BYTES = 16;

/** Where a ring's parts lie in its mapping (struct xdp_ring_offset). */
interface Ring {
  readonly producer: number;
  readonly consumer: number;
  readonly entries: number;
}

function mapped(bytes: number, flags: number, descriptor: number, offset: number): ArrayBuffer {
  const protection = constants.PROT_READ | constants.PROT_WRITE;
  const buffer = shim.map(bytes, protection, flags, descriptor, offset);
  if (typeof buffer !== 'number') return buffer;
  throw new KernelError('mmap', buffer);
}

/** A receiving AF_XDP socket. */
export class XskSocket implements Disposable {
  readonly descriptor: number;
  readonly #frames: ArrayBuffer;
  readonly #received: ArrayBuffer;
  readonly #offered: ArrayBuffer;
  readonly #ring: Ring;
  readonly #owned: DisposableStack;

  /** Bound to the first queue of an interface of this thread's namespace. */
  constructor(interfaceIndex: number) {
    using stack = new DisposableStack();
    const descriptor = check(socket(AF_XDP, 3 | constants.SOCK_CLOEXEC), 'socket', 'AF_XDP');
    stack.defer(() => closeDescriptor(descriptor));
    this.descriptor = descriptor;
    this.#frames = stack.adopt(mapped(FRAMES * FRAME_BYTES, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), shim.unmap);
    const memory = new BigUint64Array([
      BigInt(addressOf(this.#frames)),
      BigInt(FRAMES * FRAME_BYTES),
      BigInt(FRAME_BYTES),
      0n,
    ]);
    this.#set(XDP_UMEM_REG, new Uint8Array(memory.buffer));
    for (const ring of [XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING]) {
      this.#set(ring, new Uint8Array(Uint32Array.of(FRAMES).buffer));
    }
    const [receive, , fill] = this.#rings();
    this.#ring = receive;
    const size = (ring: Ring, entry: number): number => ring.entries + FRAMES * entry;
    const map = (bytes: number, offset: number): ArrayBuffer =>
      stack.adopt(mapped(bytes, constants.MAP_SHARED, descriptor, offset), shim.unmap);
    this.#received = map(size(receive, DESCRIPTOR_BYTES), 0);
    this.#offered = map(size(fill, 8), XDP_UMEM_PGOFF_FILL_RING);
    const offers = new BigUint64Array(this.#offered, fill.entries, FRAMES);
    for (let frame = 0; frame < FRAMES; frame++) offers[frame] = BigInt(frame * FRAME_BYTES);
    Atomics.store(new Uint32Array(this.#offered, fill.producer, 1), 0, FRAMES);

    const address = Uint32Array.of(AF_XDP | (XDP_COPY << 16), interfaceIndex, 0, 0);
    check(call(SYS.bind, descriptor, addressOf(address), address.byteLength), 'bind', 'AF_XDP');
    this.#owned = stack.move();
  }

  #set(option: number, value: Uint8Array): void {
    check(setsockopt(this.descriptor, SOL_XDP, option, value), 'setsockopt', `AF_XDP option ${option}`);
  }

  /** Where the rings' parts are: receive, send, fill, completion. */
  #rings(): Ring[] {
    const offsets = new BigUint64Array(16);
    check(getsockopt(this.descriptor, SOL_XDP, XDP_MMAP_OFFSETS, new Uint8Array(offsets.buffer)), 'getsockopt');
    return [0, 4, 8, 12].map((at) => {
      const [producer, consumer, entries] = [...offsets.subarray(at, at + 3)].map(Number);
      return { producer, consumer, entries };
    });
  }

  /** The next frame that has arrived, or null. */
  receive(): Uint8Array | null {
    const consumer = new Uint32Array(this.#received, this.#ring.consumer, 1);
    const produced = Atomics.load(new Uint32Array(this.#received, this.#ring.producer, 1), 0);
    if (consumer[0] === produced) return null;
    const at = this.#ring.entries + (consumer[0] % FRAMES) * DESCRIPTOR_BYTES;
    const view = new DataView(this.#received);
    const frame = new Uint8Array(
      this.#frames,
      Number(view.getBigUint64(at, true)),
      view.getUint32(at + 8, true),
    ).slice();
    Atomics.store(consumer, 0, consumer[0] + 1);
    return frame;
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}
