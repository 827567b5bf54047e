/**
 * Room `bpf`: what to write where a program uses a field of something that the kernel passes and the source does not annotate.
 *
 * A newcomer would get wrong: the running kernel's types are asked here for the words of a refusal only. What compiles does not depend on
 * the machine that compiles it (docs/decisions/0014-annotated-hooks.md).
 */
import { kernelBtf } from '../../object/btf/kernel.ts';
import type { Btf } from '../../object/btf/table.ts';
import { typeOf } from '../../object/btf/to-type.ts';
import { fieldOf, type StructType, type Type } from '../../types.ts';
import { type Located, refuse } from '../diagnostics.ts';
import type { ProgramEntity } from './entities.ts';
import type { Frame } from './frame.ts';
import { membersIn } from './scan.ts';
import type { Operand } from './values.ts';

/** Where the kernel's types describe a hook's arguments. */
const prototypes: Readonly<Record<string, { readonly prefix: string; readonly kind: 'func' | 'typedef' }>> = {
  btfTracepoint: { prefix: 'btf_trace_', kind: 'typedef' },
  function: { prefix: '', kind: 'func' },
  functionExit: { prefix: '', kind: 'func' },
  lsm: { prefix: 'bpf_lsm_', kind: 'func' },
};

/** The types of what a hook passes, one after the other; none where the kernel does not have the hook. */
function argumentTypes(btf: Btf, kind: string, target: string): readonly number[] {
  const { prefix, kind: btfKind } = prototypes[kind];
  const [id] = btf.byName(`${prefix}${target}`, btfKind);
  if (id === undefined) return [];
  const type = btf.resolved(id);
  const prototype = type.kind === 'ptr' || type.kind === 'func' ? btf.resolved(type.type) : type;
  if (prototype.kind !== 'funcProto') return [];
  const types = prototype.parameters.map((one) => one.type);
  // A tracepoint's first is the tracing program itself, which no program is given. What a function gives is behind its arguments.
  if (btfKind === 'typedef') return types.slice(1);
  return kind === 'functionExit' || kind === 'lsm' ? [...types, prototype.result] : types;
}

/** A type as C writes it. */
function textOf(btf: Btf, id: number): string {
  const type = btf.type(id);
  switch (type.kind) {
    case 'ptr': {
      const target = textOf(btf, type.type);
      return target.endsWith('*') ? `${target}*` : `${target} *`;
    }
    case 'const':
      return `const ${textOf(btf, type.type)}`;
    case 'volatile':
    case 'restrict':
    case 'typeTag':
      return textOf(btf, type.type);
    case 'struct':
    case 'union':
    case 'enum':
      return `${type.kind} ${type.name}`;
    case 'enum64':
      return `enum ${type.name}`;
    case 'fwd':
      return `${type.union ? 'union' : 'struct'} ${type.name}`;
    default:
      return type.name === '' ? type.kind : type.name;
  }
}

/** A field's type as an expression of the language; null where it needs declarations of its own. */
function expressionOf(type: Type): string | null {
  switch (type.kind) {
    case 'integer':
      return type.name;
    case 'boolean':
      return 'boolean';
    case 'array': {
      const element = expressionOf(type.element);
      return element === null ? null : `array(${element}, ${type.length})`;
    }
    case 'pointer': {
      const target = type.target();
      return target.kind === 'struct' && target.name !== ''
        ? `pointer(kernelStruct('${target.name}', {}))`
        : 'pointer()';
    }
    case 'struct':
      return type.name === '' ? null : `kernelStruct('${type.name}', {})`;
    case 'void':
      return null;
  }
}

/** Those of the fields that the struct has, as a declaration lists them. */
function listFields(struct: StructType, names: readonly string[]): string {
  const parts = names.flatMap((name) => {
    const field = fieldOf(struct, name);
    if (field === null) return [];
    const { type, bits } = field;
    if (bits !== undefined) return [`${name}: bits(${type.kind === 'integer' ? type.name : 'u8'}, ${bits.count})`];
    return [`${name}: ${expressionOf(type) ?? '…'}`];
  });
  return parts.length === 0 ? '{}' : `{ ${parts.join(', ')} }`;
}

/** What declares the struct, unless the module does already, and the annotation. */
function declare(frame: Frame, name: string, struct: StructType, fields: readonly string[]): string {
  const annotation = `(${name}: Value<typeof ${struct.name}>)`;
  if (frame.module.declarations.has(struct.name)) return `write ${annotation}`;
  const list = listFields(struct, fields);
  const rest = list.includes('…') ? `; “millrace bpf types ${struct.name}” writes what stands for …` : '';
  return `write const ${struct.name} = kernelStruct('${struct.name}', ${list}) and ${annotation}${rest}`;
}

/** The struct that a type or a pointer to it names; null for anything else. */
function structAt(btf: Btf, id: number): StructType | null {
  const outer = btf.resolved(id);
  const inner = outer.kind === 'ptr' ? btf.resolve(outer.type) : btf.resolve(id);
  const type = btf.type(inner);
  if ((type.kind !== 'struct' && type.kind !== 'union') || type.name === '') return null;
  const found = typeOf(btf, inner);
  return found.kind === 'struct' ? found : null;
}

/** The argument that an operand is, by its number, where it was read from a hook's arguments without an annotation. */
function argumentIndex(frame: Frame, program: ProgramEntity, operand: Operand): number | null {
  if (!(program.definition.context.kind in prototypes) || operand.kind !== 'scalar') return null;
  const { value } = operand;
  if (value?.kind !== 'load' || value.width !== 8 || value.address !== frame.builder.function.parameters[0])
    return null;
  return value.offset / 8;
}

function nameOfParameter(program: ProgramEntity, index: number): string | null {
  const parameter = program.node.params[index];
  const target = parameter?.type === 'AssignmentPattern' ? parameter.left : parameter;
  return target?.type === 'Identifier' ? target.name : null;
}

/** The types of the running kernel; null where it shows none. */
function typesHere(): Btf | null {
  try {
    return kernelBtf();
  } catch {
    // A refusal is what is wanted here, with or without a hint.
    return null;
  }
}

const GENERAL = (name: string): string =>
  `annotate it: (${name}: Value<typeof T>), where “millrace bpf types” writes the declaration of T`;

function adviceOnArgument(
  frame: Frame,
  program: ProgramEntity,
  index: number,
  name: string,
  field: string | null,
): string {
  const btf = typesHere();
  const types =
    btf === null || program.target === null ? [] : argumentTypes(btf, program.definition.context.kind, program.target);
  if (btf === null || types[index] === undefined) return GENERAL(name);
  const what = `this kernel passes ${textOf(btf, types[index])} there`;
  const struct = structAt(btf, types[index]);
  if (struct === null) {
    const isAddress = btf.resolved(types[index]).kind === 'ptr';
    return isAddress ? `${what}: read(${name}, T) reads at an address` : what;
  }
  if (field !== null && fieldOf(struct, field) === null) return `${what}, which has no field ${field}`;
  // One declaration serves all arguments of this type.
  const alike = program.node.params.flatMap((_, other) => {
    const type = types[other] === undefined ? null : structAt(btf, types[other]);
    const used = nameOfParameter(program, other);
    return type?.name === struct.name && used !== null ? membersIn(program.node, used) : [];
  });
  return `${what}: ${declare(frame, name, struct, [...new Set(alike)])}`;
}

/** The struct by whose name the kernel's types know a context. */
function contextStruct(btf: Btf, program: ProgramEntity): StructType | null {
  const { definition, target } = program;
  if (target === null) return null;
  const event = target.replace(/^.*[/:]/, '').replace(/^(sys_(?:enter|exit))_.*$/, '$1');
  const name = definition.context.kind === 'iterator' ? `bpf_iter__${target}` : `trace_event_raw_${event}`;
  const [id] = btf.byName(name, 'struct');
  return id === undefined ? null : structAt(btf, id);
}

/** What to annotate a context with, of a tracepoint or an iterator. A layout is needed, which an interface is not. */
export function adviceOnContext(frame: Frame, program: ProgramEntity, name = 'context'): string {
  const btf = typesHere();
  const struct = btf === null ? null : contextStruct(btf, program);
  const fields = membersIn(program.node, name);
  if (struct !== null && fields.length > 0 && fields.every((field) => fieldOf(struct, field) !== null)) {
    return declare(frame, name, struct, fields);
  }
  const isIterator = program.definition.context.kind === 'iterator';
  const declaration = isIterator ? "kernelStruct('bpf_iter__…', { … })" : 'struct({ common: u64, … })';
  return `declare const Event = ${declaration} and write (${name}: Value<typeof Event>)`;
}

/** Refuses the use of a field of a context without an annotation. */
export function refuseContext(frame: Frame, node: Located): never {
  const { program } = frame;
  const advice = program === null ? null : adviceOnContext(frame, program, nameOfParameter(program, 0) ?? 'context');
  return refuse(node, 'the fields of this context are not known', advice);
}

/**
 * Refuses the use of an unannotated argument of a hook as what it points to, in words that say what it is; does nothing for other
 * operands.
 * @param field null: a pointer is wanted
 */
export function refuseUnannotated(frame: Frame, node: Located, operand: Operand, field: string | null): void {
  const { program } = frame;
  const index = program === null ? null : argumentIndex(frame, program, operand);
  const name = program === null || index === null ? null : nameOfParameter(program, index);
  if (program === null || index === null || name === null) return;
  refuse(
    node,
    `${name} is not annotated, so it is a u64 and ${field === null ? 'no pointer' : `has no ${field}`}`,
    adviceOnArgument(frame, program, index, name, field),
  );
}
