/**
 * Room `bpf`: maps with keys for the VM: arrays, hashes, their per-CPU and LRU forms, the longest-prefix trie, and the
 * maps whose elements are things of the kernel's (programs, maps, devices, sockets). They hold their values in one
 * block, so that a pointer to a value stays right as long as the map lives, as in the kernel.
 *
 * A newcomer would get wrong: a deleted value's memory is not cleared; a program that still holds its pointer may read
 * on (in the kernel until the end of its RCU section). And an array's elements are always there: they cannot be
 * deleted.
 */
import { BPF_ANY } from '../../kernel/bpf-abi.ts';
import { BPF_F_RDONLY_PROG } from '../../kernel/bpf-attributes.ts';
import { ArrayIndex, HashIndex, type Index, PREFIX_BYTES, SparseIndex, TrieIndex } from './map-index.ts';

/** Elements that are always there, and whose keys are their numbers. */
const arrays = ['array', 'percpu_array', 'struct_ops'] as const;
/** Elements that may be missing, and whose keys are numbers. */
const sparse = [
  'prog_array',
  'perf_event_array',
  'cgroup_array',
  'array_of_maps',
  'devmap',
  'cpumap',
  'xskmap',
  'sockmap',
  'reuseport_sockarray',
] as const;
const hashes = [
  'hash',
  'percpu_hash',
  'lru_hash',
  'lru_percpu_hash',
  'hash_of_maps',
  'devmap_hash',
  'sockhash',
  'stack_trace',
] as const;

export type VmMapType = (typeof arrays)[number] | (typeof sparse)[number] | (typeof hashes)[number] | 'lpm_trie';

const isIn = (list: readonly string[], type: string): boolean => list.includes(type);

/** Whether maps of this type have keys and are a {@link VmMap}. */
export function isKeyed(type: string): type is VmMapType {
  return type === 'lpm_trie' || isIn(arrays, type) || isIn(sparse, type) || isIn(hashes, type);
}

/** What a map shall be. Sizes in bytes. */
export interface VmMapSpec {
  readonly type: VmMapType;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** BPF_F_*; those that say who may write count. */
  readonly flags?: number;
  /** CPUs of the per-CPU forms; 2 unless told. */
  readonly cpus?: number;
  readonly name?: string;
}

function indexOf({ type, keySize, maxEntries }: VmMapSpec): Index {
  if (type === 'lpm_trie') return new TrieIndex(maxEntries, keySize);
  if (isIn(arrays, type)) return new ArrayIndex(maxEntries);
  if (isIn(sparse, type)) return new SparseIndex(maxEntries);
  return new HashIndex(maxEntries, keySize, type.startsWith('lru'));
}

function checkSpec({ type, keySize, valueSize, maxEntries }: VmMapSpec): void {
  for (const [label, value] of Object.entries({ keySize, valueSize, maxEntries })) {
    if (!Number.isInteger(value) || value < 1)
      throw new RangeError(`${label} is ${value}: an integer from 1 is allowed`);
  }
  if ((isIn(arrays, type) || isIn(sparse, type)) && keySize !== 4)
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
  /** Things that elements stand for, by slot. */
  readonly #references: unknown[] = [];

  /** @throws RangeError for sizes that no map has */
  constructor(spec: VmMapSpec) {
    checkSpec(spec);
    this.spec = spec;
    this.cpus = spec.type.includes('percpu') ? (spec.cpus ?? 2) : 1;
    this.#index = indexOf(spec);
    this.#values = new Uint8Array(spec.maxEntries * this.cpus * spec.valueSize);
  }

  /** Whether programs may write values. */
  get writable(): boolean {
    return ((this.spec.flags ?? 0) & BPF_F_RDONLY_PROG) === 0;
  }

  /** The number of the value that a CPU sees under a key `at` bytes into `bytes`, or -1. Values are numbered over all CPUs. */
  findValue(bytes: Uint8Array, cpu: number, at = 0): number {
    const slot = this.#index.find(bytes, at);
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
    return this.setAt(this.#checked(key), 0, value, 0, flags, cpu);
  }

  /** The same of a key and a value that lie somewhere in memory. */
  setAt(key: Uint8Array, keyAt: number, value: Uint8Array, valueAt: number, flags: number, cpu: number): number {
    const isNew = this.cpus > 1 && this.#index.find(key, keyAt) === -1;
    const slot = this.#index.insert(key, keyAt, flags);
    if (slot < 0) return slot;
    const { valueSize } = this.spec;
    const first = slot * this.cpus * valueSize;
    if (isNew) this.#values.fill(0, first, first + this.cpus * valueSize);
    const target = first + (this.cpus === 1 ? 0 : cpu * valueSize);
    for (let index = 0; index < valueSize; index++) this.#values[target + index] = value[valueAt + index];
    return 0;
  }

  /** Removes a key: 0 or -errno (-ENOENT; -EINVAL for arrays). */
  delete(key: Uint8Array): number {
    return this.deleteAt(this.#checked(key), 0);
  }

  deleteAt(key: Uint8Array, at: number): number {
    const slot = this.#index.remove(key, at);
    if (slot < 0) return slot;
    this.#references[slot] = undefined;
    return 0;
  }

  /** Lets a key stand for a thing: a program, a map, a socket. 0 or -errno. */
  setReference(key: Uint8Array, reference: unknown): number {
    const slot = this.#index.insert(this.#checked(key), 0, BPF_ANY);
    if (slot < 0) return slot;
    this.#references[slot] = reference;
    return 0;
  }

  /** What a key stands for; undefined where it is not there. */
  reference(bytes: Uint8Array, at = 0): unknown {
    const slot = this.#index.find(bytes, at);
    return slot === -1 ? undefined : this.#references[slot];
  }

  /** Every key, in no order that a program may rely on. */
  keys(): Uint8Array[] {
    return this.#index.slots().map((slot) => this.#index.key(slot));
  }

  /** Numbers of the values of one CPU, with their keys. */
  entries(cpu: number): { readonly key: Uint8Array; readonly number: number }[] {
    const offset = this.cpus === 1 ? 0 : cpu;
    return this.#index.slots().map((slot) => ({ key: this.#index.key(slot), number: slot * this.cpus + offset }));
  }

  #checked(key: Uint8Array): Uint8Array {
    if (key.length === this.spec.keySize) return key;
    throw new RangeError(`the key has ${key.length} bytes, the map's have ${this.spec.keySize}`);
  }
}
