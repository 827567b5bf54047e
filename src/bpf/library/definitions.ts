/**
 * Room `bpf`: how the compiler knows what `millrace/bpf` exports. Each name that a `*.bpf.ts` may import has a definition of one of
 * these shapes in `catalogue.ts`; the compiler has no other knowledge of helpers, maps, program types or headers.
 *
 * A newcomer would get wrong: these are not the exports themselves. The exports are what TypeScript type-checks a program with; a
 * definition says what the compiler makes of a use of that export. A test holds the two lists together.
 */
import type { Space } from '../compiler/ir.ts';
import type { StructType, Type } from '../types.ts';

/** What a helper takes at one place. */
export type HelperParameter =
  /** The program's context, unmodified. */
  | { readonly kind: 'context'; readonly name: string }
  /** A number, cut or extended to this type. `optional`: may be left out at the end of the arguments and is 0 then. */
  | { readonly kind: 'scalar'; readonly name: string; readonly type: Type; readonly optional?: boolean }
  /** A map of one of these types (all, where empty). */
  | { readonly kind: 'map'; readonly name: string; readonly types: readonly string[] }
  /**
   * Memory that holds the key or value of the map argument before it. A scalar is put on the stack. `writes`: the helper fills it.
   * `nullable`: null and 0 are allowed.
   */
  | {
      readonly kind: 'key' | 'value';
      readonly name: string;
      readonly writes?: boolean;
      readonly nullable?: boolean;
    }
  /**
   * Memory whose size is the next argument of the kernel's: in the language one argument, a struct, an array or a string, and the
   * compiler adds the size. `writes`: the helper fills it, so that it need not be initialised. `nullable`: null and 0 are allowed.
   */
  | { readonly kind: 'memory'; readonly name: string; readonly writes: boolean; readonly nullable: boolean }
  /** Memory of a known type, without a size: struct bpf_fib_lookup has one of its own; `bytes` 0: any struct or integer. */
  | { readonly kind: 'struct'; readonly name: string; readonly bytes: number; readonly writes: boolean }
  /** An address to be followed with care (bpf_probe_read_kernel): a number, or a pointer of any kind. */
  | { readonly kind: 'address'; readonly name: string }
  /**
   * A pointer into the kernel, a socket, a packet or a dynptr that another helper or context gave. `struct` null: any of them, and the
   * context itself.
   */
  | { readonly kind: 'pointer'; readonly name: string; readonly struct: string | null; readonly nullable: boolean }
  /** An arrow function or a function of the module; becomes a callback. Its parameters in order. */
  | { readonly kind: 'callback'; readonly name: string; readonly parameters: readonly CallbackParameter[] }
  /** The object that a callback gets: memory on the stack, or null. */
  | { readonly kind: 'callbackContext'; readonly name: string }
  /** A constant string, null-terminated in .rodata; for bpf_trace_printk and kin its size follows. */
  | { readonly kind: 'string'; readonly name: string; readonly size: boolean }
  /** A number that must be known when compiling. */
  | { readonly kind: 'constant'; readonly name: string; readonly type: Type };

/** What a callback is given. */
export type CallbackParameter =
  | { readonly kind: 'scalar'; readonly type: Type }
  | { readonly kind: 'map' | 'key' | 'value' | 'callbackContext' | 'dynptr' }
  /** A pointer to this struct of the kernel's. */
  | { readonly kind: 'pointer'; readonly struct: string };

/** What a helper gives. A nullable pointer must be tested before use. */
export type HelperResult =
  | { readonly kind: 'void' }
  | { readonly kind: 'scalar'; readonly type: Type }
  /** The map's value, or null unless it is always there. */
  | { readonly kind: 'value'; readonly nullable: boolean }
  | {
      readonly kind: 'pointer';
      readonly space: Space;
      readonly struct: string | null;
      readonly nullable: boolean;
      /** For memory of a size given by a constant argument (bpf_ringbuf_reserve). */
      readonly release?: string;
    };

/** A helper of the kernel's. What it does is said once, in the doc comment of its export, where editors show it. */
export interface HelperDefinition {
  readonly kind: 'helper';
  /** The kernel's spelling: bpf_ktime_get_ns. */
  readonly name: string;
  /** enum bpf_func_id. */
  readonly id: number;
  readonly parameters: readonly HelperParameter[];
  readonly result: HelperResult;
  /** Only for programs with a GPL-compatible licence. */
  readonly gplOnly: boolean;
  /** The kernel that introduced it, `4.18`. */
  readonly since: string;
  /** It may move or cut the packet: pointers into it are void afterwards. */
  readonly changesPacket: boolean;
}

/** A map constructor: `hash({ key, value, maxEntries })`. */
export interface MapDefinition {
  readonly kind: 'map';
  readonly name: string;
  /** As in MapSpec.type. */
  readonly type: string;
  /**
   * What the options must or may hold beside `maxEntries` and `flags`. `u32`: that, whether or not it is said. `optional`: where absent a
   * key is u64 and a value u32; a ring buffer's value is for user space alone.
   */
  readonly key: 'required' | 'none' | 'u32' | 'optional';
  readonly value: 'required' | 'none' | 'u32' | 'map' | 'program' | 'optional';
  /** Flags always set: BPF_F_NO_PREALLOC for tries and storages. */
  readonly flags: number;
  /**
   * Methods in the language and the helper each becomes: lookup → bpf_map_lookup_elem. A method's arguments are the helper's in their
   * order, without the map. `reserve` takes a layout in place of the size and gives what that holds.
   */
  readonly methods: Readonly<Record<string, string>>;
  /** Methods that are no helpers, to which the compiler itself gives meaning: an arena's. */
  readonly intrinsics?: readonly string[];
  /** What a look-up gives where that is not the value: a struct of the library by its name in the kernel (bpf_sock, bpf_xdp_sock). */
  readonly lookupStruct?: string;
  readonly since: string;
}

/** A program constructor: `xdp((context) => …)`, `tracepoint('sched/sched_switch', (context) => …)`. */
export interface ProgramDefinition {
  readonly kind: 'program';
  readonly name: string;
  readonly type: string;
  readonly attachType: string | null;
  /** libbpf's section; `{target}` stands for the constructor's string argument. */
  readonly section: string;
  /** Whether a string argument names the hook, and what it names, for messages. */
  readonly target: string | null;
  readonly flags: number;
  /**
   * The context's type: a struct of the UAPI, or how to find it: `btfTracepoint`, `function` and `lsm` give the arguments of the kernel
   * function one by one, `tracepoint` the event's fields, `iterator` and `structOps` what BTF says; `raw` an array of u64, or
   * the struct with which the body's parameter is annotated.
   */
  readonly context: ContextDefinition;
  /** The values that a program may return, for messages; null for any. */
  readonly verdicts: readonly number[] | null;
  /** What a body without a return gives; null: it must return. */
  readonly defaultResult: number | null;
}

export type ContextDefinition =
  /** `behind`: what the body's further parameters are, where the context is not all that it is given. */
  | { readonly kind: 'struct'; readonly struct: ContextStruct; readonly behind?: 'usdtArguments' }
  | { readonly kind: 'btfTracepoint' | 'function' | 'functionExit' | 'lsm' | 'tracepoint' | 'iterator' | 'structOps' }
  | { readonly kind: 'raw'; readonly length: number }
  | { readonly kind: 'registers' };

/** A context's struct and what its pointer-like fields are: __sk_buff.data is 4 bytes and a packet pointer. */
export interface ContextStruct {
  readonly struct: StructType;
  /** Fields whose load is a pointer, whatever their size. */
  readonly pointers: Readonly<
    Record<
      string,
      {
        readonly space: Space;
        readonly struct: string | null;
        readonly nullable: boolean;
        /** The program may write to what it points to. */
        readonly writable?: boolean;
      }
    >
  >;
  /** Fields that may be written. */
  readonly writable: readonly string[];
}

/** A number with a name: XDP_DROP, BPF_ANY. */
export interface ConstantDefinition {
  readonly kind: 'constant';
  readonly name: string;
  readonly value: bigint;
  readonly type: Type;
}

/** A type with a name: `u32` (also a conversion, when called), a struct such as `Ipv4`. */
export interface TypeDefinition {
  readonly kind: 'type';
  readonly name: string;
  readonly type: Type;
}

/** What the compiler itself gives meaning to. The reference describes each. */
export interface IntrinsicDefinition {
  readonly kind: 'intrinsic';
  /** For `array`, which is a type with (element, length) and this map with an object. */
  readonly map?: MapDefinition;
  readonly name: /** Types: struct({…}), packed({…}), union({…}), kernelStruct('task_struct', {…}), array(u8, 6), pointer(T). */
    | 'struct'
    | 'packed'
    | 'union'
    | 'kernelStruct'
    | 'array'
    | 'pointer'
    /** A field's type in a struct: bits(u8, 4). */
    | 'bits'
    /** slice(memory, length): of memory passed to a helper only the first `length` bytes; the length may be a variable. */
    | 'slice'
    /** packet(context, Struct, offset): the bytes of the packet there, or null where it ends before. */
    | 'packet'
    /** packetEnd… length of what is linear: packetLength(context). */
    | 'packetLength'
    /** Loops: for (const i of range(n)), range(from, to), range(from, to, step). */
    | 'range'
    /** Byte order: swap16, swap32, swap64 (host to network and back). */
    | 'swap16'
    | 'swap32'
    | 'swap64'
    /** Atomics on a number in memory: atomic.add(reference.field…) is written atomicAdd(() => place, value). */
    | 'atomicAdd'
    | 'atomicAnd'
    | 'atomicOr'
    | 'atomicXor'
    | 'atomicExchange'
    | 'atomicCompareExchange'
    /** equal(one, other): whether two structs, arrays or texts have the same bytes. */
    | 'equal'
    /** ipv4('192.0.2.1'), ipv6('2001:db8::1'): addresses as numbers. */
    | 'ipv4'
    | 'ipv6'
    /** Globals: readOnly(u32, 5), global(u64, 0n): .rodata, .data or .bss. */
    | 'readOnly'
    | 'global'
    /** kconfig('CONFIG_HZ', u32), LINUX_KERNEL_VERSION. */
    | 'kconfig'
    /** kernelFunction('bpf_…', [parameters], result), kernelSymbol. */
    | 'kernelFunction'
    | 'kernelSymbol'
    /** CO-RE questions: fieldExists(T, 'a'), typeExists(T), sizeOf(T), offsetOf(T, 'a'). */
    | 'fieldExists'
    | 'typeExists'
    | 'sizeOf'
    | 'offsetOf'
    /** local(Struct): memory on the stack, zeroed; zero(Struct) the same for arrays. */
    | 'local'
    /** read(pointer, T): follows a pointer into the kernel with bpf_probe_read_kernel where no direct access is allowed. */
    | 'read'
    /** noInline(f): compile as a subprogram; inline is the default for small functions. */
    | 'subprogram'
    /** license('GPL'): in place of Dual MIT/GPL. */
    | 'license'
    /** tailCall(context, map, index) ends the program where the entry is there. */
    | 'tailCall'
    /** What a USDT probe passes: usdtArgument(registers, 0), usdtArgumentCount(registers); and what user space said when it attached. */
    | 'usdtArgument'
    | 'usdtArgumentCount'
    | 'usdtCookie'
    /** print(`text ${value}`): bpf_trace_printk with a format made from the template. */
    | 'print';
}

/** What an export of `millrace/bpf` means to the compiler. */
export type Definition =
  | HelperDefinition
  | MapDefinition
  | ProgramDefinition
  | ConstantDefinition
  | TypeDefinition
  | IntrinsicDefinition;
