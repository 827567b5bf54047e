/**
 * Test support: the programs of `test/bpf/hooks`, compiled from TypeScript once for each test file, and loaded as often as tests want them.
 *
 * A newcomer would get wrong: a test names the programs that it loads. A module has programs of types that some kernels refuse, and one
 * refusal would take the others with it.
 */
import { fileURLToPath } from 'node:url';
import { compile } from '../../src/bpf/compiler/compile.ts';
import type { Loaded, LoadSourceOptions } from '../../src/bpf/load.ts';
import { type LoadOptions, loadObject } from '../../src/bpf/loader/collection.ts';
import type { KernelMap } from '../../src/bpf/loader/map.ts';
import { decoded, RingBufferReader } from '../../src/bpf/loader/ring-buffer.ts';
import type { ObjectSpec } from '../../src/bpf/object/spec.ts';

type Options<Module> = Omit<LoadSourceOptions<Module>, 'programs' | 'optimise'> & {
  /** All unless told. */
  readonly programs?: readonly (keyof Loaded<Module>['programs'] & string)[];
};

/** Compiles a module of `test/bpf/hooks` when it is first wanted. */
export function hooksOf<Module>(name: string): (options?: Options<Module>) => Loaded<Module> {
  const path = fileURLToPath(new URL(`../bpf/hooks/${name}.bpf.ts`, import.meta.url));
  let object: ObjectSpec | null = null;
  return (options = {}) => {
    object ??= compile(path);
    // Names and types are those of the module that was compiled.
    return loadObject(object, options as LoadOptions) as unknown as Loaded<Module>;
  };
}

/** Everything that is in a ring buffer. */
export function eventsOf<T>(map: KernelMap<undefined, T>): T[] {
  const events: T[] = [];
  using reader = new RingBufferReader(
    map,
    decoded(map.codecs.value, (event) => events.push(event)),
  );
  reader.read();
  return events;
}
