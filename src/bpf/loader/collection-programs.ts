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
import type { FunctionSpec, ObjectSpec, ProgramKind, Relocation } from '../object/spec.ts';
import { programBtf } from './btf-load.ts';
import type { ObjectMap } from './collection-maps.ts';
import type { LoadedSection } from './globals.ts';
import { hookTypeId, needsHookType, resolveSymbol } from './kernel-symbols.ts';
import { type LogLevel, loadProgramDescriptor, Program, type ProgramSpec } from './program.ts';
import { instructionsOf, layOutProgram, sourceOf } from './program-layout.ts';

/** A program of an object, in the kernel. */
export class ObjectProgram extends Program {
  readonly name: string;
  readonly kind: ProgramKind;

  constructor(descriptor: number, log: string, name: string, kind: ProgramKind) {
    super(descriptor, kind.type as ProgramTypeName, log, kind.attachType as AttachTypeName | null);
    this.name = name;
    this.kind = kind;
  }
}

/** What programs refer to. */
export interface ProgramContext {
  readonly object: ObjectSpec;
  /** The loaded BTF's descriptor. */
  readonly btf: number | null;
  readonly maps: ReadonlyMap<string, ObjectMap>;
  readonly sections: ReadonlyMap<string, LoadedSection>;
  /** Types to relocate to, in place of the running kernel's. */
  readonly kernelTypes: Btf | null;
  readonly logLevel: LogLevel;
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

/** The member of a kernel struct that a function implements: which struct and which of its members. */
function structOpsHook(name: string, kind: ProgramKind, object: ObjectSpec): { attachBtfId: number; member: number } {
  const map = object.maps.find(({ structOps }) => structOps?.functions.some((one) => one.name === name));
  const entry = map?.structOps?.functions.find((one) => one.name === name);
  if (map?.structOps === undefined || entry === undefined) {
    throw new ReferenceError(`program ${name} implements a member of a struct, but no map of the object holds it`);
  }
  const [attachBtfId] = kernelBtf().byName(map.structOps.type, 'struct');
  const struct = attachBtfId === undefined ? null : kernelBtf().type(attachBtfId);
  if (struct === null || struct.kind !== 'struct')
    throw new ReferenceError(`this kernel has no struct ${map.structOps.type}`);
  const local =
    map.value?.kind === 'struct' ? map.value.fields.find(({ offset }) => offset === entry.offset) : undefined;
  const wanted = local?.name ?? kind.target;
  const member = struct.members.findIndex((one) => one.name === wanted);
  if (member === -1) throw new ReferenceError(`the kernel’s struct ${map.structOps.type} has no member ${wanted}`);
  return { attachBtfId, member };
}

function hookOf(name: string, kind: ProgramKind, object: ObjectSpec): Pick<ProgramSpec, 'attachType' | 'attachBtfId'> {
  if (kind.type === 'struct_ops') {
    const { attachBtfId, member } = structOpsHook(name, kind, object);
    return { attachBtfId, attachType: member };
  }
  const attachType = kind.attachType as AttachTypeName | null;
  if (attachType !== null && !(attachType in ATTACH_TYPES)) {
    throw new TypeError(`program ${name} is for ${attachType}, which is not one of the kernel's hooks`);
  }
  return needsHookType(kind) ? { attachType, attachBtfId: hookTypeId(kind, kernelBtf()) } : { attachType };
}

/** Loads one program with the functions that it calls. @throws VerifierError, KernelError, MissingSymbolError */
export function loadObjectProgram(spec: FunctionSpec, kind: ProgramKind, context: ProgramContext): ObjectProgram {
  const { object, btf, logLevel } = context;
  if (!(kind.type in PROGRAM_TYPES))
    throw new TypeError(`program ${spec.name} is of type ${kind.type}, which is not one of the kernel's`);
  const functions = new Map(object.functions.map((one) => [one.name, one]));
  const layout = layOutProgram(spec, functions);
  const instructions = instructionsOf(layout, (relocation, one) => patchOne(relocation, one, context));
  const { descriptor, log } = loadProgramDescriptor({
    type: kind.type as ProgramTypeName,
    name: spec.name,
    license: object.license,
    flags: kind.flags,
    instructions,
    logLevel,
    source: sourceOf(layout),
    ...hookOf(spec.name, kind, object),
    ...(btf === null || object.btf === null ? {} : { btf: programBtf(btf, object.btf, layout) }),
  });
  return new ObjectProgram(descriptor, log, spec.name, kind);
}
