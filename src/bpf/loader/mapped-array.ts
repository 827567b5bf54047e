/**
 * Room `bpf`: the memory of an array map (BPF_F_MMAPABLE) or of a data section, shared with the programs: read and written without a
 * system call.
 *
 * A newcomer would get wrong: a value of several fields that a program writes meanwhile may be read half old and half new. Single
 * integers of up to 8 bytes, aligned, are read and written whole on 64-bit machines.
 */
import { MAP_SHARED, PROT_READ, PROT_WRITE } from '../../kernel/constants.ts';
import { shim } from '../../kernel/native.ts';
import { bpfError } from './bpf.ts';
import type { Codec } from './codec.ts';

const PAGE_BYTES = 4096;

/** Maps `length` bytes of a descriptor, rounded up to pages. `what` is for the error. */
export function mapMemory(
  descriptor: number,
  length: number,
  writable: boolean,
  what: string,
  offset = 0,
): ArrayBuffer {
  const bytes = Math.ceil(length / PAGE_BYTES) * PAGE_BYTES;
  const buffer = shim.map(bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, descriptor, offset);
  if (typeof buffer === 'number') throw bpfError(buffer, `mapping of ${what}`);
  return buffer;
}

/** An array map in shared memory. Its elements lie in steps of a multiple of 8 bytes (array_map_alloc). */
export class MappedArray<Value> implements Disposable {
  readonly length: number;
  /** All of it. Detached when disposed of. */
  readonly view: DataView;
  readonly #codec: Codec<Value>;
  readonly #step: number;

  constructor(descriptor: number, length: number, codec: Codec<Value>, writable = true) {
    this.length = length;
    this.#codec = codec;
    this.#step = Math.ceil(codec.bytes / 8) * 8;
    this.view = new DataView(mapMemory(descriptor, length * this.#step, writable, 'an array map'));
  }

  /** Where an element begins in `view`. @throws RangeError */
  offsetOf(index: number): number {
    if (Number.isInteger(index) && index >= 0 && index < this.length) return index * this.#step;
    throw new RangeError(`index is ${index}: 0 to ${this.length - 1} are allowed`);
  }

  get(index: number): Value {
    return this.#codec.read(this.view, this.offsetOf(index));
  }

  set(index: number, value: Value): void {
    this.#codec.write(this.view, this.offsetOf(index), value);
  }

  [Symbol.dispose](): void {
    const { buffer } = this.view;
    if (buffer.byteLength > 0) shim.unmap(buffer as ArrayBuffer);
  }
}
