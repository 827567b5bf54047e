/**
 * Room `bpf`: one compilation: its modules, what they declare, and what comes out of it.
 *
 * A newcomer would get wrong: names are looked at when they are asked for ({@link Unit.valueOf}), so a map that nothing uses and that
 * the entry module does not declare is not in the object.
 */
import { programsOf } from '../../library/catalogue.ts';
import type { ContextStruct, Definition } from '../../library/definitions.ts';
import type {
  DataSection,
  KconfigSpec,
  KernelSymbolSpec,
  MapSpec,
  ProgramKind,
  VariableSpec,
} from '../../object/spec.ts';
import { bytesOf, type StructType, type Type, U8 } from '../../types.ts';
import type { Builder } from '../builder.ts';
import { type Diagnostic, isTooDeep, type Located, Refusal, refuse, refuseSilently, tooDeep } from '../diagnostics.ts';
import type { IrFunction, IrModule, Location } from '../ir.ts';
import type { GlobalEntity, Module, ProgramEntity } from './entities.ts';
import { BROKEN, type Operand } from './values.ts';

/** What the front end makes of a module. */
export interface FrontResult {
  readonly module: IrModule;
  readonly programs: readonly { readonly name: string; readonly kind: ProgramKind; readonly function: string }[];
  readonly maps: readonly MapSpec[];
  readonly data: readonly DataSection[];
  readonly kconfig: readonly KconfigSpec[];
  readonly kernelSymbols: readonly KernelSymbolSpec[];
  readonly license: string;
}

/** Looks at a declaration: what its name stands for. */
type Evaluate = (unit: Unit, module: Module, name: string) => Operand;

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;

/** Where compilers put strings: loaders know it as read-only data without variables. */
const STRINGS = '.rodata.str1.1';

/** Licences that the kernel counts as compatible (include/linux/license.h). */
const GPL_COMPATIBLE: ReadonlySet<string> = new Set([
  'GPL',
  'GPL v2',
  'GPL and additional rights',
  'Dual BSD/GPL',
  'Dual MIT/GPL',
  'Dual MPL/GPL',
]);

/** The bytes and variables of a data section, as they are declared. */
class Section {
  readonly name: string;
  readonly readOnly: boolean;
  readonly variables: VariableSpec[] = [];
  #bytes = new Uint8Array(64);
  #length = 0;

  constructor(name: string, readOnly: boolean) {
    this.name = name;
    this.readOnly = readOnly;
  }

  add(name: string, initial: Uint8Array, type: Type): number {
    const offset = this.#append(initial, 8);
    this.variables.push({ name, offset, bytes: initial.length, type });
    return offset;
  }

  /** Bytes that are no variable of the source. */
  addUnnamed(initial: Uint8Array): number {
    return this.#append(initial, 1);
  }

  #append(initial: Uint8Array, alignment: number): number {
    const offset = roundUp(this.#length, alignment);
    this.#length = offset + initial.length;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(this.#length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(initial, offset);
    return offset;
  }

  finish(): DataSection {
    const { name, readOnly, variables } = this;
    return { name, readOnly, variables, bytes: this.#bytes.slice(0, roundUp(this.#length, 8)), typeId: 0 };
  }
}

export class Unit {
  readonly catalogue: ReadonlyMap<string, Definition>;
  readonly files: { readonly path: string; readonly text: string }[] = [];
  readonly modules = new Map<string, Module>();
  readonly errors: Diagnostic[] = [];
  readonly maps: MapSpec[] = [];
  readonly programs: ProgramEntity[] = [];
  readonly functions: IrFunction[] = [];
  readonly kconfig: KconfigSpec[] = [];
  readonly kernelSymbols: KernelSymbolSpec[] = [];
  license = 'Dual MIT/GPL';
  readonly #sections = new Map<string, Section>();
  readonly #strings = new Map<string, GlobalEntity>();
  readonly #names = new Set<string>();
  readonly #evaluate: Evaluate;
  #structs: Map<string, StructType> | null = null;
  #contexts: Map<string, ContextStruct> | null = null;

  constructor(catalogue: ReadonlyMap<string, Definition>, evaluate: Evaluate) {
    this.catalogue = catalogue;
    this.#evaluate = evaluate;
  }

  /** Keeps a refusal and goes on. Other errors are the compiler's own and pass. `node`: what was being looked at. */
  report(error: unknown, node: Located | null = null): void {
    const isDeep = node !== null && isTooDeep(error);
    if (!isDeep && !(error instanceof Refusal)) throw error;
    const diagnostic = isDeep ? tooDeep(node, node.loc?.filename ?? '') : (error as Refusal).diagnostic;
    if (diagnostic === null) return;
    const isKnown = this.errors.some(
      ({ file, line, column, message }) =>
        file === diagnostic.file &&
        line === diagnostic.line &&
        column === diagnostic.column &&
        message === diagnostic.message,
    );
    if (!isKnown) this.errors.push(diagnostic);
  }

  /** Does `work` and reports a refusal. @returns its result, or null after a refusal */
  attempt<T>(work: () => T, node: Located | null = null): T | null {
    try {
      return work();
    } catch (error) {
      this.report(error, node);
      return null;
    }
  }

  /** The place of a node, for IR. */
  locate(node: Located): Location | null {
    const { loc } = node;
    if (loc === undefined || loc === null) return null;
    const file = this.modules.get(loc.filename ?? '')?.index ?? 0;
    return { file, line: loc.start.line, column: loc.start.column + 1 };
  }

  /** What a name of a module's top level stands for, or null where there is none of this name. */
  valueOf(module: Module, name: string, node: Located): Operand | null {
    const known = module.values.get(name);
    if (known === 'pending') {
      refuse(node, `${name} is declared by means of itself`, 'declare what it needs before it, or use a function');
    }
    if (known !== undefined) return known.kind === 'broken' ? refuseSilently() : known;
    if (!module.declarations.has(name)) return null;
    module.values.set(name, 'pending');
    const found = this.attempt(() => this.#evaluate(this, module, name), node) ?? BROKEN;
    module.values.set(name, found);
    return found.kind === 'broken' ? refuseSilently() : found;
  }

  /** What another module, or the library (`from` null), exports by this name. */
  exportOf(from: Module | null, name: string, node: Located): Operand {
    const found = this.#findExport(from, name, node);
    if (found !== null) return found;
    return refuse(node, `${from === null ? 'millrace/bpf' : from.path} exports no ${name}`);
  }

  #findExport(from: Module | null, name: string, node: Located): Operand | null {
    if (from === null) {
      const definition = this.catalogue.get(name);
      return definition === undefined ? null : operandOf(definition);
    }
    const target = from.exports.get(name);
    if (typeof target === 'string') return this.valueOf(from, target, node);
    if (target !== undefined) return this.exportOf(target.from, target.name, node);
    for (const other of from.exportAll) {
      const found = this.#findExport(other, name, node);
      if (found !== null) return found;
    }
    return null;
  }

  /** A struct of the library by its name in the kernel. */
  structNamed(name: string): StructType | null {
    if (this.#structs === null) {
      this.#structs = new Map();
      for (const definition of this.catalogue.values()) {
        if (definition.kind === 'type' && definition.type.kind === 'struct') {
          this.#structs.set(definition.type.name, definition.type);
        }
      }
    }
    return this.#structs.get(name) ?? this.#contextNamed(name)?.struct ?? null;
  }

  /** How a struct's fields may be used, where it is a context. */
  viewOf(type: Type): ContextStruct | null {
    return type.kind === 'struct' ? this.#contextNamed(type.name) : null;
  }

  #contextNamed(name: string): ContextStruct | null {
    if (this.#contexts === null) {
      this.#contexts = new Map();
      for (const { context } of programsOf(this.catalogue)) {
        if (context.kind === 'struct') this.#contexts.set(context.struct.struct.name, context.struct);
      }
    }
    return this.#contexts.get(name) ?? null;
  }

  /** Refuses what the kernel keeps for programs whose licence is compatible with its own. */
  requireGpl(node: Located, helper: string): void {
    if (GPL_COMPATIBLE.has(this.license)) return;
    refuse(node, `${helper} is for GPL-compatible programs only`, `the licence here is ${this.license}`);
  }

  /** A name that no function of the object has yet. */
  uniqueName(wanted: string): string {
    let name = wanted;
    for (let count = 1; this.#names.has(name); count++) name = `${wanted}_${count}`;
    this.#names.add(name);
    return name;
  }

  #section(name: string): Section {
    const known = this.#sections.get(name);
    if (known !== undefined) return known;
    const section = new Section(name, name.startsWith('.rodata'));
    this.#sections.set(name, section);
    return section;
  }

  /** Puts a variable into a data section. */
  addGlobal(section: string, name: string, type: Type, initial: Uint8Array): GlobalEntity {
    const offset = this.#section(section).add(name, initial, type);
    return { name, section, offset, type, writable: section !== '.rodata' };
  }

  /** A null-terminated string in .rodata; the same text is there once. */
  addString(text: string): GlobalEntity {
    const known = this.#strings.get(text);
    if (known !== undefined) return known;
    const bytes = new TextEncoder().encode(`${text}\0`);
    const name = `string_${this.#strings.size}`;
    const type: Type = { kind: 'array', element: U8, length: bytes.length };
    const offset = this.#section(STRINGS).addUnnamed(bytes);
    const global: GlobalEntity = { name, section: STRINGS, offset, type, writable: false };
    this.#strings.set(text, global);
    return global;
  }

  /** A kernel configuration option; the same one is there once. */
  addKconfig(name: string, type: Type, typeKind: KconfigSpec['typeKind'], weak: boolean): GlobalEntity {
    const known = this.kconfig.find((option) => option.name === name);
    const bytes = bytesOf(type);
    const last = this.kconfig.at(-1);
    const offset = known?.offset ?? roundUp(last === undefined ? 0 : last.offset + last.bytes, 8);
    if (known === undefined) this.kconfig.push({ name, offset, bytes, weak, typeKind });
    return { name, section: '.kconfig', offset, type, writable: false };
  }

  /** A function or a variable of the kernel's; the same one is there once. */
  addKernelSymbol(name: string, kind: KernelSymbolSpec['kind'], weak: boolean): void {
    if (this.kernelSymbols.some((symbol) => symbol.name === name)) return;
    this.kernelSymbols.push({ name, kind, weak, typeId: 0 });
  }

  /** Keeps a finished function. After a refusal there is none: its blocks need not be complete. */
  finishFunction(builder: Builder): void {
    if (this.errors.length === 0) this.functions.push(builder.finish());
  }

  finish(): FrontResult {
    const { files, functions, maps, kconfig, kernelSymbols, license } = this;
    return {
      module: { files, functions, arena: maps.find((map) => map.type === 'arena')?.name },
      programs: this.programs.map((program) => ({
        name: program.name,
        function: program.name,
        kind: {
          type: program.definition.type,
          attachType: program.definition.attachType,
          section: program.section,
          target: program.target,
          flags: program.flags,
        },
      })),
      maps,
      data: [...this.#sections.values()].map((section) => section.finish()),
      kconfig,
      kernelSymbols,
      license,
    };
  }
}

function operandOf(definition: Definition): Operand {
  if (definition.kind === 'type') return { kind: 'type', type: definition.type };
  if (definition.kind !== 'constant') return { kind: 'definition', definition };
  const { type, value } = definition;
  if (type.kind !== 'integer' && type.kind !== 'boolean') return { kind: 'definition', definition };
  return { kind: 'scalar', type, value: null, constant: value, literal: true, low: value, high: value };
}
