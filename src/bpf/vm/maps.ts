/**
 * Room `bpf`: maps for the VM: hash, array, their per-CPU forms, and the longest-prefix trie. They hold their values in one
 * block, so that a pointer to a value stays right as long as the map lives, as in the kernel.
 *
 * A newcomer would get wrong: a deleted value's memory is not cleared; a program that still holds its pointer may read on (in the
 * kernel until the end of its RCU section). And an array's elements are always there: they cannot be deleted.
 */
import { BPF_ANY, BPF_EXIST, BPF_NOEXIST } from '../../kernel/bpf-abi.ts';
import { ERRNO } from '../../kernel/errno.ts';

export type VmMapType = 'hash' | 'array' | 'percpu_hash' | 'percpu_array' | 'lpm_trie';

/** What a map shall be. Sizes in bytes. */
export interface VmMapSpec {
  readonly type: VmMapType;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** CPUs of the per-CPU forms; 2 unless told. */
  readonly cpus?: number;
  readonly name?: string;
}

/** Bytes before the data of an LPM trie's key: the prefix's length in bits (struct bpf_lpm_trie_key). */
const PREFIX_BYTES = 4;

/** Finds the slot of a key. Slots are numbers from 0 to maxEntries - 1. */
interface Index {
  find(key: Uint8Array): number;
  /** The slot that `key` has or gets, or -errno. */
  insert(key: Uint8Array, flags: number): number;
  remove(key: Uint8Array): number;
  keys(): Uint8Array[];
}

function checkFlags(isThere: boolean, flags: number): number {
  if (flags > BPF_EXIST || flags < BPF_ANY) return -ERRNO.EINVAL;
  if (isThere && flags === BPF_NOEXIST) return -ERRNO.EEXIST;
  return !isThere && flags === BPF_EXIST ? -ERRNO.ENOENT : 0;
}

class ArrayIndex implements Index {
  readonly #entries: number;

  constructor(entries: number) {
    this.#entries = entries;
  }

  find(key: Uint8Array): number {
    const index = new DataView(key.buffer, key.byteOffset, key.byteLength).getUint32(0, true);
    return index < this.#entries ? index : -1;
  }

  insert(key: Uint8Array, flags: number): number {
    // kernel/bpf/arraymap.c looks at the flags, then at the index; and every element exists already.
    const slot = this.find(key);
    if (flags > BPF_EXIST) return -ERRNO.EINVAL;
    return slot === -1 ? -ERRNO.E2BIG : checkFlags(true, flags) || slot;
  }

  remove(): number {
    return -ERRNO.EINVAL;
  }

  keys(): Uint8Array[] {
    return Array.from({ length: this.#entries }, (_, index) => new Uint8Array(new Uint32Array([index]).buffer));
  }
}

/** Keys as text of one character a byte: the VM is for tests, where a JavaScript Map is fast enough and surely right. */
const textOf = (key: Uint8Array): string => Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');

class HashIndex implements Index {
  readonly #slots = new Map<string, number>();
  readonly #free: number[];

  constructor(entries: number) {
    this.#free = Array.from({ length: entries }, (_, index) => entries - 1 - index);
  }

  find(key: Uint8Array): number {
    return this.#slots.get(textOf(key)) ?? -1;
  }

  insert(key: Uint8Array, flags: number): number {
    const old = this.find(key);
    const refused = checkFlags(old !== -1, flags);
    if (refused !== 0) return refused;
    if (old !== -1) return old;
    const slot = this.#free.pop();
    if (slot === undefined) return -ERRNO.E2BIG;
    this.#slots.set(textOf(key), slot);
    return slot;
  }

  remove(key: Uint8Array): number {
    const slot = this.find(key);
    if (slot === -1) return -ERRNO.ENOENT;
    this.#slots.delete(textOf(key));
    this.#free.push(slot);
    return 0;
  }

  keys(): Uint8Array[] {
    return [...this.#slots.keys()].map((text) => new Uint8Array(Buffer.from(text, 'latin1')));
  }
}

/** A hash of whole prefixes, asked from the longest to the shortest. */
class TrieIndex implements Index {
  readonly #prefixes: HashIndex;
  readonly #bits: number;

  constructor(entries: number, dataBytes: number) {
    this.#prefixes = new HashIndex(entries);
    this.#bits = dataBytes * 8;
  }

  /** The key with its bits after the prefix cleared, or null where the prefix is longer than the data. */
  #normal(key: Uint8Array, bits: number): Uint8Array | null {
    if (bits > this.#bits) return null;
    const normal = key.slice();
    new DataView(normal.buffer).setUint32(0, bits, true);
    for (let bit = bits; bit < this.#bits; bit++) normal[PREFIX_BYTES + (bit >> 3)] &= ~(0x80 >> (bit & 7));
    return normal;
  }

  #length(key: Uint8Array): number {
    return new DataView(key.buffer, key.byteOffset, key.byteLength).getUint32(0, true);
  }

  find(key: Uint8Array): number {
    const longest = this.#length(key);
    if (longest > this.#bits) return -1;
    for (let bits = longest; bits >= 0; bits--) {
      const slot = this.#prefixes.find(this.#normal(key, bits)!);
      if (slot !== -1) return slot;
    }
    return -1;
  }

  insert(key: Uint8Array, flags: number): number {
    const normal = this.#normal(key, this.#length(key));
    if (normal === null) return -ERRNO.EINVAL;
    const slot = this.#prefixes.insert(normal, flags);
    // kernel/bpf/lpm_trie.c answers ENOSPC where a hash answers E2BIG.
    return slot === -ERRNO.E2BIG ? -ERRNO.ENOSPC : slot;
  }

  remove(key: Uint8Array): number {
    const normal = this.#normal(key, this.#length(key));
    return normal === null ? -ERRNO.EINVAL : this.#prefixes.remove(normal);
  }

  keys(): Uint8Array[] {
    return this.#prefixes.keys();
  }
}

function indexOf({ type, keySize, maxEntries }: VmMapSpec): Index {
  if (type === 'array' || type === 'percpu_array') return new ArrayIndex(maxEntries);
  return type === 'lpm_trie' ? new TrieIndex(maxEntries, keySize - PREFIX_BYTES) : new HashIndex(maxEntries);
}

function checkSpec({ type, keySize, valueSize, maxEntries }: VmMapSpec): void {
  for (const [label, value] of Object.entries({ keySize, valueSize, maxEntries })) {
    if (!Number.isInteger(value) || value < 1)
      throw new RangeError(`${label} is ${value}: an integer from 1 is allowed`);
  }
  if (type.endsWith('array') && keySize !== 4)
    throw new RangeError(`keySize is ${keySize}: an array's keys have 4 bytes`);
  if (type === 'lpm_trie' && keySize <= PREFIX_BYTES) {
    throw new RangeError(`keySize is ${keySize}: 4 bytes of prefix length and at least 1 of data are needed`);
  }
}

/** A map of the VM. Keys and values are bytes, as the program sees them. */
export class VmMap {
  readonly spec: VmMapSpec;
  readonly cpus: number;
  readonly #index: Index;
  readonly #values: Uint8Array;

  /** @throws RangeError for sizes that no map has */
  constructor(spec: VmMapSpec) {
    checkSpec(spec);
    this.spec = spec;
    this.cpus = spec.type.startsWith('percpu') ? (spec.cpus ?? 2) : 1;
    this.#index = indexOf(spec);
    this.#values = new Uint8Array(spec.maxEntries * this.cpus * spec.valueSize);
  }

  /** The number of the value that a CPU sees under a key, or -1. Values are numbered over all CPUs. */
  findValue(key: Uint8Array, cpu: number): number {
    const slot = this.#index.find(key);
    return slot === -1 ? -1 : slot * this.cpus + (this.cpus === 1 ? 0 : cpu);
  }

  /** The memory of a value by its number. It stays the value's as long as the key is there. */
  valueBytes(number: number): Uint8Array {
    const { valueSize } = this.spec;
    return this.#values.subarray(number * valueSize, (number + 1) * valueSize);
  }

  /** A copy of the value under a key, or null. In a trie: of the longest prefix that matches. */
  get(key: Uint8Array, cpu = 0): Uint8Array | null {
    const number = this.findValue(this.#checked(key), cpu);
    return number === -1 ? null : this.valueBytes(number).slice();
  }

  /** Sets a value: 0, or the kernel's -errno (-E2BIG: full). `cpu` is whose value; a new key's others are 0. */
  set(key: Uint8Array, value: Uint8Array, flags: number = BPF_ANY, cpu = 0): number {
    if (value.length !== this.spec.valueSize) {
      throw new RangeError(`the value has ${value.length} bytes, the map's have ${this.spec.valueSize}`);
    }
    const isNew = this.#index.find(this.#checked(key)) === -1;
    const slot = this.#index.insert(key, flags);
    if (slot < 0) return slot;
    const first = slot * this.cpus;
    if (isNew) for (let other = 0; other < this.cpus; other++) this.valueBytes(first + other).fill(0);
    this.valueBytes(first + (this.cpus === 1 ? 0 : cpu)).set(value);
    return 0;
  }

  /** Removes a key: 0 or -errno (-ENOENT; -EINVAL for arrays). */
  delete(key: Uint8Array): number {
    return this.#index.remove(this.#checked(key));
  }

  /** Every key, in no order that a program may rely on. */
  keys(): Uint8Array[] {
    return this.#index.keys();
  }

  #checked(key: Uint8Array): Uint8Array {
    if (key.length === this.spec.keySize) return key;
    throw new RangeError(`the key has ${key.length} bytes, the map's have ${this.spec.keySize}`);
  }
}
