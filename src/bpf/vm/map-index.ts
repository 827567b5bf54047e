/**
 * Room `bpf`: how the VM's maps find the slot of a key: by number, by hash, by the longest prefix. Slots are numbers
 * from 0 to maxEntries - 1; the map keeps a value for each.
 *
 * A newcomer would get wrong: keys are read where they lie, `at` bytes into some memory, so that a look-up by a program
 * allocates nothing.
 */
import { BPF_ANY, BPF_EXIST, BPF_NOEXIST } from '../../kernel/bpf-abi.ts';
import { ERRNO } from '../../kernel/errno.ts';

/** Bytes before the data of an LPM trie's key: the prefix's length in bits (struct bpf_lpm_trie_key). */
export const PREFIX_BYTES = 4;

/** Finds the slot of a key. */
export interface Index {
  /** The key's slot or -1. */
  find(bytes: Uint8Array, at: number): number;
  /** The slot that the key has or gets, or -errno. */
  insert(bytes: Uint8Array, at: number, flags: number): number;
  /** The slot that the key had, or -errno. */
  remove(bytes: Uint8Array, at: number): number;
  /** The slots that are taken. */
  slots(): number[];
  /** A copy of the key of a slot that is taken. */
  key(slot: number): Uint8Array;
}

function checkFlags(isThere: boolean, flags: number): number {
  if (flags > BPF_EXIST || flags < BPF_ANY) return -ERRNO.EINVAL;
  if (isThere && flags === BPF_NOEXIST) return -ERRNO.EEXIST;
  return !isThere && flags === BPF_EXIST ? -ERRNO.ENOENT : 0;
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}

/** Keys are the slots' numbers; all are always there. */
export class ArrayIndex implements Index {
  readonly #entries: number;

  constructor(entries: number) {
    this.#entries = entries;
  }

  find(bytes: Uint8Array, at: number): number {
    const index = word(bytes, at);
    return index < this.#entries ? index : -1;
  }

  insert(bytes: Uint8Array, at: number, flags: number): number {
    // kernel/bpf/arraymap.c looks at the flags, then at the index; and every element exists already.
    const slot = this.find(bytes, at);
    if (flags > BPF_EXIST) return -ERRNO.EINVAL;
    return slot === -1 ? -ERRNO.E2BIG : checkFlags(true, flags) || slot;
  }

  remove(): number {
    return -ERRNO.EINVAL;
  }

  slots(): number[] {
    return Array.from({ length: this.#entries }, (_, index) => index);
  }

  key(slot: number): Uint8Array {
    return new Uint8Array(Uint32Array.of(slot).buffer);
  }
}

const NONE = -1;

/** A hash table with chains. With `isLru`, the key that was used longest ago makes room for a new one. */
export class HashIndex implements Index {
  readonly #keyBytes: number;
  readonly #keys: Uint8Array;
  readonly #buckets: Int32Array;
  readonly #next: Int32Array;
  readonly #free: number[];
  /** Slots from the one used last to the one used longest ago; empty unless `isLru`, as insertion order is a Set's. */
  readonly #used: Set<number> | null;

  constructor(entries: number, keyBytes: number, isLru = false) {
    this.#keyBytes = keyBytes;
    this.#keys = new Uint8Array(entries * keyBytes);
    this.#buckets = new Int32Array(2 ** Math.ceil(Math.log2(entries + 1))).fill(NONE);
    this.#next = new Int32Array(entries).fill(NONE);
    this.#free = Array.from({ length: entries }, (_, index) => entries - 1 - index);
    this.#used = isLru ? new Set() : null;
  }

  /** FNV-1a. */
  #bucket(bytes: Uint8Array, at: number): number {
    let hash = 0x811c9dc5;
    for (let index = at; index < at + this.#keyBytes; index++) hash = Math.imul(hash ^ bytes[index], 0x01000193);
    return (hash ^ (hash >>> 15)) & (this.#buckets.length - 1);
  }

  #isKey(slot: number, bytes: Uint8Array, at: number): boolean {
    const base = slot * this.#keyBytes;
    for (let index = 0; index < this.#keyBytes; index++) {
      if (this.#keys[base + index] !== bytes[at + index]) return false;
    }
    return true;
  }

  #touch(slot: number): void {
    if (this.#used === null) return;
    this.#used.delete(slot);
    this.#used.add(slot);
  }

  find(bytes: Uint8Array, at: number): number {
    let slot = this.#buckets[this.#bucket(bytes, at)];
    while (slot !== NONE && !this.#isKey(slot, bytes, at)) slot = this.#next[slot];
    if (slot !== NONE) this.#touch(slot);
    return slot;
  }

  insert(bytes: Uint8Array, at: number, flags: number): number {
    const old = this.find(bytes, at);
    const refused = checkFlags(old !== NONE, flags);
    if (refused !== 0) return refused;
    if (old !== NONE) return old;
    if (this.#free.length === 0 && this.#used !== null) {
      const [oldest] = this.#used;
      this.remove(this.#keys, oldest * this.#keyBytes);
    }
    const slot = this.#free.pop();
    if (slot === undefined) return -ERRNO.E2BIG;
    const base = slot * this.#keyBytes;
    for (let index = 0; index < this.#keyBytes; index++) this.#keys[base + index] = bytes[at + index];
    const bucket = this.#bucket(bytes, at);
    this.#next[slot] = this.#buckets[bucket];
    this.#buckets[bucket] = slot;
    this.#touch(slot);
    return slot;
  }

  remove(bytes: Uint8Array, at: number): number {
    const bucket = this.#bucket(bytes, at);
    let before = NONE;
    let slot = this.#buckets[bucket];
    while (slot !== NONE && !this.#isKey(slot, bytes, at)) {
      before = slot;
      slot = this.#next[slot];
    }
    if (slot === NONE) return -ERRNO.ENOENT;
    if (before === NONE) this.#buckets[bucket] = this.#next[slot];
    else this.#next[before] = this.#next[slot];
    this.#free.push(slot);
    this.#used?.delete(slot);
    return slot;
  }

  slots(): number[] {
    const slots: number[] = [];
    for (let slot of this.#buckets) for (; slot !== NONE; slot = this.#next[slot]) slots.push(slot);
    return slots;
  }

  key(slot: number): Uint8Array {
    return this.#keys.slice(slot * this.#keyBytes, (slot + 1) * this.#keyBytes);
  }
}

/** An array of which each element may be missing, as maps of sockets, devices and programs. */
export class SparseIndex extends HashIndex {
  readonly #entries: number;

  constructor(entries: number) {
    super(entries, 4);
    this.#entries = entries;
  }

  override insert(bytes: Uint8Array, at: number, flags: number): number {
    return word(bytes, at) < this.#entries ? super.insert(bytes, at, flags) : -ERRNO.E2BIG;
  }
}

/** A hash of whole prefixes, asked from the longest to the shortest that there is. */
export class TrieIndex implements Index {
  readonly #prefixes: HashIndex;
  readonly #bits: number;
  /** How many prefixes there are of each length. */
  readonly #lengths: Int32Array;
  readonly #normal: Uint8Array;

  constructor(entries: number, keyBytes: number) {
    this.#prefixes = new HashIndex(entries, keyBytes);
    this.#bits = (keyBytes - PREFIX_BYTES) * 8;
    this.#lengths = new Int32Array(this.#bits + 1);
    this.#normal = new Uint8Array(keyBytes);
  }

  /** Makes `#normal` the key with its bits after the prefix cleared. False where the prefix is longer than the data. */
  #normalize(bytes: Uint8Array, at: number, bits: number): boolean {
    if (bits > this.#bits) return false;
    const normal = this.#normal;
    for (let index = 0; index < PREFIX_BYTES; index++) normal[index] = bits >>> (8 * index);
    for (let index = PREFIX_BYTES; index < normal.length; index++) {
      const left = bits - (index - PREFIX_BYTES) * 8;
      normal[index] = left <= 0 ? 0 : bytes[at + index] & (left >= 8 ? 0xff : 0xff00 >> left);
    }
    return true;
  }

  find(bytes: Uint8Array, at: number): number {
    const longest = word(bytes, at);
    if (longest > this.#bits) return NONE;
    for (let bits = longest; bits >= 0; bits--) {
      if (this.#lengths[bits] === 0) continue;
      this.#normalize(bytes, at, bits);
      const slot = this.#prefixes.find(this.#normal, 0);
      if (slot !== NONE) return slot;
    }
    return NONE;
  }

  insert(bytes: Uint8Array, at: number, flags: number): number {
    const bits = word(bytes, at);
    if (!this.#normalize(bytes, at, bits)) return -ERRNO.EINVAL;
    const isNew = this.#prefixes.find(this.#normal, 0) === NONE;
    const slot = this.#prefixes.insert(this.#normal, 0, flags);
    // kernel/bpf/lpm_trie.c answers ENOSPC where a hash answers E2BIG.
    if (slot === -ERRNO.E2BIG) return -ERRNO.ENOSPC;
    if (slot >= 0 && isNew) this.#lengths[bits]++;
    return slot;
  }

  remove(bytes: Uint8Array, at: number): number {
    const bits = word(bytes, at);
    if (!this.#normalize(bytes, at, bits)) return -ERRNO.EINVAL;
    const slot = this.#prefixes.remove(this.#normal, 0);
    if (slot >= 0) this.#lengths[bits]--;
    return slot;
  }

  slots(): number[] {
    return this.#prefixes.slots();
  }

  key(slot: number): Uint8Array {
    return this.#prefixes.key(slot);
  }
}
