/**
 * Room `bpf`: maps without keys for the VM: queues, stacks, bloom filters, and the buffers by which programs send to
 * user space.
 *
 * A newcomer would get wrong: a buffer's records do not wait in it for a reader to ask the kernel. They are given to
 * the test at once, or kept until it drains them; its size only bounds how many bytes may wait.
 */
import { BPF_ANY, BPF_EXIST } from '../../kernel/bpf-abi.ts';
import { BPF_RINGBUF_HDR_SZ } from '../../kernel/bpf-attributes.ts';
import { ERRNO } from '../../kernel/errno.ts';

/** What a map without keys shall be. */
export interface BufferSpec {
  readonly type: string;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly name?: string;
}

/** Values that are taken out in the order in which they came (queue), or in the opposite (stack). */
export class VmQueue {
  readonly spec: BufferSpec;
  readonly #values: Uint8Array[] = [];

  constructor(spec: BufferSpec) {
    this.spec = spec;
  }

  get length(): number {
    return this.#values.length;
  }

  /** 0 or -errno: -E2BIG when full, unless BPF_EXIST says that the oldest makes room. */
  push(value: Uint8Array, flags: number): number {
    // kernel/bpf/queue_stack_maps.c: BPF_NOEXIST makes no sense here.
    if (flags !== BPF_ANY && flags !== BPF_EXIST) return -ERRNO.EINVAL;
    if (this.#values.length === this.spec.maxEntries) {
      if (flags !== BPF_EXIST) return -ERRNO.E2BIG;
      this.#values.shift();
    }
    this.#values.push(new Uint8Array(value));
    return 0;
  }

  peek(): Uint8Array | null {
    return this.#values.at(this.spec.type === 'stack' ? -1 : 0) ?? null;
  }

  pop(): Uint8Array | null {
    return (this.spec.type === 'stack' ? this.#values.pop() : this.#values.shift()) ?? null;
  }
}

/** A set that may say yes wrongly in the kernel. This one never does: a test shall not depend on a hash. */
export class VmBloomFilter {
  readonly spec: BufferSpec;
  readonly #values = new Set<string>();

  constructor(spec: BufferSpec) {
    this.spec = spec;
  }

  push(value: Uint8Array, flags: number): number {
    if (flags !== BPF_ANY) return -ERRNO.EINVAL;
    this.#values.add(Buffer.from(value).toString('latin1'));
    return 0;
  }

  has(value: Uint8Array): boolean {
    return this.#values.has(Buffer.from(value).toString('latin1'));
  }
}

/** Records of any size for user space: a ring buffer, or a perf event array, of which `maxEntries` are not bytes. */
export class VmRingBuffer {
  readonly spec: BufferSpec;
  readonly #records: Uint8Array[] = [];
  #bytes = 0;
  #listener: ((record: Uint8Array) => void) | null = null;

  constructor(spec: BufferSpec) {
    this.spec = spec;
  }

  /** Bytes that wait, with a header for each record, as in the kernel. */
  get waitingBytes(): number {
    return this.#bytes;
  }

  /** Takes each record when it comes; those that wait first. Without a listener they wait. */
  listen(listener: (record: Uint8Array) => void): void {
    for (const record of this.drain()) listener(record);
    this.#listener = listener;
  }

  /** The records that wait, which then do not any more. */
  drain(): Uint8Array[] {
    this.#bytes = 0;
    return this.#records.splice(0);
  }

  /** Whether a record of this size would fit now. */
  fits(size: number): boolean {
    if (this.spec.type !== 'ringbuf') return true;
    return this.#bytes + roundUp(size) + BPF_RINGBUF_HDR_SZ <= this.spec.maxEntries;
  }

  /** Counts room for a record that is written later. */
  reserve(size: number): void {
    this.#bytes += roundUp(size) + BPF_RINGBUF_HDR_SZ;
  }

  /** Gives room back that {@link reserve} took. */
  release(size: number): void {
    this.#bytes -= roundUp(size) + BPF_RINGBUF_HDR_SZ;
  }

  /** Adds a record for which there is room. */
  put(record: Uint8Array): void {
    if (this.#listener !== null) {
      this.#listener(new Uint8Array(record));
      return;
    }
    this.reserve(record.length);
    this.#records.push(new Uint8Array(record));
  }
}

function roundUp(size: number): number {
  return Math.ceil(size / 8) * 8;
}

/** Values that belong to things (sockets, tasks, inodes, cgroups) and go with them. */
export class VmStorage {
  readonly spec: BufferSpec;
  readonly #numbers = new Map<object, number>();
  readonly #values: Uint8Array[] = [];

  constructor(spec: BufferSpec) {
    this.spec = spec;
  }

  /** Whose values there are. */
  owners(): object[] {
    return [...this.#numbers.keys()];
  }

  /** The number of the owner's value, or -1. */
  find(owner: object): number {
    return this.#numbers.get(owner) ?? -1;
  }

  /** The number of the owner's value, which is made of `initial` bytes, or of zeroes, where there is none. */
  create(owner: object, initial: Uint8Array | null): number {
    const known = this.#numbers.get(owner);
    if (known !== undefined) return known;
    const value = new Uint8Array(this.spec.valueSize);
    if (initial !== null) value.set(initial);
    this.#numbers.set(owner, this.#values.length);
    this.#values.push(value);
    return this.#values.length - 1;
  }

  /** 0 or -ENOENT. */
  delete(owner: object): number {
    return this.#numbers.delete(owner) ? 0 : -ERRNO.ENOENT;
  }

  /** The memory of a value by its number. */
  valueBytes(number: number): Uint8Array {
    return this.#values[number];
  }
}

/** Maps without keys. */
export type VmBuffer = VmQueue | VmBloomFilter | VmRingBuffer | VmStorage;
