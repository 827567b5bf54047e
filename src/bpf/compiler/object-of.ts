/**
 * Room `bpf`: puts the compiler's results together as an object: code from the back end, maps, data and names from the front end,
 * and the BTF that describes them all.
 *
 * A newcomer would get wrong: from here on a program bears the name it is exported by. The front end may have compiled it under
 * another one, so that what refers to functions by name is renamed too.
 */
import { BTF_FUNC_EXTERN, BTF_VAR_GLOBAL_EXTERN } from '../../kernel/btf-abi.ts';
import { BtfBuilder } from '../object/btf/builder.ts';
import { addMapDefinition, addStructOps, placeMaps, structOpsSection } from '../object/btf/map-definitions.ts';
import type { BtfPlace } from '../object/btf/records.ts';
import { accessOf, CORE_KINDS, isEnumKind } from '../object/core/kinds.ts';
import type {
  CoreRecord,
  DataSection,
  FunctionSpec,
  KconfigSpec,
  KernelSymbolSpec,
  LineInfo,
  MapSpec,
  ObjectSpec,
} from '../object/spec.ts';
import { bytesOf, type Type, U8, VOID } from '../types.ts';
import type { CompiledFunction } from './back/index.ts';
import type { FrontResult } from './front/index.ts';
import type { CallTarget, CoreRelocation, IrFunction, Location } from './ir.ts';

/** The object of a compiled module. Deterministic: the same input gives the same bytes. */
export function objectOf(front: FrontResult, functions: readonly CompiledFunction[]): ObjectSpec {
  const assembly = new Assembly(front);
  const { maps, data, kernelSymbols } = assembly.addSymbols(functions);
  const specs = functions.map((one) => assembly.functionSpec(one));
  const btf = assembly.builder.finish();
  return {
    license: front.license,
    functions: specs,
    maps,
    data,
    kconfig: front.kconfig,
    kernelSymbols,
    // The kernel refuses a table without types, as of a module that only others import.
    btf: btf.endId === btf.firstId ? null : btf,
  };
}

type KernelFunction = Extract<CallTarget, { kind: 'kernel' }>;

/** The kernel functions that a module calls, by name. */
function kernelCalls(functions: readonly IrFunction[]): Map<string, KernelFunction> {
  const found = new Map<string, KernelFunction>();
  for (const { blocks } of functions) {
    for (const { operations } of blocks) {
      for (const operation of operations) {
        if (operation.kind === 'call' && operation.target.kind === 'kernel') {
          found.set(operation.target.name, operation.target);
        }
      }
    }
  }
  return found;
}

class Assembly {
  readonly builder = new BtfBuilder();
  readonly #front: FrontResult;
  readonly #functions: ReadonlyMap<string, IrFunction>;
  /** Exported names of functions that are programs. */
  readonly #names: ReadonlyMap<string, string>;
  readonly #fileLines: (readonly string[] | undefined)[] = [];

  constructor(front: FrontResult) {
    this.#front = front;
    this.#functions = new Map(front.module.functions.map((one) => [one.name, one]));
    this.#names = new Map(front.programs.map((one) => [one.function, one.name]));
  }

  #nameOf(name: string): string {
    return this.#names.get(name) ?? name;
  }

  /** Everything with a name that is no function of the module. */
  addSymbols(functions: readonly CompiledFunction[]): Pick<ObjectSpec, 'maps' | 'data' | 'kernelSymbols'> {
    const data = this.#front.data.map((section) => this.#dataSection(section));
    const maps = this.#maps();
    this.#kconfig();
    return { maps, data, kernelSymbols: this.#kernelSymbols(functions) };
  }

  #maps(): MapSpec[] {
    const { builder } = this;
    const maps = this.#front.maps.map((map) => this.#withProgramNames(map));
    const ordinary = maps.filter((map) => map.structOps === undefined);
    const placed = placeMaps(ordinary);
    const definitions = ordinary.map((map) => addMapDefinition(builder, map));
    const places: BtfPlace[] = definitions.map(({ map, type }, index) => ({
      type: builder.addVariable(map.name, type),
      offset: placed[index].offset,
      bytes: placed[index].bytes,
    }));
    const last = placed.at(-1);
    builder.addPlaces('.maps', last === undefined ? 0 : last.offset + last.bytes, places);
    const operations = this.#structOps(maps.filter((map) => map.structOps !== undefined));
    const finished = new Map([...definitions.map(({ map }) => map), ...operations].map((map) => [map.name, map]));
    return maps.map((map) => finished.get(map.name) ?? map);
  }

  #withProgramNames(map: MapSpec): MapSpec {
    const { values, structOps } = map;
    const functions = structOps?.functions.map((one) => ({ ...one, name: this.#nameOf(one.name) }));
    return {
      ...map,
      ...(values === undefined ? {} : { values: values.map((name) => (name === null ? null : this.#nameOf(name))) }),
      ...(structOps === undefined ? {} : { structOps: { ...structOps, functions: functions ?? [] } }),
    };
  }

  #structOps(maps: readonly MapSpec[]): MapSpec[] {
    const finished: MapSpec[] = [];
    for (const name of new Set(maps.map(structOpsSection))) {
      let offset = 0;
      const places: BtfPlace[] = [];
      for (const map of maps.filter((one) => structOpsSection(one) === name)) {
        if (map.value?.kind !== 'struct') throw new RangeError(`struct_ops map ${map.name} has no struct as its value`);
        const type = addStructOps(this.builder, map, map.value);
        places.push({ type: this.builder.addVariable(map.name, type), offset, bytes: map.value.bytes });
        offset += Math.ceil(map.value.bytes / 8) * 8;
        finished.push({ ...map, valueTypeId: type });
      }
      this.builder.addPlaces(name, offset, places);
    }
    return finished;
  }

  #dataSection(section: DataSection): DataSection {
    const variables = section.variables.map(({ name, offset, bytes, type }) => {
      const known: Type = type ?? { kind: 'array', element: U8, length: bytes };
      return { name, offset, type: known };
    });
    return { ...section, typeId: this.builder.addDataSection(section.name, section.bytes.length, variables) };
  }

  #kconfig(): void {
    const { builder } = this;
    const places = this.#front.kconfig.map((one) => ({
      type: builder.addVariable(one.name, this.#kconfigType(one), BTF_VAR_GLOBAL_EXTERN),
      offset: one.offset,
      bytes: one.bytes,
    }));
    const end = Math.max(0, ...places.map((place) => place.offset + place.bytes));
    builder.addPlaces('.kconfig', end, places);
  }

  #kconfigType({ typeKind, bytes }: KconfigSpec): number {
    const { builder } = this;
    switch (typeKind) {
      case 'boolean':
        return builder.addType({ kind: 'boolean' });
      case 'string':
        return builder.addArray(this.#addChar(), bytes);
      case 'tristate':
        return builder.addRecord({
          kind: 'enum',
          name: 'libbpf_tristate',
          bytes: 4,
          signed: false,
          values: ['TRI_NO', 'TRI_YES', 'TRI_MODULE'].map((name, value) => ({ name, value: BigInt(value) })),
        });
      case 'integer':
        return builder.addType({
          kind: 'integer',
          name: `u${bytes * 8}`,
          bytes: bytes as 1 | 2 | 4 | 8,
          signed: false,
          order: 'host',
        });
    }
  }

  #addChar(): number {
    return this.builder.addRecord({
      kind: 'int',
      name: 'char',
      bytes: 1,
      bits: 8,
      offsetBits: 0,
      signed: true,
      character: false,
      boolean: false,
    });
  }

  /** What the front end lists, and kernel functions that the code calls without their being listed. */
  #kernelSymbols(functions: readonly CompiledFunction[]): KernelSymbolSpec[] {
    const calls = kernelCalls(this.#front.module.functions);
    const listed: Omit<KernelSymbolSpec, 'typeId'>[] = [...this.#front.kernelSymbols];
    for (const { relocations } of functions) {
      for (const { kind, symbol } of relocations) {
        if (kind === 'kernelFunction' && !listed.some((one) => one.name === symbol)) {
          listed.push({ name: symbol, kind: 'function', weak: false });
        }
      }
    }
    const places: BtfPlace[] = [];
    const symbols = listed.map((one) => {
      const typeId = one.kind === 'function' ? this.#kernelFunction(one.name, calls) : this.#kernelVariable(one);
      places.push({ type: typeId, offset: 0, bytes: 0 });
      return { ...one, typeId };
    });
    this.builder.addPlaces('.ksyms', 0, places);
    return symbols;
  }

  #kernelFunction(name: string, calls: ReadonlyMap<string, KernelFunction>): number {
    const prototype = calls.get(name);
    const parameters = (prototype?.parameters ?? []).map((type) => ({ name: '', type }));
    return this.builder.addFunction(name, parameters, prototype?.result ?? VOID, BTF_FUNC_EXTERN);
  }

  #kernelVariable({ name, type }: Pick<KernelSymbolSpec, 'name' | 'type'>): number {
    const { builder } = this;
    // Without a type, `extern const void name`: the loader then looks for its address alone.
    const of = builder.addRecord({ kind: 'const', name: '', type: type === undefined ? 0 : builder.addType(type) });
    return builder.addVariable(name, of, BTF_VAR_GLOBAL_EXTERN);
  }

  /** One function's code with its type, its lines and its CO-RE records. */
  functionSpec(compiled: CompiledFunction): FunctionSpec {
    const name = this.#nameOf(compiled.name);
    const program = this.#front.programs.find((one) => one.function === compiled.name);
    const source = this.#functions.get(compiled.name);
    const { parameters, result } = source?.signature ?? { parameters: [], result: VOID };
    const linkage = program === undefined ? compiled.linkage : 'global';
    return {
      name,
      kind: program?.kind ?? null,
      linkage,
      instructions: compiled.instructions,
      relocations: compiled.relocations.map((one) =>
        one.kind === 'call' || one.kind === 'callback' ? { ...one, symbol: this.#nameOf(one.symbol) } : one,
      ),
      lines: this.#lines(compiled, source?.location ?? null),
      core: compiled.core.map(({ index, relocation }) => this.#coreRecord(index, relocation)),
      typeId: this.builder.addFunction(name, parameters, result, linkage),
      registerNames: compiled.registerNames,
    };
  }

  /** The kernel wants a line for each function's first instruction, and refuses two for one place. */
  #lines(compiled: CompiledFunction, beginning: Location | null): LineInfo[] {
    const lines: LineInfo[] = [];
    const first = compiled.lines[0]?.location ?? beginning;
    if (compiled.lines[0]?.index !== 0 && first !== null) lines.push(this.#line(0, beginning ?? first));
    for (const { index, location } of compiled.lines) {
      if (lines.at(-1)?.index !== index) lines.push(this.#line(index, location));
    }
    return lines;
  }

  #line(index: number, { file, line, column }: Location): LineInfo {
    const { path, text: source } = this.#front.module.files[file];
    const fileLines = this.#fileLines[file] ?? source.split('\n');
    this.#fileLines[file] = fileLines;
    const text = (fileLines[line - 1] ?? '').trimEnd();
    this.builder.addString(path);
    this.builder.addString(text);
    return { index, file: path, line, column, text };
  }

  #coreRecord(index: number, { struct, path, kind }: CoreRelocation): CoreRecord {
    const number = CORE_KINDS[kind];
    let typeId: number;
    let access = '0';
    if (isEnumKind(number)) {
      // The struct lends the enum its name, the path is the value's.
      const values = [{ name: String(path[0]), value: 0n }];
      typeId = this.builder.addRecord({
        kind: 'enum',
        name: struct.name,
        bytes: bytesOf(struct) || 4,
        signed: false,
        values,
      });
    } else {
      typeId = this.builder.addType(struct);
      access = accessOf(struct, path);
    }
    this.builder.addString(access);
    return { index, typeId, access, kind: number };
  }
}
