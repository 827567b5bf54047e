/**
 * Room `bpf`: calls, by what is called: a conversion, a function of the source, a helper, a map's method, an intrinsic, a kernel function.
 *
 * A newcomer would get wrong: a map's method is a helper with the map put into its place among the arguments.
 */
import { refuse } from '../diagnostics.ts';
import { callArena } from './arenas.ts';
import { convert, operandOf } from './arithmetic.ts';
import type { Frame } from './frame.ts';
import { callFunction } from './functions.ts';
import { callHelper, type MapOperand } from './helpers.ts';
import { callIntrinsic } from './intrinsics.ts';
import { refuseUnannotated } from './kernel-hints.ts';
import { kernelPointer } from './memory.ts';
import { argumentsOf, bare, type Call, type Expression } from './syntax.ts';
import { computed, describe, isScalarType, NOTHING, type Operand, pointerTo } from './values.ts';

function callMethod(frame: Frame, node: Call, map: MapOperand, name: string): Operand {
  const { definition, spec } = map.entity;
  if (definition.intrinsics?.includes(name)) return callArena(frame, node, name);
  const helperName = definition.methods[name];
  if (helperName === undefined) {
    const names = [...Object.keys(definition.methods), ...(definition.intrinsics ?? [])].join(', ');
    refuse(
      node.callee,
      `${definition.name} maps have no ${name}`,
      names === '' ? 'helpers take them' : `they have ${names}`,
    );
  }
  const helper = frame.unit.catalogue.get(helperName);
  if (helper?.kind !== 'helper') refuse(node.callee, `${spec.name}.${name} needs ${helperName}, which is unknown`);
  return callHelper(frame, node, helper, argumentsOf(node), map);
}

function callKernel(frame: Frame, node: Call, operand: Operand & { kind: 'kernelFunction' }): Operand {
  const { builder, unit } = frame;
  const { name, parameters, result } = operand;
  const given = argumentsOf(node);
  if (given.length !== parameters.length) {
    refuse(node, `${name} takes ${parameters.length} arguments, not ${given.length}`);
  }
  const values = given.map((argument, index) => {
    const type = parameters[index];
    if (isScalarType(type)) return operandOf(builder, frame.scalar(argument, type), 64);
    const value = frame.value(argument, type);
    if (value.kind === 'null') return builder.constant(0);
    if (value.kind === 'pointer') return frame.settle(frame.present(argument, value));
    refuseUnannotated(frame, argument, value, null);
    return refuse(argument, `${describe(value)} is no pointer`);
  });
  unit.addKernelSymbol(name, 'function', false);
  frame.at(node);
  const target = { kind: 'kernel', name, parameters, result } as const;
  if (isScalarType(result)) return computed(result, builder.call(target, values));
  if (result.kind === 'void') {
    builder.call(target, values);
    return NOTHING;
  }
  // pointer(task_struct) and task_struct say the same of a result: functions give structs by their address.
  const pointed = result.kind === 'pointer' ? result.target() : result;
  return pointerTo(pointed, builder.call(target, values, 'kernel'), 'kernel', {
    ...kernelPointer(pointed, false),
    nullable: true,
  });
}

function mapOf(operand: Operand): MapOperand | null {
  if (operand.kind === 'map') return { entity: operand.map, pointer: null };
  if (operand.kind === 'pointer' && operand.map !== null) return { entity: operand.map, pointer: operand };
  return null;
}

/** Lowers a call. */
export function call(frame: Frame, node: Call): Operand {
  if (node.callee.type === 'Super' || node.callee.type === 'Import') refuse(node, 'this call is not supported');
  const callee = bare(node.callee as Expression);
  if (callee.type === 'MemberExpression' && !callee.computed && callee.property.type === 'Identifier') {
    const object = frame.value(callee.object as Expression);
    const map = mapOf(object);
    if (map !== null) {
      if (map.pointer !== null) frame.present(callee.object, map.pointer);
      return callMethod(frame, node, map, callee.property.name);
    }
    if (object.kind !== 'namespace') {
      refuse(callee.property, `${describe(object)} has no method ${callee.property.name}`, 'call a function with it');
    }
  }
  const operand = frame.expression(callee);
  switch (operand.kind) {
    case 'type': {
      const [argument, ...rest] = argumentsOf(node);
      if (!isScalarType(operand.type) || argument === undefined || rest.length > 0) {
        refuse(
          node,
          `${describe(operand)} does not convert this`,
          'u32(x) converts one number; local(Type) makes a struct',
        );
      }
      return convert(frame.builder, frame.scalar(argument), operand.type);
    }
    case 'function':
      return callFunction(frame, node, operand.function, argumentsOf(node));
    case 'kernelFunction':
      return callKernel(frame, node, operand);
    case 'definition': {
      const { definition } = operand;
      if (definition.kind === 'helper') return callHelper(frame, node, definition, argumentsOf(node), null);
      if (definition.kind === 'intrinsic') return callIntrinsic(frame, node, definition);
      return refuse(
        node,
        `${definition.name} declares something and cannot be called here`,
        'call it at the top of the module',
      );
    }
    default:
      return refuse(callee, `${describe(operand)} cannot be called`, 'call a function or a helper');
  }
}
