/**
 * Room `bpf`: `atomicAdd(flow, 'bytes', 5n)` and kin: one step on a number in memory that other CPUs see whole.
 *
 * A newcomer would get wrong: an atomic step that also gives the former value is slower than one that does not, so the plain form is
 * taken where the call stands as a statement.
 */
import { bytesOf } from '../../types.ts';
import { refuse } from '../diagnostics.ts';
import type { AtomicOperator, Value } from '../ir.ts';
import { convert, operandOf } from './arithmetic.ts';
import type { Frame } from './frame.ts';
import { fieldPlace, targetPlace, textOf } from './members.ts';
import { argumentsOf, type Call, type Expression } from './syntax.ts';
import { computed, describe, hostType, isScalarType, type Operand, type Place } from './values.ts';

const operators: Readonly<Record<string, AtomicOperator>> = {
  atomicAdd: 'add',
  atomicAnd: 'and',
  atomicOr: 'or',
  atomicXor: 'xor',
  atomicExchange: 'exchange',
  atomicCompareExchange: 'compareExchange',
};

/** The operator that an intrinsic stands for, or null. */
export function atomicOperator(name: string): AtomicOperator | null {
  return operators[name] ?? null;
}

function placeOf(frame: Frame, object: Expression, field: Expression): Place {
  const operand = frame.value(object);
  const name = frame.value(field);
  if (name.kind !== 'string') refuse(field, 'the field is named by a string', "write atomicAdd(flow, 'bytes', 1n)");
  if (operand.kind === 'global' && name.text === 'value') {
    const { global } = operand;
    const address = frame.builder.dataAddress(global.section, global.name, global.offset);
    const { type, writable } = global;
    const space = 'global';
    return {
      kind: 'place',
      type,
      address,
      offset: 0,
      space,
      alignment: 8,
      writable,
      core: null,
      probe: false,
      bits: null,
      pointer: null,
      text: global.name,
    };
  }
  if (operand.kind !== 'pointer')
    refuse(object, `${describe(operand)} is no place in memory`, 'pass a struct or a Reference');
  frame.present(object, operand);
  if (operand.boxed && name.text === 'value') return targetPlace(operand, `${textOf(object)}.value`);
  if (operand.boxed || operand.type.kind !== 'struct')
    refuse(field, `${describe(operand)} has no ${name.text}`, "its field is 'value'");
  return fieldPlace(field, operand, name.text, `${textOf(object)}.${name.text}`);
}

export function atomic(frame: Frame, node: Call, operator: AtomicOperator): Operand {
  const { builder } = frame;
  const given = argumentsOf(node);
  const wanted = operator === 'compareExchange' ? 4 : 3;
  if (given.length !== wanted) refuse(node, `this takes ${wanted} arguments, not ${given.length}`);
  const isDiscarded = frame.discarded === node;
  const place = placeOf(frame, given[0], given[1]);
  const { type } = place;
  if (!isScalarType(type) || type.kind !== 'integer' || type.bytes < 4 || place.bits !== null) {
    refuse(given[1], `${place.text} is ${describe(place)}`, 'atomic steps need a whole number of 32 or 64 bits');
  }
  if (type.order === 'big')
    refuse(given[1], `${place.text} is in network order`, 'keep counters in host order: u32, u64');
  if (!place.writable) refuse(given[0], `${place.text} cannot be written`);
  if (place.space === 'packet' || place.space === 'context') {
    refuse(given[0], `the verifier allows no atomic steps on the ${place.space}`, 'count in a map');
  }
  const isLogical = operator === 'and' || operator === 'or' || operator === 'xor';
  if (place.space === 'arena' && isLogical && !isDiscarded) {
    // bpf_jit_supports_insn, arch/x86/net/bpf_jit_comp.c.
    refuse(node, 'this step gives no former value in an arena', 'loop with atomicCompareExchange, or leave the value');
  }
  const numbers = given.slice(2).map((one): Value => {
    const scalar = convert(builder, frame.scalar(one), type);
    return operandOf(builder, scalar, type.bytes === 4 ? 32 : 64);
  });
  frame.at(node);
  const isExchange = operator === 'exchange' || operator === 'compareExchange';
  const value = builder.atomic(operator, bytesOf(type) as 4 | 8, {
    address: place.address,
    offset: place.offset,
    value: numbers[numbers.length - 1],
    ...(operator === 'compareExchange' ? { expected: numbers[0] } : {}),
    fetch: isExchange || !isDiscarded,
  });
  return computed(hostType(type), value);
}
