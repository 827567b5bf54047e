/**
 * Room `bpf`: functions that a helper calls back (bpf_loop, bpf_for_each_map_elem, bpf_timer_set_callback, bpf_user_ringbuf_drain).
 *
 * A newcomer would get wrong: a callback is a function of its own with a frame of its own. It sees nothing of the function around it; what
 * it needs goes through the object that the helper passes on.
 */
import type { CallbackParameter } from '../../library/definitions.ts';
import { I64, type Type, VOID } from '../../types.ts';
import { Builder } from '../builder.ts';
import { refuse } from '../diagnostics.ts';
import type { Space, Value } from '../ir.ts';
import { convert, operandOf } from './arithmetic.ts';
import type { MapEntity, Module } from './entities.ts';
import { Frame } from './frame.ts';
import { bindParameter, lowerBody, pointerType, returnAll } from './functions.ts';
import { kernelPointer } from './memory.ts';
import { assignedIn } from './scan.ts';
import type { FunctionNode, Parameter } from './syntax.ts';
import { annotated } from './types.ts';
import { computed, isScalarType, known, NULL, type Operand, pointerTo } from './values.ts';

interface Body {
  readonly node: FunctionNode;
  readonly module: Module;
  readonly name: string;
}

/** What a callback's parameters depend on. */
interface Given {
  readonly context: Operand;
  readonly map: MapEntity | null;
}

interface Incoming {
  readonly space: Space;
  readonly type: Type;
  readonly operand: (value: Value, builder: Builder) => Operand;
}

/** What the source says of a parameter, where the helper's other arguments do not: of a timer's callback. */
function declaredType(frame: Frame, module: Module, node: Parameter | undefined): Type {
  if (node === undefined || node.type === 'AssignmentPattern') return VOID;
  return annotated(frame.unit, module, node)?.type ?? VOID;
}

function incoming(frame: Frame, parameter: CallbackParameter, given: Given, declared: Type): Incoming {
  const { context, map } = given;
  switch (parameter.kind) {
    case 'scalar': {
      const { type } = parameter;
      const scalar = isScalarType(type) ? type : I64;
      const isUnsigned32 = scalar.kind === 'integer' && scalar.bytes === 4 && !scalar.signed;
      // To the verifier all 64 bits of it are unknown.
      const operand = (value: Value, builder: Builder): Operand =>
        computed(scalar, isUnsigned32 ? builder.unary('zext', 4, value) : value);
      return { space: 'scalar', type: scalar, operand };
    }
    case 'map': {
      const operand = (value: Value): Operand => pointerTo(VOID, value, 'map', { map });
      return { space: 'map', type: pointerType(VOID), operand };
    }
    case 'key':
    case 'value': {
      const type = (parameter.kind === 'key' ? map?.spec.key : map?.spec.value) ?? declared;
      const writable = parameter.kind === 'value';
      const operand = (value: Value): Operand => pointerTo(type, value, 'mapValue', { writable });
      return { space: 'mapValue', type: pointerType(type), operand };
    }
    case 'callbackContext': {
      if (context.kind !== 'pointer') return { space: 'scalar', type: pointerType(VOID), operand: () => NULL };
      const { space, type, boxed, alignment, writable } = context;
      const operand = (value: Value): Operand => pointerTo(type, value, space, { boxed, alignment, writable });
      return { space, type: pointerType(type), operand };
    }
    case 'dynptr':
    case 'pointer': {
      const name = 'struct' in parameter ? parameter.struct : 'bpf_dynptr';
      const type = declared.kind === 'void' ? (frame.unit.structNamed(name) ?? VOID) : declared;
      const space = type.kind === 'struct' && type.relocatable ? 'kernel' : 'memory';
      const operand = (value: Value): Operand => pointerTo(type, value, space, kernelPointer(type, false));
      return { space, type: pointerType(type), operand };
    }
  }
}

/** Compiles a callback. @returns its name */
export function lowerCallback(
  outer: Frame,
  body: Body,
  parameters: readonly CallbackParameter[],
  given: Given,
): string {
  const { unit } = outer;
  const { node, module } = body;
  if (node.params.length > parameters.length) {
    refuse(node.params[parameters.length], `this callback is given ${parameters.length} arguments`);
  }
  const all = parameters.map((parameter, index) =>
    incoming(outer, parameter, given, declaredType(outer, module, node.params[index])),
  );
  const name = unit.uniqueName(body.name);
  const nameOf = (index: number): string => {
    const parameter = node.params[index];
    return parameter?.type === 'Identifier' ? parameter.name : `argument${index}`;
  };
  const builder = new Builder({
    name,
    linkage: 'static',
    location: unit.locate(node),
    spaces: all.map(({ space }) => space),
    signature: { parameters: all.map(({ type }, index) => ({ name: nameOf(index), type })), result: I64 },
  });
  const frame = new Frame(unit, module, builder, outer.rules, {
    program: outer.program,
    outer: node.type === 'FunctionDeclaration' ? null : outer,
  });
  frame.calling = outer.calling;
  frame.assigned = assignedIn(node);
  for (const [index, parameter] of node.params.entries()) {
    bindParameter(frame, parameter, all[index].operand(builder.function.parameters[index], builder));
  }
  // Without a return a callback goes on: 0.
  returnAll(frame, lowerBody(frame, node), (operand, place) => {
    const scalar = operand.kind === 'void' ? known(I64, 0n) : frame.scalarOf(place, operand);
    const given = scalar.constant;
    // The verifier wants no other (set_loop_callback_state and its like, kernel/bpf/verifier.c).
    if (given !== null && given !== 0n && given !== 1n) {
      refuse(place, `${given} is no answer of a callback`, 'return 0 to go on, 1 to stop');
    }
    return operandOf(builder, convert(builder, scalar, I64), 64);
  });
  unit.finishFunction(builder);
  return name;
}
