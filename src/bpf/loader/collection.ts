/**
 * Room `bpf`: loads a whole object: types, maps, data, then programs, in an order in which each finds what it refers to.
 *
 * A newcomer would get wrong: nothing of it stays in the kernel when a step fails, except maps that are pinned by name: these were
 * meant to outlive this process. A collection holds descriptors; what is attached or pinned goes on when it is disposed of.
 */
import { closeDescriptor } from '../../kernel/socket.ts';
import { forKernel } from '../object/btf/for-kernel.ts';
import type { Btf } from '../object/btf/table.ts';
import { ARENA_SECTION, type DataSection, type ObjectSpec, type ProgramKind } from '../object/spec.ts';
import { MappedArena } from './arena.ts';
import { loadBtf } from './btf-load.ts';
import { fillValues, loadMap, type ObjectMap } from './collection-maps.ts';
import { loadObjectProgram, type ObjectProgram, type ProgramContext } from './collection-programs.ts';
import { type GlobalVariable, initialBytes, type LoadedSection, loadSection, placeInArena } from './globals.ts';
import { kconfigBytes } from './kernel-config.ts';
import type { Attachment } from './links/link.ts';
import { usdtSitesOf } from './links/usdt-sites.ts';
import type { KernelMap, MapSpec } from './map.ts';
import type { LogLevel } from './program.ts';
import { attachStructOps, createStructOpsMap, fillStructOps, isLinked, registerStructOps } from './struct-ops.ts';

/** What may be told to a load. */
export interface LoadOptions {
  /** Values of global variables, read-only ones included, by name; set before any program runs. */
  readonly constants?: Readonly<Record<string, unknown>>;
  /** Maps that are used in the place of the object's own, by name. They stay the caller's. */
  readonly maps?: Readonly<Record<string, ObjectMap | KernelMap>>;
  /** Other sizes than the object's, by map. */
  readonly maxEntries?: Readonly<Record<string, number>>;
  /** Where maps pinned by name lie: a directory on bpffs. */
  readonly pinDirectory?: string;
  /** Names of the programs to load; all unless told. */
  readonly programs?: readonly string[];
  /** Values of kconfig options in place of the kernel's own: `{ CONFIG_HZ: '1000' }`. */
  readonly kconfig?: Readonly<Record<string, string>>;
  /** The types that CO-RE relocates to; the running kernel's unless told. */
  readonly kernelTypes?: Btf;
  /** Hooks other than those in the object, by program: a tracepoint's or a kernel function's name. */
  readonly targets?: Readonly<Record<string, string>>;
  /** For programs that are attached to another program's function (fentry, fexit) or replace it (freplace): that program. */
  readonly attachTo?: Readonly<Record<string, ObjectProgram>>;
  /** 1 or 2 keeps the verifier's log of accepted programs. */
  readonly logLevel?: LogLevel;
}

type CollectionParts = Pick<Collection, 'maps' | 'programs' | 'globals' | 'arenas'>;

/** An object in the kernel. */
export class Collection implements Disposable {
  readonly maps: Readonly<Record<string, ObjectMap>>;
  readonly programs: Readonly<Record<string, ObjectProgram>>;
  readonly globals: Readonly<Record<string, GlobalVariable>>;
  /** The memory of its arenas. */
  readonly arenas: Readonly<Record<string, MappedArena>>;
  readonly #register: ReadonlyMap<string, () => Attachment>;
  readonly #owned: DisposableStack;

  constructor(parts: CollectionParts, register: ReadonlyMap<string, () => Attachment>, owned: DisposableStack) {
    this.maps = parts.maps;
    this.programs = parts.programs;
    this.globals = parts.globals;
    this.arenas = parts.arenas;
    this.#register = register;
    this.#owned = owned;
  }

  /** Registers a struct of the kernel's that this object implements (struct_ops), by its map. Disposing takes it away. */
  attachStruct(name: string): Attachment {
    const register = this.#register.get(name);
    if (register === undefined) throw new RangeError(`${name} is no struct_ops map of this object`);
    return register();
  }

  /** Closes its descriptors. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/** The names that options mention must be the object's: a misspelt one would do nothing, silently. */
function checkNames(what: string, given: Iterable<string>, known: readonly string[]): void {
  for (const name of given) {
    if (known.includes(name)) continue;
    throw new RangeError(
      `${what} ${name} is not in the object: ${known.length === 0 ? 'it has none' : known.join(', ')}`,
    );
  }
}

function checkOptions(spec: ObjectSpec, options: LoadOptions): void {
  const maps = spec.maps.map(({ name }) => name);
  const programs = spec.functions.filter(({ kind }) => kind !== null).map(({ name }) => name);
  const variables = spec.data.flatMap((section) => section.variables.map(({ name }) => name));
  checkNames('map', [...Object.keys(options.maps ?? {}), ...Object.keys(options.maxEntries ?? {})], maps);
  checkNames(
    'program',
    [...(options.programs ?? []), ...Object.keys({ ...options.targets, ...options.attachTo })],
    programs,
  );
  checkNames('variable', Object.keys(options.constants ?? {}), variables);
}

/** A question mark before a section's name means: only if it is asked for (libbpf's convention). */
function isWanted(name: string, kind: ProgramKind, wanted: readonly string[] | undefined): boolean {
  return wanted === undefined ? !kind.section.startsWith('?') : wanted.includes(name);
}

/** One load: what has been made so far, closed again unless all of it succeeds. */
class Load {
  readonly #spec: ObjectSpec;
  readonly #options: LoadOptions;
  readonly #stack: DisposableStack;
  readonly #btf: ProgramContext['btf'];
  readonly maps = new Map<string, ObjectMap>();
  /** Mapped before programs are loaded, as the verifier wants it. */
  readonly arenas = new Map<string, MappedArena>();
  readonly sections = new Map<string, LoadedSection>();
  readonly programs = new Map<string, ObjectProgram>();

  constructor(spec: ObjectSpec, options: LoadOptions, stack: DisposableStack) {
    this.#spec = spec;
    this.#options = options;
    this.#stack = stack;
    const types = spec.btf === null ? null : forKernel(spec.btf);
    this.#btf = types === null ? null : { types, descriptor: stack.adopt(loadBtf(types), closeDescriptor) };
  }

  loadMaps(): void {
    const { maps = {}, maxEntries = {}, pinDirectory = null } = this.#options;
    for (const spec of this.#spec.maps) {
      const btf = this.#btf?.descriptor ?? null;
      const make = (): ObjectMap =>
        spec.structOps === undefined ? loadMap(spec, { btf, pinDirectory, maxEntries }) : createStructOpsMap(spec, btf);
      const map = maps[spec.name] ?? this.#stack.use(make());
      this.maps.set(spec.name, map as ObjectMap);
      if (spec.type === 'arena') this.arenas.set(spec.name, this.#stack.use(MappedArena.of(map)));
    }
  }

  /** Maps of maps are filled as soon as all maps are there; prog arrays when the programs are. */
  fill(what: 'maps' | 'programs'): void {
    for (const spec of this.#spec.maps) {
      if (
        spec.structOps !== undefined ||
        (spec.type === 'prog_array') !== (what === 'programs') ||
        spec.name in (this.#options.maps ?? {})
      )
        continue;
      fillValues(spec, this.maps.get(spec.name)!, (name) => this.maps.get(name) ?? this.programs.get(name));
    }
  }

  loadData(): void {
    const used = new Set<string>();
    for (const section of this.#spec.data) {
      if (section.bytes.length === 0) continue;
      const bytes = initialBytes(section, this.#options.constants ?? {}, used);
      const loaded =
        section.name === ARENA_SECTION
          ? this.#arenaSection(section, bytes)
          : loadSection(section, bytes, this.#sectionBtf(section.typeId));
      this.sections.set(section.name, this.#stack.use(loaded));
    }
    const { kconfig } = this.#spec;
    if (kconfig.length === 0) return;
    const section = { name: '.kconfig', bytes: kconfigBytes(kconfig, this.#options.kconfig), readOnly: true };
    const loaded = loadSection({ ...section, variables: [], typeId: 0 }, section.bytes, undefined);
    this.sections.set('.kconfig', this.#stack.use(loaded));
  }

  #arenaSection(section: DataSection, bytes: Uint8Array): LoadedSection {
    const [found] = this.arenas;
    if (found === undefined)
      throw new ReferenceError(`the object has variables in an arena (${section.name}), and no arena`);
    const [name, { view }] = found;
    return placeInArena(section, bytes, { map: this.maps.get(name)!, view });
  }

  #sectionBtf(typeId: number): MapSpec['btf'] {
    if (this.#btf === null || typeId === 0) return undefined;
    return { descriptor: this.#btf.descriptor, keyTypeId: 0, valueTypeId: typeId };
  }

  /** What registers the structs of this object; those that a link registers are prepared. */
  prepareStructOps(): ReadonlyMap<string, () => Attachment> {
    const programOf = (name: string): ObjectProgram | undefined => this.programs.get(name);
    const specs = this.#spec.maps.filter(({ structOps }) => structOps !== undefined);
    return new Map(
      specs.map((spec) => {
        const map = this.maps.get(spec.name)!;
        if (!isLinked(spec)) return [spec.name, () => registerStructOps(spec, map, programOf)];
        fillStructOps(spec, map, programOf);
        return [spec.name, () => attachStructOps(map, spec.name)];
      }),
    );
  }

  loadPrograms(): void {
    const wanted = this.#options.programs;
    const usdtSites = usdtSitesOf(this.maps);
    for (const spec of this.#spec.functions) {
      const { name, kind } = spec;
      if (kind === null || !isWanted(name, kind, wanted)) continue;
      const target = this.#options.targets?.[name] ?? kind.target;
      const program = loadObjectProgram(
        name,
        { ...kind, target },
        {
          object: this.#spec,
          btf: this.#btf,
          maps: this.maps,
          sections: this.sections,
          kernelTypes: this.#options.kernelTypes ?? null,
          attachTo: this.#options.attachTo ?? {},
          logLevel: this.#options.logLevel ?? 0,
          usdtSites,
        },
      );
      this.programs.set(name, this.#stack.use(program));
    }
  }
}

/**
 * Loads an object into the kernel.
 * @throws VerifierError for a program that is refused, KernelError and others for what the kernel lacks; nothing stays loaded then
 */
export function loadObject(spec: ObjectSpec, options: LoadOptions = {}): Collection {
  checkOptions(spec, options);
  using stack = new DisposableStack();
  const load = new Load(spec, options, stack);
  load.loadMaps();
  load.fill('maps');
  load.loadData();
  load.loadPrograms();
  load.fill('programs');
  const register = load.prepareStructOps();
  const globals = [...load.sections.values()].flatMap(({ variables }) =>
    variables.map((one) => [one.name, one] as const),
  );
  const parts = {
    maps: Object.fromEntries(load.maps),
    programs: Object.fromEntries(load.programs),
    globals: Object.fromEntries(globals),
    arenas: Object.fromEntries(load.arenas),
  };
  return new Collection(parts, register, stack.move());
}
