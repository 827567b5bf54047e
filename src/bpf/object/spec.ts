/**
 * Room `bpf`: what an object shall be: programs, subprograms, maps, data and types, before anything is in the kernel. The compiler
 * makes it, `object/` writes it as ELF and reads it from ELF (clang's too), the loader loads it.
 *
 * A newcomer would get wrong: instructions here are not yet the kernel's. Calls, maps and data are relocations by name, and offsets of
 * kernel structs are those of whoever compiled. Positions are indices into `instructions`, not slots and not bytes.
 */
import type { Instruction } from '../instructions.ts';
import type { Type } from '../types.ts';
import type { Btf } from './btf/table.ts';

/** One of the kernel's program types, as in enum bpf_prog_type without BPF_PROG_TYPE_, in lower case: xdp, sched_cls, cgroup_skb. */
export type ProgramTypeName = string;

/** What a program is, where it is attached, by what name libbpf knows that (its section). */
export interface ProgramKind {
  readonly type: ProgramTypeName;
  /** enum bpf_attach_type, lower case, without BPF_: cgroup_inet_ingress, trace_fentry; null where the type has none. */
  readonly attachType: string | null;
  /** The ELF section: `xdp`, `cgroup_skb/ingress`, `tp_btf/sched_switch`. Other loaders find out type and hook by it. */
  readonly section: string;
  /** What the section names behind its slash: a tracepoint, a kernel function, a struct_ops member; null without one. */
  readonly target: string | null;
  /** BPF_F_SLEEPABLE and others of enum's prog_flags. */
  readonly flags: number;
}

/** A place in the instructions that the loader fills. */
export interface Relocation {
  /** Which instruction. */
  readonly index: number;
  /**
   * `map`: a wide load of a map's descriptor. `data`: a wide load of an address in a data section. `call`: a call of a function of
   * this object. `callback`: a wide load of a function's address. `kernelFunction`: a call of a kfunc. `kernelSymbol`: a wide load of
   * a kernel variable's address (`.ksyms`).
   */
  readonly kind: 'map' | 'data' | 'call' | 'callback' | 'kernelFunction' | 'kernelSymbol';
  /** The map, the data section (`.kconfig` for a kconfig extern), the function or the kernel's symbol. */
  readonly symbol: string;
  /** Bytes into the section, for `data`; a kconfig extern's is its `KconfigSpec.offset`. */
  readonly addend: number;
}

/** Where an instruction comes from. `line` and `column` from 1. */
export interface LineInfo {
  readonly index: number;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The source line itself, shown beside the verifier's log. */
  readonly text: string;
}

/** A CO-RE record: struct bpf_core_relo. */
export interface CoreRecord {
  readonly index: number;
  /** A struct, union, enum or typedef of `ObjectSpec.btf`. */
  readonly typeId: number;
  /** As in the format: indices of members and elements, `0:3:1`. */
  readonly access: string;
  /** enum bpf_core_relo_kind. */
  readonly kind: number;
}

/** Which variables of the source lie in which register when an instruction begins; for messages. Not in ELF. */
export interface RegisterNames {
  readonly index: number;
  readonly names: readonly (string | null)[];
}

/** A function's code. Programs have a `kind`; subprograms and callbacks have none. */
export interface FunctionSpec {
  readonly name: string;
  readonly kind: ProgramKind | null;
  readonly linkage: 'global' | 'static';
  readonly instructions: readonly Instruction[];
  readonly relocations: readonly Relocation[];
  readonly lines: readonly LineInfo[];
  readonly core: readonly CoreRecord[];
  /** Its BTF_KIND_FUNC in `ObjectSpec.btf`; 0 where the object has no BTF. */
  readonly typeId: number;
  readonly registerNames?: readonly RegisterNames[];
}

/** What a map shall be. */
export interface MapSpec {
  readonly name: string;
  /** As in enum bpf_map_type without BPF_MAP_TYPE_, in lower case: hash, lpm_trie, ringbuf. */
  readonly type: string;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
  /** BPF_F_* flags of BPF_MAP_CREATE. */
  readonly flags: number;
  /** For decoding in user space; null where the object does not say. */
  readonly key: Type | null;
  readonly value: Type | null;
  /** BTF ids of key and value, 0 for none. */
  readonly keyTypeId: number;
  readonly valueTypeId: number;
  /** What a map of maps, a prog array or a struct_ops map holds. */
  readonly inner?: MapSpec;
  /** Names of maps or functions by index, filled when the object is loaded. */
  readonly values?: readonly (string | null)[];
  /** LIBBPF_PIN_BY_NAME. */
  readonly pinByName: boolean;
  /** map_extra: a bloom filter's number of hashes, an arena's address. */
  readonly extra: bigint;
  readonly numaNode?: number;
  /** For struct_ops: its initial bytes and functions by offset. */
  readonly structOps?: {
    readonly type: string;
    readonly data: Uint8Array;
    readonly functions: readonly { readonly offset: number; readonly name: string }[];
  };
}

/** A variable of a data section, for reading and writing from user space. */
export interface VariableSpec {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
  readonly type: Type | null;
}

/** The variables that lie in the object's arena: clang's address space 1 (LLVM 19). They are at its beginning, in no map of their own. */
export const ARENA_SECTION = '.addr_space.1';

/** `.rodata`, `.data` or `.bss`: an array map of one value, named after it; or {@link ARENA_SECTION}. */
export interface DataSection {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly readOnly: boolean;
  readonly variables: readonly VariableSpec[];
  /** Its BTF_KIND_DATASEC, 0 for none. */
  readonly typeId: number;
}

/** A kconfig extern: the kernel's version, or a CONFIG_ option. */
export interface KconfigSpec {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
  /** Weak: 0 where the kernel does not say. */
  readonly weak: boolean;
  readonly typeKind: 'boolean' | 'integer' | 'tristate' | 'string';
}

/** A kernel function or variable that the object uses (`.ksyms`). */
export interface KernelSymbolSpec {
  readonly name: string;
  readonly kind: 'function' | 'variable';
  readonly weak: boolean;
  readonly typeId: number;
  /** For a variable: what lies there, so that a program may read it; without it only its address is known. */
  readonly type?: Type;
}

/** A whole object. */
export interface ObjectSpec {
  readonly license: string;
  /** In order; programs and subprograms by name. */
  readonly functions: readonly FunctionSpec[];
  readonly maps: readonly MapSpec[];
  readonly data: readonly DataSection[];
  readonly kconfig: readonly KconfigSpec[];
  readonly kernelSymbols: readonly KernelSymbolSpec[];
  /** Null for an object without BTF. */
  readonly btf: Btf | null;
}
