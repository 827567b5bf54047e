/**
 * Room `engine`: the memory that receives and sends happen in. One mapping cut into equal blocks, with a stack of free ones:
 * the block given back last is taken first, because its lines are still in the cache.
 *
 * A newcomer would get wrong: an empty stack is a normal state. `take` answers -1 and somebody waits for `release`.
 */
import { KernelError } from '../kernel/error.ts';
import { shim } from '../kernel/native.ts';
import { addressOf } from '../kernel/syscall.ts';

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;

export interface ArenaOptions {
  /** Bytes of a block, a power of two from 1,024 to 65,536. Default 16,384. */
  readonly blockSize?: number;
  /** How many blocks, 8 to 65,536. Default 4,096 (64 MB of address space; only touched pages cost memory). */
  readonly blocks?: number;
  /** How many blocks for whole datagrams lie behind them. Default 32. */
  readonly messageBlocks?: number;
}

/** Bytes of a message block: the largest UDP payload or GRO train (65,535) and before it name, control data and header. */
export const MESSAGE_BLOCK_SIZE = 66560;

export class Arena {
  readonly blockSize: number;
  readonly blocks: number;
  readonly messageBlocks: number;
  /** Offset of the first message block. */
  readonly messageStart: number;
  readonly buffer: ArrayBuffer;
  readonly memory: Uint8Array;
  readonly address: number;
  readonly #free: Int32Array;
  #count: number;

  constructor(options: ArenaOptions = {}) {
    const blockSize = options.blockSize ?? 16384;
    const blocks = options.blocks ?? 4096;
    if (!Number.isInteger(Math.log2(blockSize)) || blockSize < 1024 || blockSize > 65536) {
      throw new RangeError(`blockSize is ${blockSize}: a power of two from 1024 to 65536 is allowed`);
    }
    if (!Number.isInteger(blocks) || blocks < 8 || blocks > 65536) {
      throw new RangeError(`blocks is ${blocks}: 8 to 65536 are allowed`);
    }
    const messageBlocks = options.messageBlocks ?? 32;
    const sizeBytes = blockSize * blocks + MESSAGE_BLOCK_SIZE * messageBlocks;
    const buffer = shim.map(sizeBytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
    if (typeof buffer === 'number')
      throw new KernelError('mmap', buffer, { object: `${blocks} blocks of ${blockSize} bytes` });
    this.blockSize = blockSize;
    this.blocks = blocks;
    this.messageBlocks = messageBlocks;
    this.messageStart = blockSize * blocks;
    this.buffer = buffer;
    this.memory = new Uint8Array(buffer);
    this.address = addressOf(buffer);
    this.#free = new Int32Array(blocks);
    for (let index = 0; index < blocks; index++) this.#free[index] = (blocks - 1 - index) * blockSize;
    this.#count = blocks;
  }

  get free(): number {
    return this.#count;
  }

  /** The offset of a free block, or -1. */
  take(): number {
    return this.#count === 0 ? -1 : this.#free[--this.#count];
  }

  /** Gives the block back that holds `offset`. Giving one back twice corrupts two connections, so tests count blocks. */
  release(offset: number): void {
    this.#free[this.#count++] = offset & -this.blockSize;
  }

  dispose(): void {
    shim.unmap(this.buffer);
  }
}
