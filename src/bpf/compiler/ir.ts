/**
 * Room `bpf`: what the compiler thinks in: functions of basic blocks of instructions in SSA form. The front end builds it
 * (`builder.ts`), the passes rewrite it, the back end turns it into eBPF.
 *
 * A newcomer would get wrong: a value is 64 bits wide, always, as a register is. A 32-bit operation reads the low halves of its
 * operands and clears the high half of its result (RFC 9669 section 4.1). What the high bits of a u8 or an i16 hold is a convention
 * between front end and itself: a value of an unsigned type is zero-extended to 64 bits, one of a signed type is sign-extended.
 */
import type { StructType, Type } from '../types.ts';

export { forEachOperand, mapOperands, operandsOf, successorsOf, terminatorOperands } from './operands.ts';

/** Where in the source something stands. `line` and `column` from 1, `file` is an index into `Module.files`. */
export interface Location {
  readonly file: number;
  readonly line: number;
  readonly column: number;
}

/**
 * What the verifier takes a value for. Only scalars may be cut, compared with numbers or written where user space reads.
 * `packetEnd` may only be compared; `map` and `function` only passed to helpers; a `context` needs constant offsets. An address of an
 * `arena` is one of user space's, a number to the verifier, until an `addressCast` makes it one that can be accessed.
 */
export type Space =
  | 'scalar'
  | 'stack'
  | 'context'
  | 'packet'
  | 'packetEnd'
  | 'mapValue'
  | 'map'
  | 'global'
  | 'memory'
  | 'arena'
  | 'kernel'
  | 'function';

/** Bytes of a load or a store. */
export type Width = 1 | 2 | 4 | 8;
/** Bits of an operation. */
export type Bits = 32 | 64;

/**
 * A field of a kernel struct, found when the program is loaded (CO-RE). `path` from `struct`: field names and array indices.
 * `kind` is the kernel's enum bpf_core_relo_kind.
 */
export interface CoreRelocation {
  readonly struct: StructType;
  readonly path: readonly (string | number)[];
  readonly kind:
    | 'fieldByteOffset'
    | 'fieldByteSize'
    | 'fieldExists'
    | 'fieldSigned'
    | 'fieldLeftShift'
    | 'fieldRightShift'
    | 'typeIdLocal'
    | 'typeIdTarget'
    | 'typeExists'
    | 'typeSize'
    | 'typeMatches'
    | 'enumValueExists'
    | 'enumValue';
}

interface Common {
  /** Unique within its function. */
  readonly id: number;
  readonly location: Location | null;
  /** What the verifier takes the result for; `scalar` also for instructions without a result. */
  readonly space: Space;
  /** The variable of the source that holds it, for messages. */
  name?: string;
}

export type BinaryOperator =
  | 'add'
  | 'sub'
  | 'mul'
  | 'udiv'
  | 'sdiv'
  | 'umod'
  | 'smod'
  | 'and'
  | 'or'
  | 'xor'
  | 'shl'
  | 'lshr'
  | 'ashr';

/** `sext` and `zext` take the low `width` bytes and extend them to 64 bits; `swap` reverses them and clears the rest. */
export type UnaryOperator = 'neg' | 'sext' | 'zext' | 'swap';

/** Conditions of branches; `test`: any bit in common. */
export type Condition = 'eq' | 'ne' | 'ult' | 'ule' | 'ugt' | 'uge' | 'slt' | 'sle' | 'sgt' | 'sge' | 'test';

export type AtomicOperator = 'add' | 'and' | 'or' | 'xor' | 'exchange' | 'compareExchange';

/** A number. 64 bits: from -2^63 to 2^63 - 1 (the same bits as the unsigned value). */
export interface Constant extends Common {
  readonly kind: 'constant';
  readonly value: bigint;
}

/** The argument at `index` (0 to 4). Stands in no block. */
export interface Parameter extends Common {
  readonly kind: 'parameter';
  readonly index: number;
}

/** Division by zero gives 0, the remainder of it the dividend (RFC 9669). Shift counts are masked to the width. */
export interface Binary extends Common {
  readonly kind: 'binary';
  readonly operator: BinaryOperator;
  readonly bits: Bits;
  left: Value;
  right: Value;
}

export interface Unary extends Common {
  readonly kind: 'unary';
  readonly operator: UnaryOperator;
  /** For `neg` 4 or 8: the width of the operation. For the others the width of what is taken. */
  readonly width: Width;
  operand: Value;
}

/** 1 where the condition holds, 0 elsewhere. Where its only use is a branch, the branch carries it itself. */
export interface Compare extends Common {
  readonly kind: 'compare';
  readonly condition: Condition;
  readonly bits: Bits;
  left: Value;
  right: Value;
}

/** Reads `width` bytes at `address + offset`, extended to 64 bits by its sign or with zeros. */
export interface Load extends Common {
  readonly kind: 'load';
  readonly width: Width;
  readonly signed: boolean;
  address: Value;
  offset: number;
  /** Neither joined with others nor left out nor repeated: what lies there may change. */
  readonly volatile: boolean;
  /** `offset` is the field's in the source's own BTF; the loader puts the kernel's there. */
  readonly relocation: CoreRelocation | null;
}

/** Writes the low `width` bytes of `value` at `address + offset`. */
export interface Store extends Common {
  readonly kind: 'store';
  readonly width: Width;
  address: Value;
  offset: number;
  value: Value;
  readonly volatile: boolean;
  readonly relocation: CoreRelocation | null;
}

/** One atomic step on 4 or 8 bytes. The result is the former value where `fetch` is set or the operator always gives it. */
export interface Atomic extends Common {
  readonly kind: 'atomic';
  readonly operator: AtomicOperator;
  readonly width: 4 | 8;
  readonly fetch: boolean;
  address: Value;
  offset: number;
  value: Value;
  /** What must be there, for `compareExchange`. */
  expected: Value | null;
}

/** The address of a stack slot. */
export interface StackAddress extends Common {
  readonly kind: 'stackAddress';
  readonly slot: StackSlot;
}

/** A map, as helpers take it. */
export interface MapAddress extends Common {
  readonly kind: 'mapAddress';
  readonly map: string;
}

/** `offset` bytes into a data section (`.rodata`, `.data`, `.bss`…), or the address of a kernel symbol or kconfig extern. */
export interface DataAddress extends Common {
  readonly kind: 'dataAddress';
  readonly section: string;
  readonly symbol: string;
  readonly offset: number;
}

/** A function as a value: callbacks. */
export interface FunctionAddress extends Common {
  readonly kind: 'functionAddress';
  readonly function: string;
}

/** A number that the loader finds in the kernel's BTF; `value` is that of the source's own. */
export interface Relocated extends Common {
  readonly kind: 'relocated';
  readonly relocation: CoreRelocation;
  readonly value: bigint;
}

/** What is called: a helper by number, a function of this module, a kernel function by name (its prototype goes into BTF). */
export type CallTarget =
  | { readonly kind: 'helper'; readonly id: number; readonly name: string }
  | { readonly kind: 'function'; readonly name: string }
  | {
      readonly kind: 'kernel';
      readonly name: string;
      readonly parameters: readonly Type[];
      readonly result: Type;
    };

/**
 * An address of an arena in its other form (BPF_ADDR_SPACE_CAST, Linux 6.9). `kernel`: from user space's to the one through which the
 * program reads and writes. `user`: from the low half of either to user space's, which is what memory and variables hold; 0 stays 0.
 */
export interface AddressCast extends Common {
  readonly kind: 'addressCast';
  readonly to: 'kernel' | 'user';
  operand: Value;
}

/** Up to 5 arguments; the result is 64 bits. A call may read and write all memory that is not a private stack slot. */
export interface Call extends Common {
  readonly kind: 'call';
  readonly target: CallTarget;
  arguments: Value[];
  /** Its result depends on nothing and changes nothing: it may be left out where the result is not used. */
  readonly pure: boolean;
}

/** What a value is, depending on where control came from. As many inputs as `block.predecessors`, in their order. */
export interface Phi extends Common {
  readonly kind: 'phi';
  readonly block: Block;
  inputs: Value[];
}

/** What may be used as an operand. */
export type Value =
  | Constant
  | Parameter
  | Binary
  | Unary
  | Compare
  | Load
  | Store
  | Atomic
  | StackAddress
  | MapAddress
  | DataAddress
  | FunctionAddress
  | Relocated
  | AddressCast
  | Call
  | Phi;

/** What stands in a block between its phis and its end. */
export type Operation = Exclude<Value, Parameter | Phi>;

/** The end of a block. */
export type Terminator =
  | { readonly kind: 'jump'; readonly location: Location | null; target: Block }
  | {
      readonly kind: 'branch';
      readonly location: Location | null;
      readonly condition: Condition;
      readonly bits: Bits;
      left: Value;
      right: Value;
      whenTrue: Block;
      whenFalse: Block;
    }
  | { readonly kind: 'return'; readonly location: Location | null; value: Value | null };

/** A run of operations that is entered at its beginning and left at its end. */
export interface Block {
  /** Unique within its function; the entry is 0. */
  readonly id: number;
  phis: Phi[];
  operations: Operation[];
  /** Null only while it is being built. */
  terminator: Terminator | null;
  predecessors: Block[];
}

/** Bytes on the stack of a frame (512 in all, across calls). */
export interface StackSlot {
  readonly id: number;
  readonly bytes: number;
  /** 1, 2, 4 or 8: the verifier refuses unaligned stack accesses. */
  readonly alignment: number;
  readonly name: string;
}

/** A program, a subprogram or a callback. */
export interface IrFunction {
  readonly name: string;
  readonly parameters: Parameter[];
  /** The first is the entry. */
  blocks: Block[];
  slots: StackSlot[];
  /** For BTF: types and names of what the source declares; a context is a pointer to its struct. */
  readonly signature: {
    readonly parameters: readonly { readonly name: string; readonly type: Type }[];
    readonly result: Type;
  };
  /** `global`: verified by itself, its pointer arguments are checked by BTF; `static`: verified with its caller. */
  readonly linkage: 'global' | 'static';
  /** The next id of a value, of a block, of a slot. */
  nextId: number;
  readonly location: Location | null;
}

/** What a source file becomes before it is instructions. Programs, maps and data by name are in the object's spec. */
export interface IrModule {
  readonly files: readonly { readonly path: string; readonly text: string }[];
  readonly functions: IrFunction[];
  /** The object's arena, if it has one: the verifier wants it named in every program that casts addresses. */
  readonly arena?: string | undefined;
}
