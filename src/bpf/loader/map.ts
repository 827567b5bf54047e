/**
 * Room `bpf`: maps in the kernel, by bytes: what the loader's own programs and tests need. Typed keys and values come with the
 * compiler.
 */
import * as abi from '../../kernel/bpf-abi.ts';
import { ERRNO } from '../../kernel/errno.ts';
import { own } from '../../kernel/native.ts';
import { closeDescriptor } from '../../kernel/socket.ts';
import { bpf, bpfError, stable } from './bpf.ts';

const types = {
  hash: abi.BPF_MAP_TYPE_HASH,
  array: abi.BPF_MAP_TYPE_ARRAY,
  lpm_trie: abi.BPF_MAP_TYPE_LPM_TRIE,
} as const;

/** What a map shall be. Sizes in bytes. */
export interface MapSpec {
  readonly type: keyof typeof types;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
}

/** A map in the kernel. It lives as long as this handle or a program that uses it. */
export class KernelMap implements Disposable {
  /** Its descriptor; -1 once closed. */
  descriptor: number;
  readonly spec: MapSpec;

  constructor(descriptor: number, spec: MapSpec) {
    this.descriptor = descriptor;
    this.spec = spec;
    own(descriptor);
  }

  /** The value under a key, or null. @throws KernelError */
  get(key: Uint8Array): Uint8Array | null {
    const value = stable(this.spec.valueSize);
    const result = bpf(abi.BPF_MAP_LOOKUP_ELEM, { map_fd: this.descriptor, key: this.#key(key), value });
    if (result === -ERRNO.ENOENT) return null;
    if (result < 0) throw bpfError(result, `look-up in ${this.#name}`);
    return value;
  }

  /** Sets a value. `flags`: BPF_ANY, BPF_NOEXIST or BPF_EXIST. @throws KernelError: E2BIG when full, EEXIST, ENOENT */
  set(key: Uint8Array, value: Uint8Array, flags: number = abi.BPF_ANY): void {
    if (value.length !== this.spec.valueSize) {
      throw new RangeError(`the value has ${value.length} bytes, the map's have ${this.spec.valueSize}`);
    }
    const fields = { map_fd: this.descriptor, key: this.#key(key), value: stable(value), flags };
    const result = bpf(abi.BPF_MAP_UPDATE_ELEM, fields);
    if (result < 0) throw bpfError(result, `update of ${this.#name}`);
  }

  /** Removes a key; false where it is not there. @throws KernelError: EINVAL for arrays */
  delete(key: Uint8Array): boolean {
    const result = bpf(abi.BPF_MAP_DELETE_ELEM, { map_fd: this.descriptor, key: this.#key(key) });
    if (result < 0 && result !== -ERRNO.ENOENT) throw bpfError(result, `deletion from ${this.#name}`);
    return result === 0;
  }

  get #name(): string {
    return `${this.spec.type} map of ${this.spec.maxEntries} entries`;
  }

  #key(key: Uint8Array): Uint8Array {
    if (key.length === this.spec.keySize) return stable(key);
    throw new RangeError(`the key has ${key.length} bytes, the map's have ${this.spec.keySize}`);
  }

  [Symbol.dispose](): void {
    if (this.descriptor === -1) return;
    closeDescriptor(this.descriptor);
    this.descriptor = -1;
  }
}

/** Makes a map. @throws KernelError: EPERM without CAP_BPF, EINVAL for sizes that its type does not have, ENOMEM */
export function createMap(spec: MapSpec): KernelMap {
  const result = bpf(abi.BPF_MAP_CREATE, {
    map_type: types[spec.type],
    key_size: spec.keySize,
    value_size: spec.valueSize,
    max_entries: spec.maxEntries,
    // kernel/bpf/lpm_trie.c: a trie's nodes are never allocated in advance, and it must be said.
    map_flags: spec.type === 'lpm_trie' ? abi.BPF_F_NO_PREALLOC : 0,
  });
  if (result < 0) throw bpfError(result, `new ${spec.type} map`);
  return new KernelMap(result, spec);
}
