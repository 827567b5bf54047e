/**
 * Room `bpf`: the maps of an object: made, or found again where they were pinned by name.
 *
 * A newcomer would get wrong: a map found under its pin is only used if it is what the object wants; one that differs is an error, never
 * replaced: other processes hold it.
 */
import { join } from 'node:path';
import { MAP_TYPES, type MapTypeName } from '../../kernel/bpf-names.ts';
import { possibleCpus } from '../../kernel/cpus.ts';
import { KernelError } from '../../kernel/error.ts';
import type { MapSpec as ObjectMapSpec } from '../object/spec.ts';
import type { Type } from '../types.ts';
import { type Codec, codecFor, codecOf } from './codec.ts';
import { codecsOf, createMap, type KernelMap, type MapCodecs, type MapSpec } from './map.ts';
import { differences, openMap } from './map-open.ts';
import { requireBpffs } from './pin.ts';

/** A map of an object, whatever its keys and values are. */
export type ObjectMap = KernelMap<unknown, unknown>;

/** What making the maps depends on. */
export interface MapOptions {
  /** The loaded BTF's descriptor; null for an object without. */
  readonly btf: number | null;
  /** Where maps pinned by name lie; bpffs' own directory unless told. */
  readonly pinDirectory: string | null;
  /** Other sizes than the object's, by map. */
  readonly maxEntries: Readonly<Record<string, number>>;
}

/** Types for which the kernel takes no BTF (map_check_btf), and those whose BTF is not their value's. */
const withoutBtf: ReadonlySet<string> = new Set([
  'prog_array',
  'perf_event_array',
  'cgroup_array',
  'stack_trace',
  'array_of_maps',
  'hash_of_maps',
  'devmap',
  'devmap_hash',
  'cpumap',
  'xskmap',
  'sockmap',
  'sockhash',
  'reuseport_sockarray',
  'queue',
  'stack',
  'bloom_filter',
  'ringbuf',
  'user_ringbuf',
  'lpm_trie',
  'arena',
]);

function typeName(spec: ObjectMapSpec): MapTypeName {
  if (spec.type in MAP_TYPES) return spec.type as MapTypeName;
  throw new TypeError(`map ${spec.name} is of type ${spec.type}, which is not one of the kernel's`);
}

/** How an object's map is read and written. */
export function objectCodecs(
  spec: Pick<ObjectMapSpec, 'key' | 'value' | 'keyBytes' | 'valueBytes'>,
  wanted: MapSpec,
): MapCodecs<unknown, unknown> {
  const codec = (type: Type | null, bytes: number, what: string): Codec<unknown> => codecFor(type, bytes, what);
  // A ring buffer has no values to the kernel: what its type says is what its records are.
  const isRing = wanted.type === 'ringbuf' && spec.value !== null;
  const value = isRing ? codecOf(spec.value) : codec(spec.value, spec.valueBytes, 'value');
  return codecsOf(wanted, codec(spec.key, spec.keyBytes, 'key'), value);
}

/** What the kernel is asked for, for a map of an object. */
function wantedSpec(spec: ObjectMapSpec, options: MapOptions): MapSpec {
  const type = typeName(spec);
  const asked = options.maxEntries[spec.name] ?? spec.maxEntries;
  const hasBtf = options.btf !== null && !withoutBtf.has(type) && (spec.keyTypeId !== 0 || spec.valueTypeId !== 0);
  return {
    type,
    keySize: spec.keyBytes,
    valueSize: spec.valueBytes,
    // An array of events without a size has one for each CPU, as libbpf does it.
    maxEntries: type === 'perf_event_array' && asked === 0 ? possibleCpus() : asked,
    flags: spec.flags,
    name: spec.name,
    extra: spec.extra,
    ...(spec.numaNode === undefined ? {} : { numaNode: spec.numaNode }),
    ...(hasBtf
      ? { btf: { descriptor: options.btf as number, keyTypeId: spec.keyTypeId, valueTypeId: spec.valueTypeId } }
      : {}),
  };
}

/** Makes the map; where the kernel does not like its BTF, without: its keys and values then only have no types in bpftool. */
function make(spec: MapSpec, codecs: MapCodecs<unknown, unknown>): ObjectMap {
  if (spec.btf === undefined || spec.type.endsWith('_storage')) return createMap(spec, codecs);
  const { btf: _, ...plain } = spec;
  try {
    return createMap(spec, codecs);
  } catch (error) {
    if (!(error instanceof KernelError) || error.code === 'EPERM' || error.code === 'ENOMEM') throw error;
    return createMap(plain, codecs);
  }
}

function makeWithInner(spec: ObjectMapSpec, wanted: MapSpec, options: MapOptions): ObjectMap {
  const codecs = objectCodecs(spec, wanted);
  const isMapOfMaps = wanted.type === 'array_of_maps' || wanted.type === 'hash_of_maps';
  if (!isMapOfMaps) return make(wanted, codecs);
  if (spec.inner === undefined)
    throw new TypeError(`map ${spec.name} of type ${spec.type} does not say what its maps are`);
  // Only a pattern: the kernel compares what is put in with it, and does not keep it.
  const innerSpec = wantedSpec({ ...spec.inner, name: spec.inner.name || `${spec.name}.inner` }, options);
  using inner = make(innerSpec, objectCodecs(spec.inner, innerSpec));
  return createMap({ ...wanted, inner }, codecs);
}

/** Where a map of this name is pinned. */
export function pinPath(name: string, directory: string | null): string {
  return join(directory ?? requireBpffs(), name);
}

/** A map of an object. One that is pinned by name is found again, or made and pinned. */
export function loadMap(spec: ObjectMapSpec, options: MapOptions): ObjectMap {
  const wanted = wantedSpec(spec, options);
  if (!spec.pinByName) return makeWithInner(spec, wanted, options);
  const path = pinPath(spec.name, options.pinDirectory);
  using stack = new DisposableStack();
  const found = openMap(path, objectCodecs(spec, wanted));
  if (found === null) {
    const made = stack.use(makeWithInner(spec, wanted, options));
    made.pin(path);
    stack.move();
    return made;
  }
  stack.use(found);
  checkCompatible(spec.name, path, found, wanted);
  stack.move();
  return found;
}

function checkCompatible(name: string, path: string, found: ObjectMap, wanted: MapSpec): void {
  const different = differences(found.info(), wanted);
  if (different.length === 0) return;
  throw new TypeError(
    `the map pinned at ${path} is not the ${name} of this object: its ${different.join(', its ')}; remove the pin to start anew`,
  );
}

/** Puts maps into maps and programs into prog arrays, as the object says. */
export function fillValues(
  spec: ObjectMapSpec,
  map: ObjectMap,
  handleOf: (name: string) => { readonly descriptor: number } | undefined,
): void {
  for (const [index, name] of (spec.values ?? []).entries()) {
    if (name === null) continue;
    const handle = handleOf(name);
    if (handle === undefined) throw new ReferenceError(`map ${spec.name} holds ${name}, which is not loaded`);
    const key = new Uint8Array(spec.keyBytes);
    new DataView(key.buffer).setUint32(0, index, true);
    map.set(map.codecs.key.read(new DataView(key.buffer), 0), handle);
  }
}
