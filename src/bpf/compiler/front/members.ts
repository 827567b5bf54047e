/**
 * Room `bpf`: `a.b` and `a[i]`: from an object to a place within it.
 *
 * A newcomer would get wrong: nothing is read here. A place is read when its value is wanted, so that `ip.source === other.source` and
 * copies between fields in network order need no swapping.
 */
import { bytesOf, fieldOf, type StructType, type Type, U32 } from '../../types.ts';
import { type Located, refuse } from '../diagnostics.ts';
import { widened } from './arithmetic.ts';
import { partOf } from './constants.ts';
import type { Frame } from './frame.ts';
import { refuseContext, refuseUnannotated } from './kernel-hints.ts';
import { load } from './memory.ts';
import { bare, type Expression, type ExpressionOf, type Member } from './syntax.ts';
import { describe, known, type Operand, type Place, type Pointer } from './values.ts';

type AnyMember = Member | ExpressionOf<'OptionalMemberExpression'>;

/** The text of a simple expression, for messages. */
export function textOf(node: Located & { readonly type: string }): string {
  const one = node as Expression;
  if (one.type === 'Identifier') return one.name;
  if (one.type === 'MemberExpression' && one.property.type === 'Identifier') {
    return one.computed
      ? `${textOf(one.object)}[${textOf(one.property)}]`
      : `${textOf(one.object)}.${one.property.name}`;
  }
  if (one.type === 'MemberExpression') return `${textOf(one.object)}[…]`;
  return 'this';
}

function placeIn(pointer: Pointer, type: Type, text: string, changes: Partial<Place> = {}): Place {
  const { address, offset, space, alignment, writable, core, probe } = pointer;
  const place: Place = {
    kind: 'place',
    type,
    address,
    offset,
    space,
    alignment,
    writable,
    core,
    probe,
    bits: null,
    pointer: null,
    text,
  };
  return { ...place, ...changes };
}

/** A field of what a pointer points to. */
export function fieldPlace(node: Located, pointer: Pointer, name: string, text: string): Place {
  const struct = pointer.type as StructType;
  const field = fieldOf(struct, name);
  if (field === null) {
    const names = struct.fields.map((one) => one.name).join(', ');
    const advice = struct.relocatable
      ? `declare it in its kernelStruct, as “millrace bpf types ${struct.name}” does`
      : null;
    refuse(node, `${describe(pointer)} has no field ${name}`, advice ?? `it has ${names === '' ? 'none' : names}`);
  }
  const { context } = pointer;
  const core = pointer.core === null ? null : { struct: pointer.core.struct, path: [...pointer.core.path, name] };
  return placeIn(pointer, field.type, text, {
    offset: pointer.offset + field.offset,
    bits: field.bits ?? null,
    core,
    writable: context === null ? pointer.writable : context.writable.includes(name),
    pointer: context?.pointers[name] ?? null,
  });
}

/** What lies where a Reference or a pointer points. */
export function targetPlace(pointer: Pointer, text: string): Place {
  return placeIn(pointer, pointer.type, text);
}

function memberOfPointer(frame: Frame, node: AnyMember, pointer: Pointer, name: string): Operand {
  const { type } = pointer;
  if (name === 'length' && type.kind === 'array') return known(U32, BigInt(type.length), true);
  frame.present(node.object, pointer);
  const text = textOf(node);
  if (type.kind === 'void' && pointer.space === 'context') refuseContext(frame, node.object);
  if (pointer.boxed) {
    if (name === 'value') return targetPlace(pointer, text);
    const advice =
      pointer.type.kind === 'struct' ? `write ${textOf(node.object)}.value.${name}` : 'its value is .value';
    refuse(node.property, `${describe(pointer)} has no ${name}`, advice);
  }
  if (type.kind === 'struct') return fieldPlace(node.property, pointer, name, text);
  return refuse(node.property, `${describe(pointer)} has no ${name}`);
}

function element(frame: Frame, node: AnyMember, pointer: Pointer): Operand {
  const { builder } = frame;
  const { type } = pointer;
  if (type.kind !== 'array') refuse(node, `${describe(pointer)} has no elements`, 'only arrays are indexed');
  if (pointer.boxed) refuse(node, `${describe(pointer)} has no elements`, `write ${textOf(node.object)}.value[…]`);
  frame.present(node.object, pointer);
  const index = frame.scalar(node.property as Expression);
  const size = bytesOf(type.element);
  const text = textOf(node);
  if (index.constant !== null) {
    const at = Number(index.constant);
    // The last array of a kernel struct may be longer than it says.
    const isOpen = pointer.core !== null && type.length === 0;
    if (at < 0 || (at >= type.length && !isOpen)) {
      refuse(node.property, `${at} is outside of ${describe(pointer)}`, `indices go from 0 to ${type.length - 1}`);
    }
    const core = pointer.core === null ? null : { struct: pointer.core.struct, path: [...pointer.core.path, at] };
    return placeIn(pointer, type.element, text, { offset: pointer.offset + at * size, core });
  }
  if (index.low > BigInt(type.length - 1) || index.high < 0n) {
    refuse(node.property, `this is always outside of ${describe(pointer)}`, `indices go from 0 to ${type.length - 1}`);
  }
  const wide = widened(builder, index);
  const scaled = size === 1 ? wide : builder.binary('mul', 64, wide, builder.constant(size));
  const base = pointer.core === null ? pointer.address : frame.addressOf(pointer);
  const address = builder.binary('add', 64, base, scaled, pointer.space);
  const offset = pointer.core === null ? pointer.offset : 0;
  const alignment = Math.min(pointer.alignment, size & -size);
  return placeIn(pointer, type.element, text, { address, offset, alignment, core: null });
}

/** An element of a list of the source, which is nowhere when the program runs. */
function elementOfList(frame: Frame, node: AnyMember, elements: readonly Operand[]): Operand {
  const index = frame.scalar(node.property as Expression);
  const table = `write readOnly(array(u32, ${elements.length}), […]) at the top of the module, and index its .value`;
  if (index.constant === null) refuse(node, 'a list of the source has no elements when the program runs', table);
  const found = elements[Number(index.constant)];
  return (
    found ?? refuse(node.property, `${index.constant} is outside of this list`, `it has ${elements.length} elements`)
  );
}

/** `object.name` or `object[index]`. */
export function member(frame: Frame, node: AnyMember): Operand {
  if (node.object.type === 'Super') refuse(node, '“super” is not supported');
  return memberOf(frame, node, frame.expression(bare(node.object)));
}

/** The same of an object that has been evaluated. */
export function memberOf(frame: Frame, node: AnyMember, object: Operand): Operand {
  if (node.property.type === 'PrivateName') refuse(node, 'private fields are not supported');
  const isNamed = !node.computed && node.property.type === 'Identifier';
  const name = node.property.type === 'Identifier' ? node.property.name : '';
  if (isNamed) {
    const part = partOf(frame.unit, node, object, name);
    if (part !== null) return part;
  }
  if (object.kind === 'list' && !isNamed) return elementOfList(frame, node, object.elements);
  if (object.kind === 'global') {
    const { global } = object;
    if (!isNamed || name !== 'value') refuse(node, `${global.name} is a global`, `its value is ${global.name}.value`);
    return globalPlace(frame, global);
  }
  const target = object.kind === 'place' ? load(frame, node.object, object) : object;
  if (target.kind !== 'pointer') {
    if (isNamed && target.kind === 'map') refuse(node, `${describe(target)} has no ${name}`, 'call one of its methods');
    if (isNamed) refuseUnannotated(frame, node, target, name);
    refuse(node, `${describe(target)} has no ${isNamed ? name : 'elements'}`);
  }
  return isNamed ? memberOfPointer(frame, node, target, name) : element(frame, node, target);
}

/** Where a global variable lies. */
export function globalPlace(
  frame: Frame,
  global: {
    readonly name: string;
    readonly section: string;
    readonly offset: number;
    readonly type: Type;
    readonly writable: boolean;
  },
): Place {
  const address = frame.builder.dataAddress(global.section, global.name, global.offset);
  return {
    kind: 'place',
    type: global.type,
    address,
    offset: 0,
    space: 'global',
    alignment: 8,
    writable: global.writable,
    core: null,
    probe: false,
    bits: null,
    pointer: null,
    text: `${global.name}.value`,
  };
}

/** A global is passed as a Reference is: its value is meant. */
export const withoutGlobal = (frame: Frame, operand: Operand): Operand =>
  operand.kind === 'global' ? globalPlace(frame, operand.global) : operand;
