/**
 * Room `bpf`: maps in the kernel. A handle takes and gives values by codecs (`codec.ts`): bytes, unless a type is known.
 *
 * A newcomer would get wrong: each operation is a system call, and between two of them programs and other processes change the map.
 * What must be one step is one call here (`take`, `set` with BPF_NOEXIST); what must be fast is mapped (`mapped`) or goes in batches.
 */
import * as abi from '../../kernel/bpf-abi.ts';
import * as attributes from '../../kernel/bpf-attributes.ts';
import { MAP_TYPES, type MapTypeName } from '../../kernel/bpf-names.ts';
import { possibleCpus } from '../../kernel/cpus.ts';
import { ERRNO } from '../../kernel/errno.ts';
import { own } from '../../kernel/native.ts';
import { closeDescriptor } from '../../kernel/socket.ts';
import { addressOf } from '../../kernel/syscall.ts';
import { answer, bpf, bpfElement, bpfError, kernelName, stable } from './bpf.ts';
import { bytesCodec, type Codec, type Holder, holderCodec, perCpuCodec } from './codec.ts';
import { type MapInfo, mapInfo } from './info.ts';
import { batchesOf, type Entries, hasOrderlyBatches, isWithoutBatches, keysOf, type RawMap } from './map-entries.ts';
import { MappedArray } from './mapped-array.ts';
import { pinObject } from './pin.ts';

/** What a map shall be. Sizes in bytes. */
export interface MapSpec {
  readonly type: MapTypeName;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** BPF_F_* of BPF_MAP_CREATE. */
  readonly flags?: number;
  /** The first 15 characters are seen by bpftool. */
  readonly name?: string;
  /** For maps of maps: what kind their entries are. */
  readonly inner?: Holder;
  readonly numaNode?: number;
  /** map_extra: a bloom filter's number of hashes, an arena's address. */
  readonly extra?: bigint;
  /** The BTF that was loaded, with the ids of key and value in it. */
  readonly btf?: { readonly descriptor: number; readonly keyTypeId: number; readonly valueTypeId: number };
  /** For struct_ops: the kernel's struct that is implemented, in vmlinux' BTF or, with its descriptor, a module's. */
  readonly kernelValueTypeId?: number;
}

/** How keys and values of a map are written and read. */
export interface MapCodecs<Key, Value> {
  readonly key: Codec<Key>;
  readonly value: Codec<Value>;
}

const perCpuTypes: ReadonlySet<string> = new Set([
  'percpu_hash',
  'percpu_array',
  'lru_percpu_hash',
  'percpu_cgroup_storage',
]);
/** Maps whose values are kernel objects. */
const holderTypes: ReadonlySet<string> = new Set([
  'prog_array',
  'perf_event_array',
  'cgroup_array',
  'array_of_maps',
  'hash_of_maps',
  'xskmap',
  'sockmap',
  'sockhash',
  'reuseport_sockarray',
]);
/** Trees and storages are never allocated in advance, and the kernel wants to hear it (trie_alloc, bpf_local_storage_map_alloc_check). */
const withoutPreallocation: ReadonlySet<string> = new Set([
  'lpm_trie',
  'sk_storage',
  'inode_storage',
  'task_storage',
  'cgrp_storage',
]);

/** Whether each CPU has values of its own in maps of this type. */
export function isPerCpu(type: string): boolean {
  return perCpuTypes.has(type);
}

/** Whether values of this type of map are handles of programs, maps, sockets, events or cgroups. */
export function holdsObjects(type: string): boolean {
  return holderTypes.has(type);
}

/** A map in the kernel. It lives as long as this handle, a program that uses it, or a pin. */
export class KernelMap<Key = Uint8Array, Value = Uint8Array> implements Disposable {
  /** Its descriptor; -1 once closed. */
  descriptor: number;
  readonly spec: MapSpec;
  readonly codecs: MapCodecs<Key, Value>;
  readonly #key: DataView;
  readonly #value: DataView;
  readonly #keyAddress: number;
  readonly #valueAddress: number;

  constructor(descriptor: number, spec: MapSpec, codecs: MapCodecs<Key, Value>) {
    this.descriptor = descriptor;
    this.spec = spec;
    this.codecs = codecs;
    const key = stable(codecs.key.bytes);
    const value = stable(codecs.value.bytes);
    this.#key = new DataView(key.buffer, 0, key.length);
    this.#value = new DataView(value.buffer, 0, value.length);
    this.#keyAddress = key.length === 0 ? 0 : addressOf(key);
    this.#valueAddress = addressOf(value);
    own(descriptor);
  }

  /**
   * The value under a key, or null. Of an array, an index beyond its end has none.
   * @param flags BPF_F_LOCK for values with a spin lock
   * @throws KernelError: EPERM for a map that user space may not read, EOPNOTSUPP for one without look-up
   */
  get(key: Key, flags = 0): Value | null {
    this.codecs.key.write(this.#key, 0, key);
    return this.#read(abi.BPF_MAP_LOOKUP_ELEM, this.#keyAddress, flags, 'look-up in');
  }

  /**
   * Sets a value. `flags`: BPF_ANY, BPF_NOEXIST or BPF_EXIST, and BPF_F_LOCK.
   * @throws KernelError: E2BIG when full, EEXIST, ENOENT; RangeError or TypeError for what key or value cannot hold
   */
  set(key: Key, value: Value, flags: number = abi.BPF_ANY): void {
    this.codecs.key.write(this.#key, 0, key);
    this.#write(this.#keyAddress, value, flags, 'update of');
  }

  /** Removes a key; false where it is not there. @throws KernelError: EINVAL for arrays */
  delete(key: Key): boolean {
    this.codecs.key.write(this.#key, 0, key);
    const result = bpfElement(abi.BPF_MAP_DELETE_ELEM, this.descriptor, this.#keyAddress, 0, 0);
    if (result < 0 && result !== -ERRNO.ENOENT) throw bpfError(result, `deletion from ${this.label}`);
    return result === 0;
  }

  /** Whether a key is there; for maps whose values user space may read. */
  has(key: Key): boolean {
    return this.get(key) !== null;
  }

  /** Removes a key and gives the value that it had, in one step (hash maps since Linux 5.14); null where it is not there. */
  take(key: Key, flags = 0): Value | null {
    this.codecs.key.write(this.#key, 0, key);
    return this.#read(attributes.BPF_MAP_LOOKUP_AND_DELETE_ELEM, this.#keyAddress, flags, 'removal from');
  }

  /** Queues, stacks and bloom filters: adds a value. `flags`: BPF_EXIST drops the oldest value of a full queue. */
  push(value: Value, flags: number = abi.BPF_ANY): void {
    this.#write(0, value, flags, 'push to');
  }

  /** Queues and stacks: removes the next value and gives it; null where there is none. */
  pop(): Value | null {
    return this.#read(attributes.BPF_MAP_LOOKUP_AND_DELETE_ELEM, 0, 0, 'pop from');
  }

  /** Queues and stacks: the next value, which stays; null where there is none. */
  peek(): Value | null {
    return this.#read(abi.BPF_MAP_LOOKUP_ELEM, 0, 0, 'peek into');
  }

  /** Bloom filters: false for a value that was never pushed; true for one that was, and for a few others. */
  mayContain(value: Value): boolean {
    this.codecs.value.write(this.#value, 0, value);
    const result = bpfElement(abi.BPF_MAP_LOOKUP_ELEM, this.descriptor, 0, this.#valueAddress, 0);
    if (result < 0 && result !== -ERRNO.ENOENT) throw bpfError(result, `look-up in ${this.label}`);
    return result === 0;
  }

  #read(command: number, key: number, flags: number, action: string): Value | null {
    const result = bpfElement(command, this.descriptor, key, this.#valueAddress, flags);
    if (result === -ERRNO.ENOENT) return null;
    if (result < 0) throw bpfError(result, `${action} ${this.label}`);
    return this.codecs.value.read(this.#value, 0);
  }

  #write(key: number, value: Value, flags: number, action: string): void {
    this.codecs.value.write(this.#value, 0, value);
    const result = bpfElement(abi.BPF_MAP_UPDATE_ELEM, this.descriptor, key, this.#valueAddress, flags);
    if (result < 0) throw bpfError(result, `${action} ${this.label}`);
  }

  /**
   * All entries, safe against change: one that is there from beginning to end is met once; one that comes or goes meanwhile may be met
   * or not; and it ends, however fast others add. Entries may be set and deleted while going through them.
   */
  *entries(): Generator<[Key, Value]> {
    const { key, value } = this.codecs;
    for (const { count, keys, values } of this.#walk(true)) {
      for (let at = 0; at < count; at++) yield [key.read(keys, at * key.bytes), value.read(values, at * value.bytes)];
    }
  }

  /** All keys, as {@link entries}; also of maps whose values user space may not read. */
  *keys(): Generator<Key> {
    const { key } = this.codecs;
    for (const { count, keys } of this.#walk(false)) {
      for (let at = 0; at < count; at++) yield key.read(keys, at * key.bytes);
    }
  }

  /** All values, as {@link entries}. */
  *values(): Generator<Value> {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator](): Generator<[Key, Value]> {
    return this.entries();
  }

  *#walk(withValues: boolean): Generator<Entries> {
    const inBatches = withValues && hasOrderlyBatches(this.spec.type);
    if (inBatches && (yield* batchesOf(this.#raw, attributes.BPF_MAP_LOOKUP_BATCH))) return;
    yield* keysOf(this.#raw, withValues);
  }

  /** Removes all entries and gives them: in batches where the map has that, else one by one. */
  *drain(): Generator<[Key, Value]> {
    const { key, value } = this.codecs;
    const batches = batchesOf(this.#raw, attributes.BPF_MAP_LOOKUP_AND_DELETE_BATCH);
    for (let step = batches.next(); ; step = batches.next()) {
      if (step.done === true) {
        if (step.value) return;
        break;
      }
      const { count, keys, values } = step.value;
      for (let at = 0; at < count; at++) yield [key.read(keys, at * key.bytes), value.read(values, at * value.bytes)];
    }
    for (const one of this.keys()) {
      const found = this.get(one);
      if (found !== null && this.delete(one)) yield [one, found];
    }
  }

  /** Removes all entries; how many there were. */
  clear(): number {
    let count = 0;
    for (const _ of this.drain()) count++;
    return count;
  }

  /**
   * Sets many values with few system calls (BPF_MAP_UPDATE_BATCH), or one by one where the map has no batches.
   * @throws KernelError; `entries` before the failing one are set
   */
  setMany(entries: Iterable<readonly [Key, Value]>, flags: number = abi.BPF_ANY): void {
    const all = [...entries];
    if (all.length === 0) return;
    const { key, value } = this.codecs;
    const keys = stable(all.length * key.bytes);
    const values = stable(all.length * value.bytes);
    const keyView = new DataView(keys.buffer, 0, keys.length);
    const valueView = new DataView(values.buffer, 0, values.length);
    for (const [index, entry] of all.entries()) {
      key.write(keyView, index * key.bytes, entry[0]);
      value.write(valueView, index * value.bytes, entry[1]);
    }
    const result = bpf(attributes.BPF_MAP_UPDATE_BATCH, {
      'batch.keys': keys,
      'batch.values': values,
      'batch.count': all.length,
      'batch.map_fd': this.descriptor,
      'batch.elem_flags': BigInt(flags),
    });
    if (result >= 0) return;
    if (!isWithoutBatches(result)) {
      throw bpfError(result, `update of ${this.label}, after ${answer('batch.count')} of ${all.length} entries`);
    }
    for (const [one, of] of all) this.set(one, of, flags);
  }

  /** Removes many keys; how many were there. */
  deleteMany(keys: Iterable<Key>): number {
    const all = [...keys];
    const { key } = this.codecs;
    let removed = 0;
    for (let done = 0; done < all.length; ) {
      const bytes = stable((all.length - done) * key.bytes);
      const view = new DataView(bytes.buffer, 0, bytes.length);
      for (let index = done; index < all.length; index++) key.write(view, (index - done) * key.bytes, all[index]);
      const result = bpf(attributes.BPF_MAP_DELETE_BATCH, {
        'batch.keys': bytes,
        'batch.count': all.length - done,
        'batch.map_fd': this.descriptor,
      });
      if (isWithoutBatches(result)) {
        return removed + all.slice(done).reduce((sum, one) => sum + (this.delete(one) ? 1 : 0), 0);
      }
      if (result < 0 && result !== -ERRNO.ENOENT) throw bpfError(result, `deletion from ${this.label}`);
      // The batch ends at the first key that is not there, which is passed over.
      const count = answer('batch.count');
      removed += count;
      done += result === 0 ? count : count + 1;
    }
    return removed;
  }

  /**
   * An array map's memory, shared with the programs, without system calls. Dispose of it when done.
   * @throws TypeError for a map that was not made with BPF_F_MMAPABLE
   */
  mapped(): MappedArray<Value> {
    if (this.spec.type !== 'array' || ((this.spec.flags ?? 0) & attributes.BPF_F_MMAPABLE) === 0) {
      throw new TypeError(`${this.label} cannot be mapped: an array with the flag BPF_F_MMAPABLE is needed`);
    }
    return new MappedArray(this.descriptor, this.spec.maxEntries, this.codecs.value);
  }

  /** From now on user space can only read it, for good. @throws KernelError: EBUSY while it is mapped for writing */
  freeze(): void {
    const result = bpf(attributes.BPF_MAP_FREEZE, { map_fd: this.descriptor });
    if (result < 0) throw bpfError(result, `freezing of ${this.label}`);
  }

  /** Keeps it under a path on bpffs, beyond this process. */
  pin(path: string): void {
    pinObject(this.descriptor, path, this.label);
  }

  info(): MapInfo {
    return mapInfo(this.descriptor);
  }

  /** What errors call it. */
  get label(): string {
    const { type, name, maxEntries } = this.spec;
    return `${type} map ${name === undefined ? '' : `${name} `}of ${maxEntries} entries`;
  }

  get #raw(): RawMap {
    const { key, value } = this.codecs;
    const { descriptor, label } = this;
    return { descriptor, keyBytes: key.bytes, valueBytes: value.bytes, maxEntries: this.spec.maxEntries, label };
  }

  [Symbol.dispose](): void {
    if (this.descriptor === -1) return;
    closeDescriptor(this.descriptor);
    this.descriptor = -1;
  }
}

/**
 * The codecs of a map from those of one key and one value: for per-CPU maps the value becomes one for each possible CPU, for maps
 * that hold kernel objects a handle.
 */
export function codecsOf(spec: MapSpec, key: Codec<unknown>, value: Codec<unknown>): MapCodecs<unknown, unknown> {
  if (holdsObjects(spec.type)) return { key, value: holderCodec(spec.valueSize) };
  if (isPerCpu(spec.type)) return { key, value: perCpuCodec(value, possibleCpus()) };
  return { key, value };
}

/** Makes a map, only its descriptor. @throws KernelError as {@link createMap} */
export function createMapDescriptor(spec: MapSpec): number {
  const extraFlags = withoutPreallocation.has(spec.type) ? abi.BPF_F_NO_PREALLOC : 0;
  const flags = (spec.flags ?? 0) | extraFlags | (spec.numaNode === undefined ? 0 : attributes.BPF_F_NUMA_NODE);
  const result = bpf(abi.BPF_MAP_CREATE, {
    map_type: MAP_TYPES[spec.type],
    key_size: spec.keySize,
    value_size: spec.valueSize,
    max_entries: spec.maxEntries,
    map_flags: flags,
    map_name: kernelName(spec.name ?? ''),
    map_extra: spec.extra ?? 0n,
    inner_map_fd: spec.inner?.descriptor ?? 0,
    numa_node: spec.numaNode ?? 0,
    btf_fd: spec.btf?.descriptor ?? 0,
    btf_key_type_id: spec.btf?.keyTypeId ?? 0,
    btf_value_type_id: spec.btf?.valueTypeId ?? 0,
    btf_vmlinux_value_type_id: spec.kernelValueTypeId ?? 0,
  });
  if (result < 0) throw bpfError(result, `new ${spec.type} map${spec.name === undefined ? '' : ` ${spec.name}`}`);
  return result;
}

/**
 * Makes a map. Without codecs its keys and values are bytes.
 * @throws KernelError: EPERM without CAP_BPF, EINVAL for sizes that its type does not have, ENOMEM
 */
export function createMap(spec: MapSpec): KernelMap;
export function createMap<Key, Value>(spec: MapSpec, codecs: MapCodecs<Key, Value>): KernelMap<Key, Value>;
export function createMap(spec: MapSpec, codecs?: MapCodecs<unknown, unknown>): KernelMap<unknown, unknown> {
  const bytes = codecsOf(
    spec,
    bytesCodec(spec.keySize, 'key') as Codec<unknown>,
    bytesCodec(spec.valueSize, 'value') as Codec<unknown>,
  );
  return new KernelMap(createMapDescriptor(spec), spec, codecs ?? bytes);
}
