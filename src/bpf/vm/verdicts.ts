/**
 * Room `bpf`: what programs may return, where their type says so (check_return_code in kernel/bpf/verifier.c).
 *
 * A newcomer would get wrong: a program that may return anything, as at XDP or tc, is not in here; what a number it
 * returns means is its hook's business.
 */
import type { ProgramKind } from '../object/spec.ts';

type Range = readonly [least: number, most: number];

const YES_OR_NO: Range = [0, 1];
const ONLY_YES: Range = [1, 1];

const byType: Readonly<Record<string, Range>> = {
  cgroup_skb: YES_OR_NO,
  cgroup_sock: YES_OR_NO,
  cgroup_sock_addr: YES_OR_NO,
  cgroup_device: YES_OR_NO,
  cgroup_sysctl: YES_OR_NO,
  cgroup_sockopt: YES_OR_NO,
  sock_ops: YES_OR_NO,
  sk_lookup: YES_OR_NO,
  netfilter: YES_OR_NO,
};

const byAttachType: Readonly<Record<string, Range>> = {
  // Two more for congestion: NET_XMIT_CN with and without the packet.
  cgroup_inet_egress: [0, 3],
  // And whether the port may be one below ip_unprivileged_port_start.
  cgroup_inet4_bind: [0, 3],
  cgroup_inet6_bind: [0, 3],
  cgroup_udp4_recvmsg: ONLY_YES,
  cgroup_udp6_recvmsg: ONLY_YES,
  cgroup_inet4_getpeername: ONLY_YES,
  cgroup_inet6_getpeername: ONLY_YES,
  cgroup_inet4_getsockname: ONLY_YES,
  cgroup_inet6_getsockname: ONLY_YES,
  trace_fentry: [0, 0],
  trace_fexit: [0, 0],
  trace_raw_tp: [0, 0],
};

/** The least and the most that a program may return, or null for anything. */
export function verdictsOf({ type, attachType }: ProgramKind): Range | null {
  return (attachType === null ? null : byAttachType[attachType]) ?? byType[type] ?? null;
}
