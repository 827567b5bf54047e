/**
 * Room `bpf`: what a name of a module stands for, from its declaration.
 *
 * A newcomer would get wrong: functions are not looked into here. A program's body is lowered once everything is declared.
 */
import type { IntrinsicDefinition, ProgramDefinition } from '../../library/definitions.ts';
import { bytesOf, type Type, U8, VOID } from '../../types.ts';
import { refuse } from '../diagnostics.ts';
import { convert } from './arithmetic.ts';
import { evaluateConstant } from './constants.ts';
import type { Declaration, GlobalEntity, Module } from './entities.ts';
import { initialBytes } from './initial-bytes.ts';
import { declareMap } from './maps.ts';
import { declareStructOps } from './struct-ops.ts';
import { argumentsOf, bare, type Call, type Expression, type FunctionNode } from './syntax.ts';
import { annotated, type EvaluateNode, typeOf } from './types.ts';
import type { Unit } from './unit.ts';
import { describe, isScalarType, NOTHING, nameOfType, type Operand } from './values.ts';

function enumOf(unit: Unit, module: Module, declaration: Declaration & { kind: 'enum' }): Operand {
  const { node } = declaration;
  const members = new Map<string, bigint>();
  let next = 0n;
  for (const member of node.body.members) {
    const name = member.id.type === 'Identifier' ? member.id.name : member.id.value;
    const value = member.initializer ? evaluateConstant(unit, module, member.initializer) : null;
    if (value !== null && value.kind !== 'scalar')
      refuse(member, `${describe(value)} is no number`, 'members of an enum are numbers');
    next = value?.constant ?? next;
    members.set(name, next);
    next += 1n;
  }
  return { kind: 'enum', name: node.id.name, members };
}

function functionOf(node: Expression): FunctionNode | null {
  return node.type === 'ArrowFunctionExpression' || node.type === 'FunctionExpression' ? node : null;
}

/** The function that an argument gives: written there, or named. */
function functionArgument(
  unit: Unit,
  module: Module,
  call: Call,
  argument: Expression | undefined,
): { node: FunctionNode; module: Module } {
  const node = argument === undefined ? null : functionOf(argument);
  if (node !== null) return { node, module };
  const operand = argument === undefined ? null : evaluateConstant(unit, module, argument);
  if (operand?.kind === 'function') return operand.function;
  return refuse(argument ?? call, 'a function is wanted here', 'write (context) => { … }');
}

function declareProgram(unit: Unit, module: Module, definition: ProgramDefinition, call: Call, name: string): Operand {
  if (definition.context.kind === 'structOps') {
    declareStructOps(unit, module, definition, call, name, (node) => evaluateConstant(unit, module, node));
    return NOTHING;
  }
  const given = argumentsOf(call);
  const last = given.at(-1);
  const body = functionArgument(unit, module, call, last);
  const hook = given.length > 1 ? evaluateConstant(unit, module, given[0]) : null;
  if (definition.target !== null && hook?.kind !== 'string') {
    refuse(
      given[0] ?? call,
      `${definition.name} names ${definition.target}`,
      `write ${definition.name}('…', (context) => { … })`,
    );
  }
  const target = hook?.kind === 'string' ? hook.text : null;
  if (target !== null && !definition.section.includes('{target}')) {
    refuse(given[0], `${definition.name} names no hook`, `write ${definition.name}((context) => { … })`);
  }
  const section = definition.section.replace('{target}', target ?? '').replace(/\/$/, '');
  if (unit.programs.some((program) => program.name === name)) {
    refuse(call, `a program ${name} is there already, in another module`, 'give one of them another name');
  }
  const { flags } = definition;
  unit.programs.push({
    name: unit.uniqueName(name),
    definition,
    target,
    flags,
    section,
    node: body.node,
    module: body.module,
  });
  return { kind: 'function', function: { name, node: body.node, module: body.module, separate: true } };
}

/** Globals are written out in the object, as bytes where they are not zero. */
const GLOBAL_BYTES_MAX = 64 * 1024 * 1024;

function globalOf(unit: Unit, call: Call, name: string, readOnly: boolean, evaluate: EvaluateNode): Operand {
  const [typeNode, initial] = argumentsOf(call);
  if (typeNode === undefined) refuse(call, 'a global needs a type', 'write global(u64, 0n)');
  const type = typeOf(typeNode, evaluate);
  if (bytesOf(type) > GLOBAL_BYTES_MAX) {
    refuse(
      typeNode,
      `${nameOfType(type)} is too large for a global`,
      'keep it in an array with the flag BPF_F_MMAPABLE',
    );
  }
  const bytes = new Uint8Array(bytesOf(type));
  if (initial !== undefined) initialBytes(bytes, 0, type, initial, evaluate);
  const section = readOnly ? '.rodata' : bytes.some((byte) => byte !== 0) ? '.data' : '.bss';
  return { kind: 'global', global: unit.addGlobal(section, name, type, bytes) };
}

function textArgument(call: Call, node: Expression | undefined, evaluate: EvaluateNode): string {
  const operand = node === undefined ? null : evaluate(node);
  return operand?.kind === 'string'
    ? operand.text
    : refuse(node ?? call, 'a name is wanted here', "write it in quotes: 'CONFIG_HZ'");
}

function kconfigOf(unit: Unit, call: Call, evaluate: EvaluateNode): Operand {
  const [nameNode, typeNode] = argumentsOf(call);
  const name = textArgument(call, nameNode, evaluate);
  if (typeNode === undefined) refuse(call, 'a kconfig option needs a type', "write kconfig('CONFIG_HZ', u32)");
  const type = typeOf(typeNode, evaluate);
  const isText = type.kind === 'array' && bytesOf(type.element) === 1;
  if (!isText && !isScalarType(type)) refuse(typeNode, 'a kconfig option is a number, a boolean or text');
  const kind = isText ? 'string' : type.kind === 'boolean' ? 'boolean' : 'integer';
  return { kind: 'global', global: unit.addKconfig(name, type, kind, true) };
}

function symbolOf(unit: Unit, call: Call, evaluate: EvaluateNode): Operand {
  const [nameNode, typeNode] = argumentsOf(call);
  const name = textArgument(call, nameNode, evaluate);
  const type: Type = typeNode === undefined ? U8 : typeOf(typeNode, evaluate);
  unit.addKernelSymbol(name, 'variable', false);
  const global: GlobalEntity = { name, section: '.ksyms', offset: 0, type, writable: false };
  return { kind: 'global', global };
}

function kernelFunctionOf(call: Call, evaluate: EvaluateNode): Operand {
  const [nameNode, parameterNode, resultNode] = argumentsOf(call);
  const name = textArgument(call, nameNode, evaluate);
  if (parameterNode?.type !== 'ArrayExpression') {
    refuse(parameterNode ?? call, 'its parameters are a list of types', "write kernelFunction('name', [u64], u64)");
  }
  const parameters = parameterNode.elements.map((element) => {
    if (element === null || element.type === 'SpreadElement') refuse(parameterNode, 'this is no type');
    return typeOf(bare(element), evaluate);
  });
  const isVoid = resultNode === undefined || resultNode.type === 'NullLiteral';
  return { kind: 'kernelFunction', name, parameters, result: isVoid ? VOID : typeOf(resultNode, evaluate) };
}

/** Declarations that are calls of an intrinsic; null for what is an ordinary constant. */
function intrinsicOf(
  unit: Unit,
  module: Module,
  intrinsic: IntrinsicDefinition,
  call: Call,
  name: string,
): Operand | null {
  const evaluate: EvaluateNode = (node) => evaluateConstant(unit, module, node);
  switch (intrinsic.name) {
    case 'global':
    case 'readOnly':
      return globalOf(unit, call, name, intrinsic.name === 'readOnly', evaluate);
    case 'kconfig':
      return kconfigOf(unit, call, evaluate);
    case 'kernelSymbol':
      return symbolOf(unit, call, evaluate);
    case 'kernelFunction':
      return kernelFunctionOf(call, evaluate);
    case 'subprogram': {
      const body = functionArgument(unit, module, call, argumentsOf(call)[0]);
      return { kind: 'function', function: { name, ...body, separate: true } };
    }
    case 'license':
      unit.license = textArgument(call, argumentsOf(call)[0], evaluate);
      return NOTHING;
    case 'array': {
      const isMap = argumentsOf(call)[0]?.type === 'ObjectExpression' && intrinsic.map !== undefined;
      if (!isMap || intrinsic.map === undefined) return null;
      return { kind: 'map', map: declareMap(unit, intrinsic.map, call, name, evaluate) };
    }
    default:
      return null;
  }
}

function constantOf(
  unit: Unit,
  module: Module,
  declaration: Declaration & { kind: 'constant' },
  name: string,
): Operand {
  const { node } = declaration;
  if (!node.init) refuse(node, `${name} has no value`);
  const init = bare(node.init);
  const body = functionOf(init);
  if (body !== null) return { kind: 'function', function: { name, node: body, module, separate: false } };
  if (init.type === 'CallExpression' && init.callee.type === 'Identifier') {
    const callee = unit.valueOf(module, init.callee.name, init.callee);
    if (callee?.kind === 'definition') {
      const { definition } = callee;
      const evaluate: EvaluateNode = (inner) => evaluateConstant(unit, module, inner);
      if (definition.kind === 'map') return { kind: 'map', map: declareMap(unit, definition, init, name, evaluate) };
      if (definition.kind === 'program') return declareProgram(unit, module, definition, init, name);
      if (definition.kind === 'intrinsic') {
        const found = intrinsicOf(unit, module, definition, init, name);
        if (found !== null) return found;
      }
    }
  }
  const operand = evaluateConstant(unit, module, init, name);
  const type = node.id.type === 'Identifier' ? (annotated(unit, module, node.id)?.type ?? null) : null;
  return operand.kind === 'scalar' && type !== null && isScalarType(type) ? convert(null, operand, type) : operand;
}

/** What a name of a module stands for. */
export function evaluateDeclaration(unit: Unit, module: Module, name: string): Operand {
  const declaration = module.declarations.get(name);
  switch (declaration?.kind) {
    case 'import': {
      const { from, name: exported, node } = declaration;
      return exported === null ? { kind: 'namespace', module: from } : unit.exportOf(from, exported, node);
    }
    case 'function':
      return { kind: 'function', function: { name, node: declaration.node, module, separate: false } };
    case 'enum':
      return enumOf(unit, module, declaration);
    case 'constant':
      return constantOf(unit, module, declaration, name);
    case undefined:
      throw new Error(`${name} is not declared in ${module.path}`);
  }
}
