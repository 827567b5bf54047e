/**
 * Room `bpf`: how the map constructors are made from their definitions.
 *
 * A newcomer would get wrong: what a constructor gives in user space is a description, frozen, from which types are inferred. The
 * map itself is made by the loader from the compiled object.
 */
import type { MapDefinition } from '../definitions.ts';
import type { Layout } from '../layout.ts';
import { u32, u64 } from '../numbers.ts';
import { define, inKernel } from '../registry.ts';
import type { Sized } from './types.ts';

export interface Options extends Partial<Sized> {
  readonly key?: Layout;
  readonly value?: unknown;
}

const defaultKeys: Readonly<Record<MapDefinition['key'], Layout | null>> = {
  required: null,
  none: null,
  optional: u64,
  u32,
};

/** What a map is in user space: what it was declared with, and methods that say where they run. */
export function describe(definition: MapDefinition, options: Options): object {
  const { key = defaultKeys[definition.key], value = definition.value === 'none' ? null : u32 } = options;
  const names = [...Object.keys(definition.methods), ...(definition.intrinsics ?? [])];
  const methods = names.map((name) => [name, inKernel(`${definition.name}().${name}`)]);
  return Object.freeze({
    ...Object.fromEntries(methods),
    kind: 'map',
    type: definition.type,
    key,
    value,
    maxEntries: options.maxEntries ?? 0,
    flags: (options.flags ?? 0) | definition.flags,
    pin: options.pin ?? null,
  });
}

/** What a definition says beside its names; no flags where absent. */
export type Rule = Omit<MapDefinition, 'kind' | 'name' | 'type' | 'since' | 'flags'> & { readonly flags?: number };

export function mapDefinition(name: string, type: string, since: string, rule: Rule): MapDefinition {
  return { kind: 'map', name, type, since, flags: 0, ...rule };
}

/** The type of each constructor is claimed here: `describe` makes all of them alike, and the methods of each are in its definition. */
export function constructorOf<C>(name: string, type: string, since: string, rule: Rule): C {
  const definition = mapDefinition(name, type, since, rule);
  return define((options: Options) => describe(definition, options), definition) as C;
}
