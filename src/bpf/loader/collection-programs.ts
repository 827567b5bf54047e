/**
 * Room `bpf`: the programs of an object: every relocation filled, then loaded.
 *
 * A newcomer would get wrong: the same function may be in several programs, with other slots in each; so nothing is patched in the
 * object's own instructions.
 */
import {
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_VALUE,
} from '../../kernel/bpf-abi.ts';
import { ATTACH_TYPES, type AttachTypeName, PROGRAM_TYPES, type ProgramTypeName } from '../../kernel/bpf-names.ts';
import { type Instruction, loadWide } from '../instructions.ts';
import { kernelBtf } from '../object/btf/kernel.ts';
import type { Btf } from '../object/btf/table.ts';
import { type CoreResult, relocateCore } from '../object/core.ts';
import { type LinkedProgram, link, programInfo } from '../object/link.ts';
import type { ObjectSpec, ProgramKind, Relocation } from '../object/spec.ts';
import type { ObjectMap } from './collection-maps.ts';
import type { LoadedSection } from './globals.ts';
import { hookTypeId, needsHookType, resolveSymbol } from './kernel-symbols.ts';
import { type AttachTarget, attach } from './links/attach.ts';
import type { Attachment } from './links/link.ts';
import { usdtAttachType } from './links/usdt.ts';
import { isUsdtTable, type UsdtSites } from './links/usdt-sites.ts';
import { type LogLevel, loadProgramDescriptor, Program, type ProgramSpec } from './program.ts';
import { sourceOf } from './program-source.ts';
import { structOpsMember } from './struct-ops.ts';

/** A program of an object, in the kernel. */
export class ObjectProgram extends Program {
  readonly name: string;
  readonly kind: ProgramKind;
  /** Its functions in the object's own BTF, by which other programs are attached to them; empty where the object has none. */
  readonly functionTypes: ReadonlyMap<string, number>;
  /** Where it finds the arguments of USDT probes; null where it reads none. */
  readonly usdtSites: UsdtSites | null;

  constructor(
    descriptor: number,
    log: string,
    program: LinkedProgram,
    kind: ProgramKind,
    usdtSites: UsdtSites | null = null,
  ) {
    super(descriptor, kind.type as ProgramTypeName, log, kind.attachType as AttachTypeName | null);
    this.name = program.name;
    this.kind = kind;
    this.usdtSites = usdtSites;
    this.functionTypes = new Map(program.functions.map(({ name, typeId }) => [name, typeId]));
  }

  /**
   * Attaches it to its hook; the target says where, for types that do not know. Dispose of what is given to take it away.
   *
   *     using link = object.programs.filter.attach({ interface: 'eth0' });
   */
  attach(target: AttachTarget = {}): Attachment {
    return attach(this, target);
  }
}

/** What programs refer to. */
export interface ProgramContext {
  readonly object: ObjectSpec;
  /** The object's types as the kernel has them. */
  readonly btf: { readonly descriptor: number; readonly types: Btf } | null;
  readonly maps: ReadonlyMap<string, ObjectMap>;
  readonly sections: ReadonlyMap<string, LoadedSection>;
  /** Types to relocate to, in place of the running kernel's. */
  readonly kernelTypes: Btf | null;
  /** Programs to whose functions others are attached, by the name of the one that is attached. */
  readonly attachTo: Readonly<Record<string, ObjectProgram>>;
  readonly logLevel: LogLevel;
  /** The object's table of USDT probes' arguments, where it has one. */
  readonly usdtSites: UsdtSites | null;
}

function wide(one: Instruction, source: number, immediate: number, nextImmediate = 0): Instruction {
  return { ...one, source, immediate, nextImmediate };
}

/** A call that no kernel has, as the mark of a weak function that is not there: the verifier accepts it where it is not reached. */
const MISSING_FUNCTION = 0x7f000000;

function patchSymbol(relocation: Relocation, one: Instruction, context: ProgramContext): Instruction {
  const spec = context.object.kernelSymbols.find(({ name }) => name === relocation.symbol);
  if (spec === undefined) throw new ReferenceError(`${relocation.symbol} is no kernel symbol of the object`);
  const { typeId, address } = resolveSymbol(spec, kernelBtf());
  if (relocation.kind === 'kernelFunction') {
    if (typeId === 0) return { ...one, source: 0, offset: 0, immediate: MISSING_FUNCTION };
    return { ...one, source: BPF_PSEUDO_KFUNC_CALL, offset: 0, immediate: typeId };
  }
  if (typeId !== 0) return wide(one, BPF_PSEUDO_BTF_ID, typeId);
  return loadWide(one.destination, address);
}

function patchOne(relocation: Relocation, one: Instruction, context: ProgramContext): Instruction {
  const { kind, symbol, addend } = relocation;
  switch (kind) {
    case 'map': {
      const map = context.maps.get(symbol);
      if (map === undefined) throw new ReferenceError(`map ${symbol} is not in the object`);
      return wide(one, BPF_PSEUDO_MAP_FD, map.descriptor);
    }
    case 'data': {
      const section = context.sections.get(symbol);
      if (section === undefined) throw new ReferenceError(`section ${symbol} is not in the object`);
      return wide(one, BPF_PSEUDO_MAP_VALUE, section.map.descriptor, addend);
    }
    default:
      return patchSymbol(relocation, one, context);
  }
}

type Hook = Pick<ProgramSpec, 'attachType' | 'attachBtfId' | 'attachTo'>;

function structOpsHook(name: string, object: ObjectSpec): Hook {
  const map = object.maps.find(({ structOps }) => structOps?.functions.some((one) => one.name === name));
  if (map === undefined) {
    throw new ReferenceError(`${name} implements a member of a struct, but no map of the object holds it`);
  }
  const { typeId, index } = structOpsMember(map, name);
  return { attachBtfId: typeId, attachType: index };
}

function hookOf(name: string, kind: ProgramKind, context: ProgramContext): Hook {
  if (kind.type === 'struct_ops') return structOpsHook(name, context.object);
  const attachType = kind.attachType as AttachTypeName | null;
  if (attachType !== null && !(attachType in ATTACH_TYPES)) {
    throw new TypeError(`program ${name} is for ${attachType}, which is not one of the kernel's hooks`);
  }
  const attachTo = context.attachTo[name];
  if (attachTo === undefined) {
    if (kind.type === 'ext')
      throw new TypeError(`program ${name} takes the place of another program’s function: give that as attachTo`);
    return needsHookType(kind) ? { attachType, attachBtfId: hookTypeId(kind, kernelBtf()) } : { attachType };
  }
  // Without a name the program itself is meant.
  const target = kind.target ?? attachTo.name;
  const attachBtfId = attachTo.functionTypes.get(target);
  if (attachBtfId === undefined)
    throw new ReferenceError(`program ${attachTo.name} has no function ${target} with a type`);
  return { attachType, attachTo, attachBtfId };
}

function patched(program: LinkedProgram, context: ProgramContext): Instruction[] {
  const code = [...program.instructions];
  for (const relocation of program.relocations) {
    code[relocation.index] = patchOne(relocation, code[relocation.index], context);
  }
  return code;
}

/** Fits the program to the kernel's own types. */
function relocated(program: LinkedProgram, { object, kernelTypes }: ProgramContext): CoreResult {
  if (program.core.length === 0 || object.btf === null) return { program, unresolved: [] };
  return relocateCore(program, object.btf, [kernelTypes ?? kernelBtf()]);
}

/** Loads one program with the functions that it calls. @throws VerifierError, KernelError, MissingSymbolError */
export function loadObjectProgram(name: string, declared: ProgramKind, context: ProgramContext): ObjectProgram {
  const { object, btf, logLevel } = context;
  const kind = { ...declared, attachType: usdtAttachType(declared) };
  if (!(kind.type in PROGRAM_TYPES)) {
    throw new TypeError(`program ${name} is of type ${kind.type}, which is not one of the kernel's`);
  }
  const { program: linked, unresolved } = relocated(link(object, name), context);
  const { descriptor, log } = loadProgramDescriptor({
    type: kind.type as ProgramTypeName,
    name,
    license: object.license,
    flags: kind.flags,
    instructions: patched(linked, context),
    logLevel,
    source: sourceOf(linked, unresolved),
    ...hookOf(name, kind, context),
    ...(btf === null ? {} : { btf: { descriptor: btf.descriptor, ...programInfo(linked, btf.types) } }),
  });
  const readsArguments = linked.relocations.some((one) => one.kind === 'map' && isUsdtTable(one.symbol));
  return new ObjectProgram(descriptor, log, linked, kind, readsArguments ? context.usdtSites : null);
}
