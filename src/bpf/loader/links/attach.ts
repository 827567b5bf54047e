/**
 * Room `bpf`: `attach`: a program to its hook, by what the program is and what the target says.
 *
 * A newcomer would get wrong: which target a program takes follows from its type; a target for another type is refused by name here,
 * before the kernel would say EINVAL.
 */
import type { AttachTypeName } from '../../../kernel/bpf-names.ts';
import { KernelError } from '../../../kernel/error.ts';
import { atLeast, kernelVersion } from '../../../kernel/procfs.ts';
import type { Holder } from '../codec.ts';
import type { Program } from '../program.ts';
import { attachCgroup } from './cgroup.ts';
import { attachKprobeMulti, type KprobeMultiTarget } from './kprobe-multi.ts';
import type { Attachment } from './link.ts';
import {
  attachNamespace,
  attachNetfilter,
  attachTcx,
  attachXdp,
  type Interface,
  type NetfilterTarget,
  type Order,
  type XdpMode,
} from './network.ts';
import {
  attachKprobe,
  attachSamples,
  attachTracepoint,
  attachUprobe,
  type SampleTarget,
  type UprobeTarget,
} from './perf-event.ts';
import { attachRoute, type RouteTarget } from './routes.ts';
import { attachReuseport, attachSocketFilter, attachSocketMap, type SocketMapHook } from './sockets.ts';
import { attachIterator, attachRawTracepoint, attachTracing, type IteratorTarget } from './tracing.ts';
import { attachFilter, type FilterTarget } from './traffic-control.ts';
import { attachUprobeMulti, type UprobeMultiTarget } from './uprobe-multi.ts';
import { attachUsdt, type UsdtTarget } from './usdt.ts';
import type { UsdtSites } from './usdt-sites.ts';

/** Where a program shall act. Which fields count depends on its type. */
export interface AttachTarget extends Order {
  /** XDP, tc: an interface by name or index, in this thread's network namespace. */
  readonly interface?: Interface;
  /** XDP. */
  readonly mode?: XdpMode;
  /** The hook, for programs that do not say: of cgroup and sk_skb types. For tc, `direction` is enough. */
  readonly attachType?: AttachTypeName;
  readonly direction?: 'ingress' | 'egress';
  /** cgroup programs, sock_ops: a path, or a name below the hierarchy's root. */
  readonly cgroup?: string;
  /** sk_lookup, flow_dissector: the namespace's file; this thread's unless told. */
  readonly namespace?: string;
  readonly netfilter?: NetfilterTarget;
  /** lwt programs. */
  readonly route?: RouteTarget;
  /** tc: by a filter of tc's, as before Linux 6.6. */
  readonly filter?: FilterTarget;
  /** Tracepoints, in place of what the program's section names. */
  readonly tracepoint?: string;
  readonly uprobe?: UprobeTarget;
  /** For programs of the sections `uprobe.multi` and `uretprobe.multi`. */
  readonly uprobes?: UprobeMultiTarget;
  readonly usdt?: UsdtTarget;
  /** For programs of the sections `kprobe.multi` and `kretprobe.multi`, in place of the pattern in the section. */
  readonly kprobes?: KprobeMultiTarget;
  readonly kprobe?: { readonly function: string; readonly offset?: number };
  readonly samples?: SampleTarget;
  readonly iterate?: IteratorTarget;
  /** Socket filters, sk_reuseport: a socket's descriptor. */
  readonly socket?: number;
  /** sk_msg, sk_skb: the map of sockets. */
  readonly map?: Holder;
  /** What the program reads as bpf_get_attach_cookie(). */
  readonly cookie?: bigint;
}

/** What is known of a program that has a place in an object. */
export interface Attachable extends Program {
  readonly name?: string;
  readonly kind?: { readonly section: string; readonly target: string | null };
  /** Set where it reads the arguments of USDT probes. */
  readonly usdtSites?: UsdtSites | null;
}

/** Thrown where a target lacks what a program of this type needs. */
export class AttachError extends TypeError {
  override readonly name = 'AttachError';
}

function need<T>(value: T | undefined | null, program: Attachable, what: string): T {
  if (value !== undefined && value !== null) return value;
  throw new AttachError(
    `program ${program.name ?? ''} of type ${program.type} is attached with ${what}`.replace('  ', ' '),
  );
}

/** The hook of types that have only one. */
const onlyHook: Readonly<Record<string, AttachTypeName>> = {
  sock_ops: 'cgroup_sock_ops',
  cgroup_device: 'cgroup_device',
  cgroup_sysctl: 'cgroup_sysctl',
  sk_msg: 'sk_msg_verdict',
  sk_lookup: 'sk_lookup',
  flow_dissector: 'flow_dissector',
  cgroup_sock: 'cgroup_inet_sock_create',
};

function hookOf(program: Attachable, target: AttachTarget, example: string): AttachTypeName {
  const hook = target.attachType ?? program.attachType ?? onlyHook[program.type];
  return need(hook, program, `attachType: ${example}`);
}

const ROUTE = "{ route: { destination: '10.9.0.0/16', interface: 'eth0' } }";

type Attach = (program: Attachable, target: AttachTarget) => Attachment;

const toCgroup: Attach = (program, target) =>
  attachCgroup(
    program,
    hookOf(program, target, "'cgroup_inet_ingress'"),
    need(target.cgroup, program, "{ cgroup: 'name' }"),
  );

/** tc programs that do not say which way themselves are told by `direction`. */
function directed(program: Attachable, { attachType, direction }: AttachTarget): AttachTypeName {
  const hook =
    attachType ?? program.attachType ?? (direction === undefined ? undefined : (`tcx_${direction}` as const));
  return need(hook, program, "direction: 'ingress' or 'egress'");
}

const toInterface: Attach = (program, target) => {
  if (target.filter !== undefined) return attachFilter(program, target.filter);
  const hook = directed(program, target);
  if (hook !== 'tcx_ingress' && hook !== 'tcx_egress' && hook !== 'netkit_primary' && hook !== 'netkit_peer') {
    throw new AttachError(`attachType is ${hook}: tcx_ingress, tcx_egress, netkit_primary and netkit_peer are allowed`);
  }
  const name = need(target.interface, program, "{ interface: 'eth0' }");
  try {
    return attachTcx(program, { ...target, interface: name, attachType: hook });
  } catch (error) {
    // Kernels before 6.6 know no tcx, and say EINVAL. A filter of tc's does the same there.
    const isOld = error instanceof KernelError && error.code === 'EINVAL' && !atLeast(kernelVersion(), 6, 6);
    if (!isOld || hook.startsWith('netkit')) throw error;
    return attachFilter(program, { interface: name, direction: hook === 'tcx_ingress' ? 'ingress' : 'egress' });
  }
};

const toNamespace: Attach = (program, target) =>
  attachNamespace(program, program.type === 'sk_lookup' ? 'sk_lookup' : 'flow_dissector', target.namespace);

const toSocketMap: Attach = (program, target) =>
  attachSocketMap(
    program,
    need(target.map, program, '{ map }'),
    hookOf(program, target, "'sk_skb_verdict'") as SocketMapHook,
  );

const toTracing: Attach = (program, target) => {
  if (program.attachType === 'trace_iter') return attachIterator(program, target.iterate ?? null);
  return attachTracing(program, program.kind?.section ?? `${program.attachType}`, target.cookie);
};

const toProbe: Attach = (program, target) => {
  const { cookie = 0n, uprobe, usdt, kprobe, kprobes, uprobes } = target;
  const section = program.kind?.section ?? '';
  const atReturn = /^[ku]retprobe/.test(section);
  const isOther = [uprobe, kprobe, kprobes, uprobes].some((other) => other !== undefined);
  if (isOther && program.usdtSites) {
    throw new AttachError(
      `program ${program.name ?? ''} reads the arguments of a USDT probe: it is attached with { usdt: { executable, provider, name } }`,
    );
  }
  if (uprobes !== undefined) return attachUprobeMulti(program, { atReturn, ...uprobes });
  if (program.attachType === 'trace_kprobe_multi') {
    const pattern = need(kprobes?.functions ?? program.kind?.target, program, "{ kprobes: { functions: 'tcp_*' } }");
    return attachKprobeMulti(program, { atReturn, ...kprobes, functions: pattern });
  }
  if (usdt !== undefined) return attachUsdt(program, { cookie, ...usdt });
  if (kprobe !== undefined) return attachKprobe(program, { cookie, atReturn, ...kprobe });
  if (uprobe !== undefined) return attachUprobe(program, { cookie, atReturn, ...uprobe });
  // `uprobe/libc.so.6:malloc`, `kprobe/vfs_read`, as libbpf's sections name them.
  const named = program.kind?.target ?? null;
  if (section.startsWith('usdt')) {
    const [executable, provider, name] = need(named, program, '{ usdt }').split(':');
    return attachUsdt(program, { cookie, executable, provider, name });
  }
  if (/^u(?:ret)?probe/.test(section)) {
    const [executable, name] = need(named, program, '{ uprobe }').split(':');
    return attachUprobe(program, { cookie, atReturn, executable, function: name });
  }
  return attachKprobe(program, { cookie, atReturn, function: need(named, program, '{ kprobe } or { uprobe }') });
};

const attachers: Readonly<Record<string, Attach>> = {
  xdp: (program, target) =>
    attachXdp(program, {
      interface: need(target.interface, program, "{ interface: 'eth0' }"),
      ...(target.mode === undefined ? {} : { mode: target.mode }),
    }),
  sched_cls: toInterface,
  cgroup_skb: toCgroup,
  cgroup_sock: toCgroup,
  cgroup_sock_addr: toCgroup,
  cgroup_sockopt: toCgroup,
  cgroup_sysctl: toCgroup,
  cgroup_device: toCgroup,
  sock_ops: toCgroup,
  sk_lookup: toNamespace,
  flow_dissector: toNamespace,
  netfilter: (program, target) =>
    attachNetfilter(program, need(target.netfilter, program, "{ netfilter: { family: 'ipv4', hook: 'localIn' } }")),
  sk_msg: toSocketMap,
  sk_skb: toSocketMap,
  socket_filter: (program, target) => attachSocketFilter(program, need(target.socket, program, '{ socket }')),
  sk_reuseport: (program, target) => attachReuseport(program, need(target.socket, program, '{ socket }')),
  tracepoint: (program, target) =>
    attachTracepoint(
      program,
      need(target.tracepoint ?? program.kind?.target, program, "{ tracepoint: 'sched/sched_switch' }"),
      target.cookie,
    ),
  raw_tracepoint: (program, target) =>
    attachRawTracepoint(
      program,
      need(target.tracepoint ?? program.kind?.target, program, "{ tracepoint: 'sched_switch' }"),
      target.cookie,
    ),
  tracing: toTracing,
  raw_tracepoint_writable: (program, target) =>
    attachRawTracepoint(
      program,
      need(target.tracepoint ?? program.kind?.target, program, "{ tracepoint: 'bpf_test_finish' }"),
      target.cookie,
    ),
  lsm: (program, target) =>
    program.attachType === 'lsm_cgroup' ? toCgroup(program, target) : toTracing(program, target),
  ext: toTracing,
  kprobe: toProbe,
  lwt_in: (program, target) => attachRoute({ in: program }, need(target.route, program, ROUTE)),
  lwt_out: (program, target) => attachRoute({ out: program }, need(target.route, program, ROUTE)),
  lwt_xmit: (program, target) => attachRoute({ transmit: program }, need(target.route, program, ROUTE)),
  lwt_seg6local: (program, target) => attachRoute({ segment: program }, need(target.route, program, ROUTE)),
  perf_event: (program, target) => attachSamples(program, target.samples ?? {}),
};

/**
 * Attaches a program. Dispose of what is given to take it away.
 *
 *     using link = attach(program, { interface: 'eth0' });
 *
 * @throws AttachError where the target lacks what the type needs, KernelError where the kernel refuses
 */
export function attach(program: Attachable, target: AttachTarget = {}): Attachment {
  const attacher = attachers[program.type];
  if (attacher === undefined) {
    throw new AttachError(
      `programs of type ${program.type} are not attached by themselves: ${elsewhere[program.type] ?? 'run them with testRun'}`,
    );
  }
  return attacher(program, target);
}

/** How the other types come to act. */
const elsewhere: Readonly<Record<string, string>> = {
  struct_ops: 'attach the map that holds them (attachStructOps)',
  sched_act: 'a tc filter holds them (tc actions add action bpf)',
  syscall: 'run them with testRun',
};
