/**
 * Room `bpf`: `structOps('tcp_congestion_ops', { name: 'millrace', ssthresh: (socket) => … })`: a map whose value is a struct of the
 * kernel's, and a program for each of its functions.
 *
 * A newcomer would get wrong: the struct declared here has only the members that are given, in their order. The loader puts each where
 * the running kernel has the member of that name.
 */
import { BPF_F_LINK } from '../../../kernel/bpf-attributes.ts';
import type { ProgramDefinition } from '../../library/definitions.ts';
import type { MapSpec } from '../../object/spec.ts';
import { bytesOf, type FieldSpec, layOut, type Type, U8, U32, U64, VOID } from '../../types.ts';
import { refuse } from '../diagnostics.ts';
import type { Module } from './entities.ts';
import { initialBytes } from './initial-bytes.ts';
import { argumentsOf, bare, type Call, type Expression, type FunctionNode, propertyName } from './syntax.ts';
import type { EvaluateNode } from './types.ts';
import type { Unit } from './unit.ts';
import { describe } from './values.ts';

/** Texts in the kernel's structs are arrays of 16 bytes (TCP_CA_NAME_MAX) or multiples of it. */
const TEXT_BYTES = 16;

/** A member: a function, or an expression with the type that its value has. */
type Given =
  | { readonly name: string; readonly kind: 'function'; readonly node: FunctionNode; readonly module: Module }
  | { readonly name: string; readonly kind: 'value'; readonly type: Type; readonly node: Expression };

const POINTER: Type = { kind: 'pointer', target: () => VOID };

function valueType(node: Expression, evaluate: EvaluateNode): Type {
  const operand = evaluate(node);
  if (operand.kind === 'string') {
    const bytes = new TextEncoder().encode(operand.text).length + 1;
    return { kind: 'array', element: U8, length: Math.ceil(bytes / TEXT_BYTES) * TEXT_BYTES };
  }
  if (operand.kind !== 'scalar')
    refuse(node, `${describe(operand)} is no member`, 'members are functions, numbers and text');
  const isWide = operand.type.kind === 'integer' && operand.type.bytes === 8;
  return isWide ? U64 : operand.literal ? U32 : operand.type;
}

function membersOf(module: Module, node: Expression, evaluate: EvaluateNode): Given[] {
  if (node.type !== 'ObjectExpression')
    refuse(node, 'the members are an object', "write { name: 'mine', init: (socket) => { … } }");
  return node.properties.map((property): Given => {
    const name = propertyName(property);
    if (property.type === 'ObjectMethod') return { name, kind: 'function', node: property, module };
    if (property.type !== 'ObjectProperty') return refuse(property, 'this is no member');
    const value = bare(property.value as Expression);
    if (value.type === 'ArrowFunctionExpression' || value.type === 'FunctionExpression') {
      return { name, kind: 'function', node: value, module };
    }
    const named = value.type === 'Identifier' ? evaluate(value) : null;
    if (named?.kind === 'function')
      return { name, kind: 'function', node: named.function.node, module: named.function.module };
    return { name, kind: 'value', type: valueType(value, evaluate), node: value };
  });
}

/** Declares the map, and its functions as programs. */
export function declareStructOps(
  unit: Unit,
  module: Module,
  definition: ProgramDefinition,
  call: Call,
  name: string,
  evaluate: EvaluateNode,
): MapSpec {
  const [targetNode, fieldsNode] = argumentsOf(call);
  const target = targetNode === undefined ? null : evaluate(targetNode);
  if (target?.kind !== 'string' || fieldsNode === undefined) {
    refuse(
      call,
      'structOps names a struct of the kernel and its members',
      "write structOps('tcp_congestion_ops', { … })",
    );
  }
  const members = membersOf(module, fieldsNode, evaluate);
  const specs = members.map(
    (one): FieldSpec => ({ name: one.name, type: one.kind === 'function' ? POINTER : one.type }),
  );
  const struct = layOut(target.text, specs);
  const data = new Uint8Array(struct.bytes);
  const functions: { offset: number; name: string }[] = [];
  for (const [index, member] of members.entries()) {
    const { offset } = struct.fields[index];
    if (member.kind === 'value') {
      initialBytes(data, offset, member.type, member.node, evaluate);
      continue;
    }
    const program = unit.uniqueName(`${name}_${member.name}`);
    functions.push({ offset, name: program });
    unit.programs.push({
      name: program,
      definition,
      target: member.name,
      flags: definition.flags,
      section: definition.section.replace('{target}', member.name),
      node: member.node,
      module: member.module,
    });
  }
  const spec: MapSpec = {
    name,
    type: 'struct_ops',
    keyBytes: 4,
    valueBytes: bytesOf(struct),
    maxEntries: 1,
    // As libbpf's section .struct_ops.link says it: registered, replaced and taken away by a link, where the kernel has them.
    flags: BPF_F_LINK,
    key: null,
    value: struct,
    keyTypeId: 0,
    valueTypeId: 0,
    pinByName: false,
    extra: 0n,
    structOps: { type: target.text, data, functions },
  };
  unit.maps.push(spec);
  return spec;
}
