/**
 * Room `bpf`: structs, unions, arrays, bit fields, pointers, and structs of the kernel.
 *
 * A newcomer would get wrong: a struct is named by the `const` that holds it, which a function cannot see. The compiler reads the
 * name from the source; the layout that these functions give in user space has none.
 */
import {
  type ArrayType,
  bytesOf,
  type Field,
  type FieldSpec,
  type LayoutOptions,
  layOut,
  type PointerType,
  type StructType,
  type Type,
  VOID,
} from '../types.ts';
import type { IntrinsicDefinition } from './definitions.ts';
import {
  type ArrayLayout,
  type Fields,
  type IntegerLayout,
  type Kernel,
  type Layout,
  layout,
  type PointerLayout,
  type StructLayout,
  type StructValue,
} from './layout.ts';
import { define } from './registry.ts';

/** How many bits of its type each bit field takes. */
const bitCounts = new WeakMap<object, number>();

/** A field of a library struct as `layOut` takes it. */
export function fieldSpecs(fields: Fields): FieldSpec[] {
  return Object.entries(fields).map(([name, { type }]) => ({ name, type, bits: bitCounts.get(fields[name]) }));
}

function named<F extends Fields>(type: StructType, name = type.name): StructLayout<StructValue<F>> {
  return define(layout<StructValue<F>, StructType>(type, type.bytes), { kind: 'type', name, type });
}

/** A struct under a name: for what the library itself exports, `exported` where that is not its name in BTF. */
export function namedStruct<F extends Fields>(name: string, fields: F, exported = name): StructLayout<StructValue<F>> {
  return named<F>(layOut(name, fieldSpecs(fields)), exported);
}

/** The same without padding. */
export function packedStruct<F extends Fields>(name: string, fields: F): StructLayout<StructValue<F>> {
  return named<F>(layOut(name, fieldSpecs(fields), { packed: true }));
}

/**
 * Fields that lie over another one, as in the anonymous unions of the kernel's structs: `{ reply: 'args' }`, or bytes behind its
 * beginning: `{ tag: ['both', 2] }`. They stand behind it in the list, by ascending offset, as BTF wants them.
 */
export type Overlaid = Readonly<Record<string, string | readonly [string, number]>>;

/** A struct some of whose fields lie over others. */
export function layOutOverlaid(name: string, fields: Fields, overlaid: Overlaid): StructType {
  const specs = fieldSpecs(fields);
  const apart = layOut(
    name,
    specs.filter((spec) => !(spec.name in overlaid)),
  );
  const placeOf = (field: string): Field => apart.fields.find((other) => other.name === field) as Field;
  const placed = specs.map(({ name: field, type }) => {
    const over = overlaid[field];
    if (over === undefined) return placeOf(field);
    const [beside, behind] = typeof over === 'string' ? [over, 0] : over;
    return { name: field, type, offset: placeOf(beside).offset + behind };
  });
  return { ...apart, fields: placed };
}

/** A struct of the UAPI with anonymous unions. */
export function overlaidStruct<F extends Fields>(
  name: string,
  fields: F,
  overlaid: Overlaid,
  exported = name,
): StructLayout<StructValue<F>> {
  return named<F>(layOutOverlaid(name, fields, overlaid), exported);
}

function unnamed<F extends Fields>(fields: F, options: LayoutOptions): StructLayout<StructValue<F>> {
  const type = layOut('', fieldSpecs(fields), options);
  return layout<StructValue<F>, typeof type>(type, type.bytes);
}

const intrinsic = (name: IntrinsicDefinition['name']): IntrinsicDefinition => ({ kind: 'intrinsic', name });

/**
 * A struct with C's layout. `const Flow = struct({ source: u32, port: u16 })`; then `Flow.size` is 8 and
 * `type Flow = Value<typeof Flow>` is the TypeScript type of one.
 */
export const struct: <const F extends Fields>(fields: F) => StructLayout<StructValue<F>> = define(
  <F extends Fields>(fields: F) => unnamed(fields, {}),
  intrinsic('struct'),
);

/** A struct without padding, as headers on the wire are. */
export const packed: <const F extends Fields>(fields: F) => StructLayout<StructValue<F>> = define(
  <F extends Fields>(fields: F) => unnamed(fields, { packed: true }),
  intrinsic('packed'),
);

/** Fields that all begin at the same place. */
export const union: <const F extends Fields>(fields: F) => StructLayout<StructValue<F>> = define(
  <F extends Fields>(fields: F) => unnamed(fields, { union: true }),
  intrinsic('union'),
);

/**
 * A struct of the kernel's, by the kernel's name. List the fields that the program uses, with the kernel's names; where they lie is
 * found when the program is loaded (CO-RE), so that one program runs on many kernels.
 */
export const kernelStruct: <const N extends string, const F extends Fields>(
  name: N,
  fields: F,
) => StructLayout<StructValue<F> & Kernel<N>> = define(<N extends string, F extends Fields>(name: N, fields: F) => {
  const type = layOut(name, fieldSpecs(fields), { relocatable: true });
  return layout<StructValue<F> & Kernel<N>, typeof type>(type, type.bytes);
}, intrinsic('kernelStruct'));

/** `length` elements of one type. The map constructor `array` is the same name with an object. */
export function arrayOf<T>(element: Layout<T>, length: number): ArrayLayout<T> {
  const type: ArrayType = { kind: 'array', element: element.type, length };
  return layout(type, bytesOf(type));
}

/** A bit field: `bits(u8, 4)`. The next one goes on where this one ends, from the least significant bit up. */
export const bits: <T extends number | bigint>(type: IntegerLayout<T>, count: number) => Layout<T> = define(
  <T extends number | bigint>(type: IntegerLayout<T>, count: number) => {
    const field = layout<T, typeof type.type>(type.type, type.size);
    bitCounts.set(field, count);
    return field;
  },
  intrinsic('bits'),
);

interface PointerConstructor {
  /** A pointer to a struct. Where the verifier follows it (BTF tracepoints, fentry, iterators) its fields are read directly. */
  <T>(target: Layout<T> | (() => Layout<T>)): PointerLayout<T>;
  /** A pointer to anything: a number until `read` follows it. */
  (): PointerLayout<Kernel<'void'>>;
}

/** An integer's name is a function, too, but has a type. */
const isLater = (target: Layout | (() => Layout)): target is () => Layout => !('type' in target);

function pointerTo(target?: Layout | (() => Layout)): PointerLayout<Kernel<'void'>> {
  const targetType = (): Type => {
    if (target === undefined) return VOID;
    return isLater(target) ? target().type : target.type;
  };
  return layout<Kernel<'void'>, PointerType>({ kind: 'pointer', target: targetType }, 8);
}

/** A pointer that lies in memory, 8 bytes: `parent: pointer(task_struct)`; `pointer(() => task_struct)` for what is defined later. */
export const pointer = define(pointerTo as PointerConstructor, intrinsic('pointer'));
