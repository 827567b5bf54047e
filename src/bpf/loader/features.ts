/**
 * Room `bpf`: what the running kernel has, found by asking it: program types, map types, helpers by program type, kinds of links, its
 * types; and why something is refused: privilege, release or configuration.
 *
 * A newcomer would get wrong: the verifier's refusal of a probe shows that the kernel knows the program type. Only a refusal without
 * a word of the verifier's means that it does not.
 */
import { BPF_CALL, BPF_JMP } from '../../kernel/bpf-abi.ts';
import { BPF_F_MMAPABLE, BPF_F_SLEEPABLE } from '../../kernel/bpf-attributes.ts';
import {
  LINK_TYPES,
  type LinkTypeName,
  MAP_TYPES,
  type MapTypeName,
  PROGRAM_TYPES,
  type ProgramTypeName,
} from '../../kernel/bpf-names.ts';
import { kernelVersion } from '../../kernel/procfs.ts';
import { closeDescriptor } from '../../kernel/socket.ts';
import { exit, type Instruction, instruction, moveImmediate } from '../instructions.ts';
import { BtfBuilder } from '../object/btf/builder.ts';
import { kernelBtf } from '../object/btf/kernel.ts';
import { I32 } from '../types.ts';
import { loadBtf } from './btf-load.ts';
import { AVAILABLE, explainError, type Feature, missing } from './feature.ts';
import { type Fact, MAP_FACTS, PROGRAM_FACTS } from './feature-facts.ts';
import { linkFeature } from './link-features.ts';
import { createMap, type MapSpec } from './map.ts';
import { loadProgram, type ProgramSpec } from './program.ts';
import { structOpsTarget } from './struct-ops.ts';
import { VerifierError } from './verifier.ts';

const NOTHING: readonly Instruction[] = [moveImmediate(0, 0), exit()];

/** What a program of each type needs to be loaded at all; nothing for types that are not here. */
function probeOf(type: ProgramTypeName): Partial<ProgramSpec> {
  const hook = (name: string, kind: 'func' | 'typedef'): number => kernelBtf().byName(name, kind)[0] ?? 0;
  switch (type) {
    case 'cgroup_sock_addr':
      return { attachType: 'cgroup_inet4_bind' };
    case 'cgroup_sockopt':
      return { attachType: 'cgroup_getsockopt' };
    case 'sk_lookup':
      return { attachType: 'sk_lookup' };
    case 'netfilter':
      return { attachType: 'netfilter' };
    case 'syscall':
      return { flags: BPF_F_SLEEPABLE };
    case 'tracing':
      return { attachType: 'trace_raw_tp', attachBtfId: hook('btf_trace_sched_switch', 'typedef') };
    case 'lsm':
      return { attachType: 'lsm_mac', attachBtfId: hook('bpf_lsm_file_open', 'func') };
    case 'struct_ops':
      return { attachType: 0, attachBtfId: structOpsTarget('tcp_congestion_ops').typeId };
    default:
      return {};
  }
}

/** Whether programs of a type can be loaded. */
export function programFeature(type: ProgramTypeName): Feature {
  return tryProgram(`program type ${type}`, PROGRAM_FACTS[type], () => ({ type, ...probeOf(type) }));
}

/** Hooks of the type `tracing`, which kernels have or lack one by one. */
export const TRACING_HOOKS = ['trace_raw_tp', 'trace_fentry', 'trace_fexit', 'modify_return', 'trace_iter'] as const;

/** Whether tracing programs can be loaded for a hook. */
export function tracingFeature(hook: (typeof TRACING_HOOKS)[number]): Feature {
  const names = {
    trace_raw_tp: ['btf_trace_sched_switch', 'typedef'],
    trace_fentry: ['tcp_v4_connect', 'func'],
    trace_fexit: ['tcp_v4_connect', 'func'],
    // Functions that may be given another result are marked in the kernel; LSM hooks always are.
    modify_return: ['security_file_open', 'func'],
    trace_iter: ['bpf_iter_task', 'func'],
  } as const;
  const [name, kind] = names[hook];
  return tryProgram(`hook ${hook}`, PROGRAM_FACTS.tracing, () => ({
    type: 'tracing',
    attachType: hook,
    attachBtfId: kernelBtf().byName(name, kind)[0] ?? 0,
  }));
}

function tryProgram(what: string, fact: Fact, spec: () => Omit<ProgramSpec, 'instructions'>): Feature {
  try {
    using _program = loadProgram({ ...spec(), instructions: NOTHING });
    return AVAILABLE;
  } catch (error) {
    return error instanceof VerifierError ? AVAILABLE : explainError(what, fact, error);
  }
}

const UNKNOWN_HELPER =
  /(?:invalid|unknown) func|program of this type cannot use helper|kernel subsystem misconfigured func/;

/** Whether programs of a type may call a helper, by its number in enum bpf_func_id. */
export function helperFeature(type: ProgramTypeName, id: number): Feature {
  const call = instruction(BPF_JMP | BPF_CALL, { immediate: id });
  try {
    using _program = loadProgram({ type, ...probeOf(type), instructions: [call, ...NOTHING] });
    return AVAILABLE;
  } catch (error) {
    if (!(error instanceof VerifierError)) return explainError(`program type ${type}`, PROGRAM_FACTS[type], error);
    // Every other complaint is about the arguments, which nobody gave.
    return UNKNOWN_HELPER.test(error.log)
      ? missing(`programs of type ${type} cannot call helper ${id} here`)
      : AVAILABLE;
  }
}

/** The smallest map of a type. */
function smallest(type: MapTypeName): Omit<MapSpec, 'type'> {
  const plain = { keySize: 4, valueSize: 4, maxEntries: 1 };
  switch (type) {
    case 'stack_trace':
      return { ...plain, valueSize: 8 };
    case 'lpm_trie':
      return { ...plain, keySize: 8 };
    case 'queue':
    case 'stack':
    case 'bloom_filter':
      return { ...plain, keySize: 0 };
    case 'ringbuf':
    case 'user_ringbuf':
      return { keySize: 0, valueSize: 0, maxEntries: 4096 };
    case 'arena':
      return { keySize: 0, valueSize: 0, maxEntries: 1, flags: BPF_F_MMAPABLE };
    case 'cgroup_storage':
    case 'percpu_cgroup_storage':
      // struct bpf_cgroup_storage_key; these maps take their size from where they are used.
      return { keySize: 16, valueSize: 4, maxEntries: 0 };
    default:
      return plain;
  }
}

/** Whether maps of a type can be made. */
export function mapFeature(type: MapTypeName): Feature {
  using stack = new DisposableStack();
  try {
    const spec = { type, ...smallest(type) };
    if (type === 'array_of_maps' || type === 'hash_of_maps') {
      const inner = stack.use(createMap({ type: 'array', keySize: 4, valueSize: 4, maxEntries: 1 }));
      stack.use(createMap({ ...spec, inner }));
    } else if (type === 'struct_ops' || type.endsWith('_storage')) {
      stack.use(createMap(withBtf(spec, stack)));
    } else {
      stack.use(createMap(spec));
    }
    return AVAILABLE;
  } catch (error) {
    return explainError(`map type ${type}`, MAP_FACTS[type], error);
  }
}

/** Storages are only made with types for key and value, struct_ops only with types beside the kernel's. */
function withBtf(spec: MapSpec, stack: DisposableStack): MapSpec {
  if (spec.type.endsWith('cgroup_storage')) return spec;
  const types = new BtfBuilder();
  const id = types.addType(I32);
  const descriptor = stack.adopt(loadBtf(types.finish()), closeDescriptor);
  if (spec.type !== 'struct_ops') {
    return { ...spec, maxEntries: 0, btf: { descriptor, keyTypeId: id, valueTypeId: id } };
  }
  const target = structOpsTarget('tcp_congestion_ops');
  const btf = { descriptor, keyTypeId: 0, valueTypeId: 0 };
  return { ...spec, valueSize: target.wrapperBytes, kernelValueTypeId: target.wrapperId, btf };
}

/** Everything at once. */
export interface KernelFeatures {
  readonly release: string;
  /** Whether the kernel shows its types, which CO-RE, tracing with types and struct_ops need. */
  readonly kernelTypes: Feature;
  readonly programs: Readonly<Record<ProgramTypeName, Feature>>;
  readonly tracing: Readonly<Record<(typeof TRACING_HOOKS)[number], Feature>>;
  readonly maps: Readonly<Record<MapTypeName, Feature>>;
  readonly links: Readonly<Record<LinkTypeName, Feature>>;
}

function probeAll<Name extends string>(names: readonly Name[], probe: (name: Name) => Feature): Record<Name, Feature> {
  return Object.fromEntries(names.map((name) => [name, probe(name)])) as Record<Name, Feature>;
}

const namesOf = <Name extends string>(table: Readonly<Record<Name, number>>): Name[] => Object.keys(table) as Name[];

/** Asks the kernel for everything; takes some 10 ms. Helpers are asked for one by one ({@link helperFeature}). */
export function kernelFeatures(): KernelFeatures {
  let kernelTypes = AVAILABLE;
  try {
    kernelBtf();
  } catch (error) {
    kernelTypes = missing(error instanceof Error ? error.message : String(error));
  }
  return {
    release: kernelVersion().release,
    kernelTypes,
    programs: probeAll(namesOf(PROGRAM_TYPES), programFeature),
    tracing: probeAll(TRACING_HOOKS, tracingFeature),
    maps: probeAll(namesOf(MAP_TYPES), mapFeature),
    links: probeAll(namesOf(LINK_TYPES), linkFeature),
  };
}
