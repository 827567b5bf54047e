/**
 * Room `bpf`: programs at network interfaces (XDP, tcx, netkit) and in network namespaces (sk_lookup, flow dissector, netfilter).
 *
 * A newcomer would get wrong: an interface's name means the one in the calling thread's namespace; and a driver without XDP runs the
 * program on the generic path, after the packet has become an sk_buff: `mode: 'native'` refuses that.
 */
import { closeSync, openSync } from 'node:fs';
import * as abi from '../../../kernel/bpf-attributes.ts';
import type { AttachTypeName } from '../../../kernel/bpf-names.ts';
import { ERRNO } from '../../../kernel/errno.ts';
import { interfaceIndex } from '../../../kernel/interface.ts';
import type { Holder } from '../codec.ts';
import { createLink, type Link } from './link.ts';

/** An interface by its name or its index. */
export type Interface = string | number;

function indexOf(value: Interface): number {
  return typeof value === 'number' ? value : interfaceIndex(value);
}

const modes = {
  native: abi.XDP_FLAGS_DRV_MODE,
  generic: abi.XDP_FLAGS_SKB_MODE,
  offload: abi.XDP_FLAGS_HW_MODE,
} as const;

export type XdpMode = keyof typeof modes;

/** Attaches an XDP program. Without a mode the kernel takes the driver's, or else the generic one. */
export function attachXdp(program: Holder, target: { readonly interface: Interface; readonly mode?: XdpMode }): Link {
  const { interface: name, mode } = target;
  return createLink({
    kind: 'xdp',
    program,
    attachType: 'xdp',
    fields: {
      'link_create.target_ifindex': indexOf(name),
      'link_create.flags': mode === undefined ? 0 : modes[mode],
    },
    where: String(name),
    remedy(result) {
      if (result === -ERRNO.EBUSY || result === -ERRNO.EEXIST) {
        return `another XDP program is attached: replace it through its link, or end that (ip link set dev ${name} xdp off)`;
      }
      if (result === -ERRNO.EOPNOTSUPP)
        return `the driver of ${name} cannot do it: take mode generic, or a smaller MTU`;
      if (result === -ERRNO.ENOSPC)
        return `${name} has too few queues for the driver's mode: take mode generic, or more queues`;
      return undefined;
    },
  });
}

/** Where among the programs at one hook. */
export interface Order {
  /** This program or link comes behind the new one. */
  readonly before?: Holder;
  /** This program or link comes before the new one. */
  readonly after?: Holder;
  /** `before` or `after` is a link. */
  readonly relativeToLink?: boolean;
  /** The new one comes first, or last (the default). */
  readonly position?: 'first' | 'last';
}

function orderFields({ before, after, relativeToLink = false, position = 'last' }: Order): {
  readonly flags: number;
  readonly relative: number;
} {
  const link = relativeToLink ? abi.BPF_F_LINK : 0;
  if (before !== undefined) return { flags: abi.BPF_F_BEFORE | link, relative: before.descriptor };
  if (after !== undefined) return { flags: abi.BPF_F_AFTER | link, relative: after.descriptor };
  return { flags: position === 'first' ? abi.BPF_F_BEFORE : 0, relative: 0 };
}

/** Where a tc program is attached: before or behind the queueing of an interface, or on a netkit pair. */
export interface TcxTarget extends Order {
  readonly interface: Interface;
  readonly attachType: 'tcx_ingress' | 'tcx_egress' | 'netkit_primary' | 'netkit_peer';
}

/** Attaches a tc program (type sched_cls) by a link: tcx since Linux 6.6, netkit since 6.7. */
export function attachTcx(program: Holder, target: TcxTarget): Link {
  const { flags, relative } = orderFields(target);
  return createLink({
    kind: target.attachType.startsWith('netkit') ? 'netkit' : 'tcx',
    program,
    attachType: target.attachType,
    fields: {
      'link_create.target_ifindex': indexOf(target.interface),
      'link_create.flags': flags,
      'link_create.tcx.relative_fd': relative,
    },
    where: String(target.interface),
  });
}

/** Runs `use` with a descriptor of a file that is closed afterwards. */
function withFile<T>(path: string, use: (descriptor: number) => T): T {
  const descriptor = openSync(path, 'r');
  try {
    return use(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Attaches a program of type sk_lookup or flow_dissector to a network namespace, by its file; this thread's unless told. */
export function attachNamespace(
  program: Holder,
  attachType: Extract<AttachTypeName, 'sk_lookup' | 'flow_dissector'>,
  path = '/proc/thread-self/ns/net',
): Link {
  return withFile(path, (descriptor) =>
    createLink({
      kind: 'netns',
      program,
      attachType,
      fields: { 'link_create.target_fd': descriptor },
      where: `network namespace ${path}`,
      remedy: (result) =>
        result === -ERRNO.E2BIG || result === -ERRNO.EEXIST
          ? 'the namespace has such a program already: only one is allowed'
          : undefined,
    }),
  );
}

/** NF_INET_* (include/uapi/linux/netfilter.h). */
const netfilterHooks = { preRouting: 0, localIn: 1, forward: 2, localOut: 3, postRouting: 4 } as const;
/** NFPROTO_*. */
const families = { ipv4: 2, ipv6: 10 } as const;
const BPF_F_NETFILTER_IP_DEFRAG = 1;

export interface NetfilterTarget {
  readonly family: keyof typeof families;
  readonly hook: keyof typeof netfilterHooks;
  /** From the lowest, which is first; the kernel refuses its two extremes, and connection tracking's own with `defragment`. */
  readonly priority?: number;
  /** Fragments are put together before the program sees them (Linux 6.6). */
  readonly defragment?: boolean;
}

/** Attaches a netfilter program in this thread's network namespace (Linux 6.4). Its answers are 0 (drop) and 1 (accept). */
export function attachNetfilter(program: Holder, target: NetfilterTarget): Link {
  return createLink({
    kind: 'netfilter',
    program,
    attachType: 'netfilter',
    fields: {
      'link_create.netfilter.pf': families[target.family],
      'link_create.netfilter.hooknum': netfilterHooks[target.hook],
      'link_create.netfilter.priority': target.priority ?? 0,
      'link_create.netfilter.flags': target.defragment === true ? BPF_F_NETFILTER_IP_DEFRAG : 0,
    },
    where: `netfilter ${target.family} ${target.hook}`,
  });
}
