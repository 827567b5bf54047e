/**
 * Room `bpf`: handles of maps that are there already: pinned, or found by id.
 *
 * A newcomer would get wrong: what a pinned map is may differ from what this version of a program expects; `compatible` compares
 * before it is used again.
 */
import { MAP_TYPES, type MapTypeName } from '../../kernel/bpf-names.ts';
import { closeDescriptor } from '../../kernel/socket.ts';
import { bytesCodec, type Codec } from './codec.ts';
import { type MapInfo, mapInfo, openById } from './info.ts';
import { codecsOf, KernelMap, type MapCodecs, type MapSpec } from './map.ts';
import { openPinned } from './pin.ts';

function specOf(info: MapInfo): MapSpec {
  return {
    type: info.type as MapTypeName,
    keySize: info.keyBytes,
    valueSize: info.valueBytes,
    maxEntries: info.maxEntries,
    flags: info.flags,
    name: info.name,
    extra: info.extra,
  };
}

/** Takes over a descriptor of a map: what it is, the kernel says. */
function adopt(descriptor: number, codecs: MapCodecs<unknown, unknown> | undefined): KernelMap<unknown, unknown> {
  try {
    const spec = specOf(mapInfo(descriptor));
    const { keySize, valueSize } = spec;
    const bytes = (size: number, what: string): Codec<unknown> => bytesCodec(size, what) as Codec<unknown>;
    return new KernelMap(descriptor, spec, codecs ?? codecsOf(spec, bytes(keySize, 'key'), bytes(valueSize, 'value')));
  } catch (error) {
    closeDescriptor(descriptor);
    throw error;
  }
}

/** The map pinned at a path, or null where nothing is. Without codecs its keys and values are bytes. */
export function openMap(path: string): KernelMap | null;
export function openMap<Key, Value>(path: string, codecs: MapCodecs<Key, Value>): KernelMap<Key, Value> | null;
export function openMap(path: string, codecs?: MapCodecs<unknown, unknown>): KernelMap<unknown, unknown> | null {
  const descriptor = openPinned(path);
  return descriptor === null ? null : adopt(descriptor, codecs);
}

/** The map with an id, or null where there is none. */
export function openMapById(id: number): KernelMap | null {
  const descriptor = openById('map', id);
  return descriptor === null ? null : (adopt(descriptor, undefined) as unknown as KernelMap);
}

/** In what a map that is there differs from what is wanted: `value of 16 bytes, not 8`; empty where it does not. */
export function differences(info: MapInfo, wanted: MapSpec): string[] {
  const found: string[] = [];
  const compare = (what: string, is: string | number | bigint, shouldBe: string | number | bigint): void => {
    if (is !== shouldBe) found.push(`${what} is ${is}, not ${shouldBe}`);
  };
  compare('type', info.type, wanted.type);
  compare('key size', info.keyBytes, wanted.keySize);
  compare('value size', info.valueBytes, wanted.valueSize);
  compare('number of entries', info.maxEntries, wanted.maxEntries);
  compare('extra', info.extra, wanted.extra ?? 0n);
  return found;
}

/** Whether the kernel's enumeration has a type of this name. */
export function isMapType(name: string): name is MapTypeName {
  return name in MAP_TYPES;
}
