/**
 * Room `bpf`: programs that are not attached to a hook: those that user space runs, those that take the place of a function of
 * another program, and tables of functions (struct_ops) such as TCP congestion controls.
 *
 * A newcomer would get wrong: `structOps` makes a map, not a program. Its functions are programs, named after the object's fields.
 */
import type { ContextDefinition } from '../definitions.ts';
import type { BpfMap } from '../maps/types.ts';
import { define } from '../registry.ts';
import { type Program, SLEEPABLE, targeted } from './program.ts';

type Body = (...values: never[]) => number | void;

/** What user space passes is the context: as many bytes as it says, written back afterwards. Annotate the parameter with its struct. */
export const syscall: <C>(body: (context: C) => number | void) => Program<'syscall'> = define(
  (_body) =>
    Object.freeze({ kind: 'program', hook: 'syscall', type: 'syscall', attachType: null, target: null } as const),
  {
    kind: 'program',
    name: 'syscall',
    type: 'syscall',
    attachType: null,
    section: 'syscall',
    target: null,
    flags: SLEEPABLE,
    // The kernel lets such a program reach up to 64 KB (kernel/bpf/syscall.c, syscall_prog_is_valid_access).
    context: { kind: 'raw', length: 8192 },
    verdicts: null,
    defaultResult: 0,
  },
);

const byFunction: ContextDefinition = { kind: 'function' };

/** Takes the place of a global function of a loaded program. */
export const extension: (name: string, body: Body) => Program<'extension'> = targeted(
  {
    name: 'extension',
    type: 'ext',
    attachType: null,
    section: 'freplace/{target}',
    target: 'a function of another program',
    defaultResult: 0,
  },
  byFunction,
);

/** A function of a struct_ops table: it may be a method or a property. Texts and numbers are the table's other fields. */
export type StructOpsFields = Readonly<Record<string, Body | string | number | bigint>>;

/** A table of functions for the kernel. Attach it as a link, or by an update of the map. */
export interface StructOpsMap<T extends string> extends BpfMap<'struct_ops'> {
  /** The kernel's struct: `tcp_congestion_ops`. */
  readonly target: T;
}

/**
 * A table of functions that the kernel calls: `structOps('tcp_congestion_ops', { name: 'millrace', ssthresh: (socket: TcpSock) => … })`.
 * Fields are the kernel's.
 */
export const structOps: <T extends string>(target: T, fields: StructOpsFields) => StructOpsMap<T> = define(
  (target, _fields) =>
    Object.freeze({ kind: 'map', type: 'struct_ops', key: null, value: null, maxEntries: 1, flags: 0, target }),
  {
    kind: 'program',
    name: 'structOps',
    type: 'struct_ops',
    attachType: 'struct_ops',
    section: 'struct_ops/{target}',
    target: 'a struct of functions of the kernel',
    flags: 0,
    context: { kind: 'structOps' },
    verdicts: null,
    defaultResult: 0,
  },
);
