/**
 * Room `bpf`: what one BTF record says, as a value (Documentation/bpf/btf.rst). Other types are named by their ids in the same table.
 *
 * A newcomer would get wrong: modifiers (const, volatile, restrict, typedefs, type tags) are types of their own that stand between a
 * user and the type it means; `Btf.resolve` skips them.
 */

/** A member of a struct or union. */
export interface BtfMember {
  readonly name: string;
  readonly type: number;
  /** From the struct's beginning. */
  readonly offsetBits: number;
  /** Of a bit field; 0 elsewhere. */
  readonly bits: number;
}

/** What an enum calls a number. `value` may be negative where the enum is signed. */
export interface BtfEnumValue {
  readonly name: string;
  readonly value: bigint;
}

/** A parameter. The last of a variadic function has no name and type 0. */
export interface BtfParameter {
  readonly name: string;
  readonly type: number;
}

/** Where a variable lies in a data section. */
export interface BtfPlace {
  /** A `var`, or in `.ksyms` a `func`. */
  readonly type: number;
  readonly offset: number;
  readonly bytes: number;
}

/** Types that only stand before another one. */
export interface BtfModifier {
  readonly kind: 'typedef' | 'volatile' | 'const' | 'restrict' | 'typeTag';
  readonly name: string;
  readonly type: number;
}

export interface BtfInteger {
  readonly kind: 'int';
  readonly name: string;
  readonly bytes: number;
  readonly bits: number;
  /** Of its first bit; 0 in all that current compilers write. */
  readonly offsetBits: number;
  readonly signed: boolean;
  readonly character: boolean;
  readonly boolean: boolean;
}

export interface BtfComposite {
  readonly kind: 'struct' | 'union';
  /** Empty for an anonymous one. */
  readonly name: string;
  readonly bytes: number;
  readonly members: readonly BtfMember[];
}

export interface BtfEnum {
  readonly kind: 'enum' | 'enum64';
  readonly name: string;
  readonly bytes: number;
  readonly signed: boolean;
  readonly values: readonly BtfEnumValue[];
}

export interface BtfPrototype {
  readonly kind: 'funcProto';
  readonly name: '';
  readonly result: number;
  readonly parameters: readonly BtfParameter[];
}

/** Any record; `void` is type 0. */
export type BtfType =
  | { readonly kind: 'void'; readonly name: '' }
  | BtfInteger
  | { readonly kind: 'ptr'; readonly name: ''; readonly type: number }
  | {
      readonly kind: 'array';
      readonly name: '';
      readonly element: number;
      readonly index: number;
      readonly length: number;
    }
  | BtfComposite
  | BtfEnum
  | { readonly kind: 'fwd'; readonly name: string; readonly union: boolean }
  | BtfModifier
  | { readonly kind: 'func'; readonly name: string; readonly type: number; readonly linkage: number }
  | BtfPrototype
  | { readonly kind: 'var'; readonly name: string; readonly type: number; readonly linkage: number }
  | { readonly kind: 'datasec'; readonly name: string; readonly bytes: number; readonly places: readonly BtfPlace[] }
  | { readonly kind: 'float'; readonly name: string; readonly bytes: number }
  /** `component` counts members or parameters; -1: the type itself. */
  | { readonly kind: 'declTag'; readonly name: string; readonly type: number; readonly component: number };

export type BtfKind = BtfType['kind'];

/** The names of kinds by the kernel's BTF_KIND_ numbers. */
export const KINDS: readonly BtfKind[] = [
  'void',
  'int',
  'ptr',
  'array',
  'struct',
  'union',
  'enum',
  'fwd',
  'typedef',
  'volatile',
  'const',
  'restrict',
  'func',
  'funcProto',
  'var',
  'datasec',
  'float',
  'declTag',
  'typeTag',
  'enum64',
];

/** What is wrong with bytes that should be BTF. */
export class BtfError extends Error {
  override readonly name = 'BtfError';
}

/**
 * A name without its flavour: task_struct___old is task_struct. The flavour stands behind exactly three underscores, so that a program
 * can have several definitions of one kernel type.
 */
export function essentialName(name: string): string {
  const separators = [...name.matchAll(/(?<=[^_])___(?=[^_])/g)];
  return name.slice(0, separators.at(-1)?.index ?? name.length);
}
