/**
 * Room `bpf`: `load`: from a program's source, or an object, to programs and maps in the kernel, typed by the source's own module.
 *
 * A newcomer would get wrong: the module is imported for its type only. `load<typeof import('./drop.bpf.ts')>` runs nothing of it in Node;
 * the compiler reads the file.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { GlobalsOf, MapsOf, ProgramsOf } from './library/infer.ts';
import type { Holder } from './loader/codec.ts';
import { type Collection, type LoadOptions, loadObject } from './loader/collection.ts';
import type { ObjectProgram } from './loader/collection-programs.ts';
import type { GlobalVariable } from './loader/globals.ts';
import type { KernelMap } from './loader/map.ts';
import type { ObjectSpec } from './object/spec.ts';

/** Types of maps that hold a value for each CPU under each key. */
type PerCpu = 'percpu_hash' | 'percpu_array' | 'lru_percpu_hash' | 'percpu_cgroup_storage';

/** Types of maps that hold objects of the kernel's: they take a handle or a descriptor, and give a number ({@link holderCodec}). */
type HoldsObjects =
  | 'array_of_maps'
  | 'hash_of_maps'
  | 'prog_array'
  | 'cgroup_array'
  | 'xskmap'
  | 'sockmap'
  | 'sockhash'
  | 'reuseport_sockarray';

type ValueIn<Kind, Value> = Kind extends PerCpu ? Value[] : Kind extends HoldsObjects ? Holder | number : Value;

type MapHandle<T> = T extends { readonly type: infer Kind; readonly key: infer Key; readonly value: infer Value }
  ? KernelMap<Key, ValueIn<Kind, Value>>
  : never;

/** What was loaded, by the names that the module exports. Disposing of it closes its descriptors; what is attached or pinned stays. */
export interface Loaded<Module> extends Disposable, Pick<Collection, 'attachStruct' | 'arenas'> {
  readonly maps: { readonly [Name in keyof MapsOf<Module>]: MapHandle<MapsOf<Module>[Name]> };
  readonly programs: { readonly [Name in keyof ProgramsOf<Module>]: ObjectProgram };
  readonly globals: { readonly [Name in keyof GlobalsOf<Module>]: GlobalVariable<GlobalsOf<Module>[Name]['value']> };
}

/** How to load a source. */
export interface LoadSourceOptions<Module> extends LoadOptions {
  /** Values of globals, by name. Those that are read-only in the program can be set only here. */
  readonly constants?: { readonly [Name in keyof GlobalsOf<Module>]?: GlobalsOf<Module>[Name]['value'] };
  /** Off, the code does what the source says step by step. On unless told. */
  readonly optimise?: boolean;
}

/**
 * The object of a source (`*.ts`, compiled now) or of an ELF file (ours or clang's).
 * @throws CompileErrors, ElfError; an Error with `code` for a file that cannot be read
 */
export async function objectOf(
  source: URL | string,
  options: { readonly optimise?: boolean } = {},
): Promise<ObjectSpec> {
  const path = source instanceof URL ? fileURLToPath(source) : source;
  if (/\.[cm]?ts$/.test(path)) {
    const { compile } = await import('./compiler/compile.ts');
    return compile(path, options);
  }
  const { readElf } = await import('./object/elf/read.ts');
  return readElf(readFileSync(path));
}

/**
 * Compiles a program and loads it.
 *
 *     using object = await load<typeof import('./drop.bpf.ts')>(new URL('./drop.bpf.ts', import.meta.url));
 *     object.maps.blocked.set(ipv4('203.0.113.9'), 0n);
 *     using link = object.programs.filter.attach({ interface: 'eth0' });
 *
 * @throws CompileErrors for what the language does not allow, VerifierError for what the kernel refuses, KernelError without privileges
 */
export async function load<Module>(
  source: URL | string,
  options: LoadSourceOptions<Module> = {},
): Promise<Loaded<Module>> {
  const object = await objectOf(source, options);
  // The names and types are those of the module that the object was compiled from.
  return loadObject(object, options as LoadOptions) as unknown as Loaded<Module>;
}
