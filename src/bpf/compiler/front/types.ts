/**
 * Room `bpf`: types of the source, as they are written in both of TypeScript's worlds: as values (`struct({ count: u64 })`) and as
 * annotations (`flow: Value<typeof Flow> | null`).
 *
 * A newcomer would get wrong: an annotation that says nothing about the width (`number`, `bigint`, a type parameter) is not an error. It
 * gives null, and the value keeps the type it has.
 */
import { BOOLEAN, bytesOf, type FieldSpec, layOut, type StructType, type Type, VOID } from '../../types.ts';
import { type Located, refuse } from '../diagnostics.ts';
import type { Module } from './entities.ts';
import {
  argumentsOf,
  bare,
  type Call,
  type Expression,
  type ObjectLiteral,
  propertiesOf,
  type TypeNode,
} from './syntax.ts';
import type { Unit } from './unit.ts';
import { describe, type Operand } from './values.ts';

/** Evaluates an expression that must be known now. */
export type EvaluateNode = (node: Expression) => Operand;

/** What an annotation says. `type` null: nothing about the width. */
export interface Annotation {
  readonly type: Type | null;
  readonly nullable: boolean;
  /** `Reference<…>`. */
  readonly boxed: boolean;
}

const SILENT: Annotation = { type: null, nullable: false, boxed: false };

/** What BTF can say of a size, and maps of their values. */
const BYTES_MAX = 0x7fffffff;

/** The type that an expression stands for. */
export function typeOf(node: Expression, evaluate: EvaluateNode): Type {
  const operand = evaluate(node);
  if (operand.kind === 'type') return operand.type;
  return refuse(node, `${describe(operand)} is no type`, 'write a type such as u32, or the name of a struct');
}

/** The whole number that an expression stands for. */
export function numberOf(node: Expression, evaluate: EvaluateNode, least: number, greatest: number): number {
  const operand = evaluate(node);
  if (operand.kind !== 'scalar' || operand.constant === null) {
    return refuse(node, 'this number must be known when compiling', 'write it out, or name a constant of the module');
  }
  const value = Number(operand.constant);
  if (value < least || value > greatest) refuse(node, `${value} is not between ${least} and ${greatest}`);
  return value;
}

function fieldsOf(node: ObjectLiteral, evaluate: EvaluateNode): FieldSpec[] {
  return propertiesOf(node).map(({ name, value }) => {
    if (value.type === 'CallExpression' && value.callee.type === 'Identifier' && value.callee.name === 'bits') {
      const [typeNode, countNode] = argumentsOf(value);
      if (typeNode === undefined || countNode === undefined) refuse(value, 'bits takes a type and a number of bits');
      const type = typeOf(typeNode, evaluate);
      if (type.kind !== 'integer') refuse(typeNode, 'a bit field’s type is an integer', 'write bits(u8, 4)');
      return { name, type, bits: numberOf(countNode, evaluate, 1, type.bytes * 8) };
    }
    const type = typeOf(value, evaluate);
    if (type.kind === 'void') refuse(value, 'a field cannot be void');
    return { name, type };
  });
}

function structFrom(call: Call, name: string, kind: 'struct' | 'packed' | 'union', evaluate: EvaluateNode): StructType {
  const [fields, ...rest] = argumentsOf(call);
  if (fields?.type !== 'ObjectExpression' || rest.length > 0) {
    refuse(call, `${kind} takes its fields as one object`, `write ${kind}({ name: type, … })`);
  }
  return layOut(name, fieldsOf(fields, evaluate), { packed: kind === 'packed', union: kind === 'union' });
}

/** A field of a kernel's struct may point to the struct itself, so its type is built before its fields are looked at. */
function kernelStructFrom(call: Call, evaluate: EvaluateNode): StructType {
  const [name, fields] = argumentsOf(call);
  if (name?.type !== 'StringLiteral' || fields?.type !== 'ObjectExpression') {
    refuse(
      call,
      'kernelStruct takes the kernel’s name and the fields used',
      "write kernelStruct('task_struct', { pid: i32 })",
    );
  }
  return layOut(name.value, fieldsOf(fields, evaluate), { relocatable: true });
}

function pointerFrom(call: Call, evaluate: EvaluateNode): Type {
  const [target] = argumentsOf(call);
  if (target === undefined) return { kind: 'pointer', target: () => VOID };
  if (target.type === 'ArrowFunctionExpression' && target.body.type !== 'BlockStatement') {
    const body = bare(target.body);
    let found: Type | null = null;
    return {
      kind: 'pointer',
      target: () => {
        found ??= typeOf(body, evaluate);
        return found;
      },
    };
  }
  const type = typeOf(target, evaluate);
  return { kind: 'pointer', target: () => type };
}

/** What a call of one of the library's type constructors gives; null where `maker` is none. `name` is the const's. */
export function typeFromCall(call: Call, maker: string, name: string, evaluate: EvaluateNode): Type | null {
  switch (maker) {
    case 'struct':
    case 'packed':
    case 'union':
      return structFrom(call, name, maker, evaluate);
    case 'kernelStruct':
      return kernelStructFrom(call, evaluate);
    case 'pointer':
      return pointerFrom(call, evaluate);
    case 'array': {
      const [element, length] = argumentsOf(call);
      if (element === undefined || length === undefined) {
        refuse(call, 'array takes a type and a length', 'write array(u8, 6)');
      }
      const type: Type = {
        kind: 'array',
        element: typeOf(element, evaluate),
        length: numberOf(length, evaluate, 0, BYTES_MAX),
      };
      if (bytesOf(type) > BYTES_MAX) refuse(length, `this array takes more than ${BYTES_MAX} bytes`, 'make it shorter');
      return type;
    }
    default:
      return null;
  }
}

/**
 * A struct that holds pointers to its own kind has an interface in TypeScript, and a const that says so:
 * `const task_struct: StructLayout<TaskStruct> = kernelStruct(…)`, as `millrace bpf types` writes it.
 */
function layoutOfInterface(unit: Unit, module: Module, node: TypeNode, name: string): Type | null {
  for (const [constant, declaration] of module.declarations) {
    if (declaration.kind !== 'constant' || declaration.node.id.type !== 'Identifier') continue;
    const annotation = declaration.node.id.typeAnnotation;
    const type = annotation?.type === 'TSTypeAnnotation' ? annotation.typeAnnotation : null;
    if (type?.type !== 'TSTypeReference' || type.typeName.type !== 'Identifier') continue;
    const [held] = type.typeName.name === 'StructLayout' ? (type.typeArguments?.params ?? []) : [];
    if (held?.type !== 'TSTypeReference' || held.typeName.type !== 'Identifier') continue;
    if (held.typeName.name !== name) continue;
    const operand = unit.valueOf(module, constant, node);
    return operand?.kind === 'type' ? operand.type : null;
  }
  return null;
}

function namedType(unit: Unit, module: Module, node: TypeNode, name: string, depth: number): Annotation {
  if (depth > 32) refuse(node, `the type ${name} is declared by means of itself`);
  const declared = module.types.get(name);
  if (declared === undefined) {
    const value = module.declarations.has(name) ? unit.valueOf(module, name, node) : null;
    return value?.kind === 'type' ? { type: value.type, nullable: false, boxed: false } : SILENT;
  }
  if (declared.type === 'TSInterfaceDeclaration') {
    return { ...SILENT, type: layoutOfInterface(unit, module, node, name) };
  }
  if (declared.type !== 'import') return annotationOf(unit, module, declared.typeAnnotation, depth + 1);
  if (declared.from === null) {
    const definition = unit.catalogue.get(declared.name);
    return definition?.kind === 'type' ? { type: definition.type, nullable: false, boxed: false } : SILENT;
  }
  const exported = declared.from.exports.get(declared.name);
  if (typeof exported !== 'string') return SILENT;
  return namedType(unit, declared.from, node, exported, depth + 1);
}

/** `typeof Flow`, or a type written directly. */
function argumentType(unit: Unit, module: Module, node: TypeNode | undefined, depth: number): Type | null {
  if (node === undefined) return null;
  if (node.type !== 'TSTypeQuery') return annotationOf(unit, module, node, depth + 1).type;
  const { exprName } = node;
  if (exprName.type !== 'Identifier') return null;
  const operand = unit.valueOf(module, exprName.name, exprName);
  return operand?.kind === 'type' ? operand.type : null;
}

/** What a type annotation says of a value. */
export function annotationOf(unit: Unit, module: Module, node: TypeNode, depth = 0): Annotation {
  switch (node.type) {
    case 'TSBooleanKeyword':
      return { type: BOOLEAN, nullable: false, boxed: false };
    case 'TSVoidKeyword':
    case 'TSUndefinedKeyword':
      return { type: VOID, nullable: false, boxed: false };
    case 'TSAnyKeyword':
      return refuse(node, 'a value of type any has no width', 'name its type');
    case 'TSUnionType': {
      const others = node.types.filter((one) => one.type !== 'TSNullKeyword');
      const nullable = others.length < node.types.length;
      if (others.length !== 1) return { ...SILENT, nullable };
      return { ...annotationOf(unit, module, others[0], depth + 1), nullable };
    }
    case 'TSTypeOperator':
      return annotationOf(unit, module, node.typeAnnotation, depth + 1);
    case 'TSTypeQuery':
      return { ...SILENT, type: null };
    case 'TSTypeReference': {
      const { typeName } = node;
      if (typeName.type !== 'Identifier') return SILENT;
      const name = typeName.name;
      const parameters = node.typeArguments?.params;
      if (name === 'Value' || name === 'Reference') {
        const type = argumentType(unit, module, parameters?.[0], depth);
        const boxed = name === 'Reference';
        return { type, nullable: false, boxed };
      }
      if (name === 'Readonly')
        return parameters === undefined ? SILENT : annotationOf(unit, module, parameters[0], depth + 1);
      return namedType(unit, module, node, name, depth);
    }
    default:
      return SILENT;
  }
}

/** What a parameter or a variable is annotated with; null without an annotation. */
export function annotated(
  unit: Unit,
  module: Module,
  node: Located & { readonly typeAnnotation?: unknown },
): Annotation | null {
  const annotation = node.typeAnnotation as
    | { readonly type: string; readonly typeAnnotation: TypeNode }
    | null
    | undefined;
  if (annotation?.type !== 'TSTypeAnnotation') return null;
  return annotationOf(unit, module, annotation.typeAnnotation);
}
