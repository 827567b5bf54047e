/**
 * Room `bpf`: the VM's maps as a test uses them: keys and values are JavaScript's values, through the types that the
 * object declares.
 *
 * A newcomer would get wrong: without types (an object without BTF) keys and values are bytes. For the bytes that a
 * program sees, whatever the types, there is `map`.
 */
import { type Codec, codecFor } from '../loader/codec.ts';
import type { MapSpec } from '../object/spec.ts';
import { VmQueue, VmRingBuffer, VmStorage } from './buffers.ts';
import { VmMap } from './maps.ts';
import type { AnyMap } from './value-regions.ts';

/** A -errno of a map as an error. */
function check(result: number, name: string, what: string): void {
  if (result < 0) throw new RangeError(`${what} of map ${name} fails with errno ${-result}`);
}

/** A map of an object in the VM. */
export class VmObjectMap<Key = unknown, Value = unknown> {
  readonly spec: MapSpec;
  /** The map itself, whose keys and values are bytes. */
  readonly map: AnyMap;
  readonly #key: Codec<Key>;
  readonly #value: Codec<Value>;

  constructor(spec: MapSpec, map: AnyMap) {
    this.spec = spec;
    this.map = map;
    this.#key = codecFor(spec.key, spec.keyBytes, 'key') as Codec<Key>;
    this.#value = codecFor(spec.value, spec.valueBytes, 'value') as Codec<Value>;
  }

  get name(): string {
    return this.spec.name;
  }

  #keyed(): VmMap {
    if (this.map instanceof VmMap) return this.map;
    throw new TypeError(`map ${this.name} is a ${this.spec.type}, which has no keys`);
  }

  #encode<T>(codec: Codec<T>, value: T): Uint8Array {
    const bytes = new Uint8Array(codec.bytes);
    codec.write(new DataView(bytes.buffer), 0, value);
    return bytes;
  }

  #decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
    return codec.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0);
  }

  /** The value under a key, or null. `cpu` says whose in a per-CPU map; 0 unless told. */
  get(key: Key, cpu = 0): Value | null {
    const found = this.#keyed().get(this.#encode(this.#key, key), cpu);
    return found === null ? null : this.#decode(this.#value, found);
  }

  /** @throws RangeError where the kernel would refuse it: full, or a flag that does not fit what is there */
  set(key: Key, value: Value, flags = 0, cpu = 0): void {
    const result = this.#keyed().set(this.#encode(this.#key, key), this.#encode(this.#value, value), flags, cpu);
    check(result, this.name, 'an update');
  }

  /** Whether the key was there. */
  delete(key: Key): boolean {
    return this.#keyed().delete(this.#encode(this.#key, key)) === 0;
  }

  /** Lets a key stand for a thing: a map, a program of the same object, a socket (its memory). */
  refer(key: Key, reference: unknown): void {
    const target = reference instanceof VmObjectMap ? reference.map : reference;
    check(this.#keyed().setReference(this.#encode(this.#key, key), target), this.name, 'an update');
  }

  keys(): Key[] {
    return this.#keyed()
      .keys()
      .map((key) => this.#decode(this.#key, key));
  }

  entries(cpu = 0): [Key, Value][] {
    const map = this.#keyed();
    return map
      .entries(cpu)
      .map(({ key, number }) => [this.#decode(this.#key, key), this.#decode(this.#value, map.valueBytes(number))]);
  }

  [Symbol.iterator](): Iterator<[Key, Value]> {
    return this.entries()[Symbol.iterator]();
  }

  /** The values of all CPUs under a key, or null. */
  getAll(key: Key): Value[] | null {
    const map = this.#keyed();
    if (map.get(this.#encode(this.#key, key)) === null) return null;
    return Array.from({ length: map.cpus }, (_, cpu) => this.get(key, cpu) as Value);
  }

  /** Adds to a queue, a stack or a bloom filter. */
  push(value: Value, flags = 0): void {
    if (!('push' in this.map)) throw new TypeError(`map ${this.name} is a ${this.spec.type}: nothing is pushed there`);
    check(this.map.push(this.#encode(this.#value, value), flags), this.name, 'a push');
  }

  /** The next value of a queue or stack, or null. */
  pop(): Value | null {
    if (!(this.map instanceof VmQueue))
      throw new TypeError(`map ${this.name} is a ${this.spec.type}, no queue or stack`);
    const found = this.map.pop();
    return found === null ? null : this.#decode(this.#value, found);
  }

  /** The records of a ring buffer or perf event array that wait, as bytes. */
  records(): Uint8Array[] {
    return this.#buffer().drain();
  }

  /** Takes each record when it comes. */
  listen(listener: (record: Uint8Array) => void): void {
    this.#buffer().listen(listener);
  }

  /** Gives a user ring buffer a record for the program. */
  put(record: Uint8Array): void {
    this.#buffer().put(record);
  }

  #buffer(): VmRingBuffer {
    if (this.map instanceof VmRingBuffer) return this.map;
    throw new TypeError(`map ${this.name} is a ${this.spec.type}, which has no records`);
  }

  /** The value that a storage keeps for a thing, which is known by its memory; null where it has none. */
  of(owner: Uint8Array): Value | null {
    if (!(this.map instanceof VmStorage)) throw new TypeError(`map ${this.name} is a ${this.spec.type}, no storage`);
    const number = this.map.find(owner);
    return number === -1 ? null : this.#decode(this.#value, this.map.valueBytes(number));
  }
}
