/**
 * Room `bpf`: global variables of an object: the data sections as maps, and handles by which user space reads and writes them.
 *
 * A newcomer would get wrong: `.rodata` is only open before the object is loaded: the verifier then takes its values for constants and
 * leaves out what they make unreachable, so they are frozen. The others are memory that is shared with the programs.
 */
import { BPF_F_MMAPABLE, BPF_F_RDONLY_PROG } from '../../kernel/bpf-attributes.ts';
import { shim } from '../../kernel/native.ts';
import type { DataSection, VariableSpec } from '../object/spec.ts';
import { bytesCodec, type Codec, codecFor } from './codec.ts';
import { createMap, type KernelMap, type MapSpec } from './map.ts';
import { mapMemory } from './mapped-array.ts';

/** A variable of an object that is in the kernel. */
export class GlobalVariable<Value = unknown> {
  readonly name: string;
  readonly readOnly: boolean;
  readonly #codec: Codec<Value>;
  readonly #view: DataView;
  readonly #offset: number;

  constructor(spec: VariableSpec, view: DataView, readOnly: boolean) {
    this.name = spec.name;
    this.readOnly = readOnly;
    this.#codec = codecFor(spec.type, spec.bytes, 'variable') as Codec<Value>;
    this.#view = view;
    this.#offset = spec.offset;
  }

  /** What it is now. Read from shared memory, without a system call; bytes where its type is not known. */
  get value(): Value {
    return this.#codec.read(this.#view, this.#offset);
  }

  /** @throws TypeError for a read-only one, and for what its type cannot hold */
  set value(value: Value) {
    if (this.readOnly) {
      throw new TypeError(
        `${this.name} is read-only once loaded: give its value to the load, as \`constants: { ${this.name}: … }\``,
      );
    }
    this.#codec.write(this.#view, this.#offset, value);
  }
}

/** A section that is in the kernel. */
export interface LoadedSection extends Disposable {
  readonly map: KernelMap;
  readonly variables: readonly GlobalVariable[];
}

/** The section's bytes with values put in by the variables' names; `used` gets the names that were found. */
export function initialBytes(
  section: DataSection,
  values: Readonly<Record<string, unknown>>,
  used: Set<string>,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(section.bytes);
  const view = new DataView(bytes.buffer);
  for (const variable of section.variables) {
    if (!Object.hasOwn(values, variable.name)) continue;
    used.add(variable.name);
    try {
      codecFor(variable.type, variable.bytes, 'variable').write(view, variable.offset, values[variable.name]);
    } catch (error) {
      throw error instanceof Error ? new TypeError(`${variable.name}: ${error.message}`, { cause: error }) : error;
    }
  }
  return bytes;
}

/** What the map of a section shall be: an array of one value. */
export function sectionMapSpec(name: string, size: number, readOnly: boolean, btf: MapSpec['btf']): MapSpec {
  const flags = BPF_F_MMAPABLE | (readOnly ? BPF_F_RDONLY_PROG : 0);
  return {
    type: 'array',
    keySize: 4,
    valueSize: size,
    maxEntries: 1,
    flags,
    name,
    ...(btf === undefined ? {} : { btf }),
  };
}

const FIRST = new Uint8Array(4);

/**
 * Puts the variables of an arena at its beginning, where the kernel counts their offsets from (arena_map_direct_value_addr,
 * kernel/bpf/arena.c). They are as the arena is: shared with whoever has it.
 */
export function placeInArena(
  { name, variables }: DataSection,
  bytes: Uint8Array,
  { map, view }: { readonly map: KernelMap<unknown, unknown>; readonly view: DataView },
): LoadedSection {
  if (bytes.length > view.byteLength) {
    throw new RangeError(`${name} has ${bytes.length} bytes, and the arena ${view.byteLength}`);
  }
  new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, bytes.length).set(bytes);
  return {
    map: map as KernelMap,
    variables: variables.map((variable) => new GlobalVariable(variable, view, false)),
    [Symbol.dispose]() {},
  };
}

/** Makes the map of a section, fills it, and freezes it if programs only read it. */
export function loadSection(section: DataSection, bytes: Uint8Array, btf: MapSpec['btf']): LoadedSection {
  const { name, readOnly } = section;
  using stack = new DisposableStack();
  const spec = sectionMapSpec(name, bytes.length, readOnly, btf);
  const map = stack.use(createMap(spec, { key: bytesCodec(4, 'key'), value: bytesCodec(bytes.length, 'value') }));
  map.set(FIRST, bytes);
  if (readOnly) map.freeze();
  const view = new DataView(readOnly ? bytes.slice().buffer : mapMemory(map.descriptor, bytes.length, true, name));
  if (!readOnly) stack.defer(() => shim.unmap(view.buffer as ArrayBuffer));
  const variables = section.variables.map((variable) => new GlobalVariable(variable, view, readOnly));
  const owned = stack.move();
  return { map, variables, [Symbol.dispose]: () => owned.dispose() };
}
