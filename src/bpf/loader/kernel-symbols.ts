/**
 * Room `bpf`: what a program uses of the running kernel by name: functions (kfuncs), variables, and the hook that it is made for.
 *
 * A newcomer would get wrong: the id of a type is only valid for one build of the kernel, and hooks have names of their own in BTF:
 * the tracepoint sched_switch is the typedef btf_trace_sched_switch, the LSM hook file_open the function bpf_lsm_file_open.
 */
import { readFileSync } from 'node:fs';
import type { BtfKind } from '../object/btf/records.ts';
import type { Btf } from '../object/btf/table.ts';
import type { KernelSymbolSpec, ProgramKind } from '../object/spec.ts';

/** Thrown where the running kernel does not have what a program needs of it. */
export class MissingSymbolError extends Error {
  override readonly name = 'MissingSymbolError';
}

/** The kernel symbol of a program, found. */
export interface ResolvedSymbol {
  /** In the kernel's BTF; 0 where it is known by its address only. */
  readonly typeId: number;
  /** 0 where it is known by its type, and for a weak one that is not there. */
  readonly address: bigint;
}

let addresses: ReadonlyMap<string, bigint> | null = null;

/** Addresses of the kernel's symbols; all 0 where kernel.kptr_restrict hides them. */
function kernelAddresses(): ReadonlyMap<string, bigint> {
  addresses ??= new Map(
    [...readFileSync('/proc/kallsyms', 'latin1').matchAll(/^([\da-f]+) \w (\S+)/gm)].map(([, address, name]) => [
      name,
      BigInt(`0x${address}`),
    ]),
  );
  return addresses;
}

/** Finds a symbol; for a weak one that the kernel does not have, all zero. @throws MissingSymbolError */
export function resolveSymbol(spec: KernelSymbolSpec, kernel: Btf): ResolvedSymbol {
  // A flavour behind three underscores lets one object declare a function in several forms.
  const name = spec.name.replace(/___.*$/, '');
  const typeId = kernel.byName(name, spec.kind === 'function' ? 'func' : 'var')[0];
  if (typeId !== undefined && (spec.kind === 'function' || spec.typeId !== 0)) return { typeId, address: 0n };
  const address = spec.kind === 'variable' ? kernelAddresses().get(name) : undefined;
  if (address !== undefined && address !== 0n) return { typeId: 0, address };
  if (spec.weak) return { typeId: 0, address: 0n };
  if (address === 0n)
    throw new MissingSymbolError(`the address of ${name} is hidden: set kernel.kptr_restrict to 0, or run as root`);
  const advice = spec.kind === 'variable' ? '; addresses of data are only known with CONFIG_KALLSYMS_ALL' : '';
  throw new MissingSymbolError(`this kernel has no ${spec.kind} ${name} that programs may use${advice}`);
}

interface Hook {
  readonly prefix: string;
  readonly kind: BtfKind;
  readonly what: string;
}

const functionHook: Hook = { prefix: '', kind: 'func', what: 'function' };
/** By attach type; `lsm` programs are told apart by theirs. */
const hooks: Readonly<Record<string, Hook>> = {
  trace_raw_tp: { prefix: 'btf_trace_', kind: 'typedef', what: 'tracepoint' },
  trace_fentry: functionHook,
  trace_fexit: functionHook,
  modify_return: functionHook,
  lsm_mac: { prefix: 'bpf_lsm_', kind: 'func', what: 'LSM hook' },
  lsm_cgroup: { prefix: 'bpf_lsm_', kind: 'func', what: 'LSM hook' },
  trace_iter: { prefix: 'bpf_iter_', kind: 'func', what: 'iterator' },
};

/** Whether programs of this kind name their hook by its type in the kernel's BTF. */
export function needsHookType(kind: ProgramKind): boolean {
  return (kind.type === 'tracing' || kind.type === 'lsm') && kind.attachType !== null && kind.attachType in hooks;
}

/** The id of a program's hook in the kernel's BTF (attach_btf_id). @throws MissingSymbolError */
export function hookTypeId(kind: ProgramKind, kernel: Btf): number {
  const { prefix, kind: btfKind, what } = hooks[kind.attachType ?? ''] ?? functionHook;
  if (kind.target === null)
    throw new MissingSymbolError(`a program of section ${kind.section} names no ${what} to attach to`);
  const [id] = kernel.byName(`${prefix}${kind.target}`, btfKind);
  if (id === undefined)
    throw new MissingSymbolError(`this kernel has no ${what} ${kind.target} for programs to attach to`);
  return id;
}
