/**
 * Room `bpf`: what an expression of the source stands for while it is lowered: a number, a place in memory, a pointer, or something that
 * exists only in the compiler (a type, a map, a function).
 *
 * A newcomer would get wrong: of a scalar narrower than 64 bits only the low 32 bits of the IR value are its own, as the value that C
 * promotes it to. A u32 and whatever is known not to be negative has a clear high half; another i32 may have anything there until it is
 * widened. Widening late is what keeps 32-bit arithmetic at one instruction each.
 */
import type { ContextStruct, Definition } from '../../library/definitions.ts';
import {
  type BooleanType,
  type Field,
  type IntegerType,
  type StructType,
  type Type,
  U16,
  U32,
  U64,
} from '../../types.ts';
import type { Condition, Space, Value } from '../ir.ts';
import type { FunctionEntity, GlobalEntity, MapEntity, Module } from './entities.ts';

/** A number or a boolean. One of `value` and `constant` is set. */
export interface Scalar {
  readonly kind: 'scalar';
  /** In host order: a be16 that was loaded is a u16. */
  readonly type: IntegerType | BooleanType;
  readonly value: Value | null;
  readonly constant: bigint | null;
  /** A constant without a type of its own, which takes that of the other operand. */
  readonly literal: boolean;
  /** The value lies between these, both included. */
  readonly low: bigint;
  readonly high: bigint;
}

/** Where a place lies: `address + offset`. */
export interface Location {
  readonly address: Value;
  readonly offset: number;
  readonly space: Space;
  /** What `address` is a multiple of; on the stack an access must be aligned. */
  readonly alignment: number;
  readonly writable: boolean;
  /** Set within a struct of the kernel's: the struct that `address` points to and the way from there. */
  readonly core: { readonly struct: StructType; readonly path: readonly (string | number)[] } | null;
  /** The kernel's memory that only bpf_probe_read_kernel may read. */
  readonly probe: boolean;
}

/** Something in memory that can be read, and written where it is `writable`. */
export interface Place extends Location {
  readonly kind: 'place';
  readonly type: Type;
  readonly bits: Field['bits'] | null;
  /** For a field of the context that is a pointer. */
  readonly pointer: ContextStruct['pointers'][string] | null;
  /** For diagnostics: `ip.source`. */
  readonly text: string;
}

/** One comparison that must hold for a pointer to be there. */
export interface Test {
  readonly condition: Condition;
  readonly bits: 32 | 64;
  readonly left: Value;
  readonly right: Value;
}

/** A pointer: a struct, an array, or a Reference to something else (`boxed`: it has only `value`). */
export interface Pointer extends Location {
  readonly kind: 'pointer';
  readonly type: Type;
  readonly boxed: boolean;
  /** May be null by its type; flow may know better. */
  readonly nullable: boolean;
  /**
   * Tests that say whether it is there, in place of a comparison with 0: for the packet the comparison with its end. They are made where
   * the source asks, so that a bounds check costs one branch.
   */
  readonly tests: readonly Test[] | null;
  /** The variable it was read from: a test narrows that. */
  readonly binding: Binding | null;
  /** For the context: which fields are pointers, which may be written. */
  readonly context: ContextStruct | null;
  /** Set for what a helper gave and another must take back: bpf_sk_release. */
  readonly release: string | null;
  /** Which packet it points into: helpers that move the packet begin a new one. */
  readonly packet: object | null;
  /** For a map that was found in a map of maps: what its like is. */
  readonly map: MapEntity | null;
}

/** What is only there while compiling. */
type Compiled =
  | { readonly kind: 'type'; readonly type: Type }
  | { readonly kind: 'map'; readonly map: MapEntity }
  | { readonly kind: 'global'; readonly global: GlobalEntity }
  | { readonly kind: 'function'; readonly function: FunctionEntity }
  | { readonly kind: 'definition'; readonly definition: Definition }
  | { readonly kind: 'string'; readonly text: string }
  | { readonly kind: 'enum'; readonly name: string; readonly members: ReadonlyMap<string, bigint> }
  /** A list of the source: for…of over it is written out. `address`: its bytes on the wire, where it is one of IPv6. */
  | { readonly kind: 'list'; readonly elements: readonly Operand[]; readonly address?: Uint8Array }
  | { readonly kind: 'namespace'; readonly module: Module | null }
  | {
      readonly kind: 'kernelFunction';
      readonly name: string;
      readonly parameters: readonly Type[];
      readonly result: Type;
    };

export type Operand =
  | Scalar
  | Place
  | Pointer
  | Compiled
  | { readonly kind: 'null' }
  | { readonly kind: 'void' }
  /** Its declaration was refused. */
  | { readonly kind: 'broken' };

/** A variable of a function. What a pointer leads to may become known only when it first gets one that is not null. */
export interface LocalVariable {
  readonly ir: { readonly name: string; space: Space };
  shape: Scalar | Pointer;
}

/** A local name: what it stands for. */
export interface Binding {
  readonly name: string;
  /** Its operand, where it never changes. */
  readonly operand: Operand | null;
  /** Where its value changes: the IR's variable, and an operand that says all but the value. */
  readonly variable: LocalVariable | null;
}

export const NULL: Operand = { kind: 'null' };
export const NOTHING: Operand = { kind: 'void' };
export const BROKEN: Operand = { kind: 'broken' };

const limits = new Map<IntegerType | BooleanType, readonly [bigint, bigint]>();

/** The least and the greatest value of a type. */
export function rangeOf(type: IntegerType | BooleanType): readonly [bigint, bigint] {
  if (type.kind === 'boolean') return [0n, 1n];
  const known = limits.get(type);
  if (known !== undefined) return known;
  const bits = BigInt(type.bytes * 8);
  const range = type.signed
    ? ([-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n] as const)
    : ([0n, (1n << bits) - 1n] as const);
  limits.set(type, range);
  return range;
}

/** A number that is computed when the program runs. */
export function computed(type: IntegerType | BooleanType, value: Value, range = rangeOf(type)): Scalar {
  return { kind: 'scalar', type, value, constant: null, literal: false, low: range[0], high: range[1] };
}

/** A number that is known now. `literal`: its type yields to that of the other operand. */
export function known(type: IntegerType | BooleanType, constant: bigint, literal = false): Scalar {
  return { kind: 'scalar', type, value: null, constant, literal, low: constant, high: constant };
}

/** The integer, boolean or pointer types: what a register holds. */
export function isScalarType(type: Type): type is IntegerType | BooleanType {
  return type.kind === 'integer' || type.kind === 'boolean';
}

/** The same integer as it is in a register: host order. */
export function hostType(type: IntegerType | BooleanType): IntegerType | BooleanType {
  if (type.kind === 'boolean' || type.order === 'host') return type;
  return type.bytes === 2 ? U16 : type.bytes === 4 ? U32 : U64;
}

/** A pointer with the usual properties; `with` changes some. */
export function pointerTo(type: Type, address: Value, space: Space, changes: Partial<Pointer> = {}): Pointer {
  return {
    kind: 'pointer',
    type,
    address,
    offset: 0,
    space,
    alignment: 8,
    writable: true,
    core: null,
    probe: false,
    boxed: type.kind !== 'struct' && type.kind !== 'void',
    nullable: false,
    tests: null,
    binding: null,
    context: null,
    release: null,
    packet: null,
    map: null,
    ...changes,
  };
}

/** A type as messages name it. */
export function nameOfType(type: Type): string {
  switch (type.kind) {
    case 'integer':
      return type.name;
    case 'struct':
      return type.name === '' ? (type.union ? 'a union' : 'a struct') : type.name;
    case 'array':
      return `array(${nameOfType(type.element)}, ${type.length})`;
    case 'pointer':
      return `pointer(${nameOfType(type.target())})`;
    default:
      return type.kind;
  }
}

/** `context.data` and `context.data_end`, which only `packet()` and `packetLength()` make something of. */
function boundaryOf(operand: Operand): 'begins' | 'ends' | null {
  if (operand.kind !== 'pointer' || operand.type.kind !== 'void') return null;
  return operand.space === 'packet' ? 'begins' : operand.space === 'packetEnd' ? 'ends' : null;
}

/** What to write where a number is wanted and this is none; `otherwise` where there is nothing particular to say. */
export function adviceOnNumber(operand: Operand, otherwise: string): string {
  if (operand.kind === 'global') return `its value is ${operand.global.name}.value`;
  if (boundaryOf(operand) !== null)
    return 'packet(context, Type, offset) reads the packet, packetLength(context) is its length';
  return operand.kind === 'pointer' && operand.boxed ? 'its value is .value' : otherwise;
}

/** What an operand is, for messages. */
export function describe(operand: Operand): string {
  switch (operand.kind) {
    case 'scalar':
      return operand.literal ? `the number ${operand.constant}` : nameOfType(operand.type);
    case 'place':
      return nameOfType(operand.type);
    case 'pointer':
      if (boundaryOf(operand) !== null) return `where the packet ${boundaryOf(operand)}`;
      return operand.boxed ? `a Reference to ${nameOfType(operand.type)}` : nameOfType(operand.type);
    case 'type':
      return `the type ${nameOfType(operand.type)}`;
    case 'map':
      return `the map ${operand.map.spec.name}`;
    case 'global':
      return `the global ${operand.global.name}`;
    case 'function':
      return `the function ${operand.function.name}`;
    case 'definition':
      return `${operand.definition.name} of millrace/bpf`;
    case 'string':
      return 'a string';
    case 'enum':
      return `the enum ${operand.name}`;
    case 'list':
      return 'a list';
    case 'namespace':
      return 'a module';
    case 'kernelFunction':
      return `the kernel function ${operand.name}`;
    case 'null':
      return 'null';
    case 'void':
      return 'nothing';
    case 'broken':
      return 'unknown';
  }
}
