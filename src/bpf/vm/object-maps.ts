/**
 * Room `bpf`: makes the maps and data sections of an object for the VM.
 */
import { type Codec, codecFor } from '../loader/codec.ts';
import { kconfigBytes } from '../loader/kernel-config.ts';
import { ARENA_SECTION, type DataSection, type MapSpec, type ObjectSpec, type VariableSpec } from '../object/spec.ts';
import { VmArena } from './arena.ts';
import { VmBloomFilter, VmQueue, VmRingBuffer, VmStorage } from './buffers.ts';
import { isKeyed, VmMap, type VmMapSpec } from './maps.ts';
import { VmObjectMap } from './typed-map.ts';
import type { AnyMap } from './value-regions.ts';

/** CPUs of the VM: per-CPU maps have so many values under a key. */
export const CPUS = 2;
/** A perf event array without a size has one for each CPU. */
const SIZELESS = 256;

/** Makes a map. @throws RangeError for a kind that has no meaning without a kernel */
export function makeMap(spec: MapSpec, cpus: number): AnyMap {
  const { type, name, keyBytes, valueBytes, maxEntries, flags } = spec;
  const plain = { type, name, valueSize: valueBytes, maxEntries };
  if (type === 'queue' || type === 'stack') return new VmQueue(plain);
  if (type === 'bloom_filter') return new VmBloomFilter(plain);
  if (type === 'ringbuf' || type === 'user_ringbuf' || type === 'perf_event_array') return new VmRingBuffer(plain);
  if (type === 'arena') return new VmArena(spec);
  if (type.endsWith('_storage')) return new VmStorage(plain);
  if (!isKeyed(type)) throw new RangeError(`map ${name} is of type ${type}, which the VM does not have`);
  const sizes: VmMapSpec = {
    type,
    name,
    flags,
    cpus,
    keySize: keyBytes === 0 ? 4 : keyBytes,
    valueSize: valueBytes === 0 ? 4 : valueBytes,
    maxEntries: maxEntries === 0 ? SIZELESS : maxEntries,
  };
  return new VmMap(sizes);
}

/** A variable of an object in the VM. */
export class VmVariable<Value = unknown> {
  readonly name: string;
  readonly #codec: Codec<Value>;
  readonly #view: DataView;
  readonly #offset: number;

  constructor(spec: VariableSpec, bytes: Uint8Array) {
    this.name = spec.name;
    this.#codec = codecFor(spec.type, spec.bytes, 'variable') as Codec<Value>;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#offset = spec.offset;
  }

  get value(): Value {
    return this.#codec.read(this.#view, this.#offset);
  }

  /** Also of `.rodata`: a test may try another value without a new object. */
  set value(value: Value) {
    this.#codec.write(this.#view, this.#offset, value);
  }
}

/** BPF_F_RDONLY_PROG: programs may not write. */
const READ_ONLY = 0x80;

/** A section as the array that holds it. */
function sectionMap({ name, bytes, readOnly }: Pick<DataSection, 'name' | 'bytes' | 'readOnly'>): VmMap {
  const flags = readOnly ? READ_ONLY : 0;
  const map = new VmMap({
    type: 'array',
    keySize: 4,
    valueSize: Math.max(1, bytes.length),
    maxEntries: 1,
    name,
    flags,
  });
  map.valueBytes(0).set(bytes);
  return map;
}

export interface ObjectMapsOptions {
  readonly cpus: number;
  readonly kconfig: Readonly<Record<string, string>>;
  /** Memory of kernel variables that the object names. */
  readonly kernelSymbols: Readonly<Record<string, Uint8Array>>;
  /** Maps of another object, shared with this one, by name. */
  readonly maps: Readonly<Record<string, VmObjectMap>>;
}

/** Everything that programs reach by a wide load. */
export class ObjectMaps {
  readonly maps: Record<string, VmObjectMap> = {};
  readonly variables: Record<string, VmVariable> = {};
  readonly arenas: Record<string, VmArena> = {};
  /** By the number that instructions have. */
  readonly byNumber = new Map<number, AnyMap>();
  readonly #numbers = new Map<string, number>();

  constructor(spec: ObjectSpec, options: ObjectMapsOptions) {
    for (const map of spec.maps) {
      const made = options.maps[map.name] ?? new VmObjectMap(map, makeMap(map, options.cpus));
      this.maps[map.name] = made;
      if (made.map instanceof VmArena) this.arenas[map.name] = made.map;
      this.#add(map.name, made.map);
    }
    for (const section of spec.data) {
      const map = section.name === ARENA_SECTION ? this.#arenaWith(section) : sectionMap(section);
      this.#add(section.name, map);
      for (const variable of section.variables) {
        this.variables[variable.name] = new VmVariable(variable, map.valueBytes(0));
      }
    }
    if (spec.kconfig.length > 0) {
      const bytes = kconfigBytes(spec.kconfig, options.kconfig);
      this.#add('.kconfig', sectionMap({ name: '.kconfig', bytes, readOnly: true }));
    }
    for (const [name, bytes] of Object.entries(options.kernelSymbols)) {
      this.#add(name, sectionMap({ name, bytes, readOnly: true }));
    }
  }

  #arenaWith({ name, bytes }: DataSection): VmArena {
    const [arena] = Object.values(this.arenas);
    if (arena === undefined) throw new ReferenceError(`the object has variables in an arena (${name}), and no arena`);
    arena.begin(bytes);
    return arena;
  }

  #add(name: string, map: AnyMap): void {
    const number = this.#numbers.size;
    this.#numbers.set(name, number);
    this.byNumber.set(number, map);
  }

  number(name: string): number | undefined {
    return this.#numbers.get(name);
  }

  /** Fills the elements that the object names: maps, and programs by `slotOf`. */
  fill(spec: ObjectSpec, slotOf: (name: string) => number | undefined): void {
    for (const { name, values = [] } of spec.maps) {
      const { map } = this.maps[name];
      if (!(map instanceof VmMap)) continue;
      for (const [index, value] of values.entries()) {
        if (value === null) continue;
        const slot = slotOf(value);
        const reference = slot === undefined ? this.maps[value]?.map : { slot };
        if (reference === undefined)
          throw new ReferenceError(`map ${name} holds ${value}, which the object does not have`);
        const key = new Uint8Array(map.spec.keySize);
        new DataView(key.buffer).setUint32(0, index, true);
        map.setReference(key, reference);
      }
    }
  }
}
