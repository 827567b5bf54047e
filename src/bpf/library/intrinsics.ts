/**
 * Room `bpf`: what the compiler itself gives meaning to, beside types and maps: packet access, memory, loops, atomics, byte order,
 * globals, questions to the kernel's BTF.
 *
 * A newcomer would get wrong: these are not helpers. `packet(context, Ethernet, 0)` becomes the comparison with the packet's end
 * that the verifier wants to see, and a pointer; `range(10)` becomes a counter.
 */
import { bytesOf, type Type } from '../types.ts';
import type { PacketContext } from './contexts/packets.ts';
import type { pt_regs } from './contexts/tracing.ts';
import type { IntrinsicDefinition } from './definitions.ts';
import type { Elements, Kernel, Layout, Stored, StructLayout, Value } from './layout.ts';
import type { ProgramArrayMap } from './maps/types.ts';
import type { u16, u32, u64 } from './numbers.ts';
import { define, inKernel, kernelOnly } from './registry.ts';

const definition = (name: IntrinsicDefinition['name']): IntrinsicDefinition => ({ kind: 'intrinsic', name });
const only = (name: IntrinsicDefinition['name']): (() => never) => kernelOnly(definition(name));

/**
 * The packet's bytes from `offset` on as a T, to be read and written in place; null where the packet ends before. Void after any helper
 * that may move the packet (bpf_xdp_adjust_head, bpf_skb_pull_data…): take it again.
 */
export const packet: <L extends Layout>(context: PacketContext, layout: L, offset: number) => Stored<L> | null =
  only('packet');

/** Bytes of the packet that `packet()` can reach: those that lie in one piece. */
export const packetLength: (context: PacketContext) => u32 = only('packetLength');

/** `for (const i of range(n))`, `range(from, to)`, `range(from, to, step)`: numbers from `from` (or 0) up to, without `to`. */
export const range: (fromOrTo: number, to?: number, step?: number) => Iterable<u32> = only('range');

/** The two bytes of a 16-bit number in the other order. Fields of be16 need none: their values are in the host's order. */
export const swap16: (value: u16) => u16 = only('swap16');
/** The same for 4 bytes. */
export const swap32: (value: u32) => u32 = only('swap32');
/** The same for 8 bytes. */
export const swap64: (value: u64) => u64 = only('swap64');

/** Names of the fields that hold numbers. */
type NumberField<T> = { [N in keyof T]: T[N] extends number | bigint ? N : never }[keyof T];

/** Adds to a number in memory in one step that no other CPU sees half of. Gives the number that was there. 32 and 64 bits only. */
export const atomicAdd: <T extends object, F extends NumberField<T>>(place: T, field: F, value: T[F]) => T[F] =
  only('atomicAdd');
/** The same for `&`. */
export const atomicAnd: typeof atomicAdd = only('atomicAnd');
/** The same for `|`. */
export const atomicOr: typeof atomicAdd = only('atomicOr');
/** The same for `^`. */
export const atomicXor: typeof atomicAdd = only('atomicXor');
/** Puts a number and gives the one that was there. */
export const atomicExchange: typeof atomicAdd = only('atomicExchange');
/** Puts a number where `expected` is, and gives the one that was there, whether or not it was that. */
export const atomicCompareExchange: <T extends object, F extends NumberField<T>>(
  place: T,
  field: F,
  expected: T[F],
  value: T[F],
) => T[F] = only('atomicCompareExchange');

/**
 * Whether two structs or arrays of the same size have the same bytes: `equal(ip.source, ipv6('2001:db8::1'))`. A text stands for its bytes
 * and zeros behind them: `equal(task.comm, 'sshd')`.
 */
export const equal: (one: object | string, other: object | string) => boolean = only('equal');

/**
 * What memory may begin with: some of a struct's fields, some of an array's elements, the rest zero; text for an array of bytes; the
 * value of anything else.
 */
type Initial<T> = T extends Elements<infer E> ? T | InitialElements<E> : T extends object ? InitialFields<T> : T;
type InitialElements<E> = readonly Initial<E>[] | (E extends number ? string : never);
type InitialFields<T> = { readonly [N in keyof T]?: Initial<T[N]> };

/** Memory on the stack, zeroed, or with these fields. At most 512 bytes for all functions that are being called. */
export const local: <L extends Layout>(layout: L, initial?: Initial<Value<L>>) => Stored<L> = only('local');

/** Reads a T at an address of the kernel's, by bpf_probe_read_kernel where direct access is not allowed; zeros where it cannot be read. */
export const read: <L extends Layout>(address: Kernel<string> | object | u64, layout: L) => Value<L> = only('read');

/** Of memory that is passed to a helper only the first `length` bytes. The length may be a variable within its bounds. */
export const slice: <T extends object>(memory: T, length: number) => T = only('slice');

/** A global that programs only read: `export const limit = readOnly(u32, 100)`. User space sets it before it loads the program. */
export interface ReadOnlyGlobal<L extends Layout> {
  readonly kind: 'global';
  readonly readOnly: true;
  readonly layout: L;
  readonly value: Value<L>;
}

/** A global that programs and user space read and write: `export const seen = global(u64, 0n)`. */
export interface Global<L extends Layout> {
  readonly kind: 'global';
  readonly readOnly: false;
  readonly layout: L;
  value: Value<L>;
}

/** See {@link ReadOnlyGlobal}. In user space it is an object like any other. */
export const readOnly: <L extends Layout>(layout: L, initial: Initial<Value<L>>) => ReadOnlyGlobal<L> = define(
  <L extends Layout>(layout: L, initial: Initial<Value<L>>) => ({
    kind: 'global',
    readOnly: true,
    layout,
    value: initial as Value<L>,
  }),
  definition('readOnly'),
);

/** The zero of a layout, as user space has it. */
function zeroOf(type: Type): unknown {
  switch (type.kind) {
    case 'boolean':
      return false;
    case 'array':
      return Array.from({ length: type.length }, () => zeroOf(type.element));
    case 'struct':
      return Object.fromEntries(type.fields.map((field) => [field.name, zeroOf(field.type)]));
    default:
      return bytesOf(type) === 8 ? 0n : 0;
  }
}

/** See {@link Global}. Without an initial value it is zero (.bss). */
export const global: <L extends Layout>(layout: L, initial?: Initial<Value<L>>) => Global<L> = define(
  <L extends Layout>(layout: L, initial?: Initial<Value<L>>) => ({
    kind: 'global',
    readOnly: false,
    layout,
    value: (initial ?? zeroOf(layout.type)) as Value<L>,
  }),
  definition('global'),
);

/** What only a loaded program can read. */
function findsInKernel<L extends Layout>(name: string, layout: L): ReadOnlyGlobal<L> {
  const nowhere = inKernel(name);
  return {
    kind: 'global',
    readOnly: true,
    layout,
    get value(): never {
      return nowhere();
    },
  };
}

/** An option of the kernel's configuration, known when the program is loaded: `kconfig('CONFIG_HZ', u32).value`; LINUX_KERNEL_VERSION. */
export const kconfig: <L extends Layout>(name: string, layout: L) => ReadOnlyGlobal<L> = define(
  (name, layout) => findsInKernel(name, layout),
  definition('kconfig'),
);

/** A kernel function (kfunc) by its name: `const cast = kernelFunction('bpf_rdonly_cast', [u64, u32], u64)`. */
export const kernelFunction: <const P extends readonly Layout[], R extends Layout | null>(
  name: string,
  parameters: P,
  result: R,
) => (...values: { [I in keyof P]: Value<P[I]> }) => R extends Layout ? Value<R> : void = define(
  (name: string) => inKernel(name),
  definition('kernelFunction'),
);

/** A variable of the kernel's by its name. */
export const kernelSymbol: <L extends Layout>(name: string, layout: L) => ReadOnlyGlobal<L> = define(
  (name, layout) => findsInKernel(name, layout),
  definition('kernelSymbol'),
);

/** Whether the running kernel's struct has the field. Known when the program is loaded; the other branch falls away. */
export const fieldExists: <T>(struct: StructLayout<T>, field: keyof T & string) => boolean = only('fieldExists');
/** Whether the running kernel has the struct. */
export const typeExists: (struct: StructLayout) => boolean = only('typeExists');
/** Bytes of the running kernel's struct. */
export const sizeOf: (struct: StructLayout) => u32 = only('sizeOf');
/** Where the field lies in the running kernel's struct. */
export const offsetOf: <T>(struct: StructLayout<T>, field: keyof T & string) => u32 = only('offsetOf');

/** Compiles the function as a subprogram instead of putting its body where it is called. */
export const subprogram: <F extends (...values: never[]) => unknown>(body: F) => F = define(
  <F>(body: F) => body,
  definition('subprogram'),
);

/** The object's licence in place of `Dual MIT/GPL`. Helpers marked GPL-only need one that the kernel counts as compatible. */
export const license: (name: string) => void = define(() => undefined, definition('license'));

/** Goes on in the program at `index` and does not come back. Where none is there (or after 33 of them), the next statement runs. */
export const tailCall: (context: object, map: ProgramArrayMap, index: u32) => void = only('tailCall');

/**
 * The argument at `index` (from 0) of the USDT probe that was hit, extended to 64 bits by its sign; 0 where the probe has none there, or
 * where it lies in a page that is not in memory. Needs Linux 5.15. The parameters behind the first of a `usdt` body are the same.
 */
export const usdtArgument: (registers: pt_regs, index: u32) => u64 = only('usdtArgument');
/** How many arguments the USDT probe has that was hit. */
export const usdtArgumentCount: (registers: pt_regs) => u32 = only('usdtArgumentCount');
/** The `cookie` with which a program was attached that reads arguments: bpf_get_attach_cookie tells the place there. */
export const usdtCookie: (registers: pt_regs) => u64 = only('usdtCookie');

/** Writes a line to /sys/kernel/debug/tracing/trace_pipe, with up to 3 values (12 since 5.16): print(`port ${port}`). For debugging. */
export const print: (text: string) => void = only('print');
