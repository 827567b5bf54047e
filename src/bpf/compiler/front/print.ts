/**
 * Room `bpf`: print(`port ${port}`): a line in trace_pipe, its format made from the types of the values.
 *
 * A newcomer would get wrong: bpf_trace_printk takes three values. With more of them an array goes to bpf_trace_vprintk (Linux 5.16).
 */
import { bytesOf, type Type, U64 } from '../../types.ts';
import { refuse } from '../diagnostics.ts';
import type { Value } from '../ir.ts';
import { widened } from './arithmetic.ts';
import type { Frame } from './frame.ts';
import { reachable } from './helpers.ts';
import { slotFor } from './initialise.ts';
import { globalPlace } from './members.ts';
import { argumentsOf, type Call, type Expression } from './syntax.ts';
import { describe, NOTHING, type Operand } from './values.ts';

const PRINTK_VALUES_MAX = 3;
const VPRINTK_VALUES_MAX = 12;

function directive(type: Type): string {
  if (type.kind !== 'integer') return '%d';
  if (type.bytes === 8) return type.signed ? '%lld' : '%llu';
  return type.signed ? '%d' : '%u';
}

function part(frame: Frame, node: Expression): { readonly directive: string; readonly value: Value } {
  const operand = frame.value(node);
  if (operand.kind === 'scalar') return { directive: directive(operand.type), value: widened(frame.builder, operand) };
  if (operand.kind === 'string') {
    return { directive: '%s', value: frame.addressOf(globalPlace(frame, frame.unit.addString(operand.text))) };
  }
  if (operand.kind === 'pointer' && operand.type.kind === 'array' && bytesOf(operand.type.element) === 1) {
    const text = operand.space === 'arena' ? reachable(frame, node, operand, false) : frame.present(node, operand);
    return { directive: '%s', value: frame.addressOf(text) };
  }
  const advice =
    operand.kind === 'pointer' && operand.boxed
      ? 'print its value: x.value'
      : 'print numbers, and arrays of u8 as text';
  return refuse(node, `${describe(operand)} cannot be printed`, advice);
}

export function print(frame: Frame, node: Call): Operand {
  const { builder, unit } = frame;
  unit.requireGpl(node, 'bpf_trace_printk');
  const [template, ...rest] = argumentsOf(node);
  const constant = template?.type === 'Identifier' ? frame.value(template) : null;
  const isText = constant?.kind === 'string' || /^(?:TemplateLiteral|StringLiteral)$/.test(template?.type ?? '');
  if (template === undefined || rest.length > 0 || !isText) {
    refuse(node, 'print takes one template', 'write print(`port …`)');
  }
  const texts: string[] = [];
  const values: Value[] = [];
  const literally = (text: string): string => text.replaceAll('%', '%%');
  if (constant?.kind === 'string') texts.push(literally(constant.text));
  if (template.type === 'StringLiteral') texts.push(literally(template.value));
  if (template.type === 'TemplateLiteral') {
    for (const [index, quasi] of template.quasis.entries()) {
      texts.push(literally(quasi.value.cooked ?? ''));
      const expression = template.expressions[index];
      if (expression === undefined) continue;
      const { directive: text, value } = part(frame, expression as Expression);
      texts.push(text);
      values.push(value);
    }
  }
  if (values.length > VPRINTK_VALUES_MAX)
    refuse(node, `${values.length} values are too many`, `print takes up to ${VPRINTK_VALUES_MAX}`);
  frame.at(node);
  const format = globalPlace(frame, unit.addString(texts.join('')));
  const head = [frame.addressOf(format), builder.constant(bytesOf(format.type))];
  if (values.length <= PRINTK_VALUES_MAX) {
    builder.call({ kind: 'helper', id: 6, name: 'bpf_trace_printk' }, [...head, ...values]);
    return NOTHING;
  }
  const list = slotFor(frame, node, { kind: 'array', element: U64, length: values.length }, 'values');
  for (const [index, value] of values.entries()) builder.store(8, list.address, value, { offset: index * 8 });
  const tail = [list.address, builder.constant(values.length * 8)];
  builder.call({ kind: 'helper', id: 177, name: 'bpf_trace_vprintk' }, [...head, ...tail]);
  return NOTHING;
}
